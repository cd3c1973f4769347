"""The gauge by histories: what sources say goes in, and what the owner sees comes out."""

import json
from dataclasses import dataclass, field

import pytest

from tweetdock.coverage import Grade
from tweetdock.gauge import Gauge
from tweetdock.post import Batch, Feed, Post, Removal, Span, Trouble
from tweetdock.reading import Reading
from tweetdock.settings import Settings

START = 1_790_000_000_000
WINDOW = 3_600_000
STALE = 300_000
X_LAG = 45_000
LAGS = {"x": X_LAG, "bluesky": 5_000}
LEAST = {"TWEETDOCK_HASHTAGS": "dockercon,docker", "X_BEARER_TOKEN": "token"}


@dataclass
class History:
    """A gauge and the time by which it is told."""

    lags_ms: dict[str, int] = field(default_factory=lambda: {"x": X_LAG})
    env: dict[str, str] = field(default_factory=dict)
    demo: bool = False

    def __post_init__(self) -> None:
        self.now = START
        settings = Settings.from_env(LEAST | self.env, demo=self.demo)
        self.gauge = Gauge(settings, [Feed(*lag) for lag in self.lags_ms.items()], START)
        self.heard = dict.fromkeys(self.lags_ms, START - WINDOW)

    def say(self, source: str, *posts: Post, removals: tuple[Removal, ...] = ()) -> None:
        """The source has seen all up to now."""
        span = Span(self.heard[source], self.now)
        self.heard[source] = self.now
        self.gauge.take(Batch(source=source, posts=posts, removals=removals, covers=span), self.now)

    def fail(self, source: str, detail: str) -> None:
        self.gauge.take(Trouble(source=source, detail=detail), self.now)

    def read(self) -> Reading:
        return self.gauge.read(self.now)


def post(number: int, *, author: int = 1, at: int = START - 1) -> Post:
    return Post(key=f"x:{number}", author=f"x:{author}", created_ms=at)


def posts(count: int, *, authors: int = 1) -> list[Post]:
    return [post(number, author=number % authors) for number in range(count)]


def test_before_the_first_word_the_gauge_is_filling_at_zero() -> None:
    reading = History().read()
    assert (reading.posts, reading.authors) == (0, 0)
    assert (reading.grade, reading.covered) == (Grade.FILLING, 0.0)
    assert [dial.position for dial in reading.dials.values()] == [0.0, 0.0]


def test_posts_and_authors_are_counted_once_each() -> None:
    history = History()
    history.say("x", post(1), post(2), post(1), post(3, author=2))
    reading = history.read()
    assert (reading.posts, reading.authors) == (3, 2)
    assert (reading.grade, reading.covered) == (Grade.EXACT, 1.0)
    assert reading.dials["tweets"].count == 3
    assert reading.dials["tweeters"].count == 2


def test_posts_leave_with_the_window_and_their_authors_with_the_last_of_them() -> None:
    history = History()
    history.say("x", post(1, at=START - 10), post(2, at=START), post(3, author=2, at=START - 10))
    history.now = START + WINDOW - 10
    history.say("x")
    assert (history.read().posts, history.read().authors) == (1, 1)
    history.now = START + WINDOW
    assert (history.read().posts, history.read().authors) == (0, 0)


def test_two_sources_that_bring_the_same_post_count_it_once() -> None:
    history = History(LAGS)
    history.say("x", post(1), post(2, author=2))
    history.say("bluesky", post(2, author=2), post(3, author=3), post(4, author=3))
    reading = history.read()
    assert (reading.posts, reading.authors) == (4, 3)
    assert (reading.sources["x"].posts, reading.sources["x"].authors) == (2, 2)
    assert (reading.sources["bluesky"].posts, reading.sources["bluesky"].authors) == (3, 2)
    history.now += WINDOW
    reading = history.read()
    assert reading.posts == reading.sources["x"].posts == reading.sources["bluesky"].posts == 0


