"""Rotation: what the setting's words mean, and when a file is full."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.settings.keeping import Rotation

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("text", "rotation"),
    [
        ("", Rotation(None, is_daily=False)),
        ("off", Rotation(None, is_daily=False)),
        ("OFF", Rotation(None, is_daily=False)),
        ("daily", Rotation(None, is_daily=True)),
        ("100MB", Rotation(100_000_000, is_daily=False)),
        ("10kb", Rotation(10_000, is_daily=False)),
        ("2 gb", Rotation(2_000_000_000, is_daily=False)),
        ("100MB,daily", Rotation(100_000_000, is_daily=True)),
        ("daily, 100mb", Rotation(100_000_000, is_daily=True)),
    ],
)
def test_the_words_of_the_setting_are_understood(text: str, rotation: Rotation) -> None:
    assert Rotation.parse(text) == rotation


@pytest.mark.parametrize(
    "text",
    [
        *("9KB", "0MB", "100", "100MiB", "-1MB", "1.5GB", "weekly", "daily,daily", "1MB,2MB"),
        *("off,daily", "daily,", ",", "٣MB", "1MB,daily,off"),
    ],
)
def test_other_words_are_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match="off, a size from 10KB such as 100MB, daily"):
        Rotation.parse(text)


@given(st.integers(0, 10**12), st.integers(0, 10**14))
def test_an_empty_file_is_never_full(size: int, now_ms: int) -> None:
    assert not Rotation.parse("10KB,daily").is_due(size, None, now_ms)


@given(st.integers(0, 30_000), st.integers(0, 10**14), st.integers(0, 10**14))
def test_a_file_is_full_at_its_size_whatever_the_time(size: int, first: int, now: int) -> None:
    assert Rotation.parse("20KB").is_due(size, first, now) is (size >= 20_000)


@given(st.integers(0, 10**14), st.integers(-3 * DAY_MS, 3 * DAY_MS))
def test_a_day_ends_at_midnight_utc_and_not_when_a_clock_is_set_back(
    first: int, later: int
) -> None:
    midnight = first - first % DAY_MS + DAY_MS
    is_due = Rotation.parse("daily").is_due(1, first, first + later)
    assert is_due is (first + later >= midnight)


def test_off_is_never() -> None:
    assert not Rotation.parse("off").is_due(10**15, 0, 10**14)
