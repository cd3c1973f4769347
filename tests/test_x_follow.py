"""Accounts to follow: named one by one, or all whom somebody follows, which costs money to ask."""

import json
import logging
from collections.abc import Iterator, Mapping
from time import monotonic
from time import time as wall
from types import MappingProxyType
from typing import NamedTuple

import pytest
from simulation import TOKEN, Time, x_settings
from standins import in_memory
from standins import x_faults as faults
from standins.x_api import XApi
from standins.x_posts import make_post
from x_streaming import Streaming

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Known
from tweetdock.core.errors import SourceError
from tweetdock.sources.x.budget import Budget
from tweetdock.sources.x.client import XClient
from tweetdock.sources.x.follow import Followed, FollowLists
from tweetdock.sources.x.stream import XStream

DAY = 86_400.0


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def api(time: Time) -> Iterator[XApi]:
    with XApi(now=time, bearer=TOKEN) as api:
        api.users.following = {"7": [str(number) for number in range(100, 100 + 2345)]}
        yield api


def test_posts_of_followed_accounts_count_whatever_their_tags(api: XApi, time: Time) -> None:
    api.add(make_post(time.ms - 600_000, 5, tag="other"))
    with Streaming(api, time, follow=["@U5", "@u6"]) as streaming:
        streaming.run(60)
        assert len(streaming.posts) == 1
        quote = make_post(time.ms, 6, tag="other")
        quote["referenced_tweets"] = [{"type": "quoted", "id": "1"}]
        quote["_quoted_tags"] = ["dockercon"]
        api.add(quote, make_post(time.ms, 8, tag="other", sequence=1))
        streaming.run(15, streaming.assert_honest)
        streaming.assert_true()
        assert len(streaming.posts) == 2
        assert api.users.read == 0


