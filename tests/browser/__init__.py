"""The page as a person sees it: readings of the test's own, the real server, a real browser."""

from __future__ import annotations

import re
import shutil
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import pytest
from pages import AT
from serving import QUICK

from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board, Health, Past
from tweetdock.show.web.web import Web
from tweetdock.threads import WatchedThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize

    from tweetdock.core.reading import Reading
    from tweetdock.show.board import Moment
    from tweetdock.show.web.routes import Limits
    from tweetdock.threads import Crash

LIMIT_MS = 30_000

LAPTOP: ViewportSize = {"width": 1440, "height": 900}
NOTHING: Mapping[str, Any] = {}
SHIFTS = """
addEventListener("securitypolicyviolation", (event) => console.error(event.violatedDirective));
self.shifts = [];
new PerformanceObserver((list) => self.shifts.push(...list.getEntries().map((e) =>
    e.sources.map(({node}) => node?.className ?? node?.parentNode?.className))))
  .observe({type: "layout-shift", buffered: true});
"""
# How many of the page's questions are under way.
COUNT_QUESTIONS = """() => {
    const ask = self.fetch;
    self.pending = 0;
    self.fetch = async (...asked) => {
        self.pending++;
        try {
            return await ask(...asked);
        } finally {
            self.pending--;
        }
    };
}"""

in_chromium = [
    pytest.mark.skipif(
        not shutil.which("chromium"), reason="no chromium here; install the package chromium"
    ),
    pytest.mark.xdist_group("chromium"),  # one after the other in one process: it starts once
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's own Chromium, without a window; a skip where nothing can drive it."""
    pytest.importorskip("playwright", reason="playwright is not to be had for this machine")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            # A process for each page would cost as much as the page.
            args=["--no-sandbox", "--disable-gpu", "--renderer-process-limit=1"],
        )
        try:
            yield browser
        finally:
            browser.close()


def violations(page: Page) -> list[str]:
    """What axe-core has to complain of."""
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415

    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}" for one in found]


def wait_for_count(page: Page, count: int, name: str = "tweets") -> None:
    """Wait until a count has come by the line."""
    page.wait_for_function(
        """([name, count]) => document.querySelector(`[data-dial=${name}] .count`)
            ?.textContent.replace(/\\D/g, "") === count""",
        arg=[name, str(count)],
    )


def let_it_ask(page: Page, count: int, most_seconds: int = 5) -> None:
    """Let second after second pass until a count is there; each answer comes in its second."""
    for _ in range(most_seconds):
        page.clock.run_for(1000)
        page.wait_for_function("() => !self.pending")
        shown = page.locator("[data-dial=tweets] .count").text_content()
        if shown == f"{count}":
            return
    raise AssertionError(count)


def colour(page: Page, place: str, what: str) -> tuple[int, int, int]:
    """A colour as it is drawn."""
    # Found and asked at once: a picture may be replaced at any time.
    found = page.evaluate(
        "([place, what]) => getComputedStyle(document.querySelector(place))[what]", [place, what]
    )
    red, green, blue = (int(part) for part in re.findall(r"\d+", found)[:3])
    return red, green, blue


class Site:
    """TweetDock's page at an address of its own, showing what the test publishes.

    env: more settings. port: 0 for any that is free. past: what the chart begins with.
    """

    def __init__(
        self,
        first: Reading | None = None,
        *,
        past: Iterable[Moment] = (),
        port: int = 0,
        env: Mapping[str, str] | None = None,
        limits: Limits = QUICK,
    ) -> None:
        wished = {"TWEETDOCK_WEB": f"127.0.0.1:{port}", "TWEETDOCK_SOURCES": "demo"}
        settings = Settings.from_env(wished | dict(env or {}))
        nothing = Health(threads=dict, needles=dict, servo_trouble=str, cost_usd=lambda: None)
        # On a clock that stands still: on a busy machine, too, it never takes itself for hung.
        self.board = Board(Past(past), nothing, monotonic=lambda: 0.0)
        self.crashes: list[Crash] = []
        self.guests: list[Page | BrowserContext] = []
        if first is not None:
            self.board.publish(first)
        self._web = Web(settings, self.board, self._start, limits)
        self.port = self._web.port
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def watchers(self) -> int:
        """How many follow it live, by its own metrics."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=LIMIT_MS / 1000) as answer:
            found: str = answer.read().decode()
        return round(float(found.partition("\ntweetdock_watchers ")[2].split()[0]))

    def publish(self, one: Reading) -> None:
        """Have all who watch see it."""
        self.board.publish(one)

    def close(self) -> None:
        """End it, as a daemon's end would, and see that nothing of it is left to answer."""
        self._web.stop()
        assert self._thread.join(LIMIT_MS / 1000)
        assert not self.crashes, self.crashes

    def _start(self, name: str, work: Callable[[], None]) -> WatchedThread:
        self._thread = WatchedThread(name, work, self.crashes.append)
        return self._thread

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Guests first: a page whose server has gone complains.
        for guest in self.guests:
            guest.close()
        self.close()


class Windows:
    """Pages as a person in Berlin would open them; a browser context for each kind of person.

    A context of its own costs as much as the page: only a clock that stands still has to have one.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: dict[str, BrowserContext] = {}

    def context(self, options: Mapping[str, Any], *, is_shared: bool) -> BrowserContext:
        """The one for these options; a shared one is kept for the next page."""
        usual = {"viewport": LAPTOP, "locale": "en-GB", "timezone_id": "Europe/Berlin"}
        wished = usual | dict(options)
        if not is_shared:
            return self._browser.new_context(**wished)
        key = repr(sorted(wished.items()))
        if key not in self._contexts:
            self._contexts[key] = self._browser.new_context(**wished)
        return self._contexts[key]

    @contextmanager
    def visits(self) -> Iterator[Callable[..., Page]]:
        """Open a page; whatever its console complains of is a failure at the end."""
        complaints: list[str] = []
        opened: list[Page | BrowserContext] = []

        def open_page(
            place: Site | str,
            path: str = "/",
            *,
            can_be_lost: bool = False,
            stands_still: bool = False,
            viewport: ViewportSize = LAPTOP,
            media: Mapping[str, Any] = NOTHING,
            **options: Any,
        ) -> Page:
            context = self.context(options, is_shared=not stands_still)
            page = context.new_page()
            opened.append(context if stands_still else page)
            if isinstance(place, Site):
                place.guests.append(opened[-1])
            page.set_default_timeout(LIMIT_MS)
            page.add_init_script(SHIFTS)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda message: hear(message, can_be_lost=can_be_lost))
            if viewport != LAPTOP:
                page.set_viewport_size(viewport)
            if media:
                page.emulate_media(**media)
            if stands_still:
                # Before the page is there, so that only the test ever lets its time pass. A clock
                # can be stopped ahead of itself only: this one begins half a century before.
                page.clock.install(time=0)
                page.clock.pause_at(AT / 1000)
            page.goto((place.url if isinstance(place, Site) else place) + path)
            return page

        def hear(message: ConsoleMessage, *, can_be_lost: bool) -> None:
            is_known = can_be_lost and "Failed to load resource" in message.text
            if message.type in ("error", "warning") and not is_known:
                complaints.append(message.text)

        yield open_page
        for one in opened:
            one.close()
        assert not complaints
