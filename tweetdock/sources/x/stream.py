"""X's filtered stream as a source: posts within moments, by rules of ours, watched over."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from tweetdock.core.errors import SourceError
from tweetdock.core.post import Batch, Feed, Span
from tweetdock.sources.polling import Pause
from tweetdock.sources.x.budget import Budget
from tweetdock.sources.x.connection import XConnection
from tweetdock.sources.x.lines import Line, parse_line
from tweetdock.sources.x.posts import snowflake_ms
from tweetdock.sources.x.purse import Purse
from tweetdock.sources.x.stream_state import LOOK_MS, Ledger

log = logging.getLogger(__name__)

SILENCE_SECONDS = 21.0  # X says something every 20 s
# One post in a hundred takes 6 to 7 s. Of a stream that breaks more is read again (IN_FLIGHT_MS).
LATENCY_MS = 20_000
# Only what the rules were there for is claimed, and they are looked at once a minute; it is
# claimed by the next line, which comes within 20 s.
LAG_MS = LOOK_MS + LATENCY_MS + 20_000 + 10_000
KNOWN_EDITS = 10_000


class XStream:
    """The stream of one app on X, one piece a poll; a broken one is connected to anew.

    ledger: shared with the search that fills what this leaves out.
    """

    voice = "stream"

    def __init__(
        self,
        feed: Feed,
        ledger: Ledger,
        connection: XConnection,
        *,
        keeps_raw: bool = False,
        budget: Budget,
    ) -> None:
        self.feed = feed
        self._ledger = ledger
        self._clock = ledger.clock
        self._connection = connection
        self._keeps_raw = keeps_raw
        self._budget = budget
        self._purse = Purse(budget)
        self._first_of: dict[str, str] = {}  # the keys of posts by their later versions
        self._unreadable: Counter[str] = Counter()

    def poll(self) -> Iterator[Batch]:
        """Connect if need be, and wait for the next piece: one Batch, if it has a whole line.

        SourceError when X does not deliver, with the seconds that X's rules want waited.
        """
        if not self._connection.is_open:
            self._purse.check(self._clock.now_ms())
            self._connection.open()
        try:
            yield from self._batches(self._connection.read())
            self._purse.check(self._clock.now_ms())
        except SourceError as error:
            raise self._connection.broken(error) from error

    def pause(self) -> Pause:
        """None: the next piece is waited for."""
        return Pause(0.0)

    def server_ms(self) -> int | None:
        """X's time, once it has said so."""
        return self._ledger.server_ms()

    def cut(self) -> None:
        """End it for good."""
        self._connection.cut()

    def _batches(self, lines: list[bytes | None]) -> Iterator[Batch]:
        read: list[Line] = []
        end: SourceError | None = None
        now_ms, wanted = self._clock.now_ms(), self._connection.wanted
        for line in lines:
            try:
                read.append(parse_line(line, now_ms, wanted, keeps_raw=self._keeps_raw))
            except SourceError as error:
                end = error
                break
        if read:
            yield self._batch(read, now_ms)
        if end:
            raise end

    def _batch(self, read: list[Line], now_ms: int) -> Batch:
        odd = [line.unreadable for line in read if line.unreadable]
        if odd:
            # Whatever was in it, the search reads that minute once more.
            self._ledger.stumbled(now_ms)
            self._note_unreadable(odd)
        sent = [line.snowflake for line in read if line.snowflake]
        self._purse.came(len(sent) + len(odd))
        billed = self._budget.take((f"x:{i}" for i in sent), now_ms, nameless=len(odd))
        for line in read:
            if line.post and line.post.key != f"x:{line.snowflake}":
                self._first_of[f"x:{line.snowflake}"] = line.post.key
        while len(self._first_of) > KNOWN_EDITS:
            del self._first_of[next(iter(self._first_of))]
        gone = [line.removal for line in read if line.removal]
        return Batch(
            source=self.feed.source,
            voice=self.voice,
            posts=tuple(line.post for line in read if line.post),
            removals=tuple(replace(r, key=self._first_of.get(r.key, r.key)) for r in gone),
            covers=self._covers(sent, now_ms),
            raw=tuple(line.raw for line in read if line.raw),
            server_ms=self.server_ms(),
            cursor=self._ledger.cursor(),
            billed=billed + self._ledger.owed(),
            remark=self._budget.remark(now_ms),
        )

    def _covers(self, sent: list[int], now_ms: int) -> Span | None:
        known = self._ledger.heard(now_ms)
        # When only old posts come, newer ones are yet to come.
        is_behind = bool(sent) and snowflake_ms(max(sent)) < now_ms - LATENCY_MS
        if is_behind or known.since_ms >= known.until_ms - LATENCY_MS:
            return None
        return Span(known.since_ms, known.until_ms - LATENCY_MS)

    def _note_unreadable(self, kinds: list[str]) -> None:
        for kind in kinds:
            self._unreadable[kind] += 1
            if self._unreadable[kind] == 1:
                log.warning(
                    "x-stream: a line cannot be read: %s; the search reads that minute, and so "
                    "with others like it",
                    kind,
                )
