"""The gauge itself, without clock, wire or hand: batches go in, readings come out."""

from collections.abc import Iterable, Iterator, Mapping

from tweetdock.counter import Mark, SlidingWindow
from tweetdock.coverage import Assessment, Coverage, Grade, Seen, worst
from tweetdock.memory import Keepsake, Memory, News, ScaleState
from tweetdock.post import Batch, Raw, Trouble
from tweetdock.reading import DialReading, Reading, SourceReading
from tweetdock.scaler import AutoScale, Scale, make_scale
from tweetdock.settings import DIALS, DialSettings, Settings


class Gauge:
    """The sliding window, what is known of it per source, and the two scales.

    lags_ms: the sources by name, each with how far behind now it usually is.
    memory: what to go on from. Its salt, up to 16 bytes, is for the windows' fingerprints: random
    where strangers' posts come in.
    """

    def __init__(
        self,
        settings: Settings,
        lags_ms: Mapping[str, int],
        now_ms: int,
        memory: Memory = Memory(salt=b""),  # noqa: B008 - it cannot change
    ) -> None:
        self._settings = settings
        self._window_ms = round(settings.window_seconds * 1000)
        self._stale_ms = round(settings.stale_seconds * 1000)
        self._whole = SlidingWindow(self._window_ms, now_ms, memory.salt)
        self._coverage = {
            name: Coverage(lag_ms=lag_ms, started_ms=now_ms, seen=memory.seen.get(name))
            for name, lag_ms in lags_ms.items()
        }
        # One source's window is the whole; several get one each, since they may bring the same.
        is_one = len(lags_ms) == 1
        self._windows = {
            n: self._whole if is_one else SlidingWindow(self._window_ms, now_ms, memory.salt)
            for n in lags_ms
        }
        self._scales = {dial: self._make_scale(dial, memory) for dial in DIALS}
        self.remember(memory.keepsakes)

    @property
    def seen(self) -> dict[str, Seen]:
        """What each source that has spoken has seen."""
        return {name: seen for name, c in self._coverage.items() if (seen := c.seen)}

    @property
    def scales(self) -> dict[str, ScaleState]:
        """Where the automatic scales stand, by dial."""
        return {
            dial: ScaleState(scale.full_scale, scale.roomy_since_ms)
            for dial, scale in self._scales.items()
            if isinstance(scale, AutoScale)
        }

    def keepsakes(self) -> Iterator[Keepsake]:
        """Every mark of every source's window."""
        for name, window in self._windows.items():
            for mark in window.marks():
                yield Keepsake(name, mark)

    def remember(self, keepsakes: Iterable[Keepsake]) -> None:
        """Put marks into the windows, of sources that there still are."""
        for source, mark in keepsakes:
            for window in self._windows_of(source) if source in self._windows else ():
                window.put(mark)

    def forget(self, now_ms: int) -> None:
        """Take nothing as seen any more: the posts of it are lost."""
        for coverage in self._coverage.values():
            coverage.forget_before(now_ms)

    def take(self, word: Batch | Trouble, now_ms: int) -> News:
        """Take a source's word, come at `now_ms`; tell what was not known before."""
        coverage = self._coverage[word.source]
        if isinstance(word, Trouble):
            coverage.ail(word.detail)
            return News()
        coverage.hear(now_ms, word.covers, word.unreadable)
        coverage.forget_before(now_ms - self._window_ms)
        self._whole.advance(now_ms)
        self._windows[word.source].advance(now_ms)
        fresh = self._fresh(word.raw, now_ms - self._window_ms)
        windows = self._windows_of(word.source)
        kept: list[Mark] = []
        for post in word.posts:
            kept += [mark for window in windows if (mark := window.add(post))][:1]
        for gone in word.removals:
            marks = [window.remove(gone.key, gone.at_ms) for window in windows]
            kept += [mark for mark in marks if mark][:1]
        # What no post in the window stands for, such as a later version, is remembered by itself.
        for raw in fresh:
            if not self._whole.knows(raw.version):
                kept += self._note_archived(word.source, raw.version, now_ms)
        return News(tuple(Keepsake(word.source, mark) for mark in kept), fresh)

    def recall_archived(self, source: str, versions: Iterable[str], now_ms: int) -> list[Keepsake]:
        """Learn that these versions of posts are in the archive already."""
        unknown = [version for version in versions if not self._is_archived(version)]
        marks = [m for version in unknown for m in self._note_archived(source, version, now_ms)]
        return [Keepsake(source, mark) for mark in marks]

    def shift(self, by_ms: int, now_ms: int) -> None:
        """The clock was corrected by so much and says `now_ms`."""
        for coverage in self._coverage.values():
            coverage.shift(by_ms)
            coverage.forget_before(now_ms - self._window_ms)
        for window in {id(w): w for w in (self._whole, *self._windows.values())}.values():
            window.advance(now_ms)

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

    def _fresh(self, raws: tuple[Raw, ...], floor_ms: int) -> tuple[Raw, ...]:
        # Of what is too old for the window it is not known any more whether it was archived.
        by_version = {
            raw.version: raw for raw in raws if not raw.post or raw.post.created_ms > floor_ms
        }
        return tuple(raw for raw in by_version.values() if not self._is_archived(raw.version))

    def _is_archived(self, version: str) -> bool:
        return self._whole.knows(version) or self._whole.knows(_archived(version))

    def _note_archived(self, source: str, version: str, now_ms: int) -> list[Mark]:
        key = _archived(version)
        marks = [window.remove(key, now_ms) for window in self._windows_of(source)]
        return [mark for mark in marks if mark][:1]

    def _windows_of(self, source: str) -> list[SlidingWindow]:
        own = self._windows[source]
        return [own] if own is self._whole else [self._whole, own]

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

    def _make_scale(self, dial: str, memory: Memory) -> Scale:
        scale = make_scale(self._dial(dial).scale)
        if isinstance(scale, AutoScale) and dial in memory.scales:
            return AutoScale(*memory.scales[dial])
        return scale

    def _dial(self, dial: str) -> DialSettings:
        return self._settings.tweets if dial == "tweets" else self._settings.tweeters


def _archived(version: str) -> str:
    # Beside the keys of posts, which it must not be taken for.
    return f"archived {version}"
