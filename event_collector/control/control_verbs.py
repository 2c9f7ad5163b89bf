"""The verbs of a control socket: each request becomes an action on the queue, and its outcome an answer.

They run in the thread of the event loop. An action that is refused, or fails, has changed nothing, unless its answer
says what it has done.
"""

import asyncio
from typing import Any, Final

from event_collector.control.control_messages import (
    Answer,
    CancelRequest,
    ControlState,
    Done,
    DrainRequest,
    DropRequest,
    Failed,
    LettersRequest,
    PauseRequest,
    ReplaceRequest,
    ReplayRequest,
    Request,
    ResizeRequest,
    ResumeRequest,
    Selection,
    StateRequest,
)
from event_collector.control.letters import page_of, selected
from event_collector.control.queue_control import QueueControl, find_event
from event_collector.dispatch.retries import Retries
from event_collector.events.backlog import Backlog
from event_collector.events.dead_letters import DeadLetter, DeadLetters
from event_collector.life.engine import Engine
from event_collector.values.errors import EventCollectorException
from event_collector.watching.tables import plural

REPLAY_TIME: Final = 20.0
"""Seconds that a replay may wait for room in the queue. The letters that are left stay."""
DROP_AT_ONCE: Final = 500
"""Letters that are dropped or replayed within one turn of the loop."""


