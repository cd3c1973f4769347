"""Mastodon's timelines: the real client against servers that speak the protocol."""

import json
import logging
import random
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from profiles import is_thorough
from simulation import START, Time
from standins.mastodon import INSTANCE, JSON_TYPE, STATUS, TAGS, Fault, Mastodon, refusal
from standins.mastodon_simulation import MastodonSimulation, fill

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Grade, Known
from tweetdock.core.errors import RefusedError, SourceError
from tweetdock.core.post import Batch, Trouble
from tweetdock.sources.http import HttpSession
from tweetdock.sources.mastodon.client import explain
from tweetdock.sources.mastodon.timeline import make_mastodon

MINUTE = 60.0
SELDOM = {"TWEETDOCK_POLL_SECONDS": "30"}
SHORT = {**SELDOM, "TWEETDOCK_WINDOW_SECONDS": "900"}
HTML = b"<!doctype html><title>Welcome</title>"


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def server(time: Time) -> Iterator[Mastodon]:
    with Mastodon(now=time) as server:
        yield server


@pytest.fixture
def other(time: Time) -> Iterator[Mastodon]:
    with Mastodon(now=time) as server:
        yield server


def test_the_whole_hour_is_read_and_no_boost_is_counted(server: Mastodon, time: Time) -> None:
    simulation = MastodonSimulation(time, server, make_session=HttpSession)  # over real sockets
    fill(simulation, 700)
    simulation.run(0)
    simulation.assert_true()
    # Every page is full but for the last one of each way.
    assert len(server.asked(TAGS)) <= 700 / 40 + 5


def test_a_quiet_minute_costs_twelve_requests_and_three(server: Mastodon, time: Time) -> None:
    simulation = MastodonSimulation(time, server)
    fill(simulation, 20, minutes=50)
    time.seconds += 11 * MINUTE
    simulation.run(1)
    before = len(server.requests)
    simulation.run(10 * MINUTE)
    # The three are a look back, what has become certain, and now and then who may read.
    assert len(server.requests) - before <= 10 * (12 + 3)


def test_a_post_on_two_servers_is_one(server: Mastodon, other: Mastodon, time: Time) -> None:
    simulation = MastodonSimulation(time, server, other)
    simulation.fediverse.post(1, "DockerCon", delays_ms={1: 300})
    simulation.fediverse.post(1, "dockercon", home=1)
    simulation.fediverse.post(2, "dockercon", delays_ms={1: 2_000})
    simulation.fediverse.post(2, "another", delays_ms={1: 2_000})
    simulation.run(20)
    simulation.assert_true()
    # One person of each server has the same name, and is another.
    assert (simulation.read().posts, simulation.read().authors) == (3, 3)


@pytest.mark.parametrize("late_seconds", [6, 40, 8 * 60])
def test_a_post_that_another_server_brings_late_is_found(
    server: Mastodon, other: Mastodon, time: Time, late_seconds: int
) -> None:
    """Its id lies below ids that were read before: going on from the newest would miss it."""
    simulation = MastodonSimulation(time, server)
    simulation.fediverse.servers.append(other)
    simulation.run(10)
    simulation.fediverse.post(1, "dockercon", home=1, delays_ms={0: late_seconds * 1000})
    time.seconds += 1
    simulation.fediverse.post(2, "dockercon")
    simulation.run(late_seconds - 2)
    assert simulation.read().posts == 1
    simulation.run(70)
    assert simulation.read().posts == 2


@pytest.mark.thorough
def test_an_hour_is_not_exact_before_the_latest_posts_have_shown(
    server: Mastodon, other: Mastodon, time: Time
) -> None:
    """From servers in trouble posts came minutes late, into a stretch that was called exact."""
    simulation = MastodonSimulation(time, server, env=SELDOM)
    simulation.fediverse.servers.append(other)
    dice = random.Random(5)
    grades: list[Grade] = []

    def happen() -> None:
        if dice.random() < 0.3:
            late_ms = dice.randrange(100_000, 1_500_000)
            simulation.fediverse.post(1, "dockercon", home=1, delays_ms={0: late_ms})
        if dice.random() < 0.3:
            simulation.fediverse.post(2, "dockercon")
        reading = simulation.read()
        grades.append(reading.grade)
        if reading.grade is Grade.EXACT:
            due = server.truth(reading.at_ms - simulation.window_ms, reading.certain_ms)
            assert reading.posts >= len(due)
            assert reading.certain_ms <= reading.at_ms - 60_000

    simulation.run(150 * MINUTE, happen)
    assert grades.count(Grade.EXACT) > 0.9 * len(grades)
    # It has been measured by now.
    late_ms = simulation.seen(simulation.sources[0].feed.name).late_ms
    assert 1_500_000 < late_ms < 3_000_000


