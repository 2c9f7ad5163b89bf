"""CPython's own tests of executors, imported from the running interpreter, against ScaledProcessPoolExecutor.

Interpreters that ship without their test package (Debian's, some images) skip this; with
`PYTHONPATH=DIRECTORY`, where `DIRECTORY/test` is the whole `Lib/test` of the same version, it runs there too.
What is left out is in EXCLUDED, each with its reason.
"""

import importlib
import importlib.util
import sys
import unittest
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from event_collector_workers import ScaledProcessPoolExecutor

SUITE = "test.test_concurrent_futures"
ROOT = Path(__file__).parents[2]

PRIVATE = "looks into private attributes of ProcessPoolExecutor"
WHOLE_POOL = "expects the whole pool to break; here the call at fault gets the error itself, and the pool goes on"

EXCLUDED = {
    "test_context_manager_shutdown": PRIVATE,  # and makes a ProcessPoolExecutor, whatever is under test
    "test_del_shutdown": PRIVATE,  # the same; see test_forgotten_executor_finishes_its_calls
    "test_shutdown_no_wait": PRIVATE,  # the same; test_hang_gh83386 runs here, which the stdlib's own cannot pass
    "test_shutdown_deadlock_pickle": PRIVATE,  # joins its manager thread
    "test_max_tasks_per_child_defaults_to_spawn_context": PRIVATE,
    "test_gh105829_should_not_deadlock_if_wakeup_pipe_full": PRIVATE,  # replaces its wake-up pipe
    "test_python_finalization_error": PRIVATE,  # lets the start of its second thread fail
    "test_max_workers_too_large": PRIVATE,  # Windows: a limit of its wait for many handles
    # Counts the processes of calls that cannot even be pickled: `sem.acquire` of a multiprocessing semaphore.
    "test_saturation": PRIVATE,
    "test_processes_terminate": PRIVATE,
    "test_killed_child": WHOLE_POOL,
    "test_exit_at_task_unpickle": WHOLE_POOL,
    "test_error_at_task_unpickle": WHOLE_POOL,
    "test_error_during_result_unpickle_in_result_handler": WHOLE_POOL,
    "test_exit_during_result_unpickle_in_result_handler": WHOLE_POOL,
}

NEWER_THAN_3_11 = {"test_gh105829_should_not_deadlock_if_wakeup_pipe_full", "test_python_finalization_error"}


class WithContext(ScaledProcessPoolExecutor):
    """What the suite reads of an executor's private parts, answered from the public ones of ours."""

    @property
    def _max_workers(self) -> int:
        return self._limit

    @property
    def _processes(self) -> dict[int, object]:
        seen = self.statistics()
        return {} if seen is None else {worker.number: worker for worker in seen.workers}

    @property
    def _broken(self) -> bool:
        return self._pool_thread is not None and self._pool_thread._refusal is not None


class WithoutContext(WithContext):
    """The executor as most programs make it: its workers come from the zygote, whatever context a test has."""

    def __init__(self, max_workers: int | None = None, mp_context: Any = None, *rest: Any, **options: Any):
        super().__init__(max_workers, None, *rest, **options)


def suite_modules() -> list[ModuleType]:
    """The modules of the suite: one up to Python 3.11, a package later."""
    suite = importlib.import_module(SUITE)
    if not hasattr(suite, "__path__"):
        return [suite]
    names = sorted(path.stem for path in Path(suite.__path__[0]).glob("test_*.py"))
    return [importlib.import_module(f"{SUITE}.{name}") for name in names]


def process_pool_tests(module: ModuleType) -> list[type[unittest.TestCase]]:
    """The test cases of a module that have a multiprocessing context: those of ProcessPoolExecutor."""
    found = [value for value in vars(module).values() if isinstance(value, type)]
    return [case for case in found if issubclass(case, unittest.TestCase) and hasattr(case, "ctx")]


def with_our_executor(case: type[unittest.TestCase], executor: type[ScaledProcessPoolExecutor]) -> Any:
    """The same tests, without those that are excluded, of another executor."""
    excluded = {name: None for name in EXCLUDED if hasattr(case, name)}
    name = case.__name__.replace("ProcessPool", executor.__name__, 1)
    made = type(name, (case,), {"executor_type": executor, "__module__": __name__, **excluded})
    # Each start method but our own is slow: the suite has many short-lived pools and waits for real time.
    return made if executor is WithoutContext else pytest.mark.slow(made)


def importing_ours(run_program: Any) -> Any:
    """Let the programs that the suite starts import our executor instead of the stdlib's."""
    paths = [str(ROOT), str(ROOT / "workers"), *sys.path]

    def assert_python_ok(flag: str, program: str) -> Any:
        for executor in (WithContext.__name__, WithoutContext.__name__):
            theirs = f"from concurrent.futures import {executor}\n"
            ours = f"from event_collector_workers import ScaledProcessPoolExecutor as {executor}\n"
            if theirs in program:
                program = program.replace(theirs, ours)
                break
        else:
            raise AssertionError(f"the program makes another executor:\n{program}")
        if executor == WithoutContext.__name__:
            program = program.replace(", mp_context=context", "")
        # One of the programs forgets an import, which it only needs for process pools other than the stdlib's.
        return run_program(flag, f"import multiprocessing, sys; sys.path[:] = {paths}\n{program}")

    return assert_python_ok


def is_here() -> bool:
    """Whether this Python has the suite."""
    try:
        return importlib.util.find_spec(SUITE) is not None
    except ModuleNotFoundError:
        return False


if not is_here():
    pytest.skip(f"this Python came without {SUITE}, its own tests of executors", allow_module_level=True)


def adopt_suite() -> set[str]:
    """Make this module's test cases out of the suite's; return the names of all tests that it has."""
    names: set[str] = set()
    for module in suite_modules():
        if hasattr(module, "assert_python_ok"):
            module.assert_python_ok = importing_ours(module.assert_python_ok)
        for case in process_pool_tests(module):
            names.update(name for name in dir(case) if name.startswith("test"))
            for executor in (WithContext, WithoutContext) if case.ctx == "forkserver" else (WithContext,):
                made = with_our_executor(case, executor)
                globals()[made.__name__] = made
    return names


SUITE_TESTS = adopt_suite()


def test_exclusions_are_few_and_exist():
    """What is excluded is in the suite, and is the smaller part of it."""
    assert set(EXCLUDED) - NEWER_THAN_3_11 <= SUITE_TESTS
    assert len(SUITE_TESTS) > 3 * len(EXCLUDED)
