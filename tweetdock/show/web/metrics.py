"""The board as Prometheus reads it: looked up when it asks, and by nobody else."""

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from operator import attrgetter
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import HistogramMetricFamily as Histogram
from prometheus_client.core import InfoMetricFamily as Info
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from tweetdock import __version__
from tweetdock.core.coverage import Grade
from tweetdock.core.reading import Reading
from tweetdock.show.board import BUCKETS, Board, FeedStats

Labels = TypeVar("Labels", bound=tuple[str, ...])

# Names, without what all of ours begin with, what they mean, and how each is read.
OF_READING = (
    ("posts", "Unique posts in the window.", attrgetter("posts")),
    ("authors", "Unique authors in the window.", attrgetter("authors")),
    ("window_seconds", "How long the window is.", attrgetter("window_seconds")),
    (
        "covered_ratio",
        "The share of the window that all sources have seen completely.",
        attrgetter("covered"),
    ),
    ("demo", "Whether the posts are made up.", attrgetter("demo")),
    ("replay", "Whether the posts are of another time.", attrgetter("replay")),
)
ONE_HOT = "1 for its grade, 0 for the others."
OF_DIALS = (
    ("position_ratio", "Where a needle is to be on its scale.", attrgetter("position")),
    ("angle_degrees", "Where a needle is to be.", attrgetter("angle")),
    ("full_scale", "The count at the end of a dial's scale.", attrgetter("full_scale")),
    ("pegged", "Whether the count is beyond the scale.", attrgetter("pegged")),
    ("known", "Whether the needle shows the count; else it rests.", attrgetter("known")),
)
OF_SOURCES = (
    ("posts", "Unique posts in the window from a source.", attrgetter("posts")),
    ("authors", "Unique authors in the window from a source.", attrgetter("authors")),
    ("covered_ratio", "The share of the window that it has seen.", attrgetter("covered")),
)
OF_FEEDS = (
    ("answers", "Answers and messages taken from a feed.", attrgetter("answers")),
    ("faults", "Times that a feed could not be had.", attrgetter("faults")),
    ("posts_read", "Posts in a feed's answers, those seen before included.", attrgetter("posts")),
)
SEAMS = "Posts that only a second connection to Bluesky has brought, as the first had missed them."


class Metrics(Collector):
    """All that is told of the gauge; watchers: how many follow the page now."""

    def __init__(self, board: Board, watchers: Callable[[], int]) -> None:
        self._board = board
        self._watchers = watchers
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """The metrics as text, and which kind of it: what was asked for by `Accept`."""
        try:
            encode, kind = choose_encoder(accept)
        except (TypeError, ValueError):  # a version was asked for that is no number
            encode, kind = choose_encoder("")
        return encode(self._registry), kind

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        board, health = self._board, self._board.health
        yield Info("tweetdock_build", "Which TweetDock this is.", value={"version": __version__})
        if board.current_reading is not None:
            yield from _of_reading(board.current_reading, board.silence_seconds)
        for name, meaning, read in OF_FEEDS:
            values = {(feed,): read(stats) for feed, stats in board.feeds.items()}
            yield _filled(Counter(f"tweetdock_{name}", meaning, labels=["feed"]), values)
        missed = {(): board.feeds.get("bluesky", FeedStats()).missed}
        yield _filled(Counter("tweetdock_bluesky_seam_posts", SEAMS), missed)
        needles = {(name,): angle for name, angle in health.needles().items()}
        threads = {(name,): lives for name, lives in health.threads().items()}
        is_up = bool(needles) and not health.servo_trouble()
        cost = "What today (UTC) has cost at X, in US dollars."
        yield _gauge("cost_usd", cost, {(): health.cost_usd()})
        yield _gauge("needle_angle_degrees", "Where a needle is now.", needles, "dial")
        yield _gauge("servos_up", "Whether the needles can be moved.", {(): is_up})
        yield _gauge("thread_up", "Whether a thread lives.", threads, "thread")
        silence = "For how long there has been no new reading."
        yield _gauge("loop_silence_seconds", silence, {(): board.silence_seconds})
        yield _gauge("watchers", "How many follow the page live.", {(): self._watchers()})
        # The board counts each bucket by itself; Prometheus wants to know how many up to its end.
        ends = [*map(str, BUCKETS), "+Inf"]
        yield Histogram(
            "tweetdock_loop_delay_seconds",
            "How late the loop was to take up what was due.",
            buckets=list(zip(ends, accumulate(board.delays.counts), strict=True)),
            sum_value=board.delays.seconds,
        )


def _of_reading(reading: Reading, silence: float) -> Iterator[Metric]:
    dials, sources = reading.dials.items(), reading.sources.items()
    for name, meaning, read in OF_READING:
        yield _gauge(name, meaning, {(): read(reading)})
    when = "When the reading is of, by the clock of what is counted."
    yield _gauge("reading_timestamp_seconds", when, {(): reading.at_ms / 1000})
    certain = "Up to when every post of the window is counted."
    yield _gauge("certain_timestamp_seconds", certain, {(): reading.certain_ms / 1000})
    each_certain = {(source,): it.certain_ms / 1000 for source, it in sources}
    yield _gauge("source_certain_timestamp_seconds", certain, each_certain, "source")
    for name, meaning, read in OF_DIALS:
        yield _gauge(f"dial_{name}", meaning, {(dial,): read(it) for dial, it in dials}, "dial")
    for name, meaning, read in OF_SOURCES:
        values = {(source,): read(it) for source, it in sources}
        yield _gauge(f"source_{name}", meaning, values, "source")
    lags = {
        (source,): max(0.0, (reading.at_ms - it.heard_ms) / 1000) + silence
        for source, it in sources
        if it.heard_ms is not None
    }
    lag = "How long ago a source last spoke; absent while it never has."
    yield _gauge("source_lag_seconds", lag, lags, "source")
    grades = {(grade,): grade == reading.grade for grade in Grade}
    yield _gauge("grade", f"How far the reading can be trusted: {ONE_HOT}", grades, "grade")
    each = {(source, grade): grade == it.grade for source, it in sources for grade in Grade}
    trust = f"How far a source can be trusted: {ONE_HOT}"
    yield _gauge("source_grade", trust, each, "source", "grade")


def _gauge(name: str, meaning: str, values: Mapping[Labels, float | None], *labels: str) -> Metric:
    return _filled(Gauge(f"tweetdock_{name}", meaning, labels=labels), values)


def _filled(metric: Gauge | Counter, values: Mapping[Labels, float | None]) -> Metric:
    """The metric with its values by labels; one that is not known is absent."""
    for labels, value in values.items():
        if value is not None:
            metric.add_metric(labels, float(value))
    return metric