# --- what is gone, and where -------------------------------------------------------------------


def test_a_post_that_one_server_has_taken_down_counts_while_another_has_it(
    server: Mastodon, other: Mastodon, time: Time
) -> None:
    """Moderators of one server take down what others still show: all 18 of them were missing."""
    simulation = MastodonSimulation(time, server, other, env=SELDOM)
    notes = [
        simulation.fediverse.post(n, "dockercon", ago_ms=n * 60_000, delays_ms={1: 500})
        for n in range(2, 40)
    ]
    simulation.run(MINUTE)
    for note in notes[::2]:
        other.delete(note.uri)
    simulation.run(32 * MINUTE, simulation.assert_honest)
    simulation.assert_true()
    for note in notes[::4]:
        server.delete(note.uri)
    simulation.run(16 * MINUTE, simulation.assert_honest)
    simulation.assert_true()


@pytest.mark.parametrize("ids", ["snowflakes", "letters"])
def test_a_post_that_no_longer_has_the_tag_counts_no_more(time: Time, ids: Any) -> None:
    with Mastodon(now=time, ids=ids) as server:
        simulation = MastodonSimulation(time, server, tags="one two", env=SELDOM)
        dropped, changed, kept = (simulation.fediverse.post(n, "one") for n in range(3))
        simulation.run(2 * MINUTE)
        assert simulation.read().posts == 3
        server.edit(dropped.uri, "second thoughts", "other")
        server.edit(changed.uri, "second thoughts", "two")
        server.edit(kept.uri, "second thoughts")
        simulation.run(16 * MINUTE)
        simulation.assert_true()
        assert simulation.read().posts == 2
        # And back again.
        server.edit(dropped.uri, "third thoughts", "one")
        simulation.run(16 * MINUTE)
        simulation.assert_true()
        assert simulation.read().posts == 3


@pytest.mark.parametrize(
    ("tags", "written"),
    [("#Füße", "FÜSSE"), ("#東京", "東京"), ("DockerCon", "dockercon"), ("a_b", "A_B")],
)
def test_tags_go_as_people_write_them_and_count_as_the_server_says(
    server: Mastodon, time: Time, tags: str, written: str
) -> None:
    simulation = MastodonSimulation(time, server, tags=tags)
    simulation.fediverse.post(1, written)
    simulation.run(1)
    assert simulation.read().posts == 1
    path = server.asked(TAGS)[0].path
    assert path.isascii()
    assert unquote(path.removeprefix(TAGS)) == tags.removeprefix("#")


def test_each_of_two_tags_is_read_whole(server: Mastodon, time: Time) -> None:
    """Much software passes over `any[]`: of two tags the posts of one were counted, as exact."""
    tags = ["one", "two"]
    simulation = MastodonSimulation(time, server, tags=" ".join(tags))
    for n, tag in enumerate(tags):
        for ago in range(60):
            simulation.fediverse.post(n, tag, ago_ms=ago * 50_000 + n)
    simulation.fediverse.post(99, *tags)
    simulation.run(20)
    simulation.assert_true()
    assert simulation.read().posts == len(tags) * 60 + 1


def test_a_tag_that_is_not_known_yet_has_no_posts(server: Mastodon, time: Time) -> None:
    """The server was taken for none of Mastodon's kind, and its other tags were not read."""
    server.knows_used_tags_only = True
    simulation = MastodonSimulation(time, server, tags="dockercon other")
    fill(simulation, 30)
    simulation.run(20)
    simulation.assert_true()
    assert not simulation.troubles
    simulation.fediverse.post(1, "other")
    simulation.run(20)
    simulation.assert_true()


