"""Handlers that take the value alone, and collectors made by the decorator: the same in every mode."""

import functools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import event_collector
from event_collector import Collector, Context, Error, Ok, Payload, collector
from event_collector.exceptions import ConfigError
from event_collector.remote.host import open_host
from event_collector.remote.setup import seal
from tests.event_collector.handlers import sample_plain as sample
from tests.event_collector.modes import every_place, running
from tests.event_collector.sample_types import Order, Receipt

MODES = {
    "coroutine": sample.bill_async,
    "thread": sample.bill,
    "process": sample.bill,
    "process, async def": sample.bill_async,
    "adaptive, async def": sample.bill_async,
    "adaptive, def in a thread": sample.bill,
    "executor of threads": sample.bill,
    "executor of processes": sample.bill,
    "executor of processes, async def": sample.bill_async,
}


async def test_a_handler_of_the_value_alone_runs_in_every_mode() -> None:
    """Return values are wrapped in Ok and typed, exceptions in Error, decorated functions are found by workers."""
    with every_place() as places:
        plain = [Collector(mode, handler, mode=places[mode]) for mode, handler in MODES.items()]
        async with running(*plain, *sample.DECORATED) as queue:
            good = await queue.get_publisher().send(Payload(Order(3)))
            bad = await queue.get_publisher().send(Payload(Order(-1)))
            results, failures = await good.wait(), await bad.wait()
    assert {result.key: result.unwrap() for result in results} == dict.fromkeys(queue.collectors, Receipt(6))
    assert {type(result) for result in failures} == {Error}
    for failure in failures:
        said = "sold out" if failure.key == "decorated" else repr(ValueError("sold out"))
        assert isinstance(failure, Error)
        assert (failure.err if failure.key == "decorated" else repr(failure.err)) == said
        if failure.key == "process":
            assert "value_handler" not in str(failure.err.__cause__), "frames of ours say nothing to the reader"


async def test_a_value_that_does_not_fit_is_refused_in_a_worker() -> None:
    """The worker decodes into the annotation of the one parameter, and checks it."""
    async with running(Collector("bill", sample.bill)) as queue:
        event = await queue.get_publisher().send(Payload({"number": "three"}))
        error = (await event.wait()).of("bill").err  # type: ignore[union-attr]
    assert isinstance(error, event_collector.PayloadTypeError)
    assert "number" in str(error)


HANDLERS: dict[str, Callable[..., Any]] = {
    "function": sample.bill,
    "coroutine function": sample.bill_async,
    "partial": functools.partial(sample.scale, 2),
    "bound method": sample.Till(2).bill,
    "object": sample.Till(2),
    "handler of a Collector": sample.decorated_plain.handler,
    "payload handler of a Collector": sample.decorated.handler,
    "handler in a class": sample.Shop.in_a_class.handler,
}


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
def test_a_worker_can_have_every_kind_of_handler(handler: Callable[..., Any]) -> None:
    """What a worker gets is found by name, also where a decorator has left a Collector under it."""
    from event_collector.remote.codec import ReplyDecoder, encode_payload

    made = Collector("orders", handler, mode="process", ctx=Context({"factor": 2}))
    assert (made.payload_type, made.result_type) == (Order, Receipt)
    assert made.handler is handler
    host = open_host(seal(made))
    try:
        reply = host.run(*encode_payload(Payload(Order(4)), "orders"))  # type: ignore[arg-type]
    finally:
        host.close()
    assert ReplyDecoder(Receipt, "orders")(*reply).unwrap() == Receipt(8)


def test_a_handler_of_payload_and_context_is_called_as_it_is() -> None:
    """Nothing stands between the queue and such a handler."""
    made = Collector("orders", sample.decorated.handler)
    assert made.processor is made.handler is sample.decorated.handler


