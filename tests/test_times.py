"""Moments as text: the forms that networks use, our own, and what is no date."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from profiles import examples

from tweetdock.core.times import clock_time, duration, from_now, parse_ms, rfc3339

FIRST_MS = 0
LAST_MS = 4_102_444_800_000  # the year 2100
MOMENT_MS = 1_219_842_525_000  # 2008-08-27 13:08:45 UTC

moments_ms = st.integers(FIRST_MS, LAST_MS)


@given(moments_ms)
def test_what_we_write_we_read_again(ms: int) -> None:
    assert parse_ms(rfc3339(ms)) == ms


@given(moments_ms, st.integers(-14 * 60, 14 * 60))
def test_any_offset_means_the_same_moment(ms: int, minutes: int) -> None:
    zone = timezone(timedelta(minutes=minutes))
    moment = datetime.fromtimestamp(ms // 1000, zone)
    assert parse_ms(moment.isoformat()) == ms // 1000 * 1000
    twitter = moment.strftime("%a %b %d %H:%M:%S %z %Y")
    assert parse_ms(twitter) == ms // 1000 * 1000


@given(moments_ms)
def test_a_date_header_is_read_to_the_second(ms: int) -> None:
    header = datetime.fromtimestamp(ms // 1000, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert parse_ms(header) == ms // 1000 * 1000


@pytest.mark.parametrize(
    "text",
    [
        "2008-08-27T13:08:45Z",
        "2008-08-27T13:08:45.000Z",
        "2008-08-27T15:08:45+02:00",
        "2008-08-27 13:08:45",
        "Wed Aug 27 13:08:45 +0000 2008",  # Twitter's API v1.1 and its archives
        "Wed, 27 Aug 2008 13:08:45 GMT",  # RFC 9110, the usual form
        "Wednesday, 27-Aug-08 13:08:45 GMT",  # RFC 9110, obsolete
        "Wed Aug 27 13:08:45 2008",  # RFC 9110, asctime
        "Wed, 27 Aug 2008 15:08:45 +0200",
    ],
)
def test_every_form_that_networks_use_is_read(text: str) -> None:
    assert parse_ms(text) == MOMENT_MS


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York"])
def test_a_date_without_a_zone_is_utc_wherever_the_gauge_hangs(
    monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    try:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", zone)
            time.tzset()
            assert parse_ms("2008-08-27T13:08:45") == MOMENT_MS
            assert parse_ms("Wed Aug 27 13:08:45 2008") == MOMENT_MS
            assert rfc3339(MOMENT_MS) == "2008-08-27T13:08:45.000Z"
    finally:
        time.tzset()


@pytest.mark.parametrize("name", ["EST", "IST", "XYZ"])
def test_a_zone_by_name_is_refused_even_if_it_is_our_own(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Once dateutil took EST for UTC with a warning, but for local time on a Pi in New York."""
    try:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", "EST5EDT")
            time.tzset()
            with pytest.raises(ValueError, match=name):
                parse_ms(f"Wed Aug 27 13:08:45 {name} 2008")
    finally:
        time.tzset()


@pytest.mark.parametrize("text", ["5", "10:30", "Wed", "August", "27 Aug", "2026-11", "13:08:45Z"])
def test_half_a_date_is_not_filled_in_from_today(text: str) -> None:
    """Once dateutil filled in what was missing by the machine's clock: "5" was a day of now."""
    with pytest.raises(ValueError, match="date"):
        parse_ms(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "garbage",
        "null",
        "nan",
        "2026-13-01T00:00:00Z",
        "Mon, 31 Feb 2026 10:00:00 GMT",
        "9" * 20,
        "1e400",
        "\ud800",
        ",,",
    ],
)
def test_what_is_no_date_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_ms(text)


DATES = "Wed Aug 27 2008 13:08:45 +0000 GMT Z T AM - / . , : +99:99 1e9 0 -1 10:30 th 99999999999 h"
words = st.sampled_from([*DATES.split(), "\x00", "\ud800", "\u00b2", "\u0661"])


@given(st.one_of(st.text(max_size=20), st.lists(words, max_size=7).map(" ".join)))
@settings(max_examples=examples(50))  # the slow path of dateutil
@example("0001-01-01T00:00:00+14:00")
@example("9999-12-31T23:59:59-14:00")
def test_whatever_comes_is_a_moment_or_a_value_error(text: str) -> None:
    try:
        ms = parse_ms(text)
    except ValueError:
        return
    assert isinstance(ms, int)


def test_a_clock_shows_hours_and_minutes() -> None:
    assert clock_time(MOMENT_MS) == "13:08 UTC"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0, "0 s"), (0.4, "0 s"), (40, "40 s"), (99, "99 s"), (300, "5 min"), (3600, "60 min")),
        *((7200, "2 h"), (86_400, "24 h")),
    ],
)
def test_a_duration_reads_as_a_person_says_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "at once"), (0.4, "at once"), (0.6, "in 1 s"), (300, "in 5 min")]
)
def test_what_is_to_come_is_told_from_now(seconds: float, words: str) -> None:
    assert from_now(seconds) == words


def test_a_text_longer_than_any_date_is_refused_at_once_and_not_repeated() -> None:
    """It took 13 s for 400 kB of dots, which one line of a stream may hold."""
    with pytest.raises(ValueError, match="no date") as refusal:
        parse_ms("1." * 200_000)
    assert len(str(refusal.value)) < 100
