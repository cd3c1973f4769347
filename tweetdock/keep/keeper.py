"""What outlives the process: raw posts go into the archive first, then the state is saved."""

import logging
import math
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from tweetdock.core.errors import StateError, UnavailableError
from tweetdock.core.gauge import Fresh, Gauge, Saved, SourceMark
from tweetdock.core.post import COUNTS, Batch, Spent, source_of
from tweetdock.core.reading import Reading
from tweetdock.core.times import HOUR_MS, MINUTE_MS, duration
from tweetdock.keep.archive import Archive
from tweetdock.keep.archive_format import ArchiveLine
from tweetdock.keep.database import HistoryRow, State, Store, read_history, read_state
from tweetdock.keep.files import Lock
from tweetdock.retry import TroubleLog
from tweetdock.settings.gauge import Settings

log = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
MANY_POSTS = 50  # so many not saved yet are worth a save of their own: X bills what is read again
SOON_SECONDS = 1.0
MOST_ROWS = 3000  # of the history, while they cannot be saved
STEPS_MS = {"minute": MINUTE_MS, "hour": HOUR_MS}


class History:
    """Picks the readings to keep: the first of each minute and of each hour."""

    def __init__(self, subject: str, window_seconds: float) -> None:
        self._subject = subject
        self._window_seconds = window_seconds
        self._step: dict[str, int] = {}

    def is_of(self, row: HistoryRow) -> bool:
        """Whether a row was kept of the same thing."""
        return (row.subject, row.window_seconds) == (self._subject, self._window_seconds)

    def note(self, reading: Reading) -> list[HistoryRow]:
        """The rows that `reading` is to be kept as; none for most."""
        rows = []
        for per, step_ms in STEPS_MS.items():
            step = reading.at_ms // step_ms
            if step > self._step.setdefault(per, step):
                of = reading.posts, reading.authors, reading.grade
                rows.append(
                    HistoryRow(per, step * step_ms, *of, self._window_seconds, self._subject)
                )
            self._step[per] = step
        return rows


