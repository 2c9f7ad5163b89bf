"""The page in a real browser, beside a program with a queue and two workers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from event_collector.web.asgi_app import PAGES
from tests.web.browsing import Browser, Program, serving, until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def program(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, str]]:
    """A program, and the address of the page about it."""
    socket = tmp_path_factory.mktemp("run") / "q.sock"
    one = Program(socket)
    with serving(str(socket)) as address:
        yield one, address
    one.kill()


def number(browser: Browser, label: str) -> str:
    """Return the note below a tile."""
    script = """return [...document.querySelectorAll(".tiles > div")].find(
        (one) => one.querySelector("dt").innerText === arguments[0])?.querySelector("dd + dd").innerText ?? "" """
    return browser.run(script, label)


def test_counters_move_and_every_canvas_is_drawn(browser: Browser, program: tuple[Program, str]) -> None:
    """The overview changes by itself, the plots and the task stream are drawn, and hostile keys stay text."""
    _, address = program
    browser.look_like(1280, "light")
    browser.open(f"{address}/1/")
    first = until(lambda: number(browser, "Accepted"), "a number of events")
    until(lambda: number(browser, "Accepted") not in ("", first), "another number of events")
    until(lambda: browser.run("return document.querySelectorAll('canvas').length") == 8, "eight plots")
    until(lambda: not browser.blank_canvases(), f"plots: {browser.blank_canvases()}")
    browser.open(f"{address}/1/workers")
    until(lambda: "onerror" in browser.text("#stream-legend"), "the legend of the task stream")
    until(lambda: not browser.blank_canvases(), "the task stream")
    ready = "return [...document.querySelectorAll('#live .pill')].filter((one) => one.innerText === 'ready').length"
    until(lambda: browser.run(ready) == 2, "two workers")
    assert browser.run("return document.querySelectorAll('img').length") == 0


def test_a_refresh_changes_only_what_differs(browser: Browser, program: tuple[Program, str]) -> None:
    """Elements stay the same ones, so what a visitor has opened or focused stays so; others come and go around them."""
    browser.open(f"{program[1]}/1/dead")
    found = browser.run(
        """return import(arguments[0]).then(({ patch }) => {
            const make = (html) => Object.assign(document.createElement("div"), { innerHTML: html });
            const old = make("\\n<p>gone</p><section><details id=a open>one</details><i>x</i></section>");
            const [section, details] = [old.querySelector("section"), old.querySelector("details")];
            patch(old, make("<section class=new><details id=b></details><details id=a>two</details></section>"));
            return [old.innerHTML, old.querySelector("section") === section, old.querySelector("#a") === details];
        })""",
        f"{program[1]}/static/patch.js",
    )
    html = '<section class="new"><details id="b"></details><details id="a" open="">two</details></section>'
    assert found == [html, True, True]


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_every_page_fits_and_can_be_used_by_everybody(
    browser: Browser, program: tuple[Program, str], width: int, theme: str
) -> None:
    """No page scrolls sideways, axe finds nothing serious, the console is empty, and no other host is asked."""
    _, address = program
    browser.look_like(width, theme)
    browser.errors()
    browser.requests()
    found = {}
    for page in PAGES:
        path = f"{page if page != 'overview' else ''}{'?open=resize' if page == 'collectors' else ''}"
        browser.open(f"{address}/1/{path}")
        until(lambda: browser.text("#live .card, #live .tiles, main .card"), f"the page {page}")
        assert browser.run("return document.documentElement.dataset.theme") == theme
        found[page] = [*(["it scrolls sideways"] if browser.is_too_wide() else []), *browser.violations()]
    assert {page: problems for page, problems in found.items() if problems} == {}
    assert browser.errors() == []
    asked = browser.requests()
    assert len(asked) > 50
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


def test_a_queue_has_pages_of_its_feed_and_its_journal(browser: Browser, program: tuple[Program, str]) -> None:
    """They are in the navigation, with figures; a queue without them has no such entry."""
    _, address = program
    browser.look_like(1280, "light")
    browser.open(f"{address}/1/")
    browser.click("nav.side a", "Feed")
    until(lambda: number(browser, "Acknowledged").endswith(" in all"), "the page of the feed")
    until(lambda: number_of(browser, "Remembered") != "0", "messages that are finished")
    browser.click("nav.side a", "Journal")
    until(lambda: "q.sock.journal" in browser.text("#live h2"), "the page of the journal")
    until(lambda: number_of(browser, "On record") not in ("0", "\N{EN DASH}"), "events on record")
    until(lambda: "running" in browser.text("#live .equation"), "their states")


def test_a_pause_is_what_the_queue_says(browser: Browser, program: tuple[Program, str]) -> None:
    """The page says what a pause touches, does it, and shows what `accounting()` has; nothing begins until it ends."""
    one, address = program
    browser.open(f"{address}/1/")
    browser.click("button[data-act]", "Pause")
    until(lambda: browser.run("return document.getElementById('ask').open"), "the question")
    assert browser.text("#question")
    browser.click("#ask button", "Do it")
    until(lambda: "paused" in browser.text("#state"), "the state")
    before = until(lambda: counts if (counts := one.accounting())["in_handlers"] == 0 else None, "the end of what ran")
    after = until(lambda: counts if (counts := one.accounting())["queued"] > before["queued"] else None, "a backlog")
    assert after["finished"] + after["dead"] == before["finished"] + before["dead"]
    until(lambda: int(number_of(browser, "Waiting")) >= after["queued"], "the backlog on the page")
    browser.click("button[data-act]", "Resume")
    browser.click("#ask button", "Do it")
    until(lambda: "running" in browser.text("#state"), "the state")
    until(lambda: one.accounting()["finished"] > after["finished"], "another event")


def number_of(browser: Browser, label: str) -> str:
    """Return the number of a tile, without separators."""
    script = """return [...document.querySelectorAll(".tiles > div")].find(
        (one) => one.querySelector("dt").innerText === arguments[0])?.querySelector("dd").innerText ?? "0" """
    return browser.run(script, label).replace(",", "")


def test_a_dead_letter_is_replayed(browser: Browser, program: tuple[Program, str]) -> None:
    """One button sends a group of letters again: the queue accepts events, and the report says so."""
    one, address = program
    until(lambda: one.accounting()["dead"], "a dead letter")
    browser.open(f"{address}/1/dead")
    browser.click("details > summary")
    browser.click("details button[data-act]", "Replay the group")
    until(lambda: browser.run("return document.getElementById('ask').open"), "the question")
    dead = one.accounting()["dead"]
    browser.click("#ask button", "Do it")
    until(lambda: "replay" in browser.text("#reports"), f"the report: {browser.text('#reports')}")
    until(lambda: one.accounting()["dead"] != dead, "the letters")


def test_a_blocked_program_and_a_dead_one_are_told_apart(browser: Browser, tmp_path: Path) -> None:
    """The page says that the event loop does not answer; it recovers; then the program is killed, and it says that."""
    one = Program(tmp_path / "q.sock")
    with serving(str(tmp_path / "q.sock")) as address:
        browser.open(f"{address}/1/")
        until(lambda: "running" in browser.text("#state"), "a running queue")
        one.tell("block 6")
        until(lambda: "no answer" in browser.text("#state"), "that it does not answer")
        until(lambda: "event loop of the program is blocked" in browser.text("#live"), "the reason")
        until(lambda: "running" in browser.text("#state"), "that it answers again")
        one.kill()
        until(lambda: "ended" in browser.text("#state"), "that it is gone")
        assert "The queue is gone" in browser.text("#live")
