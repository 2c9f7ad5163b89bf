"""The recommendation, for measurements whose right answer is known."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_collector import Batch, Collector, Context, Payload
from event_collector.benchmark.diagnosis import Bound
from event_collector.benchmark.recommendation import Recommendation, recommend
from event_collector.benchmark.rendering import render_text
from event_collector.benchmark.report import Environment, Report, make_report
from event_collector.benchmark.trial_figures import Contender, HandlerProfile, Measured, Readiness

from .hand_made import COMPUTING, COROUTINE, REWRITTEN, THREAD, TINY, WAITING, a_round, measured, process


def batches(size: int) -> Contender:
    return Contender("process", workers=2, batch=size)


BLOCKS_WAITING = HandlerProfile(events=10, wall=0.03, cpu=0.0001, block=0.03, worst=0.031)

KNOWN = {
    "async, waits": (
        [measured(COROUTINE, 20_000, profile=WAITING, in_flight=1024), measured(process(1), 48),
         measured(process(2), 95)],
        COROUTINE, 1024),
    "async, computes": (
        [measured(COROUTINE, 50, profile=COMPUTING, own_cpu=20), measured(process(1), 49), measured(process(2), 97)],
        process(2), None),
    "async, computes, one CPU": (
        [measured(COROUTINE, 50, profile=COMPUTING, own_cpu=20), measured(process(1), 47)], process(1), None),
    "async, too small for a process": (
        [measured(COROUTINE, 300_000, profile=TINY, own_cpu=0.004), measured(process(1), 120_000),
         measured(process(2), 150_000)],
        COROUTINE, None),
    "plain, waits": (
        [measured(REWRITTEN, 49, profile=BLOCKS_WAITING), measured(THREAD, 4000, in_flight=256),
         measured(process(2), 95), measured(process(16), 780)],
        THREAD, 256),
    "plain, computes": (
        [measured(REWRITTEN, 50, profile=COMPUTING), measured(THREAD, 48), measured(process(1), 49),
         measured(process(2), 97, own_cpu=0.1, worker_cpu=20)],
        process(2), None),
    "plain, computes, more workers bring nothing": (
        [measured(THREAD, 48), measured(REWRITTEN, 50, profile=COMPUTING), measured(process(2), 97),
         measured(process(4), 99), measured(process(8), 101)],
        process(2), None),
    "plain, too small for a process": (
        [measured(REWRITTEN, 300_000, profile=TINY), measured(THREAD, 10_000), measured(process(2), 150_000)],
        REWRITTEN, None),
    "plain, would block the loop, though fast": (
        [measured(REWRITTEN, 200, profile=HandlerProfile(9, 0.005, 0.005, 0.005, 0.006)), measured(THREAD, 120),
         measured(process(1), 150)],
        process(1), None),
    "plain, both": (
        [measured(REWRITTEN, 19, profile=HandlerProfile(9, 0.052, 0.002, 0.052, 0.06)),
         measured(THREAD, 430, in_flight=64),
         measured(process(2), 38), measured(process(16), 300)],
        THREAD, 64),
    "plain, both, many CPUs": (
        [measured(REWRITTEN, 19, profile=HandlerProfile(9, 0.052, 0.012, 0.052, 0.06)), measured(THREAD, 80),
         measured(process(32), 600)],
        process(32), None),
    "all as good, waits": (
        [measured(REWRITTEN, 30, profile=BLOCKS_WAITING), measured(THREAD, 97, in_flight=16), measured(process(2), 98),
         measured(process(16), 99)],
        THREAD, 16),
    "batches, the largest brings little": (
        [measured(batches(size), rate) for size, rate in ((1, 50), (4, 190), (16, 700), (64, 970), (256, 1000))],
        batches(64), None),
    "batches, the largest brings a tenth": (
        [measured(batches(size), rate) for size, rate in ((1, 50), (16, 700), (64, 900), (256, 1000))],
        batches(256), None),
    "batches, bring nothing": ([measured(batches(size), 100) for size in (1, 4, 16)], batches(1), None),
}  # fmt: skip


@pytest.mark.parametrize("case", KNOWN)
def test_known_answers(case: str) -> None:
    """By wide margins: mode, workers and events at once; in whatever order they are given."""
    field, contender, consumers = KNOWN[case]
    for order in (field, field[::-1]):
        advice = recommend(order)
        assert (advice.contender, advice.consumers) == (contender, consumers), advice.reasons


def total(payload: Payload[Any], ctx: Context) -> None:
    """Is never called."""


def report_of(field: Sequence[Measured], collector: Collector | None = None, name: str = "total") -> Report:
    environment = Environment("", "", "", 2, 0.0)
    return make_report(
        field, target="shop:total", name=name, collector=collector or Collector("total", total), command="",
        environment=environment, seconds=1.0, settled=True,
    )  # fmt: skip


def lines(field: Sequence[Measured], collector: Collector | None = None, name: str = "total") -> list[str]:
    return report_of(field, collector, name).code


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("async, waits", ['collector = Collector("total", total, mode="coroutine")',
                          "queue = CollectorQueue([collector], max_consumers=1024)"]),
        ("plain, computes", ['collector = Collector("total", total, mode="process")',
                             "queue = CollectorQueue([collector], max_workers=2)"]),
        ("plain, waits", ['collector = Collector("total", total, mode="thread")',
                          "queue = CollectorQueue([collector], max_threads=256)"]),
        ("plain, too small for a process", ["async def total(payload, ctx): ...  # instead of def",
                                            'collector = Collector("total", total, mode="coroutine")',
                                            "queue = CollectorQueue([collector])"]),
    ],
)  # fmt: skip
def test_the_code_to_write_follows_from_it(case: str, expected: list[str]) -> None:
    """The lines name the mode and the one size that matters there."""
    assert lines(KNOWN[case][0]) == expected


def plain(number: int) -> int:
    return number


def together(numbers: list[int]) -> list[int]:
    return numbers


def test_the_advice_on_batches_names_their_size() -> None:
    """In words, in the code, and compared with the smallest ones."""
    collector = Collector("k", together, batch=Batch(max_size=7, max_wait=0.5))
    report = report_of(KNOWN["batches, the largest brings little"][0], collector, "together")
    assert report.code == [
        'collector = Collector("k", together, mode="process", batch=Batch(max_size=64, max_wait=0.5))',
        "queue = CollectorQueue([collector], max_workers=2)",
    ]
    text = render_text(report)
    assert "Recommended: mode process, 2 workers, batches of 64\n" in text
    assert "process, 2 workers, batches of 64 has 19 times the events/s of process, 2 workers, batches of 1" in text
    assert "its batches are larger, so their events wait for longer" in text
    assert "list of values" not in text


@pytest.mark.parametrize(
    ("collector", "name", "expected"),
    [
        (Collector("k", plain), "plain", [
            "async def plain(value): ...  # instead of def", 'collector = Collector("k", plain, mode="coroutine")']),
        (Collector("k", plain), "service.plain", [
            "async def plain(value): ...  # instead of def",
            'collector = Collector("k", service.plain, mode="coroutine")']),
        (Collector('a "k"', total, timeout=5.0, ctx=Context({"a": 1}), topics=["t"]), "total", [
            "async def total(payload, ctx): ...  # instead of def",
            (r'collector = Collector("a \"k\"", total, timeout=5.0, mode="coroutine")'
             "  # and its topics, ctx as before")]),
        (Collector("k", lambda payload, ctx: None), "<lambda>", [
            "async def handler(payload, ctx): ...  # instead of def",
            'collector = Collector("k", handler, mode="coroutine")']),
    ],
)  # fmt: skip
def test_the_code_has_the_form_of_the_handler(collector: Collector, name: str, expected: list[str]) -> None:
    """A handler of values stays one, and what the collector has besides is not forgotten."""
    assert lines(KNOWN["plain, too small for a process"][0], collector, name)[:2] == expected


BUSY = [100.0, 160.0, 90.0, 150.0, 95.0, 155.0]
SHORT = HandlerProfile(events=10, wall=0.005, cpu=0.00495, block=0.00495, worst=0.005)


@pytest.mark.parametrize("mode", [COROUTINE, THREAD])
@pytest.mark.parametrize(
    "others",
    [measured(process(2), BUSY[::-1]), measured(process(2), BUSY, worker_cpu=1.0, worker_queued=1.0)],
    ids=["rounds contradict each other", "no CPU left"],
)
def test_noise_recommends_no_single_core_for_what_computes(mode: Contender, others: Measured) -> None:
    """On a busy machine figures look alike: then it cannot tell, and says why and what to do."""
    single = measured(mode, BUSY, profile=SHORT if mode is COROUTINE else None)
    single.busy_alone = 0.99
    for field in ([single, others], [others, single]):
        advice = recommend(field)
        assert advice.contender is None
        assert advice.as_good == [mode, process(2)]
        text = " ".join(advice.reasons)
        assert "repeat this when the machine is idle" in text
        assert f"times the events/s of {mode.label}" in text
        assert ("other programs use the CPUs" in text) == (others.starved > 0)
    assert render_text(report_of([single, others])).count(f"Cannot tell which is faster: {mode.mode} or process") == 1


def test_few_rounds_recommend_no_single_core_for_what_computes() -> None:
    """One round in which a process is a little slower shows nothing, and has no interval."""
    field = [measured(COROUTINE, [100.0], profile=SHORT), measured(process(1), [95.0]), measured(process(2), [90.0])]
    advice = recommend(field)
    assert advice.contender is None
    assert "process, 2 workers has 0.90 times the events/s of coroutine" in advice.reasons
    report = report_of(field)
    assert " to " not in render_text(report).partition("Cannot tell")[0]
    assert [one.serial for one in report.scaling] == [None, None]
    far = [field[0], measured(process(2), [30.0])]
    assert recommend(far).contender == COROUTINE


def test_clear_figures_decide_on_a_busy_machine_too() -> None:
    """A process that is slower in each round is slower; one that is much faster is recommended."""
    single = measured(COROUTINE, BUSY, profile=SHORT)
    slower = measured(process(2), [rate / 2 for rate in BUSY], worker_queued=1.0)
    faster = measured(process(2), [rate * 1.9 for rate in BUSY], worker_queued=1.0)
    assert recommend([single, slower]).contender == COROUTINE
    assert recommend([single, faster]).contender == process(2)


@pytest.mark.parametrize(
    ("rates", "serial"),
    [([70.0] * 6, None), ([100.0] * 6, None), (BUSY, None), ([200.0] * 6, 0.0), ([160.0] * 6, pytest.approx(0.25))],
)
def test_serial_share_is_one(rates: list[float], serial: float | None) -> None:
    """It is between 0 and 100 percent, and missing where more workers bring nothing or nothing clear."""
    report = report_of([measured(process(1), 100), measured(process(2), rates)])
    assert [one.serial for one in report.scaling] == [None, serial]


def test_tables_fit_a_terminal_and_numbers_their_nouns() -> None:
    """No line of a table is longer than 80 characters, and one event is no events."""
    field = [measured(REWRITTEN, 123_456_789.0, profile=TINY, in_flight=1, own_cpu=1e-4), measured(process(16), 12_345)]
    text = render_text(report_of(field))
    tables = text.partition("Recommended")[0]
    assert max(map(len, tables.splitlines())) <= 80
    assert "bound by" in tables
    assert "1 events" not in text


contenders = st.lists(
    st.sampled_from([COROUTINE, THREAD, process(1), process(2), process(16)]), min_size=1, unique=True
)


@settings(deadline=None)
@given(contenders, st.integers(0, 4), st.integers(0, 2**32), st.floats(1e-3, 1e3))
def test_what_is_far_ahead_in_every_round_is_recommended(
    field: list[Contender], winner: int, seed: int, speed: float
) -> None:
    """Whatever the others do, and however the machine wavers from round to round."""
    best, noise = field[winner % len(field)], random.Random(seed)
    wavering = [speed * noise.uniform(0.3, 3.0) for _ in range(6)]
    found = [
        measured(one, [(300 if one == best else noise.uniform(1, 100)) * hit for hit in wavering]) for one in field
    ]
    noise.shuffle(found)
    assert recommend(found).contender == best


@settings(deadline=None)
@given(contenders, st.integers(0, 2**32))
def test_every_advice_is_one_of_the_field_and_has_reasons(field: list[Contender], seed: int) -> None:
    """Also for rates without any pattern, failures and refusals."""
    noise = random.Random(seed)
    found = [measured(one, [noise.uniform(1, 1000) for _ in range(noise.randint(1, 6))],
                      failed=noise.choice([0, 0, 500, 1000])) for one in field]  # fmt: skip
    if noise.random() < 0.3:
        found[0].refusal = "broken"
    advice = recommend(found)
    usable = [one.contender for one in found if one.usable]
    assert advice.reasons
    assert (advice.contender in usable) if usable else advice.contender is None


def test_difference_within_the_noise_is_said() -> None:
    """Where rounds contradict each other, nobody is called faster."""
    advice = recommend([
        measured(COROUTINE, [100, 130, 90, 120, 95, 125], profile=WAITING),
        measured(process(2), [120, 95, 125, 92, 128, 96]),
    ])  # fmt: skip
    assert advice.contender == COROUTINE
    assert advice.as_good == [process(2)]
    assert "within the noise" in " ".join(advice.reasons)


def test_blocking_is_told_with_its_length_and_remedy() -> None:
    """What computes belongs into a process, what waits must await or go into a thread."""
    computing = recommend([measured(COROUTINE, 50, profile=COMPUTING), measured(process(2), 97)])
    assert any("19.9 ms" in text and 'mode="process"' in text for text in computing.warnings)
    waiting = recommend([measured(COROUTINE, 33, profile=BLOCKS_WAITING), measured(process(2), 60)])
    assert any("30 ms" in text and 'mode="thread"' in text for text in waiting.warnings)
    fine = recommend([measured(COROUTINE, 5000, profile=WAITING), measured(process(2), 60)])
    assert fine.warnings == []


def test_blocking_of_an_unclear_kind_is_called_so() -> None:
    """A handler that had a CPU for a third of the time may compute on a busy machine, or wait: both are told."""
    mixed = HandlerProfile(events=10, wall=0.03, cpu=0.01, block=0.03, worst=0.04)
    (warning,) = recommend([measured(COROUTINE, 33, profile=mixed), measured(process(2), 60)]).warnings
    assert "it computes there" in warning
    assert "or waits without `await`" in warning


def test_handler_that_always_fails_gets_no_recommendation() -> None:
    """The reason is told for each mode."""
    advice = recommend(
        [measured(one, 1000, failed=1000, error="ValueError: no good") for one in (COROUTINE, process(2))]
    )
    assert advice.contender is None
    assert [text for text in advice.warnings if "100.0%" in text and "ValueError: no good" in text] == advice.warnings
    assert len(advice.warnings) == 2


def test_mode_in_which_events_fail_is_not_recommended_however_fast() -> None:
    """Failing is quick: that must not count."""
    field = [
        measured(COROUTINE, 100, profile=WAITING),
        measured(process(2), 9000, failed=900, error="EncodeError: set"),
    ]
    advice = recommend(field)
    assert advice.contender == COROUTINE
    assert any("EncodeError: set" in text for text in advice.warnings)


def test_leak_is_told_and_contained_where_nothing_else_decides() -> None:
    """Among modes that are as good, a worker process keeps a leak out of the program."""
    leaking = [a_round(100, own_memory=30_000_000 + n * 20_000_000) for n in range(8)]
    advice: Recommendation = recommend([
        Measured(COROUTINE, leaking, profile=WAITING), measured(process(2), [98] * 8)
    ])  # fmt: skip
    assert advice.contender == process(2)
    assert any("memory grows by 20 KB with each event" in text for text in advice.warnings)


def test_threads_that_a_worker_was_not_granted_are_told() -> None:
    """A worker is in one event at a time: more CPU time than time is that of threads."""
    for cpu, threads, is_told in ((39.0, 1, True), (21.0, 1, False), (39.0, 2, False)):
        one = measured(process(2), 100, worker_cpu=cpu)
        one.note_readiness(Readiness(threads=threads))
        warnings = recommend([one]).warnings
        text = "process, 2 workers: 1.9 threads run at once in each worker, which is granted 1 CPU: limit the threads"
        assert any(warning.startswith(text) for warning in warnings) == is_told


def test_refused_mode_is_told() -> None:
    """A handler that no worker can have is recommended for what remains."""
    refused = Measured(process(2), refusal="a lambda has no name that a worker could import")
    advice = recommend([measured(COROUTINE, 100, profile=WAITING), refused])
    assert advice.contender == COROUTINE
    assert any("a lambda" in text for text in advice.warnings)


def test_few_rounds_decide_only_by_far() -> None:
    """One round in which a thread was faster by half says nothing; one with twice the throughput does."""
    close = [measured(REWRITTEN, [50], profile=COMPUTING), measured(THREAD, [60]), measured(process(2), [40])]
    assert recommend(close).contender == process(2)
    far = [measured(REWRITTEN, [50], profile=COMPUTING), measured(process(1), [50]), measured(process(2), [97])]
    assert recommend(far).contender == process(2)


def test_too_few_rounds_are_admitted() -> None:
    """Two rounds give a recommendation with a caution."""
    advice = recommend([measured(COROUTINE, [100, 101], profile=WAITING)])
    assert any("only 2 rounds" in text for text in advice.warnings)


def test_bound_of_the_chosen_one_is_told() -> None:
    """It is the one that its reasons end with."""
    advice = recommend([measured(COROUTINE, 1000, profile=WAITING, own_cpu=0.1), measured(process(2), 95)])
    assert advice.bound is Bound.IO
    assert "bound by what the handler waits for" in advice.reasons[-1]
