"""The factory of worker pools, which the testing kit replaces."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from event_collector_workers.pool.worker_pool import WorkerPool


class PoolFactory:
    """Makes the pools of queues that start. The testing kit substitutes its own kind of pool."""

    def __init__(self) -> None:
        self.make: Callable[..., WorkerPool] = WorkerPool

    @contextmanager
    def making(self, make: Callable[..., Any]) -> Iterator[None]:
        """Make pools with `make`, which takes the arguments of WorkerPool, within this context."""
        before, self.make = self.make, make
        try:
            yield
        finally:
            self.make = before


pool_factory: Final = PoolFactory()