def test_all_whom_somebody_follows_are_followed(
    api: XApi, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    api.add(make_post(time.ms - 600_000, 2444, tag="other"), make_post(time.ms - 500_000, 5))
    with Streaming(api, time, follow=["@u7:following"]) as streaming:
        streaming.run(300)
        api.add(make_post(time.ms, 100, tag="other"))
        streaming.run(15)
        assert {post.author for post in streaming.posts.values()} == {"x:2444", "x:5", "x:100"}
        # 65 queries, each twice a turn: within 300 requests in 15 min.
        assert len(streaming.api.requests) <= 2 * 65 + 300
        assert any("follows 2345 accounts" in m and "23.46 USD" in m for m in caplog.messages)
        assert all(len(rule.value) <= 512 for rule in api.rules.kept.values())
        assert len(api.rules.kept) > 60


def test_a_list_is_read_no_further_than_the_days_money_reaches(api: XApi, time: Time) -> None:
    """It cost 23.46 USD where a day was to cost 0.10."""
    budget = Budget(0.005, 0.10, counting_share=0.0)
    with Streaming(api, time, follow=["@u7:following"], budget=budget) as streaming:
        streaming.run(60)
        assert "budget" in streaming.told[0][1]
        assert 5 <= api.users.read <= 10
        assert not api.stream.is_open
        read = api.users.read
        streaming.run(DAY)
        # What was read is kept: the next day goes on behind it.
        assert read < api.users.read <= 2 * 10
        assert len(set(api.users.shown)) == api.users.read


def test_the_cost_of_a_list_is_told_by_the_next_batch(api: XApi, time: Time) -> None:
    api.users.following = {"7": ["100", "101"]}
    budget = Budget(0.005, 1.0, counting_share=0.0)
    with Streaming(api, time, follow=["@u7:following"], budget=budget) as streaming:
        streaming.run(60)
        assert api.users.read == 3
        assert sum(batch.billed or 0 for batch in streaming.batches) == 3 * 2
        assert budget.billed(time.ms).posts == 3 * 2
        assert "0.03 of 1.00 USD" in streaming.batches[-1].remark


def test_pages_read_are_kept_when_a_later_one_fails() -> None:
    """A failure at the last page had all of them read and paid for again."""
    page = {"data": [{"id": "1", "username": "a"}], "meta": {"next_token": "t"}}
    last = {"data": [{"id": "2", "username": "b"}], "meta": {}}
    lists = lists_of(page, b"<html>", last)
    with pytest.raises(SourceError, match="not with JSON"):
        lists.read("me", 5)
    assert lists.read("me", 6) == Followed("me", 6, "a b")


def test_more_searches_than_the_rate_limit_allows_are_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = " ".join(f"account_{number:06d}" for number in range(8000))
    read_ms = round(wall() * 1000)
    stream = XStream(
        ["a"],
        x_settings("http://127.0.0.1:9", TWEETDOCK_FOLLOW="@me:following"),
        clock=Clock(wall, monotonic),
        budget=Budget(),
        window_seconds=3600,
        cursor=json.dumps({"followed": [["me", read_ms, names]]}),
    )
    with pytest.raises(SourceError):
        list(stream.poll(Known()))
    assert sum("searches" in message for message in caplog.messages) == 1
    assert json.loads(stream.search.cursor)["followed"] == [["me", read_ms, names]]


def test_the_list_is_kept_over_a_restart_and_asked_for_anew_after_a_week(
    api: XApi, time: Time
) -> None:
    api.users.following = {"7": ["100"]}
    with Streaming(api, time, follow=["@u7:following"]) as streaming:
        streaming.run(60)
        streaming.restart()
        streaming.run(60)
        assert api.users.read == 2
        api.users.following = {"7": ["100", "101"]}
        time.seconds += 7 * DAY
        streaming.run(60)
        assert api.users.read == 2 + 3
        api.add(make_post(time.ms, 101, tag="other"))
        streaming.run(60)
        assert len(streaming.posts) == 1
        # A list that is refused is one to go on with for a day.
        time.seconds += 7 * DAY
        api.other_faults = [faults.client_forbidden()]
        streaming.run(60)
        assert api.stream.is_open
        assert api.users.read == 5
        time.seconds += DAY
        streaming.run(60)
        assert api.users.read == 5 + 3


def test_an_account_that_is_not_there_is_said(api: XApi, time: Time) -> None:
    with Streaming(api, time, follow=["@nobody:following"]) as streaming:
        streaming.run(300)
        assert streaming.told[0] == (
            "stream",
            "X knows no account @nobody; correct TWEETDOCK_FOLLOW",
        )
        assert streaming.errors[0].needs_owner
        assert len(streaming.errors) <= 4
        assert api.requests == []
        assert api.stream.connects == []


def test_a_refused_list_is_explained(api: XApi, time: Time) -> None:
    api.other_faults = [faults.client_forbidden()]
    with Streaming(api, time, follow=["@u7:following"]) as streaming:
        streaming.run(1)
        assert "approved developer account" in streaming.told[0][1]


class Answer(NamedTuple):
    """What X might say of its users."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})


def lists_of(*pages: object) -> FollowLists:
    left = list(pages)

    def answer(question: in_memory.Question) -> Answer:
        if "/following" not in question.target:
            return Answer(b'{"data":{"id":"7"}}')
        page = left.pop(0) if len(left) > 1 else left[0]
        return Answer(page if isinstance(page, bytes) else json.dumps(page).encode())

    url, clock, budget = "http://127.0.0.1:9", Clock(wall, monotonic), Budget()
    client = XClient(x_settings(url), clock=clock, budget=budget)
    in_memory.mount(client._session, url, answer)
    return FollowLists(["me"], client, budget)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ({}, ""),
        ({"data": [], "meta": []}, ""),
        ({"data": [{"username": "a"}, {"username": None}, {"username": "b c"}, {}]}, "a"),
        ({"data": [{"username": "a"}], "meta": {"next_token": "t"}}, "a"),
        ({"data": [{"username": "a"}], "meta": {"next_token": 5}}, "a"),
    ],
)
def test_odd_lists_are_read_as_far_as_they_go(page: object, names: str) -> None:
    assert lists_of(page).read("me", 5) == Followed("me", 5, names)


@pytest.mark.parametrize("page", [b"<html>", b"[" * 100_000, b"[]", b'{"data":5}'])
def test_what_is_no_list_is_said(page: bytes) -> None:
    with pytest.raises(SourceError, match="X's address answers, but not with"):
        lists_of(page).read("me", 5)