def test_the_worst_source_decides_the_whole() -> None:
    history = History(LAGS)
    history.say("x", post(1))
    history.gauge.take(Batch(source="bluesky", covers=Span(START - WINDOW // 2, START)), START)
    reading = history.read()
    assert reading.sources["x"].grade is Grade.EXACT
    assert reading.sources["bluesky"].grade is reading.grade is Grade.FILLING
    assert reading.covered == reading.sources["bluesky"].covered < 1.0
    history.fail("bluesky", "no route to the relay")
    reading = history.read()
    assert reading.grade is Grade.PARTIAL
    assert reading.sources["bluesky"].detail == "no route to the relay"
    history.say("bluesky")
    assert history.read().grade is Grade.EXACT


def test_an_outage_is_exact_then_partial_then_stale_then_exact() -> None:
    history = History()
    history.say("x", *posts(5))
    grades = []
    for seconds in (0, 20, 25, 299, 301):
        history.now = START + seconds * 1000
        history.fail("x", "no route to X")
        grades.append(history.read().grade.value)
    assert grades == ["exact", "exact", "partial", "partial", "stale"]
    history.say("x", post(9))
    reading = history.read()
    assert (reading.grade, reading.posts) == (Grade.EXACT, 6)


def test_when_all_sources_are_silent_the_needles_rest_and_the_counts_stay() -> None:
    history = History(env={"TWEETDOCK_TWEETS_MIN_ANGLE": "-45"})
    history.say("x", *posts(8, authors=4))
    assert history.read().dials["tweets"].position == 0.8
    history.now += STALE + 1
    reading = history.read()
    assert reading.grade is Grade.STALE
    assert (reading.posts, reading.authors) == (8, 4)
    assert (reading.dials["tweets"].count, reading.dials["tweets"].full_scale) == (8, 10)
    assert [dial.position for dial in reading.dials.values()] == [0.0, 0.0]
    assert [dial.angle for dial in reading.dials.values()] == [-45.0, 0.0]


def test_a_silent_source_beside_one_that_speaks_is_partial_and_the_needles_go_on() -> None:
    history = History(LAGS)
    history.say("x", *posts(5))
    history.say("bluesky")
    history.now += STALE + 1
    assert history.read().grade is Grade.STALE
    history.say("bluesky")
    reading = history.read()
    assert reading.grade is reading.sources["x"].grade is Grade.PARTIAL
    assert reading.sources["x"].detail == "no word for 5 min"
    assert reading.sources["bluesky"].grade is Grade.EXACT
    assert reading.dials["tweets"].position == 0.5


def test_a_corrected_clock_is_no_silence() -> None:
    history = History()
    hours = 10 * WINDOW
    history.now += hours
    history.gauge.shift(hours, history.now)
    assert history.read().grade is Grade.FILLING
    history.heard["x"] += hours
    history.say("x", post(1, at=history.now - 1))
    assert (history.read().grade, history.read().posts) == (Grade.EXACT, 1)


def test_a_removed_post_counts_no_more_in_the_whole_and_in_its_source() -> None:
    history = History(LAGS)
    history.say("x", post(1), post(2, author=2))
    history.say("bluesky", post(2, author=2), removals=(Removal("x:2", START),))
    reading = history.read()
    assert (reading.posts, reading.authors) == (1, 1)
    assert reading.sources["bluesky"].posts == 0
    history.say("x", post(2, author=2))
    assert history.read().posts == 1


def test_unreadable_posts_make_the_reading_partial() -> None:
    history = History()
    history.gauge.take(
        Batch(source="x", covers=Span(START - WINDOW, START), unreadable=(START - 5,)), START
    )
    reading = history.read()
    assert (reading.grade, reading.covered) == (Grade.PARTIAL, 1.0)
    assert reading.sources["x"].detail == "1 post of this window could not be read"


def test_a_count_above_a_fixed_scale_pegs_at_its_end() -> None:
    history = History(env={"TWEETDOCK_TWEETS_SCALE": "linear:10"})
    history.say("x", *posts(10))
    assert not history.read().dials["tweets"].pegged
    history.say("x", post(99))
    tweets = history.read().dials["tweets"]
    assert tweets.pegged
    assert (tweets.count, tweets.position, tweets.angle) == (11, 1.0, 180.0)


def test_an_automatic_scale_never_pegs() -> None:
    history = History()
    history.say("x", *posts(1234))
    tweets = history.read().dials["tweets"]
    assert (tweets.position, tweets.full_scale, tweets.pegged) == (0.617, 2000, False)


@pytest.mark.parametrize(("count", "angle"), [(0, -90.0), (5, -30.0), (10, 30.0), (20, 30.0)])
def test_the_angle_goes_from_the_least_to_the_most(count: int, angle: float) -> None:
    env = {
        "TWEETDOCK_TWEETERS_SCALE": "linear:10",
        "TWEETDOCK_TWEETERS_MIN_ANGLE": "-90",
        "TWEETDOCK_TWEETERS_MAX_ANGLE": "30",
    }
    history = History(env=env)
    history.say("x", *posts(count, authors=count or 1))
    assert history.read().dials["tweeters"].angle == angle


def test_each_dial_has_the_scale_of_its_own() -> None:
    env = {"TWEETDOCK_TWEETS_SCALE": "linear:200", "TWEETDOCK_TWEETERS_SCALE": "log:15"}
    history = History(env=env)
    history.say("x", *posts(50, authors=3))
    dials = history.read().dials
    assert (dials["tweets"].full_scale, dials["tweets"].position) == (200, 0.25)
    assert (dials["tweeters"].full_scale, dials["tweeters"].position) == (15, 0.5)


@pytest.mark.parametrize("demo", [False, True])
def test_the_json_is_that_of_the_contract(*, demo: bool) -> None:
    history = History(demo=demo)
    history.say("x", *posts(412, authors=287))
    written = json.loads(json.dumps(history.read().as_json()))
    assert written == {
        "at": "2026-09-21T14:13:20.000Z",
        "hashtags": ["dockercon", "docker"],
        "window_seconds": 3600,
        "posts": 412,
        "authors": 287,
        "grade": "exact",
        "covered": 1.0,
        "sources": {
            "x": {"posts": 412, "authors": 287, "grade": "exact", "covered": 1.0, "detail": ""}
        },
        "dials": {
            "tweets": {
                "count": 412,
                "position": 0.824,
                "full_scale": 500,
                "angle": 148.32,
                "pegged": False,
                "known": True,
            },
            "tweeters": {
                "count": 287,
                "position": 0.574,
                "full_scale": 500,
                "angle": 103.32,
                "pegged": False,
                "known": True,
            },
        },
        "demo": demo,
        "replay": False,
    }
