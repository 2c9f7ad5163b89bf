"""The imports that precede the tasks of a worker: made once before workers are forked, or by each worker.

    main module --> initializer --> modules of the tasks --> fork --> steps that were left --> random streams

A step that leaves something which processes must not share, such as a connection, is left to each worker.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from multiprocessing import process, spawn
from typing import TYPE_CHECKING, Any, Final

from event_collector_workers.child.birth import settle
from event_collector_workers.child.random_streams import RandomStreams, collections_put_off
from event_collector_workers.launch.inheritance import Inheritance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from event_collector_workers.child.birth import Birth
    from event_collector_workers.child.workplace import Initialize
    from event_collector_workers.environment import WorkerEnvironment

MAIN: Final = "__main__"
INITIALIZER: Final = "the initializer"
_MAIN_KEYS: Final = ("init_main_from_name", "init_main_from_path")


class Unfit(Exception):
    """A step has left something that processes must not share. It names the step and the reason."""


class Preload:
    """Imports of a zygote and its workers. Only this class writes its fields, in the zygote and in its forks.

    Args:
        preparation: What multiprocessing tells a new process about the program.
        modules: Modules of the tasks.
        initialize: The pickle of a callable and its arguments.
        environment: The environment of the workers.
        apart: Steps that each worker makes.
        spawns: Whether workers are spawned, so that each makes all steps.
    """

    def __init__(
        self,
        preparation: dict[str, Any],
        modules: list[str],
        initialize: bytes | None,
        environment: WorkerEnvironment,
        apart: Sequence[str],
        spawns: bool = False,
    ) -> None:
        self._told = (preparation, modules, initialize, environment)
        main: dict[str, Any] = {key: preparation[key] for key in _MAIN_KEYS if key in preparation}
        self._preparation = {key: value for key, value in preparation.items() if key not in main}
        self._modules = modules
        self._pickle = initialize
        self._initialize: Initialize | None = None
        self._environment = environment
        self._streams = RandomStreams()
        self._steps: dict[str, Callable[[], object]] = {
            MAIN: lambda: _import_main(main),
            INITIALIZER: self._load_initializer,
            **{name: partial(_import, name) for name in modules},
        }
        if spawns or environment.devices:  # each worker sees a device of its own
            apart = list(self._steps)
        if MAIN in apart:
            apart = [*apart, INITIALIZER]  # it may be defined there
        self._left = [step for step in self._steps if step in apart]

    def __repr__(self) -> str:
        return f"<Preload steps={list(self._steps)} left={self._left}>"

    def make(self) -> None:
        """Make the steps that workers may share. Raises Unfit if they must not share one, else what the step raises."""
        spawn.prepare(self._preparation)
        before = Inheritance()
        _import_seeded(self._environment)
        self._streams.find()
        gc.freeze()
        for name, step in self._steps.items():
            if name not in self._left and not self._is_made(name):
                self._make(name, step, before)

    def _is_made(self, name: str) -> bool:
        """Return whether a step would do nothing: earlier ones have imported the module, and were looked at."""
        return self._pickle is None if name == INITIALIZER else name != MAIN and name in sys.modules

    def _make(self, name: str, step: Callable[[], object], before: Inheritance) -> None:
        with collections_put_off():
            step()
            odd = self._streams.find()
        reason = f"it has a random generator that cannot be seeded anew, of {odd[0]}" if odd else before.addition()
        if reason is not None and before.threads == 1:  # a process with threads is not forked anyway
            raise Unfit(name, reason)
        gc.freeze()

    def finish(self, birth: Birth) -> Initialize | None:
        """Be a worker: take on its environment, make the steps that are left, and take its random streams.

        Return what the worker has to call before it opens its tasks.
        """
        settle(birth, self._environment)
        os.environ.update(self._environment.own_variables(birth.number))
        with collections_put_off():
            _import_seeded(self._environment)  # a worker that was forked has it already
            for name in self._left:
                self._steps[name]()
            if self._left:
                self._streams.find()
        self._streams.reseed(self._environment.seed or 0, birth)
        gc.unfreeze()
        return self._initialize

    def spawned(self, birth: Birth) -> Callable[[], Initialize | None]:
        """Return what a worker does that multiprocessing starts next in place of a fork."""
        os.environ.update(self._environment.own_variables(birth.number))
        return partial(_finish_spawned, self._told, birth)

    def _load_initializer(self) -> None:
        if self._pickle is not None:
            with _importing_main():
                self._initialize = pickle.loads(self._pickle)  # noqa: S301 - written by the pool's process


def _finish_spawned(told: tuple[dict[str, Any], list[str], bytes | None, WorkerEnvironment], birth: Birth) -> Any:
    """Be a worker that a zygote has spawned: make all steps."""
    return Preload(*told, apart=(), spawns=True).finish(birth)


def enter_spawned(
    modules: list[str], initialize: Initialize | None, environment: WorkerEnvironment, birth: Birth
) -> Initialize | None:
    """Be a worker that the program has spawned. Its main module has been imported."""
    settle(birth, environment)
    _import_seeded(environment)
    for name in modules:
        _import(name)
    streams = RandomStreams()
    streams.find()
    streams.reseed(environment.seed or 0, birth)
    return initialize


@contextmanager
def _importing_main() -> Iterator[None]:
    current: Any = process.current_process()
    current._inheriting = True  # is_importing_main() reads this: a main module may lack a guard
    try:
        yield
    finally:
        del current._inheriting


def _import_main(keys: dict[str, Any]) -> None:
    with _importing_main():
        spawn.prepare(keys)


def _import_seeded(environment: WorkerEnvironment) -> None:
    """Import `random` if there is a seed: a handler that imports it later has the stream of its worker."""
    if environment.seed is not None:
        import_module("random")


def _import(name: str) -> None:
    with suppress(Exception):  # the task imports it again and reports the error
        import_module(name)
