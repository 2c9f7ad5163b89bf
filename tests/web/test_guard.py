"""The guard of the page: names, origins, tokens, and the text of others."""

from html.parser import HTMLParser
from typing import Any

import httpx
import msgspec
import pytest

from event_collector.control.control_messages import Answer, ControlState, Done, PauseRequest, Request
from event_collector.web.asgi_app import PAGES, make_app
from event_collector.web.site import Site
from event_collector.web.visitor_guard import ACCESS, BROWSER
from tests.web.sample_data import HOSTILE, snapshot, watched

HOST = "http://localhost:8790"
PAUSE = {"verb": "pause", "collector": HOSTILE}


class KeptLink:
    """A link that keeps the requests that reach it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def ask(self, request: Request) -> Answer:
        self.requests.append(request)
        return Done(text=f"paused {HOSTILE}", count=1)

    async def state(self) -> ControlState:
        return ControlState(queue="q", state="running", is_paused=False, paused_collectors=[], collectors=[HOSTILE],
                            max_workers=4, max_consumers=10, dead_letters=3)  # fmt: skip


class Parts(HTMLParser):
    """The tags of a page, with their attributes, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def visit(link: KeptLink, token: str | None = None, **options: Any) -> httpx.AsyncClient:
    """Return a browser that visits a page about one queue."""
    app = make_app(Site([watched()], {1: link}), hosts=("localhost",), token=token)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST, **options)


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8790", 200), ("127.0.0.1:8790", 200), ("[::1]:8790", 200), ("LOCALHOST", 200),
     ("evil.example", 421), ("localhost.evil.example:8790", 421), ("", 421)],
)  # fmt: skip
async def test_a_name_that_leads_here_is_not_enough(host: str, status: int) -> None:
    """A site whose name is bound to this address anew gets nothing: its Host header is not one of ours."""
    async with visit(KeptLink()) as browser:
        assert (await browser.get("/1/", headers={"Host": host})).status_code == status


@pytest.mark.parametrize("has_both", [False, True])
async def test_pages_are_listed_where_they_have_something_to_show(has_both: bool) -> None:
    """Those of feeds and of the journal only for a queue that has them; a refresh brings the list too."""
    one = watched()
    if not has_both:
        one.take(msgspec.structs.replace(snapshot(3), feeds=[], journal=None))
    app = make_app(Site([one]), hosts=None, token=None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST) as browser:
        for headers in ({}, {"hx-request": "true"}):
            text = (await browser.get("/1/", headers=headers)).text
            links = [(tag[1].get("href") or "").rpartition("/")[2] for tag in Parts(text).tags if tag[0] == "a"]
            assert [name for name in links if name in ("feed", "journal")] == (["feed", "journal"] if has_both else [])
        for page in ("feed", "journal"):
            assert ("This queue has no" in (await browser.get(f"/1/{page}")).text) is not has_both


async def test_only_the_page_itself_acts() -> None:
    """An action needs an Origin of this host, and the token of the browser that asks; else it reaches no queue."""
    link = KeptLink()
    async with visit(link) as browser, visit(link) as other:
        page, others_page = (await browser.get("/1/")).text, (await other.get("/1/")).text
        (body, others) = (dict(Parts(text).tags)["body"]["data-csrf"] or "" for text in (page, others_page))
        refused: list[dict[str, str]] = [
            {},
            {"Origin": HOST},
            {"X-CSRF-Token": body},
            {"Origin": HOST, "X-CSRF-Token": others},
            {"Origin": "http://evil.example", "X-CSRF-Token": body},
            {"Origin": "null", "X-CSRF-Token": body},
            {"Origin": "http://localhost:8791", "X-CSRF-Token": body},
            {"Sec-Fetch-Site": "same-site", "X-CSRF-Token": body},
        ]
        for headers in refused:
            assert (await browser.post("/1/control", json=PAUSE, headers=headers)).status_code == 403, headers
        assert link.requests == []
        answer = await browser.post("/1/control", json=PAUSE, headers={"Origin": HOST, "X-CSRF-Token": body})
        assert answer.json() == {"answer": "done", "text": f"paused {HOSTILE}", "count": 1, "dry_run": False}
        assert link.requests == [PauseRequest(collector=HOSTILE)]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"verb": "erase"}', b'{"verb": "pause", "x": 1}', b"x" * 70_000])
async def test_a_request_that_is_none_goes_nowhere(body: bytes) -> None:
    """What the control socket would not take is refused here, however long it is."""
    link = KeptLink()
    async with visit(link) as browser:
        token = dict(Parts((await browser.get("/1/")).text).tags)["body"]["data-csrf"] or ""
        answer = await browser.post("/1/control", content=body, headers={"Origin": HOST, "X-CSRF-Token": token})
    assert answer.status_code in (400, 413)
    assert link.requests == []


@pytest.mark.parametrize("page", [*PAGES, "collectors?open=" + HOSTILE.replace('"', "%22").replace(" ", "%20")])
@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}], ids=["page", "refresh"])
async def test_texts_of_the_application_stay_text(page: str, headers: dict[str, str]) -> None:
    """Keys, errors, notes and payloads make no element and no attribute; the policy would not run them anyway."""
    async with visit(KeptLink()) as browser:
        answer = await browser.get(f"/1/{page if page != 'overview' else ''}", headers=headers)
    assert answer.status_code == 200
    assert "onerror" in answer.text
    tags = Parts(answer.text).tags
    assert "img" not in {tag for tag, _ in tags}
    names = {name for _, attributes in tags for name in attributes}
    assert {name for name in names if name.startswith("on") or name == "style"} == set()
    assert [attributes for tag, attributes in tags if tag == "script" and "src" not in attributes] == []
    assert "style" not in {tag for tag, _ in tags}
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} <= set(
        policy.split("; ")
    )


async def test_a_page_for_others_asks_for_its_token_once() -> None:
    """Without the token there is nothing but the form; with it, the browser is let in by a cookie."""
    token = "correct horse battery staple"
    async with visit(KeptLink(), token) as browser:
        for path in ("/", "/1/", "/1/news", "/1/series"):
            answer = await browser.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert (await browser.post("/1/control", json=PAUSE)).headers["location"] == "/login"
        wrong = await browser.post("/login", data={"token": "guess"}, headers={"Origin": HOST})
        assert wrong.headers["location"] == "/login?wrong=1"
        foreign = await browser.post("/login", data={"token": token}, headers={"Origin": "http://evil.example"})
        assert foreign.headers["location"] == "/login?wrong=1"
        assert (await browser.get("/login?wrong=1")).status_code == 200
        right = await browser.post("/login", data={"token": token}, headers={"Origin": HOST})
        assert right.headers["location"] == "/"
        assert (await browser.get("/1/")).status_code == 200
        assert set(browser.cookies) == {BROWSER, ACCESS}
        assert token not in str(browser.cookies)
    async with visit(KeptLink(), token, headers={"Authorization": f"Bearer {token}"}) as program:
        assert (await program.get("/1/series")).status_code == 200


async def test_what_is_not_there_is_not_found() -> None:
    """Unknown queues and pages are 404, and there is no way out of the folder of static files."""
    async with visit(KeptLink()) as browser:
        for path in ("/2/", "/1/nothing", "/0/", "/static/../news.py", "/static/%2e%2e/news.py"):
            assert (await browser.get(path)).status_code == 404, path
        assert (await browser.get("/static/page.js")).headers["content-type"].startswith("text/javascript")
