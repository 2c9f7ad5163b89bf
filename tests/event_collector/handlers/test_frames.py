"""Tracebacks begin with the frame of the handler."""

import sys
import traceback
from types import ModuleType
from typing import Any

import pytest

from event_collector.handlers import stack_frames as frames
from tests.event_collector.sample_exceptions import Frozen


@pytest.fixture
def call() -> Any:
    """Return a function of a hidden module that calls its argument."""
    module = ModuleType("hidden_caller")
    exec(compile("def call(handler):\n    return handler()\n", "caller.py", "exec"), vars(module))
    frames.hide_modules(module.__name__)
    return module.call


@pytest.mark.parametrize("make", [lambda: ValueError("no"), lambda: Frozen("no")], ids=["plain", "frozen"])
def test_frames_above_the_handler_are_stripped(call: Any, make: Any) -> None:
    """Those of hidden modules at the beginning go; one that the handler itself calls stays."""

    def fail() -> None:
        raise make()

    def handler() -> None:
        call(fail)

    with pytest.raises(Exception, match="no") as caught:
        call(handler)
    error = caught.value
    error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)  # the frame of this test
    frames.strip_frames(error)
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["handler", "call", "fail"]


def test_a_traceback_of_hidden_frames_is_empty(call: Any) -> None:
    """An exception that never reached a handler has no frames left."""
    with pytest.raises(TypeError) as caught:
        call(None)
    error = caught.value
    error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
    frames.strip_frames(error)
    assert error.__traceback__ is None


def test_a_stack_begins_with_the_handler(call: Any) -> None:
    """The text of a thread's stack has the handler and what it calls; without a hidden frame it is complete."""

    def handler() -> str:
        return frames.stack_text(sys._getframe())

    text = call(handler)
    assert text.startswith("Traceback (most recent call last):\n")
    assert "in handler" in text
    assert "caller.py" not in text
    assert "test_a_stack_begins_with_the_handler" in handler()
    assert frames.stack_text(None) == ""


def test_what_calls_hidden_modules_is_stripped_but_kept_in_stacks(call: Any) -> None:
    """A thread pool stands between the event loop and a handler; a handler may have one of its own."""
    module = ModuleType("between_caller")
    exec(compile("def hand_on(call, handler):\n    return call(handler)\n", "pool.py", "exec"), vars(module))
    frames.hide_modules(between=(module.__name__,))

    def fail() -> None:
        raise ValueError("no")

    def handler() -> str:
        return module.hand_on(lambda step: step(), lambda: frames.stack_text(sys._getframe()))

    with pytest.raises(ValueError, match="no") as caught:
        module.hand_on(call, fail)
    error = caught.value
    error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
    frames.strip_frames(error)
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["fail"]
    text = call(handler)
    assert "pool.py" in text
    assert "in handler" in text
