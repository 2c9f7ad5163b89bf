"""Programs whose own main module holds the handlers: scripts, packages, interactive sessions, missing guards."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

BOUND = 30.0
"""Seconds that a program may take: far more than it ever should."""

PROGRAM = """
import asyncio
from event_collector import Collector, CollectorQueue, Context, Payload

class Mine(Exception):
    pass

def handler(payload, ctx):
    if payload.value == "fail":
        raise Mine("from main")
    return payload.value * 2

async def main():
    queue = CollectorQueue([Collector("h", handler)], logging=False, max_workers=1{options})
    async with queue:
        publisher = queue.get_publisher()
        print((await (await publisher.send(Payload(21))).wait()).first())
        error = (await (await publisher.send(Payload("fail"))).wait()).first().err
        print(type(error) is Mine, error, "in handler" in str(error.__cause__))

{start}
"""
GUARD = 'if __name__ == "__main__":\n    asyncio.run(main())\n'
EXPECTED = "<Ok value=42>\nTrue from main True\n"


def run(*arguments: str, folder: Path, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run Python; whoever inherits its output must be gone within the bound."""
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "workers")])}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )


def program(start: str = GUARD, options: str = "") -> str:
    return textwrap.dedent(PROGRAM).format(start=start, options=options)


@pytest.mark.parametrize("method", [None, "forkserver", "spawn", "fork"])
def test_a_script_may_hold_its_handlers(method: str | None, tmp_path: Path) -> None:
    """Handlers and exceptions of a script's own module work with every start method."""
    (tmp_path / "script.py").write_text(program(options=f", start_method={method!r}"))
    done = run("script.py", folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (EXPECTED, "", 0)


def test_a_script_may_decorate_its_handlers(tmp_path: Path) -> None:
    """The name stands for a Collector there, and in the worker that imports the script as well."""
    (tmp_path / "script.py").write_text(
        program(options=", start_method='spawn'")
        .replace("def handler(payload, ctx)", "@collector('h')\ndef handler(payload, ctx)")
        .replace("Collector, CollectorQueue", "CollectorQueue, collector")
        .replace('Collector("h", handler)', "handler")
    )
    done = run("script.py", folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (EXPECTED, "", 0)


@pytest.mark.parametrize("method", [None, "spawn"])
def test_a_script_without_a_guard_fails_at_once(method: str | None, tmp_path: Path) -> None:
    """A script that starts its queue on import gets an error that names the guard, and starts no more processes."""
    (tmp_path / "script.py").write_text(program("asyncio.run(main())", f", start_method={method!r}"))
    done = run("script.py", folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "if __name__ == '__main__':" in done.stderr
    assert "WorkerStartError" in done.stderr
    assert "collector 'h' would start workers within a worker" in done.stderr
    assert done.stderr.count("would start workers within a worker") <= 4  # the line and its message, there and here


def test_a_module_that_is_run_may_hold_its_handlers(tmp_path: Path) -> None:
    """`python -m package.module` works like a script."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text(program())
    done = run("-m", "package.module", folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (EXPECTED, "", 0)


def test_a_package_may_hold_its_handlers(tmp_path: Path) -> None:
    """Handlers in a module of a package work from its __main__.py, relative imports and all."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "work.py").write_text(program(""))
    (tmp_path / "package" / "__main__.py").write_text(
        "import asyncio\nfrom .work import main\nif __name__ == '__main__':\n    asyncio.run(main())\n"
    )
    done = run("-m", "package", folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (EXPECTED, "", 0)


@pytest.mark.parametrize(
    ("how", "place"),
    [
        (("-",), "an interactive session"),
        (("-c",), "an interactive session"),
        (("-m", "package"), "a __main__.py"),
        (("package",), "a __main__.py"),
    ],
)
def test_main_modules_that_workers_cannot_import_are_refused(how: tuple[str, ...], place: str, tmp_path: Path) -> None:
    """Handlers typed in, piped in, or in a __main__.py are refused at the start, with the reason and the ways out."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "__main__.py").write_text(program())
    arguments = (*how, program()) if how == ("-c",) else how
    done = run(*arguments, folder=tmp_path, text=program())
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"its handler is defined in {place}" in done.stderr
    assert "mode='thread'" in done.stderr


def test_a_module_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    """A handler whose module fails in the worker stops the start with that module's own traceback."""
    (tmp_path / "fragile.py").write_text(
        "import os\n"
        "if os.environ.setdefault('PROGRAM', str(os.getpid())) != str(os.getpid()):\n"
        "    raise ImportError('not in a worker')\n"
        "def handler(payload, ctx):\n"
        "    return 1\n"
    )
    text = program().replace("def handler", "from fragile import handler\ndef other")
    (tmp_path / "script.py").write_text(text)
    done = run("script.py", folder=tmp_path)
    assert done.returncode == 1
    assert "WorkerStartError" in done.stderr
    assert "ImportError: not in a worker" in done.stderr
