"""The recommendation of one contender, with its reasons and with warnings. A pure function of the measurements."""

from collections.abc import Iterator, Sequence

import msgspec

from event_collector.benchmark.diagnosis import WAITS, Bound, bound_of, computes
from event_collector.benchmark.estimate import Estimate, paired_ratio
from event_collector.benchmark.trial_figures import Contender, HandlerProfile, Measured
from event_collector.watching.tables import duration, plural, size

AS_GOOD = 0.9  # the share of the maximum throughput from which other criteria decide
AS_GOOD_BATCH = 0.95  # the same for a smaller batch, whose events wait for less
BLOCK = 0.01  # seconds for which a handler may block the event loop before this counts against it
REWRITE_BLOCK = 0.001  # the same for a plain handler, which would have to be rewritten
FAILURES = 0.05  # the allowed excess of the share of failed events over that of the best contender
FEW_ROUNDS = 5  # rounds from which an interval is meaningful
UNCLEAR = 0.1  # the half-width of the interval of a ratio, as a share of it, from which it proves nothing
HARDLY = 0.1  # the share of a time below which a handler does not compute in it
STARVED = 0.2  # the share of its time for which a process may wait for a CPU; beyond, other programs decide
UNGRANTED = 1.3  # threads that run at once in a worker, per granted CPU, from which they count as too many
BY_FAR = 0.6  # the same as `AS_GOOD` with fewer rounds; it still separates two workers from one


class Recommendation(msgspec.Struct):
    """The recommended contender, and why."""

    contender: Contender | None  # None if no contender can be recommended
    consumers: int | None  # events in handlers at once that are enough; None if the setting does not apply
    reasons: list[str]
    warnings: list[str]
    bound: Bound | None = None
    as_good: list[Contender] = msgspec.field(default_factory=list)
    """Other contenders whose throughput does not differ significantly, or not enough to matter."""


def recommend(field: Sequence[Measured]) -> Recommendation:
    """Return the recommendation.

    The contender with the maximum throughput is recommended. If others are as good, within the noise or a tenth, one
    that does not block the event loop is preferred, then the simplest.
    """
    usable = [one for one in field if one.usable]
    if not usable:
        return Recommendation(None, None, ["no mode had events that succeeded"], list(_failures(field)))
    profile = profile_of(field)
    least = min(one.failures for one in usable)
    sound = [one for one in usable if one.failures <= least + FAILURES and not _blocking_rewrite(one)] or usable
    best = max(sound, key=lambda one: one.rate.median)
    peers = [one for one in sound if one is best or _is_as_good(one, best)]
    leaks = any(one.growth is not None for one in field)
    chosen = min(peers, key=lambda one: _preference(one, profile, leaks=leaks))
    if rivals := _unclear_rivals(chosen, sound, profile):
        warnings = [*_failures(field), *_threads(field), *_flaws(field)]
        return Recommendation(None, None, list(_doubts(chosen, rivals)), warnings, as_good=[
            one.contender for one in (chosen, *rivals)
        ])  # fmt: skip
    bound = bound_of(chosen, profile)
    reasons = [_describe_handler(profile), _comparison(chosen, best, usable), _scaling(chosen, usable)]
    return Recommendation(
        contender=chosen.contender,
        consumers=_consumers(chosen, profile, bound),
        reasons=[text for text in (*reasons, _describe_bound(chosen, bound)) if text],
        warnings=[*_failures(field), *_blocking(chosen, usable), *_threads(field), *_flaws(field)],
        bound=bound,
        as_good=[one.contender for one in peers if one is not chosen],
    )


def profile_of(field: Sequence[Measured]) -> HandlerProfile | None:
    """Return the profile of the handler by itself, if known."""
    return next((one.profile for one in field if one.profile is not None), None)


def ratio_to(one: Measured, other: Measured) -> Estimate:
    """Return the ratio of two throughputs, by rounds that were run one after the other."""
    return paired_ratio(one.rates, other.rates)


def _is_as_good(one: Measured, best: Measured) -> bool:
    ratio = ratio_to(one, best)
    if one.contender.batch:
        return ratio.median >= AS_GOOD_BATCH or ratio.high >= 1.0
    # The interval of few rounds is too narrow: then only a large difference counts.
    return ratio.median >= (AS_GOOD if ratio.rounds >= FEW_ROUNDS else BY_FAR) or ratio.high >= 1.0


