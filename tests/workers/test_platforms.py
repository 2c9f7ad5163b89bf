"""Platforms that lack what Linux has: whatever is missing, the packages can be imported."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WITHOUT = """
import importlib, os, pkgutil, select, signal, socket, sys, types

sys.path[:0] = {paths}
for name in {modules}:
    sys.modules[name] = None  # importing it is an ImportError from now on
for owner, names in {attributes}.items():
    for name in names:
        if hasattr(sys.modules[owner], name):
            delattr(sys.modules[owner], name)
sys.platform = {platform!r}
if sys.platform == "win32":
    sys.modules.setdefault("msvcrt", types.ModuleType("msvcrt"))  # Windows has it

for package in ("event_collector", "event_collector_workers"):
    found = importlib.import_module(package)
    for public in found.__all__:
        getattr(found, public)
    for module in pkgutil.walk_packages(found.__path__, package + "."):
        if module.name.rpartition(".")[2] != "__main__":
            importlib.import_module(module.name)
print("imported")
"""

MODULES = {
    "win32": ["uvloop", "resource", "fcntl", "pwd", "grp", "termios", "_posixshmem", "_posixsubprocess"],
    "darwin": ["uvloop"],
}
ATTRIBUTES = {
    "win32": {
        "os": [
            "memfd_create", "MFD_CLOEXEC", "pidfd_open", "register_at_fork", "fork", "sched_getaffinity", "getuid",
            "killpg", "O_CLOEXEC", "sched_setaffinity", "getpgid", "setsid",
        ],
        "select": ["poll", "POLLIN", "epoll"],
        "signal": ["SIGKILL", "SIGCHLD", "SIGHUP", "SIGALRM", "pthread_sigmask", "SIGPIPE"],
        "socket": ["SCM_RIGHTS", "send_fds", "recv_fds", "AF_UNIX", "MSG_DONTWAIT"],
    },
    "darwin": {"os": ["memfd_create", "MFD_CLOEXEC", "pidfd_open", "sched_getaffinity"], "select": ["epoll"]},
}  # fmt: skip


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_every_module_can_be_imported_without_what_the_platform_lacks(platform: str) -> None:
    """No import needs uvloop, fcntl, resource, memfd_create, SCM_RIGHTS and the like; only what uses them does."""
    # What the standard library and the dependencies do at import depends on the real platform: they come first.
    first = "import asyncio, ctypes, multiprocessing.util, psutil, structlog, subprocess, tempfile, msgspec, logging\n"
    first += "import concurrent.futures.process, multiprocessing.popen_spawn_posix, multiprocessing.spawn, shutil\n"
    first += "import distributed, nats, opentelemetry.metrics, prometheus_client, pytest, redis.asyncio, rich\n"
    first += "import cloudpickle, numpy, pandas, PIL.Image, polars, pyarrow, pydantic, sysconfig, uvicorn\n"
    first += "import jinja2, pyarrow.ipc, starlette.applications; sysconfig.get_config_vars()\n"
    program = first + WITHOUT.format(
        paths=[str(ROOT), str(ROOT / "workers")],
        modules=MODULES[platform],
        attributes=ATTRIBUTES[platform],
        platform=platform,
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (result.stdout, result.stderr) == ("imported\n", "")
