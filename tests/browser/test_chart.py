"""The page's chart in a real browser: the past as it was, with its holes and doubts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pages import AT, hours_past, reading

from browser import Site, in_chromium

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page


pytestmark = in_chromium


def test_the_chart_leaves_holes_open_and_says_what_it_shows(scripts: Page) -> None:
    scripts.wait_for_selector("#chart canvas")
    found, label = scripts.evaluate(
        """async () => {
            const { Chart } = await import("/static/chart.js");
            const chart = new Chart(document.querySelector("#chart"));
            await chart.read();
            const now = chart.drawn.at(-1).at;
            const found = chart.drawn.map(({at, posts, grade}) => [now - at, posts, grade]);
            return [found, document.querySelector(".plot").getAttribute("aria-label")];
        }"""
    )
    assert found[-1] == [0, 412, "exact"]
    assert max(age for age, _, _ in found) <= 6 * 3600
    (hole,) = [age for age, posts, _ in found if posts is None]
    assert 95 < hole / 60 <= 110
    assert re.search(r"tweets between 200 and 412, 412 at the end", label)
    assert "Some of these counts are lower bounds." in label


def test_the_chart_grows_with_each_reading_but_not_for_ever(scripts: Page) -> None:
    lengths = scripts.evaluate(
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


DRAWN = """async ([at, grade, isReplay]) => {
    const { Chart } = await import("/static/chart.js");
    const { reading } = document.body.dataset;
    document.body.dataset.reading = JSON.stringify({replay: isReplay});
    const chart = new Chart(document.querySelector("#chart"));
    document.body.dataset.reading = reading;
    await chart.read();
    chart.kept = at.map((at, i) => ({at, posts: i, authors: i, grade}));
    chart.draw();
    return chart.drawn.map(({grade}) => grade);
}"""


@pytest.mark.parametrize(("is_replay", "holes"), [(True, 1), (False, 8)])
def test_a_fast_replays_steps_are_no_holes(scripts: Page, *, is_replay: bool, holes: int) -> None:
    """A chart of an hour in each second was empty, as each of its moments stood alone."""
    hours = [AT / 1000 + 1800 * n for n in range(12) if n not in (5, 6, 7)]
    found = scripts.evaluate(DRAWN, [hours, "exact", is_replay])
    assert found.count("hole") == holes


def test_a_clock_that_was_set_back_takes_the_chart_along(scripts: Page) -> None:
    """What was noted under the later time stood at the chart's end for up to a minute."""
    ends = scripts.evaluate(
        """async () => {
            const { Chart } = await import("/static/chart.js");
            const chart = new Chart(document.querySelector("#chart"));
            await chart.read();
            const add = (seconds) => chart.add({
                at: new Date(1790000000000 + 1000 * seconds).toISOString(),
                posts: 1, authors: 1, grade: "exact",
            });
            for (const seconds of [60, 7200, 7220, 7240, 80, 81]) add(seconds);
            return chart.moments().map(({at}) => at - 1790000000);
        }"""
    )
    assert ends[-1] == 81
    assert ends == sorted(ends)


def test_the_charts_height_has_three_or_four_numbers_and_the_top_is_one(scripts: Page) -> None:
    """With counts up to 700 there were 0 and 500, and how high the top was nobody knew."""
    found = scripts.evaluate(
        """async () => {
            const { heights } = await import("/static/chart.js");
            const found = [];
            for (let most = 0; most < 2e6; most = Math.ceil(most * 1.07 + 1)) {
                found.push([most, heights(most)]);
            }
            return [...found, [null, heights(null)]];
        }"""
    )
    for most, numbers in found:
        assert len(numbers) in (3, 4)
        assert numbers[0] == 0
        assert numbers[-1] >= (most or 0)
        assert numbers == sorted({round(number) for number in numbers})
    assert dict(map(tuple, ((most, tuple(n)) for most, n in found)))[0] == (0, 5, 10)


def test_only_lower_bounds_have_a_ground_behind_them(scripts: Page) -> None:
    """A silence, which has no counts, was called `at least` too."""
    found = scripts.evaluate(
        """async () => {
            const { bounds } = await import("/static/chart.js");
            const grades = ["exact", "partial", "filling", "stale", "stale", "exact",
                "partial", "hole", "partial", "exact"];
            return bounds(grades.map((grade, at) => ({ at, grade })));
        }"""
    )
    assert found == [[1, 3], [6, 7], [8, 9]]


def test_the_charts_letters_are_as_large_on_a_fine_screen(scripts: Page) -> None:
    """Of 13.6 pixels uPlot took 6 times the screen's ratio, and they were half as large."""
    found = scripts.evaluate(
        """async () => {
            const { Chart } = await import("/static/chart.js");
            const chart = new Chart(document.querySelector("#chart"));
            await chart.read();
            return chart.options(getComputedStyle(chart.plot)).axes.map(({ font }) => font);
        }"""
    )
    assert all(re.match(r"1[2-9]px ", font) for font in found)


def test_a_past_that_is_shorter_than_was_chosen_says_since_when(look: Callable[..., Page]) -> None:
    with Site(reading(), past=hours_past()) as site:
        page = look(site)
        page.wait_for_selector("#chart canvas")
        since = page.locator("#chart-title span")
        assert since.text_content() == ""
        with page.expect_response("**/api/history?hours=168"):
            page.locator("[value='168']").check()
        page.wait_for_function("document.querySelector('#chart-title span').textContent !== ''")
        assert since.text_content() == "since 20 Sept, 14:14"


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
