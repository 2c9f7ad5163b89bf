"""The options of a queue: one table that the signature, the documentation and the checks agree with."""

import inspect
import math
import os
import textwrap
from typing import Any

import pytest

from event_collector import Collector, CollectorQueue
from event_collector.exceptions import ConfigError
from event_collector.life.option import REQUIRED, Number, Option, Range
from event_collector.life.scaling import most_workers
from event_collector.life.settings import OPTIONS, Settings
from event_collector_workers.autoscaler import FixedSize
from event_collector_workers.machine import granted_cpus, run_delay
from tests.docs.options import docstring_arguments

Row = tuple[str, Any, Any]
DEFAULTS: dict[str, Any] = {option.name: option.default for option in OPTIONS}
BY_NAME = {option.name: option for option in OPTIONS}


def settings_of(**changed: Any) -> Settings:
    return Settings.of(DEFAULTS | {"collectors": []} | changed)


def raised_message(name: str, value: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        settings_of(**{name: value})
    return str(caught.value)


# -- the table and what is written elsewhere --


def test_the_queue_takes_the_options_of_the_table() -> None:
    """The parameters of CollectorQueue are the rows of the table: names, order, annotations and defaults."""
    parameters: list[Row] = [
        (parameter.name, parameter.annotation, parameter.default)
        for parameter in inspect.signature(CollectorQueue).parameters.values()
    ]
    rows: list[Row] = [
        (option.name, option.type, inspect.Parameter.empty if option.default is REQUIRED else option.default)
        for option in OPTIONS
    ]
    assert parameters == rows


def test_the_docstring_of_the_queue_is_made_of_the_table() -> None:
    """The Args section of CollectorQueue says what the table says, in the same order."""
    wanted = docstring_arguments()
    documented = (inspect.getdoc(CollectorQueue) or "").partition("\nArgs:\n")[2].partition("\n\nRaises:")[0]
    assert f"Args:\n{documented}" == textwrap.dedent(wanted), f"the Args section should be\n{wanted}"


def test_every_number_has_a_range_and_nothing_else_has() -> None:
    """An option is checked as a number exactly if its type is one."""
    for option in OPTIONS:
        is_number = option.type in (int, float, int | None, float | None)
        assert is_number == (option.number is not None), option.name


def test_a_lower_bound_is_the_value_of_an_earlier_option() -> None:
    """An option that another one bounds comes after that one, so the bound is checked when it is needed."""
    names = [option.name for option in OPTIONS]
    for option in OPTIONS:
        if option.number is not None and option.number.floor:
            assert names.index(option.number.floor) < names.index(option.name)


@pytest.mark.parametrize("option", [row for row in OPTIONS if row.default is not REQUIRED], ids=lambda row: row.name)
def test_a_default_is_accepted_as_it_is(option: Option) -> None:
    """No default is out of range, and none is changed."""
    assert option.checked(option.default, 0.0) == option.default


def test_the_queue_hands_each_argument_on() -> None:
    """What a queue is given reaches the settings of its engine."""
    queue = CollectorQueue(
        [Collector("a", len, mode="thread")], min_consumers=2, max_consumers=1, max_threads=3, logging=False
    )
    settings = queue._engine.regulation.settings
    assert (settings.min_consumers, settings.max_consumers, settings.max_threads) == (2, 2, 3)
    assert settings.logging is False


# -- numbers --


@pytest.mark.parametrize(
    ("name", "value", "used"),
    [
        ("min_consumers", 0, 1), ("min_consumers", 2.0, 2),
        ("wip_margin", -1, 0.0), ("monitor_interval", 0, 0.005),
        ("avg_load_interval", 0.5, 1.0), ("max_workers", None, None), ("report_interval", -1, -1),
        ("metrics_warmup_interval", -2.5, -2.5), ("consumer_shutdown_timeout", -1, -1),
        ("event_service_data_window_size", 1.0, 1), ("default_priority", math.inf, math.inf),
        ("metrics_collector_window_size", 1.5, 1.5), ("max_threads", 3.0, 3),
        ("max_events_per_worker", 3.0, 3), ("max_worker_memory", 1e6, 1_000_000), ("max_worker_age", 0.5, 0.5),
    ],
)  # fmt: skip
def test_a_number_is_raised_to_its_lower_bound_and_made_whole(name: str, value: Any, used: Any) -> None:
    """Lower values of RAISED options are raised; whole floats become integers; the rest is used as it is."""
    found = getattr(settings_of(**{name: value}), name)
    assert found == used
    assert type(found) is type(used)


def test_an_upper_bound_is_at_least_the_lower_one() -> None:
    """max_consumers is raised to min_consumers, as programs of the older library need; max_workers is refused."""
    assert settings_of(min_consumers=5, max_consumers=2).max_consumers == 5
    with pytest.raises(ConfigError) as caught:
        settings_of(min_workers=4, max_workers=3)
    assert str(caught.value) == (
        "max_workers must be a whole number, at least 1 and `min_workers` (min_workers=4), not 3"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (option.name, value)
        for option in OPTIONS
        if option.number is not None
        for value in (True, "1", math.nan, [], None)
        if value is not None or option.type in (int, float)
    ],
)
def test_no_number_is_refused(name: str, value: Any) -> None:
    """What is not a number, NaN and booleans included, is a ConfigError that names the option."""
    assert raised_message(name, value) == f"{name} takes a number, not {value!r}"


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("min_consumers", (2.9, math.inf), "must be a whole number, at least 1; lower values are raised"),
        ("max_consumers", (0, -1, 2.5, math.inf), "must be a whole number, at least 1; values below..."),
        ("min_workers", (-1, 0.5, math.inf), "must be a whole number, at least 0"),
        ("max_workers", (0, -1, 1.5, math.inf), "must be a whole number, at least 1 and `min_workers`"),
        ("max_queue_size", (-1, 0.5, math.inf), "must be a whole number, at least 0"),
        ("max_dead_letters", (-1, 0.5, math.inf), "must be a whole number, at least 0"),
        ("metrics_collector_window_size", (0, 0.5, -1), "must be at least 1"),
        ("event_service_data_window_size", (0, 1.9), "must be a whole number, at least 1"),
        ("metrics_history_size", (0, -math.inf), "must be a whole number, at least 1"),
        ("max_threads", (0, -1, 2.5, math.inf), "must be a whole number, at least 1"),
        ("max_events_per_worker", (0, 1.5, math.inf, -1), "must be a whole number, at least 1"),
        ("max_worker_memory", (0, 0.5, math.inf), "must be a whole number, at least 1"),
        ("max_worker_age", (0, -1, math.inf), "must be more than 0"),
        ("worker_startup_timeout", (0, -1, math.inf), "must be more than 0"),
        ("report_interval", (math.inf, 1e300), "must be finite"),
        ("consumer_shutdown_timeout", (math.inf, -1e300), "must be finite"),
        ("wip_margin", (math.inf,), "must be at least 0; lower values are raised"),
        ("seed", (-1, 0.5, math.inf), "must be a whole number, at least 0, of any size"),
        ("worker_threads", (0, -1, 1.5), "must be a whole number, at least 1"),
        ("worker_nice", (-1, 20, 0.5, math.inf), "must be a whole number, 0 to 19"),
    ],
)
def test_a_number_out_of_range_is_refused(name: str, values: tuple[float, ...], message: str) -> None:
    """The error names the option, its range and the value."""
    for value in values:
        begin = message.removesuffix("...")
        told = raised_message(name, value)
        assert told.startswith(f"{name} {begin}")
        assert told.endswith(f"not {value!r}")


