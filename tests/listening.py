"""What counts, without threads and files: one clock, one vote on it, and a gauge, in told time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from tweetdock.core.clock import Clock, TimeVote, is_off
from tweetdock.core.coverage import Grade, Known
from tweetdock.core.gauge import Gauge, GaugeSettings, Saved
from tweetdock.core.post import Batch, Trouble
from tweetdock.core.reading import Reading
from tweetdock.sources.polling import Source

Cursors = Callable[[str], str]


class Time(Protocol):
    """Seconds since the epoch, as a test lets them pass."""

    def __call__(self) -> float: ...


class Listening:
    """Takes in what sources deliver, and begins anew from what was saved when the clock steps.

    make: the sources, by the clock and the cursors. off_by: so many seconds is the machine's own
    clock wrong. stepped: called when the clock has stepped and the sources are others.
    """

    def __init__(
        self,
        settings: GaugeSettings,
        time: Time,
        make: Callable[[Clock, Cursors], list[Source]],
        *,
        off_by: float = 0.0,
        monotonic: Time | None = None,
        stepped: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._time, self._monotonic, self._off_by = time, monotonic or time, off_by
        self._make = make
        self._stepped = stepped
        self.messages: list[Batch | Trouble] = []
        self.archived: list[str] = []  # versions of posts, as they would stand in an archive
        self.cursors: dict[str, str] = {}
        self.saved = Saved(salt=b"")
        self._saved_cursors: dict[str, str] = {}
        self.restart()

    def restart(self) -> None:
        """End as by a kill, and begin with what was saved last."""
        self.clock = Clock(lambda: self._time() + self._off_by, self._monotonic)
        self._vote: TimeVote | None = None
        self._open(self.saved)

    def save(self) -> None:
        """Save what there is."""
        self.saved = Saved(salt=b"", marks=list(self.gauge.marks()), seen=self.gauge.seen)
        self._saved_cursors = dict(self.cursors)

    def deliver(self, message: Batch | Trouble) -> None:
        """Count a message, or set the clock by it and begin anew."""
        self.messages.append(message)
        if message.server_ms is not None and self._steps_the_clock(message):
            seen = {n: of for n, of in self.saved.seen.items() if n not in self._heard}
            self._open(replace(self.saved, seen=seen))
            if isinstance(message, Batch):
                self._count(message)
            self._stepped()
        else:
            self._count(message)

    def seen(self, feed: str) -> Known:
        """What a feed has seen for certain."""
        return self.gauge.known(feed, self.clock.now_ms())

    def read(self) -> Reading:
        """The reading now."""
        return self.gauge.read(self.clock.now_ms())

    @property
    def batches(self) -> list[Batch]:
        """What was delivered."""
        return [message for message in self.messages if isinstance(message, Batch)]

    @property
    def troubles(self) -> list[str]:
        """What the sources said of their troubles."""
        return [message.detail for message in self.messages if isinstance(message, Trouble)]

    def assert_exact(self, truth: tuple[int, int], but_for: str = "") -> None:
        """The counts are these, and said to be exact; `but_for` excuses the latter."""
        reading = self.read()
        (source,) = reading.sources.values()
        grade = Grade.EXACT if but_for and but_for in source.detail else reading.grade
        assert (reading.posts, reading.authors, grade) == (*truth, Grade.EXACT), reading

    def _open(self, saved: Saved) -> None:
        self._heard: set[str] = set()
        self.cursors = dict(self._saved_cursors)
        self.sources = self._make(self.clock, lambda feed: self.cursors.get(feed, ""))
        feeds = [source.feed for source in self.sources]
        self._vote = self._vote or TimeVote([feed.name for feed in feeds])
        now_ms = self.clock.now_ms()
        self.gauge = Gauge(self._settings, feeds, now_ms, saved)
        for version in self.archived:
            self.gauge.recall_archived(feeds[0].source, version, now_ms)

    def _steps_the_clock(self, message: Batch | Trouble) -> bool:
        assert self._vote is not None
        assert message.server_ms is not None
        monotonic_ms = self.clock.monotonic_ms()
        self._vote.cast(message.feed, message.server_ms, monotonic_ms)
        agreed_ms = self._vote.winner(self.clock.machine_ms(), monotonic_ms)
        if agreed_ms is None or not is_off(agreed_ms, self.clock.now_ms()):
            return False
        return self.clock.set(agreed_ms)

    def _count(self, message: Batch | Trouble) -> None:
        if isinstance(message, Batch):
            self._heard.add(message.feed)
            self.cursors[message.feed] = message.cursor
            if self._vote:
                message = self._vote.doubted(
                    message, self.clock.now_ms(), self.clock.monotonic_ms()
                )
        fresh = self.gauge.deliver(message, self.clock.now_ms())
        self.archived += [raw.version for raw in fresh.raw]


class Unseeing:
    """A listener that hands messages on and has seen nothing."""

    def __init__(self, deliver: Callable[[Batch | Trouble], object]) -> None:
        self._deliver = deliver

    def deliver(self, message: Batch | Trouble) -> None:
        """Hand it on."""
        self._deliver(message)

    def seen(self, _feed: str) -> Known:
        """Nothing."""
        return Known()
