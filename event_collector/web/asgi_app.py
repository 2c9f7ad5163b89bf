"""The ASGI app: routes of the pages, of their data and of the actions."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from event_collector.control.control_messages import LONGEST_REQUEST, decode_request
from event_collector.watching.monitor import as_monitor
from event_collector.watching.socket_lines import Unreachable
from event_collector.web import views
from event_collector.web.bench_reports import report_sections
from event_collector.web.control_link import SocketLink
from event_collector.web.local_reader import LocalReader
from event_collector.web.news import news_of
from event_collector.web.replay import SPEEDS, decode_move
from event_collector.web.site import Link, Site
from event_collector.web.templating import STATIC, environment
from event_collector.web.visitor_guard import Guard, read_body
from event_collector.web.watched import PULSE, Watched

if TYPE_CHECKING:
    import os

    from event_collector.queue import CollectorQueue
    from event_collector.watching.monitor import Monitor

COALESCE: Final = 0.03
"""Seconds that news waits for what belongs to it: details follow their snapshot."""

View = Callable[[Watched, Any, Mapping[str, str]], dict[str, Any]]

PAGES: Final[dict[str, tuple[str, View]]] = {
    "overview": ("Overview", views.overview),
    "collectors": ("Collectors", views.collectors),
    "workers": ("Workers", views.workers),
    "events": ("Events", views.events),
    "dead": ("Dead letters", views.dead_letters),
    "feed": ("Feed", views.feeds),
    "journal": ("Journal", views.journal),
    "scaling": ("Scaling", views.scaling),
    "profiles": ("Profiles", views.profiles),
}


class Pages:
    """Answers requests about one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._templates = environment()

    def __repr__(self) -> str:
        return f"<Pages of {self._site!r}>"

    def routes(self) -> list[Route | Mount]:
        """Return the routes of the app."""
        return [
            Route("/", self.index),
            Route("/login", self.login),
            Route("/{number:int}/series", self.series),
            Route("/{number:int}/news", self.news),
            Route("/{number:int}/control", self.control, methods=["POST"]),
            Route("/{number:int}/replay", self.replay, methods=["POST"]),
            Route("/benchmarks", self.benchmarks),
            Route("/{number:int}/", self.queue_page),
            Route("/{number:int}/{page:str}", self.queue_page),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]

    async def benchmarks(self, request: Request) -> Response:
        """Show reports of benchmarks side by side."""
        return self._render(
            request, "figures_page.html", title="Benchmarks", watched=None, page="benchmarks", layout="base.html",
            sections=report_sections(self._site.reports),
        )  # fmt: skip

    async def index(self, request: Request) -> Response:
        """Show all queues; of a single one, its overview."""
        if not self._site.queues and self._site.reports:
            return RedirectResponse(f"{_root(request)}/benchmarks", 303)
        if len(self._site.queues) == 1 and "hx-request" not in request.headers:
            return RedirectResponse(f"{_root(request)}/1/", 303)
        name = "index_live.html" if "hx-request" in request.headers else "index.html"
        return self._render(request, name, title="Queues", watched=None, page="index")

    async def login(self, request: Request) -> Response:
        """Ask for the token."""
        wrong = "wrong" in request.query_params
        return self._render(request, "login.html", title="Token", watched=None, page="login", wrong=wrong)

    async def queue_page(self, request: Request) -> Response:
        """Show a page about a queue, or, for a refresh, the part of it that changes."""
        watched, page = self._watched(request), request.path_params.get("page", "overview")
        if page not in PAGES:
            raise HTTPException(404, f"there is no page {page!r}")
        title, view = PAGES[page]
        link = self._site.links.get(watched.number)
        control = None if link is None or watched.connection != "live" else await link.state()
        query = {"q": "", "sort": "key", "pid": "", **request.query_params}
        shown = {} if watched.snapshot is None else view(watched, watched.snapshot, query)
        name = "refresh.html" if "hx-request" in request.headers else "queue_page.html"
        return self._render(
            request, name, title=title, watched=watched, page=page, s=watched.snapshot, d=watched.details,
            colours=views.colours(watched), control=control, **{"query": query, **shown},
        )  # fmt: skip

    async def series(self, request: Request) -> Response:
        """Return the history for the plots."""
        watched = self._watched(request)
        columns = watched.history.columns(_number(request, "window", 300.0))
        return _json({**columns, "decisions": views.decisions(watched)})

    async def news(self, request: Request) -> Response:
        """Return what is new, as soon as there is something, or after a second."""
        watched = self._watched(request)
        await watched.wait_for_news(round(_number(request, "ticks", -1)), PULSE)
        await asyncio.sleep(COALESCE)
        after = round(_number(request, "after", 0)) if "spans" in request.query_params else None
        replay = self._site.replays.get(watched.number)
        return _json(news_of(watched, after) | ({} if replay is None else {"position": replay.position}))

    async def control(self, request: Request) -> Response:
        """Pass a typed request to the queue, and return its answer."""
        watched = self._watched(request)
        link = self._site.links.get(watched.number)
        if link is None:
            raise HTTPException(404, "this queue cannot be controlled from here")
        try:
            wanted = decode_request(await read_body(request, LONGEST_REQUEST))
        except msgspec.DecodeError as exc:
            raise HTTPException(400, f"this is no request: {exc}") from None
        try:
            return _json(await link.ask(wanted))
        except Unreachable as exc:
            raise HTTPException(502, str(exc)) from None

    async def replay(self, request: Request) -> Response:
        """Move a replay, or change its speed."""
        replay = self._site.replays.get(self._watched(request).number)
        if replay is None:
            raise HTTPException(404, "this is no replay")
        try:
            wanted = decode_move(await read_body(request, LONGEST_REQUEST))
        except msgspec.DecodeError as exc:
            raise HTTPException(400, f"this is no move of a replay: {exc}") from None
        if wanted.speed is not None:
            replay.play(wanted.speed)
        if wanted.position is not None:
            await replay.seek(wanted.position)
        return _json({"position": replay.position})

    def _watched(self, request: Request) -> Watched:
        watched = self._site.queue(request.path_params["number"])
        if watched is None:
            raise HTTPException(404, "there is no such queue")
        if watched.number in self._site.readers:
            self._site.readers[watched.number].wake()
        return watched

    def _render(self, request: Request, name: str, **values: Any) -> Response:
        root, watched = _root(request), values["watched"]
        text = self._templates.get_template(name).render(
            root=root,
            here="" if watched is None else f"{root}/{watched.number}",
            url=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            csrf=request.scope["state"]["csrf"],
            queues=self._site.queues,
            reports=self._site.reports,
            links=self._site.links,
            pages=[(name, label) for name, (label, _) in PAGES.items() if views.has_page(name, watched)],
            replay=None if watched is None else self._site.replays.get(watched.number),
            speeds=SPEEDS,
            **{"control": None, **values},
        )
        return HTMLResponse(text)