@pytest.mark.parametrize("option", OPTIONS, ids=lambda row: row.name)
def test_every_option_refuses_what_it_cannot_use(option: Option) -> None:
    """A value of a wrong kind is a ConfigError that names the option when the queue is made, not a failure later."""
    takes_lists = option.name in ("worker_affinity", "worker_devices")
    for value in ("x\0", b"bytes", object(), [1j] if takes_lists else [1], {"a": 1}, 1j, ...):
        with pytest.raises(ConfigError, match=rf"^(a )?{option.name}\b|router is"):
            CollectorQueue(**{"collectors": [], "logging": False} | {option.name: value})


# -- the rest --


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("queue_type", "FIFO", "queue_type takes a QueueType such as QueueType.FIFO, not 'FIFO'"),
        ("queue_type", None, "queue_type takes a QueueType such as QueueType.FIFO, not None"),
        ("start_method", "thread", "start_method is one of ('forkserver', 'spawn', 'fork') or None, not 'thread'"),
        ("overflow", "drop", "overflow is one of ('wait', 'drop_oldest', 'drop_newest'), not 'drop'"),
        ("overflow", None, "overflow is one of ('wait', 'drop_oldest', 'drop_newest'), not None"),
        ("overflow", "drop_oldest", "overflow='drop_oldest' needs a bound: give max_queue_size= too"),
        ("autoscale", "no", "autoscale is True or False, not 'no'"),
        ("logging", None, "logging is True or False, not None"),
        ("logging", 2, "logging is True or False, not 2"),
        ("law", 5, "law takes an object with the method decide(), not 5"),
        ("log", "stderr", "log takes an object with the method info(), not 'stderr'"),
        ("worker_env", {"OMP_NUM_THREADS": 1}, "worker_env takes a string for OMP_NUM_THREADS, not 1"),
        ("worker_env", {"A=B": "1"}, "worker_env takes names of variables, not 'A=B'"),
        ("worker_affinity", [[0], []], "worker_affinity takes CPUs in each item, not []"),
        ("worker_affinity", [{0, -1}], "worker_affinity takes numbers of CPUs, not -1"),
        ("worker_devices", [0, ""], "worker_devices takes numbers or identifiers of devices, not ''"),
        (
            "worker_devices",
            [],
            """worker_devices takes a list of devices such as [0, 1] or ["GPU-8932f937", "1,2"], not []""",
        ),
        ("worker_limits", 5, "worker_limits takes a WorkerLimits such as WorkerLimits(open_files=100), not 5"),
    ],
)
def test_any_other_value_that_is_not_accepted_is_refused(name: str, value: Any, message: str) -> None:
    """The error says what the option takes."""
    assert raised_message(name, value) == message