def test_one_stray_404_is_not_taken_for_an_empty_hour(server: Mastodon, time: Time) -> None:
    simulation = MastodonSimulation(time, server)
    fill(simulation, 30)
    stray = refusal(404)
    server.fail(None, stray, stray, stray)
    simulation.run(0)
    assert simulation.read().grade is not Grade.EXACT
    simulation.run(40 * MINUTE, simulation.assert_honest)
    simulation.assert_true()


@pytest.mark.parametrize("ids", ["letters", "small numbers"])
def test_servers_of_other_software_are_read_by_their_own_ids(time: Time, ids: Any) -> None:
    with Mastodon(now=time, ids=ids, access=None, limit=0) as server:
        simulation = MastodonSimulation(time, server)
        fill(simulation, 300)
        simulation.run(30)
        simulation.assert_true()
        simulation.fediverse.post(1, "dockercon")
        simulation.run(10)
        simulation.assert_true()
        assert not [r for r in server.requests if r.get("since_id")]


def test_a_restart_reads_no_gap_and_asks_for_the_window_once(server: Mastodon, time: Time) -> None:
    simulation = MastodonSimulation(time, server)
    fill(simulation, 200)
    simulation.run(20)
    simulation.assert_true()
    simulation.fediverse.post(5, "dockercon")
    simulation.restart()
    assert simulation.read().grade is Grade.EXACT  # what was covered stays
    simulation.run(10, simulation.assert_honest)
    simulation.assert_true()
    assert not simulation.troubles


@pytest.mark.parametrize("hours", [-24 * 365, -1, -0.02, 0.02, 1, 24])
def test_the_server_s_clock_rules_when_the_machine_s_is_off(
    server: Mastodon, time: Time, hours: float
) -> None:
    simulation = MastodonSimulation(time, server, machine_is_off_by=hours * 3600)
    fill(simulation, 150)
    simulation.run(20)
    simulation.assert_true()
    assert {w.server_ms for w in simulation.messages if w.server_ms} != set()
    assert abs(simulation.clock.now_ms() - time.ms) < 3_000


def test_old_posts_do_not_keep_new_ones_waiting(server: Mastodon, time: Time) -> None:
    """A look back at a busy hour takes minutes where each page takes seconds."""
    simulation = MastodonSimulation(time, server)
    fill(simulation, 800)

    def slowly(answer: Any) -> Any:
        time.seconds += 2
        return answer

    server.fail_always(Fault(change=slowly))
    simulation.run(2 * MINUTE, simulation.assert_honest)
    grades = set()

    def happen() -> None:
        simulation.fediverse.post(7, "dockercon")
        grades.add(simulation.read().grade)

    simulation.run(20 * MINUTE, happen)
    assert grades == {Grade.EXACT}
    server.heal()
    simulation.run(10)
    simulation.assert_true()


def test_a_server_with_clocks_that_disagree_is_read_all_the_same(
    server: Mastodon, time: Time
) -> None:
    simulation = MastodonSimulation(time, server, tags="dockercon b c d e")
    fill(simulation, 400)
    skews = [0.0, 8.0]

    def flip(answer: Any) -> Any:
        server.skew_seconds = skews[0]
        skews.reverse()
        return answer

    server.fail_always(Fault(change=flip))
    simulation.run(3 * MINUTE)
    assert simulation.read().covered == 1.0
    assert len(server.requests) < 300


