"""The same handler gives the same results in every mode: answers, exceptions, timeouts, delivery, the end."""

import asyncio
import functools
import pickle
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from event_collector import (
    Collector,
    CollectorQueue,
    Delivery,
    Error,
    HandlerTimeout,
    Ok,
    Payload,
    QueueShutDown,
    RemoteError,
    ResultList,
    Router,
)
from tests.event_collector import sample_exceptions as exceptions
from tests.event_collector import sample_graphs as graphs
from tests.event_collector import sample_handlers as handlers
from tests.event_collector.modes import BOUND, MODES, ask, assert_alive, balanced, error_of, every_place, running

Places = dict[str, Any]


@pytest.fixture(scope="module")
def places() -> Iterator[Places]:
    """One set of executors for all of this module."""
    with every_place() as found:
        yield found


def shown(result: Any) -> Any:
    """What must be the same everywhere: the outcome, its type, its text; not where it was raised."""
    if isinstance(result, Ok):
        return "Ok", repr(result.value)
    details = None if result.details is None else sorted(map(str, result.details))
    return "Error", as_data(result.err), details


def as_data(err: Any) -> Any:
    if not isinstance(err, BaseException):
        return repr(err)
    notes = [note.encode(errors="backslashreplace") for note in notes_of(err)]
    members = [as_data(each) for each in err.exceptions] if isinstance(err, BaseExceptionGroup) else []
    attributes = sorted((k, repr(v)) for k, v in vars(err).items() if not k.startswith("__"))
    args = [] if members else err.args
    return type(err), repr(args), str(err), notes, attributes, members


def notes_of(err: BaseException) -> list[str]:
    notes = getattr(err, "__notes__", ())
    return list(notes) if isinstance(notes, list) else []


EVERYTHING = [
    *(["answer", name] for name in handlers.ANSWERS),
    *(["raise", name] for name in exceptions.RAISED),
    ["recurse", None],
    ["echo", {"a": [1, 2.5, None, True, "text", b"bytes"], "b": {"c": {}}}],
    ["echo", 2**63],
    ["echo", "x" * 200_000],
]


async def expected() -> list[Any]:
    """What coroutines give, the simplest mode."""
    async with running(Collector("c", handlers.act_async)) as queue:
        return [shown(await ask(queue, value)) for value in EVERYTHING]


@pytest.mark.parametrize("mode", MODES)
async def test_results_are_the_same_in_every_mode(mode: str, places: Places) -> None:
    """Whatever a handler returns or raises is the result: value, class, args, attributes, notes, details."""
    wanted = await expected()
    async with running(Collector("c", MODES[mode], mode=places[mode])) as queue:
        got = [shown(await ask(queue, value)) for value in EVERYTHING]
        events = [await queue.get_publisher().send(Payload(["echo", number])) for number in range(50)]
    answers = [event.get_result() for event in events]  # finished by the end of the queue
    assert [answer and answer.first().unwrap() for answer in answers] == list(range(50))
    different = [
        (value, have, want)
        for value, have, want in zip(EVERYTHING, got, wanted, strict=True)
        if have != want and not is_stop_iteration(value, have)
    ]
    assert different == []


def is_stop_iteration(value: Any, have: Any) -> bool:
    """Only Python's own words differ: "coroutine raised", "handler raised"."""
    return bool(value == ["raise", "stop"] and have[1][0] is RuntimeError and "raised StopIteration" in have[1][2])


ELSEWHERE = [mode for mode in MODES if "process" in mode]


@pytest.mark.parametrize("mode", MODES)
async def test_exceptions_of_any_size_and_shape_end_their_events(mode: str, places: Places) -> None:
    """Exceptions that refer to each other, and vast ones, are results in bounded time in every mode."""
    handler = graphs.echo_async if MODES[mode] is handlers.act_async else graphs.echo
    makers = {**graphs.GRAPHS, **graphs.VAST}
    async with running(Collector("c", handler, mode=places[mode], timeout=BOUND)) as queue:
        for name, make in makers.items():
            error = await error_of(queue, name)
            assert isinstance(error, (type(make()), RemoteError)), name
        assert (await ask(queue, 5)).unwrap() == 5


