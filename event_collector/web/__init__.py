"""The web page of running queues: a viewer of monitor sockets, and an ASGI app to mount. No watched program needs it.

    from event_collector.web import dashboard
    app.mount("/queue", dashboard(queue))

The extra `web` has what it needs.
"""

from typing import TYPE_CHECKING, Any

from event_collector.values.extras import missing

if TYPE_CHECKING:
    from event_collector.web.asgi_app import dashboard

__all__ = ["dashboard"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from event_collector.web import asgi_app
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] not in ("starlette", "jinja2"):
            raise
        raise missing("web", "starlette, uvicorn and jinja2") from exc
    return asgi_app.dashboard
