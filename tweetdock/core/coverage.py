"""Which stretches of time a feed has seen completely, and the grade that follows from it."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from tweetdock.core.post import Batch, Feed, Late, Span, Trouble
from tweetdock.core.times import HOUR_MS, MINUTE_MS, duration

ENOUGH_POSTS = 20  # an hour, to know how late they are
LATE_MARGIN = 1.25  # the next post may be later than the latest of the last hour


class Grade(StrEnum):
    """How far a reading can be trusted, best first."""

    EXACT = "exact"
    FILLING = "filling"
    PARTIAL = "partial"
    STALE = "stale"


_BEST_FIRST = list(Grade)


def worst(grades: Iterable[Grade]) -> Grade:
    """The worst of some grades; it decides the whole."""
    return max(grades, key=_BEST_FIRST.index)


class Spans:
    """A union of stretches of time: disjoint, sorted, each (since, until] in unix milliseconds."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._since: list[int] = []
        self._until: list[int] = []
        for span in spans:
            self.add(span)

    def add(self, span: Span) -> None:
        """Unite with one more stretch; an empty or backward one adds nothing."""
        if span.until_ms <= span.since_ms:
            return
        first = bisect_left(self._until, span.since_ms)
        last = bisect_right(self._since, span.until_ms)
        since, until = span
        if first < last:
            since = min(since, self._since[first])
            until = max(until, self._until[last - 1])
        self._since[first:last] = [since]
        self._until[first:last] = [until]

    def forget_before(self, ms: int) -> None:
        """Forget all that lies at `ms` or earlier."""
        gone = bisect_right(self._until, ms)
        del self._since[:gone], self._until[:gone]
        if self._since:
            self._since[0] = max(self._since[0], ms)

    def gaps(self, within: Span) -> list[Span]:
        """The stretches of `within` that are not in the union, oldest first."""
        found = []
        start = within.since_ms
        for since, until in zip(self._since, self._until, strict=True):
            if until <= start:
                continue
            if since >= within.until_ms:
                break
            if since > start:
                found.append(Span(start, since))
            start = until
        if start < within.until_ms:
            found.append(Span(start, within.until_ms))
        return found

    def __and__(self, other: Iterable[Span]) -> "Spans":
        """What is in both."""
        both = Spans()
        for since, until in other:
            first, last = bisect_right(self._until, since), bisect_left(self._since, until)
            for known_since, known_until in zip(
                self._since[first:last], self._until[first:last], strict=True
            ):
                both.add(Span(max(since, known_since), min(until, known_until)))
        return both

    def __sub__(self, other: Iterable[Span]) -> "Spans":
        """What is in this one alone."""
        others = Spans(other)
        return Spans(gap for span in self for gap in others.gaps(span))

    def __iter__(self) -> Iterator[Span]:
        return map(Span, self._since, self._until)

    @property
    def until_ms(self) -> int | None:
        """The end of the latest stretch; None while there is none."""
        return self._until[-1] if self._until else None


class Known(Spans):
    """What a feed has seen for certain.

    late_ms: so long after they were written posts may show in it. A moment is certain once it was
    read when it was older than that.
    """

    def __init__(self, spans: Iterable[Span] = (), late_ms: int = 0) -> None:
        super().__init__(spans)
        self.late_ms = late_ms


