"""The page where something stands before it: wherever it is put, and whatever is kept away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from pages import hours_past, later, reading, source
from standins.prefix_proxy import PREFIX, PrefixProxy

from browser import COUNT_QUESTIONS, Site, in_chromium, let_it_ask, wait_for_count
from tweetdock.core.coverage import Grade

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

pytestmark = in_chromium
MANY = {"x": source(), "mastodon": source(posts=4, grade=Grade.PARTIAL, detail="no answer")}
EXACT = reading(sources={"x": source(), "mastodon": source(posts=4)})
# What a style sheet does by itself in time, done; and how long it waits until then.
FINISH = """() => document.getAnimations().map((one) => {
    one.finish();
    return one.effect.getTiming().delay;
})"""


def claims(page: Page) -> str:
    """What is seen of how far the page can be trusted."""
    return " ".join(page.locator("#grade, #sources").all_inner_texts()).lower()


def test_below_any_path_all_of_the_page_is_there(look: Callable[..., Page]) -> None:
    """Where a proxy took `/gauge/` off, its files, links and events were 404, and it said exact."""
    with Site(EXACT, past=hours_past()) as site, PrefixProxy(site.port) as proxy:
        page = look(proxy.url, PREFIX)
        page.wait_for_selector("#chart canvas")
        site.publish(later(reading(posts=5123, sources=EXACT.sources, full_scale=10_000), 1))
        wait_for_count(page, 416)
        page.wait_for_selector('[data-dial=tweets][data-full-scale="10000"]:not([data-outdated])')
        links = page.locator("a").evaluate_all("(all) => all.map((one) => one.href)")
        assert len(links) == 3
        assert all(link.startswith(proxy.url + PREFIX) for link in links)
        kiosk = look(proxy.url, f"{PREFIX}?kiosk")
        site.publish(later(EXACT, 2))
        wait_for_count(kiosk, 416)
        assert "exact" in claims(kiosk)
        page.close()
        kiosk.close()
        assert proxy.refused == []


@pytest.mark.parametrize("way", ["refused", pytest.param("held", marks=pytest.mark.thorough)])
def test_where_no_event_gets_through_the_page_asks_and_is_never_lost(
    way: str, look: Callable[..., Page]
) -> None:
    """Behind a proxy that collects events it was lost, though the readings could be had."""
    withheld = ("/events",) if way == "refused" else ()
    with (
        Site(EXACT) as site,
        PrefixProxy(site.port, withheld=withheld, holds_events=way == "held") as proxy,
    ):
        page = look(proxy.url, PREFIX, can_be_lost=True, stands_still=True)
        page.evaluate(COUNT_QUESTIONS)
        page.evaluate(
            """() => new MutationObserver(() => self.wasLost = true)
                .observe(document.documentElement, { attributeFilter: ["data-lost"] })"""
        )
        for seconds in range(3, 45, 3):
            sources = EXACT.sources | {"x": source(posts=seconds)}
            site.publish(later(reading(sources=sources), seconds))
            let_it_ask(page, seconds + 4)
        assert not page.evaluate("self.wasLost")
        assert "exact" in claims(page)
        page.clock.run_for(6000)
        page.wait_for_selector(":root[data-lost]")
        assert "exact" not in claims(page)
        page.context.close()


NO_WAY = ("/events", "/reading")


@pytest.mark.parametrize(
    "ways",
    [
        {"withheld": NO_WAY},
        pytest.param({"unanswered": NO_WAY}, marks=pytest.mark.thorough),
        pytest.param({"holds_events": True, "withheld": NO_WAY[1:]}, marks=pytest.mark.thorough),
    ],
    ids=["refused", "unanswered", "held"],
)
def test_where_no_reading_gets_through_the_page_is_lost(
    ways: dict[str, Any], look: Callable[..., Page]
) -> None:
    with Site(EXACT) as site, PrefixProxy(site.port, **ways) as proxy:
        page = look(proxy.url, PREFIX, can_be_lost=True, stands_still=True)
        page.clock.run_for(6000)
        page.wait_for_selector(":root[data-lost]")
        assert page.locator("#lost").is_visible()
        assert "exact" not in claims(page)
        page.context.close()


@pytest.mark.parametrize(
    "missing",
    [
        "page.js",
        *(pytest.param(name, marks=pytest.mark.thorough) for name in ("words.js", "chart.js")),
    ],
)
def test_without_its_scripts_the_page_is_lost_after_a_while(
    missing: str, look: Callable[..., Page]
) -> None:
    """It said `Exact` for ever: nobody was there to notice the silence."""
    with Site(EXACT) as site, PrefixProxy(site.port, withheld=(missing,)) as proxy:
        page = look(proxy.url, PREFIX, can_be_lost=True)
        assert "exact" not in claims(page)
        assert not page.locator("#lost").is_visible()
        assert set(page.evaluate(FINISH)) == {10_000}
        assert page.locator("#lost").is_visible()
        assert page.locator("#lost").inner_text() == "No data from TweetDock since 14:13:20 UTC"
        assert "exact" not in claims(page)
        page.close()


def test_a_page_that_is_watched_is_lost_by_its_scripts_alone(look: Callable[..., Page]) -> None:
    with Site(EXACT) as site:
        page = look(site)
        page.wait_for_selector(":root[data-watched]")
        assert page.evaluate(FINISH) == []
        assert not page.locator("#lost").is_visible()


def test_without_the_library_of_its_chart_the_page_lives(look: Callable[..., Page]) -> None:
    with Site(EXACT) as site, PrefixProxy(site.port, withheld=("uPlot.iife.min.js",)) as proxy:
        page = look(proxy.url, PREFIX, can_be_lost=True, stands_still=True)
        for seconds in range(1, 8):
            sources = EXACT.sources | {"x": source(posts=seconds)}
            site.publish(later(reading(sources=sources), seconds))
            wait_for_count(page, seconds + 4)
            page.clock.run_for(1000)
        assert "exact" in claims(page)
        page.context.close()


def test_where_all_its_files_are_missing_the_page_says_at_once_of_when_it_is(
    look: Callable[..., Page],
) -> None:
    with Site(EXACT) as site, PrefixProxy(site.port, withheld=(".js", ".css")) as proxy:
        page = look(proxy.url, PREFIX, can_be_lost=True)
        assert page.locator("#lost").inner_text() == "No data from TweetDock since 14:13:20 UTC"
        page.close()


def test_in_a_browser_without_scripts_a_page_that_is_not_replaced_is_lost(
    look: Callable[..., Page],
) -> None:
    """A reload that no server ever answers leaves the page where it is."""
    with Site(EXACT) as site:
        page = look(site, java_script_enabled=False)
        assert "exact" in claims(page)
        assert re.search(r"as of 14:13:20 utc", claims(page))
        delays = set(page.evaluate(FINISH))
        assert delays == {40_000}, "after the next reload is due"
        assert page.locator("#lost").is_visible()
        assert not re.search(r"exact", claims(page))