@pytest.mark.parametrize("option", [{"worker_env": {"A": "1"}}, {"worker_threads": 1}, {"worker_devices": [0]}])
def test_a_fork_of_the_program_cannot_have_an_environment_of_its_own(option: dict[str, Any]) -> None:
    """It has imported its modules before it could set the variables."""
    with pytest.raises(ConfigError, match=f"{next(iter(option))} needs another start_method than 'fork'"):
        settings_of(start_method="fork", **option)


def test_a_seed_may_have_more_bits_than_a_machine_word() -> None:
    """Such as those of secrets.randbits(128)."""
    assert settings_of(seed=2**127).seed == 2**127


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Number(), ""),
        (Number(unit="seconds"), "in seconds"),
        (Number(Range.RAISED, least=0.005, unit="seconds"), "in seconds, at least 0.005; lower values are raised"),
        (Number(Range.LEAST, least=1, floor="min"), "at least 1 and `min`"),
        (Number(Range.FLOORED, least=1, floor="min"), "at least 1; values below `min` are raised to it"),
        (Number(Range.BETWEEN, most=19, whole=True), "a whole number, 0 to 19"),
        (Number(Range.LEAST, least=1, unit="bytes", whole=True), "in bytes, a whole number, at least 1"),
    ],
)
def test_a_range_is_described_in_words(number: Number, text: str) -> None:
    """Unit first, then the range, then what happens outside of it."""
    assert Option("a", float, 1.0, "A.", number).values == text


def test_the_choices_are_described() -> None:
    """The documentation lists what an option with choices takes."""
    assert BY_NAME["start_method"].values == 'one of "forkserver", "spawn", "fork"'


@pytest.mark.parametrize(("changed", "other"), [({"law": FixedSize(1)}, "law="), ({"autoscale": False}, "autoscale")])
def test_politeness_is_for_the_law_that_has_it(changed: dict[str, Any], other: str) -> None:
    """Where another law, or none, sizes the pools, it would have no effect."""
    assert settings_of(polite=True).polite
    with pytest.raises(ConfigError, match=f"polite=True is for the built-in law, and {other}"):
        settings_of(polite=True, **changed)


def test_without_a_maximum_the_law_limits_the_workers() -> None:
    """Handlers that wait need more workers than there are CPUs; fixed pools have one for each."""
    assert most_workers(settings_of(max_workers=3)) == 3
    granted = max(1, math.ceil(granted_cpus()))
    assert most_workers(settings_of(autoscale=False)) == granted
    if run_delay(os.getpid()) is not None:
        assert most_workers(settings_of()) >= 4 * granted


def test_without_the_time_that_workers_wait_for_a_cpu_there_is_one_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """That time would look like waiting for something else, and be a reason for ever more workers."""
    monkeypatch.setattr("event_collector.life.scaling.run_delay", lambda tid: None)
    assert most_workers(settings_of()) == max(1, math.ceil(granted_cpus()))
