"""The simulated hashtag: believable, and the same whenever and however it is asked."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from profiles import is_thorough

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.post import Post, Span
from tweetdock.sources.demo import Demo, last_burst, posts_in

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MIDNIGHT = 20_000 * DAY
ONE_DAY = Span(MIDNIGHT, MIDNIGHT + DAY)

moments = st.integers(MIDNIGHT, MIDNIGHT + 3 * HOUR)


def posts(span: Span, seed: int = 1) -> list[Post]:
    return list(posts_in(span, seed=seed))


def by_key(found: list[Post]) -> list[Post]:
    return sorted(found, key=lambda post: post.key)


def per_minute(found: list[Post]) -> Counter[int]:
    return Counter(post.created_ms // MINUTE for post in found)


def test_the_same_seed_makes_up_the_same_and_another_something_else() -> None:
    hour = Span(MIDNIGHT, MIDNIGHT + HOUR)
    assert posts(hour) == posts(hour)
    assert posts(hour, seed=2) != posts(hour)


@given(st.lists(moments, min_size=2, max_size=8).map(sorted), st.integers(0, 5))
def test_any_cut_of_a_stretch_gives_the_same_posts(cuts: list[int], seed: int) -> None:
    parts = [Span(*pair) for pair in pairwise(cuts)]
    pieces = [post for part in parts for post in posts(part, seed)]
    assert by_key(pieces) == by_key(posts(Span(cuts[0], cuts[-1]), seed))


@given(moments, moments)
def test_all_posts_lie_within_the_span(since: int, until: int) -> None:
    assert all(since < post.created_ms <= until for post in posts(Span(since, until)))


def test_a_key_names_one_post_only() -> None:
    keys = [post.key for post in posts(ONE_DAY)]
    assert len(set(keys)) == len(keys)


def test_conference_hours_are_busy_and_nights_are_quiet_but_never_dead() -> None:
    number = 7 if is_thorough() else 3
    days = [Span(MIDNIGHT + n * DAY, MIDNIGHT + (n + 1) * DAY) for n in range(number)]
    hours = Counter(post.created_ms // HOUR % 24 for day in days for post in posts(day))
    night, noon = sum(hours[h] for h in range(5)), sum(hours[h] for h in range(11, 16))
    assert noon > 2 * night
    assert min(hours.values()) / number / 60 >= 2


def test_a_burst_jumps_and_fades_within_minutes() -> None:
    rates = per_minute(posts(ONE_DAY))
    first = MIDNIGHT // MINUTE
    starts = [
        burst.minute
        for minute in range(first, first + 24 * 60)
        if (burst := last_burst(minute, 1)) and burst.minute == minute > first + 10
    ]
    assert 5 <= len(starts) <= 12

    def around(start: int, since: int, until: int) -> float:
        return sum(rates[start + minute] for minute in range(since, until)) / (until - since)

    jumps = [around(start, 0, 2) / around(start, -10, 0) for start in starts]
    fades = [around(start, 20, 30) / around(start, 0, 2) for start in starts[:-1]]
    assert sum(jumps) / len(jumps) > 3
    assert max(fades) < 0.7


def test_some_authors_return_and_many_write_once() -> None:
    authors = Counter(post.author for post in posts(ONE_DAY))
    assert len(authors) < authors.total()
    assert max(authors.values()) > 50
    assert sum(number == 1 for number in authors.values()) > len(authors) / 2


def test_who_answered_to_a_burst_answers_again_later() -> None:
    times: dict[str, list[int]] = {}
    for post in posts(ONE_DAY):
        if post.author.startswith("demo:excited"):
            times.setdefault(post.author, []).append(post.created_ms)
    assert any(max(when) - min(when) > 15 * MINUTE for when in times.values())


def test_the_source_brings_the_past_window_at_once_and_then_what_is_new() -> None:
    now = [MIDNIGHT / 1000]
    clock = Clock(wall=lambda: now[0], monotonic=lambda: now[0])
    demo = Demo(clock=clock, window_seconds=3600, poll_seconds=5, seed=3)
    (past,) = demo.poll(Spans())
    now[0] += 60
    assert past.covers
    (fresh,) = demo.poll(Spans([past.covers]))
    assert past.covers == Span(MIDNIGHT - HOUR, MIDNIGHT)
    assert fresh.covers == Span(MIDNIGHT, MIDNIGHT + MINUTE)
    whole = Span(MIDNIGHT - HOUR, MIDNIGHT + MINUTE)
    assert by_key([*past.posts, *fresh.posts]) == by_key(posts(whole, seed=3))
