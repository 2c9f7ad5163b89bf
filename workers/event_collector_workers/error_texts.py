"""Texts of errors: tracebacks, messages, names of classes. Their size and the time they take are bounded."""

import reprlib
import traceback
from itertools import islice
from types import FunctionType
from typing import Any, Final

LONGEST_TEXT: Final = 65_536
"""Maximum number of characters of a text. The middle of a longer one is left out."""

_LINE: Final = 150  # characters of a value within a line
_MANY: Final = 10_000  # parts of an error above which its full text might take for ever
_CONTAINERS: Final = (list, tuple, set, frozenset, dict)
_EXCEPTION: Final = 10  # parts that an exception counts as
_FRAME: Final = 2  # parts that a frame of a traceback counts as
_FRAMES: Final = 50  # frames that are shown of an exception with too many parts


class _Outline(reprlib.Repr):
    """Shows the outer parts of a value."""

    def repr_instance(self, x: Any, level: int) -> str:
        """Show the class of an object that is no container, number or text; of an exception, the arguments too."""
        if level > 0 and isinstance(x, BaseException):
            return f"{type(x).__qualname__}{self.repr1(x.args, level - 1)}"
        return f"<{type(x).__qualname__}>"


_outline: Final = _Outline()
_outline.maxlevel = 3
_outline.maxstring = _LINE


def text_of(value: object) -> str:
    """Return the text of an exception or note in a form that can be encoded."""
    try:
        return encodable(_text(value))
    except BaseException:  # its __str__ raises what it likes
        return "(its text could not be made)"


def line_of(value: object) -> str:
    """Return the repr of a value, shortened to a part of a line."""
    try:
        text = _outline.repr(value) if _is_vast(value) else repr(value)
    except BaseException:  # its __repr__ raises what it likes
        text = f"<{type(value).__qualname__} without a repr>"
    return shortened(text, _LINE).replace("\n", "\\n")


def error_text(error: object) -> str:
    """Return the text of an error, for an exception preceded by the name of its class."""
    text = text_of(error)
    if not isinstance(error, BaseException):
        return text
    return f"{type(error).__qualname__}: {text}" if text else type(error).__qualname__


def exception_text(exc: BaseException) -> str:
    """Return the traceback of an exception as text. An exception class that breaks its formatting does no harm."""
    try:
        if not _is_vast(exc):
            return shortened("".join(traceback.format_exception(exc)))
        problem = "has too many causes or parts to show"
    except BaseException as failure:
        problem = f"cannot be formatted: {type(failure).__qualname__}"
    frames = "".join(traceback.format_tb(exc.__traceback__, limit=-_FRAMES))
    return f"{frames}{type(exc).__qualname__}: {text_of(exc)}\n({type(exc).__qualname__} {problem})\n"


def class_names(cls: type) -> tuple[str, ...]:
    """Return the names of a class and of its bases, with their modules, as a program knows them."""
    return tuple(".".join(full_name(each)) for each in cls.__mro__)


def full_name(cls: type) -> tuple[str, str]:
    """Return the module and the qualified name of a class."""
    # multiprocessing imports the main module of the program under this name.
    module = "__main__" if cls.__module__ == "__mp_main__" else str(cls.__module__)
    return encodable(module), encodable(cls.__qualname__)


def encodable(text: str) -> str:
    """Return a text without lone surrogates."""
    return text.encode(errors="backslashreplace").decode()


def _text(value: object) -> str:
    if isinstance(value, _CONTAINERS):
        return shortened(_outline.repr(value) if _is_vast(value) else str(value))
    # Classes that are not written in Python show their arguments, all but groups.
    shows_args = not isinstance(value, BaseExceptionGroup) and not isinstance(type(value).__str__, FunctionType)
    if shows_args and isinstance(value, BaseException) and _is_vast(value.args):
        args = value.args
        value = args[0] if len(args) == 1 and isinstance(args[0], str) else _outline.repr(args)
    return shortened(str(value))


def shortened(text: str, most: int = LONGEST_TEXT) -> str:
    """Return a text, or its begin and its end if it has more than `most` characters."""
    half = most // 2
    if len(text) <= most:
        return text
    return f"{text[:half]} [... {len(text) - 2 * half} characters ...] {text[-half:]}"


def _is_vast(value: object) -> bool:
    """Return whether a value has very many parts, or refers to itself. A part counts each time it is referred to.

    The chain of causes is the exception: the text of an exception has each of them once.
    """
    parts, count, chain = [value], 0, {id(value)}
    while parts:
        part = parts.pop()
        count += 1
        kind = type(part)
        if issubclass(kind, (str, bytes, bytearray)):
            count += len(part) // 64  # type: ignore[arg-type]
        elif issubclass(kind, _CONTAINERS):
            parts += islice(part.items() if isinstance(part, dict) else part, _MANY)  # type: ignore[call-overload]
        elif issubclass(kind, BaseException):
            count += _weight(part)  # type: ignore[arg-type]
            parts += _parts(part, chain)  # type: ignore[arg-type]
        if count + len(parts) > _MANY:
            return True
    return False


def _weight(exc: BaseException) -> int:
    frames, trace = 0, exc.__traceback__
    while trace is not None:
        frames, trace = frames + 1, trace.tb_next
    return _EXCEPTION + _FRAME * frames


def _parts(exc: BaseException, chain: set[int]) -> list[object]:
    parts: list[object] = [exc.exceptions if isinstance(exc, BaseExceptionGroup) else exc.args]
    parts.append(getattr(exc, "__notes__", None))
    for cause in (exc.__cause__, exc.__context__):
        if cause is not None and id(cause) not in chain:
            chain.add(id(cause))
            parts.append(cause)
    return parts
