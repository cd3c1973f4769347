"""The board as Prometheus reads it: looked up when it asks, and by nobody else."""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any

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
from tweetdock.show.board import BUCKETS, Board, Delays

Rows = Iterable[tuple[list[str], float]]


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

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on when one asks."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        yield Info("tweetdock_build", "Which TweetDock this is.", value={"version": __version__})
        reading = self._board.current_reading
        if reading is not None:
            yield from _of_reading(reading, self._board.silence_seconds)
        yield from self._of_feeds()
        yield from self._of_process()

    def _of_feeds(self) -> Iterator[Metric]:
        feeds = self._board.feeds
        yield _counter(
            "tweetdock_answers",
            "Answers and messages taken from a feed.",
            (([feed], stats.answers) for feed, stats in feeds.items()),
        )
        yield _counter(
            "tweetdock_faults",
            "Times that a feed could not be had.",
            (([feed], stats.faults) for feed, stats in feeds.items()),
        )
        yield _counter(
            "tweetdock_posts_read",
            "Posts in a feed's answers, those seen before included.",
            (([feed], stats.posts) for feed, stats in feeds.items()),
        )
        cost = self._board.health.cost_usd()
        if cost is not None:
            yield _one("tweetdock_cost_usd", "What today (UTC) has cost at X, in US dollars.", cost)

    def _of_process(self) -> Iterator[Metric]:
        health = self._board.health
        needles = health.needles()
        yield _gauge(
            "tweetdock_needle_angle_degrees",
            "Where a needle is now.",
            ["dial"],
            (([name], angle) for name, angle in needles.items()),
        )
        is_up = bool(needles) and not health.servo_trouble()
        yield _one("tweetdock_servos_up", "Whether the needles can be moved.", is_up)
        yield _gauge(
            "tweetdock_thread_up",
            "Whether a thread lives.",
            ["thread"],
            (([name], lives) for name, lives in health.threads().items()),
        )
        yield _delays(self._board.delays)
        yield _one(
            "tweetdock_loop_silence_seconds",
            "For how long there has been no new reading.",
            self._board.silence_seconds,
        )
        yield _one("tweetdock_watchers", "How many follow the page live.", self._watchers())


def _of_reading(reading: Reading, silence: float) -> Iterator[Metric]:
    yield _one("tweetdock_posts", "Unique posts in the window.", reading.posts)
    yield _one("tweetdock_authors", "Unique authors in the window.", reading.authors)
    yield _one("tweetdock_window_seconds", "How long the window is.", reading.window_seconds)
    yield _one(
        "tweetdock_reading_timestamp_seconds",
        "When the reading is of, by the clock of what is counted.",
        reading.at_ms / 1000,
    )
    yield _gauge(
        "tweetdock_grade",
        "How far the reading can be trusted: 1 for its grade, 0 for the others.",
        ["grade"],
        (([grade], grade == reading.grade) for grade in Grade),
    )
    yield _one(
        "tweetdock_covered_ratio",
        "The share of the window that all sources have seen completely.",
        reading.covered,
    )
    yield _one("tweetdock_demo", "Whether the posts are made up.", reading.demo)
    yield _one("tweetdock_replay", "Whether the posts are of another time.", reading.replay)
    yield from _of_dials(reading)
    yield from _of_sources(reading, silence)


def _of_dials(reading: Reading) -> Iterator[Metric]:
    for name, meaning, field in (
        ("tweetdock_dial_position_ratio", "Where a needle is to be on its scale.", "position"),
        ("tweetdock_dial_angle_degrees", "Where a needle is to be.", "angle"),
        ("tweetdock_dial_full_scale", "The count at the end of a dial's scale.", "full_scale"),
        ("tweetdock_dial_pegged", "Whether the count is beyond the scale.", "pegged"),
        ("tweetdock_dial_known", "Whether the needle shows the count; else it rests.", "known"),
    ):
        rows = (([dial], getattr(it, field)) for dial, it in reading.dials.items())
        yield _gauge(name, meaning, ["dial"], rows)


def _of_sources(reading: Reading, silence: float) -> Iterator[Metric]:
    sources = reading.sources
    for name, meaning, field in (
        ("tweetdock_source_posts", "Unique posts in the window from a source.", "posts"),
        ("tweetdock_source_authors", "Unique authors in the window from a source.", "authors"),
        ("tweetdock_source_covered_ratio", "The share of the window that it has seen.", "covered"),
    ):
        rows = (([source], getattr(it, field)) for source, it in sources.items())
        yield _gauge(name, meaning, ["source"], rows)
    yield _gauge(
        "tweetdock_source_lag_seconds",
        "How long ago a source last spoke; absent while it never has.",
        ["source"],
        (
            ([source], max(0.0, (reading.at_ms - it.heard_ms) / 1000) + silence)
            for source, it in sources.items()
            if it.heard_ms is not None
        ),
    )
    yield _gauge(
        "tweetdock_source_grade",
        "How far a source can be trusted: 1 for its grade, 0 for the others.",
        ["source", "grade"],
        (([name, grade], grade == it.grade) for name, it in sources.items() for grade in Grade),
    )


def _delays(delays: Delays) -> Metric:
    # The board counts each bucket by itself; Prometheus wants to know how many up to its end.
    ends = [*map(str, BUCKETS), "+Inf"]
    return Histogram(
        "tweetdock_loop_delay_seconds",
        "How late the loop was to take up what was due.",
        buckets=list(zip(ends, accumulate(delays.counts), strict=True)),
        sum_value=delays.seconds,
    )


def _one(name: str, meaning: str, value: float) -> Metric:
    return Gauge(name, meaning, value=float(value))


def _gauge(name: str, meaning: str, labels: list[str], rows: Rows) -> Metric:
    return _filled(Gauge(name, meaning, labels=labels), rows)


def _counter(name: str, meaning: str, rows: Rows) -> Metric:
    return _filled(Counter(name, meaning, labels=["feed"]), rows)


def _filled(metric: Any, rows: Rows) -> Metric:
    for labels, value in rows:
        metric.add_metric(labels, float(value))
    filled: Metric = metric
    return filled