def make_app(site: Site, *, hosts: Collection[str] | None, token: str | None) -> ASGIApp:
    """Return the app of a site, behind its guard."""
    return Guard(Starlette(routes=Pages(site).routes()), hosts=hosts, token=token)


def dashboard(
    queue: "CollectorQueue",
    *,
    monitor: "Monitor | str | os.PathLike[str] | None" = None,
    hosts: Collection[str] | None = None,
) -> ASGIApp:
    """Return an ASGI app with the page of a queue, to mount in the program that has the queue.

    app.mount("/queue", dashboard(queue)). The app has no authentication: that of the program decides who sees the page.
    The queue is looked at and inspected while a page is open, and costs nothing else. The history begins with the first
    look.

    Args:
        queue: the queue. It need not run yet.
        monitor: the `monitor=` of the queue, if that is `Monitor(path, control=True)` and visitors may act on it.
        hosts: host names under which browsers may ask for the page, beside addresses; None for any. Name them if the
            program has no authentication: this keeps other sites from reading the page through a name of theirs that
            leads here.

    Raises:
        ConfigError: a socket cannot have this path.
    """
    given = None if monitor is None else as_monitor(monitor)
    watched = Watched(1, queue.id)
    links: dict[int, Link] = {1: SocketLink(given.path)} if given is not None and given.control else {}
    read = given or queue.monitor
    readers = {1: LocalReader(queue, watched, None if read is None else read.path)}
    return make_app(Site([watched], links, readers=readers), hosts=hosts, token=None)


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


def _number(request: Request, name: str, default: float) -> float:
    try:
        return float(request.query_params.get(name, default))
    except ValueError:
        return default


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