@pytest.mark.parametrize("mode", ELSEWHERE)
async def test_exceptions_that_cannot_come_back_are_named(mode: str, places: Places) -> None:
    """An exception that cannot be had here as it was is a RemoteError with its name and text; the rest go on."""
    async with running(Collector("c", MODES[mode], mode=places[mode])) as queue:
        for name, make in exceptions.DISGUISED.items():
            error, original = await error_of(queue, ["raise", name]), make()
            assert type(error) is RemoteError, name
            assert f"{type(original).__module__}.{type(original).__qualname__}: " in str(error), name
            if name not in ("surrogates", "endless"):
                assert str(original) in str(error)
            if isinstance(original, Exception):
                assert "builtins.Exception" in error.classes
            if name == "unencodable":
                assert "sample_handlers.py" in str(error.__cause__)
        assert type(await error_of(queue, ["raise", "mute"])) is exceptions.Mute
        await assert_alive(queue)


@pytest.mark.parametrize("mode", ["thread", "executor of threads"])
async def test_what_would_end_the_program_stays_in_its_thread(mode: str, places: Places) -> None:
    """KeyboardInterrupt and the like, raised in a thread, are that event's RemoteError and nobody else's."""
    async with running(Collector("c", handlers.act, mode=places[mode])) as queue:
        for name in ("stubborn", "interrupt", "generator"):
            error = await error_of(queue, ["raise", name])
            assert type(error) is RemoteError
            assert type(error.__cause__) is type(exceptions.DISGUISED[name]())
        error = await error_of(queue, ["sys.exit", 3])
        assert str(error) == "builtins.SystemExit: 3"
        await assert_alive(queue)


@pytest.mark.parametrize("mode", MODES)
async def test_the_traceback_says_where_it_was_raised(mode: str, places: Places) -> None:
    """The text of an Error's traceback names the handler's file and the failing line, in every mode."""
    async with running(Collector("c", MODES[mode], mode=places[mode])) as queue:
        result = await ask(queue, ["raise", "chained"])
        assert isinstance(result, Error)
        assert result.key == "c"
        for text in ("".join(traceback.format_exception(result.err)), (result.details or {})["trace"]):
            assert "sample_handlers.py" in text
            assert "in fail" in text
            assert "KeyError: 'inner'" in text
        assert (result.details or {})["exc"] is result.err
        if mode in ELSEWHERE:
            assert "host.py" not in str(result.err.__cause__)
            assert isinstance(pickle.loads(pickle.dumps(result.err)), ValueError)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in ELSEWHERE])
@pytest.mark.parametrize("timeout", [None, BOUND], ids=["", "with a timeout"])
@pytest.mark.parametrize("beside", [False, True], ids=["", "one of several"])
async def test_a_traceback_begins_with_the_handler(
    mode: str, timeout: float | None, beside: bool, places: Places
) -> None:
    """It has none of the frames of this package that call the handler; they would keep the event as well."""
    collectors = [Collector("c", MODES[mode], mode=places[mode], timeout=timeout)]
    collectors += [Collector("d", handlers.act_async)] * beside
    async with running(*collectors) as queue:
        event = await queue.send(Payload(["raise", "chained"]))
        error = (await event.wait()).of("c").err
        assert isinstance(error, BaseException)
        first = traceback.extract_tb(error.__traceback__)[0]
        assert first.name == MODES[mode].__name__


@pytest.mark.parametrize("mode", [mode for mode in MODES if "async" not in mode and mode != "coroutine"])
async def test_what_a_plain_handler_promises_is_kept_or_refused(mode: str, places: Places) -> None:
    """A plain handler that returns a coroutine: a worker awaits it, a thread says that it cannot."""
    async with running(Collector("c", handlers.act, mode=places[mode])) as queue:
        result = await ask(queue, ["coroutine", 5])
        if "thread" in mode:
            assert isinstance(result, Error)
            assert "collector 'c'" in str(result.err)
            assert "mode='coroutine'" in str(result.err)
        else:
            assert result.unwrap() == 5


# -- the ways to name a handler --

