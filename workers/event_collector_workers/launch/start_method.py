"""The choice of a launcher by start method."""

from __future__ import annotations

import multiprocessing
import sys
from typing import TYPE_CHECKING

from event_collector_workers.launch.multiprocessing_launcher import MultiprocessingHandle, MultiprocessingLauncher
from event_collector_workers.launch.zygote_launcher import ZygoteHandle, ZygoteLauncher

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from multiprocessing.context import BaseContext

    from event_collector_workers.child.workplace import Initialize
    from event_collector_workers.environment import WorkerEnvironment


Handle = ZygoteHandle | MultiprocessingHandle
"""A process that a launcher started."""
Launcher = ZygoteLauncher | MultiprocessingLauncher
"""Starts processes that serve the pool at the other end of a socket. All callbacks run in the loop's thread."""


def make_launcher(
    loop: asyncio.AbstractEventLoop,
    start_method: str | None,
    context: BaseContext | None,
    preload: Sequence[str],
    initialize: Initialize | None,
    environment: WorkerEnvironment,
    on_apart: Callable[[str, str], None],
) -> Launcher:
    """Return the launcher for a start method, or for the program's own context.

    `on_apart` is told which module is imported by each worker although "forkserver" should share it, and why.

    "forkserver", the default where it exists, is a zygote, and there "spawn" is one that spawns. If the initializer has
    an argument that only multiprocessing can hand to a child, such as a lock, multiprocessing is used: the start method
    if one was chosen, else the program's default context, in which `multiprocessing.Lock()` makes its locks.
    """
    has_fork_server = "forkserver" in multiprocessing.get_all_start_methods()
    method: str | None = start_method or ("forkserver" if has_fork_server else "spawn")
    if context is None and has_fork_server and method != "fork" and not getattr(sys, "frozen", False):
        try:
            spawns = method == "spawn"
            return ZygoteLauncher(loop, preload, initialize, environment, on_apart, spawns=spawns)
        except Exception:
            if initialize is None:
                raise
        method = start_method
    context = context or multiprocessing.get_context(method)
    if environment.precedes_imports and context.get_start_method() != "spawn":
        raise ValueError(
            f"start method {context.get_start_method()!r} starts workers that have imported modules already: "
            "environment variables, threads and devices of workers need another one"
        )
    return MultiprocessingLauncher(context, loop, preload, initialize, environment)


def check_start_method(start_method: str | None) -> None:
    """Raise ValueError for a start method that this platform does not have."""
    methods = multiprocessing.get_all_start_methods()
    if start_method is not None and start_method not in methods:
        raise ValueError(f"start_method must be one of {', '.join(methods)}, not {start_method!r}")


def is_importing_main() -> bool:
    """Return whether this process is a starting worker that is importing the program's main module."""
    return getattr(multiprocessing.current_process(), "_inheriting", False)
