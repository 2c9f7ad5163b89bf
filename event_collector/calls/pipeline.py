"""Pipelines: streams through several collectors.

values --> Stream --> Passage: an event of the first stage, then one of the second, ... --> Stream.results()
                         ^                                                  |
                         '------ Relay.run() sends it to its next stage ----'

A stage that yields is the last one of such a section. Its parts are the values of the next section:

values --> Stream --> Passage: ... an event that gives parts --> read_in_order() or PartReaders --> Stream --> ...
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic

from event_collector.calls.part_readers import PartReaders, Results, close_parts, read_in_order
from event_collector.calls.stream import Signal, Stream, check_ahead
from event_collector.values.errors import ConfigError
from event_collector.values.results import Error, Ok, Result, ResultList, T, error_of, single

if TYPE_CHECKING:
    from event_collector.events.event import CollectorEvent


class Pipeline(Generic[T]):
    """Collectors of a queue in a row, each of which gets what the one before returns; made by `queue.pipeline()`.

    It holds no values: any number of streams may go through it, one after another or at the same time.

    Attributes:
        stages: the keys of the collectors.
        ahead: the number of values and parts in the pipeline, at most.
        has_parts: whether a stage yields, so that a value may have none or several results.
    """

    __slots__ = ("_is_ordered", "_sections", "_send", "_share", "_yielding", "ahead", "has_parts", "stages")

    def __init__(
        self,
        send: "Callable[[str, Any], Awaitable[CollectorEvent]]",
        stages: Sequence[str],
        yielding: Collection[str],
        *,
        ahead: int,
        ordered: bool,
        consumers: int,
    ) -> None:
        if not stages:
            raise ConfigError("a pipeline takes the collectors of its stages, at least one")
        check_ahead(ahead)
        self.stages, self.ahead, self.has_parts = tuple(stages), ahead, bool(yielding)
        self._send, self._is_ordered = send, ordered
        self._sections = _sections(stages, yielding)
        readers = len(self._sections) - 1
        # Each section has its share. Without order several readers hold a part each, and one is between them and the
        # next section.
        self._share = (ahead - readers) // (len(self._sections) + (0 if ordered else readers))
        if not self._share:
            least = 1 + (2 if ordered else 3) * readers
            raise ConfigError(f"ahead takes at least {least} for these stages, {yielding} yield, not {ahead}")
        self._yielding = self._share
        """Values of a stage that yields, at most, whose parts have no reader; and readers, if there are several."""
        if readers:
            # A handler that is suspended keeps its place among the consumers: later stages need one as well.
            places = (consumers - 1) // readers
            if places < 2:
                raise ConfigError(
                    f"a pipeline in which {yielding} yield needs max_consumers of at least {1 + 2 * readers}, "
                    f"not {consumers}"
                )
            self._yielding = min(self._share, places - 1 if ordered else places // 2)

    def stream(self, values: Any) -> AsyncGenerator[Result[T], None]:
        """Send many values through the stages and yield a Result for each, as `queue.stream()` does.

        A value whose handler fails leaves the pipeline at that stage, as an Error whose `key` names the stage. If a
        stage yields, a value has as many results as there are parts, and an Error if the handler then fails.

        Leaving the loop withdraws what no handler has begun; a value in a handler comes to the end of that stage, and a
        handler that yields is closed at its `yield`.

        Args:
            values: an iterable or async iterable.

        Raises:
            ConfigError: `values` is of another kind.
            QueueShutDown, JournalError, EncodeError: while iterating, as for `EventPublisher.send()`. Values that are
                refused at a later stage are Errors of that stage.
        """
        *before, last = self._sections
        results: Results | None = None
        for section in before:
            results = self._run(section, values, results, self._yielding, gives_parts=True)
            if self._is_ordered:
                results = read_in_order(results, section[-1])
            else:
                results = PartReaders(results, section[-1], self._yielding).results()
        if last or results is None:
            results = self._run(last, values, results, self._share, gives_parts=False)
        return results

    def map(self, values: Any) -> AsyncGenerator[T, None]:
        """Yield the values of the results of `stream()`, and raise the first error, which ends the stream.

        The exception has a note with the name of the stage. Arguments and errors are those of `stream()`.
        """
        return _unwrap(self.stream(values))

    def _run(
        self, section: Sequence[str], values: Any, before: Results | None, ahead: int, *, gives_parts: bool
    ) -> Results:
        relay = Relay(self._send, section, gives_parts=gives_parts)
        begin, values = (relay.begin, values) if before is None else (relay.begin_part, before)
        return _run(relay, Stream(begin, values, ahead=ahead, ordered=self._is_ordered).results(), before)

    def __repr__(self) -> str:
        return f"<Pipeline {' -> '.join(self.stages)} ahead={self.ahead}>"


def _sections(stages: Sequence[str], yielding: Collection[str]) -> list[list[str]]:
    """Divide the stages, after each that yields; the last section may be empty."""
    sections: list[list[str]] = [[]]
    for stage in stages:
        sections[-1].append(stage)
        if stage in yielding:
            sections.append([])
    return sections


async def _run(relay: "Relay", results: Results, before: Results | None) -> Results:
    """Yield the results of a section. The end of the generator ends the sections before it."""
    relaying = asyncio.create_task(relay.run(), name="pipeline")
    try:
        async with aclosing(results):
            async for result in results:
                yield result
    finally:
        relaying.cancel()
        await asyncio.wait([relaying])
        if before is not None:
            await before.aclose()


async def _unwrap(results: Results) -> AsyncGenerator[Any, None]:
    async with aclosing(results):
        async for result in results:
            if isinstance(result, Error):
                error, note = error_of(result), f"in stage {result.key!r} of the pipeline"
                if note not in getattr(error, "__notes__", ()):
                    error.add_note(note)
                raise error
            yield result.value


class Relay:
    """Sends values from stage to stage.

    Args:
        send: accepts a value as an event of the collector with this key, when the queue has room for it.
        stages: the keys of the collectors.
        gives_parts: whether the last stage yields. Its event is then the result of a passage, when it is accepted.
    """

    __slots__ = ("_news", "_ready", "_send", "gives_parts", "stages")

    def __init__(
        self, send: "Callable[[str, Any], Awaitable[CollectorEvent]]", stages: Sequence[str], *, gives_parts: bool
    ) -> None:
        self._send, self.stages, self.gives_parts = send, stages, gives_parts
        self._news = Signal()  # for run()
        self._ready: deque[tuple[Passage, Any]] = deque()

    async def begin(self, value: Any) -> Any:
        """Send a value to the first stage; return its Passage, which is to a stream what an event is."""
        passage = Passage(self)
        passage.follow(await self._send(self.stages[0], value))
        return passage

    async def begin_part(self, result: Result[Any]) -> Any:
        """Send a part of an earlier section to the first stage; return its Passage. An Error passes by all stages."""
        passage = Passage(self)
        if isinstance(result, Error):
            passage.end(result)
        else:
            await self._forward(passage, result.value)
        return passage

    def pass_on(self, passage: "Passage", value: Any) -> None:
        """Have `run()` send a value to its next stage."""
        self._ready.append((passage, value))
        self._news.set()

    async def run(self) -> None:
        """Send values to their next stages, for ever."""
        while True:
            while self._ready:
                await self._forward(*self._ready.popleft())
            await self._news.wait()

    async def _forward(self, passage: "Passage", value: Any) -> None:
        try:
            event = await self._send(passage.stage, value)
        except Exception as exc:  # one value, such as a Payload, or the queue is shut down
            passage.end(Error(exc))
        else:
            passage.follow(event)


class Passage:
    """One value on its way through the stages. Like an event, it will have a result."""

    __slots__ = ("_event", "_index", "_on_done", "_relay", "_results")

    def __init__(self, relay: Relay) -> None:
        self._relay, self._index = relay, 0
        self._event: CollectorEvent | None = None  # of the stage where it is; None between two stages
        self._results: ResultList | None = None
        self._on_done: Callable[[Any], object] | None = None

    @property
    def stage(self) -> str:
        """The key of the collector that has its value, or gets it next."""
        return self._relay.stages[self._index]

    @property
    def _gives_parts(self) -> bool:
        return self._relay.gives_parts and self._index == len(self._relay.stages) - 1

    def follow(self, event: "CollectorEvent") -> None:
        """Go on when this event is done."""
        self._event = event
        if self._gives_parts:
            self.end(Ok(event))  # nothing may wait for it: what reads its parts does
        elif event.is_done():
            self._leave(event)
        else:
            event.on_done(self._leave)

    def note_look(self) -> None:
        """Do nothing: it has looked at the results of its events itself."""

    def _leave(self, event: "CollectorEvent") -> None:
        self._event = None
        try:
            result = event.get_result().only()  # type: ignore[union-attr]  # it is done
        except LookupError as exc:  # a router of the application has delivered it otherwise
            result = Error(exc)
        if isinstance(result, Ok) and self._index + 1 < len(self._relay.stages):
            self._index += 1
            self._relay.pass_on(self, result.value)
        else:
            self.end(result)

    def end(self, result: Result[Any]) -> None:
        """Leave the pipeline with a result, which names its stage."""
        if isinstance(result, Error) and result.key is None:
            result = Error(result.err, result.details, key=self.stage)
        self._results = single(result)
        if self._on_done is not None:
            self._on_done(self)

    # What a stream asks of an event

    def is_done(self) -> bool:
        """Return whether the result is there."""
        return self._results is not None

    def get_result(self) -> ResultList | None:
        """Return the result, in a list; None until it is there."""
        return self._results

    def on_done(self, call: Callable[[Any], object]) -> None:
        """Have `call(self)` called when the result is there, which it must not be yet."""
        self._on_done = call

    def cancel(self, *, running: bool) -> bool:
        """Cancel the event of the present stage; see `CollectorEvent.cancel()`. One that gives parts is closed."""
        if self._event is None:
            return False
        is_cancelled = self._event.cancel(running=running)
        if not is_cancelled and self._gives_parts:
            close_parts(self._event)
        return is_cancelled
