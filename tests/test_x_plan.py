"""Which search is next: what is new, what is ripe, and all of the day once more."""

import json
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples
from standins.x_posts import snowflake

from tweetdock.core.coverage import Known
from tweetdock.core.errors import SourceError
from tweetdock.core.post import Post, Removal, Span
from tweetdock.core.times import DAY_MS
from tweetdock.sources.x.plan import MOST_AGAIN, Search, SearchPlan, SearchRequest
from tweetdock.sources.x.posts import PostPage, snowflake_ms

NOW_MS = 1_790_000_000_000
HOUR = 3_600_000
MINUTE = 60_000
LATE_MS = 120_000


def noon() -> int:
    return NOW_MS - NOW_MS % DAY_MS + DAY_MS // 2


def page_of(ids: Sequence[int], served_ms: int, token: str | None = None) -> PostPage:
    posts = tuple(Post(f"x:{one}", "x:1", snowflake_ms(one)) for one in ids)
    return PostPage(posts, tuple(ids), token, served_ms=served_ms)


class Gauge:
    """A plan, what is known for certain as a gauge keeps it, and X by an exact clock.

    X is `ahead_ms` of that clock. posts: ids, by when they show.
    """

    def __init__(self, cursor: str = "", *seen: Span, now_ms: int = NOW_MS) -> None:
        self.plan = SearchPlan(window_ms=HOUR, cursor=cursor)
        self.seen = Known(seen, LATE_MS)
        self.now_ms = now_ms
        self.ahead_ms = 0
        self.posts: dict[int, int] = {}
        self.found: set[int] = set()
        self.removals: list[Removal] = []

    def post(self, at_ms: int, shows_ms: int | None = None) -> int:
        post_id = snowflake(at_ms + self.ahead_ms, len(self.posts) % 1000)
        self.posts[post_id] = at_ms if shows_ms is None else shows_ms
        return post_id

    def poll(self, *, page_size: int = 100, most_pages: int = 100) -> SearchRequest:
        """One search, of so many pages at the most."""
        request = self.plan.next(self.seen, self.now_ms)
        search, served_ms = Search(request, ["#a"]), self.now_ms + self.ahead_ms
        found = [i for i in sorted(self.posts, reverse=True) if self._is_asked_for(i, request)]
        while not search.is_done and most_pages:
            ids, found = found[:page_size], found[page_size:]
            page = page_of(ids, served_ms, "more" if found else None)
            covers = search.add_page(page)
            self.removals += self.plan.record(search, page, self.now_ms)
            if covers:
                until_ms = min(covers.until_ms, search.read_ms - self.seen.late_ms, self.now_ms)
                self.seen.add(Span(covers.since_ms, until_ms))
            self.found.update(ids)
            most_pages -= 1
        return request

    def run(self, ms: int) -> list[SearchRequest]:
        """Poll as long, each five seconds or at once if that is wanted."""
        asked, end_ms = [], self.now_ms + ms
        while self.now_ms < end_ms:
            asked.append(self.poll())
            while self.plan.is_behind(self.seen, self.now_ms):
                asked.append(self.poll())
                assert len(asked) < 10_000
            self.now_ms += 5000
            self.seen.forget_before(self.now_ms - HOUR)
        return asked

    def _is_asked_for(self, post_id: int, request: SearchRequest) -> bool:
        if self.posts[post_id] > self.now_ms:
            return False
        if request.since_id is not None:
            return post_id > request.since_id
        at_ms, until_ms = snowflake_ms(post_id), request.until_ms or NOW_MS * 2
        return request.since_ms < at_ms <= until_ms


def is_new(request: SearchRequest) -> bool:
    return request.until_ms is None


def test_first_the_window_is_read_then_what_is_new_and_once_a_minute_from_further_back() -> None:
    gauge = Gauge(now_ms=noon())
    first = gauge.post(noon() - 5000)
    second = gauge.post(noon() + 100_000)
    asked = gauge.run(5 * MINUTE)
    assert asked[0] == SearchRequest(noon() - HOUR)
    assert asked[1] == SearchRequest(noon() - 5000, since_id=first)
    # After two quiet minutes what is new is all that is ripe, but for what was before.
    assert [r for r in asked if r.until_ms] == [SearchRequest(noon() + 80_000, noon() + 100_000)]
    back = [r for r in asked[1:] if r.since_id not in (first, second) and not r.until_ms]
    assert [r.since_ms for r in back] == [
        noon() + n * 50_000 - 2 * LATE_MS for n in range(len(back))
    ]
    assert 3 <= len(back) <= 5


