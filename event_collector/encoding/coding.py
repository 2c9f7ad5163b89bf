"""How the values of one collector are encoded: as data, with hooks of its own, or as pickle."""

from collections.abc import Callable, Container
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeAlias, get_origin

import msgspec

from event_collector.encoding import byte_kinds  # noqa: F401 - adds the kinds of bytes
from event_collector.encoding.buffers import LARGE, Blob, Buffer, join, split
from event_collector.encoding.tagged import Restorer, Tagger, ValueKind, kinds

_BYTES: Final = frozenset((bytes, bytearray, memoryview))

_AS_SENT: Final = frozenset((bytearray, memoryview))
"""Types that msgspec encodes as bytes."""

Frame: TypeAlias = Callable[[msgspec.Raw, list[str]], Any]
"""Takes an encoded value, and the modules with its classes; returns the message."""

_KEPT: Final = (bytes, bytearray, memoryview)
"""Types that text is not converted into."""


class NothingTagged(ValueError):
    """A message has no tagged value, so that its decoder is right about it."""


class Coding(NamedTuple):
    """The encoding of one collector's values."""

    special: Container[type] = _BYTES
    """Classes of values that do not go the fast way: msgspec may not know them, or their bytes may travel beside."""
    enc_hook: Callable[[Any], Any] | None = None
    dec_hook: Callable[[Any, Any], Any] | None = None
    wrap: ValueKind | None = None
    """The kind that every value as a whole is encoded as, if there is one."""

    def has_special(self, values: list[Any]) -> bool:
        """Return whether a list has values of a special class, with no annotation."""
        return self.wrap is not None or not _AS_SENT.isdisjoint(map(type, values))

    def is_fast(self, value: Any, *, inline: bool, as_sent: bool) -> bool:
        """Return whether a value of a special class can be encoded without a tag.

        `inline`: whether large buffers stay in the message. `as_sent`: whether no annotation says the type of bytes.
        """
        return self.wrap is None and _kind_of_bytes(value, inline=inline, as_sent=as_sent) is None

    def encode(
        self, value: Any, frame: Frame, keep: Callable[[Any, bytes], Any], *, inline: bool, as_sent: bool
    ) -> tuple[bytes, Blob | None]:
        """Return body and blob of a value in its frame.

        `keep` takes the value and its encoding, and returns the value, or one that comes back as it.
        """
        tagger = Tagger(inline=inline, hook=self.enc_hook)
        whole = self._as_whole(value, tagger, as_sent=as_sent)
        encoded = tagger.encode(whole)
        if whole is value and (kept := keep(value, encoded)) is not value:
            tagger = Tagger(inline=inline, hook=self.enc_hook)
            encoded = tagger.encode(kept)
        return join(tagger.encode(frame(msgspec.Raw(encoded), sorted(tagger.modules))), tagger.buffers)

    def encode_all(self, values: list[Any], frame: Frame, keep: Callable[[Any, bytes], Any], *, as_sent: bool) -> bytes:
        """Return a list of values in its frame, with their buffers in it."""
        tagger = Tagger(inline=True, hook=self.enc_hook)
        wholes = [self._as_whole(value, tagger, as_sent=as_sent) for value in values]
        encoded = tagger.encode(wholes)
        if self.wrap is None and (kept := keep(wholes, encoded)) is not wholes:
            encoded = tagger.encode(kept)
        return tagger.encode(frame(msgspec.Raw(encoded), sorted(tagger.modules)))

    def _as_whole(self, value: Any, tagger: Tagger, *, as_sent: bool) -> Any:
        """Return a value with the tag that it has because it is no part of another one; else the value itself."""
        if self.wrap is not None:
            return tagger.tagged(self.wrap, value)
        if type(value) not in _BYTES:
            return value
        kind = _kind_of_bytes(value, inline=tagger.inline, as_sent=as_sent)
        return value if kind is None else tagger.tagged(kind, value)

    def type_of(self, annotated: Any) -> Any:
        """Return the type that values are decoded into; Any if they come as they are."""
        return annotated if self.wrap is None else Any

    def restorer(self, buffers: Any = (), *, writable: bool, plain_scalars: bool = False) -> Restorer:
        """Return what restores the tagged values of a message."""
        allowed = None if self.wrap is None else {self.wrap.name: self.wrap}
        return Restorer(buffers, writable=writable, allowed=allowed, plain_scalars=plain_scalars)

    def convert(self, kind: Any, value: Any) -> Any:
        """Return an object of an annotated type that msgspec does not know: the `dec_hook` of msgspec."""
        cls = get_origin(kind) or kind
        is_instance = isinstance(value, cls)
        try:
            if self.dec_hook is not None and not is_instance:
                with suppress(NotImplementedError):
                    return self.dec_hook(kind, value)
            known = None if is_instance and cls is kind else kinds.of(cls)
            return value if known is None or known.convert is None else known.convert(kind, value)
        except (TypeError, ValueError):
            raise
        except Exception as exc:  # msgspec adds the place to a ValueError
            raise ValueError(f"{type(exc).__name__}: {exc}") from exc

    def decode(self, body: Buffer, blob: Blob | None, frame: Any, value_type: Any, *, writable: bool) -> Any:
        """Return a message with a tagged value, converted into a type. Raise NothingTagged if it has none.

        Unlike a decoder of the type, this supports integers of any size, and large bytes, wherever the type has them.
        """
        body, buffers = split(body, blob)
        for plain_scalars in (False, True):
            restorer = self.restorer(buffers, writable=writable, plain_scalars=plain_scalars)
            found = msgspec.msgpack.decode(body, type=frame, ext_hook=restorer.extension)
            if not restorer.has_met_tags:
                raise NothingTagged
            try:
                if value_type is Any:
                    return found
                value = msgspec.convert(found.value, value_type, dec_hook=self.convert, builtin_types=_KEPT)
                return msgspec.structs.replace(found, value=value)
            except Exception:
                if plain_scalars:
                    raise
        return None


PLAIN_CODING: Final = Coding()


class BareValue(msgspec.Struct, array_like=True):
    """A message that is a value and nothing else."""

    value: Any


def _kind_of_bytes(value: Any, *, inline: bool, as_sent: bool) -> ValueKind | None:
    """Return the kind of a value that is bytes; None if it can be encoded without a tag."""
    is_large = not inline and memoryview(value).nbytes >= LARGE
    if type(value) is bytes:
        return kinds.named("bytes") if is_large else None
    if as_sent or is_large or (type(value) is memoryview and not value.c_contiguous):
        return kinds.named(type(value).__name__)
    return None
