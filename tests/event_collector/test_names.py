"""The public names, where they are imported from, and the signatures behind them."""

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import event_collector
from event_collector import (
    Collector,
    CollectorEvent,
    CollectorQueue,
    Context,
    Delivery,
    Error,
    EventPublisher,
    Ok,
    Payload,
    QueueType,
    ResultList,
    Router,
    SimpleRouter,
    abind,
)
from event_collector.messagebus import Command, Message, MessageBus
from event_collector.queue import InitializedQueue, Load, Metrics, ReportedMetrics, ShutDownQueue

TOP = (
    "Collector CollectorDict CollectorEvent CollectorList CollectorQueue Context Delivery Error "
    "EventPublisher LifecycleManager Ok Payload Processor QueueType Record Result ResultList Router "
    "SimpleRouter abind"
).split()

MODULES = {
    "event_collector.data": "Ok Error Result ResultList abind Delivery Payload Context Record",
    "event_collector.collector": "Collector Processor LifecycleManager CollectorDict CollectorList",
    "event_collector.publisher": "CollectorEvent EventPublisher QueueType DEFAULT_PRIORITY",
    "event_collector.queue": "CollectorQueue Metrics Load InitializedQueue ShutDownQueue ReportedMetrics",
    "event_collector.router": "Router SimpleRouter",
    "event_collector.messagebus": "Message Command MessageBus",
    "event_collector.exceptions": "EventCollectorException ConfigError",
}

QUEUE_DEFAULTS = {
    "DEFAULT_MIN_CONSUMERS": 1,
    "DEFAULT_MAX_CONSUMERS": 100_000,
    "WIP_MARGIN": 0.15,
    "MONITOR_INTERVAL": 0.01,
    "REPORT_INTERVAL": 0.0,
    "AVG_LOAD_INTERVAL": 60.0,
    "METRICS_COLLECTOR_WINDOW_SIZE": 60.0,
    "METRICS_WARMUP_INTERVAL": 3.0,
    "EVENT_SERVICE_DATA_WINDOW_SIZE": 1000,
    "METRICS_HISTORY_SIZE": 1000,
    "CONSUMER_SHUTDOWN_TIMEOUT": 10.0,
}

REQUIRED = inspect.Parameter.empty
Positional = list[tuple[str, Any]]


@pytest.mark.parametrize("name", TOP)
def test_the_package_exports_every_name(name: str) -> None:
    """Each public name is an attribute of the package, listed in __all__ and by dir()."""
    assert hasattr(event_collector, name)
    assert name in event_collector.__all__
    assert name in dir(event_collector)


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in MODULES.items() for name in names.split()]
)
def test_a_name_is_the_same_object_wherever_it_is_imported_from(module: str, name: str) -> None:
    """A name in its own module is the very object that the package exports."""
    value = getattr(importlib.import_module(module), name)
    assert value is getattr(event_collector, name, value)


def test_a_star_import_brings_the_public_names() -> None:
    """`from event_collector import *` brings every public name and no private one."""
    namespace: dict[str, Any] = {}
    exec("from event_collector import *", namespace)
    assert set(TOP) <= set(namespace)
    assert [name for name in namespace if name.startswith("_") and name != "__builtins__"] == []


def test_the_decorator_is_a_public_name() -> None:
    """`from event_collector import collector` gives what makes collectors, whose module has the same name."""
    from event_collector import collector

    assert "collector" in event_collector.__all__
    assert event_collector.collector is collector
    assert isinstance(collector("a")(lambda value: value), Collector)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that the package does not have is refused as any module refuses it."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = event_collector.no_such_name
    with pytest.raises(ImportError):
        exec("from event_collector import no_such_name")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_each_module_can_be_imported_first(module: str) -> None:
    """A program may begin with any of the modules: no import order is needed."""
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True, timeout=60)


@pytest.mark.parametrize(("name", "value"), QUEUE_DEFAULTS.items())
def test_the_defaults_of_the_queue_are_constants(name: str, value: float) -> None:
    """The defaults of CollectorQueue can be imported, with their value and type."""
    constant = getattr(importlib.import_module("event_collector.queue"), name)
    assert constant == value
    assert type(constant) is type(value)


def test_the_default_priority_is_1000() -> None:
    """DEFAULT_PRIORITY belongs to the publisher's module."""
    assert importlib.import_module("event_collector.publisher").DEFAULT_PRIORITY == 1000


