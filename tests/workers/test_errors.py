"""The errors of the worker pool: one base class, and pickles that keep every attribute."""

import pickle

import pytest

import event_collector_workers
from event_collector.exceptions import EventCollectorException
from event_collector_workers import JobTimeout, PoolBroken, WorkerCrashed, WorkerPoolError, WorkerStartError

ERRORS = [
    error
    for name in event_collector_workers.__all__
    if isinstance(error := getattr(event_collector_workers, name), type) and issubclass(error, Exception)
]


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_is_an_event_collector_exception(error: type[WorkerPoolError]) -> None:
    """`except EventCollectorException` catches the errors of the worker pool too."""
    with pytest.raises(EventCollectorException, match="what happened"):
        raise error("what happened", pid=7)


@pytest.mark.parametrize(
    "error",
    [
        WorkerCrashed("it died", pid=7, exitcode=-9),
        WorkerStartError("it did not start", pid=7, exitcode=1),
        JobTimeout("it took too long", pid=7, timeout=2.5),
        PoolBroken("workers die", pid=7, retry_in=0.5),
        EventCollectorException("any"),
    ],
)
def test_errors_survive_pickle(error: Exception) -> None:
    """The class, the text and the attributes come back."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