@pytest.mark.parametrize(
    "skews",
    [pytest.param([0, 3600, -3600], marks=pytest.mark.thorough), [0, 40, -40], [0, 3600]],
    ids=["an hour", "seconds", "in turn"],
)
def test_by_clocks_that_disagree_grossly_nothing_is_known(
    server: Mastodon, time: Time, skews: list[int]
) -> None:
    """A Date that was an hour off in every other answer, as from two machines behind one name.

    Posts got a moment an hour before their own and fell out of the window; the grade said exact,
    and the server was asked twice a second.
    """
    server.limit = 0  # its reset is by the skewed clock, too
    simulation = MastodonSimulation(time, server)
    fill(simulation, 60)
    simulation.run(20)
    simulation.assert_true()
    # Those that take turns, and those that answer by chance.
    dice = random.Random(3)
    turns = iter([dice.choice(skews) for _ in range(10_000)] if skews[2:] else skews * 5_000)

    def flip(answer: Any) -> Any:
        server.skew_seconds = next(turns)
        return answer

    def happen() -> None:
        simulation.fediverse.post(dice.randrange(9), "dockercon")
        simulation.assert_honest()

    server.fail_always(Fault(change=flip))
    before = len(server.requests)
    simulation.run(8 * MINUTE, happen)
    assert "disagree on what time it is" in simulation.detail()
    assert simulation.read().grade is not Grade.EXACT
    assert len(server.requests) - before < 480  # one a second
    # Once they agree again, all of it is read.
    server.heal()
    server.skew_seconds = 0
    simulation.run(11 * MINUTE, simulation.assert_honest)
    simulation.assert_true()


def test_two_servers_may_disagree_about_the_time(
    server: Mastodon, other: Mastodon, time: Time
) -> None:
    other.skew_seconds = 2.0
    simulation = MastodonSimulation(time, server, other)
    fill(simulation, 150)
    simulation.run(30)
    simulation.assert_true()


NEEDS_OWNER, MENDS = True, False
REFUSALS: list[tuple[Fault, str, bool]] = [
    (refusal(401, "This method requires an authenticated user"), "TWEETDOCK_MASTODON_TOKENS", True),
    (refusal(403, "This method requires an authenticated user"), "only to its users", True),
    (refusal(422, "This method requires an authenticated user"), "only to its users", True),
    (Fault(403, HTML), "refuses to be read (403)", True),
    (refusal(404, "Record not found"), "no Mastodon server", True),
    (refusal(410), "no Mastodon server", True),
    (Fault(200, HTML), "no Mastodon server", False),
    (Fault(200, b"[" * 100_000), "no Mastodon server", False),
    (Fault(200, b'{"data":[]}'), "no Mastodon server", False),
    (Fault(200, b'"' + b"x" * 9_000_000), "sent more than", False),
    (Fault(302, b"", (("Location", "https://hotel.example/login"),)), "leads elsewhere", False),
    (refusal(429), "rate limit is used up", False),
    (refusal(500), "out of order (500)", False),
    (Fault(503, HTML), "out of order (503)", False),
    (refusal(418, "tea"), "unknown status (418): tea", False),
    (Fault(cut=0), "connection broke", False),
    (Fault(cut=1), "connection broke", False),
]


# One of each way to go on from it; what the others are called is looked at below.
LONG = (0, 3, 6, 10, 11, 13, 15)


@pytest.mark.parametrize(
    ("fault", "sentence", "needs_owner"),
    [
        pytest.param(*refused, marks=[] if number in LONG else [pytest.mark.thorough])
        for number, refused in enumerate(REFUSALS)
    ],
)
def test_every_refusal_has_a_sentence_backs_off_and_heals(
    server: Mastodon, time: Time, fault: Fault, sentence: str, *, needs_owner: bool
) -> None:
    # What breaks over real sockets breaks there otherwise.
    make_session = None if fault.cut is None else HttpSession
    simulation = MastodonSimulation(time, server, env=SELDOM, make_session=make_session)
    fill(simulation, 60)
    simulation.run(10)
    simulation.assert_true()
    server.fail_always(fault)
    before = len(server.requests)
    simulation.run(10 * MINUTE, simulation.assert_honest)
    assert simulation.read().grade is Grade.STALE
    assert sentence in simulation.detail()
    assert server.host in simulation.detail()
    assert len(server.requests) - before <= (25 if needs_owner else 40)
    last = [word for word in simulation.messages if isinstance(word, Trouble)][-1]
    assert last.needs_owner == needs_owner
    server.heal()
    simulation.fediverse.post(77, "dockercon")
    simulation.run(16 * MINUTE, simulation.assert_honest)
    simulation.assert_true()