class Keeper:
    """The loop's state and archive. Nothing is saved as seen before the archive has it.

    What cannot be saved now is logged at once, and all of it is saved anew, in a store opened then,
    when that works again: until then the gauge runs from memory.

    subjects: by feed, what it is asked for. archive: opens it; None if there is none.
    is_guest: where another TweetDock owns the state, go on from it and keep nothing; then
    whether that is so.
    state: as it was loaded, then as it was to be saved last; None if there is nothing.
    Raises UnavailableError if another TweetDock owns the state and this one is no guest, or if
    the archive cannot be had.
    """

    def __init__(
        self,
        settings: Settings,
        subjects: Mapping[str, str],
        archive: Callable[[], Archive] | None,
        *,
        is_guest: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = settings.keep.state_dir
        self._archive_path = str(settings.keep.archive or "")
        self._window_ms = round(settings.window_seconds * 1000)
        self._save_seconds = settings.keep.save_seconds
        self._subjects = dict(subjects)
        self._monotonic = monotonic
        self._history = History(settings.subject, settings.window_seconds)
        self._troubles = TroubleLog(log, "state")
        self._lock: Lock | None = None
        self._store: Store | None = None
        self._keeps_nothing = not settings.is_live
        self.is_guest = False
        self._marks: list[SourceMark] = []
        self._rows: deque[HistoryRow] = deque(maxlen=MOST_ROWS)
        self._new_spent: defaultdict[tuple[str, str], Spent] = defaultdict(lambda: Spent(0, 0))
        self._has_heard = False
        self._tried_at = -math.inf
        self._unsaved_posts = 0
        self.state = None if self._keeps_nothing else self._load(is_guest=is_guest)
        self._cursors = dict(self.state.cursors) if self.state else {}
        self._salt = self.state.saved.salt if self.state else os.urandom(16)
        self._archive = None if archive is None or self._keeps_nothing else archive()

    def recall(self) -> Saved:
        """What to go on from."""
        if self.state is None:
            return Saved(salt=self._salt)
        saved = self.state.saved
        # The marks are in the gauge now: an hour of them is some megabytes.
        self.state = replace(self.state, saved=replace(saved, marks=()))
        return saved

    @property
    def spent(self) -> Mapping[str, Mapping[str, Spent]]:
        """What was asked, by UTC day and source, up to the first save."""
        spent = {day: dict(of) for day, of in (self.state.spent if self.state else {}).items()}
        for (day, source), new in self._new_spent.items():
            known = spent.setdefault(day, {}).get(source, Spent(0, 0))
            total = Spent(known.requests + new.requests, known.posts + new.posts)
            spent[day][source] = total
        return spent

    def past(self) -> list[HistoryRow]:
        """The readings that were kept of the same subject and window, oldest first."""
        with suppress(StateError):
            rows = read_history(self._folder) if self.state else ()
            return [row for row in rows if self._history.is_of(row)]
        return []

    def cursor(self, feed: str) -> str:
        """Where a feed left off, in its own words; empty if it never was asked."""
        return self._cursors.get(feed, "")

    def recall_archive(self, gauge: Gauge, now_ms: int) -> None:
        """Let `gauge` know what the archive has received since the last save."""
        if self._archive is None:
            return
        for version in self._archive.recent(gauge.is_archived, now_ms - self._window_ms):
            self._marks += gauge.recall_archived(self._source_for(version), version, now_ms)
        if self.state is None:
            return
        if self.state.archive != self._archive_path:
            # What the gauge counts already is not in this archive, and will not come again.
            self._archive.knows_nothing_before(now_ms)
        self._archive.knows_nothing_before(self.state.blind_until_ms)
        for feed, seen in self.state.saved.seen.items():
            # Noted again: a kill may have come before the note.
            for span in seen.spans:
                self._archive.cover(feed, span)

    def _source_for(self, version: str) -> str:
        """A source of the version's network, which is the one that would bring it again."""
        sources = [source_of(feed) for feed in self._subjects]
        network = version.partition(":")[0]
        return next((s for s in sources if s.partition("-")[0] == network), sources[0])

    def keep(self, batch: Batch, fresh: Fresh, now_ms: int) -> None:
        """Keep what a batch has brought."""
        self._has_heard = True
        if self._keeps_nothing:
            return
        self._unsaved_posts += len(batch.posts)
        if self._archive is not None:
            self._archive.append(ArchiveLine(now_ms, batch.source, raw) for raw in fresh.raw)
            if batch.covers is not None:
                self._archive.cover(batch.feed, batch.covers)
        if self._store is not None:
            self._marks += fresh.marks
        self._cursors[batch.feed] = batch.cursor
        self.note_spent(batch, now_ms)

    def note_spent(self, batch: Batch, now_ms: int) -> None:
        """Keep what a batch has cost."""
        of = _day(now_ms), batch.source if batch.tally is None else COUNTS
        requests, posts = self._new_spent[of]
        read = len(batch.posts) + len(batch.unreadable) if batch.billed is None else batch.billed
        self._new_spent[of] = Spent(requests + 1, posts + read)

    def turn(
        self, gauge: Gauge, reading: Reading, angles: Sequence[float], *, is_confirmed: bool
    ) -> None:
        """Do what is due, once in each turn of the loop.

        is_confirmed: whether somebody has confirmed that the reading's time is the time.
        """
        if self._keeps_nothing:
            return
        if is_confirmed:
            self._rows += self._history.note(reading)
        if self._archive is not None and self._archive.due_seconds() <= 0:
            self._archive.flush(reading.at_ms)
        if self._save_due_seconds() <= 0:
            self.save(gauge, reading.at_ms, angles, is_confirmed=is_confirmed)

    def due_seconds(self) -> float:
        """In how many seconds the loop should turn at the latest."""
        save = self._save_due_seconds()
        return save if self._archive is None else min(save, self._archive.due_seconds())

    def _save_due_seconds(self) -> float:
        if self._keeps_nothing or not self._new_spent:  # each batch has cost something
            return math.inf
        seconds = self._save_seconds
        if self._store is None:
            seconds = max(seconds, RETRY_SECONDS)
        elif self._unsaved_posts >= MANY_POSTS:
            seconds = min(seconds, SOON_SECONDS)
        return self._tried_at + seconds - self._monotonic()

    def reopen(self, now_ms: int) -> None:
        """Begin a new archive file, if the open one was renamed."""
        if self._archive is not None:
            self._archive.flush(now_ms)

    def save(
        self, gauge: Gauge, now_ms: int, angles: Sequence[float], *, is_confirmed: bool
    ) -> None:
        """Save all that there is, if it can be saved now.

        Until a source has spoken and somebody has confirmed that `now_ms` is the time, that is
        only what was spent, and where the needles are.
        """
        is_known = self._has_heard and is_confirmed
        self._tried_at = self._monotonic()
        if self._keeps_nothing or not (is_known or self._store):
            return
        if is_known and self._archive is not None and not self._archive.sync(now_ms):
            self._close_store()
            return
        archive = self._archive_path if self._archive else ""
        if is_known:
            state = State(
                saved_ms=now_ms,
                saved=Saved(salt=self._salt, seen=gauge.seen, scales=gauge.scales),
                cursors=self._cursors,
                angles=self.state.angles if self.state else (),
                archive=archive,
                blind_until_ms=self._archive.blind_until_ms if self._archive else 0,
            )
        elif self.state or self._new_spent:
            unknown = State(saved_ms=0, saved=Saved(salt=self._salt), cursors={}, archive=archive)
            state = self.state or unknown
        else:
            return
        self.state = state = replace(state, angles=tuple(angles) or state.angles)
        try:
            is_whole = self._store is None
            store = self._store or self._open()
            marks = gauge.marks() if is_whole else self._marks if is_known else ()
            store.save(state, marks, self._rows, self._new_spent, is_whole=is_whole)
        except OSError as error:
            self._fail(error)
        else:
            self._troubles.worked()
            self._new_spent.clear()
            self._rows.clear()
            self._unsaved_posts = 0
            if is_known:
                self._marks.clear()

    def close(self, now_ms: int) -> None:
        """Close everything, once; what is to be saved must have been saved."""
        archive, self._archive = self._archive, None
        lock, self._lock = self._lock, None
        self._keeps_nothing = True
        if archive is not None:
            archive.close(now_ms)
        self._close_store()
        if lock is not None:
            lock.close()

    def _load(self, *, is_guest: bool) -> State | None:
        try:
            self._own()
        except UnavailableError:
            if not is_guest:
                raise
            self._keeps_nothing = self.is_guest = True
            log.info("state: another TweetDock keeps it; this one only reads it")
            with suppress(OSError):
                return read_state(self._folder, self._subjects, self._window_ms)
            return None
        except OSError as error:
            self._fail(error)
            return None
        try:
            state = self._open().load()
        except UnavailableError:
            raise
        except OSError as error:
            self._fail(error)
            return None
        if state is not None and state.saved_ms:
            ago = duration(max(0.0, time.time() - state.saved_ms / 1000))
            log.info("state: back to where it was saved %s ago", ago)
        return state

    def _own(self) -> None:
        """Own the folder, another one too that was put in its place."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._lock is not None and not self._lock.is_of(self._folder):
            self._lock.close()
            self._lock = None
        self._lock = self._lock or Lock(self._folder)

    def _open(self) -> Store:
        """Own the folder and open the file in it."""
        self._own()
        self._store = Store(self._folder, self._subjects, self._window_ms)
        return self._store

    def _fail(self, error: OSError) -> None:
        self._close_store()
        self._tried_at = self._monotonic()
        seconds = max(self._save_seconds, RETRY_SECONDS)
        self._troubles.failed(f"{error}; running from memory", seconds, needs_owner=True)

    def _close_store(self) -> None:
        self._marks.clear()  # they are in the window: nothing is kept twice
        if self._store is not None:
            self._store.close()
            self._store = None


def _day(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}"
