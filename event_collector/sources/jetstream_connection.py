"""The connection of a JetStream source: one client of nats-py, replaced by another when it has given up."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from event_collector.sources.source import describe_error
from event_collector.values.errors import SourceError
from event_collector.values.extras import import_extra

if TYPE_CHECKING:
    from nats.aio.client import Client

CONNECT_TIMEOUT: Final = 10.0
PING_INTERVAL: Final = 10
"""Seconds between two pings; after two without an answer nats-py connects again."""
CUT_OFF: Final = 30.0
"""Seconds after which a client that has not connected again is replaced: its task for that may have died."""
RESETS: Final = 3
"""Connections that each server may reset, on average, before it counts as one that has failed."""
CLOSE_TIMEOUT: Final = 3.0
"""Seconds for the end of a connection. A server that has stopped reading would block it for ever."""


class RefusedRequest(Exception):
    """The JetStream API has answered with an error; `code` is its number."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error.get("description") or str(error))
        self.code = error.get("err_code")


class NatsConnection:
    """A connection to any of the servers; `options` are those of `nats.connect()`, `lost` is called at each loss.

    nats-py connects again by itself, unless it has closed its client for good or its reconnecting task has ended with
    an error. `client()` makes another client then.
    """

    def __init__(
        self, servers: Sequence[str], stream: str, options: Mapping[str, Any], lost: Callable[[], None]
    ) -> None:
        self._nats = import_extra("nats", "nats")
        self._servers, self._stream, self._options, self._lost = list(servers), stream, options, lost
        self._client: Client | None = None
        self._lost_at = 0.0
        self._errors: list[Exception] = []  # of the attempt to connect; the last one afterwards
        self._denied: Exception | None = None  # a permission that is missing, of which only this tells
        self._failed: asyncio.Future[None] | None = None

    async def client(self) -> "Client":
        """Return a client that is connected. Raises SourceError, also if the server has denied something meanwhile."""
        self.check()
        client = self._client
        if client is not None and (
            client.is_closed or (not client.is_connected and monotonic() > self._lost_at + CUT_OFF)
        ):
            await self.close()
        if self._client is None:
            self._client = await self._connect()
        if not self._client.is_connected:
            raise SourceError(f"there is no connection to the server of stream {self._stream!r}: {self._reason()}")
        return self._client

    def check(self) -> None:
        """Raise SourceError, once, if the server has denied something: such a request has no other answer."""
        denied, self._denied = self._denied, None
        if denied is not None:
            raise SourceError(f"the server of stream {self._stream!r} has denied a request: {describe_error(denied)}")

    async def _connect(self) -> "Client":
        """Connect within `CONNECT_TIMEOUT`, or until each server has failed; nats-py itself would try for ever."""
        client: Client = self._nats.NATS()
        self._errors = []
        self._failed = asyncio.get_running_loop().create_future()
        settings = {
            "name": "event-collector", "max_reconnect_attempts": -1, "reconnect_time_wait": 0.5,
            "ping_interval": PING_INTERVAL, "flush_timeout": CLOSE_TIMEOUT,
        }  # fmt: skip
        callbacks = {"error_cb": self._on_error, "disconnected_cb": self._on_disconnected}
        connecting = asyncio.create_task(client.connect(self._servers, **{**settings, **self._options, **callbacks}))
        try:
            both: set[asyncio.Future[Any]] = {connecting, self._failed}
            await asyncio.wait(both, timeout=CONNECT_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()
                return client
            reason = self._reason() if self._errors else f"no answer within {CONNECT_TIMEOUT:g} s"
        except Exception as exc:
            reason = describe_error(exc)
        finally:
            self._failed.cancel()
            if not connecting.done():
                connecting.cancel()
                await asyncio.wait({connecting}, timeout=CLOSE_TIMEOUT)
        await _end(client)
        raise SourceError(
            f"the NATS server of stream {self._stream!r} cannot be reached: {reason}. "
            f"Is it running, and are address and credentials right?"
        )

    def _is_hopeless(self) -> bool:
        """Return whether each server has failed. One that refuses a client may reset the connection and not say why."""
        told = sum(not isinstance(error, ConnectionResetError) for error in self._errors)
        return max(told, len(self._errors) // RESETS) >= len(self._servers)

    def _reason(self) -> str:
        told = [error for error in self._errors if not isinstance(error, ConnectionResetError)]
        if self._errors and not told:
            return "it resets each connection without a word, as a server does that refuses the credentials"
        return describe_error(told[-1]) if told else "it was lost"

    async def _on_error(self, exc: Exception) -> None:
        connecting = self._failed is not None and not self._failed.done()
        self._errors = [*self._errors, exc] if connecting else [exc]
        if self._failed is not None and connecting and self._is_hopeless():
            self._failed.set_result(None)
        if "permissions violation" in str(exc).lower():
            self._denied = exc
        await _call(self._options.get("error_cb"), exc)

    async def _on_disconnected(self) -> None:
        self._lost_at = monotonic()
        self._lost()
        await _call(self._options.get("disconnected_cb"))

    async def close(self) -> None:
        """Flush and disconnect, within `CLOSE_TIMEOUT`. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await _end(client)


async def _call(callback: Callable[..., Awaitable[None]] | None, *args: Any) -> None:
    """Call a callback of the application, whose place in the client is taken."""
    if callback is not None:
        await callback(*args)


async def _end(client: "Client") -> None:
    """Close a client. It is done in a task, since nats-py takes a cancellation for the end of a step."""
    closing = asyncio.create_task(_flush_and_close(client))
    await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT)
    closing.cancel()


async def _flush_and_close(client: "Client") -> None:
    with suppress(Exception):
        if client.is_connected:
            await client.flush(timeout=2)
    with suppress(Exception):
        await client.close()


async def request_api(client: "Client", subject: str, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the answer of the JetStream API. Raises RefusedRequest, and errors of nats-py.

    The classes of nats-py leave out settings that they do not know, such as the limits of a consumer.
    """
    data = b"" if request is None else json.dumps(request).encode()
    answer: dict[str, Any] = json.loads((await client.request(f"$JS.API.{subject}", data, timeout=5)).data)
    if "error" in answer:
        raise RefusedRequest(answer["error"])
    return answer
