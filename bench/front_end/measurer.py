"""A measuring process seen from outside: one interpreter, one library, one figure at a time."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.interpreters import ROOT

__all__ = ["MeasurementError", "Measurer"]


class MeasurementError(Exception):
    """A measurement failed, or its results were wrong; the text holds the measuring process's traceback."""


class Measurer:
    """A process that measures what it is asked for, and sleeps in between.

    Args:
        python: the interpreter.
        checkout: the checkout of this project to measure; None for the library that the interpreter has installed.

    """

    def __init__(self, python: Path, checkout: Path | None) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        if checkout is not None:
            environment["PYTHONPATH"] = os.pathsep.join([str(checkout), str(checkout / "workers")])
        self._process = subprocess.Popen(
            [str(python), "-m", "front_end.measured"],
            cwd=ROOT / "bench",  # where the module is found, and this project is not
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: Mapping[str, Any]) -> dict[str, float]:
        """Return the figures of one measurement.

        Raises:
            MeasurementError: there are none.

        """
        if self._process.stdin is None or self._process.stdout is None:
            raise MeasurementError("the measuring process has no pipes")
        try:
            self._process.stdin.write(json.dumps(dict(request)) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise MeasurementError(f"the measuring process ended before {request}") from None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the measuring process ended"}
        if "error" in answer:
            raise MeasurementError(f"{request}: {answer['error']}")
        return answer

    def __enter__(self) -> "Measurer":
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if exc is None and self._process.stdin is not None:
            self._process.stdin.close()
        else:
            self._process.kill()
        self._process.wait()
