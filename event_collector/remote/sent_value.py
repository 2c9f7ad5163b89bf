"""What other processes get of the value of an event: the value as it was when it was sent.

A value that can change is encoded by `send()`, also if no worker has room for it. What the sender changes later
reaches no worker then, whatever the load.
"""

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

from event_collector.remote.codec import Form, Owner, Parts, encode_around, encode_form, encode_payload, form_in
from event_collector.remote.fidelity import UNTYPED, Fidelity
from event_collector.values.errors import EncodeError
from event_collector.values.payload import Payload

CONSTANT: Final = frozenset((int, float, bool, str, bytes, type(None), date, datetime, time, timedelta, Decimal, UUID))
"""The classes of values that cannot change, and are encoded when a worker has room for them."""


class SentValue:
    """The forms of one value, or the EncodeError that it has, by the keys of collectors.

    Args:
        value: what was sent.
        owners: the collectors that may get it, with what checks that it arrives as what it is.
    """

    __slots__ = ("_forms",)

    def __init__(self, value: Any, owners: Iterable[tuple[Owner, Fidelity]]) -> None:
        self._forms: dict[str, Form | EncodeError] = {}
        last: tuple[Form, Fidelity] | None = None
        for owner, fidelity in owners:
            if last is not None and fidelity.is_same(last[1]):  # most collectors share one
                self._forms[owner.key] = last[0]
                continue
            form = self._forms[owner.key] = _form(value, owner, fidelity)
            if not isinstance(form, EncodeError):
                last = form, fidelity

    def parts(
        self, payload: Payload[Any], key: str, number: int, *, inline: bool = False, traced: bool = False
    ) -> Parts:
        """Return the encoded payload for a collector, with the headers that the payload has now. Raises EncodeError.

        The arguments are those of `encode_payload()`.
        """
        form = self._forms[key]
        if isinstance(form, EncodeError):
            raise form
        return encode_around(form, payload, number, inline=inline, traced=traced)

    def __contains__(self, key: str) -> bool:
        return key in self._forms

    def __repr__(self) -> str:
        return f"<SentValue for {list(self._forms)}>"


Sent: TypeAlias = Parts | SentValue
"""The whole message, for the only collector that gets it and calls its handler once; or the forms of the value."""


def encode_sent(
    payload: Payload[Any],
    owner: Owner,
    number: int = 0,
    *,
    inline: bool = False,
    traced: bool = True,
    fidelity: Fidelity = UNTYPED,
) -> Parts:
    """Encode a payload for a collector as `encode_payload()` does; its value as it was sent, if it carries that."""
    sent: Sent | None = getattr(payload, "_sent", None)
    if isinstance(sent, tuple):
        return encode_around(form_in(sent), payload, number, inline=inline, traced=traced)
    if sent is None or owner.key not in sent:
        return encode_payload(payload, owner, number, inline=inline, traced=traced, fidelity=fidelity)
    return sent.parts(payload, owner.key, number, inline=inline, traced=traced)


def _form(value: Any, owner: Owner, fidelity: Fidelity) -> Form | EncodeError:
    try:
        return encode_form(value, owner, fidelity)
    except EncodeError as exc:
        return exc.with_traceback(None)  # its frames would have the event hold itself
