"""Where workers import from: where the program does, and from nowhere else."""

import os
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio
from event_collector_workers import Job, TaskSpec, WorkerPool

class Printed(Job):
    def succeeded(self, body, blob, elapsed): print(bytes(body).decode(), flush=True)
    def failed(self, error, elapsed): print(repr(error), flush=True)

async def main():
    pool = WorkerPool([TaskSpec("tests.workers.tasks:actor", b"")], max_workers=1, {options})
    await pool.start(1)
    pool.submit(Printed(0, b"echo hello"))
    await pool.close()

if __name__ == "__main__":
    asyncio.run(main())
"""


def run(path: Path, start: str, folder: Path, *flags: str, options: str = "") -> tuple[str, str, int]:
    """Write a program that begins with `start`, run it in a folder, and return its output, errors and status."""
    path.write_text(textwrap.dedent(start) + PROGRAM.format(options=options))
    paths = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *flags, str(path)],
        capture_output=True, text=True, timeout=60, check=False, env=paths, cwd=folder,
    )  # fmt: skip
    return done.stdout, done.stderr, done.returncode


PATHS = [str(ROOT), str(ROOT / "workers"), sysconfig.get_path("purelib")]


def test_the_zygote_has_the_path_of_the_program_at_once(tmp_path: Path) -> None:
    """A program may put the package and each of its dependencies on its path by itself."""
    start = f"import sys; sys.path[:0] = {PATHS}"
    assert run(tmp_path / "program.py", start, tmp_path, "-S") == ("hello\n", "", 0)


def test_a_relative_folder_is_the_one_that_the_program_meant(tmp_path: Path) -> None:
    """The program puts a folder on its path, imports from it, and goes elsewhere: the workers import from it too."""
    (tmp_path / "lib").mkdir()
    for number, path in enumerate(PATHS):
        (tmp_path / "lib" / f"path{number}").symlink_to(path)
    start = f"""
        import os, sys
        sys.path[:0] = {[f"lib/path{number}" for number in range(len(PATHS))]}
        import event_collector_workers.pool.worker_pool, psutil
        os.chdir("/")
        """
    assert run(tmp_path / "program.py", start, tmp_path, "-S") == ("hello\n", "", 0)


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
@pytest.mark.parametrize("has_thread", [False, True])
def test_nothing_is_imported_from_the_working_directory(has_thread: bool, start_method: str, tmp_path: Path) -> None:
    """Modules there are not executed, by the zygote or by workers that it spawns, which a thread makes it do, too."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    for name in ("struct", "pickle", "selectors", "msgspec", "psutil", "multiprocessing", "event_collector_workers"):
        (there / f"{name}.py").write_text(f"print('{name} of the working directory')\nraise SystemExit(7)\n")
    thread = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    (here / "threaded.py").write_text(thread)
    start = f"import sys; sys.path += {PATHS}"
    options = f"preload={['threaded'] if has_thread else []}, start_method={start_method!r}"
    assert run(here / "program.py", start, there, options=options) == ("hello\n", "", 0)