@pytest.mark.parametrize(
    ("fault", "sentence", "needs_owner"), [refused for refused in REFUSALS if refused[0].status]
)
def test_every_refusal_is_named_by_what_can_be_done(
    server: Mastodon, time: Time, fault: Fault, sentence: str, *, needs_owner: bool
) -> None:
    simulation = MastodonSimulation(time, server, env=SELDOM)
    server.fail(None, fault, fault, fault)  # where it may mean another thing it is asked again
    simulation.run(0)
    (trouble,) = [word for word in simulation.messages if isinstance(word, Trouble)]
    assert sentence in trouble.detail
    assert server.host in trouble.detail
    assert trouble.needs_owner == needs_owner


def test_an_answer_that_does_not_end_is_cut(server: Mastodon, time: Time) -> None:
    simulation = MastodonSimulation(
        time, server, make_session=partial(HttpSession, whole_seconds=0.2)
    )
    server.fail(Fault(hang=True))
    simulation.run(0)
    assert "does not answer in time" in simulation.troubles[0]
    server.heal()
    simulation.run(10)
    simulation.assert_true()


def test_a_poll_under_way_is_ended_from_outside(server: Mastodon, time: Time) -> None:
    simulation = MastodonSimulation(time, server, make_session=HttpSession)
    server.fail(Fault(hang=True))
    raised: list[SourceError] = []

    def poll() -> None:
        try:
            list(simulation.sources[0].poll(Known()))
        except SourceError as error:
            raised.append(error)

    thread = threading.Thread(target=poll)
    thread.start()
    server.wait_for(lambda: len(server.requests) == 1)
    simulation.close()
    thread.join(2)
    assert len(raised) == 1


@pytest.mark.parametrize("minutes_old", [0, 5, 40])
def test_a_post_that_was_deleted_is_noticed_without_a_stream(
    server: Mastodon, time: Time, minutes_old: int
) -> None:
    simulation = MastodonSimulation(time, server, env=SELDOM)
    fill(simulation, 100)
    deleted = simulation.fediverse.post(500, "dockercon", ago_ms=minutes_old * 60_000)
    simulation.run(60)
    simulation.assert_true()
    server.delete(deleted.uri)
    simulation.run(3 * MINUTE if minutes_old < 9 else 16 * MINUTE)
    simulation.assert_true()
    # It is asked for once, and nothing else is.
    assert len(server.asked(STATUS)) == 1


def test_a_post_that_is_missing_on_a_page_only_is_not_gone(server: Mastodon, time: Time) -> None:
    simulation = MastodonSimulation(time, server)
    fill(simulation, 100, minutes=50)
    simulation.run(60)
    before = simulation.read().posts
    for _ in range(40):
        server.fail(Fault(change=lambda page: page[::2] if isinstance(page, list) else page))
    simulation.run(2 * MINUTE)
    assert simulation.read().posts == before
    simulation.assert_true()


# --- who may read ---------------------------------------------------------------------------

ACCESS = [
    (("authenticated", "authenticated"), "shows hashtags only to its users"),
    (("public", "authenticated"), "shows hashtags only to its users"),
    (("disabled", "disabled"), "has closed its hashtag feed"),
]


@pytest.mark.parametrize(("access", "sentence"), ACCESS, ids=["strangers", "some", "all"])
def test_a_server_that_lets_no_stranger_in_is_said_to_do_so(
    server: Mastodon, time: Time, access: tuple[str, str], sentence: str
) -> None:
    server.access = access
    simulation = MastodonSimulation(time, server, env=SELDOM)
    fill(simulation, 30)
    simulation.run(1)
    assert f"{server.host} {sentence}" in simulation.detail()
    assert simulation.read().grade is not Grade.EXACT
    assert not server.asked(TAGS)
    # It opens again: that is found without a restart.
    server.access = ("public", "public")
    simulation.run(16 * MINUTE)
    simulation.assert_true()


def test_a_feed_that_is_closed_while_it_is_read_does_not_pass_for_silence(
    server: Mastodon, time: Time
) -> None:
    """It answers a user with an empty page, as if nobody had written anything."""
    simulation = MastodonSimulation(time, server, tokens=True)
    fill(simulation, 300)
    simulation.run(20)
    simulation.assert_true()
    server.access = ("disabled", "disabled")
    simulation.run(5 * MINUTE)
    assert simulation.read().grade is not Grade.EXACT
    assert "has closed its hashtag feed" in simulation.detail()
    simulation.close()


