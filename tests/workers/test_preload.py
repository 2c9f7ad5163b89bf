"""Imports before workers are forked: shared where that is harmless, else made by each worker."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from event_collector_workers import TaskSpec, WorkerPool, WorkerStartError
from event_collector_workers.environment import WorkerEnvironment
from tests.workers import pools

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, json, os, sys
from event_collector_workers import PoolListener, TaskSpec, WorkerPool
from tests.workers import pools

class Ear(PoolListener):
    apart = []
    def imported_apart(self, module, reason):
        self.apart.append([module, reason])

{main}

async def main():
    pool = WorkerPool(
        [TaskSpec(pools.ACTOR, b"")], max_workers=2, preload={modules}, listener=Ear(), {options}
    )
    await pool.start(2)
    starter = getattr(pool._launcher, "_process", None)
    answers, pids = [], set()
    while len(pids) < 2:
        jobs = [pools.call(pool, {command!r}) for _ in range(4)]
        for job in jobs:
            pid, parent, value = json.loads(await job.result())
            if pid not in pids:
                pids.add(pid)
                answers.append([starter is not None and parent == starter.pid, value])
    await pool.close()
    print(json.dumps([answers, Ear.apart]))

if __name__ == "__main__":
    asyncio.run(main())
"""


def run_workers(
    folder: Path,
    value: str,
    main: str = "",
    options: str = "",
    environment: dict[str, str] | None = None,
    **modules: str,
) -> tuple[list[list[Any]], list[list[str]]]:
    """Return from two workers whether the zygote forked them, and a value; then the modules that they import apart."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    imports = "".join(f"import {name}\n" for name in modules)
    text = PROGRAM.format(
        main=textwrap.dedent(main) or imports, modules=list(modules), options=options, command=f"evaluate {value}"
    )
    (folder / "program.py").write_text(text)
    path = os.pathsep.join([str(ROOT), str(ROOT / "workers"), str(folder)])
    done = subprocess.run(
        [sys.executable, str(folder / "program.py")],
        capture_output=True, text=True, timeout=100, check=False, cwd=folder,
        env=os.environ | {"PYTHONPATH": path} | (environment or {}),
    )  # fmt: skip
    assert done.stderr == ""
    answers, apart = json.loads(done.stdout)
    return answers, apart


INODE = "os.fstat(sys.modules['{}'].ours.fileno()).st_ino"
OPENS = "import socket\nours, theirs = socket.socketpair()\n"


def test_a_module_that_opens_a_connection_is_imported_by_each_worker(tmp_path: Path) -> None:
    """So is one that imports it; both are named once, and the workers are forked all the same."""
    answers, apart = run_workers(
        tmp_path, INODE.format("lower"), main="pass", upper="import lower", lower=OPENS, other="import json"
    )
    assert [forked for forked, _ in answers] == [True, True]
    assert len({inode for _, inode in answers}) == 2
    assert apart == [["upper", "it opens a socket and 1 more"], ["lower", "it opens a socket and 1 more"]]


def test_the_main_module_is_imported_by_each_worker_if_it_opens_a_connection(tmp_path: Path) -> None:
    """It is the module of the handlers in many programs."""
    answers, apart = run_workers(tmp_path, INODE.format("__main__"), main=OPENS)
    assert len({inode for _, inode in answers}) == 2
    assert apart == [["__main__", "it opens a socket and 1 more"]]


def test_a_module_that_starts_a_thread_has_it_in_each_worker(tmp_path: Path) -> None:
    """A fork would not have it."""
    thread = """
        import threading
        ours = threading.Thread(target=threading.Event().wait, name="heartbeat", daemon=True)
        ours.start()
    """
    answers, apart = run_workers(tmp_path, "sys.modules['threaded'].ours.is_alive()", threaded=thread)
    assert answers == [[True, True]] * 2
    assert apart[0] == ["__main__", "it starts a thread, 'heartbeat'"]
    assert apart[1] == ["threaded", "it starts a thread, 'heartbeat'"]


def test_a_generator_that_cannot_be_seeded_anew_is_made_by_each_worker(tmp_path: Path) -> None:
    """Its class has a state of its own, and no method that sets it."""
    own = """
        import os, random
        class Own(random.Random):
            def random(self):
                return self.state
        ours = Own()
        ours.state = int.from_bytes(os.urandom(8), "little")
    """
    answers, apart = run_workers(tmp_path, "sys.modules['own'].ours.random()", main="pass", own=own)
    assert len({number for _, number in answers}) == 2
    assert apart == [["own", "it has a random generator that cannot be seeded anew, of own.Own"]]


def test_generators_of_torch_are_reseeded(tmp_path: Path) -> None:
    """They are unknown to the garbage collector, also in a dict that it has let go. This torch is a stand-in."""
    torch = """
        states = {}
        default = []
        class Generator:
            __slots__ = ()
            def manual_seed(self, seed):
                assert 0 <= seed < 2**63
                states[id(self)] = seed
        default_generator = Generator()
        table = {"one": Generator()}
        manual_seed = default.append
    """
    value = "[*sys.modules['torch'].states.values(), *sys.modules['torch'].default]"
    answers, apart = run_workers(tmp_path, value, torch=torch)
    assert apart == []
    numbers = [number for _, numbers in answers for number in numbers]
    assert len(numbers) == len(set(numbers)) == 6


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
def test_variables_are_set_before_anything_is_imported(tmp_path: Path, start_method: str) -> None:
    """Those of all workers, and the device of each; the program itself does not have them."""
    reads = "import os\nours = [os.environ.get(name) for name in ('GREETING', 'CUDA_VISIBLE_DEVICES')]\n"
    program = """
        from event_collector_workers.environment import WorkerEnvironment
        from reads import ours
        os.environ.update(os.environ if __name__ == "__main__" else {"LATER": "set", "LESS": "mine"})
        if __name__ == "__main__":
            assert ours == ["good bye", None] and os.environ["GREETING"] == "good bye"
    """
    options = f"""start_method={start_method!r}, environment=WorkerEnvironment(
        variables={{"GREETING": "hello"}}, defaults={{"LESS": "default"}}, devices=("3", "GPU-5"), nice=3,
        affinity=(tuple(os.sched_getaffinity(0))[:1],),
    )"""
    value = "[sys.modules['reads'].ours, os.nice(0), len(os.sched_getaffinity(0)), os.environ['LESS']]"
    answers, apart = run_workers(tmp_path, value, program, options, {"GREETING": "good bye"}, reads=reads)
    wanted = [[["hello", device], os.nice(0) + 3, 1, "mine"] for device in ("3", "GPU-5")]
    assert sorted(found for _, found in answers) == wanted
    assert apart == []


async def test_what_the_system_refuses_is_named_at_the_start() -> None:
    """A CPU that this machine does not have."""
    pool = WorkerPool([TaskSpec(pools.ACTOR, b"")], max_workers=1, environment=WorkerEnvironment(affinity=((4095,),)))
    with pytest.raises(WorkerStartError, match="this worker cannot have CPUs 4095: Invalid argument"):
        await pool.start(1)
