"""Admission: the ways into a queue that take more than one step, for queues with a recorder, and for dead letters."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from event_collector.events.course import Course
from event_collector.values.payload import Payload

if TYPE_CHECKING:
    import asyncio

    from event_collector.dispatch.dispatcher import Dispatcher
    from event_collector.events.dead_letters import DeadLetter
    from event_collector.events.event import CollectorEvent

__all__ = ["resend", "send_many_recorded", "send_recorded", "send_recorded_nowait"]

AT_ONCE: Final = 1000
"""Payloads of one `send_many()` that are recorded together: enough for few writes, few enough for other tasks."""

Draft: TypeAlias = "tuple[CollectorEvent, asyncio.Future[None] | None]"
"""An event that is not accepted yet, and what tells that it is on record."""


async def send_recorded(
    dispatcher: "Dispatcher", payload: Payload[Any], course: Course | None
) -> "CollectorEvent":
    """Accept a payload once it is on record; cancelled before, it is not accepted."""
    event, written = await _put_on_record(dispatcher, payload, course)
    try:
        if written is not None:
            await written
    except BaseException:
        dispatcher.withdraw(event)
        raise
    dispatcher.admit(event)
    return event


def send_recorded_nowait(
    dispatcher: "Dispatcher", payload: Payload[Any], course: Course | None
) -> "CollectorEvent":
    """Accept a payload at once; it will be on record a little later, or never, which the recorder tells."""
    event, written = dispatcher.put_on_record(payload, course)
    if written is not None:
        written.add_done_callback(_retrieve)
    dispatcher.admit(event)
    return event


async def send_many_recorded(
    dispatcher: "Dispatcher", payloads: Iterable[Payload[Any]], deadline: float | None
) -> list["CollectorEvent"]:
    """Accept payloads in their order, many of them with one write; those before a cancellation are accepted."""
    events: list[CollectorEvent] = []
    drafts: list[Draft] = []
    try:
        for payload in payloads:
            if not dispatcher.has_room or len(drafts) >= AT_ONCE:
                events += await _admit_all(dispatcher, drafts)  # they are what makes room, and hold it
            course = None if deadline is None else Course(deadline)
            drafts.append(await _put_on_record(dispatcher, payload, course))
        events += await _admit_all(dispatcher, drafts)
    finally:
        for event, written in drafts:
            if written is not None:
                written.add_done_callback(_retrieve)
            dispatcher.withdraw(event)
    return events


async def _put_on_record(dispatcher: "Dispatcher", payload: Payload[Any], course: Course | None) -> Draft:
    if dispatcher.is_bounded:
        await dispatcher.wait_for_room()
    return dispatcher.put_on_record(payload, course)


async def _admit_all(dispatcher: "Dispatcher", drafts: list[Draft]) -> list["CollectorEvent"]:
    """Admit the drafts, the first first, each when it is on record; those that are not stay in the list."""
    admitted = []
    while drafts:
        event, written = drafts[0]
        if written is not None:
            await written
        del drafts[0]
        dispatcher.admit(event)
        admitted.append(event)
    return admitted


def _retrieve(written: "asyncio.Future[None]") -> None:
    if not written.cancelled():
        written.exception()  # nobody waits for it


async def resend(dispatcher: "Dispatcher", letter: "DeadLetter") -> "CollectorEvent":
    """Accept the payload of a dead letter again, for the one collector that has failed it."""
    course = Course(only=(letter.collector,) if letter.collector else ())
    if dispatcher.recorder is not None:
        return await send_recorded(dispatcher, letter.payload, course)
    if dispatcher.crowded:
        await dispatcher.wait_for_room()
    return dispatcher.accept(letter.payload, course)
