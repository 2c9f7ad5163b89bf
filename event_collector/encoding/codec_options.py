"""The `codec=` of a collector: hooks of its own for objects, or pickle."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from event_collector.encoding.coding import PLAIN_CODING, Coding
from event_collector.encoding.tagged import CannotTravel, Restorer, Tagger, ValueKind
from event_collector.values.checks import check_callable
from event_collector.values.errors import ConfigError
from event_collector.values.extras import import_extra

PICKLE: Final = "pickle"
CLOUDPICKLE: Final = "cloudpickle"


@dataclass(frozen=True)
class Codec:
    """How the values of one collector travel that neither msgspec nor a registration knows.

    Args:
        enc_hook: takes an object, returns what travels in its place: anything that can travel. Raises
            NotImplementedError for objects that it leaves to others. It is asked before `register_type()`.
        dec_hook: takes an annotated type and what came, returns an object of the type. Raises NotImplementedError for
            types that it leaves to others.

    Both are functions at the top level of a module, since workers need them.

    Raises:
        ConfigError: there is no hook, or one cannot be called.
    """

    enc_hook: Callable[[Any], Any] | None = None
    dec_hook: Callable[[Any, Any], Any] | None = None

    def __post_init__(self) -> None:
        if self.enc_hook is None and self.dec_hook is None:
            raise ConfigError("Codec() takes enc_hook=, dec_hook= or both, as functions")
        check_callable("Codec: enc_hook takes", self.enc_hook)
        check_callable("Codec: dec_hook takes", self.dec_hook)


CodecOption: TypeAlias = Codec | Literal["pickle", "cloudpickle"] | None


def check_codec(owner: str, codec: Any) -> None:
    """Check the `codec=` of a collector. Raise ConfigError if it is none, or needs what is not installed."""
    if not isinstance(codec, Codec) and codec not in (PICKLE, CLOUDPICKLE):
        raise ConfigError(
            f"{owner}: codec takes a Codec(enc_hook=..., dec_hook=...), 'pickle' or 'cloudpickle', not {codec!r}"
        )
    if codec == CLOUDPICKLE:
        import_extra(CLOUDPICKLE, CLOUDPICKLE)


def coding_of(codec: CodecOption) -> Coding:
    """Return the encoding of values that a codec asks for."""
    if codec is None:
        return PLAIN_CODING
    if isinstance(codec, Codec):
        return Coding(enc_hook=codec.enc_hook, dec_hook=codec.dec_hook)
    return Coding(special=_EVERYTHING, wrap=_CLOUDPICKLED if codec == CLOUDPICKLE else _PICKLED)


class _Everything:
    def __contains__(self, _: object) -> bool:
        return True


_EVERYTHING: Final = _Everything()


def _encode(dumps: Callable[..., bytes], value: Any, tagger: Tagger) -> Any:
    buffers: list[pickle.PickleBuffer] = []
    try:
        data = dumps(value, protocol=5, buffer_callback=buffers.append)
    except Exception as exc:
        raise CannotTravel(
            f"it cannot be pickled: {exc}: open it in the handler, or in the collector's lifecycle"
        ) from exc
    return tagger.buffer(data), [tagger.buffer(buffer.raw()) for buffer in buffers]


def _decode(content: Any, restorer: Restorer) -> Any:
    data, buffers = content
    if restorer.writable:
        buffers = [buffer if _is_writable(buffer) else bytearray(buffer) for buffer in buffers]
    return pickle.loads(data, buffers=buffers)  # noqa: S301 - only if the collector asks for pickle


def _is_writable(buffer: Any) -> bool:
    return not memoryview(buffer).readonly


def _encode_by_cloudpickle(value: Any, tagger: Tagger) -> Any:
    return _encode(import_extra(CLOUDPICKLE, CLOUDPICKLE).dumps, value, tagger)


# Not among the kinds that every decoder knows: data must not lead to pickle where nobody asked for it.
_PICKLED: Final = ValueKind(PICKLE, lambda value, tagger: _encode(pickle.dumps, value, tagger), _decode)
_CLOUDPICKLED: Final = ValueKind(CLOUDPICKLE, _encode_by_cloudpickle, _decode)