@pytest.mark.parametrize("says_so", [True, False])
def test_the_token_goes_along_only_where_strangers_are_not_let_in(
    server: Mastodon, time: Time, *, says_so: bool
) -> None:
    simulation = MastodonSimulation(time, server, tokens=True)
    fill(simulation, 100)
    simulation.run(5)
    assert not any(request.is_signed for request in server.asked(TAGS))
    if says_so:
        server.access = ("authenticated", "authenticated")
    else:  # as before 4.5
        server.access = None
        server.turns_strangers_away = True
    simulation.run(11 * MINUTE)
    assert server.asked(TAGS)[-1].is_signed
    assert "is read as your account on it sees it" in simulation.detail()
    # It is not tried in vain each time.
    assert len([r for r in server.asked(TAGS) if r.status == 401]) <= 5
    assert not simulation.troubles
    simulation.assert_true()
    simulation.close()


@pytest.mark.parametrize("path", ["instance", "timeline"])
def test_after_one_stray_refusal_a_server_is_read_as_strangers_see_it(
    server: Mastodon, time: Time, path: str
) -> None:
    """After one 403 by something before the server all pages were read as the user sees them.

    A user may be shown less, and the grade stayed exact.
    """
    simulation = MastodonSimulation(time, server, tokens=True)
    fill(simulation, 100)
    simulation.run(5)
    if path == "instance":
        time.seconds += 10 * MINUTE
    server.fail(refusal(403, "slow down, bot"))
    before = len(server.asked(TAGS))
    simulation.run(2 * MINUTE)
    assert [r.is_signed for r in server.asked(TAGS)[before:]].count(True) <= 1
    assert not server.asked(TAGS)[-1].is_signed
    assert "your account" not in simulation.detail()
    simulation.assert_true()
    simulation.close()


def test_a_page_that_was_read_as_a_user_is_remarked_on(server: Mastodon, time: Time) -> None:
    simulation = MastodonSimulation(time, server, tokens=True)
    simulation.run(5)
    server.fail(refusal(403, "slow down, bot"))
    list(map(simulation.deliver, simulation.sources[0].poll(Known())))
    assert "is read as your account on it sees it" in simulation.detail()
    simulation.tick()  # a heartbeat of the stream does not hide it
    assert "is read as your account on it sees it" in simulation.detail()
    simulation.close()


def test_a_server_that_shows_a_part_only_is_remarked_on(server: Mastodon, time: Time) -> None:
    server.access = ("public", "disabled")
    simulation = MastodonSimulation(time, server, tokens=True)
    simulation.run(5)
    assert simulation.detail().endswith("shows posts of its own users only")
    assert simulation.read().grade is Grade.EXACT
    simulation.close()


def test_a_wrong_token_is_said_to_be_wrong_and_never_shown(
    server: Mastodon, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.access = ("authenticated", "authenticated")
    simulation = MastodonSimulation(time, server, tokens=True)
    server.token = "another-one"
    simulation.run(5)
    sentences = " ".join(simulation.troubles)
    assert f"{server.host} does not accept its token (401)" in sentences
    echo = refusal(403, "no scope for Bearer a-users-token")
    server.fail(echo, echo, echo, echo)
    simulation.run(20 * MINUTE)
    assert "read:statuses" in " ".join(simulation.troubles)
    everything = " ".join([*simulation.troubles, caplog.text, *map(repr, simulation.sources)])
    assert "a-users-token" not in everything
    simulation.close()


def test_the_token_of_one_server_is_not_for_another(
    server: Mastodon, other: Mastodon, time: Time
) -> None:
    server.access = other.access = ("authenticated", "authenticated")
    env = {"TWEETDOCK_MASTODON_TOKENS": f"{server.host}={server.token}"}
    simulation = MastodonSimulation(time, server, other, env=env)
    simulation.run(20)
    assert any(request.is_signed for request in server.requests)
    assert not any(request.is_signed for request in other.requests)
    assert f"{other.host} shows hashtags only to its users" in simulation.detail()
    simulation.close()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"7", HTML, b'{"configuration":7}', b'{"configuration":{"urls":[]}}',
             b'{"configuration":{"timelines_access":{"hashtag_feeds":{"local":{}}}}}']
)  # fmt: skip
def test_a_server_that_says_nothing_of_itself_is_taken_to_be_open(
    server: Mastodon, time: Time, body: bytes
) -> None:
    fault = Fault(200, body, (("Content-Type", JSON_TYPE),))
    server.fail(fault)
    simulation = MastodonSimulation(time, server)
    fill(simulation, 20)
    simulation.run(1)
    simulation.assert_true()
    assert server.requests[0].path == INSTANCE