NAMED: list[tuple[Any, str]] = [
    (handlers.Shop("local").serve, "local"),
    (handlers.Shop("local").serve_async, "local"),
    (handlers.corner_shop.serve, "corner"),
    (handlers.Shop("object"), "object"),
    (handlers.AsyncShop("object"), "object"),
    (functools.partial(handlers.serve, "partial"), "partial"),
    (functools.partial(handlers.serve_async, "partial"), "partial"),
    (functools.partial(functools.partial(handlers.Shop("twice").serve)), "twice"),
    (handlers.decorated, "decorated"),
]


async def test_handlers_of_every_kind_run_in_workers() -> None:
    """Functions, bound methods, callable objects and partials run in a worker, with the state they have."""
    collectors = [Collector(f"c{number}", each, mode="process") for number, (each, _) in enumerate(NAMED)]
    async with running(*collectors) as queue:
        results = await (await queue.get_publisher().send(Payload(7))).wait()
        assert [result.unwrap() for result in results] == [[name, 7] for _, name in NAMED]
        assert [result.key for result in results] == [collector.key for collector in collectors]


def make_closure() -> Any:
    def closure(payload: Any, ctx: Any) -> Any:
        return None

    return closure


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (lambda payload, ctx: None, "it is a lambda"),
        (make_closure(), "closure is defined inside a function"),
        (functools.partial(lambda payload, ctx: None), "partial cannot be pickled"),
        (handlers.Shop(lambda: None).serve, "method cannot be pickled"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("where", ["process", "executor of processes"])
async def test_handlers_without_a_name_are_refused_at_the_start(
    handler: Any, reason: str, where: str, places: Places
) -> None:
    """A handler that a worker could not import stops the start, with the reason and the ways out."""
    queue = CollectorQueue([Collector("nameless", handler, mode=places[where])], logging=False)
    with pytest.raises(ValueError, match="nameless") as caught:
        await queue.init_queue()
    assert reason in str(caught.value)
    assert "top level of a module" in str(caught.value)
    assert "mode='thread'" in str(caught.value)


async def test_a_context_value_that_cannot_travel_is_refused_at_the_start() -> None:
    """An open file or a lock in a context names itself, and the lifecycle as the way out."""
    collector = Collector("c", handlers.act, mode="process")
    collector.ctx.lock = threading.Lock()
    with pytest.raises(ValueError, match=r"'c'.*context value 'lock'.*lifecycle"):
        await CollectorQueue([collector], logging=False).init_queue()


@pytest.mark.parametrize("where", ["thread", "executor of threads"])
async def test_coroutine_functions_are_refused_by_threads(where: str, places: Places) -> None:
    """An `async def` handler for threads is refused before the first event, with the ways out."""
    with pytest.raises(ValueError, match="thread"):
        async with running(Collector("c", handlers.act_async, mode=places[where])):
            pytest.fail("it started")


# -- delivery across modes --


async def test_delivery_reaches_collectors_of_all_modes(places: Places) -> None:
    """Broadcast, keys and topics find collectors of every mode; results stand in the order of registration."""
    threads, processes = places["executor of threads"], places["executor of processes"]
    places = {
        "process": "process",
        "coroutine": "coroutine",
        "thread": "thread",
        "threads": threads,
        "processes": processes,
    }
    collectors = [
        Collector(key, handlers.act_async if key == "coroutine" else handlers.act, mode=mode, topics=["all", key])
        for key, mode in places.items()
    ]
    async with running(*collectors, max_workers=2) as queue:
        publisher = queue.get_publisher()
        cases: list[tuple[dict[str, Any], list[str]]] = [
            ({}, list(places)),
            ({"delivery": Delivery.KEY, "keys": ["thread", "process", "nobody"]}, ["process", "thread"]),
            ({"delivery": Delivery.KEY, "keys": ["process"]}, ["process"]),
            ({"delivery": Delivery.TOPIC, "topics": ["all"]}, list(places)),
            ({"delivery": Delivery.TOPIC, "topics": ["threads", "processes"]}, ["threads", "processes"]),
            ({"delivery": Delivery.TOPIC, "topics": ["nothing"]}, []),
        ]
        for options, keys in cases * 3:
            results = await (await publisher.send(Payload(["echo", 5], **options))).wait()
            assert [(result.key, result.unwrap()) for result in results] == [(key, 5) for key in keys]
            balanced(queue)
        results = await (await publisher.send(Payload(["raise", "key"]))).wait()
        assert [type(result.err) for result in results if isinstance(result, Error)] == [KeyError] * len(places)


async def test_the_address_of_a_payload_travels_with_it() -> None:
    """A handler in a worker sees delivery, keys, topics and priority as a coroutine does, type for type."""
    sent: list[dict[str, Any]] = [
        {},
        {"delivery": Delivery.KEY, "keys": ["c"], "priority": 7},
        {"delivery": Delivery.TOPIC, "topics": ["t", "u"], "priority": 0.5},
    ]
    async with running(Collector("c", handlers.delivery_of, mode="process", topics=["t"])) as queue:
        for options in sent:
            payload = Payload[Any](0, **options)
            got = (await ask(queue, 0, **options)).unwrap()
            assert got == [payload.delivery.name, payload.keys, payload.topics, payload.priority]
            assert type(got[3]) is type(payload.priority)


class Awaiting(Router):
    """Awaits the collectors itself, one after the other, and says what it got."""

    async def handle_event(self, payload: Payload[Any]) -> ResultList:
        outcomes: list[Any] = []
        for collector in self.collectors.values():
            try:
                outcomes.append(await collector.process(payload))
            except (Exception, asyncio.CancelledError) as exc:
                outcomes.append(Error(exc))
        return ResultList(each if isinstance(each, (Ok, Error)) else Ok(each) for each in outcomes)


async def test_a_router_can_await_collectors_of_every_mode(places: Places) -> None:
    """Collector.process() gives what the handler returned or raises what it raised, wherever that is."""
    threads, processes = places["executor of threads"], places["executor of processes"]
    collectors = [Collector("coroutine", handlers.act_async)] + [
        Collector(f"c{number}", handlers.act, mode=mode)
        for number, mode in enumerate(("process", "thread", threads, processes))
    ]
    async with running(*collectors, router=Awaiting) as queue:
        for value in EVERYTHING:
            event = await queue.get_publisher().send(Payload(value))
            first, *others = [shown(result) for result in await event.wait()]
            for other in others:
                assert other == first or is_stop_iteration(value, other)
        balanced(queue)
    assert all(collector.usage.running == 0 for collector in collectors)


# -- timeouts --


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "executor of processes, async def"])
async def test_a_handler_over_its_time_is_one_error(mode: str, places: Places) -> None:
    """A timeout ends its own event, with an error that names collector, handler and limit; the next one runs."""
    # Executors count the wait for a free thread or their first process, too.
    limit = 2.0 if "executor" in mode else 0.2
    collector = Collector("slow", MODES[mode], mode=places[mode], timeout=limit)
    async with running(collector) as queue:
        await assert_alive(queue, 1)
        begin = time.monotonic()
        error = await error_of(queue, ["sleep", limit * 1.2 if "executor" in mode else 20])
        assert isinstance(error, HandlerTimeout)
        assert isinstance(error, TimeoutError)
        assert "'slow'" in str(error)
        assert str(limit) in str(error)
        assert time.monotonic() - begin < 10
        await assert_alive(queue, 1)


# -- the end --


@pytest.mark.parametrize("mode", ["coroutine", "process", "process, async def"])
async def test_the_end_does_not_wait_for_busy_handlers_for_ever(mode: str) -> None:
    """After consumer_shutdown_timeout what runs and what waits ends with QueueShutDown, within the bound."""
    async with asyncio.timeout(BOUND):
        queue = CollectorQueue(
            [Collector("c", MODES[mode], mode=mode.partition(",")[0])],
            logging=False,
            max_consumers=3,
            max_workers=1,
            consumer_shutdown_timeout=0.3,
        )
        async with queue:
            await assert_alive(queue, 1)
            events = [await queue.get_publisher().send(Payload(["sleep", 60])) for _ in range(6)]
            balanced(queue)
            begin = time.monotonic()
        assert time.monotonic() - begin < 5
        for event in events:
            result = (await event.wait()).first()
            assert isinstance(result, Error)
            assert isinstance(result.err, QueueShutDown)
        count = queue.accounting()
        assert (count.finished, count.in_handlers, count.queued) == (count.accepted, 0, 0)
