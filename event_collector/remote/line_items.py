"""Lines of JSON as the items of a chunk: a worker decodes, handles and encodes them.

A chunk of lines travels as the bytes that were read, and comes back as the bytes to write. Values and results are what
they would be as those of events: what a round trip through msgpack could change, makes one here. Everything that fails
travels like the outcome of an event, so that the program says what is wrong, as it does for events.
"""

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import msgspec

from event_collector.encoding.coding import PLAIN_CODING
from event_collector.handlers.stack_frames import hide_modules
from event_collector.remote.codec import Parts, PayloadDecoder, ReplyDecoder, encode_payload, encode_result
from event_collector.remote.fidelity import Fidelity
from event_collector.remote.item_codec import LINES, SIMPLE, outcome_in
from event_collector.values.json_values import BOM, encode_json
from event_collector.values.payload import Payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_collector.encoding.buffers import Buffer
    from event_collector.remote.setup import Setup
    from event_collector_workers.job import Items

_HEAD: Final = Struct("<cQQ")
_SUCCESS: Final = b'{"id":%d,"ok":%b}\n'
_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1
"""The integers that msgpack has."""

_to_json = msgspec.json.Encoder().encode


def encode_lines(lines: list[bytes], first_id: int, number: int) -> bytes:
    """Encode lines, the first one with this number, whose events would have the ids from `first_id` on."""
    return _HEAD.pack(LINES, first_id, number) + b"\n".join(lines)


def decode_lines(body: "Buffer") -> tuple[int, int, list[bytes]]:
    """Return the id and the number of the first line, and the lines."""
    _, first_id, number = _HEAD.unpack_from(body)
    return first_id, number, bytes(body[_HEAD.size :]).split(b"\n")


class LineItems:
    """Runs lines with the handler of a collector.

    Args:
        setup: of the collector.
        call: calls the handler with a value.
        failed: encodes an exception.
    """

    def __init__(
        self, setup: "Setup", call: "Callable[[Any], Any]", failed: "Callable[[BaseException], Parts]"
    ) -> None:
        self._setup, self._call, self._failed = setup, call, failed
        coding = setup.coding
        self._decode_json = msgspec.json.Decoder(setup.payload_type, dec_hook=PLAIN_CODING.convert).decode
        self._decode_payload = PayloadDecoder(setup.payload_type, setup.key, coding)
        self._decode_reply = ReplyDecoder(setup.result_type, setup.key, coding)
        self._of_payload = Fidelity(setup.payload_type, coding)
        self._of_result = Fidelity(setup.result_type, coding)
        self._simple = SIMPLE if setup.result_type is Any else SIMPLE & {setup.result_type}

    def run(self, number: int, lines: list[bytes], items: "Items") -> None:
        """Run lines one after the other, the first one with this number. SystemExit is raised."""
        decode, call, simple, keep = self._decode_json, self._call, self._simple, items.keep
        go_on = items.begin()
        for name, line in enumerate(lines, number):
            if not go_on:
                break
            try:
                value = decode(line.removeprefix(BOM))
                kind = type(value)
                if kind not in SIMPLE or (kind is int and not _LEAST <= value <= _MOST):
                    value = self._as_sent(value)
                outcome = call(value)
                if type(outcome) is int and int in simple and _LEAST <= outcome <= _MOST:  # _write(), inlined
                    written: bytes | Parts = b'{"id":%d,"ok":%d}\n' % (name, outcome)
                else:
                    written = self._write(name, outcome)
            except SystemExit:
                raise
            except BaseException as exc:
                written = self._failed(exc)
            go_on = keep(written) if type(written) is bytes else items.answer(*written)

    def _as_sent(self, value: Any) -> Any:
        """Return what a handler gets of a value that was sent by itself."""
        body, blob = encode_payload(Payload(value), self._setup, traced=False, fidelity=self._of_payload)
        return self._decode_payload(body, blob)._value

    def _write(self, number: int, outcome: Any) -> bytes | Parts:
        """Return the line of a result; or its reply if it is none that a line can have."""
        if type(outcome) in self._simple and (type(outcome) is not int or _LEAST <= outcome <= _MOST):
            try:
                encoded = _to_json(outcome)
            except Exception:
                encoded = b"null"
            if encoded != b"null" or outcome is None:  # that of NaN, too
                return _SUCCESS % (number, encoded)
        reply = encode_result(outcome, self._setup, fidelity=self._of_result)
        if reply[1] is None and outcome_in(reply[0]) is not None:
            try:
                return _SUCCESS % (number, encode_json(self._decode_reply(reply[0], None).unwrap()))
            except Exception:  # the program says what is wrong with it
                return reply
        return reply


hide_modules(__name__)
