"""The line to TweetDock in a real browser: lost and found again, and never old numbers as new."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pages import AT, HOUR, MINUTE, later, reading, source
from serving import QUICK, wait_until

from browser import COUNT_QUESTIONS, Site, colour, in_chromium, let_it_ask, wait_for_count
from tweetdock.core.coverage import Grade

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tweetdock.show.web.routes import Limits

pytestmark = in_chromium
NO_ROOM = replace(QUICK, watchers=0)
# From here on the page writes down what comes by its lines, and each time that it is lost.
LISTEN = """
self.heard = self.losses = 0;
self.EventSource = class extends EventSource {
  constructor(address) {
    super(address);
    this.addEventListener("message", () => self.heard++);
  }
};
const ask = self.fetch;
self.fetch = async (address, wishes) => {
  const answer = await ask(address, wishes);
  if (address === "api/reading") self.heard++;
  return answer;
};
new MutationObserver(() => "lost" in document.documentElement.dataset && self.losses++)
  .observe(document.documentElement, { attributeFilter: ["data-lost"] });
"""
TIME = r"\d{1,2}:\d\d:\d\d"  # Chromium's British clock writes 4:05:06 before ten
COUNT = "document.querySelector('[data-dial=tweets] .count').textContent"
HIDE = """
(isHidden) => {
  Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


def is_lost(page: Page) -> bool:
    return page.locator("#lost").is_visible()


def wait_for_life(page: Page) -> None:
    """Wait until the page has taken its first reading."""
    page.wait_for_function("() => document.querySelector('#spoken').textContent")


def let_time_pass(page: Page, until: str) -> None:
    """Let second after second pass on a clock that stands still."""
    for _ in range(2000):
        if page.evaluate(until):
            return
        page.clock.run_for(1000)
    raise AssertionError(until)


def wait_for_events(page: Page, number: int) -> None:
    """Wait until so many readings have come since the page began to listen."""
    page.wait_for_function("(number) => self.heard >= number", arg=number)


def test_a_lost_connection_shows_and_mends_itself(look: Callable[..., Page]) -> None:
    site = Site(reading())
    page = look(site, can_be_lost=True)
    red = colour(page, ".needle path", "fill")
    site.publish(later(reading(posts=413), 1))
    wait_for_count(page, 413)
    site.close()
    page.wait_for_selector(":root[data-lost]")
    said = page.locator("#lost").text_content() or ""
    assert re.fullmatch(rf"No data from TweetDock since {TIME}", said)
    assert is_lost(page)
    grey = colour(page, ".needle path", "fill")
    assert max(red) - min(red) > 100
    assert max(grey) - min(grey) < 10
    with Site(later(reading(posts=77), 2), port=site.port):
        page.wait_for_selector(":root:not([data-lost])")
        assert not is_lost(page)
        assert colour(page, ".needle path", "fill") == red
        wait_for_count(page, 77)


def test_what_is_lost_is_called_exact_nowhere(look: Callable[..., Page]) -> None:
    """The networks kept their grades, and the dials what is said of them to the blind."""
    sources = {"x": source(), "mastodon": source(posts=4, grade=Grade.PARTIAL, detail="no answer")}
    with Site(reading(sources=sources)) as site:
        page = look(site, stands_still=True)
        site.publish(later(reading(posts=413, sources=sources), 1))
        wait_for_count(page, 416)
        labels = [dial.get_attribute("aria-label") for dial in page.locator(".dial").all()]
        page.clock.run_for(7000)
        assert is_lost(page)
        said = page.locator("#grade, #sources").all_inner_texts()
        assert not re.search("exact|at least", " ".join(said), re.IGNORECASE)
        assert page.locator(".source-grade").all_text_contents() == ["no data"] * 2
        glyphs = [glyph.get_attribute("data-grade") for glyph in page.locator(".glyph").all()]
        assert glyphs == ["stale"] * 3
        for dial, name in zip(
            page.locator(".dial").all(), ("Tweets: 416", "Tweeters: 574"), strict=True
        ):
            label = dial.get_attribute("aria-label") or ""
            assert re.fullmatch(rf"{name} at {TIME}\. No data since\.", label)
        site.publish(later(reading(sources=sources), 8))
        page.wait_for_selector(":root:not([data-lost])")
        assert page.locator(".source-grade").all_text_contents() == [
            "exact up to 16:13",
            "at least",
        ]
        assert labels == [dial.get_attribute("aria-label") for dial in page.locator(".dial").all()]


def test_after_a_long_loss_the_page_is_fetched_anew(look: Callable[..., Page]) -> None:
    site = Site(reading())
    page = look(site, stands_still=True, can_be_lost=True)
    page.evaluate("self.isOld = true")
    wait_until(lambda: site.watchers == 1)  # or the page has nothing to miss
    site.close()
    page.wait_for_selector(":root[data-lost]")
    page.clock.fast_forward(301_000)
    with Site(later(reading(posts=77), 301), port=site.port):
        page.clock.resume()
        page.evaluate("dispatchEvent(new Event('online'))")  # or it tries again in 2 s
        page.wait_for_selector("[data-dial=tweets] .count >> text=77")
        assert not is_lost(page)
        assert page.evaluate("self.isOld") is None


@pytest.mark.parametrize(
    "limits", [QUICK, pytest.param(NO_ROOM, marks=pytest.mark.thorough)], ids=["watched", "asked"]
)
def test_an_old_reading_said_again_is_silence(limits: Limits, look: Callable[..., Page]) -> None:
    """With a loop that hung the page was grey and alive by turns, for each line began anew."""
    with Site(reading(), limits=limits) as site:
        page = look(site, stands_still=True, can_be_lost=True)
        old = later(reading(posts=413), 1)
        site.publish(old)
        let_time_pass(page, f"{COUNT} === '413'")
        page.evaluate(LISTEN)
        for said_again in range(1, 4):
            site.publish(old)  # or the server itself would have nothing to say
            let_time_pass(page, f"self.losses && self.heard >= {said_again}")
            assert is_lost(page)
            assert "Exact" not in page.locator("main").inner_text()
        assert page.evaluate("self.losses") == 1
        site.publish(later(reading(posts=414), 40))
        let_time_pass(page, f"{COUNT} === '414'")
        assert not is_lost(page)
        assert page.locator("#word").text_content() == "Exact"


@pytest.mark.thorough
def test_who_finds_no_room_to_watch_asks_and_is_never_lost(look: Callable[..., Page]) -> None:
    """Each half minute the line is tried again; that it is still refused was taken for a loss."""
    with Site(reading(), limits=NO_ROOM) as site:
        page = look(site, can_be_lost=True, stands_still=True)
        wait_for_life(page)
        page.evaluate(LISTEN)
        page.evaluate(COUNT_QUESTIONS)
        for seconds in range(0, 40, 3):
            site.publish(later(reading(posts=413 + seconds), 1 + seconds))
            let_it_ask(page, 413 + seconds)
        assert page.evaluate("self.losses") == 0
        site.close()
        page.clock.run_for(3000)
        page.wait_for_selector(":root[data-lost]")


def test_a_hidden_tab_lets_its_line_go_and_a_shown_one_takes_it_up(
    look: Callable[..., Page],
) -> None:
    """A browser opens six lines to one server, and those of hidden tabs were never let go."""
    with Site(reading()) as site:
        page = look(site)
        wait_until(lambda: site.watchers == 1)
        page.evaluate(HIDE, arg=True)
        wait_until(lambda: site.watchers == 0)
        site.publish(later(reading(posts=413), 1))
        page.evaluate(HIDE, arg=False)
        wait_for_count(page, 413)
        assert site.watchers == 1


@pytest.mark.thorough
def test_the_seventh_tab_is_served_as_the_first(look: Callable[..., Page]) -> None:
    with Site(reading()) as site:
        tabs = [look(site)]
        first = tabs[0]
        for _ in range(6):
            tabs[-1].evaluate(HIDE, arg=True)
            tabs.append(look(site))
        site.publish(later(reading(posts=413), 1))
        wait_for_count(tabs[-1], 413)
        first.evaluate(HIDE, arg=False)
        wait_for_count(first, 413)


@pytest.mark.parametrize(
    "limits", [QUICK, pytest.param(NO_ROOM, marks=pytest.mark.thorough)], ids=["watched", "asked"]
)
def test_a_tab_that_was_hidden_shows_nothing_old_as_new_and_makes_no_noise(
    limits: Limits, look: Callable[..., Page]
) -> None:
    with Site(reading(), limits=limits) as site:
        page = look(site, stands_still=True, can_be_lost=True)
        site.publish(later(reading(posts=413), 1))
        let_time_pass(page, f"{COUNT} === '413'")
        page.evaluate(LISTEN)
        spoken = page.locator("#spoken").text_content()
        page.evaluate(HIDE, arg=True)
        site.publish(later(reading(posts=414), 2))
        page.clock.run_for(MINUTE)
        page.clock.fast_forward(HOUR)
        assert page.evaluate("[self.heard, self.losses]") == [0, 0], "it rests"
        page.evaluate(f"({HIDE})(false), self.wasLost = 'lost' in document.documentElement.dataset")
        assert page.evaluate("self.wasLost"), "old until it is known better"
        wait_for_count(page, 414)
        assert not is_lost(page)
        page.clock.run_for(3000)
        assert "No data" not in (page.locator("#spoken").text_content() or "")
        assert "back" not in (page.locator("#spoken").text_content() or "")
        assert spoken != page.locator("#spoken").text_content(), "the counts are due"
        assert page.evaluate("self.losses") == 1, "and it is still the same page"


def test_a_loss_that_lasts_is_spoken_of_and_so_is_its_end(look: Callable[..., Page]) -> None:
    with Site(reading()) as site:
        page = look(site, stands_still=True)
        site.publish(later(reading(posts=413), 1))
        wait_for_count(page, 413)
        page.clock.run_for(10_000)
        said = page.locator("#spoken").text_content() or ""
        assert said.startswith("No data from TweetDock since ")
        site.publish(later(reading(posts=414), 10))
        page.wait_for_selector(":root:not([data-lost])")
        said = page.locator("#spoken").text_content() or ""
        assert said.startswith("TweetDock is back. 414 tweets")


def test_the_first_reading_brings_the_page_to_life(look: Callable[..., Page]) -> None:
    with Site() as site:
        page = look(site)
        assert page.locator("h1").text_content() == "TweetDock"
        site.publish(reading())
        page.wait_for_selector("bdi >> text=#dockercon")


def test_other_hashtags_are_another_page(look: Callable[..., Page]) -> None:
    with Site(reading()) as site:
        page = look(site)
        site.publish(later(reading(hashtags=("fosdem",)), 1))
        page.wait_for_selector("bdi >> text=#fosdem")


def test_until_another_page_is_there_the_old_one_stays_lost(look: Callable[..., Page]) -> None:
    """TweetDock came back with other hashtags, and the old counts were shown as found again."""
    site = Site(reading())
    page = look(site, stands_still=True, can_be_lost=True)
    page.evaluate(LISTEN)
    page.evaluate("sessionStorage.setItem('reloaded', Date.now())")
    site.close()
    page.wait_for_selector(":root[data-lost]")
    with Site(later(reading(hashtags=("fosdem",)), 20), port=site.port) as other:
        other.guests.append(page.context)
        page.clock.run_for(4000)
        page.evaluate("dispatchEvent(new Event('online'))")
        wait_for_events(page, 1)
        other.publish(later(reading(hashtags=("fosdem",)), 21))
        wait_for_events(page, 2)
        assert is_lost(page)
        assert "No data from TweetDock" in (page.locator("#spoken").text_content() or "")
        page.clock.run_for(10_000)
        page.wait_for_selector("bdi >> text=#fosdem")


@pytest.mark.parametrize(
    ("language", "then"),
    [("en-US", "4:01 PM"), pytest.param("en-GB", "16:01", marks=pytest.mark.thorough)],
)
def test_all_times_are_told_in_one_manner(
    language: str, then: str, look: Callable[..., Page]
) -> None:
    """A reason said `04:01 PM` beside a chart that said `4:01 PM`."""
    with Site(reading()) as site:
        page = look(site, locale=language)
        site.publish(later(reading(posts=413, grade=Grade.STALE, ago_ms=12 * MINUTE), 1))
        wait_for_count(page, 413)
        why = page.locator("#why").text_content() or ""
        assert f"since {then}." in why.replace("\u202f", " ")
        lost, day_before = page.evaluate(
            """async (at) => {
                const { time } = await import("/static/words.js");
                const [then, now] = [new Date(at - 12 * 60_000), new Date(at)];
                return [time(then, now, "2-digit"), time(new Date(at - 24 * 3600_000), now)];
            }""",
            AT,
        )
        seconds = then.replace(":01", ":01:20")
        assert lost.replace("\u202f", " ") == seconds
        assert re.search(r"20 Sept?|Sept? 20", day_before)
