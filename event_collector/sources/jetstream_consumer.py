"""The objects of a server that a JetStream source needs: its stream, its durable consumer, a stream of dead letters."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from event_collector.sources.jetstream_connection import RefusedRequest, request_api
from event_collector.values.errors import SourceError

if TYPE_CHECKING:
    from nats.aio.client import Client

NANOSECONDS: Final = 1_000_000_000
MAX_WAITING: Final = 20_000
"""Pull requests that the consumer keeps, about one per program. The server's default of 512 would limit the number of
programs, and it cannot be changed later."""
NO_LIMIT: Final = -1
STREAM_NOT_FOUND, CONSUMER_NOT_FOUND = 10059, 10014


class ConsumerTerms(NamedTuple):
    """What a consumer grants.

    Attributes:
        created: when its stream was made: another time means another stream of the same name.
        hold: seconds without an extension after which a message is delivered again.
        max_batch: maximum messages of a pull request; 0 for no limit.
        max_expires: maximum seconds until a pull request expires; 0 for no limit.
    """

    created: str
    hold: float
    max_batch: int
    max_expires: float


class ConsumerPlan(NamedTuple):
    """What a source asks of the server: see the arguments of `JetStreamSource`."""

    stream: str
    consumer: str
    subject: str | None
    ack_wait: float
    dead_letters: str

    async def carry_out(self, client: "Client") -> ConsumerTerms:
        """Create what does not exist, except the stream, and check what does.

        Raises:
            SourceError: the stream does not exist, or consumer or dead letters are of a kind that loses messages.
        """
        try:
            stream = await request_api(client, f"STREAM.INFO.{self.stream}")
        except RefusedRequest as exc:
            if exc.code != STREAM_NOT_FOUND:
                raise
            raise SourceError(
                f"there is no stream {self.stream!r}: make it first, for example with `nats stream add {self.stream}`"
            ) from None
        config = (await self._find_consumer(client))["config"]
        self._check_consumer(config)
        await self.find_dead_letters(client, stream["config"])
        holds = [config.get("ack_wait") or self.ack_wait * NANOSECONDS, *(config.get("backoff") or ())]
        max_expires = config.get("max_expires", 0) / NANOSECONDS
        return ConsumerTerms(stream["created"], min(holds) / NANOSECONDS, config.get("max_batch", 0), max_expires)

    async def count_messages(self, client: "Client") -> int:
        """Return the number of messages that wait, or are delivered and not settled."""
        info = await request_api(client, f"CONSUMER.INFO.{self.stream}.{self.consumer}")
        return int(info["num_pending"]) + int(info["num_ack_pending"])

    async def _find_consumer(self, client: "Client") -> dict[str, Any]:
        place = f"{self.stream}.{self.consumer}"
        try:
            return await request_api(client, f"CONSUMER.INFO.{place}")
        except RefusedRequest as exc:
            if exc.code != CONSUMER_NOT_FOUND:
                raise
        config = {
            "durable_name": self.consumer, "ack_policy": "explicit", "ack_wait": int(self.ack_wait * NANOSECONDS),
            "max_deliver": NO_LIMIT, "max_ack_pending": NO_LIMIT, "max_waiting": MAX_WAITING,
        }  # fmt: skip
        if self.subject is not None:
            config["filter_subject"] = self.subject
        request = {"stream_name": self.stream, "config": config}
        try:
            return await request_api(client, f"CONSUMER.DURABLE.CREATE.{place}", request)
        except RefusedRequest:  # another program may have made it meanwhile, with another ack_wait
            return await request_api(client, f"CONSUMER.INFO.{place}")

    def _check_consumer(self, config: Mapping[str, Any]) -> None:
        subjects = config.get("filter_subjects") or [config.get("filter_subject") or None]
        faults = {
            "is not one of pull requests with explicit acknowledgement":
                config.get("deliver_subject") or config.get("ack_policy") != "explicit",
            f"is for subject {', '.join(map(repr, subjects))}, not {self.subject!r}": subjects != [self.subject],
            "delivers messages without their data (headers_only)": config.get("headers_only"),
            f"drops a message after {config.get('max_deliver')} deliveries (max_deliver)":
                config.get("max_deliver", NO_LIMIT) > 0,
            "is shared by priority groups (priority_groups)": config.get("priority_groups"),
        }  # fmt: skip
        for fault, is_there in faults.items():
            if is_there:
                raise SourceError(
                    f"consumer {self.consumer!r} of stream {self.stream!r} {fault}: "
                    f"give this program a consumer of another name"
                )

    async def find_dead_letters(self, client: "Client", config: Mapping[str, Any] | None = None) -> None:
        """Have a stream take the dead letters; one is created if none does. `config` is that of the stream."""
        found = (await request_api(client, "STREAM.NAMES", {"subject": self.dead_letters})).get("streams")
        if not found:
            name = f"{self.stream}_DEAD"
            try:
                await request_api(client, f"STREAM.CREATE.{name}", {"name": name, "subjects": [self.dead_letters]})
            except RefusedRequest as exc:
                raise SourceError(
                    f"no stream has the subject of dead letters, {self.dead_letters!r}, and stream {name!r} cannot be "
                    f"made for it: {exc}. Make a stream with that subject"
                ) from None
        elif config is not None and self._feeds_itself(found, config):
            raise SourceError(
                f"dead letters of stream {self.stream!r} would come back as its messages, because it has their "
                f"subject, {self.dead_letters!r}: name a subject of another stream with dead_letters="
            )

    def _feeds_itself(self, targets: list[str], config: Mapping[str, Any]) -> bool:
        origins = [config.get("mirror") or {}, *(config.get("sources") or ())]
        copied = {one.get("name") for one in origins if is_subject_in(self.dead_letters, one.get("filter_subject"))}
        return not copied.isdisjoint(targets) or (
            self.stream in targets and is_subject_in(self.dead_letters, self.subject)
        )


def is_subject_in(subject: str, pattern: str | None) -> bool:
    """Return whether a pattern of NATS, with the wildcards `*` and `>`, includes a subject; None and "" include all."""
    if not pattern:
        return True
    names, wanted = subject.split("."), pattern.split(".")
    if wanted[-1] == ">":
        return len(names) >= len(wanted) and all(map(_fits, names, wanted[:-1]))
    return len(names) == len(wanted) and all(map(_fits, names, wanted))


def _fits(name: str, wanted: str) -> bool:
    return wanted in ("*", name)