# --- rate limits ------------------------------------------------------------------------------


def test_the_polls_stretch_before_the_rate_limit_refuses(time: Time) -> None:
    with Mastodon(now=time, limit=40) as server:
        simulation = MastodonSimulation(time, server)
        fill(simulation, 400)
        simulation.run(15 * MINUTE, simulation.assert_honest)
        assert {request.status for request in server.requests} == {200}
        simulation.assert_true()


def test_a_limit_that_leaves_little_is_told(time: Time) -> None:
    with Mastodon(now=time, limit=6) as server:
        simulation = MastodonSimulation(time, server)
        fill(simulation, 300)
        simulation.run(40 * MINUTE, simulation.assert_honest)
        assert 429 not in {request.status for request in server.requests}
        assert any("rate limit" in trouble for trouble in simulation.troubles)


def test_a_429_is_waited_out_by_its_own_word(server: Mastodon, time: Time) -> None:
    simulation = MastodonSimulation(time, server)
    reset = ("X-RateLimit-Reset", "2026-09-21T14:16:40.000000Z")  # 200 s after the start
    assert round(START) == 1_790_000_000
    server.fail(refusal(429, "Too many requests", reset))
    simulation.run(0)
    assert "rate limit is used up until 14:16 UTC" in simulation.troubles[0]
    simulation.run(199)
    assert len(server.requests) == 1
    simulation.run(20)
    simulation.assert_true()


def test_a_429_goes_by_the_server_s_clock(server: Mastodon, time: Time) -> None:
    server.skew_seconds = -15 * MINUTE
    simulation = MastodonSimulation(time, server)
    reset = ("X-RateLimit-Reset", "2026-09-21T14:01:40.000000Z")  # 200 s from then, by its clock
    server.fail(refusal(429, "Too many requests", reset))
    simulation.run(199)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_is_waited_out_by_its_own_word(status: int) -> None:
    answer = RefusedError(status, {"Retry-After": "77"}, b"")
    assert explain(answer, "a.example", "", 0).retry_after == 77


# --- odd posts ---------------------------------------------------------------------------------


