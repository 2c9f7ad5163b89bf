"""Tagged data: how values travel that msgspec does not know, and come back as the type that was sent.

Such a value is an extension of msgpack with the name of its *kind* and its content, which may have tagged values again:

    Fraction(1, 3)  ->  Ext(TAGGED, ["fraction", [1, 3]])

Its large buffers travel beside the message; `Ext(BESIDE, index)` stands for each. A message without such values is
plain msgpack, which costs nothing of this.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.msgpack import Ext

from event_collector.encoding.buffers import LARGE, Buffer
from event_collector.encoding.classes import name_of
from event_collector.encoding.plain import to_plain

TAGGED: Final = 0x45
BESIDE: Final = 0x46

_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1
"""The integers that msgpack has."""

STANDARD: Final = "standard"
_LIBRARIES: Final = {
    "numpy": "numpy_arrays",
    "pandas": "pandas_frames",
    "PIL": "pillow_images",
    "polars": "polars_frames",
    "pyarrow": "arrow_tables",
    "pydantic": "pydantic_models",
}
"""Libraries with kinds of their own, and the modules here that have these. A module is imported when the program has
imported the library, and a value needs it."""


class CannotTravel(TypeError):
    """A value cannot travel as what it is. The text says what to do."""


class ValueKind(NamedTuple):
    """A kind of tagged values."""

    name: str
    """Unique. That of a library's kind begins with the library and a dot."""
    encode: Callable[[Any, "Tagger"], Any]
    """Returns the content of a value. Raises CannotTravel if it would not come back as what it is."""
    decode: Callable[[Any, "Restorer"], Any]
    """Returns the value of a content."""
    convert: Callable[[Any, Any], Any] | None = None
    """Takes the annotated class, or generic alias, and what came in its place; returns an object of the class. None:
    nothing else fits."""


class ValueKinds:
    """The kinds that this process knows. Each is added by the module that has it."""

    def __init__(self) -> None:
        self._by_name: dict[str, ValueKind] = {}
        self._by_class: dict[type, ValueKind] = {}
        self._families: dict[type, ValueKind] = {}
        self._loaded: set[str] = set()

    def add(self, kind: ValueKind, *classes: type, family: type | None = None) -> None:
        """Add a kind for objects of these classes, and of subclasses of `family`."""
        self._by_name[kind.name] = kind
        self._by_class.update(dict.fromkeys(classes, kind))
        if family is not None:
            self._families[family] = kind

    def of(self, cls: type) -> ValueKind | None:
        """Return the kind of objects of a class; None if there is none."""
        found = self._by_class.get(cls)
        if found is None:
            self._load_all()
            found = self._by_class.get(cls) or self._family_of(cls)
        return found

    def named(self, name: str) -> ValueKind:
        """Return the kind with a name. Raises ValueError if there is none, ImportError if its library is missing."""
        if name not in self._by_name:
            self._load(_LIBRARIES.get(name.partition(".")[0], STANDARD))
        try:
            return self._by_name[name]
        except KeyError:
            raise ValueError(f"values of the kind {name!r} are not known here") from None

    def may_give(self, cls: type) -> bool:
        """Return whether objects of a class, or of a subclass or base of it, are of some kind."""
        if self.of(cls) is not None:
            return True
        return any(issubclass(one, cls) for one in (*self._by_class, *self._families))

    def _family_of(self, cls: type) -> ValueKind | None:
        return next((self._families[base] for base in cls.__mro__ if base in self._families), None)

    def _load_all(self) -> None:
        self._load(STANDARD)
        for library, module in _LIBRARIES.items():
            if library in sys.modules:
                self._load(module)

    def _load(self, module: str) -> None:
        if module not in self._loaded:
            import_module(f"{__package__}.{module}")
            self._loaded.add(module)


kinds: Final = ValueKinds()


class BigInteger:
    """Stands for an integer that msgpack does not have, and msgspec would refuse."""

    def __init__(self, value: int) -> None:
        self.value = value


