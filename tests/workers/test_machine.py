"""What the machine grants: read from fake trees, from a real affinity, from a real control group."""

import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from event_collector_workers.machine import Machine, granted_cpus, memory_limit, read_limits, run_delay
from event_collector_workers.machine.freshness import Freshness

GIB = 1 << 30
VERSION_2 = "30 24 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate"
VERSION_1 = """\
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declare nothing and grant eight CPUs, whatever this machine has."""
    monkeypatch.delenv("PYTHON_CPU_COUNT", raising=False)
    monkeypatch.setitem(sys._xoptions, "cpu_count", "8")


def tree(root: Path, mountinfo: str, groups: str, files: dict[str, str]) -> Path:
    """Build a host below a folder: what is mounted, which groups this process is in, and their files."""
    contents = {"proc/self/mountinfo": mountinfo + "\n", "proc/self/cgroup": groups + "\n"}
    contents |= {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("mountinfo", "groups", "files", "cpus"),
    [
        pytest.param(VERSION_2, "0::/app", {"app/cpu.max": "250000 100000"}, 2.5, id="v2"),
        pytest.param(VERSION_2, "0::/app", {"app/cpu.max": "max 100000"}, 8.0, id="v2 without a quota"),
        pytest.param(VERSION_2, "0::/app", {"app/cpu.max": "50000 100000"}, 0.5, id="half a CPU"),
        pytest.param(
            VERSION_2,
            "0::/pod/app/inner",
            {"pod/cpu.max": "300000 100000", "pod/app/cpu.max": "max 100000", "pod/app/inner/cpu.max": "4000 1000"},
            3.0,
            id="v2, a group above is tighter",
        ),
        pytest.param(
            VERSION_2,
            "0::/pod/app",
            {"cpu.max": "700000 100000", "pod/cpu.max": "600000 100000", "pod/app/cpu.max": "150000 100000"},
            1.5,
            id="v2, the own group is tightest",
        ),
        pytest.param(
            VERSION_1,
            "4:cpu,cpuacct:/app/web\n3:memory:/other",
            {
                "cpu,cpuacct/app/web/cpu.cfs_quota_us": "-1",
                "cpu,cpuacct/app/web/cpu.cfs_period_us": "100000",
                "cpu,cpuacct/app/cpu.cfs_quota_us": "120000",
                "cpu,cpuacct/app/cpu.cfs_period_us": "50000",
            },
            2.4,
            id="v1, nested",
        ),
        pytest.param(
            VERSION_1 + "\n33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
            "4:cpu,cpuacct:/a\n0::/b",
            {
                "cpu,cpuacct/a/cpu.cfs_quota_us": "600000",
                "cpu,cpuacct/a/cpu.cfs_period_us": "100000",
                "unified/b/cpu.max": "500000 100000",
            },
            5.0,
            id="both versions side by side",
        ),
        pytest.param(
            "31 30 0:27 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
            "4:cpu:/docker/abc/job",
            {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"},
            3.0,
            id="mounted from inside the tree, as in a container",
        ),
        pytest.param(VERSION_2, "0::/../elsewhere", {"cpu.max": "100000 100000"}, 1.0, id="outside of the namespace"),
        pytest.param(VERSION_2, "0::/app", {"app/cpu.max": "much 0"}, 8.0, id="nonsense"),
        pytest.param(VERSION_2, "0::/app", {"app/cpu.max": "5 0"}, 8.0, id="no period"),
        pytest.param("garbage\n- x", "garbage", {}, 8.0, id="unreadable tables"),
    ],
)
def test_the_smallest_quota_of_all_groups_counts(
    tmp_path: Path, mountinfo: str, groups: str, files: dict[str, str], cpus: float
) -> None:
    """The CPU quota is the smallest one of the own group and all above it, in both versions."""
    assert granted_cpus(tree(tmp_path, mountinfo, groups, files)) == pytest.approx(cpus)


def test_without_control_groups_the_declared_count_holds(tmp_path: Path) -> None:
    """A system without /proc or control groups sets no quota and no memory limit."""
    assert granted_cpus(tmp_path) == 8.0
    assert read_limits(tmp_path).memory_limit is None
    assert memory_limit(tmp_path) == psutil.virtual_memory().total


def test_memory_is_that_of_the_group_with_the_least_room(tmp_path: Path) -> None:
    """Of nested memory limits that with the least room counts; cache that can be freed is not in use."""
    files = {
        "pod/memory.max": str(8 * GIB),
        "pod/memory.current": str(7 * GIB),
        "pod/memory.stat": f"anon 5\ninactive_file {GIB // 2}",
        "pod/app/memory.max": str(4 * GIB),
        "pod/app/memory.current": str(GIB),
    }
    limits = read_limits(tree(tmp_path, VERSION_2, "0::/pod/app", files))
    assert (limits.memory_limit, limits.memory_used) == (8 * GIB, 13 * GIB // 2)


def test_the_soft_memory_limit_counts_too(tmp_path: Path) -> None:
    """Above memory.high the kernel slows a group down, so it is as good as a limit."""
    files = {"app/memory.max": "max", "app/memory.high": str(GIB), "app/memory.current": "5"}
    assert memory_limit(tree(tmp_path, VERSION_2, "0::/app", files)) == GIB


def test_memory_of_version_1(tmp_path: Path) -> None:
    """Version 1 names the same things differently, and writes a huge number where there is no limit."""
    files = {
        "memory/app/memory.limit_in_bytes": str(GIB),
        "memory/app/memory.usage_in_bytes": str(GIB // 2),
        "memory/app/memory.stat": f"cache 9\ntotal_inactive_file {GIB // 4}",
        "memory/memory.limit_in_bytes": "9223372036854771712",
    }
    limits = read_limits(tree(tmp_path, VERSION_1, "3:memory:/app", files))
    assert (limits.memory_limit, limits.memory_used) == (GIB, GIB // 4)


def test_a_changed_quota_is_seen_at_the_next_refresh(tmp_path: Path) -> None:
    """Limits that change while the program runs are in the first reading after the refresh interval."""
    root = tree(tmp_path, VERSION_2, "0::/app", {"app/cpu.max": "400000 100000"})
    machine = Machine(lambda: 0.0, refresh=2.0, root=root)
    assert machine.read(100.0).cpus == 4.0
    (root / "sys/fs/cgroup/app/cpu.max").write_text("100000 100000\n")
    assert machine.read(100.19).cpus == 4.0
    assert machine.read(100.2).cpus == 1.0


def test_readings_are_frequent_when_work_begins() -> None:
    """At the start and after a rest, then less and less; never more seldom than the refresh interval."""
    freshness = Freshness(2.0)
    read = [time / 20 for time in range(400) if freshness.is_due(time / 20)]
    pauses = [later - sooner for sooner, later in pairwise(read)]
    assert read[0] == 0.0
    assert pauses[0] == pytest.approx(0.2)
    assert all(sooner <= later + 0.051 for sooner, later in pairwise(pauses))
    assert pauses[-1] == pytest.approx(2.0)
    assert len(read) < 30
    assert freshness.is_due(30.0)
    assert [time for time in (30.125, 30.25, 30.375, 30.5) if freshness.is_due(time)] == [30.25, 30.5]
    assert freshness.is_due(5.0)


def test_a_process_that_is_moved_to_another_group_is_followed(tmp_path: Path) -> None:
    """The own group is looked up again, since a supervisor may move a process that runs."""
    root = tree(tmp_path, VERSION_2, "0::/a", {"a/cpu.max": "400000 100000", "b/cpu.max": "200000 100000"})
    machine = Machine(lambda: 0.0, root=root)
    assert machine.read(0.0).cpus == 4.0
    (root / "proc/self/cgroup").write_text("0::/b\n")
    assert machine.read(5.0).cpus == 2.0


@pytest.mark.parametrize(
    ("option", "variable", "expected"),
    [
        ("3", None, 3.0),
        (None, "5", 5.0),
        ("3", "5", 3.0),
        ("default", None, None),
        (None, "0", None),
        (None, "x", None),
    ],
)
def test_a_declared_cpu_count_replaces_the_affinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str | None, variable: str | None, expected: float | None
) -> None:
    """-X cpu_count and PYTHON_CPU_COUNT say how many CPUs there are; the option wins; nonsense is ignored."""
    monkeypatch.delitem(sys._xoptions, "cpu_count")
    if option is not None:
        monkeypatch.setitem(sys._xoptions, "cpu_count", option)
    if variable is not None:
        monkeypatch.setenv("PYTHON_CPU_COUNT", variable)
    here = float(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else float(os.cpu_count() or 1)
    assert granted_cpus(tmp_path) == (here if expected is None else expected)


def test_a_quota_limits_a_declared_count(tmp_path: Path) -> None:
    """Declaring CPUs does not lift the quota."""
    assert granted_cpus(tree(tmp_path, VERSION_2, "0::/", {"cpu.max": "200000 100000"})) == 2.0


class FakeHost:
    """A psutil that reports what a test says, or raises it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.user, self.idle, self.cores = 100.0, 900.0, 10
        self.memory: object = SimpleNamespace(total=10 * GIB, available=6 * GIB)
        self.error: Exception | None = None
        monkeypatch.setattr(psutil, "cpu_times", self.cpu_times)
        monkeypatch.setattr(psutil, "cpu_count", lambda: self.cores)
        monkeypatch.setattr(psutil, "virtual_memory", self.virtual_memory)

    def cpu_times(self) -> SimpleNamespace:
        if self.error:
            raise self.error
        fields = {"user": self.user, "idle": self.idle, "iowait": 0.0, "guest": 7.0}
        return SimpleNamespace(_asdict=lambda: fields)

    def virtual_memory(self) -> object:
        if self.error:
            raise self.error
        return self.memory

    def passes(self, seconds: float, busy: float) -> None:
        """Let time pass in which `busy` cores work."""
        self.user += seconds * busy
        self.idle += seconds * (self.cores - busy)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return FakeHost(monkeypatch)


def test_others_are_what_the_host_is_busy_with_beside_this_program(tmp_path: Path, host: FakeHost) -> None:
    """CPU of others is what the host is busy with beside us, as far as it reaches the granted cores."""
    own = iter([5.0, 11.0, 17.0])
    machine = Machine(lambda: next(own), root=tmp_path)
    assert machine.read(0.0).others == 0.0
    host.passes(2.0, busy=8.0)
    # 8 cores busy, 3 with this program; of the other 5, 2 fit on the cores that are not granted
    assert machine.read(2.0).others == pytest.approx(3.0)
    host.passes(2.0, busy=4.0)
    assert machine.read(4.0).others == 0.0


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"error": RuntimeError("no /proc")}, id="raises"),
        pytest.param({"cores": 0}, id="no CPUs"),
        pytest.param({"user": math.nan}, id="NaN seconds"),
        pytest.param({"user": 0.0, "idle": 0.0}, id="zero seconds"),
        pytest.param({"memory": SimpleNamespace(total=0, available=0)}, id="zero memory"),
        pytest.param({"memory": SimpleNamespace(total=math.nan, available=1)}, id="NaN memory"),
        pytest.param({"memory": None}, id="no memory"),
    ],
)
def test_a_broken_probe_keeps_the_last_values(tmp_path: Path, host: FakeHost, fault: dict[str, object]) -> None:
    """A probe that fails keeps what was read before, and the reading is marked until it works again."""
    machine = Machine(lambda: 0.0, root=tmp_path)
    machine.read(0.0)
    host.passes(2.0, busy=5.0)
    good = machine.read(2.0)
    assert (good.others, good.memory_limit, good.memory_used) == (3.0, 10 * GIB, 4 * GIB)
    assert good.trusted
    before = dict(vars(host))
    vars(host).update(fault)
    bad = machine.read(4.0)
    assert not bad.trusted
    assert (bad.memory_limit, bad.memory_used) == (10 * GIB, 4 * GIB)
    assert bad.others in (3.0, 0.0) if "memory" in fault else bad.others == 3.0
    vars(host).update(before)
    host.passes(2.0, busy=5.0)
    assert machine.read(6.0).trusted


def test_an_own_cpu_that_is_not_a_number_is_not_believed(tmp_path: Path, host: FakeHost) -> None:
    """A caller that reports NaN for its own CPU time blocks that reading only."""
    own = iter([0.0, math.nan, 0.0])
    machine = Machine(lambda: next(own), root=tmp_path)
    assert machine.read(0.0).trusted
    assert not machine.read(2.0).trusted
    assert machine.read(4.0).trusted


def test_the_host_limits_memory_when_it_has_less_room_than_the_group(tmp_path: Path, host: FakeHost) -> None:
    """A generous group on a full host gives no more than the host has left."""
    files = {"memory.max": str(9 * GIB), "memory.current": str(GIB)}
    machine = Machine(lambda: 0.0, root=tree(tmp_path, VERSION_2, "0::/", files))
    reading = machine.read(0.0)
    assert (reading.memory_limit, reading.memory_used) == (10 * GIB, 4 * GIB)


def test_the_process_tree_counts_as_the_programs_own_cpu() -> None:
    """Without own_cpu the CPU time of this process and its descendants is not taken for that of others."""
    reading = Machine().read(0.0)
    assert reading.trusted
    assert reading.others == 0.0


def ask_in_child(prefix: list[str]) -> float:
    """Return granted_cpus() as a fresh interpreter below `prefix` sees it."""
    code = "from event_collector_workers.machine import granted_cpus; print(granted_cpus())"
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [*prefix, sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return float(done.stdout)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system knows no CPU affinity")
def test_a_real_affinity_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound to one CPU, this process is granted one."""
    monkeypatch.delitem(sys._xoptions, "cpu_count")
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert granted_cpus(tmp_path) == 1.0
    finally:
        os.sched_setaffinity(0, allowed)


def test_taskset_is_seen() -> None:
    """A program started with taskset on one CPU is granted at most one."""
    try:
        subprocess.run(["taskset", "--version"], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("taskset is not installed")
    cpu = str(min(os.sched_getaffinity(0)))
    assert ask_in_child(["taskset", "-c", cpu]) <= 1.0


@pytest.fixture
def real_group() -> Iterator[Path]:
    """A real control group with a quota of a quarter of a CPU in a group of half a CPU."""
    for base, quota in ((Path("/sys/fs/cgroup/cpu"), "cpu.cfs_quota_us"), (Path("/sys/fs/cgroup"), "cpu.max")):
        outer = base / f"event-collector-test-{os.getpid()}"
        try:
            outer.mkdir()
        except OSError:
            continue
        inner = outer / "inner"
        try:
            inner.mkdir()
            if not (inner / quota).exists():
                continue
            (outer / quota).write_text("50000")
            (inner / quota).write_text("25000")
            yield inner
            return
        except OSError:
            continue
        finally:
            if inner.exists():
                inner.rmdir()
            outer.rmdir()
    pytest.skip("this machine lets nobody create a control group with a CPU quota here")


def test_a_real_control_group_is_seen(real_group: Path) -> None:
    """Inside a real group of a quarter of a CPU a process is granted a quarter of a CPU."""
    join = ["sh", "-c", f'echo $$ > {real_group}/cgroup.procs && exec "$@"', "sh"]
    assert ask_in_child(join) == pytest.approx(0.25)


@pytest.mark.parametrize("content", [None, "", "12 x 3", "12"])
def test_a_run_delay_that_nobody_tells_is_none(tmp_path: Path, content: str | None) -> None:
    """Another system, a process that is gone, a kernel without the figure: no delay, and no error."""
    if content is not None:
        (tmp_path / "7").mkdir()
        (tmp_path / "7" / "schedstat").write_text(content)
    assert run_delay(7, tmp_path) is None


def test_a_run_delay_is_read_in_seconds(tmp_path: Path) -> None:
    """The kernel tells nanoseconds, in the second of three fields."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "schedstat").write_text("9000000000 1500000000 42\n")
    assert run_delay(7, tmp_path) == 1.5


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel does not tell run delays")
def test_the_run_delay_of_this_thread_only_grows() -> None:
    """A real thread has one, by its own id, and it never falls."""
    first = run_delay(threading.get_native_id())
    second = run_delay(threading.get_native_id())
    assert first is not None
    assert second is not None
    assert 0.0 <= first <= second