class ControlVerbs:
    """Carries out requests on one queue. `shows_payloads`: texts of payloads may go out."""

    def __init__(
        self, queue: str, engine: Engine, control: QueueControl, letters: DeadLetters, *, shows_payloads: bool, log: Any
    ) -> None:
        self._queue, self._engine, self._control, self._letters = queue, engine, control, letters
        self._shows_payloads, self._log = shows_payloads, log

    def __repr__(self) -> str:
        return f"<ControlVerbs {self._control!r}>"

    async def act(self, request: Request) -> Answer:
        """Carry out a request, and return the answer. Never raises an Exception."""
        if not isinstance(request, (LettersRequest, StateRequest)):
            self._log.info("control request", request=repr(request))
        try:
            return await self._answer(request)
        except (EventCollectorException, LookupError) as exc:
            return Failed(text=str(exc.args[0] if exc.args else exc))
        except Exception as exc:  # a bug, or code of the application
            self._log.error("a control request has failed", request=repr(request), exc_info=exc)
            return Failed(text=f"{type(exc).__name__}: {exc}; the program's log has the traceback")

    async def _answer(self, request: Request) -> Answer:
        match request:
            case PauseRequest(collector=key, dry_run=is_dry):
                return self._pause(key, is_dry)
            case ResumeRequest(collector=key, dry_run=is_dry):
                return self._resume(key, is_dry)
            case ResizeRequest():
                return self._resize(request)
            case ReplaceRequest(worker=worker, dry_run=is_dry):
                return self._replace(worker, is_dry)
            case CancelRequest(event=event_id, dry_run=is_dry):
                return self._cancel(event_id, is_dry)
            case LettersRequest(selection=selection, limit=limit):
                return page_of(selected(self._letters, selection), limit, shows_payloads=self._shows_payloads)
            case ReplayRequest(selection=selection, dry_run=is_dry):
                return await self._replay(selection, is_dry)
            case DropRequest(selection=selection, dry_run=is_dry):
                return await self._drop(selection, is_dry)
            case DrainRequest(dry_run=is_dry):
                return self._drain(is_dry)
            case StateRequest():
                return self._state()
            case _:
                return Failed(text=f"{type(request).__name__} is not for the event loop")

    def _pause(self, key: str | None, is_dry: bool) -> Answer:
        waiting = plural(self._engine.pauses.held(key), "event")
        is_paused = self._control.is_paused if key is None else key in self._control.paused_collectors
        if is_paused:
            return Done(text=f"{_subject(key)} is paused already; waiting: {waiting}", count=0, dry_run=is_dry)
        if is_dry:
            running = plural(self._engine.accounting().in_handlers, "event")
            text = f"would pause {_subject(key)}; waiting: {waiting}; in handlers, to go on: {running}"
            return Done(text=text, count=1, dry_run=True)
        self._control.pause(key)
        return Done(text=f"paused {_subject(key)}; waiting: {waiting}", count=1)

    def _resume(self, key: str | None, is_dry: bool) -> Answer:
        waiting = plural(self._engine.pauses.held(key), "event")
        is_paused = self._control.is_paused if key is None else key in self._control.paused_collectors
        if not is_paused:
            return Done(text=f"{_subject(key)} is not paused", count=0, dry_run=is_dry)
        if is_dry:
            return Done(text=f"would resume {_subject(key)}; waiting: {waiting}", count=1, dry_run=True)
        self._control.resume(key)
        also = "; the queue as a whole is paused" if self._control.is_paused else ""
        return Done(text=f"resumed {_subject(key)}; waiting: {waiting}{also}", count=1)

    def _resize(self, request: ResizeRequest) -> Answer:
        if request.max_workers is None and request.max_consumers is None:
            return Failed(text="give max_workers, max_consumers or both")
        bounds = {"max_workers": request.max_workers, "max_consumers": request.max_consumers}
        planned = self._engine.regulation.planned(**bounds)
        changes = planned if request.dry_run else self._control.resize(**bounds)
        text = ", ".join(f"{one.subject} {one.before} -> {one.after}" for one in changes) or "no bound changes"
        return Done(text=f"would set {text}" if request.dry_run else text, count=len(changes), dry_run=request.dry_run)

    def _replace(self, worker: int, is_dry: bool) -> Answer:
        if is_dry:
            pid = self._engine.replace_worker(worker, dry_run=True)
            return Done(text=f"would replace the worker with pid {pid}, without losing an event", count=1, dry_run=True)
        pid = self._control.replace_worker(worker)
        return Done(text=f"the worker with pid {pid} serves until its successor is ready, and ends then", count=1)

    def _cancel(self, event_id: int, is_dry: bool) -> Answer:
        event = find_event(self._engine, event_id)
        where = "waits" if isinstance(event.place, (Backlog, Retries)) else "has begun"
        if is_dry:
            return Done(text=f"would cancel event {event_id}, which {where}", count=1, dry_run=True)
        if not self._control.cancel(event_id):
            return Done(text=f"event {event_id} has just ended", count=0)
        end = "has ended" if event.is_done() else "ends as soon as its handler does"
        return Done(text=f"cancelled event {event_id}, which {end}", count=1)

    async def _replay(self, selection: Selection, is_dry: bool) -> Answer:
        letters = selected(self._letters, selection)
        if is_dry:
            return _dry("replay", letters)
        done, until, why = 0, asyncio.get_running_loop().time() + REPLAY_TIME, ""
        for letter in letters:
            try:
                async with asyncio.timeout_at(until):
                    await self._letters.replay(letter)
            except LookupError:  # replayed or dropped by another meanwhile
                continue
            except TimeoutError:
                why = f"the queue had no room for more within {REPLAY_TIME:g} s"
                break
            except EventCollectorException as exc:
                why = str(exc)
                break
            done += 1
            await _breathe(done)
        return self._report("replayed", done, len(letters), why)

    async def _drop(self, selection: Selection, is_dry: bool) -> Answer:
        letters = selected(self._letters, selection)
        if is_dry:
            return _dry("drop", letters)
        done = 0
        for letter in letters:
            if letter in self._letters:
                self._letters.drop(letter)
                done += 1
                await _breathe(done)
        return self._report("dropped", done, len(letters), "")

    def _report(self, verb: str, done: int, of: int, why: str) -> Answer:
        text = f"{verb} {plural(done, 'dead letter')}"
        if why:
            text += f" of {of}; the others are kept: {why}"
        self._log.warning(f"dead letters {verb}", count=done, of=of)
        return Done(text=text, count=done)

    def _drain(self, is_dry: bool) -> Answer:
        counts = self._engine.accounting()
        left = counts.accepted - counts.finished - counts.dead
        if is_dry:
            text = f"would begin the shutdown of {self._queue}; to finish: {plural(left, 'accepted event')}"
            return Done(text=text, count=1, dry_run=True)
        if not self._control.drain():
            return Done(text="the shutdown has begun already, or the queue does not run", count=0)
        return Done(text=f"the shutdown has begun; to finish: {plural(left, 'accepted event')}", count=1)

    def _state(self) -> Answer:
        control, regulation = self._control, self._engine.regulation
        return ControlState(
            queue=self._queue,
            state=self._engine.state,
            is_paused=control.is_paused,
            paused_collectors=list(control.paused_collectors),
            collectors=list(self._engine.collectors),
            max_workers=regulation.most_workers,
            max_consumers=regulation.settings.max_consumers,
            dead_letters=len(self._letters),
        )


def _subject(key: str | None) -> str:
    return "the queue" if key is None else f"collector {key!r}"


def _dry(verb: str, letters: list[DeadLetter]) -> Done:
    return Done(text=f"would {verb} {plural(len(letters), 'dead letter')}", count=len(letters), dry_run=True)


async def _breathe(done: int) -> None:
    """Give others a turn of the loop now and then."""
    if done % DROP_AT_ONCE == 0:
        await asyncio.sleep(0)
