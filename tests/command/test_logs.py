"""Log lines of `event-collector run`: those of handlers too, from a level up, for readers or as JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command.running import BOUND, lines_of, run

SAID = ["info of 1", "warning of 1", "structured info", "structured warning"]


def said(stderr: str) -> list[str]:
    return [text for text in SAID if text in stderr]


@pytest.mark.parametrize("mode", ["process", "thread"])
def test_the_level_is_that_of_the_loggers_of_handlers(mode: str) -> None:
    """Warnings by default, and what --log-level says otherwise, from `logging` and from structlog."""
    done = run("--quiet", "--mode", mode, target="talk", stdin="1")
    assert lines_of(done.stdout) == [{"id": 1, "ok": 1}]
    assert said(done.stderr) == ["warning of 1", "structured warning"]
    assert "collector=talk" in done.stderr
    done = run("--quiet", "--mode", mode, "--log-level", "info", target="talk", stdin="1")
    assert said(done.stderr) == SAID


@pytest.mark.parametrize("mode", ["process", "thread"])
def test_lines_may_be_json(mode: str) -> None:
    """Each is one object, with the event that it belongs to."""
    done = run("--quiet", "--mode", mode, "--log-format", "json", target="talk", stdin="1")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["warning of 1", "structured warning"]
    assert {(line["level"], line["event_id"], line["collector"]) for line in lines} == {("warning", 1, "talk")}
    assert lines[0]["logger"] == "shop"


def test_a_configuration_of_the_module_is_used(tmp_path: Path) -> None:
    """Its format stays, and its level unless --log-level is given."""
    (tmp_path / "own.py").write_text(
        "import logging\n"
        "logging.basicConfig(level='INFO', format='own %(message)s')\n"
        "def handle(value: int) -> int:\n"
        "    logging.info('info')\n"
        "    logging.warning('warning')\n"
        "    return value\n"
    )
    command = [sys.executable, "-m", "event_collector", "run", "own.py:handle", "--quiet"]
    for options, expected in (([], ["own info", "own warning"]), (["--log-level", "warning"], ["own warning"])):
        done = subprocess.run(
            [*command, *options], input="1", capture_output=True, text=True, timeout=BOUND, check=True, cwd=tmp_path
        )
        assert [line for line in done.stderr.splitlines() if line.startswith("own")] == expected
