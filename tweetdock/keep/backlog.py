"""What waits to be written into the archive: lines, and stretches of time that they complete."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from tweetdock.core.post import Span
from tweetdock.keep.archive_line import Line
from tweetdock.keep.archive_note import Covers, united, write_note

MEMBER_BYTES = 1_000_000
MOST_BYTES = 16_000_000


class _Waiting(NamedTuple):
    received_ms: int
    latest_ms: int  # the post is not of a later time, wherever our clock is
    text: bytes


class Backlog:
    """Lines and notes in memory, as many as `MOST_BYTES` of text.

    Beyond that new lines are dropped: a hole in the archive is one in its notes too. A source that
    looks back over it would call it complete, as its posts are known already and never come again;
    so no stretch is noted that begins before the end of the latest hole.

    blind_until_ms: that end; 0 if there is no hole.
    """

    def __init__(self) -> None:
        self.size = 0
        self.blind_until_ms = 0
        self._lines: deque[_Waiting] = deque()
        self._covers: Covers = {}
        self._unsafe = 0
        self._unsafe_ms = 0

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def first_ms(self) -> int:
        """When the line that waits longest was received."""
        return self._lines[0].received_ms

    @property
    def has_notes(self) -> bool:
        """Whether a stretch of time is to be noted."""
        return bool(self._covers)

    def add(self, lines: Iterable[Line]) -> int:
        """Take lines; how many were dropped."""
        dropped = 0
        for line in lines:
            text = line.as_bytes()
            latest_ms = max(line.received_ms, line.at_ms)
            # After one line that found no room, a shorter one might: that would be out of order.
            if dropped or self.size + len(text) > MOST_BYTES:
                dropped += 1
                self.knows_nothing_before(latest_ms)
                continue
            self._lines.append(_Waiting(line.received_ms, latest_ms, text))
            self.size += len(text)
        return dropped

    def cover(self, source: str, span: Span) -> None:
        """Take note that all of `span` was among the lines up to here."""
        spans = united((*self._covers.get(source, ()), self._clipped(span)))
        if spans:
            self._covers = {**self._covers, source: spans}

    def knows_nothing_before(self, ms: int) -> None:
        """Note no stretch, from now on, that begins before."""
        self.blind_until_ms = max(self.blind_until_ms, ms)

    def next_member(self) -> tuple[int, bytes, bytes]:
        """What the next member is to hold: a number of lines, their text, and the note.

        The last one only has a note: it speaks of all lines before it.
        """
        number = size = 0
        for line in self._lines:
            if number and size + len(line.text) > MEMBER_BYTES:
                break
            number, size = number + 1, size + len(line.text)
        text = b"".join(self._lines[place].text for place in range(number))
        note = write_note(self._covers)[0] if number == len(self._lines) else b""
        return number, text, note

    def written(self, number: int) -> None:
        """The next member, of that many lines, has been written."""
        if number == len(self._lines):
            self._covers = write_note(self._covers)[1]
        for _ in range(number):
            line = self._lines.popleft()
            self.size -= len(line.text)
            self._unsafe_ms = max(self._unsafe_ms, line.latest_ms)
        self._unsafe += number

    def synced(self) -> None:
        """What was written is past the disk's cache."""
        self._unsafe = self._unsafe_ms = 0

    def lost(self) -> int:
        """What was written since then may be gone: how many lines. It is not noted as seen."""
        number = self._unsafe
        self.knows_nothing_before(self._unsafe_ms)
        clipped = {source: united(map(self._clipped, of)) for source, of in self._covers.items()}
        self._covers = {source: spans for source, spans in clipped.items() if spans}
        self.synced()
        return number

    def _clipped(self, span: Span) -> Span:
        return Span(max(span.since_ms, self.blind_until_ms), span.until_ms)