def _unclear_rivals(chosen: Measured, sound: list[Measured], profile: HandlerProfile | None) -> list[Measured]:
    """Return the worker processes that may well be faster than another mode, for a handler that computes.

    Such a handler needs several cores, and only worker processes use them. If other programs have the cores, or if the
    rounds differ widely, figures that look alike do not show that one core is as good.
    """
    is_computing = chosen.busy_alone > WAITS if profile is None else computes(profile)
    if chosen.contender.mode == "process" or not is_computing:
        return []
    return [one for one in sound if one.contender.workers > 1 and _is_unclear(one, ratio_to(one, chosen))]


def _is_unclear(one: Measured, ratio: Estimate) -> bool:
    if ratio.rounds < FEW_ROUNDS:
        return ratio.median >= BY_FAR
    return ratio.high >= 1.0 and (one.starved > STARVED or ratio.half_width > UNCLEAR)


def _doubts(chosen: Measured, rivals: list[Measured]) -> Iterator[str]:
    yield "the handler computes, so worker processes should be faster, but this run does not show it"
    for one in rivals:
        ratio = ratio_to(one, chosen)
        times = _times(ratio.median) if ratio.rounds == 1 else f"{ratio.low:.2f} to {ratio.high:.2f} times"
        yield f"{one.label} has {times} the events/s of {chosen.label}"
        if one.starved > STARVED:
            yield f"its processes waited for a CPU for {one.starved:.0%} of their time: other programs use the CPUs"
    yield "repeat this when the machine is idle, or with a larger --seconds"


def _blocking_rewrite(one: Measured) -> bool:
    return one.contender.rewritten and (one.profile is None or one.profile.block > REWRITE_BLOCK)


def _preference(one: Measured, profile: HandlerProfile | None, *, leaks: bool) -> tuple[bool, bool, int, int, int]:
    """Return the sort key among contenders that are equally fast; the smallest is preferred."""
    contender = one.contender
    blocks = one.profile is not None and one.profile.block > BLOCK
    order = {"coroutine": 0, "process": 1, "thread": 2} if computes(profile) else {"coroutine": 0, "thread": 1}
    contained = contender.mode == "process"
    return blocks, leaks and not contained, order.get(contender.mode, 2), contender.workers, contender.batch


def _consumers(chosen: Measured, profile: HandlerProfile | None, bound: Bound) -> int | None:
    if chosen.contender.batch:
        return None
    waits = bound is Bound.IO if profile is None else not computes(profile)
    return chosen.in_flight if waits and chosen.contender.mode != "process" else None


def _describe_handler(profile: HandlerProfile | None) -> str | None:
    if profile is None:
        return None
    share = min(1.0, profile.cpu / profile.wall) if profile.wall else 1.0
    return f"the handler takes {duration(profile.wall)} for an event, and computes for {share:.0%} of that"


def _comparison(chosen: Measured, best: Measured, usable: list[Measured]) -> str:
    if chosen is not best:
        ratio = ratio_to(chosen, best)
        return (
            f"{best.label} has {_times(1 / ratio.median)} its events/s, which is within the noise or too little to "
            f"matter, and {_advantage(chosen, best)}"
        )
    others = [one for one in usable if one.contender.mode != chosen.contender.mode or
              one.contender.rewritten != chosen.contender.rewritten or
              one.contender.batch != chosen.contender.batch]  # fmt: skip
    if not others:
        return f"{chosen.label} was the only mode that could be measured"
    rival = max(others, key=lambda one: one.rate.median)
    ratio = ratio_to(chosen, rival)
    if ratio.low <= 1.0 <= ratio.high:
        return f"the difference to {rival.label} is within the noise"
    interval = f" ({ratio.low:,.2f} to {ratio.high:,.2f})" if ratio.rounds > 1 else ""
    return f"{chosen.label} has {_times(ratio.median)} the events/s of {rival.label}{interval}"


def _advantage(chosen: Measured, best: Measured) -> str:
    if best.profile is not None and best.profile.block > BLOCK:
        return f"it blocks the event loop for {duration(best.profile.block)} at a time"
    if chosen.contender.batch < best.contender.batch:
        return "its batches are larger, so their events wait for longer"
    if chosen.contender.mode == best.contender.mode:
        return "it takes more processes"
    return f"{chosen.label} is the simpler way" if chosen.contender.mode != "process" else "a process is isolated"


