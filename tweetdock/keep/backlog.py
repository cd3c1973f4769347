"""What waits to be written into the archive: lines, and stretches of time that they complete."""

from collections import deque
from collections.abc import Iterable

from tweetdock.keep.line import Line
from tweetdock.keep.note import Covers, united, write_note
from tweetdock.post import Span

MEMBER_BYTES = 1_000_000
MOST_BYTES = 16_000_000


class Backlog:
    """Lines and notes in memory, as many as `MOST_BYTES` of text.

    Beyond that new lines are dropped, and no stretch is noted as complete from then on until
    lines are taken again: a hole in the archive is one in its notes too.
    """

    def __init__(self) -> None:
        self.size = 0
        self._lines: deque[tuple[int, bytes]] = deque()
        self._covers: Covers = {}
        self._is_dropping = False

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def first_ms(self) -> int:
        """When the line that waits longest was received."""
        return self._lines[0][0]

    @property
    def has_notes(self) -> bool:
        """Whether a stretch of time is to be noted."""
        return bool(self._covers)

    def add(self, lines: Iterable[Line]) -> int:
        """Take lines; how many were dropped."""
        dropped = 0
        for line in lines:
            text = line.as_bytes()
            # After one line that found no room, a shorter one might: that would be out of order.
            if dropped or self.size + len(text) > MOST_BYTES:
                dropped += 1
                continue
            self._lines.append((line.received_ms, text))
            self.size += len(text)
        self._is_dropping = dropped > 0
        return dropped

    def cover(self, source: str, span: Span) -> None:
        """Take note that all of `span` was among the lines up to here."""
        if not self._is_dropping and span.until_ms > span.since_ms:
            spans = (*self._covers.get(source, ()), span)
            self._covers = {**self._covers, source: united(spans)}

    def next_member(self) -> tuple[int, bytes, bytes]:
        """What the next member is to hold: a number of lines, their text, and the note.

        The last one only has a note: it speaks of all lines before it.
        """
        number = size = 0
        for _, text in self._lines:
            if number and size + len(text) > MEMBER_BYTES:
                break
            number, size = number + 1, size + len(text)
        text = b"".join(self._lines[place][1] for place in range(number))
        note = write_note(self._covers)[0] if number == len(self._lines) else b""
        return number, text, note

    def written(self, number: int) -> None:
        """The next member, of that many lines, has been written."""
        if number == len(self._lines):
            self._covers = write_note(self._covers)[1]
        for _ in range(number):
            self.size -= len(self._lines.popleft()[1])