async def test_a_value_handler_gets_the_very_object_in_coroutine_mode() -> None:
    """Outside of worker processes no value is copied."""
    sent: list[int] = []

    async def remember(value: list[int]) -> bool:
        return value is sent

    async with running(Collector("a", remember)) as queue:
        event = await queue.get_publisher().send(Payload(sent))
        assert (await event.wait()).first() is not None
        assert (await event.wait()).of("a").unwrap() is True


def test_a_collector_of_another_collectors_processor_is_the_same() -> None:
    """What wraps a plain handler is not wrapped again."""
    first = Collector("a", sample.bill, mode="thread")
    second = Collector("b", first.processor, mode="thread")
    assert second.handler is sample.bill
    assert second.processor(Payload(Order(1)), Context()) == Receipt(2)


# -- the decorator --


def test_the_decorator_makes_a_collector() -> None:
    """Key, options and handler are in it, and it can be called as the function that it was."""
    made = sample.decorated
    assert isinstance(made, Collector)
    assert (made.key, made.mode, made.ctx.factor) == ("decorated", "process", 2)
    assert sample.decorated_plain(Order(2)) == Receipt(4)
    assert made(Payload(Order(2)), made.ctx).unwrap() == Receipt(4)


@pytest.mark.parametrize("key", ["", 3])
def test_a_key_of_the_decorator_is_a_name(key: Any) -> None:
    """With a key that is none it says how it is written."""
    with pytest.raises(ConfigError, match=r"@collector\('"):
        collector(key)


def test_a_collector_is_no_handler() -> None:
    """To make a Collector of a Collector is refused, and the error tells the way to its handler."""
    with pytest.raises(ConfigError, match=r"\.handler"):
        Collector("orders", sample.decorated)
    assert Collector("orders", sample.decorated.handler).key == "orders"


def test_a_nested_function_that_is_decorated_is_refused_by_workers() -> None:
    """A decorator does not give a name to what has none."""

    @collector("nested", mode="process")
    def nested(order: Order) -> Receipt:
        return Receipt(1)

    with pytest.raises(ConfigError, match="defined inside a function"):
        seal(nested)


def test_an_imposter_is_not_taken_for_a_decorated_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker gets the handler itself or none: a Collector of another one under its name is refused."""
    other = Collector("other", sample.bill_async)
    monkeypatch.setattr(sample, "scale", other)
    with pytest.raises(ConfigError, match="cannot be pickled"):
        seal(Collector("orders", functools.partial(HANDLERS["partial"].func, 2)))  # type: ignore[attr-defined]


IMPORTS = [
    "from event_collector import collector",
    "import event_collector.collector; from event_collector import collector",
    "from event_collector.collector import Collector; from event_collector import collector",
    "from event_collector.collector import collector",
    "import event_collector; collector = event_collector.collector",
    "from event_collector import *",
    "import event_collector.collector as module; collector = module; module.Collector",
]


@pytest.mark.parametrize("statement", IMPORTS)
def test_the_decorator_shares_its_name_with_its_module(statement: str) -> None:
    """Whatever was imported before, and how: the name can be called, and the module has its classes."""
    program = f"{statement}\nimport event_collector.collector\n@collector('k', timeout=2)\ndef f(n): pass\n"
    program += "print(type(f) is event_collector.collector.Collector, f.key, f.timeout)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "True k 2\n"


def test_results_are_found_by_their_collector() -> None:
    """`of()` finds them by the collector or by its key, and gives the one Error of an event that reached none."""
    results = event_collector.ResultList([Ok(1, key="plain"), Error("no", key="decorated")])
    assert results.of(sample.decorated_plain) is results[0]
    assert results.of("decorated") is results[1]
    with pytest.raises(LookupError, match=r"'decorated coroutine' has no result here.*'plain', 'decorated'"):
        results.of(sample.decorated_coroutine)
    whole = event_collector.ResultList([Error(event_collector.EventCancelled("cancelled"))])
    assert whole.of(sample.decorated) is whole[0]
    with pytest.raises(LookupError):
        event_collector.ResultList().of("plain")