def _encodable(part: Any) -> Any:
    """Return what takes the place of a part that msgspec refuses, though it knows its class."""
    if type(part) is int and not _LEAST <= part <= _MOST:
        return BigInteger(part)
    if type(part) is memoryview and not part.c_contiguous:
        return part.tobytes()
    return part


class Tagger:
    """Encodes a value that needs tags. There is one for each message, which collects its large buffers.

    Args:
        inline: whether large buffers stay in the message.
        hook: a collector's own encoder of objects, which is asked first; see `Codec`.

    Attributes:
        buffers: each contiguous, with items of one byte.
        modules: the modules with the classes of the values, which a decoder must have imported.
    """

    def __init__(self, *, inline: bool, hook: Callable[[Any], Any] | None = None) -> None:
        self.inline, self._hook = inline, hook
        self.buffers: list[Buffer] = []
        self.modules: set[str] = set()

    def encode(self, value: Any) -> bytes:
        """Return a value as msgpack. Raise TypeError if a part of it cannot travel."""
        before = len(self.buffers)
        try:
            return msgspec.msgpack.encode(value, enc_hook=self.tag)
        except (OverflowError, BufferError):
            del self.buffers[before:]
            return msgspec.msgpack.encode(to_plain(value, _encodable), enc_hook=self.tag)

    def tag(self, value: Any) -> Any:
        """Return an object that msgspec does not know as one that it does."""
        if self._hook is not None:
            with suppress(NotImplementedError):
                return msgspec.Raw(self.encode(self._hook(value)))
        kind = kinds.of(type(value))
        if kind is None:
            raise TypeError(f"Encoding objects of type {type(value).__qualname__} is unsupported")
        return self.tagged(kind, value)

    def tagged(self, kind: ValueKind, value: Any) -> Ext:
        """Return a value with the tag of a kind."""
        return Ext(TAGGED, self.encode((kind.name, kind.encode(value, self))))

    def name(self, cls: type) -> str:
        """Return the name of a class, which the decoder then can find. Raise TypeError if nobody can."""
        name = name_of(cls)
        self.modules.add(name.partition(":")[0])
        return name

    def buffer(self, data: Buffer) -> Any:
        """Return what stands in a content for a contiguous buffer with items of one byte."""
        if self.inline or len(data) < LARGE:
            return data
        self.buffers.append(data)
        return Ext(BESIDE, (len(self.buffers) - 1).to_bytes(4))


class Restorer:
    """Restores the tagged values of a message.

    Args:
        buffers: those that came beside it.
        writable: whether arrays are to be writable. Those of payloads are not, whatever their size.
        allowed: kinds that only some collectors have.
        plain_scalars: whether scalars of NumPy become numbers of Python, since the annotation has those.
    """

    def __init__(
        self,
        buffers: Sequence[Buffer] = (),
        *,
        writable: bool,
        allowed: dict[str, ValueKind] | None = None,
        plain_scalars: bool = False,
    ) -> None:
        self._buffers, self.writable, self._allowed = buffers, writable, allowed or {}
        self.plain_scalars = plain_scalars
        self.has_met_tags = False

    def extension(self, code: int, data: memoryview) -> Any:
        """Return the value of an extension of msgpack: the `ext_hook` of msgspec."""
        self.has_met_tags = True
        if code == BESIDE:
            return self._buffers[int.from_bytes(data)]
        if code != TAGGED:
            return Ext(code, bytes(data))
        name, content = msgspec.msgpack.decode(data, ext_hook=self.extension)
        return (self._allowed.get(name) or kinds.named(name)).decode(content, self)


def with_buffers(encoded: bytes, buffers: Sequence[Buffer]) -> bytes:
    """Return an encoded value with the buffers in it that came beside it."""

    def moved(code: int, data: memoryview) -> Any:
        if code == BESIDE:
            return buffers[int.from_bytes(data)]
        if code == TAGGED:
            return Ext(TAGGED, with_buffers(bytes(data), buffers))
        return Ext(code, bytes(data))

    return msgspec.msgpack.encode(msgspec.msgpack.decode(encoded, ext_hook=moved))
