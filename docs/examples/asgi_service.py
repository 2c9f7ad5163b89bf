"""An HTTP service: each request is an event, and is answered with what its handlers found.

uvicorn asgi_service:app
curl -d '{"text": "to be or not to be"}' http://127.0.0.1:8000/texts
"""

import asyncio
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from event_collector import CollectorQueue, QueueFull, QueueShutDown, collector


class Text(msgspec.Struct):
    """What a client sends."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000_000)]


class Figures(msgspec.Struct):
    """What the handler in the worker process finds."""

    words: int
    most_common: str | None
    compressed: int


@collector("figures", timeout=5)
def measure(text: Text) -> Figures:
    """Compute: a plain `def` runs in worker processes, and the event loop goes on serving."""
    words = Counter(text.text.split())
    most_common = words.most_common(1)[0][0] if words else None
    return Figures(words.total(), most_common, len(zlib.compress(text.text.encode(), 9)))


@collector("stored")
async def store(text: Text) -> bool:
    """Wait, as for a database: an `async def` runs on the event loop."""
    await asyncio.sleep(0.01)
    return True


async def answer(request: Request) -> Response:
    """POST /texts: send the event, wait for its results, say what went wrong in terms of HTTP."""
    try:
        text = msgspec.json.decode(await request.body(), type=Text)
    except msgspec.DecodeError as exc:
        return reply(400, {"error": str(exc)})
    try:
        event = request.state.queue.get_publisher().send_nowait(text, deadline=10)
        found = {result.key: result.unwrap() for result in await event}
    except (QueueFull, QueueShutDown) as exc:  # refuse at once what could not be served in time
        return reply(503, {"error": str(exc)}, {"retry-after": "1"})
    except TimeoutError as exc:  # a DeadlineExceeded or a HandlerTimeout
        return reply(504, {"error": str(exc)})
    return reply(200, found)  # any other error is answered with a 500, and logged, by Starlette


async def health(request: Request) -> Response:
    """GET /health: where all events are."""
    return reply(200, request.state.queue.accounting()._asdict())


def reply(status: int, content: Any, headers: dict[str, str] | None = None) -> Response:
    """Return an answer in JSON."""
    return Response(msgspec.json.encode(content), status, headers, "application/json")


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, CollectorQueue]]:
    """Run the queue for as long as the server runs, and let its end finish what was accepted."""
    async with CollectorQueue([measure, store], max_queue_size=1000) as queue:
        yield {"queue": queue}


app = Starlette(routes=[Route("/texts", answer, methods=["POST"]), Route("/health", health)], lifespan=lifespan)
