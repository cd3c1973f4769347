"""What cannot be read: told once, while it is in the window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.sources.unreadable import Unreadable, UnreadableLog


def test_an_entry_that_is_read_again_is_told_once_whatever_moment_it_seems_to_be_of() -> None:
    told = UnreadableLog("x")
    assert told.new([Unreadable("x:7", 1000, "no author_id")], 0)
    assert not told.new([Unreadable("x:7", 1500, "no author_id")], 0)
    assert told.new([Unreadable("x:8", 1500, "no author_id")], 0)


def test_of_what_is_older_than_the_window_nothing_is_told() -> None:
    assert not UnreadableLog("x").new([Unreadable("x:7", 1000, "no id")], 1000)


def test_each_kind_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    told = UnreadableLog("x")
    for number in range(3):
        lacks = "no id", "no author_id"
        told.new([Unreadable(f"x:{lack} {number}", 5, lack) for lack in lacks], 0)
    assert caplog.messages == [
        "x: an entry is left out: no id",
        "x: an entry is left out: no author_id",
    ]


pages = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 100)))


@given(st.lists(pages))
def test_each_is_told_once_in_whatever_pages_it_comes(
    all_pages: list[list[tuple[int, int]]],
) -> None:
    told = UnreadableLog("x")
    said = [
        odd.name
        for page in all_pages
        for odd in told.new([Unreadable(f"x:{n}", at_ms, "no id") for n, at_ms in page], 0)
    ]
    assert sorted(said) == sorted({f"x:{n}" for page in all_pages for n, _ in page})
