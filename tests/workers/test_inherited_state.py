"""What processes inherit or share: signals, descriptors, streams, the working directory, forks, process groups.

Each test runs a whole program with a pool, in a process of its own.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.faults.programs import group_of
from tests.workers.test_programs import environment, gone_within, program, run, start

START_METHODS = ["forkserver", "spawn", "fork"]
POOL = """
    import signal, tempfile, threading

    def reap():
        while True:
            try:
                os.wait()
            except ChildProcessError:
                time.sleep(0.001)

    def lose_directory():
        os.chdir(tempfile.mkdtemp())
        os.rmdir(os.getcwd())

    async def main():
        pool = WorkerPool([TaskSpec("tests.workers.tasks:actor", b"")], max_workers=3, start_method={start_method!r})
        await pool.start({workers})
        {body}
        await pool.close()

    if __name__ == "__main__":
        {before}
        asyncio.run(main())
"""


def pool_program(tmp_path: Path, start_method: str, body: str, *, before: str = "", workers: int = 1) -> list[str]:
    body = ("\n" + " " * 8).join(body.strip().splitlines())
    return program(tmp_path, POOL.format(start_method=start_method, workers=workers, body=body, before=before))


def family_of(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


@pytest.mark.parametrize("start_method", START_METHODS)
@pytest.mark.parametrize(
    "before",
    [
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "threading.Thread(target=reap, daemon=True).start()",
        "lose_directory()",
    ],
    ids=["all signals blocked", "SIGCHLD ignored", "children reaped by the program", "no working directory"],
)
def test_a_pool_runs_and_ends_whatever_the_program_has_done_before(
    tmp_path: Path, start_method: str, before: str
) -> None:
    """Its jobs have results, a worker that is killed is replaced, and it ends with its program."""
    body = """
for command in (b"echo first", b"kill 9", b"echo last"):
    pool.submit(Printed(0, command))
    await pool.drain()
"""
    result = run(pool_program(tmp_path, start_method, body, before=before, workers=2), limit=60)
    first, error, last = result.stdout.splitlines()
    assert (first, last, result.stderr, result.returncode) == ("first", "last", "", 0)
    assert error.startswith("WorkerCrashed")


@pytest.mark.parametrize("start_method", START_METHODS)
@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_what_workers_print_goes_nowhere_if_the_program_has_closed_its_streams(
    tmp_path: Path, start_method: str, closed: str
) -> None:
    """No socket or pipe of the pool takes the place of a closed stream, and jobs print as ever."""
    answers = tmp_path / "answers"
    body = f"""
class Noted(Printed):
    def succeeded(self, body, blob, elapsed): open({str(answers)!r}, "a").write(bytes(body).decode() + "\\n")
    failed = lambda self, error, elapsed: self.succeeded(repr(error).encode(), None, 0.0)
for command in (b"print 10000", b"print_raw", b"echo last"):
    pool.submit(Noted(0, command))
    await pool.drain()
"""
    command = pool_program(tmp_path, start_method, body)
    subprocess.run(
        ["bash", "-c", f'exec "$0" "$@" {closed}', *command],
        timeout=60, check=True, env=environment(), cwd="/", capture_output=True,
    )  # fmt: skip
    assert answers.read_text().split() == ["None", "None", "last"]


@pytest.mark.parametrize("start_method", START_METHODS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_every_process_is_the_programs_to_decide(
    tmp_path: Path, start_method: str, number: signal.Signals
) -> None:
    """Service managers signal each process, `timeout` and terminals a group: workers finish what they are in."""
    body = f"""
stop = asyncio.Event()
asyncio.get_running_loop().add_signal_handler({int(number)}, stop.set)
for _ in range(2):
    pool.submit(Printed(0, b"sleep 1"))
