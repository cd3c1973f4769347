"""X's search: real tweepy and requests against a stand-in that speaks X's protocol.

Most exchanges are in memory; over HTTP go those in which HTTP itself fails, and `by_wire` all.
"""

import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from profiles import examples, is_thorough
from simulation import START, TOKEN, Simulation, Time
from standins import x_faults as faults
from standins import x_openapi
from standins.x_api import OAuth1Keys, XApi
from standins.x_posts import Post, make_post, milliseconds

from tweetdock.core.coverage import Grade
from tweetdock.sources.http import WHOLE_SECONDS

NOW_MS = round(START * 1000)
MINUTE = 60.0


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def api(time: Time) -> Iterator[XApi]:
    with XApi(now=time, bearer=TOKEN) as api:
        yield api


def hour_of(number: int, *, seed: int = 1, until_ms: int = NOW_MS) -> list[Post]:
    """So many posts spread over the 70 minutes before `until_ms`, by a third as many authors."""
    dice = random.Random(seed)
    moments = sorted(dice.sample(range(until_ms - 70 * 60_000, until_ms), number))
    return [
        make_post(at, dice.randrange(number // 3 + 1), retweet=dice.random() < 0.2)
        for at in moments
    ]


def in_window(posts: list[Post], now_ms: int = NOW_MS) -> int:
    return sum(
        "referenced_tweets" not in p and (int(p["id"]) >> 22) + 1288834974657 > now_ms - 3_600_000
        for p in posts
    )


def test_the_first_poll_reads_the_whole_hour_to_its_end(api: XApi, time: Time) -> None:
    """S1 stopped at one page: it was wrong on 59 % of a real day's ticks, by up to 367 posts."""
    posts = hour_of(1234)
    api.add(*posts)
    simulation = Simulation(api, time, by_wire=True)
    simulation.poll()
    simulation.assert_true()
    assert len(api.requests) == -(-in_window(posts) // 100)


def test_a_quiet_minute_costs_twelve_requests_and_no_post(api: XApi, time: Time) -> None:
    api.add(*hour_of(250, until_ms=NOW_MS - 10 * 60_000))
    simulation = Simulation(api, time)
    simulation.poll()
    requests, posts = len(api.requests), api.posts_read
    simulation.run(time.seconds + MINUTE)
    assert len(api.requests) - requests == 12
    assert api.posts_read == posts


def test_what_is_read_again_for_what_is_late_costs_nothing(api: XApi, time: Time) -> None:
    simulation = Simulation(api, time)
    simulation.poll()
    for number in range(120):
        api.add(make_post(time.ms - 1500, number))
        simulation.run(time.seconds + 5)
    # Once a minute five minutes are read.
    assert 120 <= api.posts_read <= 120 + 12 * (300 // 5 + 1)
    assert api.bill("2026-09-21").posts == 120
    normal = [r for r in api.requests if r.posts_returned == 1]
    assert len(normal) > 100
    simulation.assert_true()


def test_posts_of_the_same_millisecond_are_read_once_each(api: XApi, time: Time) -> None:
    simulation = Simulation(api, time)
    simulation.poll()
    for sequence in range(3):
        api.add(make_post(NOW_MS + 1, sequence, sequence=sequence))
        simulation.run(time.seconds + 5)
    simulation.run(time.seconds + 30)
    assert simulation.read().posts == 3
    assert api.posts_read == 3


def test_a_post_that_x_indexed_late_is_found_within_a_minute(api: XApi, time: Time) -> None:
    simulation = Simulation(api, time)
    simulation.run(time.seconds + 2 * MINUTE)
    late = make_post(time.ms, 1)
    late["_indexed_ms"] = time.ms + 30_000
    api.add(late, make_post(time.ms + 1000, 2))
    simulation.run(time.seconds + 10)
    assert simulation.read().posts == 1
    simulation.run(time.seconds + 25 + MINUTE, simulation.assert_honest)
    assert simulation.read().posts == 2


def test_it_is_found_as_soon_by_lives_that_are_shorter_than_a_minute(api: XApi, time: Time) -> None:
    simulation = Simulation(api, time)
    simulation.saves = lambda: True
    simulation.run(time.seconds + 2 * MINUTE)
    late = make_post(time.ms, 1)
    late["_indexed_ms"] = time.ms + 25_000
    api.add(late, make_post(time.ms + 1000, 2))
    for _ in range(5):
        simulation.run(time.seconds + 20)
        simulation.restart()
    assert simulation.read().posts == 2


def test_all_versions_of_an_edited_post_are_one(api: XApi, time: Time) -> None:
    first = make_post(time.ms - 60_000, 7)
    api.add(first)
    simulation = Simulation(api, time)
    simulation.poll()
    second = make_post(time.ms + 1000, 7, edits_of=first)
    api.add(second)
    simulation.run(time.seconds + 10)
    api.add(make_post(time.ms + 1000, 7, edits_of=second))
    simulation.run(time.seconds + 10)
    assert (simulation.read().posts, simulation.read().authors) == (1, 1)
    time.seconds = START + 3600 - 60 - 0.001
    assert simulation.read().posts == 1
    time.seconds += 0.001
    assert simulation.read().posts == 0


def test_both_vocabularies_are_understood(time: Time) -> None:
    posts = hour_of(150)
    for vocabulary in ("legacy", "post"):
        with XApi(posts, now=time, bearer=TOKEN, vocabulary=vocabulary) as api:
            simulation = Simulation(api, time, by_wire=True)
            simulation.poll()
            simulation.assert_true()


def test_no_posts_at_all_is_an_exact_zero(api: XApi, time: Time) -> None:
    for empty_list in (False, True):
        api.empty_data_list = empty_list
        simulation = Simulation(api, time)
        simulation.run(time.seconds + MINUTE)
        simulation.assert_true()


def test_user_credentials_are_signed_for_the_address_that_is_asked(time: Time) -> None:
    keys = OAuth1Keys("consumer", "consumer+secret", "token", "token+secret")
    posts = hour_of(230)
    with XApi(posts, now=time, oauth1=keys) as api:
        simulation = Simulation(api, time, keys=keys, by_wire=True)
        simulation.run(time.seconds + 10)
        assert not simulation.troubles
        simulation.assert_true()


@pytest.mark.parametrize(
    ("answer_seconds", "poll_seconds"),
    [(6.0, "5"), (20.0, "5"), pytest.param(1.2, "1", marks=pytest.mark.thorough)],
)
def test_slow_answers_starve_nothing_and_do_not_move_the_clock(
    api: XApi, time: Time, answer_seconds: float, poll_seconds: str
) -> None:
    """A live search was due after each slow answer: the gap of an interrupted fill stayed open."""
    api.add(*hour_of(900))
    simulation = Simulation(
        api, time, answer_seconds=answer_seconds, TWEETDOCK_POLL_SECONDS=poll_seconds
    )
    api.fail(faults.Changed(lambda payload: payload), faults.service_unavailable())
    simulation.run(time.seconds + 10 * MINUTE, simulation.assert_honest)
    simulation.assert_true()
    assert api.posts_read < in_window(api.posts) + 200


@pytest.mark.parametrize("hours", [-24 * 365, -1, -0.02, 0.02, 1, 24])
def test_the_servers_clock_rules_when_the_machines_is_off(
    api: XApi, time: Time, hours: float
) -> None:
    posts = hour_of(450)
    api.add(*posts)
    simulation = Simulation(api, time, machine_is_off_by=hours * 3600)
    simulation.run(time.seconds + 20)
    simulation.assert_true()
    # A wrong clock must not cost more than one page too many.
    assert api.posts_read <= in_window(posts) + 200


Refusal = tuple[Callable[[], faults.Fault], str, bool]
# One of each kind; test_x_client has the sentences and waits of all of them.
REFUSALS: list[Refusal] = [
    (faults.unauthorized, "X_BEARER_TOKEN", True),
    (faults.rate_limited, "rate limit", False),
    (lambda: faults.rate_limited(200), "rate limit is used up until", False),
    (faults.service_unavailable, "out of order (503)", False),
    (faults.html_200, "login page", False),
    (faults.garbage, "not with a page of posts", False),
    (faults.reset, "connection broke", False),
    (lambda: faults.cut(40), "connection broke", False),
]
MORE_REFUSALS: list[Refusal] = [
    (lambda: faults.status(400, {"title": "Invalid Request"}), "does not accept the search", True),
    (faults.credits_depleted, "any credits", True),
    (lambda: faults.credits_depleted("newer"), "any credits", True),
    (faults.client_forbidden, "approved developer account", True),
    (faults.spend_cap_reached, "until 2026-12-13 (403)", True),
    (faults.not_found, "X_API_URL", True),
    (faults.usage_capped, "Usage cap", True),
    (faults.rate_limited_by_code, "rate limit", False),
    (lambda: faults.rate_limited(-500), "rate limit", False),
    (faults.too_many_connections, "too many connections", False),
    (faults.html_503, "out of order (503)", False),
    (lambda: faults.redirect("http://127.0.0.1:1/login"), "login page", False),
    (lambda: faults.status(200, {"errors": [{"title": "?"}]}), "nothing but an error", False),
    (lambda: faults.status(429, [1, 2]), "rate limit", False),
    (lambda: faults.status(403, {"errors": None, "detail": 7}), "no reason given", True),
    (lambda: faults.status(503, "[" * 100_000), "out of order (503)", False),
    (lambda: faults.status(200, "[" * 100_000), "login page", False),
    (lambda: faults.status(200, {"data": {"id": "1"}, "meta": {}}), "not with a page", False),
    (lambda: faults.status(200, {"meta": {"next_token": 77}}), "not with a page", False),
    (lambda: faults.status(418, "tea"), "refuses the search (418)", False),
]


@pytest.mark.parametrize(
    ("fault", "sentence", "needs_owner"),
    [*REFUSALS, *(pytest.param(*one, marks=pytest.mark.thorough) for one in MORE_REFUSALS)],
)
def test_every_refusal_has_a_sentence_backs_off_and_heals(
    api: XApi, time: Time, fault: Callable[[], faults.Fault], sentence: str, *, needs_owner: bool
) -> None:
    api.add(*hour_of(150))
    simulation = Simulation(api, time, TWEETDOCK_POLL_SECONDS="20")
    simulation.poll()
    simulation.assert_true()
    api.fail_always(fault())
    before = len(api.requests)
    simulation.run(time.seconds + 10 * MINUTE, simulation.assert_honest)
    reading = simulation.read()
    assert reading.grade is Grade.STALE
    assert sentence in reading.sources["x"].detail
    assert len(api.requests) - before <= (15 if needs_owner else 35)
    assert [w.needs_owner for w in simulation.messages if hasattr(w, "needs_owner")][
        -1
    ] == needs_owner
    api.heal()
    api.add(make_post(time.ms - 1000, 77))
    simulation.run(time.seconds + 16 * MINUTE, simulation.assert_honest)
    simulation.assert_true()


def test_an_outage_is_partial_before_it_is_stale(api: XApi, time: Time) -> None:
    api.add(*hour_of(50))
    simulation = Simulation(api, time)
    simulation.poll()
    api.down()
    grades = []
    simulation.run(
        time.seconds + 7 * MINUTE, lambda: grades.append((time.seconds, simulation.read().grade))
    )
    assert list(dict.fromkeys(g for _, g in grades)) == ["exact", "partial", "stale"]
    assert re.match(r"no data for 7 min: 127\.0\.0\.1:", simulation.read().sources["x"].detail)
    assert simulation.read().dials["tweets"].position == 0
    api.up()
    simulation.run(time.seconds + MINUTE, simulation.assert_honest)
    simulation.assert_true()


def test_what_was_missed_in_an_outage_is_read_afterwards_and_paid_once(
    api: XApi, time: Time
) -> None:
    simulation = Simulation(api, time)
    simulation.poll()
    api.fail_always(faults.service_unavailable())
    simulation.run(time.seconds + 20 * MINUTE, simulation.assert_honest)
    api.add(*(make_post(NOW_MS + n * 1000, n % 90) for n in range(1000)))
    api.heal()
    simulation.run(time.seconds + 6 * MINUTE, simulation.assert_honest)
    simulation.assert_true()
    # All that was read is read once more each quarter of an hour, which costs nothing.
    assert api.posts_read == 2000
    assert api.bill("2026-09-21").posts == 1000


def test_an_interrupted_fill_goes_on_where_it_was(api: XApi, time: Time) -> None:
    posts = hour_of(900)
    api.add(*posts)
    simulation = Simulation(api, time)
    # One answer in two is lost.
    good = faults.Changed(lambda payload: payload)
    api.fail(*[good, faults.service_unavailable()] * 8)
    simulation.run(time.seconds + 3 * MINUTE, simulation.assert_honest)
    simulation.assert_true()
    assert api.posts_read < in_window(posts) + 200
    assert api.bill("2026-09-21").posts <= in_window(posts) + 5


def test_the_last_id_may_have_become_too_old(api: XApi, time: Time) -> None:
    api.add(*hour_of(150))
    simulation = Simulation(api, time)
    simulation.run(time.seconds + 10)
    refusal = "'since_id' must be a tweet id created after 2026-07-31T11:45Z."
    api.fail(faults.status(400, {"errors": [{"message": refusal}], "title": "Invalid Request"}))
    simulation.run(time.seconds + 20, simulation.assert_honest)
    assert not simulation.troubles
    simulation.assert_true()
    assert "since_id" in api.requests[-1].params


def test_a_gauge_that_slept_for_a_week_starts_anew(api: XApi, time: Time) -> None:
    api.add(*hour_of(150))
    simulation = Simulation(api, time)
    simulation.run(time.seconds + 10)
    time.seconds += 8 * 24 * 3600
    api.add(*hour_of(250, until_ms=time.ms))
    simulation.run(time.seconds + 10, simulation.assert_honest)
    assert not simulation.troubles
    simulation.assert_true()


@pytest.mark.parametrize("empty", [False, True])
def test_pages_without_end_are_left(api: XApi, time: Time, *, empty: bool) -> None:
    api.add(*hour_of(250))
    simulation = Simulation(api, time)
    api.fail_always(faults.endless_tokens(empty=empty))
    simulation.run(time.seconds + MINUTE, simulation.assert_honest)
    why = "nothing new" if empty else "newer than the page before it"
    assert any(why in trouble for trouble in simulation.troubles)
    assert len(simulation.batches) == len(api.requests) < 60
    api.heal()
    simulation.run(time.seconds + 6 * MINUTE, simulation.assert_honest)
    simulation.assert_true()


def test_entries_that_are_no_posts_are_left_out_and_admitted(api: XApi, time: Time) -> None:
    api.add(*hour_of(90))
    simulation = Simulation(api, time, TWEETDOCK_POLL_SECONDS="30")
    api.fail(faults.bad_posts())
    simulation.poll()
    simulation.assert_honest()
    assert simulation.read().grade is Grade.PARTIAL
    assert "could not be read" in simulation.read().sources["x"].detail
    simulation.run(time.seconds + 61 * MINUTE)
    simulation.assert_true()


def test_one_that_is_read_again_and_again_is_one(api: XApi, time: Time) -> None:
    """Each page told of it anew, by the moment of another neighbour, and charged it anew."""
    spoilt = make_post(time.ms - 1000, 1)
    api.add(*hour_of(90), spoilt)

    def spoil(payload: dict[str, Any]) -> dict[str, Any]:
        bad = spoilt | {"author_id": None}
        data = [bad if post["id"] == bad["id"] else post for post in payload.get("data", ())]
        return payload | {"data": data}

    simulation = Simulation(api, time)
    api.fail_always(faults.Changed(spoil))
    simulation.poll()
    for number in range(200):
        api.add(make_post(time.ms - 500, number))
        simulation.run(time.seconds + 5)
    times_sent = sum(spoilt["id"] in request.ids_returned for request in api.requests)
    assert times_sent > 3
    assert sum(len(batch.unreadable) for batch in simulation.batches) == 1
    assert simulation.read().sources["x"].detail.startswith("1 post of this window")
    assert sum(batch.billed or 0 for batch in simulation.batches) == api.bill("2026-09-21").posts


# test_x_posts reads pages with each of them.
MORE_ODD_IDS = ["1", 1, True, 12.7, "-5", "1" * 30, {}]


@pytest.mark.parametrize(
    "odd",
    [
        *("5", "9" * 19, None),
        *(pytest.param(one, marks=pytest.mark.thorough) for one in MORE_ODD_IDS),
    ],
)
def test_an_odd_id_neither_completes_the_past_nor_hides_the_future(
    api: XApi, time: Time, odd: object
) -> None:
    """One entry with the id "5" on the first page made it seem to reach back to 2010."""
    api.add(*hour_of(900))

    def spoil(payload: dict[str, Any]) -> dict[str, Any]:
        payload["data"][7] |= {"id": odd}
        return payload

    api.fail(faults.Changed(spoil), faults.service_unavailable())
    simulation = Simulation(api, time, TWEETDOCK_POLL_SECONDS="30")
    simulation.poll()
    simulation.assert_honest()
    assert simulation.read().grade is not Grade.EXACT
    api.add(make_post(time.ms + 1000, 5))
    simulation.run(time.seconds + 2 * MINUTE, simulation.assert_honest)
    assert simulation.read().posts >= in_window(api.posts, time.ms) - 1
    simulation.run(time.seconds + 62 * MINUTE, simulation.assert_honest)
    simulation.assert_true()


def test_word_of_what_x_could_not_find_beside_posts_is_no_trouble(api: XApi, time: Time) -> None:
    api.add(*hour_of(90))
    api.fail(faults.partial_errors())
    simulation = Simulation(api, time)
    simulation.poll()
    simulation.assert_true()


@pytest.mark.parametrize("fault", [faults.hang(), faults.drip(20, "headers"), faults.drip(20)])
def test_an_answer_that_does_not_end_is_cut(api: XApi, time: Time, fault: faults.Fault) -> None:
    api.add(*hour_of(90))
    simulation = Simulation(api, time)
    session = simulation.source._client._session
    session._whole_seconds = 0.2
    api.fail(fault)
    simulation.poll()
    assert "does not answer in time" in simulation.troubles[0]
    session._whole_seconds = WHOLE_SECONDS  # busy is not slow
    simulation.run(time.seconds + 10)
    simulation.assert_true()


def test_the_polls_stretch_before_the_rate_limit_refuses(time: Time) -> None:
    with XApi(hour_of(350), now=time, bearer=TOKEN, limit=30) as api:
        simulation = Simulation(api, time)
        simulation.run(time.seconds + 90 * MINUTE, simulation.assert_honest)
        assert {request.status for request in api.requests} == {200}
        assert len(api.requests) >= 6 * 28
        simulation.assert_true()


def test_a_limit_of_one_request_is_lived_with_and_admitted(time: Time) -> None:
    with XApi(hour_of(60), now=time, bearer=TOKEN, limit=1) as api:
        simulation = Simulation(api, time)
        simulation.run(time.seconds + 60 * MINUTE, simulation.assert_honest)
        assert {request.status for request in api.requests} == {200}
        assert len(api.requests) in (4, 5)
        assert any("rate limit leaves one search every 15 min" in t for t in simulation.troubles)


FAULTS: list[Callable[[], faults.Fault]] = [fault for fault, _, _ in REFUSALS + MORE_REFUSALS] + [
    faults.endless_tokens,
    faults.partial_errors,
    faults.bad_posts,
    lambda: faults.endless_tokens(empty=True),
]


@settings(max_examples=examples(12), deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    seed=st.integers(0, 2**32),
    limit=st.sampled_from([40, 80, 450]),
    machine_is_off_by=st.sampled_from([0.0, 0.0, -3600.0, 1800.0]),
)
def test_whatever_goes_wrong_no_reading_lies_and_the_end_is_exact(
    seed: int, limit: int, machine_is_off_by: float
) -> None:
    dice, time = random.Random(seed), Time()
    with XApi(hour_of(400, seed=seed), now=time, bearer=TOKEN, limit=limit) as api:
        simulation = Simulation(api, time, machine_is_off_by=machine_is_off_by)

        def happen() -> None:
            # The machine's own clock is wrong before the first word only: judge after it.
            if any(word.server_ms for word in simulation.messages):
                simulation.assert_honest()
            for _ in range(dice.choice([0, 1, 20])):
                late_ms = dice.randrange(12_000)
                post = make_post(time.ms - late_ms, dice.randrange(300), sequence=dice.randrange(9))
                api.add(post)
            if dice.random() < 0.3:
                api.fail(*(dice.choice(FAULTS)() for _ in range(dice.randrange(4))))

        simulation.run(START + 12 * MINUTE, happen)
        api.heal()
        simulation.run(time.seconds + 17 * MINUTE, simulation.assert_honest)
        simulation.assert_true(but_for="could not be read")


def test_a_window_shorter_than_the_look_back_archives_nothing_twice(api: XApi, time: Time) -> None:
    """It was forgotten what had been archived, and the look-back brought it again."""
    simulation = Simulation(api, time, TWEETDOCK_WINDOW_SECONDS="60")

    def happen() -> None:
        simulation.assert_honest()
        api.add(make_post(time.ms, 1))

    simulation.run(time.seconds + 10 * MINUTE, happen)
    assert len(simulation.archived) > 100


def test_an_error_of_somebody_else_does_not_set_the_clock(api: XApi, time: Time) -> None:
    """One 503 whose Date was 30 minutes ahead made an exact reading lose half its posts."""
    api.add(*hour_of(200))
    simulation = Simulation(api, time)
    simulation.poll()
    api.skew_seconds = 1800
    api.fail(faults.html_503())
    simulation.poll()
    api.skew_seconds = 0
    simulation.run(time.seconds + 2 * MINUTE, simulation.assert_honest)
    simulation.assert_true()


@pytest.mark.parametrize("fails", [False, True])
@settings(
    max_examples=3 if is_thorough() else 1,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
)
@given(seed=st.integers(0, 2**32))
def test_a_restart_anywhere_lies_not_once_and_reads_nothing_twice_that_was_saved(
    seed: int, *, fails: bool
) -> None:
    dice, time = random.Random(seed), Time()
    with XApi(hour_of(900, seed=seed), now=time, bearer=TOKEN, limit=10_000) as api:
        simulation = Simulation(api, time)
        read: set[str] = set()  # what is saved as complete, and older than the look-back
        moments: dict[str, int] = {}  # of what was read

        def saves() -> bool:
            is_saved = dice.random() < 0.15
            if is_saved:
                read_ids = {i for request in api.requests for i in request.ids_returned}
                moments.update((i, milliseconds(i)) for i in read_ids - moments.keys())
                read.clear()
                # X is asked by whole seconds: a gap's neighbours come with it.
                for since_ms, until_ms in simulation.gauge.seen["x"].spans:
                    last_ms = min(until_ms - 2000, time.ms - 150_000)
                    read.update(i for i, ms in moments.items() if since_ms + 2000 < ms < last_ms)
            return is_saved

        def happen() -> None:
            simulation.assert_honest()
            numbers = range(dice.choice([0, 0, 1, 1, 1, 150]))
            api.add(*(make_post(time.ms, dice.randrange(300), sequence=n) for n in numbers))
            if fails and dice.random() < 0.2:
                api.fail(*(dice.choice(FAULTS)() for _ in range(dice.randrange(4))))

        simulation.saves = saves
        simulation.run(time.seconds + 30, happen)
        for _ in range(6):
            known, asked = frozenset(read), len(api.requests)
            time.seconds += dice.choice([0.5, 20, 400])
            simulation.restart()
            simulation.run(time.seconds + dice.choice([1, 30, 130]), happen)
            again = [i for request in api.requests[asked:] for i in request.ids_returned]
            if not fails:
                assert known.isdisjoint(again)
        api.heal()
        # After faults the next try may be a quarter of an hour away.
        minutes = 17 if fails else 4
        simulation.run(time.seconds + minutes * MINUTE, simulation.assert_honest)
        simulation.assert_true(but_for="could not be read")


def test_what_we_ask_is_what_x_describes(api: XApi, time: Time) -> None:
    if x_openapi.description_file() is None:
        pytest.skip("X's OpenAPI description is not at hand: set TWEETDOCK_RECORDINGS")
    api.add(*hour_of(350))
    simulation = Simulation(api, time)
    simulation.run(time.seconds + 2 * MINUTE)
    for request in api.requests:
        x_openapi.check_request(request.params)
