"""The page in a real browser: its dials and words are those of each reading."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from dials import comes_true
from pages import AT, FOUR, MINUTE, PHONE, SECOND, hours_past, later, reading, source
from running import Running

from browser import (
    LAPTOP,
    Site,
    in_chromium,
    wait_for_count,
)
from tweetdock.core.coverage import Grade
from tweetdock.core.motion import Motion

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page, ViewportSize


pytestmark = in_chromium

# Made-up posts go on coming: count and needle are asked for in the same moment.
SHOWS_WHAT_IS_TOLD = """async () => {
    const told = await (await fetch("/api/reading")).json();
    const dial = document.querySelector("[data-dial=tweets]");
    const turn = dial.querySelector(".needle").getAttribute("transform");
    const count = dial.querySelector(".count").textContent.replace(/\\D/g, "");
    const bearing = Number(/rotate\\((.*)\\)/.exec(turn)[1]);
    return count === String(told.posts)
        && Math.abs(bearing - told.dials.tweets.angle + 90) < 0.01;
}"""


def bearing(page: Page, name: str = "tweets") -> float:
    """Where the needle is drawn, degrees clockwise from straight up, as the browser has it."""
    a, b = page.locator(f"[data-dial={name}] .needle").evaluate(
        "(needle) => {const m = needle.transform.baseVal.consolidate().matrix; return [m.a, m.b]}"
    )
    return math.degrees(math.atan2(b, a))


def wait_for_bearing(page: Page, wanted: float, name: str = "tweets") -> None:
    page.wait_for_function(
        """([name, wanted]) => {
            const needle = document.querySelector(`[data-dial=${name}] .needle`);
            const turn = /rotate\\((.*)\\)/.exec(needle.getAttribute("transform"))[1];
            return Math.abs(Number(turn) - wanted) < 0.01;
        }""",
        arg=[name, wanted],
    )


def words(page: Page, *, is_fresh: bool = False) -> list[str]:
    """All that the page says and draws of a reading; is_fresh: as the server sends it now."""
    found: list[str] = page.evaluate(
        """async (isFresh) => {
            const text = isFresh && await (await fetch("/")).text();
            const from = text ? new DOMParser().parseFromString(text, "text/html") : document;
            const places = "svg.dial, svg.dial > text, .numbers, .needle, .peg, #word, #why, "
                + "#sources p, .share, .glyph";
            const names = ["class", "aria-label", "transform", "opacity", "width", "data-grade",
                "data-angle", "data-full-scale"];
            return [...from.querySelectorAll(places)].map((element) =>
                names.map((name) => element.getAttribute(name)).join("|")
                    + "|" + element.textContent.trim());
        }""",
        is_fresh,
    )
    # The server knows no time zone but UTC; seconds pass.
    return [re.sub(r" UTC|\d+(?= s ago)", "", each) for each in found]


@pytest.mark.thorough
@pytest.mark.parametrize("count", [0, 137, 500])
def test_the_drawn_needle_points_where_the_reading_says(
    count: int, look: Callable[..., Page]
) -> None:
    one = reading(posts=count, authors=count // 2, full_scale=500)
    with Site(one) as site:
        page = look(site)
        for name in ("tweets", "tweeters"):
            assert bearing(page, name) == pytest.approx(one.dials[name].angle - 90, abs=0.01)


def test_a_reading_shows_as_it_comes_and_the_needle_eases_to_it(look: Callable[..., Page]) -> None:
    with Site(reading(posts=100, full_scale=500)) as site:
        page = look(site, stands_still=True)
        assert bearing(page) == pytest.approx(-54)
        assert bearing(page, "tweeters") == pytest.approx(180 * 287 / 500 - 90, abs=0.01)
        site.publish(later(reading(posts=450, full_scale=500), 1))
        wait_for_count(page, 450)
        ways = []
        for _ in range(8):
            page.clock.run_for(100)
            ways.append(bearing(page))
        assert ways == sorted(ways)
        assert -54 < ways[0] < ways[4] < 72, "not at once"
        page.clock.run_for(2000)
        assert bearing(page) == pytest.approx(72, abs=0.01)


def test_the_needle_jumps_where_motion_is_unwanted_or_unseen(look: Callable[..., Page]) -> None:
    with Site(reading(posts=100, full_scale=500)) as site:
        page = look(site, stands_still=True, media={"reduced_motion": "reduce"})
        site.publish(later(reading(posts=450, full_scale=500), 1))
        wait_for_count(page, 450)
        assert bearing(page) == pytest.approx(72, abs=0.01)
        page.emulate_media(reduced_motion="no-preference")
        page.evaluate("Object.defineProperty(document, 'hidden', {value: true})")
        site.publish(later(reading(posts=100, full_scale=500), 2))
        wait_for_count(page, 100)
        assert bearing(page) == pytest.approx(-54, abs=0.01)


@pytest.mark.parametrize("target", [10.01, 90.0, -40.0])
def test_the_browsers_motion_is_the_servos(target: float, scripts: Page) -> None:
    found = scripts.evaluate(
        """async (target) => {
            const { step } = await import("/static/dials.js");
            let motion = { angle: 10, velocity: 0 };
            return Array.from({ length: 80 }, () => {
                motion = step(motion, target, 0.02);
                return [motion.angle, motion.velocity];
            });
        }""",
        target,
    )
    motion = Motion(10.0)
    for angle, velocity in found:
        motion = motion.step(target, 0.02)
        assert (angle, velocity) == pytest.approx((motion.angle, motion.velocity), abs=1e-9)
    assert found[-1] == [target, 0]


def test_a_scale_that_has_changed_is_drawn_anew(look: Callable[..., Page]) -> None:
    with Site(reading(posts=450, authors=20)) as site:
        page = look(site)
        marks = page.locator("[data-dial=tweets] .numbers text")
        assert marks.all_text_contents()[-1] == "500"
        site.publish(later(reading(posts=600, authors=20), 1))
        wait_for_bearing(page, 180 * 0.6 - 90)
        assert marks.all_text_contents()[-1] == "1000"
        assert page.locator("svg.dial").count() == 2


def test_a_scale_that_was_set_anew_is_drawn_before_the_needle_shows(
    look: Callable[..., Page],
) -> None:
    """After a restart the new angle stood on the old marks, which are of no scale any more."""
    env = {
        "TWEETDOCK_TWEETS_SCALE": "log:500",
        "TWEETDOCK_TWEETS_MIN_ANGLE": "-60",
        "TWEETDOCK_TWEETS_MAX_ANGLE": "60",
    }
    site = Site(reading())
    page = look(site, can_be_lost=True)
    before = reading(posts=450)
    site.publish(later(before, 1))
    wait_for_count(page, 450)
    site.close()
    page.wait_for_selector(":root[data-lost]")
    after = later(before, 60)
    tweets = replace(
        after.dials["tweets"], scale="log:500", min_angle=-60.0, max_angle=60.0, angle=30.0
    )
    after = replace(after, dials=after.dials | {"tweets": tweets})
    with Site(after, port=site.port, env=env):
        page.evaluate("dispatchEvent(new Event('online'))")  # or it tries again in 2 s
        wait_for_bearing(page, 30)
        assert page.locator("[data-dial=tweets]").get_attribute("data-scale") == "log:500"
        labels = page.locator("[data-dial=tweets] .numbers text").all_text_contents()
        assert labels[:2] == ["0", "1"]
        assert page.locator("[data-dial=tweets] .needle").is_visible()


def test_a_dial_whose_new_face_cannot_be_had_shows_its_count_and_no_needle(
    look: Callable[..., Page],
) -> None:
    """It kept the old count and needle, as if nothing had come."""
    with Site(reading(posts=450)) as site:
        page = look(site, can_be_lost=True)
        page.route("**/dial/*.svg", lambda route: route.abort())
        site.publish(later(reading(posts=600, grade=Grade.FILLING), 1))
        wait_for_count(page, 600)
        tweets = page.locator("[data-dial=tweets]")
        assert tweets.locator(".note").text_content() == "at least"
        assert (tweets.get_attribute("aria-label") or "").endswith("The dial goes to 1000.")
        assert not tweets.locator(".needle").is_visible()
        assert page.locator("[data-dial=tweeters] .needle").is_visible()
        page.unroute("**/dial/*.svg")
        site.publish(later(reading(posts=601, grade=Grade.FILLING), 2))
        wait_for_bearing(page, 180 * 0.601 - 90)
        assert tweets.locator(".needle").is_visible()


def test_a_face_that_the_server_is_ahead_with_is_fetched_once_a_reading(
    look: Callable[..., Page],
) -> None:
    """A face for a wider number than is shown was asked for again at once, without an end."""
    with Site(reading(posts=9)) as site:
        page = look(site)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        found = page.evaluate(
            """async () => {
                const { Dial } = await import("/static/dials.js");
                const svg = document.querySelector("[data-dial=tweets]");
                const dial = new Dial(svg);
                const reading = (await (await fetch("/api/reading")).json()).dials.tweets;
                for (const count of [100, 101, 102]) {
                    dial.show({ ...reading, count }, "exact");
                    while (dial.isDrawing) await new Promise((done) => setTimeout(done));
                }
                return dial.svg.querySelector(".count").textContent;
            }"""
        )
        assert found == "102"
        assert len([url for url in asked if "/dial/tweets" in url]) == 3


STATES = (
    reading(),
    reading(grade=Grade.FILLING, covered=0.4057, detail="reading back: 40%"),
    reading(grade=Grade.PARTIAL, detail="the {limit}; next try in 5 min", ago_ms=95_000),
    reading(grade=Grade.PARTIAL),
    reading(grade=Grade.STALE, ago_ms=12 * MINUTE, detail="no data for 12 min"),
    reading(grade=Grade.STALE, ago_ms=None),
    reading(posts=1312, full_scale=1000),
    reading(posts=1312, full_scale=1000, grade=Grade.STALE),
    reading(posts=1_234_567, authors=987_654),
    reading(grade=Grade.PARTIAL, detail="<b>&amp;</b>\n\x1b[2J"),
)


def test_live_words_are_those_of_a_page_that_is_loaded_anew(look: Callable[..., Page]) -> None:
    untold = reading(posts=99, grade=Grade.PARTIAL, detail="only counted")
    resting = replace(untold.dials["tweeters"], known=False, angle=0.0, position=0.0)
    untold = replace(untold, dials=untold.dials | {"tweeters": resting})
    with Site(reading(posts=3, authors=2)) as site:
        page = look(site, media={"reduced_motion": "reduce"}, timezone_id="UTC")
        for number, one in enumerate((*STATES, untold), 1):
            site.publish(replace(reading(posts=2, authors=1), at_ms=AT + 2 * number))
            wait_for_count(page, 1, "tweeters")
            site.publish(replace(one, at_ms=AT + 2 * number + 1))
            wait_for_count(page, one.posts)
            wait_for_count(page, one.authors, "tweeters")
            wait_for_bearing(page, one.dials["tweets"].angle - 90)
            wait_for_bearing(page, one.dials["tweeters"].angle - 90, "tweeters")
            assert words(page) == words(page, is_fresh=True)


def test_several_networks_each_keep_their_own_words(look: Callable[..., Page]) -> None:
    with Site(reading(sources=FOUR)) as site:
        page = look(site, media={"reduced_motion": "reduce"}, timezone_id="UTC")
        site.publish(later(reading(sources=FOUR | {"bluesky": source(140, 98)}), 1))
        wait_for_count(page, 630)
        assert words(page) == words(page, is_fresh=True)
        names = page.locator("#sources h3").all_text_contents()
        assert names == ["X search", "X stream", "Bluesky", "Mastodon"]


def test_the_last_word_grows_old_by_the_pages_own_clock(look: Callable[..., Page]) -> None:
    with Site(reading(ago_ms=7 * SECOND)) as site:
        page = look(site, stands_still=True)
        site.publish(reading(posts=413, ago_ms=7 * SECOND, at=AT + 1))
        wait_for_count(page, 413)
        page.clock.run_for(3000)
        assert page.locator(".heard").text_content() == "10 s ago"


def test_who_listens_hears_of_a_grade_at_once_and_of_counts_once_a_minute(
    look: Callable[..., Page],
) -> None:
    with Site(reading()) as site:
        page = look(site, stands_still=True)
        spoken = page.locator("#spoken")

        def show(number: int, grade: Grade) -> str:
            site.publish(
                later(reading(posts=400 + number, grade=grade, detail="no answer"), number)
            )
            wait_for_count(page, 400 + number)
            return spoken.text_content() or ""

        first = show(1, Grade.EXACT)
        assert re.match(r"4\d\d tweets by 287 tweeters in the last hour. Exact. Every", first)
        assert show(2, Grade.EXACT) == first
        partial = show(3, Grade.PARTIAL)
        assert partial == (
            "403 tweets by 287 tweeters in the last hour. At least this many. No answer"
        )
        said = {partial}
        for number in range(4, 21):
            page.clock.run_for(4000)
            said.add(show(number, Grade.PARTIAL))
        assert len(said) == 2


@pytest.mark.parametrize("viewport", [LAPTOP, pytest.param(PHONE, marks=pytest.mark.thorough)])
def test_nothing_moves_but_the_needles(viewport: ViewportSize, look: Callable[..., Page]) -> None:
    with Site(reading(posts=9, authors=3, full_scale=10), past=hours_past()) as site:
        page = look(site, viewport=viewport)
        page.wait_for_selector("#chart canvas")
        for seconds, count in enumerate((10, 98, 999, 1000, 23_456), 1):
            site.publish(later(reading(posts=count, authors=count), seconds))
            wait_for_count(page, count)
        wait_for_bearing(page, 180 * 23_456 / 50_000 - 90)
        assert page.evaluate("self.shifts") == []


def test_without_scripts_the_numbers_are_there_and_how_old_they_are(
    look: Callable[..., Page],
) -> None:
    with Site(reading()) as site:
        page = look(site, java_script_enabled=False)
        assert page.locator("[data-dial=tweets] .count").text_content() == "412"
        assert "14:13:20 UTC" in page.locator(".taken").inner_text()
        assert not page.locator("#chart").is_visible()
        assert bearing(page) == pytest.approx(180 * 412 / 500 - 90, abs=0.01)


def test_the_demo_is_understood_at_first_sight(look: Callable[..., Page], tmp_path: Path) -> None:
    address = {"TWEETDOCK_WEB": "127.0.0.1:0"}
    with Running("--demo", folder=tmp_path, env=address) as daemon:
        daemon.wait_for("page: http")
        (url,) = re.findall(r"page: (http://\S+)", daemon.log)
        page = look(url, "/?kiosk", can_be_lost=True)
        page.wait_for_selector("strong >> text=Demo")
        page.wait_for_selector(
            r"#why >> text=/Every post of the last hour up to \d+:\d\d is counted\./"
        )
        page.wait_for_selector("#chart canvas")
        assert comes_true(lambda: bool(page.evaluate(SHOWS_WHAT_IS_TOLD)), 60.0)
        assert daemon.stop() == 0
