"""Which stretches of time a feed has seen completely, and the grade that follows from it."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from tweetdock.core.post import Batch, Span, Trouble
from tweetdock.core.times import duration

AHEAD_MS = 60_000  # so much a server's clock may be ahead of ours; its posts are by it, too


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


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a source's counts are worth: its grade, the share covered (0..1), a plain sentence."""

    grade: Grade
    covered: float
    detail: str

    def as_partial(self) -> "Assessment":
        """The same with stale taken as partial: a lower bound beside sources that do deliver."""
        return replace(self, grade=Grade.PARTIAL) if self.grade is Grade.STALE else self


@dataclass(frozen=True, slots=True)
class Seen:
    """What is kept of a Coverage: what the feed saw and could not read, when it last delivered."""

    spans: tuple[Span, ...]
    unreadable: tuple[int, ...]
    heard_ms: int


class Coverage:
    """What one feed has seen of the window, when it last delivered, and what is wrong with it.

    A feed may have several channels: each has a trouble of its own, what they see is one.
    lag_ms: how far behind now the feed usually is; a shorter stretch at the end is no gap.
    seen: what an earlier Coverage had seen, to go on from.
    """

    def __init__(self, *, lag_ms: int, started_ms: int, seen: Seen | None = None) -> None:
        self._lag_ms = lag_ms
        self._heard_ms = seen.heard_ms if seen else started_ms
        self._has_delivered = seen is not None
        self._spans = Spans(seen.spans if seen else ())
        self._unreadable = set(seen.unreadable if seen else ())
        self._troubles: dict[str, str] = {}
        self._resting: set[str] = set()
        self._lost: dict[str, str] = {}
        self._doubt = ""
        self._remark = ""

    @property
    def seen(self) -> Seen | None:
        """What to keep; None while the feed has not delivered."""
        if not self._has_delivered:
            return None
        return Seen(self.spans, tuple(sorted(self._unreadable)), self._heard_ms)

    @property
    def spans(self) -> tuple[Span, ...]:
        """What the feed has seen."""
        return tuple(self._spans)

    @property
    def heard_ms(self) -> int | None:
        """When the feed last delivered; None: never."""
        return self._heard_ms if self._has_delivered else None

    def add_batch(self, batch: Batch, at_ms: int) -> None:
        """The feed has delivered: of what it covers it has seen all but what it could not read."""
        self._heard_ms = at_ms
        self._has_delivered = True
        self._troubles.pop(batch.channel, None)
        self._resting.discard(batch.channel)
        self._lost[batch.channel] = batch.lost
        self._doubt = batch.doubt
        self._remark = batch.remark
        self._unreadable.update(batch.unreadable)
        if batch.covers is not None:
            self._spans.add(self._plausible(batch.covers, batch.channel, at_ms))

    def _plausible(self, span: Span, channel: str, at_ms: int) -> Span:
        since_ms, until_ms = span
        if until_ms > at_ms + AHEAD_MS:
            # Nobody covers the future, whatever a server's clock says.
            ahead = duration((until_ms - at_ms) / 1000)
            self._lost[channel] = f"its clock is ahead by {ahead}"
        return Span(since_ms, min(until_ms, at_ms + AHEAD_MS))

    def add_trouble(self, trouble: Trouble) -> None:
        """The feed has no answer now; until it has, a gap is not being filled."""
        self._troubles[trouble.channel] = trouble.detail
        (self._resting.add if trouble.by_choice else self._resting.discard)(trouble.channel)

    def forget_before(self, ms: int) -> None:
        """Forget all that lies at `ms` or earlier."""
        self._spans.forget_before(ms)
        self._unreadable = {moment for moment in self._unreadable if moment > ms}

    def is_silent(self, now_ms: int, stale_ms: int) -> bool:
        """Whether nothing was heard for longer than `stale_ms`."""
        return now_ms - self._heard_ms > stale_ms

    def assess(self, now_ms: int, window_ms: int, stale_ms: int) -> Assessment:
        """Grade the window (now - window, now]."""
        floor = now_ms - window_ms
        # Of a window hardly longer than the lag, at least the first quarter must be there.
        due = Span(floor, now_ms - min(self._lag_ms, window_ms * 3 // 4))
        missing = sum(gap.until_ms - gap.since_ms for gap in self._spans.gaps(due))
        whole = due.until_ms - due.since_ms
        # Rounded down: 1.0 is said of nothing less.
        covered = (whole - missing) * 10_000 // whole / 10_000 if self._has_delivered else 0.0
        found = self._grade(now_ms, window_ms, stale_ms, covered)
        detail = "; ".join(text for text in (found.detail, self._remark) if text)
        return replace(found, detail=detail)

    def _grade(self, now_ms: int, window_ms: int, stale_ms: int, covered: float) -> Assessment:
        trouble = next(iter(self._troubles.values()), "")
        if self.is_silent(now_ms, stale_ms) and not self._resting:
            silence = duration((now_ms - self._heard_ms) / 1000)
            reason = f": {trouble}" if trouble else ""
            return Assessment(Grade.STALE, covered, f"no data for {silence}{reason}")
        if self._doubt:
            return Assessment(Grade.PARTIAL, covered, self._doubt)
        # An outage counts before it has made a gap, but not a failure that the next try mends.
        is_failing = trouble != "" and self.is_silent(now_ms, self._lag_ms // 2)
        if covered == 1.0 and not is_failing:
            return _grade_whole(trouble, sum(ms > now_ms - window_ms for ms in self._unreadable))
        if reason := trouble or next(filter(None, self._lost.values()), ""):
            return Assessment(Grade.PARTIAL, covered, reason)
        percent = round(covered * 10_000) // 100
        return Assessment(Grade.FILLING, covered, f"reading back: {percent}% of the window seen")


def _grade_whole(trouble: str, unreadable: int) -> Assessment:
    if not unreadable:
        return Assessment(Grade.EXACT, 1.0, trouble)
    posts = "post" if unreadable == 1 else "posts"
    return Assessment(Grade.PARTIAL, 1.0, f"{unreadable} {posts} of this window could not be read")