def _scaling(chosen: Measured, usable: list[Measured]) -> str | None:
    if chosen.contender.batch:
        return _gain(chosen, usable)
    crews = sorted((one for one in usable if one.contender.workers), key=lambda one: one.contender.workers)
    if chosen.contender.mode != "process" or len(crews) < 2 or crews[0] is chosen:
        return None
    ratio = ratio_to(chosen, crews[0]).median
    return f"{chosen.label} has {_times(ratio)} the events/s of {crews[0].label}"


def _gain(chosen: Measured, usable: list[Measured]) -> str | None:
    """Describe what batches of this size bring, compared with the smallest ones."""
    way = (chosen.contender.mode, chosen.contender.workers)
    alike = [one for one in usable if (one.contender.mode, one.contender.workers) == way]
    least = min(alike, key=lambda one: one.contender.batch)
    if least is chosen:
        return None
    return f"{chosen.label} has {_times(ratio_to(chosen, least).median)} the events/s of {least.label}"


def _describe_bound(chosen: Measured, bound: Bound) -> str:
    mode = chosen.contender.mode
    match bound:
        case Bound.CPU if mode == "process":
            return "bound by the CPU: the workers compute all the time; more CPUs would help, more workers would not"
        case Bound.CPU:
            return (
                f"bound by the CPU, with {plural(chosen.in_flight, 'event')} at once: one core computes all the time; "
                f"in this mode more cores would not help"
            )
        case Bound.IO:
            return f"bound by what the handler waits for, with {plural(chosen.in_flight, 'event')} at once"
        case Bound.SERIALIZATION:
            moved = 0 if chosen.transfer is None else chosen.transfer.size
            return f"bound by serialization: {plural(moved, 'byte')} per event, to the worker and back: send less"
        case Bound.LOOP if chosen.contender.batch:
            return "bound by the event loop, which dispatches events"
        case Bound.LOOP:
            return (
                "bound by the event loop, which dispatches events: the handler is small compared with that; give it "
                "more work per event, such as a list of values"
            )


def _failures(field: Sequence[Measured]) -> Iterator[str]:
    for one in field:
        if one.refusal is not None:
            yield f"{one.label}: left out: {one.refusal}"
        elif one.rounds and one.failures > 0:
            yield f"{one.label}: {one.failures:.1%} of the events failed, the first with {one.error}"


def _blocking(chosen: Measured, usable: list[Measured]) -> Iterator[str]:
    for one in usable:
        profile = one.profile
        if profile is None or profile.block <= BLOCK or (one.contender.rewritten and one is not chosen):
            continue
        if profile.cpu >= WAITS * profile.block:
            remedy = 'it computes there: give it mode="process", or move that part into a plain `def` handler'
        elif profile.cpu < HARDLY * profile.block:
            remedy = (
                "it waits there without `await`: use an asynchronous library, or make it a plain `def` with "
                'mode="thread"'
            )
        else:
            remedy = (
                'it computes there, for which mode="process" is right, or waits without `await`, for which an '
                "asynchronous library is"
            )
        yield (
            f"on the event loop the handler blocks everything else for {duration(profile.block)} at a time "
            f"(at worst {duration(profile.worst)}): {remedy}"
        )


def _flaws(field: Sequence[Measured]) -> Iterator[str]:
    for one in field:
        if (growth := one.growth) is not None:
            growing = f"by {size(growth)} with each event, by {size(1e6 * growth)} in a million"
            yield f"{one.label}: memory grows {growing}: look for what the handler keeps"
    rounds = min(len(one.rounds) for one in field if one.usable)
    if rounds < FEW_ROUNDS:
        yield f"only {plural(rounds, 'round')}: the intervals are unreliable; use a larger --seconds"


def _threads(field: Sequence[Measured]) -> Iterator[str]:
    for one in field:
        if not one.contender.workers or not one.rounds:
            continue
        at_once = one.busy("worker") / one.contender.workers  # a worker is in one event at a time
        if at_once > UNGRANTED * one.threads:
            yield (
                f"{one.label}: {at_once:.1f} threads run at once in each worker, which is granted "
                f"{plural(one.threads, 'CPU')}: limit the threads that the handler or its libraries start"
            )


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.2f} times"
