"""A batch of events as a task of Dask, which begins at most once even if its worker is lost."""

from distributed import get_worker
from distributed.utils import sync

from event_collector.remote.batch_host import BatchReply, encode_reply, run_batch
from event_collector.values.errors import ExecutorLost


def run_claimed(name: str, setup: bytes, bodies: list[bytes], timeout: float | None) -> bytes:
    """Run a batch with `run_batch()`, unless another worker has begun it. Return an encoded BatchReply.

    Raises ExecutorLost if the scheduler has lost its plugin.
    """
    worker = get_worker()
    answer = sync(
        worker.loop, worker.scheduler.event_collector_claim, key=worker.get_current_task(), worker=worker.address
    )
    if not answer:
        raise ExecutorLost("the Dask scheduler was restarted since the queue began: start the queue again")
    granted, begun_by = answer
    if not granted:
        return encode_reply(BatchReply([], [], begun_by))
    return run_batch(name, setup, bodies, timeout)
