"""Server-sent events: what lines make of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.sources.mastodon.stream import StreamEvent, parse_events


def decode(*lines: bytes) -> list[StreamEvent]:
    """The events of lines that come one by one, which are those of all at once."""
    block: list[bytes] = []
    events = [event for line in lines for event in parse_events([line], block)]
    assert parse_events(lines, []) == events
    return events


@pytest.mark.parametrize(
    ("lines", "events"),
    [
        ([b"event: update", b"data: {}", b""], [StreamEvent("update", b"{}")]),
        ([b"data: 7", b"event: delete", b""], [StreamEvent("delete", b"7")]),
        ([b"data: 7", b""], [StreamEvent("", b"7")]),
        ([b"event:update", b"data:{}", b""], [StreamEvent("update", b"{}")]),
        ([b"event: update", b"data:  two", b""], [StreamEvent("update", b" two")]),
        (
            [b"event: x", b"data: one", b"data: two", b"data", b""],
            [StreamEvent("x", b"one\ntwo\n")],
        ),
        ([b":)", b":thump", b":", b""], []),
        ([b"event: a", b":thump", b"data: 1", b""], [StreamEvent("a", b"1")]),
        # Without data it is none; its kind does not stay for the next one.
        ([b"event: a", b"", b"data: 1", b""], [StreamEvent("", b"1")]),
        ([b"id: 3", b"retry: 5", b"sundry: x", b"data: 1", b""], [StreamEvent("", b"1")]),
        ([b"event: a\xff", b"data: \xff", b""], [StreamEvent("a\ufffd", b"\xff")]),
        ([b"event: a", b"data: 1"], []),
        ([b"", b"", b""], []),
    ],
)
def test_lines_make_events(lines: list[bytes], events: list[StreamEvent]) -> None:
    assert decode(*lines) == events


LINE = st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b""))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(LINE, min_size=1)), max_size=5))
def test_what_is_written_as_events_is_read_as_such(events: list[tuple[str, list[bytes]]]) -> None:
    lines: list[bytes] = []
    for kind, parts in events:
        lines += [b"event: " + kind.encode(), *(b"data: " + part for part in parts)]
        lines += [b":thump", b""]
    assert decode(*lines) == [StreamEvent(kind, b"\n".join(parts)) for kind, parts in events]


@given(st.lists(LINE | st.sampled_from([b"", b"data", b"event: x", b"data: y"])))
def test_no_line_breaks_it(lines: list[bytes]) -> None:
    for event in decode(*lines):
        assert isinstance(event.kind, str)