def test_of_many_posts_what_is_ripe_is_asked_for_alone() -> None:
    gauge = Gauge(now_ms=noon())
    for n in range(-3000, 3000):
        gauge.post(noon() + n * 100)
    asked = gauge.run(5 * MINUTE)
    back = [r.since_ms for r in asked[1:] if r.until_ms is None and r.since_ms < noon() - 6000]
    ripe = [r for r in asked if r.until_ms]
    assert back == []
    assert [r.since_ms for r in ripe] == [noon() + n * 50_000 - LATE_MS for n in range(len(ripe))]
    assert 4 <= len(ripe) <= 6


@pytest.mark.parametrize("shows_after_ms", [90_000, 170_000, 250_000])
def test_a_post_that_shows_after_a_newer_one_is_found_within_a_minute(shows_after_ms: int) -> None:
    gauge = Gauge(now_ms=noon())
    gauge.run(5 * MINUTE)
    late = gauge.post(gauge.now_ms, gauge.now_ms + shows_after_ms)
    for n in range(60):
        gauge.post(gauge.now_ms + 1000 + n * 5000)
    gauge.run(shows_after_ms)
    assert late not in gauge.found
    gauge.run(MINUTE)
    assert late in gauge.found


def test_what_shows_later_than_half_a_window_is_read_once_more_all_the_same() -> None:
    """It was to be found with what is new, from before the window, and so nobody asked for it."""
    gauge = Gauge(now_ms=noon())
    gauge.seen.late_ms = 40 * MINUTE
    for n in range(-60, 80):
        gauge.post(noon() + n * MINUTE)
    for _ in range(70):
        gauge.run(MINUTE)
        assert (gauge.seen.until_ms or 0) > gauge.now_ms - gauge.seen.late_ms - 2 * MINUTE


def test_what_an_interrupted_search_has_left_out_is_not_skipped() -> None:
    gauge = Gauge()
    gauge.run(MINUTE)
    left_out = [gauge.post(gauge.now_ms + n) for n in range(250)]
    gauge.now_ms += 5000
    gauge.poll(most_pages=1)
    assert len(gauge.found) == 100
    gauge.now_ms += 5000
    gauge.poll()
    assert gauge.found >= set(left_out)


def test_a_refused_last_id_is_asked_for_by_time_until_that_has_worked() -> None:
    gauge = Gauge()
    gauge.post(NOW_MS - 5000)
    gauge.run(10_000)
    request = gauge.plan.next(gauge.seen, gauge.now_ms)
    assert gauge.plan.refused(request)
    newest = gauge.post(gauge.now_ms - 1)
    request = gauge.poll()
    assert request == SearchRequest(NOW_MS - LATE_MS)
    assert not gauge.plan.refused(request)
    assert gauge.poll().since_id == newest


@pytest.mark.parametrize("offset_ms", [-HOUR - 1, 5 * MINUTE, HOUR, 24 * HOUR * 365 * 20])
def test_an_id_of_another_time_in_the_cursor_does_no_harm(offset_ms: int) -> None:
    """A look-back that was dated in the future stopped all others until then."""
    cursor = json.dumps({"newest_id": snowflake(NOW_MS + offset_ms), "looked_back_ms": NOW_MS * 2})
    gauge = Gauge(cursor, Span(NOW_MS - HOUR, NOW_MS - LATE_MS))
    assert gauge.poll().since_ms == NOW_MS - LATE_MS
    posts = [gauge.post(NOW_MS + n * 1000) for n in range(300)]
    gauge.run(6 * MINUTE)
    assert gauge.found >= set(posts)


