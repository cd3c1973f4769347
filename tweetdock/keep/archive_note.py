"""The note beside a member's lines: which stretches of time the sources have delivered with it."""

import json
from collections.abc import Iterable, Mapping

from tweetdock.core.post import Span

Covers = Mapping[str, tuple[Span, ...]]

END_OF_TIME_MS = 253_402_300_800_000  # the year 10000, which RFC 3339 cannot write
_MOST_SPANS = 1000  # about 35 bytes each: far from the 65,531 that a note may have


def united(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same stretches, oldest first, with those made one that touch; empty ones left out."""
    found: list[Span] = []
    for span in sorted(spans):
        if span.until_ms <= span.since_ms:
            continue
        if found and span.since_ms <= found[-1].until_ms:
            since, until = found.pop()
            found.append(Span(since, max(until, span.until_ms)))
        else:
            found.append(span)
    return tuple(found)


def write_note(covers: Covers) -> tuple[bytes, Covers]:
    """A note of as much as fits into one, no bytes if there is nothing, and what did not fit."""
    room = _MOST_SPANS
    noted: dict[str, tuple[Span, ...]] = {}
    rest: dict[str, tuple[Span, ...]] = {}
    for source, spans in covers.items():
        if spans[:room]:
            noted[source] = spans[:room]
        if spans[room:]:
            rest[source] = spans[room:]
        room -= len(spans[:room])
    return json.dumps({"covers": noted}).encode() if noted else b"", rest


def read_note(note: bytes) -> Covers:
    """What a note says; nothing if it is none of ours."""
    try:
        found = json.loads(note)["covers"]
        return {
            source: tuple(Span(int(since), int(until)) for since, until in spans)
            for source, spans in found.items()
            # A gzip header has no check sum of its own: what is no time is damage.
            if all(0 <= since < until < END_OF_TIME_MS for since, until in spans)
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
