"""The environment of worker processes: random seed, variables, niceness, CPUs and devices."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypedDict

import msgspec

THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)
"""Variables from which numeric libraries take their number of threads, most of them when they are imported."""

_FOLLOW_OPENMP: Final = {"OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS"}
"""Libraries that take the number of OpenMP if they have none of their own."""

DEVICES: Final = "CUDA_VISIBLE_DEVICES"

DEFAULT_GROUP: Final = "default"
"""The name of the worker group of tasks that choose none."""


class WorkerEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker process finds when it imports the modules of its tasks.

    Attributes:
        group: Name of the group that the workers belong to.
        seed: Seed of the random streams of all workers; None for entropy of the system.
        variables: Environment variables, by name.
        defaults: More of them, which matter less: a start method that cannot set them in time leaves them out.
        nice: Added to the niceness of the program, 0 to 19.
        affinity: CPUs of each worker: those of worker `n` are at `n` modulo the length. Empty for the program's CPUs.
        devices: CUDA devices of each worker, in the same way. Empty for those of the program.
    """

    group: str = DEFAULT_GROUP
    seed: int | None = None
    variables: dict[str, str] = {}
    defaults: dict[str, str] = {}
    nice: int = 0
    affinity: tuple[tuple[int, ...], ...] = ()
    devices: tuple[str, ...] = ()

    @property
    def precedes_imports(self) -> bool:
        """Whether it has variables that must be set before anything is imported."""
        return bool(self.variables or self.devices)

    def variables_of(self, number: int) -> dict[str, str]:
        """Return the variables of the worker with this number."""
        return self.defaults | self.variables | self.own_variables(number)

    def own_variables(self, number: int) -> dict[str, str]:
        """Return the variables of the worker with this number that others do not share."""
        return {DEVICES: self.devices[number % len(self.devices)]} if self.devices else {}

    def cpus_of(self, number: int) -> tuple[int, ...]:
        """Return the CPUs of the worker with this number; empty for the program's CPUs."""
        return self.affinity[number % len(self.affinity)] if self.affinity else ()


class WorkerOptions(TypedDict, total=False):
    """The options of a user from which the environment of workers is made. `check` says what each accepts."""

    seed: int | None
    worker_threads: int | None
    worker_env: Mapping[str, str] | None
    worker_nice: int
    worker_affinity: Sequence[int | Collection[int]] | None
    worker_devices: Sequence[int | str] | None


def make_environment(options: WorkerOptions, share: float, group: str = DEFAULT_GROUP) -> WorkerEnvironment:
    """Return the environment of the workers of a group.

    Without `worker_threads`, each may use `share` CPUs, except where the program's own environment has a number of
    threads. Raises ValueError, which names the option, if an option does not accept a value.
    """
    checked = {name: _checked(name, options.get(name, 0 if name == "worker_nice" else None)) for name in _CHECKS}
    threads, given = checked["worker_threads"], checked["worker_env"]
    numbers = dict.fromkeys(THREADS, str(threads or max(1, int(share))))
    return WorkerEnvironment(
        group=group,
        seed=checked["seed"],
        variables=given if threads is None else numbers | given,
        defaults=_unless_chosen(numbers) if threads is None else {},
        nice=checked["worker_nice"],
        affinity=checked["worker_affinity"],
        devices=checked["worker_devices"],
    )


def _checked(name: str, value: object) -> Any:
    try:
        return _CHECKS[name](value)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error


def _unless_chosen(numbers: dict[str, str]) -> dict[str, str]:
    chosen = {name for name in THREADS if name in os.environ}
    if "OMP_NUM_THREADS" in chosen:
        chosen |= _FOLLOW_OPENMP
    return {name: number for name, number in numbers.items() if name not in chosen}


def check_seed(seed: object) -> int | None:
    """Return a seed. Raises ValueError if it is neither None nor an integer of at least 0."""
    if seed is None or (isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0):
        return seed
    raise ValueError(f"takes a whole number, at least 0, not {seed!r}")


def check_threads(threads: object) -> int | None:
    """Return a number of threads. Raises ValueError if it is neither None nor an integer of at least 1."""
    if threads is None or (isinstance(threads, int) and not isinstance(threads, bool) and threads >= 1):
        return threads
    raise ValueError(f"takes a whole number, at least 1, not {threads!r}")


def check_nice(nice: object) -> int:
    """Return a niceness. Raises ValueError if it is not 0 to 19, or this platform has none."""
    if not isinstance(nice, int) or isinstance(nice, bool) or not 0 <= nice <= 19:
        raise ValueError(f"takes a whole number, 0 to 19, not {nice!r}")
    if nice and not hasattr(os, "nice"):
        raise ValueError("cannot be used on this platform, which has no niceness")
    return nice


def check_variables(variables: object) -> dict[str, str]:
    """Return environment variables by name. Raises ValueError if these are none that a process can have."""
    if variables is None:
        return {}
    if not isinstance(variables, Mapping):
        raise ValueError(f'takes a dict such as {{"TZ": "UTC"}}, not {variables!r}')
    for name, value in variables.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise ValueError(f"takes names of variables, not {name!r}")
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(f"takes a string for {name}, not {value!r}")
    return dict(variables)


def check_affinity(affinity: object) -> tuple[tuple[int, ...], ...]:
    """Return the CPUs of each worker. Raises ValueError if it is no list of them, or this platform has no affinity."""
    if affinity is None:
        return ()
    items = _items(affinity, "a list of CPUs, or of collections of CPUs, such as [0, 1] or [{0, 1}, {2, 3}]")
    sets = tuple((one,) if isinstance(one, int) else _items(one, "CPUs in each item") for one in items)
    for cpu in (cpu for cpus in sets for cpu in cpus):
        if type(cpu) is not int or not 0 <= cpu < 65536:
            raise ValueError(f"takes numbers of CPUs, not {cpu!r}")
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError("cannot be used on this platform, which does not bind processes to CPUs")
    return sets  # type: ignore[return-value] # checked above


def check_devices(devices: object) -> tuple[str, ...]:
    """Return the devices of each worker. Raises ValueError if it is no list of numbers or identifiers."""
    if devices is None:
        return ()
    items = _items(devices, 'a list of devices such as [0, 1] or ["GPU-8932f937", "1,2"]')
    for one in items:
        is_number = type(one) is int and one >= 0
        if not is_number and not (isinstance(one, str) and one and "\0" not in one):
            raise ValueError(f"takes numbers or identifiers of devices, not {one!r}")
    return tuple(map(str, items))


def _items(value: object, wanted: str) -> tuple[object, ...]:
    if not isinstance(value, (list, tuple, set, frozenset, range)) or not value:
        raise ValueError(f"takes {wanted}, not {value!r}")
    return tuple(sorted(value)) if isinstance(value, (set, frozenset)) else tuple(value)


_CHECKS: Final[dict[str, Callable[[object], Any]]] = {
    "seed": check_seed,
    "worker_threads": check_threads,
    "worker_env": check_variables,
    "worker_nice": check_nice,
    "worker_affinity": check_affinity,
    "worker_devices": check_devices,
}