def test_where_an_earlier_plan_left_off_is_gone_on_from() -> None:
    newest = snowflake(NOW_MS - 9000)
    for cursor in (
        {"newest_id": newest, "caught_up_ms": NOW_MS - 30_000, "looked_back_ms": NOW_MS - 30_000},
        {"connects": [], "followed": [], "newest_id": newest},
    ):
        gauge = Gauge(json.dumps(cursor), Span(NOW_MS - HOUR, NOW_MS - LATE_MS))
        assert gauge.poll() == SearchRequest(NOW_MS - 9000, since_id=newest)


@pytest.mark.parametrize("ahead_ms", [-40 * MINUTE, -30 * MINUTE, -3000, 3000, 30 * MINUTE])
def test_a_clock_of_xs_that_is_outvoted_makes_no_poll_follow_at_once_for_ever(
    ahead_ms: int,
) -> None:
    gauge = Gauge()
    gauge.ahead_ms = ahead_ms
    gauge.post(NOW_MS - 5000)
    asked = gauge.run(10 * MINUTE)
    assert len(asked) <= 2 * 120 + 5
    # Whoever has read the window does not read it over and over.
    if ahead_ms > 0:
        assert sum(request.since_ms <= NOW_MS - HOUR + 10 * MINUTE for request in asked) == 1


@settings(max_examples=examples(20))
@given(seed=st.integers(0, 2**32))
def test_whatever_is_late_or_breaks_all_that_is_certain_is_found(seed: int) -> None:
    dice, gauge = random.Random(seed), Gauge()
    for _ in range(400):
        for _ in range(dice.choice([0, 0, 1, 30])):
            at_ms = gauge.now_ms - dice.randrange(5000)
            gauge.post(at_ms, at_ms + dice.choice([0, 20_000, 119_000]))
        gauge.poll(page_size=10, most_pages=dice.choice([1, 2, 100]))
        gauge.now_ms += dice.choice([5000, 5000, 5000, 400_000])
        for since_ms, until_ms in gauge.seen:
            there = {i for i in gauge.posts if since_ms < snowflake_ms(i) <= until_ms}
            assert there <= gauge.found
        gauge.seen.forget_before(gauge.now_ms - HOUR)
    gauge.run(5 * MINUTE)
    assert gauge.seen.gaps(Span(gauge.now_ms - HOUR, gauge.now_ms - LATE_MS - 65_000)) == []


# One search.


@pytest.mark.parametrize("odd", [5, 1 << 62])
def test_a_single_odd_id_neither_completes_the_past_nor_hides_the_future(odd: int) -> None:
    good = [snowflake(NOW_MS - n * 1000) for n in range(1, 4)]
    search = Search(SearchRequest(NOW_MS - HOUR), ["#a"])
    seen = search.add_page(page_of((*good, odd), NOW_MS, "more"))
    assert seen == Span(NOW_MS - 3000, NOW_MS)
    assert search.newest_id == good[0]
    search.check()


def test_a_next_page_that_is_newer_than_the_one_before_completes_nothing() -> None:
    """It was taken for the rest, and all before it for read."""
    ids = [snowflake(NOW_MS - n * 1000) for n in range(1, 10)]
    search = Search(SearchRequest(NOW_MS - HOUR), ["#a"])
    search.add_page(page_of(ids[3:6], NOW_MS, "more"))
    assert search.add_page(page_of(ids[4:9], NOW_MS)) is None
    assert not search.is_done
    with pytest.raises(SourceError, match="newer than the page before"):
        search.check()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_a_stretch_is_complete_when_every_query_was_read_for_it(pages: list[int]) -> None:
    search = Search(SearchRequest(NOW_MS - HOUR), [f"#{n}" for n in range(len(pages))])
    at_ms = NOW_MS
    for number, length in enumerate(pages):
        for n in range(length + 1):
            assert search.query == f"#{number}"
            at_ms += 1000
            ids = [snowflake(NOW_MS - n * 1000 - 500)]
            covers = search.add_page(page_of(ids, at_ms, "more" if n < length else None))
            search.check()
            if number < len(pages) - 1:
                assert covers is None
    assert search.is_done
    # What was written after the first question the other queries may have been asked too early for.
    assert covers == Span(NOW_MS - HOUR, NOW_MS + 1000)
    assert search.read_ms == NOW_MS + 1000


