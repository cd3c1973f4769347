"""The gauge itself, without clock, network or servo: batches go in, readings come out."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tweetdock.core.counter import NOBODY, Mark, SlidingWindow
from tweetdock.core.coverage import Assessment, Coverage, Grade, Known, Seen, worst
from tweetdock.core.dial import DIALS, DialSpan
from tweetdock.core.post import Batch, Feed, Raw, Removal, Tally, Trouble, network_of
from tweetdock.core.reading import DialReading, Reading, SourceReading
from tweetdock.core.scaler import AutoScale, Scale, make_scale


class SourceMark(NamedTuple):
    """A mark to remember, and the source that brought it."""

    source: str
    mark: Mark


class ScaleState(NamedTuple):
    """Where a dial's automatic scale stands."""

    full_scale: int
    roomy_since_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """All that a gauge needs to go on as if it had never ended.

    salt: of the marks. seen: by feed. scales: by dial, the automatic ones.
    """

    salt: bytes
    marks: Iterable[SourceMark] = ()
    seen: Mapping[str, Seen] = field(default_factory=dict)
    scales: Mapping[str, ScaleState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fresh:
    """What of a batch was not known before: marks to keep, raw posts for the archive."""

    marks: tuple[SourceMark, ...] = ()
    raw: tuple[Raw, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeSettings:
    """The settings that the gauge itself needs.

    stale_seconds: by the clock that the gauge is read by. dials: by name, as in DIALS.
    hashtags, subject, demo, replay: as its readings show them.
    """

    window_seconds: float
    stale_seconds: float
    dials: Mapping[str, DialSpan]
    hashtags: tuple[str, ...] = ()
    subject: str = ""
    demo: bool = False
    replay: bool = False


class Gauge:
    """The sliding window, what of it each feed has seen, and the two scales.

    saved: what to go on from. Its salt, up to 16 bytes, is for the windows' fingerprints: random
    where strangers' posts come in.
    """

    def __init__(
        self,
        settings: GaugeSettings,
        feeds: Iterable[Feed],
        now_ms: int,
        saved: Saved = Saved(salt=b""),
    ) -> None:
        self._settings = settings
        self._window_ms = round(settings.window_seconds * 1000)
        self._stale_ms = round(settings.stale_seconds * 1000)
        self._whole = SlidingWindow(self._window_ms, now_ms, saved.salt)
        self._feeds = {feed.name: feed for feed in feeds}
        self._coverage = {
            name: Coverage(
                feed, window_ms=self._window_ms, started_ms=now_ms, seen=saved.seen.get(name)
            )
            for name, feed in self._feeds.items()
        }
        sources = dict.fromkeys(feed.source for feed in self._feeds.values())
        # One source's window is the whole; several get one each, since they may bring the same.
        self._windows = {
            source: self._whole
            if len(sources) == 1
            else SlidingWindow(self._window_ms, now_ms, saved.salt)
            for source in sources
        }
        self._tallies: dict[str, Tally] = {}
        self._scales = {dial: self._make_scale(dial, saved) for dial in DIALS}
        self.remember(saved.marks)

    @property
    def seen(self) -> dict[str, Seen]:
        """What each feed that has delivered has seen, and of which the posts are still known."""
        now_ms = self._whole.now_ms
        for coverage in self._coverage.values():
            coverage.forget_before(now_ms - self._window_ms)
        return {name: seen for name, c in self._coverage.items() if (seen := c.seen(now_ms))}

    def known(self, feed: str, now_ms: int) -> Known:
        """What a feed has seen for certain."""
        return self._coverage[feed].known(now_ms)

    @property
    def scales(self) -> dict[str, ScaleState]:
        """Where the automatic scales stand, by dial."""
        return {
            dial: ScaleState(scale.full_scale, scale.roomy_since_ms)
            for dial, scale in self._scales.items()
            if isinstance(scale, AutoScale)
        }

    def marks(self) -> Iterator[SourceMark]:
        """Every mark of every source's window."""
        for name, window in self._windows.items():
            for mark in window.marks():
                yield SourceMark(name, mark)

    def remember(self, marks: Iterable[SourceMark]) -> None:
        """Put marks into the windows, except those of sources that are no more."""
        for source, mark in marks:
            if source in self._windows:
                self._windows[source].put(mark)
        if len(self._windows) == 1:
            return
        for _, mark in self.marks():
            if mark.author != NOBODY:
                self._whole.put(mark)
        for _, mark in self.marks():
            # What one source has removed another may still have.
            if mark.author == NOBODY and not self._counts(mark.key):
                self._whole.put(mark)

    def deliver(self, message: Batch | Trouble, now_ms: int) -> Fresh:
        """Count what a feed delivers at `now_ms`; what of it was not known before."""
        coverage = self._coverage[message.feed]
        if isinstance(message, Trouble):
            coverage.add_trouble(message)
            return Fresh()
        if message.tally is not None:
            self._tallies[message.source] = message.tally
        elif message.covers is not None:
            self._tallies.pop(message.source, None)
        self._whole.advance(now_ms)
        self._windows[message.source].advance(now_ms)
        fresh = self._new_raws(message.raw, now_ms - self._window_ms)
        own = self._windows[message.source]
        kept: list[Mark] = []
        new_ms: list[int] = []
        for post in message.posts:
            known = len(own)
            if mark := own.add(post):
                if own is not self._whole:
                    self._whole.put(mark)
                kept.append(mark)
                new_ms += [mark.at_ms] if len(own) > known else []
        coverage.add_batch(message, now_ms, new_ms)
        coverage.forget_before(now_ms - self._window_ms)
        for gone in message.removals:
            kept += self._remove(message.source, gone)
        # What is not the post in the window itself, such as a later version, is remembered apart.
        for raw in fresh:
            if not self._whole.knows(raw.version):
                kept += self._note_archived(message.source, raw.version, now_ms)
        return Fresh(tuple(SourceMark(message.source, mark) for mark in kept), fresh)

    def is_archived(self, version: str) -> bool:
        """Whether a version of a post is known: if it is kept, it is in the archive."""
        return self._whole.knows(version) or self._whole.knows(_archived(version))

    def recall_archived(self, source: str, version: str, now_ms: int) -> list[SourceMark]:
        """Note that a version of a post is in the archive already; the new marks."""
        return [SourceMark(source, mark) for mark in self._note_archived(source, version, now_ms)]

    def read(self, now_ms: int, doubt: str = "") -> Reading:
        """The reading at `now_ms`; doubt: why it may be another time."""
        floor_ms, found = now_ms - self._window_ms, self._assess(now_ms)
        assessments = {name: one.doubted(doubt, floor_ms) for name, one in found.items()}
        for window in (self._whole, *self._windows.values()):
            window.advance(now_ms)
        grade = worst(assessment.grade for assessment in assessments.values())
        tallied = {} if grade is Grade.EXACT else self._tallied(now_ms)
        counts = {
            "tweets": self._whole.posts + sum(tallied.values()),
            # Of these posts nobody knows the authors.
            "tweeters": None if any(tallied.values()) else self._whole.authors,
        }
        return Reading(
            at_ms=now_ms,
            hashtags=self._settings.hashtags,
            window_seconds=self._settings.window_seconds,
            posts=self._whole.posts + sum(tallied.values()),
            authors=self._whole.authors,
            grade=grade,
            covered=min(assessment.covered for assessment in assessments.values()),
            certain_ms=min(assessment.certain_ms for assessment in assessments.values()),
            sources={
                name: SourceReading(
                    posts=self._windows[name].posts + tallied.get(name, 0),
                    authors=self._windows[name].authors,
                    grade=assessment.grade,
                    covered=assessment.covered,
                    detail=assessment.detail,
                    certain_ms=assessment.certain_ms,
                    heard_ms=self._heard_ms(name),
                )
                for name, assessment in assessments.items()
            },
            dials={n: self._read_dial(n, counts[n], grade, now_ms) for n in DIALS},
            demo=self._settings.demo,
            replay=self._settings.replay,
            subject=self._settings.subject,
        )

    def whole_feeds(self, now_ms: int) -> set[str]:
        """The feeds that have seen the whole window, up to their usual lag."""
        return {name for name, found in self._assess_feeds(now_ms).items() if found.covered == 1.0}

    def _tallied(self, now_ms: int) -> dict[str, int]:
        """How many posts there are by a tally beyond those that any source has brought."""
        floor = now_ms - self._window_ms
        return {
            source: max(0, tally.posts - self._posts_of(network_of(source)))
            for source, tally in self._tallies.items()
            if tally.at_ms > floor
        }

    def _posts_of(self, network: str) -> int:
        """How many posts of a network there are in the window, whichever source brought them."""
        others = [w.posts for source, w in self._windows.items() if network_of(source) != network]
        return self._whole.posts - sum(others)

    def _new_raws(self, raws: tuple[Raw, ...], floor_ms: int) -> tuple[Raw, ...]:
        # Of what is too old for the window it is not known any more whether it was archived.
        by_version = {
            raw.version: raw for raw in raws if not raw.post or raw.post.created_ms > floor_ms
        }
        return tuple(raw for raw in by_version.values() if not self.is_archived(raw.version))

    def _note_archived(self, source: str, version: str, now_ms: int) -> list[Mark]:
        return self._remove(source, Removal(_archived(version), now_ms))

    def _remove(self, source: str, gone: Removal) -> list[Mark]:
        """Remove a post from a source's window, and from the whole if no other has it."""
        mark = self._windows[source].remove(gone.key, gone.at_ms, gone.created_ms)
        if mark is None:
            return []
        if not self._counts(mark.key):
            self._whole.remove(gone.key, gone.at_ms, gone.created_ms)
        return [mark]

    def _counts(self, key: int) -> bool:
        """Whether any source has a post, by its key's fingerprint."""
        return any(window.counts(key) for window in self._windows.values())

    def _assess_feeds(self, now_ms: int) -> dict[str, Assessment]:
        return {
            name: coverage.assess(now_ms, self._stale_ms)
            for name, coverage in self._coverage.items()
        }

    def _assess(self, now_ms: int) -> dict[str, Assessment]:
        """How far each source's counts can be trusted."""
        found = self._assess_feeds(now_ms)
        if any(assessment.grade is not Grade.STALE for assessment in found.values()):
            # While any feed delivers, a silent one makes the counts a lower bound, no more.
            found = {name: assessment.as_partial() for name, assessment in found.items()}
        return {source: self._sum_up(source, found) for source in self._windows}

    def _sum_up(self, source: str, found: Mapping[str, Assessment]) -> Assessment:
        """How far one source's counts can be trusted, given the assessments of all feeds."""
        own = [(feed, found[n]) for n, feed in self._feeds.items() if feed.source == source]
        return Assessment(
            worst(assessment.grade for _, assessment in own),
            min(assessment.covered for _, assessment in own),
            "; ".join(_naming_server(feed, one.detail) for feed, one in own if one.detail),
            min(assessment.certain_ms for _, assessment in own),
        )

    def _heard_ms(self, source: str) -> int | None:
        """When any of a source's feeds last delivered."""
        own = [self._coverage[n] for n, feed in self._feeds.items() if feed.source == source]
        return max((c.heard_ms for c in own if c.heard_ms is not None), default=None)

    def _read_dial(self, dial: str, count: int | None, grade: Grade, now_ms: int) -> DialReading:
        limits = self._settings.dials[dial]
        scale, is_known = self._scales[dial], count is not None
        if count is None:
            count = self._whole.authors
        position = scale.position(count, now_ms) if is_known else 0.0
        full_scale = scale.full_scale
        if grade is Grade.STALE:
            position = 0.0
        angle = limits.min_angle + position * (limits.max_angle - limits.min_angle)
        return DialReading(
            count=count,
            position=round(position, 6),
            full_scale=full_scale,
            angle=round(angle, 3),
            pegged=is_known and count > full_scale,
            known=is_known,
            scale=limits.scale,
            min_angle=limits.min_angle,
            max_angle=limits.max_angle,
        )

    def _make_scale(self, dial: str, saved: Saved) -> Scale:
        scale = make_scale(self._settings.dials[dial].scale)
        if isinstance(scale, AutoScale) and dial in saved.scales:
            return AutoScale(*saved.scales[dial])
        return scale


def _naming_server(feed: Feed, detail: str) -> str:
    """A feed's sentence; which server it is about is said once."""
    is_clear = not feed.server or detail.startswith(feed.server)
    return detail if is_clear else f"{feed.server}: {detail}"


def _archived(version: str) -> str:
    # Beside the keys of posts, which it must not be taken for.
    return f"archived {version}"
