"""Counting instead of reading: X's counts endpoint, its stand-in, and what a little money buys."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
import requests
import tweepy
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples
from simulation import TOKEN, Time
from spending import (
    DAY_MS,
    HOUR,
    MIDNIGHT_MS,
    NOON_MS,
    PRICE,
    Spender,
    make_client,
    posts_from,
    versions,
)
from standins import x_counts, x_openapi
from standins import x_faults as faults
from standins.x_api import OAuth1Keys, XApi
from standins.x_posts import make_post, milliseconds, snowflake

from tweetdock.core.coverage import Grade
from tweetdock.core.errors import SourceError
from tweetdock.core.post import Batch, Span, Tally, Trouble
from tweetdock.sources.x.budget import Bill, Budget
from tweetdock.sources.x.posts import posts_in

NOW_MS = MIDNIGHT_MS + 20 * 3_600_000
QUERY = "#dockercon -is:retweet"
needs_description = pytest.mark.skipif(
    x_openapi.description_file() is None,
    reason=f"{x_openapi.FOLDER} names no folder with X's OpenAPI description",
)


@pytest.fixture
def time() -> Time:
    return Time(NOW_MS / 1000)


@pytest.fixture
def api(time: Time) -> Iterator[XApi]:
    with XApi(now=time, bearer=TOKEN) as api:
        yield api


def ask(api: XApi, **params: Any) -> requests.Response:
    """Ask as a stranger would, by tweepy alone."""
    client = tweepy.Client(TOKEN, return_type=requests.Response)
    with requests.Session() as session:
        client.session.close()
        client.session = session
        session.request = moved(session.request, api.url)  # type: ignore[method-assign]
        try:
            answer = client.get_recent_tweets_count(**{"query": QUERY} | params)
        except tweepy.HTTPException as error:
            answer = error.response
        assert isinstance(answer, requests.Response)
        return answer


def moved(request: Callable[..., Any], url: str) -> Callable[..., Any]:
    def elsewhere(method: str, address: str, **said: Any) -> Any:
        address = address.replace("https://api.twitter.com", url)
        return request(method, address, **said | {"timeout": 5})

    return elsewhere


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


# The stand-in.


@pytest.mark.parametrize(("granularity", "step_ms"), x_counts.GRANULARITIES.items())
def test_its_buckets_are_those_of_the_clock_and_the_outermost_are_cut(
    api: XApi, granularity: str, step_ms: int
) -> None:
    since_ms, until_ms = NOW_MS - 30 * 3_600_000 - 12_000, NOW_MS - 47_000
    api.add(*posts_from(NOW_MS / 1000 - 31 * HOUR, 31 * HOUR, 700))
    answer = ask(
        api, granularity=granularity, start_time=moment(since_ms), end_time=moment(until_ms)
    ).json()
    buckets = answer["data"]
    times = [parse(bucket["start"]) for bucket in buckets] + [parse(buckets[-1]["end"])]
    assert (times[0], times[-1]) == (since_ms, until_ms)
    assert all(ms % step_ms == 0 for ms in times[1:-1])
    written = [milliseconds(post["id"]) for post in api.posts]
    for bucket in buckets:
        start, end = parse(bucket["start"]), parse(bucket["end"])
        assert bucket["tweet_count"] == sum(start <= ms < end for ms in written)
    total = sum(since_ms <= ms < until_ms for ms in written)
    assert answer["meta"] == {"total_tweet_count": total}


def parse(text: str) -> int:
    assert text.endswith(".000Z")
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def test_it_counts_a_week_until_30_seconds_ago_by_the_hour_unless_told(api: XApi) -> None:
    api.add(make_post(NOW_MS - 29_000, 1), make_post(NOW_MS - 31_000, 2))
    answer = ask(api).json()
    assert answer["meta"] == {"total_tweet_count": 1}
    assert len(answer["data"]) == 7 * 24
    assert parse(answer["data"][-1]["end"]) == NOW_MS - 30_000


def test_it_counts_by_ids_too(api: XApi) -> None:
    api.add(*(make_post(NOW_MS - n * 60_000, n) for n in range(1, 10)))
    answer = ask(api, since_id=snowflake(NOW_MS - 5 * 60_000)).json()
    assert answer["meta"] == {"total_tweet_count": 4}


def test_it_refuses_what_x_refuses(api: XApi, time: Time) -> None:
    assert ask(api, granularity="second").status_code == 400
    assert ask(api, start_time=moment(NOW_MS - 5_000)).status_code == 400
    assert ask(api, start_time=moment(NOW_MS - 8 * DAY_MS)).status_code == 400
    assert ask(api, query="").status_code == 400
    api.bearer = "another"
    assert ask(api).status_code == 401
    assert api.bill("2026-09-22") == (0, 0)
    keys = OAuth1Keys("consumer", "consumer+secret", "token", "token+secret")
    with XApi(now=time, oauth1=keys) as other:
        client = make_client(other, time, keys=keys)
        assert not client.can_count
        with pytest.raises(SourceError, match="401"):
            client.count(QUERY, Span(NOW_MS - 3_600_000, NOW_MS - 60_000))


def test_it_has_a_limit_of_its_own(api: XApi) -> None:
    api.counts_rate.limit = 3
    assert [ask(api).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert api.rate.used == 0
    assert api.bill("2026-09-22") == (0, 3)


def test_its_bill_names_each_post_once_a_day(api: XApi, time: Time) -> None:
    api.add(*posts_from(NOW_MS / 1000 - HOUR, HOUR, 150))
    spender = Spender(api, time, None)
    for _ in range(2):
        spender.restart()
        spender.poll()
    assert api.bill("2026-09-22") == (150, 0)
    time.seconds += 5 * HOUR
    api.add(*posts_from(time.seconds - HOUR, HOUR, 20, seed=2))
    spender.run(time.seconds + 10)
    assert api.bill("2026-09-23") == (20, 0)
    assert api.bill("2026-09-23").usd == 0.1


@needs_description
def test_its_answers_are_as_x_describes_them(api: XApi) -> None:
    api.vocabulary = "post"
    api.add(*posts_from(NOW_MS / 1000 - HOUR, HOUR, 50))
    described = x_openapi.description()
    schema = described["components"]["schemas"]["GetPostsCountsRecentResponse"]
    for answer in (ask(api).json(), ask(api, query="#nothing", granularity="minute").json()):
        x_openapi.check_schema("GetPostsCountsRecentResponse", answer)
        assert answer["meta"].keys() == {"total_post_count"}
        assert answer.keys() <= schema["properties"].keys()


@needs_description
def test_what_it_takes_and_what_we_ask_is_what_x_describes(api: XApi, time: Time) -> None:
    operation = x_openapi.description()["paths"][x_counts.PATH]["get"]
    names = {
        parameter.get("name") or parameter["$ref"].rsplit("/", 1)[-1]
        for parameter in operation["parameters"]
    }
    assert {name.casefold() for name in names} >= {"granularity", "start_time", "end_time"}
    make_client(api, time).count(QUERY, Span(NOW_MS - 3_600_000, NOW_MS - 60_000))
    assert api.requests[-1].params.keys() <= x_counts.PARAMETERS
    assert api.requests[-1].params["granularity"] == "minute"


# What is made of its answers.


def counted(noun: str, *buckets: tuple[int, int, Any]) -> bytes:
    data = [
        {"start": moment(since).isoformat(), "end": moment(until).isoformat(), f"{noun}_count": n}
        for since, until, n in buckets
    ]
    return json.dumps({"data": data, "meta": {}}).encode()


@pytest.mark.parametrize("noun", ["tweet", "post"])
def test_both_vocabularies_are_understood(noun: str) -> None:
    body = counted(noun, (NOON_MS, NOON_MS + 60_000, 7), (NOON_MS + 60_000, NOON_MS + 120_000, 5))
    assert posts_in(body, Span(NOON_MS, NOON_MS + 120_000)) == 12
    assert posts_in(body, Span(NOON_MS + 60_000, NOON_MS + 120_000)) == 5


def test_of_a_bucket_that_lies_in_part_inside_its_share_counts() -> None:
    body = counted(
        "tweet", (NOON_MS, NOON_MS + 60_000, 12), (NOON_MS + 60_000, NOON_MS + 90_000, 5)
    )
    assert posts_in(body, Span(NOON_MS + 45_000, NOON_MS + 600_000)) == 3 + 5
    assert posts_in(body, Span(NOON_MS - 9_000, NOON_MS)) == 0


def test_nothing_counted_is_zero() -> None:
    assert posts_in(b'{"meta":{"total_tweet_count":0}}', Span(0, NOON_MS)) == 0


BUCKET = {"start": "2026-09-22T12:00:00.000Z", "end": "2026-09-22T12:01:00.000Z"}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[" * 100_000,
        b"7",
        b"[]",
        b"{}",
        b'{"meta":[]}',
        b'{"data":{},"meta":{}}'.replace(b"{}", b'{"a":1}', 1),
        b'{"data":[7],"meta":{}}',
        *(
            json.dumps({"data": [BUCKET | odd], "meta": {}}).encode()
            for odd in (
                {},
                {"tweet_count": "7"},
                {"tweet_count": None},
                {"tweet_count": True},
                {"tweet_count": 1.5},
                {"tweet_count": -1},
                {"tweet_count": 10**30},
                {"tweet_count": 1, "start": "\ud800"},
                {"tweet_count": 1, "start": 7},
                {"tweet_count": 1, "end": "2026-09-22T11:00:00Z"},
                {"tweet_count": 1, "start": "99999-01-01T00:00:00Z"},
            )
        ),
    ],
)
def test_what_are_no_counts_is_a_trouble_and_no_crash(answer: bytes) -> None:
    with pytest.raises(SourceError, match=r"not with (JSON|counts)"):
        posts_in(answer, Span(NOON_MS, NOON_MS + 60_000))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["data", "meta", "start", "end", "tweet_count"]), inner
            )
        ),
    )
)
def test_no_json_at_all_makes_it_crash(answer: Any) -> None:
    try:
        posts_in(json.dumps(answer).encode(), Span(0, NOON_MS))
    except SourceError:
        return


@settings(max_examples=examples(40))
@given(
    start=st.integers(0, DAY_MS - 1),
    daily_usd=st.floats(0.1, 200),
    posts=st.integers(0, 100),
    window_seconds=st.sampled_from([60.0, 600.0, 3600.0, 86400.0]),
)
def test_counting_lasts_until_midnight_costs_no_more_than_is_kept_and_is_never_idle(
    start: int, daily_usd: float, posts: int, window_seconds: float
) -> None:
    budget, window_ms = Budget(PRICE, daily_usd), round(window_seconds * 1000)
    now_ms = MIDNIGHT_MS + start
    budget.charge(versions(min(posts, round(daily_usd / PRICE * 0.9))), now_ms)
    asked: list[int] = []
    while now_ms < MIDNIGHT_MS + DAY_MS - 10_000:
        due = budget.counting_due(now_ms, asked[-1] if asked else None, window_ms)
        if due == 0.0:
            budget.counted(now_ms)
            asked.append(now_ms)
            due = budget.counting_due(now_ms, now_ms, window_ms)
        now_ms += 600_000 if due is None else min(600_000, max(1, round(due * 1000)))
    assert all(b - a >= 59_999 for a, b in pairwise(asked))
    if len(asked) > 1:
        longest = max(b - a for a, b in pairwise(asked))
        assert longest <= window_seconds * 1000 + 600_000
        assert MIDNIGHT_MS + DAY_MS - asked[-1] <= window_seconds * 1000 + 600_000
    assert budget.billed(MIDNIGHT_MS).counts * PRICE <= daily_usd * 0.1 + 1e-9


def test_what_would_be_slower_than_the_window_is_not_asked() -> None:
    budget = Budget(PRICE, 0.5)  # ten questions
    assert budget.counting_due(MIDNIGHT_MS + 13 * 3_600_000, None, 3_600_000) is None
    assert budget.counting_due(MIDNIGHT_MS + 15 * 3_600_000, None, 3_600_000) == 0.0
    assert budget.counting_due(NOW_MS, None, 59_000) is None
    for free in (Budget(PRICE), Budget(PRICE, 1.0, counting_share=0.0)):
        assert free.counting_due(NOW_MS, None, 3_600_000) is None


# The source that counts once it may not read.


def tallies(spender: Spender) -> list[Tally]:
    return [batch.tally for batch in spender.batches if batch.tally]


def test_when_the_money_is_spent_the_posts_are_counted_until_midnight(
    api: XApi, time: Time
) -> None:
    api.add(*posts_from(time.seconds - HOUR, 6 * HOUR, 1200))
    spender = Spender(api, time, 1.0)
    spender.run(time.seconds + 3.5 * HOUR, spender.assert_honest)
    assert api.bill("2026-09-22").posts == spender.budget.billed(NOON_MS).posts
    assert 170 < api.bill("2026-09-22").posts <= 180
    assert api.bill("2026-09-22").counts == len(tallies(spender))
    assert len(tallies(spender)) in (17, 18)  # of 20 in four hours
    written = [milliseconds(post["id"]) for post in api.posts]
    for posts, at_ms in tallies(spender):
        assert at_ms % 60_000 == 0
        assert posts == sum(at_ms - 3_600_000 <= ms < at_ms for ms in written)
    for batch, trouble in pairwise(spender.messages):
        if isinstance(batch, Batch) and batch.tally:
            assert (batch.posts, batch.covers, batch.billed) == ((), None, 0)
            assert isinstance(trouble, Trouble)
            assert trouble.by_choice
            assert "X's budget for today is spent" in trouble.detail
    reading = spender.read()
    assert reading.grade is Grade.PARTIAL
    assert "it goes on at 00:00 UTC" in reading.sources["x"].detail
    spender.run(MIDNIGHT_MS / 1000 + 24 * HOUR + 20)
    assert spender.batches[-1].tally is None
    assert api.bill("2026-09-22").usd <= 1.0


def test_a_user_without_a_bearer_token_is_not_counted_for(time: Time) -> None:
    keys = OAuth1Keys("consumer", "consumer+secret", "token", "token+secret")
    with XApi(posts_from(time.seconds - HOUR, HOUR, 300), now=time, oauth1=keys) as api:
        spender = Spender(
            api,
            time,
            1.0,
            keys=keys,
        )
        spender.run(time.seconds + HOUR, spender.assert_honest)
        assert api.bill("2026-09-22") == (180, 0)
        assert all(request.path != x_counts.PATH for request in api.requests)


REFUSALS = [
    (faults.credits_depleted, "any credits", True),
    (faults.service_unavailable, "out of order (503)", False),
    (faults.html_200, "not with JSON", False),
    (lambda: faults.cut(30), "connection broke", False),
]
MORE_REFUSALS = [
    (faults.rate_limited, "rate limit", False),
    (faults.garbage, "not with counts", False),
    (faults.reset, "connection broke", False),
]


@pytest.mark.parametrize(
    ("fault", "sentence", "needs_owner"),
    [*REFUSALS, *(pytest.param(*one, marks=pytest.mark.thorough) for one in MORE_REFUSALS)],
)
def test_a_refused_count_leaves_the_reason_and_asks_again_and_heals(
    api: XApi, time: Time, fault: Callable[[], faults.Fault], sentence: str, *, needs_owner: bool
) -> None:
    api.add(*posts_from(time.seconds - HOUR, HOUR, 400))
    spender = Spender(api, time, 5.0)
    spender.budget.charge(versions(895), time.ms)
    spender.source._knows_time = True
    api.fail_always(fault())
    before = len(api.requests)
    spender.run(time.seconds + 600, spender.assert_honest)
    said = spender.troubles[0]
    assert "X's budget for today is spent" in said
    assert "until then: " in said
    assert sentence in said
    assert len(api.requests) - before <= 50
    troubles = [word for word in spender.messages if isinstance(word, Trouble)]
    assert troubles[0].needs_owner == needs_owner
    assert not tallies(spender)
    api.heal()
    spender.run(time.seconds + 1800, spender.assert_honest)
    assert tallies(spender)
    assert api.bill("2026-09-22").counts <= spender.budget.billed(NOON_MS).counts
    # A restart knows only of what was told.
    assert len(tallies(spender)) == spender.budget.billed(NOON_MS).counts


def test_an_answer_that_was_lost_is_paid(api: XApi, time: Time) -> None:
    budget = Budget(PRICE, 1.0)
    client = make_client(api, time, budget, whole_seconds=0.6)
    window = Span(NOW_MS - 3_600_000, NOW_MS - 60_000)
    for fault in (faults.cut(20), faults.service_unavailable(), faults.hang()):
        api.fail(fault)
        with pytest.raises(SourceError):
            client.count(QUERY, window)
    assert budget.billed(NOW_MS) == Bill(0, 2)
    api.down()
    with pytest.raises(SourceError):
        client.count(QUERY, window)
    assert budget.billed(NOW_MS) == Bill(0, 2)


def test_counts_set_a_wrong_clock_and_are_told_of_all_the_same(api: XApi, time: Time) -> None:
    spender = Spender(api, time, 5.0, machine_is_off_by=-1800)
    spender.budget.charge(versions(895), time.ms)
    spender.source._knows_time = True
    spender.poll()
    assert len(tallies(spender)) == spender.budget.billed(NOON_MS).counts > 0
    assert abs(spender.clock.now_ms() - time.ms) < 1000


def test_the_limit_of_counts_is_spared(api: XApi, time: Time) -> None:
    api.counts_rate.limit = 1
    client = make_client(api, time)
    window = Span(NOW_MS - 3_600_000, NOW_MS - 60_000)
    client.count(QUERY, window)
    with pytest.raises(SourceError, match="rate limit is used up until"):
        client.count(QUERY, window)
    assert len(api.requests) == 1
    time.seconds += 901
    client.count(QUERY, window)


@given(st.lists(st.integers(0, 2 * 3_600_000), max_size=40, unique=True), st.integers(0, 59_999))
def test_what_is_counted_of_a_window_is_brute_force(agos: list[int], offset_ms: int) -> None:
    dice = random.Random(1)
    now_ms = NOW_MS + offset_ms
    counts = x_counts.Counts.parse(
        {
            "query": QUERY,
            "granularity": "minute",
            "start_time": moment(NOW_MS - 3_600_000).isoformat(),
            "end_time": moment(NOW_MS - 60_000).isoformat(),
        },
        now_ms / 1000,
        dice.choice(["legacy", "post"]),
    )
    written = [NOW_MS - ago for ago in agos]
    found = [ms for ms in written if counts.start_ms <= ms < counts.end_ms]
    body = json.dumps(counts.answer(found)).encode()
    minutes = Span(NOW_MS - 30 * 60_000, NOW_MS - 60_000)
    truth = sum(minutes.since_ms <= ms < minutes.until_ms for ms in written)
    assert posts_in(body, minutes) == truth