def test_a_query_that_fails_is_asked_once_more_before_the_others_go_on() -> None:
    search = Search(SearchRequest(NOW_MS - HOUR), ["#a", "#b", "#c"])
    search.add_page(page_of([], NOW_MS))
    search.add_page(page_of([snowflake(NOW_MS - 1000)], NOW_MS, "more"))
    assert search.go_back()
    assert (search.query, search.token) == ("#b", None)
    search.add_page(page_of([snowflake(NOW_MS - 1000)], NOW_MS))
    assert not search.go_back()


# Once more.


def test_every_quarter_of_an_hour_all_that_was_read_today_is_read_once_more() -> None:
    gauge = Gauge(now_ms=noon())
    late = gauge.post(gauge.now_ms - 100_000, gauge.now_ms + 600_000)
    asked = gauge.run(40 * MINUTE)
    again = [request for request in asked if request.is_again]
    assert [(r.since_ms, r.until_ms) for r in again] == [
        (noon() + n * 15 * MINUTE - HOUR, noon() + n * 15 * MINUTE - LATE_MS) for n in (1, 2)
    ]
    assert late in gauge.found


def test_what_is_of_yesterday_or_was_read_before_the_start_is_not_bought_anew() -> None:
    midnight = noon() - DAY_MS // 2
    gauge = Gauge(now_ms=midnight - 10 * MINUTE)
    again = [request for request in gauge.run(30 * MINUTE) if request.is_again]
    assert [request.since_ms for request in again] == [midnight + 5000]
    gauge = Gauge("", Span(noon() - HOUR, noon() - 10 * MINUTE), now_ms=noon())
    again = [request for request in gauge.run(20 * MINUTE) if request.is_again]
    assert [request.since_ms for request in again] == [noon() - 10 * MINUTE]


def test_without_money_for_a_page_nothing_is_read_once_more() -> None:
    gauge = Gauge(now_ms=noon())
    gauge.plan = SearchPlan(window_ms=HOUR, reads_again=lambda: False)
    assert not any(request.is_again for request in gauge.run(40 * MINUTE))


def test_no_more_than_thirty_pages_are_read_once_more() -> None:
    gauge = Gauge(now_ms=noon())
    for n in range(2 * MOST_AGAIN):
        gauge.post(noon() - n * 500)
    (again,) = [request for request in gauge.run(20 * MINUTE) if request.is_again]
    number = sum(again.since_ms < snowflake_ms(i) for i in gauge.posts)
    assert MOST_AGAIN // 4 < number <= MOST_AGAIN


def test_a_post_that_is_gone_twice_in_a_row_is_gone() -> None:
    gauge = Gauge(now_ms=noon())
    kept, gone, edited = (gauge.post(noon() - n * 1000 - 600_000) for n in range(3))
    gauge.run(MINUTE)
    shows_ms = gauge.posts.pop(gone)
    gauge.run(20 * MINUTE)
    assert gauge.removals == []
    gauge.posts[gone] = shows_ms  # X had only lost sight of it
    del gauge.posts[edited]
    gauge.run(15 * MINUTE)
    assert gauge.removals == []
    del gauge.posts[gone]
    gauge.run(16 * MINUTE)
    (removal,) = gauge.removals
    assert (removal.key, removal.created_ms) == (f"x:{edited}", snowflake_ms(edited))
    assert removal.at_ms >= noon() + 45 * MINUTE
    assert kept in gauge.found


def test_a_post_that_was_edited_meanwhile_is_not_gone() -> None:
    gauge = Gauge(now_ms=noon())
    gauge.run(MINUTE)
    key = "x:7"
    for minutes in range(50):
        version = snowflake(gauge.now_ms, minutes)
        search = Search(SearchRequest(0), ["#a"])
        page = PostPage((Post(key, "x:1", noon()),), (version,), None, served_ms=gauge.now_ms)
        search.add_page(page)
        gauge.plan.record(search, page, gauge.now_ms)
        gauge.run(MINUTE)
    assert gauge.removals == []