def test_the_exceptions_form_one_family() -> None:
    """A configuration error is caught by the base class, and the base class is an Exception."""
    exceptions = importlib.import_module("event_collector.exceptions")
    assert issubclass(exceptions.ConfigError, exceptions.EventCollectorException)
    assert issubclass(exceptions.EventCollectorException, Exception)


@pytest.mark.parametrize("message", [InitializedQueue, ShutDownQueue, ReportedMetrics])
def test_what_the_queue_announces_are_messages(message: type) -> None:
    """Handlers can be written for the base class Message."""
    assert issubclass(message, Message)
    assert not issubclass(message, Command)


@pytest.mark.parametrize(
    ("enum", "members"),
    [(Delivery, {"BROADCAST": 0, "KEY": 1, "TOPIC": 2}), (QueueType, {"FIFO": 0, "PRIORITY": 1, "LIFO": 2})],
)
def test_the_enums_have_their_members_and_values(enum: Any, members: dict[str, int]) -> None:
    """Names and numbers of the enums are part of the interface: programs store them."""
    assert {member.name: member.value for member in enum} == members
    assert [enum(value).name for value in members.values()] == list(members)


def test_a_router_needs_handle_event() -> None:
    """Router is abstract: a subclass that does not say how to handle an event cannot be made."""
    assert inspect.isabstract(Router)
    with pytest.raises(TypeError, match="handle_event"):
        Router({})  # type: ignore[abstract]


