"""The gauge itself, without clock, wire or hand: batches go in, readings come out."""

from collections.abc import Mapping

from tweetdock.counter import SlidingWindow
from tweetdock.coverage import Assessment, Coverage, Grade, worst
from tweetdock.post import Batch, Trouble
from tweetdock.reading import DialReading, Reading, SourceReading
from tweetdock.scaler import make_scale
from tweetdock.settings import DIALS, DialSettings, Settings


class Gauge:
    """The sliding window, what is known of it per source, and the two scales.

    lags_ms: the sources by name, each with how far behind now it usually is.
    salt: up to 16 bytes for the windows' fingerprints, random where strangers' posts come in.
    """

    def __init__(
        self, settings: Settings, lags_ms: Mapping[str, int], now_ms: int, salt: bytes = b""
    ) -> None:
        self._settings = settings
        self._window_ms = round(settings.window_seconds * 1000)
        self._stale_ms = round(settings.stale_seconds * 1000)
        self._whole = SlidingWindow(self._window_ms, now_ms, salt)
        self._coverage = {n: Coverage(lag_ms=lag, started_ms=now_ms) for n, lag in lags_ms.items()}
        # One source's window is the whole; several get one each, since they may bring the same.
        is_one = len(lags_ms) == 1
        self._windows = {
            n: self._whole if is_one else SlidingWindow(self._window_ms, now_ms, salt)
            for n in lags_ms
        }
        self._scales = {dial: make_scale(self._dial(dial).scale) for dial in DIALS}

    def take(self, word: Batch | Trouble, now_ms: int) -> None:
        """Take a source's word, come at `now_ms`."""
        coverage = self._coverage[word.source]
        if isinstance(word, Trouble):
            coverage.ail(word.detail)
            return
        coverage.hear(now_ms, word.covers, word.unreadable)
        own = self._windows[word.source]
        for window in {id(w): w for w in (self._whole, own)}.values():
            window.advance(now_ms)
            for post in word.posts:
                window.add(post)
            for removal in word.removals:
                window.remove(removal.key, removal.at_ms)

    def shift(self, by_ms: int) -> None:
        """The clock was corrected by so much."""
        for coverage in self._coverage.values():
            coverage.shift(by_ms)

    def read(self, now_ms: int) -> Reading:
        """The reading at `now_ms`."""
        assessments = self._assess(now_ms)
        for window in (self._whole, *self._windows.values()):
            window.advance(now_ms)
        grade = worst(assessment.grade for assessment in assessments.values())
        counts = {"tweets": self._whole.posts, "tweeters": self._whole.authors}
        return Reading(
            at_ms=now_ms,
            hashtags=self._settings.hashtags,
            window_seconds=self._settings.window_seconds,
            posts=self._whole.posts,
            authors=self._whole.authors,
            grade=grade,
            covered=min(assessment.covered for assessment in assessments.values()),
            sources={
                name: SourceReading(
                    posts=self._windows[name].posts,
                    authors=self._windows[name].authors,
                    grade=assessment.grade,
                    covered=assessment.covered,
                    detail=assessment.detail,
                )
                for name, assessment in assessments.items()
            },
            dials={n: self._read_dial(n, counts[n], grade, now_ms) for n in DIALS},
            demo=self._settings.demo,
        )

    def _assess(self, now_ms: int) -> dict[str, Assessment]:
        found = {
            name: coverage.assess(now_ms, self._window_ms, self._stale_ms)
            for name, coverage in self._coverage.items()
        }
        if all(assessment.grade is Grade.STALE for assessment in found.values()):
            return found
        # While any source speaks, a silent one makes the counts a lower bound, no more.
        return {name: assessment.as_partial() for name, assessment in found.items()}

    def _read_dial(self, dial: str, count: int, grade: Grade, now_ms: int) -> DialReading:
        limits = self._dial(dial)
        position = self._scales[dial].position(count, now_ms)
        full_scale = self._scales[dial].full_scale
        if grade is Grade.STALE:
            position = 0.0
        angle = limits.min_angle + position * (limits.max_angle - limits.min_angle)
        return DialReading(
            count=count,
            position=round(position, 6),
            full_scale=full_scale,
            angle=round(angle, 3),
            pegged=count > full_scale,
        )

    def _dial(self, dial: str) -> DialSettings:
        return self._settings.tweets if dial == "tweets" else self._settings.tweeters
