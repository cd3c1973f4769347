"""The page in a real browser: it moves, tells the truth, and says when it cannot."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from browser import LIMIT_MS, Site, chromium, needs_chromium, violations
from pages import AT, MINUTE, SECOND, later, reading, source
from running import Running

from tweetdock.coverage import Grade
from tweetdock.motion import Motion
from tweetdock.show.past import Moment
from tweetdock.show.web.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, ConsoleMessage, Page

    from tweetdock.reading import Reading

pytestmark = needs_chromium
LAPTOP = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 740}
SHIFTS = """
addEventListener("securitypolicyviolation", (event) => console.error(event.violatedDirective));
self.shifts = [];
new PerformanceObserver((list) => self.shifts.push(...list.getEntries().map((e) =>
    e.sources.map(({node}) => node?.className ?? node?.parentNode?.className))))
  .observe({type: "layout-shift", buffered: true});
"""
FOUR = {
    "x": source(213, 160),
    "x-stream": source(220, 171, ago_ms=300),
    "bluesky": source(131, 98, grade=Grade.FILLING, covered=0.5, detail="reading back: 50%"),
    "mastodon": source(57, 40, grade=Grade.PARTIAL, detail="mastodon.social: no answer"),
}
LONG = ("Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamten", "b" * 40)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def look(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page as a person in Berlin would; whatever its console complains of is a failure."""
    complaints: list[str] = []
    contexts = []

    def open_page(
        place: Site | str,
        path: str = "/",
        *,
        can_be_lost: bool = False,
        stands_still: bool = False,
        **context: Any,
    ) -> Page:
        usual = {"viewport": LAPTOP, "locale": "en-GB", "timezone_id": "Europe/Berlin"}
        contexts.append(browser.new_context(**(usual | context)))
        if isinstance(place, Site):
            place.guests.append(contexts[-1])
        page = contexts[-1].new_page()
        page.set_default_timeout(LIMIT_MS)
        page.add_init_script(SHIFTS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: hear(message, can_be_lost=can_be_lost))
        if stands_still:
            page.clock.install()
        page.goto((place.url if isinstance(place, Site) else place) + path)
        if stands_still:
            # From here on only the test lets the page's time pass.
            page.clock.pause_at(page.evaluate("Date.now() / 1000") + 1)
        return page

    def hear(message: ConsoleMessage, *, can_be_lost: bool) -> None:
        is_known = can_be_lost and "Failed to load resource" in message.text
        if message.type in ("error", "warning") and not is_known:
            complaints.append(message.text)

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


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


def wait_for_count(page: Page, count: int, name: str = "tweets") -> None:
    """Wait until a count has come by the line."""
    page.wait_for_function(
        """([name, count]) => document.querySelector(`[data-dial=${name}] .count`)
            .textContent.replace(/\\D/g, "") === count""",
        arg=[name, str(count)],
    )


def colour(page: Page, place: str, what: str) -> tuple[int, int, int]:
    """A colour as it is drawn."""
    found = page.locator(place).first.evaluate(
        "(element, what) => getComputedStyle(element)[what]", what
    )
    red, green, blue = (int(part) for part in re.findall(r"\d+", found)[:3])
    return red, green, blue


def hours_past(hours: int = 26) -> list[Moment]:
    """A past with waves, a doubtful stretch and a hole of a quarter of an hour."""
    ages = [age for age in range(1, hours * 60) if not 95 < age < 110]
    return [
        Moment(
            AT - age * MINUTE,
            round(300 + 100 * math.sin(age / 60)),
            round(200 + 60 * math.sin(age / 60)),
            Grade.PARTIAL if 200 < age < 230 else Grade.EXACT,
        )
        for age in reversed(ages)
    ]


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


@pytest.mark.parametrize("wish", [{"reduced_motion": "reduce"}, {}])
def test_the_needle_jumps_where_motion_is_unwanted_or_unseen(
    wish: dict[str, Any], look: Callable[..., Page]
) -> None:
    with Site(reading(posts=100, full_scale=500)) as site:
        page = look(site, stands_still=True, **wish)
        if not wish:
            page.evaluate("Object.defineProperty(document, 'hidden', {value: true})")
        site.publish(later(reading(posts=450, full_scale=500), 1))
        wait_for_count(page, 450)
        assert bearing(page) == pytest.approx(72, abs=0.01)


