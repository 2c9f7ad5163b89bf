"""A batch of events as a task of Dask: begun once, whatever becomes of the worker."""

from distributed import get_worker
from distributed.utils import sync

from event_collector.batch_host import BatchReply, encode_reply, run_batch

__all__ = ["run_claimed"]


def run_claimed(name: str, setup: bytes, bodies: list[bytes], timeout: float | None) -> bytes:
    """Run a batch, unless another worker has begun it; return a BatchReply.

    See `run_batch()`.
    """
    worker = get_worker()
    begun_by = sync(
        worker.loop,
        worker.scheduler.event_collector_claim,
        key=worker.get_current_task(),
        worker=worker.address,
    )
    if begun_by:
        return encode_reply(BatchReply([], [], begun_by))
    return run_batch(name, setup, bodies, timeout)
