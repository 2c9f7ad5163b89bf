"""MODULE:OBJECT: what may be named, how it is found, and what is said when it cannot work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .running import BOUND, HANDLERS, lines_of, run


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("echo", {"ok": {"n": 1}}),
        ("double", {"ok": 2}),
        ("by_value", {"ok": ["Order", 1]}),
        ("decorated", {"ok": ["Order", 1]}),
        ("one", {"ok": 2}),
        ("make_queue", {"ok": {"n": 1}}),
        ("make_queue_async", {"ok": {"n": 1}}),
        ("make_filter", {"results": []}),
        ("pair", {"results": [{"collector": "twice", "ok": 2}, {"collector": "same", "ok": {"n": 1}}]}),
        ("queue", {"results": [{"collector": "twice", "ok": 2}, {"collector": "same", "ok": {"n": 1}}]}),
        ("make_pair", {"results": [{"collector": "twice", "ok": 2}, {"collector": "same", "ok": {"n": 1}}]}),
        ("typed", {"ok": ["Order", 1]}),
        ("typed_in_worker", {"ok": ["Order", 1]}),
    ],
)
def test_everything_that_processes_events_can_be_named(target: str, expected: object) -> None:
    """A handler, a Collector, a list, a CollectorQueue, and functions that return one, plain or async."""
    done = run(target=target, stdin='{"n":1}\n')
    assert lines_of(done.stdout) == [{"id": 1, **expected}]  # type: ignore[dict-item]
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("missing", (), "has no attribute 'missing'"),
        ("number", (), "is an int, not a handler"),
        ("fail", (), "ValueError: no queue today (tests/command/sample_targets.py, line"),
        ("nameless", (), "a lambda"),
        ("three_arguments", (), "three_arguments(payload, ctx, more) cannot be a handler"),
        ("double", ("--mode", "coroutine"), "plain function"),
        ("impossible", (), "lines cannot be decoded into list[int] | set[int]"),
        ("one", ("--timeout", "1"), "is a Collector: set --timeout there"),
        ("queue", ("--workers", "2", "--queue-size", "9"), "is a CollectorQueue: set --queue-size and --workers there"),
        ("echo", ("nowhere.ndjson",), "cannot read nowhere.ndjson"),
        ("echo", (".",), ". is a directory"),
        ("echo", ("--workers", "0"), "takes a whole number of at least 1"),
        ("echo", ("--timeout", "-1"), "takes a number of seconds above 0"),
        ("echo", ("--nonsense",), "unrecognized arguments: --nonsense"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(target: str, options: tuple[str, ...], words: str) -> None:
    """A wrong target or option ends the command with status 2 and one line, without a traceback."""
    done = run(*options, target=target, stdin='{"n":1}\n')
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def _python(*arguments: str, cwd: Path, stdin: str = "1\n") -> "subprocess.CompletedProcess[str]":
    script = Path(sys.executable).with_name("event-collector")
    return subprocess.run(
        [str(script), *arguments], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=BOUND, check=False
    )


def test_module_is_found_in_the_current_directory_by_name_and_by_path(tmp_path: Path) -> None:
    """A module beside the user, one in a package there and the path of a file work, workers included."""
    (tmp_path / "mine.py").write_text("def handle(payload, ctx):\n    return payload.value + 1\n")
    package = tmp_path / "src" / "shop"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "prices.py").write_text("RAISE = 2\n")
    (package / "orders.py").write_text(
        "from .prices import RAISE\ndef handle(payload, ctx):\n    return payload.value + RAISE\n"
    )
    outputs = {
        reference: _python("run", reference, "--quiet", cwd=tmp_path)
        for reference in ("mine:handle", "./mine.py:handle", "src/shop/orders.py:handle")
    }
    assert {reference: done.stdout for reference, done in outputs.items()} == {
        "mine:handle": '{"id":1,"ok":2}\n',
        "./mine.py:handle": '{"id":1,"ok":2}\n',
        "src/shop/orders.py:handle": '{"id":1,"ok":3}\n',
    }, [done.stderr for done in outputs.values()]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0\n", "ZeroDivisionError: division by zero (mine.py, line 1)"),
        ("def x(:\n", "SyntaxError"),
        ("import not_installed_anywhere\n", "No module named 'not_installed_anywhere'"),
    ],
)
def test_module_that_cannot_be_imported_is_named_with_the_line_at_fault(
    tmp_path: Path, source: str, words: str
) -> None:
    """An error at import is told in one line that says where it is."""
    (tmp_path / "mine.py").write_text(source)
    done = _python("run", "mine:handle", cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_unknown_module_and_malformed_target_are_named(tmp_path: Path) -> None:
    """Neither is confused with an error inside a module."""
    assert "there is no module 'absent'" in _python("run", "absent:x", cwd=tmp_path).stderr
    assert "is not MODULE:OBJECT" in _python("run", "absent", cwd=tmp_path).stderr


def test_file_whose_name_is_no_module_name_is_told_so(tmp_path: Path) -> None:
    """A dot in the name of a file is the cause that is named, not a module that is missing."""
    (tmp_path / "daily.report.py").write_text("def handle(payload, ctx):\n    return 1\n")
    done = _python("run", "daily.report.py:handle", cwd=tmp_path)
    assert done.returncode == 2
    assert "a dot in the name" in done.stderr
    assert "daily_report.py" in done.stderr


def test_file_that_would_shadow_another_module_is_refused(tmp_path: Path) -> None:
    """A file called like a module that is loaded already is never silently replaced by it."""
    (tmp_path / "json.py").write_text("def handle(payload, ctx):\n    return 1\n")
    done = _python("run", f"{tmp_path}{os.sep}json.py:handle", cwd=HANDLERS.parent)
    assert done.returncode == 2
    assert "another module is called 'json'" in done.stderr


def test_queue_that_cannot_start_or_end_is_told(tmp_path: Path) -> None:
    """A lifecycle that fails ends the command with status 1 and the reason; results written stay."""
    unopened = run(target="unopened", stdin="1\n")
    assert (unopened.returncode, unopened.stdout) == (1, "")
    assert "cannot start: ConnectionError: no database" in unopened.stderr
    unclosed = run(target="unclosed", stdin="1\n")
    assert (unclosed.returncode, unclosed.stdout) == (1, '{"id":1,"ok":1}\n')
    assert "ConnectionError: cannot close" in unclosed.stderr


def test_help_and_version_need_nothing(tmp_path: Path) -> None:
    """Both go to standard output with status 0, and the help shows the shapes of the output."""
    version = _python("--version", cwd=tmp_path)
    assert version.stdout.startswith("event-collector ")
    usage = _python("run", "--help", cwd=tmp_path)
    assert usage.returncode == 0
    assert '"results":[{"collector":KEY' in usage.stdout
    bare = _python(cwd=tmp_path)
    assert (bare.returncode, bare.stderr.count("\n")) == (2, 1)