def leading(function: Callable[..., Any]) -> Positional:
    """Return name and default of every parameter that may be given by position, but for self."""
    parameters = list(inspect.signature(function).parameters.values())
    if parameters and parameters[0].name == "self":
        del parameters[0]
    return [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


def keywords(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the default of every parameter that must be given by name."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


QUEUE_PARAMETERS: Positional = [
    ("collectors", REQUIRED),
    ("router", SimpleRouter),
    ("autoscale", True),
    ("min_consumers", 1),
    ("max_consumers", 100_000),
    ("wip_margin", 0.15),
    ("monitor_interval", 0.01),
    ("report_interval", 0.0),
    ("avg_load_interval", 60.0),
    ("metrics_collector_window_size", 60.0),
    ("metrics_warmup_interval", 3.0),
    ("event_service_data_window_size", 1000),
    ("metrics_history_size", 1000),
    ("queue_type", QueueType.FIFO),
    ("default_priority", 1000),
    ("consumer_shutdown_timeout", 10.0),
    ("logging", True),
]

METRICS_PARAMETERS: Positional = [
    (name, REQUIRED)
    for name in (
        "timestamp qsize busy consumers load avg_load service_time wait_time arrival_rate departure_rate wip "
        "t_delta event_count"
    ).split()
]

CLASSES: dict[type, Positional] = {
    Ok: [("value", REQUIRED)],
    Error: [("err", REQUIRED), ("details", None)],
    ResultList: [("results", None)],
    Context: [("data", None)],
    Payload: [
        ("value", REQUIRED),
        ("delivery", Delivery.BROADCAST),
        ("keys", None),
        ("topics", None),
        ("priority", None),
    ],
    Collector: [("key", REQUIRED), ("processor", REQUIRED)],
    CollectorQueue: QUEUE_PARAMETERS,
    SimpleRouter: [("collectors", None)],
    MessageBus: [("msg_handlers", None), ("cmd_handlers", None)],
    Metrics: METRICS_PARAMETERS,
    Load: [("qsize", REQUIRED), ("busy", REQUIRED), ("consumers", REQUIRED)],
    InitializedQueue: [("collector_queue", REQUIRED)],
    ShutDownQueue: [("collector_queue", REQUIRED)],
    ReportedMetrics: [("metrics", REQUIRED)],
}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_class_takes_its_parameters_in_order(cls: type) -> None:
    """Positional parameters keep their names, order and defaults; what we add is keyword-only."""
    assert leading(cls) == CLASSES[cls]


def test_a_collector_takes_its_options_by_name() -> None:
    """Topics, context and lifecycle are keyword-only and optional."""
    given = keywords(Collector)
    assert [given[name] for name in ("topics", "ctx", "lifecycle")] == [None, None, None]


def test_type_checkers_know_every_option_of_a_collector() -> None:
    """What the overloads and the decorator take is what Collector takes."""
    from event_collector.handlers.handler_types import BatchOptions, CollectorOptions

    both = CollectorOptions.__annotations__ | BatchOptions.__annotations__
    assert set(both) == set(keywords(Collector))


def test_every_option_of_ours_has_a_default() -> None:
    """The keyword-only parameters of Collector and CollectorQueue are optional, whatever they are."""
    options = keywords(CollectorQueue) | keywords(Collector)
    assert [name for name, default in options.items() if default is REQUIRED] == []


ASYNC_METHODS: list[tuple[Any, str, list[str]]] = [
    (Collector, "process", ["payload"]),
    (CollectorEvent, "wait", []),
    (EventPublisher, "wait", []),
    (CollectorQueue, "init_queue", []),
    (CollectorQueue, "shut_down_queue", []),
    (Router, "handle_event", ["payload"]),
    (SimpleRouter, "handle_event", ["payload"]),
    (SimpleRouter, "async_collector_process", ["payload", "collectors"]),
    (MessageBus, "dispatch", ["evt"]),
]

METHODS: list[tuple[Any, str, list[str]]] = [
    (Ok, "ok", []),
    (Ok, "error", []),
    (Ok, "unwrap", []),
    (Error, "ok", []),
    (Error, "error", []),
    (Error, "unwrap", []),
    (ResultList, "first", []),
    (ResultList, "iter", []),
    (ResultList, "size", []),
    (Payload, "set_delivery", ["delivery", "keys", "topics"]),
    (Payload, "set_priority", ["priority"]),
    (CollectorEvent, "is_done", []),
    (CollectorEvent, "get_result", []),
    (CollectorEvent, "set_result", ["result"]),
    (CollectorEvent, "service_time", []),
    (CollectorEvent, "wait_time", []),
    (CollectorQueue, "get_publisher", []),
    (CollectorQueue, "get_metrics", []),
    (CollectorQueue, "consumer_count", []),
    (CollectorQueue, "current_load", []),
    (CollectorQueue, "get_message_bus", []),
    (SimpleRouter, "gather_results", ["results"]),
    (SimpleRouter, "get_topic_handlers", ["collectors"]),
    (MessageBus, "add_msg_handler", ["msg", "handler"]),
    (MessageBus, "add_cmd_handler", ["cmd", "handler"]),
    (MessageBus, "del_msg_handler", ["msg"]),
    (MessageBus, "del_cmd_handler", ["cmd"]),
]


@pytest.mark.parametrize(
    ("cls", "method", "names"),
    METHODS + ASYNC_METHODS,
    ids=lambda value: getattr(value, "__name__", None) or (value if isinstance(value, str) else ""),
)
def test_a_method_takes_its_parameters_in_order(cls: Any, method: str, names: list[str]) -> None:
    """A method can be called with its parameters by position or by name."""
    assert [name for name, _ in leading(getattr(cls, method))] == names


@pytest.mark.parametrize(("cls", "method", "names"), ASYNC_METHODS, ids=lambda value: getattr(value, "__name__", ""))
def test_an_asynchronous_method_is_a_coroutine_function(cls: Any, method: str, names: list[str]) -> None:
    """What has to be awaited says so to inspect, so subclasses and mocks are made alike."""
    assert inspect.iscoroutinefunction(getattr(cls, method))


def test_set_delivery_need_not_name_keys_or_topics() -> None:
    """Only the delivery is required."""
    assert leading(Payload.set_delivery)[1:] == [("keys", None), ("topics", None)]


def test_send_takes_the_payload_by_position_or_by_name() -> None:
    """The send() that a queue's publisher offers has one required parameter, payload."""

    async def processor(payload: Payload[Any], ctx: Context) -> None: ...

    publisher = CollectorQueue([Collector("a", processor)], logging=False).get_publisher()
    assert leading(publisher.send)[0] == ("payload", REQUIRED)


def test_abind_takes_a_function_and_its_arguments() -> None:
    """abind(f, *args, **kwargs) passes everything after f on."""
    kinds = [(p.name, p.kind.name) for p in inspect.signature(abind).parameters.values()]
    assert [kind for _, kind in kinds][1:] == ["VAR_POSITIONAL", "VAR_KEYWORD"]
    assert kinds[0][0] == "f"
    assert inspect.iscoroutinefunction(abind)
