"""Stack frames in the tracebacks of handlers: those of this package above the handler are left out."""

import traceback
from types import FrameType

_hidden: set[str] = set()
_between: set[str] = set()


def hide_modules(*modules: str, between: tuple[str, ...] = ()) -> None:
    """Leave the frames of these modules out of tracebacks; each module that calls handlers registers itself.

    `between`: modules of others that call them. Handlers use these as well, so their frames in a stack tell nothing.
    """
    _hidden.update(modules)
    _between.update(between)


def strip_frames(exc: BaseException) -> None:
    """Make the traceback of an exception begin with the frame of the handler.

    This also breaks the reference cycle of the exception and the frames that hold it.
    """
    trace = exc.__traceback__
    while trace is not None and (_is_hidden(trace.tb_frame) or _module(trace.tb_frame) in _between):
        trace = trace.tb_next
    BaseException.with_traceback(exc, trace)  # a frozen dataclass refuses an assignment to __traceback__


def stack_text(frame: FrameType | None) -> str:
    """Return the stack of a thread in the form of a traceback, from the handler's first frame on; empty without one."""
    if frame is None:  # walk_stack() would walk the stack of its caller
        return ""
    frames = [each for each, _ in traceback.walk_stack(frame)]
    count = next((n for n, each in enumerate(frames) if _is_hidden(each)), len(frames))
    if not count:
        return ""
    return "".join(["Traceback (most recent call last):\n", *traceback.format_stack(frame, count)])


def _is_hidden(frame: FrameType) -> bool:
    return _module(frame) in _hidden


def _module(frame: FrameType) -> object:
    return frame.f_globals.get("__name__")
