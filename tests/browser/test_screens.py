"""The page on every screen: a wall's, a phone's, a dark one, and for who cannot see it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from pages import FOUR, LONG, PHONE, hours_past, reading, source
from profiles import is_thorough

from browser import LAPTOP, Site, colour, in_chromium, violations
from tweetdock.core.coverage import Grade

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page, ViewportSize

    from tweetdock.core.reading import Reading

pytestmark = in_chromium


UPRIGHT: ViewportSize = {"width": 390, "height": 844}
SIDEWAYS: ViewportSize = {"width": 844, "height": 390}
PANEL: ViewportSize = {"width": 800, "height": 480}  # the Raspberry Pi's own display


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
                """() => [...document.querySelectorAll("header, .dial, #grade, .plot, li, li > *")]
                    .filter((e) => e.checkVisibility())
                    .map((e) => e.getBoundingClientRect())
                    .map(({left, right, top, bottom}) => [left, right, top, bottom])"""
            )
            assert all(0 <= left < right <= width for left, right, _, _ in boxes), boxes
            assert all(0 <= top < bottom <= height for _, _, top, bottom in boxes), boxes
            dial = page.locator(".face").first.bounding_box()
            assert dial
            assert dial["width"] > 0.38 * min(width, height)


@pytest.mark.parametrize(
    "one",
    [
        reading(sources=FOUR | {"demo": source(1_234_567, 987_654)}, hashtags=LONG, demo=True),
        pytest.param(None, marks=pytest.mark.thorough),
        pytest.param(reading(sources=FOUR, hashtags=LONG, demo=True), marks=pytest.mark.thorough),
        pytest.param(reading(posts=1_234_567, authors=987_654), marks=pytest.mark.thorough),
    ],
    ids=["all that is long", "none", "long names", "long numbers"],
)
def test_a_phone_needs_no_sideways_scrolling(
    one: Reading | None, look: Callable[..., Page]
) -> None:
    with Site(one, past=hours_past()) as site:
        options = {"is_mobile": True, "has_touch": True, "can_be_lost": one is None}
        page = look(site, viewport=PHONE, **options)
        page.wait_for_load_state("networkidle" if one is None else "load")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        first, second = (page.locator(".dial").nth(i).bounding_box() for i in (0, 1))
        assert first
        assert second
        assert second["y"] >= first["y"] + first["height"], "one below the other"
        assert first["width"] > 0.8 * PHONE["width"]


def test_dark_is_dark(look: Callable[..., Page]) -> None:
    with Site(reading()) as site:
        page = look(site, media={"color_scheme": "dark"})
        assert max(colour(page, ":root", "backgroundColor")) < 50
        assert max(colour(page, ".face", "fill")) < 60
        assert min(colour(page, ".count", "fill")) > 180


def test_axe_finds_nothing_to_complain_of(look: Callable[..., Page]) -> None:
    with Site(reading(sources=FOUR), past=hours_past()) as site:
        kiosk = look(site, "/?kiosk", can_be_lost=True)
        kiosk.wait_for_selector("#chart canvas")
        assert violations(kiosk) == []
        page = look(site, viewport=PHONE, can_be_lost=True)
        page.wait_for_selector("#chart canvas")
        assert violations(page) == []
        page.set_viewport_size(LAPTOP)
        page.emulate_media(color_scheme="dark")
        assert violations(page) == []
        site.close()
        # Lost, a kiosk has the colours of any page.
        for lost in (page, kiosk) if is_thorough() else (page,):
            lost.wait_for_selector(":root[data-lost]")
            assert violations(lost) == []
        page.set_viewport_size(PHONE)
        page.emulate_media(color_scheme="light")
        assert violations(page) == []


def test_many_networks_leave_a_kiosks_dials_their_size(look: Callable[..., Page]) -> None:
    """With five of them the dials shrank by a third, and the sheet's corner was empty."""
    widths = []
    with Site(past=hours_past()) as site:
        for sources in ({"x": source()}, FOUR | {"demo": source(12_345, 9000)}):
            site.publish(reading(sources=sources))
            page = look(site, "/?kiosk", viewport={"width": 1920, "height": 1080})
            page.wait_for_selector("#chart canvas")
            face = page.locator(".face").first.bounding_box()
            assert face
            widths.append(face["width"])
            page.close()
    assert widths[1] > 0.9 * widths[0]


def test_a_reason_too_long_for_a_kiosk_ends_with_dots(look: Callable[..., Page]) -> None:
    """It was cut in the middle of its words, and nobody saw that there was more."""
    why = "the credentials are refused and must be made anew at the portal " * 6
    with Site(reading(grade=Grade.PARTIAL, detail=why, hashtags=LONG)) as site:
        page = look(site, "/?kiosk", viewport={"width": 1920, "height": 1080})
        said = page.locator("#grade > p").first
        assert said.evaluate("(e) => getComputedStyle(e).webkitLineClamp") == "2"
        assert said.evaluate("(e) => e.scrollHeight > e.clientHeight")
        page.set_viewport_size({"width": 1080, "height": 1920})
        tag = page.locator("h1 bdi").first
        assert tag.evaluate("(e) => getComputedStyle(e).textOverflow") == "ellipsis"
        assert page.evaluate("document.documentElement.scrollWidth") <= 1080


def test_beside_many_networks_the_chart_is_as_high_as_they_are(look: Callable[..., Page]) -> None:
    with Site(reading(sources=FOUR), past=hours_past()) as site:
        page = look(site)
        page.wait_for_selector("#chart canvas")
        boxes = [page.locator(place).bounding_box() for place in (".plot", "#sources")]
        plot, networks = (box["y"] + box["height"] for box in boxes if box)
        assert abs(plot - networks) < 4


def test_hashtags_of_any_script_stand_equally_far_apart(look: Callable[..., Page]) -> None:
    """The gap after one that is written from the right fell on its left."""
    with Site(reading(hashtags=("dockercon", "مؤتمر", "kubecon"))) as site:
        boxes = [tag.bounding_box() for tag in look(site).locator("h1 bdi").all()]
        ends = [(box["x"], box["x"] + box["width"]) for box in boxes if box]
        gaps = [after[0] - before[1] for before, after in pairwise(ends)]
        assert gaps[0] == pytest.approx(gaps[1], abs=0.5)
        assert gaps[0] > 5


def test_on_a_phone_held_sideways_the_grade_is_seen_at_once(look: Callable[..., Page]) -> None:
    with Site(reading(demo=True)) as site:
        page = look(site, viewport=SIDEWAYS, is_mobile=True, has_touch=True)
        for place in ("#grade", ".dial >> nth=0", ".dial >> nth=1"):
            box = page.locator(place).bounding_box()
            assert box
            assert box["y"] + box["height"] <= SIDEWAYS["height"]


def test_a_small_kiosk_has_letters_that_can_be_read(look: Callable[..., Page]) -> None:
    """On a phone they were of 7 pixels."""
    with Site(reading(sources=FOUR), past=hours_past()) as site:
        page = look(site, "/?kiosk")
        for viewport in UPRIGHT, SIDEWAYS, PANEL:
            page.set_viewport_size(viewport)
            for place in ("#grade", ".window", ".dial"):
                box = page.locator(place).first.bounding_box()
                assert box
                assert 0 <= box["y"] < box["y"] + box["height"] <= viewport["height"]
            sizes = page.evaluate(
                """[...document.querySelectorAll("h1, p")].filter((e) => e.checkVisibility())
                    .map((e) => parseFloat(getComputedStyle(e).fontSize))"""
            )
            assert min(sizes) >= 12
