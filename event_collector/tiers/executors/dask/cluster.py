"""A Dask cluster as an executor."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from distributed import LocalCluster

from event_collector.tiers.executors.dask.dask_task import run_claimed
from event_collector.tiers.executors.dask.plugins import Claims, Hosts
from event_collector.tiers.executors.executor_adapter import ExecutorAdapter
from event_collector.values.errors import ConfigError, ExecutorLost
from event_collector_workers.pool_errors import WorkerCrashed

if TYPE_CHECKING:
    from distributed import Client
    from distributed.cfexecutor import ClientExecutor

ANSWER_TIMEOUT: Final = 30.0
"""Seconds that the scheduler may take to answer at the start and end of a queue."""


class DaskAdapter(ExecutorAdapter):
    """Adapts the executor of a Dask client. Raises ConfigError if it was made with `pure=True`."""

    refresh_interval = 2.0

    def __init__(self, executor: "ClientExecutor") -> None:
        super().__init__(executor)
        self._client: Client = executor._client
        self._options: dict[str, Any] = executor._kwargs
        if self._options.get("pure"):
            raise ConfigError(
                "an executor of Dask with pure=True computes equal events once: use dask_workers(client), or "
                "client.get_executor(pure=False)"
            )
        # Each queue closes only what it has opened in the workers.
        self.tag = uuid4().hex[:12]
        self._plugin = f"event_collector hosts {self.tag}"
        self.shares_main = isinstance(self._client.cluster, LocalCluster)
        self._threads = 0

    @property
    def identity(self) -> Any:
        """The client and the options of its tasks."""
        return self._client, repr(sorted(self._options.items()))

    @property
    def slots(self) -> int:
        """Number of threads of all workers; 1 if there is none, since an adaptive cluster starts one for a task."""
        return max(1, self._threads)

    def submit(self, name: str, setup: bytes, bodies: list[bytes], timeout: float | None) -> "Future[bytes]":
        """Submit a batch under a unique key."""
        self._check_running()
        task: Any = {"key": f"{name}-{uuid4().hex}", "pure": False}
        return self.executor.submit(run_claimed, name, setup, bodies, timeout, **task)

    def explain(self, error: BaseException, key: str) -> BaseException:
        """Return the queue's error for an error of Dask."""
        if type(error).__name__ == "KilledWorker":
            crashed = WorkerCrashed(f"collector {key!r}: {error}")
            crashed.__cause__ = error
            return crashed
        if isinstance(error, ExecutorLost):
            return ExecutorLost(f"collector {key!r}: {error}")
        return error

    def lost(self, key: str) -> BaseException:
        """Return the error of the events in a task that Dask has withdrawn."""
        return ExecutorLost(
            f"collector {key!r}: {self._place} is gone, or withdrew the event. If its handler had begun, it may have "
            f"taken effect"
        )

    async def open(self, setups: Mapping[str, bytes]) -> None:
        """Prepare the scheduler and all workers, including workers that start later.

        Raises:
            ConfigError: the cluster cannot import event_collector.
            ExecutorLost: the scheduler is gone.
        """
        self._check_running()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await self._ask(self._client.register_plugin, Claims())
                await self._ask(self._client.register_plugin, Hosts(list(setups)), name=self._plugin)
                self._count(await self._ask(self._client.nthreads))
        except (OSError, TimeoutError) as exc:
            raise ExecutorLost(f"{self._place} does not answer: {type(exc).__name__}: {exc}") from exc
        except Exception as exc:
            raise ConfigError(
                f"{self._place}, or a worker of it, cannot load event_collector, which has to be installed there in "
                f"this version, with the same Python and Dask: {type(exc).__name__}: {exc}"
            ) from exc

    async def close(self) -> None:
        """Leave the lifecycles in the workers."""
        if self._client.status == "running":
            with suppress(Exception):  # they ended with the cluster
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    await self._ask(self._client.unregister_worker_plugin, self._plugin)

    async def refresh(self) -> None:
        """Update the number of threads."""
        if self._client.status == "running":
            with suppress(Exception):  # keep the last number
                self._count(await self._ask(self._client.nthreads))

    @property
    def _place(self) -> str:
        address = getattr(self._client.scheduler, "address", None) or self._client._start_arg
        return f"the Dask scheduler at {address}"

    def _check_running(self) -> None:
        if self._client.status != "running":
            raise ExecutorLost(f"{self._place} is gone: its client is {self._client.status}")

    def _count(self, threads: Mapping[str, int]) -> None:
        wanted = self._options.get("workers")
        wanted = [wanted] if isinstance(wanted, str) else wanted
        known = set(threads) if not wanted else set(threads) & set(wanted)
        # `workers` may contain names that are not addresses. Then all workers count.
        self._threads = sum(count for address, count in threads.items() if not known or address in known)

    async def _ask(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method that waits for the scheduler, without blocking the event loop."""
        if self._client.asynchronous:
            return await call(*args, **kwargs)
        answer: Future[Any] = Future()

        def run() -> None:
            answer.set_running_or_notify_cancel()
            try:
                answer.set_result(call(*args, **kwargs))
            except BaseException as exc:
                answer.set_exception(exc)

        # A daemon, which the program does not join at its end: a scheduler that is gone may block it for long.
        threading.Thread(target=run, name="dask client", daemon=True).start()
        return await asyncio.wrap_future(answer)