await asyncio.sleep(0.1)
print("up", flush=True)
await stop.wait()
"""
    process = start(pool_program(tmp_path, start_method, body, workers=2), start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    family = [member for member in family_of(process.pid) if not is_tracker(member)]
    os.killpg(process.pid, number)
    for member in family:
        os.kill(member, number)
    out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ("None\nNone\n", "", 0)


def is_tracker(pid: int) -> bool:
    return "resource_tracker" in " ".join(psutil.Process(pid).cmdline())


@pytest.mark.parametrize("leave", ["sys.exit(0)", "os._exit(0)", "return"])
@pytest.mark.parametrize("start_method", START_METHODS)
def test_a_fork_of_the_program_that_ends_leaves_the_workers_alone(
    tmp_path: Path, start_method: str, leave: str
) -> None:
    """It runs exit functions, which are not meant for workers of another process."""
    text = f"""
    import threading

    ready = threading.Event()

    async def serve():
        pool = WorkerPool([TaskSpec("tests.workers.tasks:actor", b"")], max_workers=1, start_method={start_method!r})
        await pool.start(1)
        pool.submit(Printed(0, b"sleep 1"))
        await asyncio.sleep(0.1)
        ready.set()
        await pool.close()

    def main():
        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        ready.wait()
        child = os.fork()
        if not child:
            sys.stderr = None
            {leave}
            return
        os.waitpid(child, 0)
        thread.join()

    if __name__ == "__main__":
        main()
    """
    result = run([*program(tmp_path, text)], limit=60)
    assert (result.stdout, result.returncode) == ("None\n", 0)


LINGER = """
pool.submit(Printed(0, b"{job}"))
while not any(worker.job_seconds or worker.finished for worker in pool.statistics().workers):
    await asyncio.sleep(0.01)
{then}
print("up", flush=True)
time.sleep(60)
"""
FORK = """
import warnings
warnings.simplefilter("ignore")  # the program has threads
fork = os.fork()
if not fork:
    time.sleep(60)
print("fork", fork, flush=True)
"""


@pytest.mark.parametrize("job", ["hold 60", "stop"])
@pytest.mark.parametrize("start_method", START_METHODS)
def test_no_worker_outlives_a_killed_program_though_it_cannot_look(tmp_path: Path, start_method: str, job: str) -> None:
    """One is in native code that keeps the interpreter to itself, or is stopped: it ends within 2 seconds."""
    with lingering(tmp_path, start_method, job) as (process, family):
        process.kill()
        process.wait()
        assert gone_within(family, 2.0)


@pytest.mark.parametrize("deed", [signal.SIGSTOP, signal.SIGKILL])
@pytest.mark.parametrize("job", ["hold 60", "stop", "echo idle"])
def test_no_process_outlives_a_killed_program_whose_zygote_was_in_trouble(tmp_path: Path, deed: int, job: str) -> None:
    """The zygote has been stopped, or killed, before the program is killed."""
    with lingering(tmp_path, "forkserver", job) as (process, family):
        (zygote,) = psutil.Process(process.pid).children()
        zygote.send_signal(deed)
        process.kill()
        process.wait()
        assert gone_within(family, 2.0)


@pytest.mark.parametrize("start_method", START_METHODS)
def test_no_worker_outlives_a_killed_program_that_has_forked(tmp_path: Path, start_method: str) -> None:
    """The fork lives on, with copies of the program's descriptors: zygote and worker end all the same."""
    with lingering(tmp_path, start_method, "sleep 60", FORK) as (process, family):
        process.kill()
        process.wait()
        assert gone_within(family, 2.0)


@pytest.mark.parametrize("start_method", START_METHODS)
def test_no_program_of_a_job_outlives_a_killed_program(tmp_path: Path, start_method: str) -> None:
    """What a job has started is in the process group of its worker, which ends as a whole."""
    note = tmp_path / "pid"
    then = f"while not (os.path.exists({str(note)!r}) and open({str(note)!r}).read()): time.sleep(0.01)"
    with lingering(tmp_path, start_method, f"start_program {note}", then) as (process, family):
        assert int(note.read_text()) in family
        process.kill()
        process.wait()
        assert gone_within(family, 2.0)


@contextmanager
def lingering(
    tmp_path: Path, start_method: str, job: str, then: str = ""
) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Start a program whose worker is in a job: the program, and its processes but for its fork. End all at last."""
    command = pool_program(tmp_path, start_method, LINGER.format(job=job, then=then))
    process = start(command, start_new_session=True)
    assert process.stdout is not None
    try:
        lines = list(iter(process.stdout.readline, "up\n"))
        forks = [int(line.split()[1]) for line in lines if line.startswith("fork ")]
        # The tracker of multiprocessing ends with the last process that may use it, and that is the fork.
        yield process, [pid for pid in family_of(process.pid) if pid not in forks and not is_tracker(pid)]
    finally:
        for member in group_of(process.pid):
            member.kill()
        process.communicate()