def test_a_post_that_cannot_be_read_is_counted_as_such_once(
    server: Mastodon, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    simulation = MastodonSimulation(time, server, env=SHORT)
    for number in range(60):
        simulation.fediverse.post(number, "dockercon", ago_ms=60_000 - number)
    time.seconds += 1

    def spoil(page: Any) -> Any:
        if isinstance(page, dict):
            return page
        spoilt = [status["uri"].endswith(("/58", "/59")) for status in page]
        return [s | {"uri": None} if bad else s for s, bad in zip(page, spoilt, strict=True)]

    for _ in range(12):
        server.fail(Fault(change=spoil))
    simulation.run(40)
    assert "2 posts of this window could not be read" in simulation.detail()
    assert caplog.text.count("no uri") == 1
    unreadable = [ms for w in simulation.messages if isinstance(w, Batch) for ms in w.unreadable]
    assert len(unreadable) == 2
    simulation.run(16 * MINUTE)
    simulation.assert_true()


def test_posts_of_a_time_to_come_were_made_when_they_came(server: Mastodon, time: Time) -> None:
    simulation = MastodonSimulation(time, server, env=SHORT)
    simulation.fediverse.post(1, "dockercon", ago_ms=-3_600_000)
    simulation.run(20)
    simulation.assert_true()
    assert simulation.read().posts == 1
    simulation.run(16 * MINUTE)
    assert simulation.read().posts == 0


def test_raw_posts_come_only_if_they_are_wanted(server: Mastodon, time: Time) -> None:
    simulation = MastodonSimulation(time, server)
    fill(simulation, 20, minutes=50)
    simulation.run(0)
    raws = [raw for w in simulation.messages if isinstance(w, Batch) for raw in w.raw]
    assert {raw.post.key for raw in raws if raw.post} == {
        f"mastodon:{note.uri}" for note in server.truth(0, time.ms)
    }
    assert all(json.loads(raw.text)["uri"] in raw.version for raw in raws)
    (plain,) = make_mastodon(
        ["dockercon"],
        servers=[server.url],
        tokens={},
        clock=Clock(time, time),
        window_seconds=3600,
        poll_seconds=5,
        keeps_raw=False,
    )
    server.fail(None, Fault(change=lambda page: [{}, *page]))
    batches = list(plain.poll(Known()))
    assert any(batch.unreadable for batch in batches)
    assert sum(len(batch.posts) for batch in batches) >= len(server.truth(0, time.ms))
    assert not any(batch.raw for batch in batches)
    assert [batch.has_more for batch in batches] == [True] * (len(batches) - 1) + [False]


FAULTS = [fault for fault, _, _ in REFUSALS if len(fault.body) < 200_000] + [
    Fault(cut=200),
    Fault(change=lambda page: page[:5]),
    Fault(change=lambda page: page[::-1]),
    Fault(change=lambda page: [*page, *page] if isinstance(page, list) else page),
]
# A page that lacks posts in its middle cannot be told from a whole one.
HONEST = [fault for fault in FAULTS if fault.change is None]


@settings(
    max_examples=3 if is_thorough() else 2,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
)
@given(
    seed=st.integers(0, 2**32),
    limit=st.sampled_from([60, 300]),
    machine_is_off_by=st.sampled_from([0.0, 0.0, -3600.0, 1800.0]),
    tokens=st.booleans(),
    ids=st.sampled_from(["snowflakes", "snowflakes", "letters"]),
)
def test_whatever_goes_wrong_no_reading_lies_and_the_end_is_exact(
    seed: int, limit: int, machine_is_off_by: float, ids: Any, *, tokens: bool
) -> None:
    dice, time = random.Random(seed), Time()
    with Mastodon(now=time, limit=limit) as one, Mastodon(now=time, ids=ids) as two:
        simulation = MastodonSimulation(
            time,
            one,
            two,
            tokens=tokens,
            machine_is_off_by=machine_is_off_by,
            env=SELDOM,
        )
        fill(simulation, 200, seed=seed)
        # What is deleted while nobody looks is known by an id that a restart has forgotten.
        deletes = dice.random() < 0.5

        def happen() -> None:
            # The machine's own clock is wrong before the first word only: judge after it.
            if any(m.server_ms for m in simulation.messages) and dice.random() < 0.3:
                simulation.assert_honest()
            for _ in range(dice.choice([0, 0, 1, 5])):
                home = dice.randrange(2)
                simulation.fediverse.post(
                    dice.randrange(100),
                    "dockercon",
                    home=home,
                    delays_ms={1 - home: dice.choice([300, 3_000, 30_000, 300_000])},
                    boost=dice.random() < 0.1,
                )
            if dice.random() < 0.2:
                dice.choice([one, two]).fail(*dice.choices(HONEST, k=dice.randrange(3)))
            if dice.random() < 0.1 and deletes:
                simulation.delete(dice, *dice.choice([(one, two), (one,), (two,)]))
            if dice.random() < 0.05:
                dice.choice([one, two]).end_streams()
            if dice.random() < 0.05:
                dice.choice([one, two]).cut_streams_after = dice.choice(
                    [None, dice.randrange(3000)]
                )
            if dice.random() < 0.01 and not deletes:
                simulation.restart()

        simulation.run(12 * MINUTE, happen)
        for server in (one, two):
            server.heal()
        simulation.run(31 * MINUTE)
        simulation.assert_true()
        simulation.close()
