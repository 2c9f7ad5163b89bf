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
        (("-",), "a program that is read from standard input"),
        (("-c",), "the text of `python -c`"),
        (("-m", "cProfile", "-o", "profile", "script.py"), "a program that `python -m cProfile` runs"),
        (("runner.py",), "a program that runner.py runs"),
        (("deleted.py",), "a program without a file (deleted.py)"),
        (("-m", "package"), "a __main__.py"),
        (("package",), "a __main__.py"),
    ],
)
def test_main_modules_that_workers_cannot_import_are_refused(how: tuple[str, ...], place: str, tmp_path: Path) -> None:
    """Handlers that have no module to be imported from are refused, with the reason and the ways out."""
    (tmp_path / "script.py").write_text(program())
    (tmp_path / "runner.py").write_text("exec(open('script.py').read(), {'__name__': '__main__'})")
    (tmp_path / "deleted.py").write_text(f"import os\nos.unlink(__file__)\n{program()}")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "__main__.py").write_text(program())
    arguments = (*how, program()) if how == ("-c",) else how
    done = run(*arguments, folder=tmp_path, text=program())
    assert done.returncode == 1
    assert "Ok" not in done.stdout
    assert f"its handler is defined in {place}, which they cannot import" in done.stderr.replace(f"{tmp_path}/", "")
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
    assert "__name__" not in done.stderr


@pytest.mark.parametrize("how", [("-m", "cProfile", "-o", "profile", "script.py"), ("-",), ("deleted.py",)])
def test_handlers_in_a_module_need_no_main_module(how: tuple[str, ...], tmp_path: Path) -> None:
    """Where workers cannot import the main module, handlers of other modules work all the same."""
    (tmp_path / "work.py").write_text(program(""))
    text = "import asyncio\nfrom work import main\nif __name__ == '__main__':\n    asyncio.run(main())\n"
    (tmp_path / "script.py").write_text(text)
    (tmp_path / "deleted.py").write_text(f"import os\nos.unlink(__file__)\n{text}")
    done = run(*how, folder=tmp_path, text=text)
    assert (done.stdout, done.stderr, done.returncode) == (EXPECTED, "", 0)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_start_that_fails_names_its_own_cause(method: str, tmp_path: Path) -> None:
    """A main module with a guard whose import fails in workers is not told to get one."""
    text = "import os\nif __name__ != '__main__':\n    raise LookupError('no settings here')\n"
    (tmp_path / "script.py").write_text(text + program(options=f", start_method={method!r}"))
    done = run("script.py", folder=tmp_path)
    assert done.returncode == 1
    assert "LookupError: no settings here" in done.stderr
    assert "WorkerStartError: a worker could not be started" in done.stderr
    assert "must stand under" not in done.stderr
    assert "Connection reset" not in done.stderr
