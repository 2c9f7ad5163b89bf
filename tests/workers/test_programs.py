"""Whole programs that use the pool: how they start, end, and are killed. Each runs in a process of its own."""

import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from tests.command.running import wait_until

ROOT = Path(__file__).parents[2]
ECHO = """
    import asyncio, os, sys, time
    from event_collector_workers import Job, ScaledProcessPoolExecutor, TaskSpec, WorkerPool

    class Printed(Job):
        def succeeded(self, body, blob, elapsed): print(bytes(body).decode(), flush=True)
        def failed(self, error, elapsed): print(repr(error), flush=True)
"""


def program(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(ECHO) + textwrap.dedent(text))
    return [sys.executable, str(path)]


PATHS = [str(ROOT), str(ROOT / "workers")]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)}


def run(command: list[str], limit: float = 60.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=limit, check=False, env=environment(), cwd="/"
    )


def start(command: list[str], **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), **options
    )


def gone_within(pids: list[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
            return True
        time.sleep(0.01)
    return False


def test_handlers_of_the_main_module_are_found(tmp_path):
    """A task factory may live in the program's own main module."""
    result = run(
        program(
            tmp_path,
            """
            class Shout:
                def run(self, body, blob): return bytes(body).upper(), None
                def close(self): pass

            def shout(argument): return Shout()

            async def main():
                pool = WorkerPool([TaskSpec("__main__:shout", b"")], max_workers=1)
                await pool.start(1)
                pool.submit(Printed(0, b"hello"))
                await pool.close()

            if __name__ == "__main__":
                asyncio.run(main())
            """,
        )
    )
    assert (result.stdout, result.stderr, result.returncode) == ("HELLO\n", "", 0)


def test_a_program_may_put_the_package_on_its_path_by_itself(tmp_path):
    """The zygote finds the package although no environment variable leads to it."""
    path = tmp_path / "program.py"
    path.write_text(
        f"import sys\nsys.path[:0] = {PATHS}\n"
        + textwrap.dedent(ECHO)
        + textwrap.dedent(
            """
            async def main():
                pool = WorkerPool([TaskSpec("tests.workers.tasks:actor", b"")], max_workers=1)
                await pool.start(1)
                pool.submit(Printed(0, b"echo hello"))
                await pool.close()

            if __name__ == "__main__":
                asyncio.run(main())
            """
        )
    )
    # Without the site module no .pth file leads to the package; the dependencies are on the path all the same.
    dependencies = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}
    result = subprocess.run(
        [sys.executable, "-S", str(path)],
        capture_output=True, text=True, timeout=60, check=False, env=dependencies, cwd="/",
    )  # fmt: skip
    assert (result.stdout, result.stderr, result.returncode) == ("hello\n", "", 0)


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
def test_script_without_a_guard_fails_fast_and_says_why(tmp_path, start_method):
    """A main module that starts a pool while it is imported gets an error that names the guard."""
    result = run(
        program(
            tmp_path,
            f"""
            async def main():
                pool = WorkerPool([TaskSpec("tests.workers.tasks:actor", b"")], max_workers=2,
                                  start_method={start_method!r})
                await pool.start(2)

            asyncio.run(main())
            """,
        ),
        limit=30,
    )
    assert result.returncode == 1
    assert '__name__ == "__main__"' in result.stderr
    assert "WorkerStartError" in result.stderr


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
def test_no_process_outlives_a_killed_parent(tmp_path, start_method):
    """SIGKILL of the program ends its workers within 2 seconds, also those that burn or hold the interpreter."""
    process = start(
        program(
            tmp_path,
            f"""
            async def main():
                pool = WorkerPool([TaskSpec("tests.workers.tasks:actor", b"")], max_workers=3,
                                  start_method={start_method!r})
                await pool.start(3)
                pool.submit(Printed(0, b"burn 60"))
                pool.submit(Printed(0, b"sleep 60"))
                await asyncio.sleep(0.1)
                print("up", flush=True)
                await asyncio.sleep(60)

            if __name__ == "__main__":
                asyncio.run(main())
            """,
        )
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    family = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    shared = set(os.listdir("/dev/shm"))
    assert len(family) >= 3
    process.kill()
    process.communicate()
    assert gone_within(family, 2.0)
    new = set(os.listdir("/dev/shm")) - shared  # some may be of other programs, which take them away
    wait_until(lambda: not new & set(os.listdir("/dev/shm")))


def test_forgotten_pool_hinders_no_exit(tmp_path):
    """A program that ends without closing its pool ends at once and leaves nothing."""
    result = run(
        program(
            tmp_path,
            """
            async def main():
                pool = WorkerPool([TaskSpec("tests.workers.tasks:actor", b"")], max_workers=2)
                await pool.start(2)
                pool.submit(Printed(0, b"sleep 60"))
                print(*(worker.pid for worker in pool.statistics().workers))

            if __name__ == "__main__":
                asyncio.run(main())
            """,
        ),
        limit=20,
    )
    assert result.returncode == 0
    assert gone_within([int(pid) for pid in result.stdout.split()], 2.0)


def test_executor_finishes_its_calls_at_interpreter_exit(tmp_path):
    """Without a shutdown the interpreter waits for what was submitted, and ends cleanly."""
    result = run(
        program(
            tmp_path,
            """
            def late(word):
                time.sleep(0.3)
                os.write(1, f"{word}\\n".encode())  # in one piece: two workers write at the same time

            if __name__ == "__main__":
                executor = ScaledProcessPoolExecutor(2)
                for word in ("one", "two"):
                    executor.submit(late, word)
                print("end", flush=True)
            """,
        ),
        limit=20,
    )
    assert (sorted(result.stdout.split()), result.stderr) == (["end", "one", "two"], "")
    assert result.stdout.startswith("end")


def test_interrupt_of_the_group_is_the_parents_to_decide(tmp_path):
    """Ctrl-C reaches every process, yet only the program acts on it: its workers finish, stderr stays clean."""
    process = start(
        program(
            tmp_path,
            """
            import signal

            async def main():
                pool = WorkerPool([TaskSpec("tests.workers.tasks:actor", b"")], max_workers=2)
                await pool.start(2)
                stop = asyncio.Event()
                asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
                pool.submit(Printed(0, b"sleep 0.5"))
                print("up", flush=True)
                await stop.wait()
                await pool.close()

            if __name__ == "__main__":
                asyncio.run(main())
            """,
        ),
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("None\n", "", 0)


def test_worker_imports_little():
    """What every worker loads includes neither asyncio nor anything of the front-end."""
    heavy = "asyncio", "structlog", "uvloop", "psutil", "event_collector", "concurrent.futures"
    code = f"import sys, event_collector_workers.launch.zygote; print([n for n in {heavy} if n in sys.modules])"
    result = run([sys.executable, "-c", code])
    assert (result.stdout, result.stderr) == ("[]\n", "")