class Lateness:
    """How long after they were written posts show in a feed, by those of the last hour.

    What is assumed holds until an hour was measured, and while too few posts are known.
    known_ms: what was measured before a restart, which holds for an hour instead; 0: nothing was.
    """

    def __init__(self, late: Late, window_ms: int, started_ms: int, known_ms: int = 0) -> None:
        self._late = late
        # Of a short window at least half is shown to be certain before anything is measured.
        self._assumed_ms = min(late.assumed_ms, window_ms // 2)
        self._started_ms = started_ms
        self._known_ms = known_ms
        self._minutes: dict[int, tuple[int, int]] = {}  # of each: posts, how late the latest was

    def ms(self, now_ms: int) -> int:
        """How late a post may be; 0: none ever is."""
        usual_ms = 0
        if not self._is_measured(now_ms):
            known_ms = self._known_ms if now_ms - self._started_ms < HOUR_MS else 0
            usual_ms = known_ms or self._assumed_ms
        return max(self._late.least_ms, usual_ms, self._hour(now_ms)[1])

    def to_keep_ms(self, now_ms: int) -> int:
        """What a restart is to know of it; 0: no more than it assumes by itself."""
        late_ms = self.ms(now_ms)
        is_news = self._is_measured(now_ms) or late_ms > self._late.assumed_ms
        return late_ms if is_news else 0

    def note(self, late_ms: int, now_ms: int) -> None:
        """A post was so late."""
        minute = now_ms // MINUTE_MS
        if minute not in self._minutes:
            self._minutes = {m: of for m, of in self._minutes.items() if m > minute - 60}
        posts, latest_ms = self._minutes.get(minute, (0, 0))
        self._minutes[minute] = posts + 1, max(latest_ms, round(late_ms * LATE_MARGIN))

    def _is_measured(self, now_ms: int) -> bool:
        return self._hour(now_ms)[0] >= ENOUGH_POSTS and now_ms - self._started_ms >= HOUR_MS

    def _hour(self, now_ms: int) -> tuple[int, int]:
        last = now_ms // MINUTE_MS
        hour = [of for minute, of in self._minutes.items() if last - 60 < minute <= last]
        return sum(posts for posts, _ in hour), max((late for _, late in hour), default=0)


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a source's counts are worth: its grade, the share covered (0..1), a plain sentence.

    certain_ms: up to when every post of the window is counted.
    """

    grade: Grade
    covered: float
    detail: str
    certain_ms: int

    def as_partial(self) -> "Assessment":
        """The same with stale taken as partial: a lower bound beside sources that do deliver."""
        return replace(self, grade=Grade.PARTIAL) if self.grade is Grade.STALE else self

    def doubted(self, doubt: str, floor_ms: int) -> "Assessment":
        """The same as partial at most, as there is a doubt; none if that is empty.

        floor_ms: the beginning of the window, of which nothing is certain then.
        """
        if not doubt:
            return self
        detail = "; ".join(filter(None, (doubt, self.detail)))
        return Assessment(worst((self.grade, Grade.PARTIAL)), self.covered, detail, floor_ms)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is kept of a Coverage: what the feed saw and could not read, when it last delivered.

    late_ms: how late its posts may be, if that is more than assumed, or measured; 0: neither.
    """

    spans: tuple[Span, ...]
    unreadable: tuple[int, ...]
    heard_ms: int
    late_ms: int = 0


class Coverage:
    """What one feed has seen of the window, when it last delivered, and what is wrong with it.

    A feed may have several channels: each has a trouble of its own, what they see is one.
    seen: what an earlier Coverage had seen, to go on from.
    """

    def __init__(
        self, feed: Feed, *, window_ms: int, started_ms: int, seen: Seen | None = None
    ) -> None:
        self._feed = feed
        self._window_ms = window_ms
        # Of a window hardly longer than the lag, at least the first quarter must be there.
        self._most_lag_ms = window_ms * 3 // 4
        self._heard_ms = seen.heard_ms if seen else started_ms
        self._has_delivered = seen is not None
        self._spans = Spans(seen.spans if seen else ())
        is_fresh = seen is not None and started_ms - seen.heard_ms < HOUR_MS
        known_ms = seen.late_ms if seen and is_fresh else 0
        self._lateness = Lateness(feed.late, window_ms, started_ms, known_ms)
        self._read = Spans(self._spans)  # for certain or not
        self._asked_ms = 0  # when the last reading of it was
        self._unreadable = set(seen.unreadable if seen else ())
        self._troubles: dict[str, str] = {}
        self._resting: set[str] = set()
        self._lost: dict[str, str] = {}
        self._doubt = ""
        self._remark = ""

    def seen(self, now_ms: int) -> Seen | None:
        """What to keep; None while the feed has not delivered."""
        if not self._has_delivered:
            return None
        unreadable = tuple(sorted(self._unreadable))
        late_ms = self._lateness.to_keep_ms(now_ms)
        return Seen(tuple(self._spans), unreadable, self._heard_ms, late_ms)

    def known(self, now_ms: int) -> Known:
        """What the feed has seen for certain."""
        return Known(self._spans, self._lateness.ms(now_ms))

    @property
    def heard_ms(self) -> int | None:
        """When the feed last delivered; None: never."""
        return self._heard_ms if self._has_delivered else None

    def add_batch(self, batch: Batch, at_ms: int, new_ms: Iterable[int] = ()) -> None:
        """The feed has delivered: of what it covers it has seen all but what it could not read.

        new_ms: when those of its posts were written that were not known.
        """
        self._heard_ms = at_ms
        self._has_delivered = True
        self._troubles.pop(batch.channel, None)
        self._resting.discard(batch.channel)
        self._lost[batch.channel] = batch.lost
        self._doubt = batch.doubt
        self._remark = batch.remark
        self._unreadable.update(batch.unreadable)
        # Nobody has read what is still to come, whatever a server's clock says.
        read_ms = at_ms if batch.read_ms is None else min(batch.read_ms, at_ms)
        if batch.read_ms is not None and self._feed.late.least_ms:
            self._measure(new_ms, read_ms, at_ms)
        if batch.covers is not None:
            since_ms, until_ms = batch.covers
            self._asked_ms = read_ms
            self._read.add(Span(since_ms, min(until_ms, read_ms)))
            self._spans.add(Span(since_ms, min(until_ms, read_ms - self._lateness.ms(at_ms))))

    def _measure(self, new_ms: Iterable[int], read_ms: int, at_ms: int) -> None:
        """Note how late the posts were that a reading has brought.

        One is late if its moment had been read before, and did not show it. What is old and was
        never read tells nothing; nor does what showed while nobody asked.
        """
        if read_ms - self._asked_ms > self._feed.lag_ms:
            self._read = Spans(self._spans)
        young_ms = read_ms - self._lateness.ms(at_ms)
        for created_ms in new_ms:
            moment = Span(created_ms - 1, created_ms)
            is_late = not self._read.gaps(moment)
            if is_late or created_ms > young_ms:
                self._lateness.note(read_ms - created_ms if is_late else 0, at_ms)
            if not self._spans.gaps(moment):
                self._spans &= [Span(0, read_ms - self._lateness.ms(at_ms))]

    def add_trouble(self, trouble: Trouble) -> None:
        """The feed has no answer now; until it has, a gap is not being filled."""
        self._troubles[trouble.channel] = trouble.detail
        (self._resting.add if trouble.by_choice else self._resting.discard)(trouble.channel)

    def forget_before(self, ms: int) -> None:
        """Forget all that lies at `ms` or earlier."""
        for spans in (self._spans, self._read):
            spans.forget_before(ms)
        self._unreadable = {moment for moment in self._unreadable if moment > ms}

    def is_silent(self, now_ms: int, stale_ms: int) -> bool:
        """Whether nothing was heard for longer than `stale_ms`."""
        return now_ms - self._heard_ms > stale_ms

    def assess(self, now_ms: int, stale_ms: int) -> Assessment:
        """Grade the window (now - window, now]."""
        floor_ms = now_ms - self._window_ms
        lag_ms = self._feed.lag_ms + self._lateness.ms(now_ms)
        due_ms = now_ms - min(lag_ms, self._most_lag_ms)
        gaps = self._spans.gaps(Span(floor_ms, now_ms))
        missing = sum(max(0, min(until, due_ms) - since) for since, until in gaps)
        whole = due_ms - floor_ms
        # Rounded down: 1.0 is said of nothing less.
        covered = (whole - missing) * 10_000 // whole / 10_000 if self._has_delivered else 0.0
        unreadable = sum(ms > floor_ms for ms in self._unreadable)
        # When those were written nobody knows but that it was no later.
        certain_ms = floor_ms if unreadable else gaps[0].since_ms if gaps else now_ms
        grade, detail = self._grade(now_ms, stale_ms, covered, unreadable)
        detail = "; ".join(filter(None, (detail, self._remark)))
        return Assessment(grade, covered, detail, certain_ms).doubted(self._doubt, floor_ms)

    def _grade(
        self, now_ms: int, stale_ms: int, covered: float, unreadable: int
    ) -> tuple[Grade, str]:
        trouble = next(iter(self._troubles.values()), "")
        if self.is_silent(now_ms, stale_ms) and not self._resting:
            silence = duration((now_ms - self._heard_ms) / 1000)
            return Grade.STALE, f"no data for {silence}" + (f": {trouble}" if trouble else "")
        # An outage counts before it has made a gap, but not a failure that the next try mends.
        is_failing = trouble != "" and self.is_silent(now_ms, self._feed.lag_ms // 2)
        if covered == 1.0 and not is_failing:
            if not unreadable:
                return Grade.EXACT, trouble
            posts = "post" if unreadable == 1 else "posts"
            return Grade.PARTIAL, f"{unreadable} {posts} of this window could not be read"
        if reason := trouble or next(filter(None, self._lost.values()), ""):
            return Grade.PARTIAL, reason
        if (late_ms := self._lateness.ms(now_ms)) > self._most_lag_ms:
            late = f"posts show up to {duration(late_ms / 1000)} after they were written"
            return Grade.PARTIAL, late
        percent = round(covered * 10_000) // 100
        return Grade.FILLING, f"reading back: {percent}% of the window seen"
