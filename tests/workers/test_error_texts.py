"""Texts of errors: the same as Python's for ordinary ones, and bounded for all others."""

import traceback
from collections.abc import Callable
from typing import Any

import pytest

from event_collector_workers.error_texts import LONGEST_TEXT, class_names, error_text, exception_text, line_of, text_of
from tests.event_collector.sample_graphs import GRAPHS, VAST, Linked

BOUND = 2 * LONGEST_TEXT


def raised(make: Callable[[], BaseException]) -> BaseException:
    """Return an exception with a traceback."""
    try:
        raise make()
    except BaseException as exc:
        return exc


def recurse() -> None:
    recurse()


def test_an_ordinary_exception_has_the_traceback_of_python() -> None:
    """Causes, groups and notes are shown as Python shows them."""
    inner = raised(lambda: KeyError("inner"))
    inner.add_note("a note")
    exc = raised(lambda: ExceptionGroup("some", [ValueError("a"), ExceptionGroup("deeper", [inner])]))
    exc.__cause__ = inner
    assert exception_text(exc) == "".join(traceback.format_exception(exc))


def test_a_deep_recursion_is_shown_in_full() -> None:
    """A thousand frames are no reason to leave anything out."""
    with pytest.raises(RecursionError) as caught:
        recurse()
    assert exception_text(caught.value) == "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", GRAPHS)
def test_the_text_of_a_graph_is_bounded(name: str) -> None:
    """Exceptions that refer to each other in any way have a text, within its bound, that begins with the frames."""
    exc = raised(GRAPHS[name])
    for text in (text_of(exc), error_text(exc), exception_text(exc)):
        assert 0 < len(text) < BOUND
    assert "test_error_texts.py" in exception_text(exc)
    assert type(exc).__name__ in exception_text(exc)
    assert len(line_of(exc)) < 200


@pytest.mark.parametrize("name", VAST)
def test_long_texts_lose_their_middle(name: str) -> None:
    """Of very long texts the beginning and the end are kept, and the number of characters between them is said."""
    exc = raised(VAST[name])
    for text in (text_of(exc), exception_text(exc)):
        assert len(text) < BOUND
        assert "begin" in text
        assert "end" in text
        assert " characters ...]" in text
    assert len(line_of(exc)) < 200


def test_a_long_text_that_is_no_exception_is_shortened() -> None:
    """A note or a traceback may be as long as an exception's text."""
    assert text_of("x" * 3 * LONGEST_TEXT).count("x") == LONGEST_TEXT
    assert text_of("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT


def test_text_without_surrogates() -> None:
    """A text can be encoded, whatever is in it."""
    assert text_of("a \ud800") == "a \\ud800"


class Speechless:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (ValueError("bad", 7), "ValueError('bad', 7)"),
        ({"a": [1, 2]}, "{'a': [1, 2]}"),
        (Speechless(), "<Speechless without a repr>"),
        (type("Lines", (), {"__repr__": lambda _: "one\ntwo"})(), "one\\ntwo"),
    ],
)
def test_lines(value: Any, line: str) -> None:
    """A value has a part of a line, whatever its repr is."""
    assert line_of(value) == line


def test_names_of_a_class_and_its_bases() -> None:
    """The main module has one name in the program and in its workers."""
    Main = type("Main", (LookupError,), {"__module__": "__mp_main__"})
    names = ("__main__.Main", *(f"builtins.{name}" for name in ("LookupError", "Exception", "BaseException", "object")))
    assert class_names(Main) == names
    assert class_names(Linked)[0] == "tests.event_collector.sample_graphs.Linked"
