"""The gauge by histories: what sources say goes in, and what the owner sees comes out."""

import json
from dataclasses import dataclass, field, replace

import pytest

from tweetdock.core.coverage import Grade
from tweetdock.core.gauge import Gauge, Saved
from tweetdock.core.post import Batch, Feed, Late, Post, Removal, Span, Tally, Trouble
from tweetdock.core.reading import Reading
from tweetdock.settings.gauge import Settings

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
        self.gauge = Gauge(settings.gauge, [Feed(*lag) for lag in self.lags_ms.items()], START)
        self.heard = dict.fromkeys(self.lags_ms, START - WINDOW)

    def say(self, source: str, *posts: Post, removals: tuple[Removal, ...] = ()) -> None:
        """The source has seen all up to now."""
        span = Span(self.heard[source], self.now)
        self.heard[source] = self.now
        self.gauge.deliver(
            Batch(source=source, posts=posts, removals=removals, covers=span), self.now
        )

    def fail(self, source: str, detail: str) -> None:
        self.gauge.deliver(Trouble(source=source, detail=detail), self.now)

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
    history.gauge.deliver(Batch(source="bluesky", covers=Span(START - WINDOW // 2, START)), START)
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
    assert reading.sources["x"].detail == "no data for 5 min"
    assert reading.sources["bluesky"].grade is Grade.EXACT
    assert reading.dials["tweets"].position == 0.5


def test_a_removed_post_counts_no_more_in_the_whole_and_in_its_source() -> None:
    history = History(LAGS)
    history.say("x", post(1), post(2, author=2))
    history.say("bluesky")
    history.say("x", post(2, author=2), removals=(Removal("x:2", START),))
    reading = history.read()
    assert (reading.posts, reading.authors) == (1, 1)
    assert reading.sources["x"].posts == 1
    history.say("x", post(2, author=2))
    assert history.read().posts == 1


def test_unreadable_posts_make_the_reading_partial() -> None:
    history = History()
    history.gauge.deliver(
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


def test_a_dial_says_by_what_setting_it_is_drawn() -> None:
    """After a restart with another setting an open page turned the new angle on the old marks."""
    env = {
        "TWEETDOCK_TWEETS_SCALE": "log:1000",
        "TWEETDOCK_TWEETS_MIN_ANGLE": "-60",
        "TWEETDOCK_TWEETS_MAX_ANGLE": "60",
    }
    dials = History(env=env).read().dials
    tweets, tweeters = dials["tweets"], dials["tweeters"]
    assert (tweets.scale, tweets.min_angle, tweets.max_angle) == ("log:1000", -60.0, 60.0)
    assert (tweeters.scale, tweeters.min_angle, tweeters.max_angle) == ("auto", 0.0, 180.0)


QUERY = {"TWEETDOCK_X_QUERY": "from:nasa #moon"}
FOLLOWING = {"TWEETDOCK_SOURCES": "x-stream", "TWEETDOCK_FOLLOW": "@nasa"}
REPLAYS = "replay:/home/me/one.jsonl,replay:/srv/two.gz"


@pytest.mark.parametrize(
    ("env", "hashtags", "heading"),
    [
        ({}, ("dockercon", "docker"), "#dockercon #docker"),
        (QUERY, (), "from:nasa #moon"),
        (QUERY | {"TWEETDOCK_HASHTAGS": ""}, (), "from:nasa #moon"),
        (
            QUERY | {"TWEETDOCK_SOURCES": "x,bluesky"},
            ("dockercon", "docker"),
            "from:nasa #moon #dockercon #docker",
        ),
        (FOLLOWING | {"TWEETDOCK_HASHTAGS": ""}, (), "@nasa"),
        (FOLLOWING, ("dockercon", "docker"), "#dockercon #docker @nasa"),
        ({"TWEETDOCK_SOURCES": REPLAYS}, (), "one.jsonl two.gz"),
    ],
)
def test_a_reading_is_headed_by_what_is_counted_and_by_nothing_else(
    env: dict[str, str], hashtags: tuple[str, ...], heading: str
) -> None:
    """Hashtags left beside a query were shown, and a replay was `A query of X`."""
    reading = History(env=env).read()
    assert (reading.hashtags, reading.heading) == (hashtags, heading)
    assert reading.as_json()["hashtags"] == hashtags


def test_the_subject_has_what_is_counted_beside_the_hashtags() -> None:
    def subject(env: dict[str, str]) -> object:
        return History(env=env).read().as_json()["subject"]

    assert subject(QUERY | {"TWEETDOCK_SOURCES": "x,bluesky"}) == (
        "from:nasa #moon #dockercon #docker"
    )
    assert subject(FOLLOWING) == "#dockercon #docker @nasa"
    assert subject({"TWEETDOCK_SOURCES": f"bluesky,{REPLAYS}"}) == (
        "#dockercon #docker one.jsonl two.gz"
    )


def test_a_subject_can_be_written_down_whatever_the_query_has() -> None:
    """In an environment there may be bytes that are no text, which no encoding takes."""
    env = {"TWEETDOCK_X_QUERY": "from:a\nb", "TWEETDOCK_SOURCES": "x,replay:\udcffa.gz"}
    assert History(env=env).read().subject == "from:a b  a.gz"


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
            "x": {
                "posts": 412,
                "authors": 287,
                "grade": "exact",
                "covered": 1.0,
                "detail": "",
                "heard_at": "2026-09-21T14:13:20.000Z",
                "certain_until": "2026-09-21T14:13:20.000Z",
            }
        },
        "certain_until": "2026-09-21T14:13:20.000Z",
        "dials": {
            "tweets": {
                "count": 412,
                "position": 0.824,
                "full_scale": 500,
                "angle": 148.32,
                "pegged": False,
                "known": True,
                "scale": "auto",
                "min_angle": 0.0,
                "max_angle": 180.0,
            },
            "tweeters": {
                "count": 287,
                "position": 0.574,
                "full_scale": 500,
                "angle": 103.32,
                "pegged": False,
                "known": True,
                "scale": "auto",
                "min_angle": 0.0,
                "max_angle": 180.0,
            },
        },
        "demo": demo,
        "replay": False,
        "subject": "#dockercon #docker",
    }


SERVERS = [Feed("mastodon", 5_000, "a.example"), Feed("mastodon", 5_000, "b.example")]


def servers_seen(*covered: str) -> Gauge:
    """A gauge of two servers, of which some have seen the window, with the same post."""
    gauge = Gauge(Settings.from_env(LEAST).gauge, SERVERS, START)
    for server in covered:
        word = Batch(
            source="mastodon",
            server=server,
            posts=(post(1),),
            covers=Span(START - WINDOW, START),
        )
        gauge.deliver(word, START)
    return gauge


def test_a_source_of_several_servers_is_exact_when_each_has_seen_the_window() -> None:
    reading = servers_seen("a.example", "b.example").read(START)
    assert (reading.posts, reading.sources["mastodon"].grade) == (1, Grade.EXACT)


def test_a_source_of_several_servers_is_as_good_as_the_worst_and_names_it() -> None:
    gauge = servers_seen("a.example")
    source = gauge.read(START).sources["mastodon"]
    assert (source.posts, source.grade, source.covered) == (1, Grade.FILLING, 0.0)
    assert source.detail == "b.example: reading back: 0% of the window seen"
    closed = Trouble(source="mastodon", server="b.example", detail="b.example has closed its feed")
    gauge.deliver(closed, START)
    source = gauge.read(START).sources["mastodon"]
    assert (source.grade, source.detail) == (Grade.PARTIAL, "b.example has closed its feed")
    assert gauge.whole_feeds(START) == {"mastodon a.example"}


def counted(posts: int, at: int = START) -> Batch:
    return Batch(source="x", tally=Tally(posts, at))


def spent() -> Trouble:
    return Trouble(source="x", detail="the budget is spent", by_choice=True)


def test_posts_that_were_only_counted_move_the_tweets_dial_and_rest_the_other() -> None:
    history = History()
    history.say("x", *posts(5, authors=3))
    history.now += X_LAG + 1
    history.gauge.deliver(counted(40, history.now), history.now)
    history.gauge.deliver(spent(), history.now)
    reading = history.read()
    assert (reading.posts, reading.authors, reading.grade) == (40, 3, Grade.PARTIAL)
    assert (reading.dials["tweets"].count, reading.dials["tweets"].known) == (40, True)
    tweeters = reading.dials["tweeters"]
    assert (tweeters.count, tweeters.known, tweeters.position) == (3, False, 0.0)


def test_a_count_that_posts_explain_leaves_both_dials_alone() -> None:
    history = History()
    history.say("x", *posts(40, authors=3))
    history.now += X_LAG + 1
    history.gauge.deliver(counted(40), history.now)
    assert history.read().dials["tweeters"].known


def test_a_count_is_forgotten_when_posts_are_read_again_or_its_window_has_passed() -> None:
    history = History()
    history.gauge.deliver(counted(40), START)
    assert history.read().posts == 40
    history.now = START + WINDOW
    assert history.read().posts == 0
    history.gauge.deliver(counted(40, history.now), history.now)
    history.say("x", *[post(number, at=history.now) for number in range(5)])
    history.now += X_LAG + 1
    assert history.read().posts == 5


def test_what_search_and_stream_of_x_have_is_not_counted_on_top_of_its_count() -> None:
    history = History({"x": X_LAG, "x-stream": X_LAG})
    history.say("x-stream", *posts(100))
    history.gauge.deliver(counted(120), START)
    assert history.read().posts == 120


def test_other_networks_count_on_top_of_a_count() -> None:
    history = History(LAGS)
    others = [Post(f"bluesky:{n}", "bluesky:a", START - 1) for n in range(7)]
    history.say("bluesky", *others)
    history.say("x", *posts(5))
    history.now += X_LAG + 1
    history.gauge.deliver(counted(40), history.now)
    assert history.read().posts == 47


def test_a_feed_has_seen_no_more_than_of_what_the_posts_are_still_known() -> None:
    """A clock ahead for a moment dropped X's posts, and what X had seen of them was kept."""
    history = History(lags_ms=dict(LAGS))
    history.say("x", *posts(10))
    history.now += WINDOW // 2
    history.say("bluesky")
    assert history.gauge.seen["x"].spans == (Span(START - WINDOW // 2, START),)


def test_a_post_that_is_there_again_was_not_late() -> None:
    """It shows long after it was written: so did one that never was seen."""
    feed = Feed("x", X_LAG, late=Late(60_000, 60_000))
    gauge = Gauge(Settings.from_env(LEAST).gauge, [feed], START)
    known, now = post(1, at=START - 900_000), START
    gone = Removal(known.key, START, known.created_ms)
    words: list[tuple[tuple[Post, ...], tuple[Removal, ...]]] = [
        ((known,), ()),
        ((), (gone,)),
        ((replace(known, as_of_ms=START + 120_000),), ()),
    ]
    for some, removals in words:
        covers = Span(now - WINDOW, now)
        word = Batch(source="x", posts=some, removals=removals, covers=covers, read_ms=now)
        gauge.deliver(word, now)
        now += 60_000
    assert gauge.read(now).posts == 1
    assert gauge.known("x", now).late_ms == 60_000
    late = (post(2, at=START - 900_000),)
    gauge.deliver(Batch(source="x", posts=late, read_ms=now), now)
    assert gauge.known("x", now).late_ms > 900_000


def test_a_post_counts_while_any_network_has_it() -> None:
    """One that was bridged, deleted in one of its two places, was counted nowhere."""
    history = History(lags_ms=dict(LAGS))
    bridged = Post("bluesky:did:plc:a/1", "bluesky:did:plc:a", START - 1)
    for source in LAGS:
        history.say(source, bridged)
    gone = Removal(bridged.key, START + 1, bridged.created_ms)
    history.say("x", removals=(gone,))
    again = Gauge(
        Settings.from_env(LEAST).gauge,
        [Feed(*lag) for lag in LAGS.items()],
        START,
        Saved(salt=b"", marks=list(history.gauge.marks())),
    )
    for gauge in (history.gauge, again):
        reading = gauge.read(START)
        assert (reading.posts, reading.sources["x"].posts) == (1, 0)
        gauge.deliver(Batch(source="bluesky", removals=(gone,)), START)
        assert gauge.read(START).posts == 0


def test_a_post_that_was_removed_before_it_was_seen_is_there_again_in_all_counts() -> None:
    history = History({"x": X_LAG, "bluesky": 5_000})
    key, created_ms = "bluesky:did:plc:a/1", START - 5_000
    history.say("bluesky", removals=(Removal(key, START - 2_000, created_ms),))
    history.now += 1_000
    history.say("bluesky", Post(key, "bluesky:did:plc:a", created_ms, START - 1_000))
    reading = history.read()
    assert (reading.posts, reading.sources["bluesky"].posts) == (1, 1)