@pytest.mark.parametrize("target", [10.01, 90.0, -40.0])
def test_the_browsers_motion_is_the_servos(target: float, look: Callable[..., Page]) -> None:
    with Site(reading()) as site:
        page = look(site)
        found = page.evaluate(
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


STATES = (
    reading(),
    reading(grade=Grade.FILLING, covered=0.4057, detail="reading back: 40%"),
    reading(grade=Grade.PARTIAL, detail="the {limit}; next try in 5 min", ago_ms=95_000),
    reading(grade=Grade.PARTIAL),
    reading(grade=Grade.STALE, ago_ms=12 * MINUTE, detail="no word for 12 min"),
    reading(grade=Grade.STALE, ago_ms=None),
    reading(posts=1312, full_scale=1000),
    reading(posts=1_234_567, authors=987_654),
    reading(grade=Grade.PARTIAL, detail="<b>&amp;</b>\n\x1b[2J"),
)


def test_live_words_are_those_of_a_page_that_is_loaded_anew(look: Callable[..., Page]) -> None:
    untold = reading(posts=99, grade=Grade.PARTIAL, detail="only counted")
    resting = replace(untold.dials["tweeters"], known=False, angle=0.0, position=0.0)
    untold = replace(untold, dials=untold.dials | {"tweeters": resting})
    with Site(reading(posts=3, authors=2)) as site:
        page = look(site, reduced_motion="reduce", timezone_id="UTC")
        for number, one in enumerate((*STATES, untold)):
            site.publish(replace(reading(posts=2, authors=1), at_ms=AT + number))
            wait_for_count(page, 1, "tweeters")
            site.publish(replace(one, at_ms=AT + number))
            wait_for_count(page, one.posts)
            wait_for_count(page, one.authors, "tweeters")
            wait_for_bearing(page, one.dials["tweets"].angle - 90)
            wait_for_bearing(page, one.dials["tweeters"].angle - 90, "tweeters")
            assert words(page) == words(page, is_fresh=True)


def test_several_networks_each_keep_their_own_words(look: Callable[..., Page]) -> None:
    with Site(reading(sources=FOUR)) as site:
        page = look(site, reduced_motion="reduce")
        site.publish(later(reading(sources=FOUR | {"bluesky": source(140, 98)}), 1))
        wait_for_count(page, 630)
        assert words(page) == words(page, is_fresh=True)
        names = page.locator("#sources h3").all_text_contents()
        assert names == ["X search", "X stream", "Bluesky", "Mastodon"]


def test_the_last_word_grows_old_by_the_pages_own_clock(look: Callable[..., Page]) -> None:
    with Site(reading(ago_ms=7 * SECOND)) as site:
        page = look(site, stands_still=True)
        site.publish(later(reading(posts=413, ago_ms=7 * SECOND), 0))
        wait_for_count(page, 413)
        page.clock.run_for(3000)
        assert page.locator(".heard").text_content() == "10 s ago"


def test_a_lost_connection_shows_and_mends_itself(look: Callable[..., Page]) -> None:
    site = Site(reading())
    page = look(site, can_be_lost=True)
    red = colour(page, ".needle path", "fill")
    site.publish(later(reading(posts=413), 1))
    wait_for_count(page, 413)
    site.close()
    page.wait_for_selector(":root[data-lost]")
    said = page.locator("#lost").text_content() or ""
    assert re.fullmatch(r"No word from TweetDock since \d\d:\d\d:\d\d", said)
    assert page.locator("#lost").is_visible()
    grey = colour(page, ".needle path", "fill")
    assert max(red) - min(red) > 100
    assert max(grey) - min(grey) < 10
    with Site(reading(posts=77), port=site.port):
        page.wait_for_selector(":root:not([data-lost])")
        assert not page.locator("#lost").is_visible()
        assert colour(page, ".needle path", "fill") == red
        wait_for_count(page, 77)


def test_after_a_long_loss_the_page_is_fetched_anew(look: Callable[..., Page]) -> None:
    site = Site(reading())
    page = look(site, stands_still=True, can_be_lost=True)
    page.evaluate("self.isOld = true")
    site.close()
    page.wait_for_selector(":root[data-lost]")
    page.clock.run_for(301_000)
    with Site(reading(posts=77), port=site.port):
        page.clock.resume()
        page.wait_for_selector("[data-dial=tweets] .count >> text=77")
        assert not page.locator("#lost").is_visible()
        assert page.evaluate("self.isOld") is None


def test_silence_on_an_open_line_is_a_loss_too(look: Callable[..., Page]) -> None:
    with Site(reading()) as site:
        page = look(site, stands_still=True)
        site.publish(later(reading(posts=413), 1))
        wait_for_count(page, 413)
        page.clock.run_for(4000)
        assert not page.locator("#lost").is_visible()
        page.clock.run_for(3000)
        assert page.locator("#lost").is_visible()
        assert "Exact" not in page.locator("main").inner_text()
        site.publish(later(reading(posts=414), 8))
        page.wait_for_selector(":root:not([data-lost])")
        assert page.locator("#word").text_content() == "Exact"


def test_who_is_not_let_in_to_watch_asks_now_and_then(look: Callable[..., Page]) -> None:
    with Site(reading(), limits=Limits(watchers=0)) as site:
        page = look(site, can_be_lost=True)
        site.publish(later(reading(posts=413), 1))
        wait_for_count(page, 413)
        page.wait_for_selector(":root:not([data-lost])")


def test_the_first_reading_brings_the_page_to_life(look: Callable[..., Page]) -> None:
    with Site() as site:
        page = look(site)
        assert page.locator("h1").text_content() == "TweetDock"
        site.publish(reading())
        page.wait_for_selector("bdi >> text=#dockercon")


def test_other_hashtags_are_another_page(look: Callable[..., Page]) -> None:
    with Site(reading()) as site:
        page = look(site)
        site.publish(reading(hashtags=("fosdem",)))
        page.wait_for_selector("bdi >> text=#fosdem")


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


def test_the_chart_leaves_holes_open_and_says_what_it_shows(look: Callable[..., Page]) -> None:
    with Site(reading(), past=hours_past()) as site:
        page = look(site)
        page.wait_for_selector("#chart canvas")
        found = page.evaluate(
            """async () => {
                const { Chart } = await import("/static/chart.js");
                const chart = new Chart(document.querySelector("#chart"));
                await chart.read();
                const now = chart.drawn.at(-1).at;
                return chart.drawn.map(({at, posts, grade}) => [now - at, posts, grade]);
            }"""
        )
        assert found[-1] == [0, 412, "exact"]
        assert max(age for age, _, _ in found) <= 6 * 3600
        (hole,) = [age for age, posts, _ in found if posts is None]
        assert 95 < hole / 60 <= 110
        label = page.locator(".plot").get_attribute("aria-label") or ""
        assert re.search(r"tweets between 200 and 412, 412 at the end", label)
        assert "At times these were lower bounds." in label


def test_the_chart_grows_with_each_reading_but_not_for_ever(look: Callable[..., Page]) -> None:
    with Site(reading(), past=hours_past()) as site:
        page = look(site)
        lengths = page.evaluate(
            """async () => {
                const { Chart } = await import("/static/chart.js");
                const chart = new Chart(document.querySelector("#chart"));
                await chart.read();
                const before = chart.kept.length;
                for (let i = 1; i <= 600; i++) {
                    const at = new Date(1790000000000 + 1000 * i).toISOString();
                    chart.add({at, posts: i, authors: i, grade: "exact"});
                }
                const grown = chart.kept.length;
                await chart.read();
                return [before, grown, chart.kept.length];
            }"""
        )
        before, grown, after = lengths
        assert 55 <= grown - before <= 60, "one in ten seconds"
        assert after == before, "what the server says is the truth"


def test_the_range_is_chosen_by_keyboard(look: Callable[..., Page]) -> None:
    with Site(reading(), past=hours_past()) as site:
        page = look(site)
        page.wait_for_selector("#chart canvas")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.value") == "6"
        assert (
            page.locator("label:has(:focus-visible)").evaluate(
                "(label) => getComputedStyle(label).outlineStyle"
            )
            == "solid"
        )
        with page.expect_request("**/api/history?hours=24"):
            page.keyboard.press("ArrowRight")
        with page.expect_request("**/api/history?hours=168"):
            page.keyboard.press("ArrowRight")
        assert page.locator("input:checked").get_attribute("value") == "168"


def test_a_kiosk_has_all_in_one_sheet_and_nothing_to_touch(look: Callable[..., Page]) -> None:
    with Site(reading(sources=FOUR, hashtags=LONG), past=hours_past()) as site:
        page = look(site, "/?kiosk")
        page.wait_for_selector("#chart canvas")
        for width, height in ((1920, 1080), (1080, 1920), (3840, 2160), (1280, 1024)):
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("getComputedStyle(document.documentElement).cursor") == "none"
            assert not page.locator("fieldset").is_visible()
            assert page.locator("a, button").count() == 0
            boxes = page.evaluate(
                """() => [...document.querySelectorAll("header, .dial, #grade, .plot, li")]
                    .map((e) => e.getBoundingClientRect())
                    .map(({left, right, top, bottom}) => [left, right, top, bottom])"""
            )
            assert all(0 <= left < right <= width for left, right, _, _ in boxes), boxes
            assert all(0 <= top < bottom <= height for _, _, top, bottom in boxes), boxes
            dial = page.locator(".face").first.bounding_box()
            assert dial
            assert dial["width"] > 0.38 * min(width, height)


@pytest.mark.parametrize("one", [reading(sources=FOUR, hashtags=LONG, demo=True), STATES[7], None])
def test_a_phone_needs_no_sideways_scrolling(
    one: Reading | None, look: Callable[..., Page]
) -> None:
    with Site(one, past=hours_past()) as site:
        page = look(site, viewport=PHONE, is_mobile=True, has_touch=True)
        page.wait_for_load_state("networkidle" if one is None else "load")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        first, second = (page.locator(".dial").nth(i).bounding_box() for i in (0, 1))
        assert first
        assert second
        assert second["y"] >= first["y"] + first["height"], "one below the other"
        assert first["width"] > 0.8 * PHONE["width"]


def test_dark_is_dark(look: Callable[..., Page]) -> None:
    with Site(reading()) as site:
        page = look(site, color_scheme="dark")
        assert max(colour(page, ":root", "backgroundColor")) < 50
        assert max(colour(page, ".face", "fill")) < 60
        assert min(colour(page, ".count", "fill")) > 180


@pytest.mark.parametrize(
    ("scheme", "path", "viewport"),
    [("light", "/", PHONE), ("light", "/?kiosk", LAPTOP), ("dark", "/", LAPTOP)],
)
def test_axe_finds_nothing_to_complain_of(
    scheme: str, path: str, viewport: dict[str, int], look: Callable[..., Page]
) -> None:
    with Site(reading(sources=FOUR), past=hours_past()) as site:
        page = look(site, path, color_scheme=scheme, viewport=viewport, can_be_lost=True)
        page.wait_for_selector("#chart canvas")
        assert violations(page) == []
        site.close()
        page.wait_for_selector(":root[data-lost]")
        assert violations(page) == []


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE])
def test_nothing_moves_but_the_needles(viewport: dict[str, int], look: Callable[..., Page]) -> None:
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
        page.wait_for_selector("#why >> text=Every post of the last hour is counted.")
        page.wait_for_selector("#chart canvas")
        told = page.evaluate("fetch('/api/reading').then((answer) => answer.json())")
        wait_for_count(page, told["posts"])
        wait_for_bearing(page, told["dials"]["tweets"]["angle"] - 90)
        assert daemon.stop() == 0
