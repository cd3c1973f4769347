"""The sliding window against brute force, and its promises one by one."""

import random
import tracemalloc
from dataclasses import dataclass, field
from itertools import permutations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from profiles import examples, is_thorough

from tweetdock.core import counter, fingerprints
from tweetdock.core.counter import Mark, SlidingWindow
from tweetdock.core.post import Post

HOUR = 3_600_000
NOON = 1_760_000_400_000


@dataclass
class Known:
    """A post as brute force knows it; last_ms: when it was removed, or known to be there."""

    author: str | None
    at_ms: int
    last_ms: int = 0
    is_removed: bool = False


@dataclass
class BruteForce:
    """The same window in the most obvious way: all that is known, counted anew each time."""

    window_ms: int
    now_ms: int
    known: dict[str, Known] = field(default_factory=dict)

    def add(self, post: Post) -> bool:
        if post.created_ms <= self.now_ms - self.window_ms:
            return False
        known = self.known.get(post.key)
        if known is None:
            last_ms = post.as_of_ms if post.as_of_ms > post.created_ms else 0
            self.known[post.key] = Known(post.author, post.created_ms, last_ms)
            return True
        if post.as_of_ms <= max(known.last_ms, known.at_ms):
            return False
        if known.author is None and post.created_ms < known.at_ms:
            return False
        was_removed, known.is_removed = known.is_removed, False
        known.author = known.author or post.author
        known.last_ms = post.as_of_ms
        return was_removed

    def remove(self, key: str, at_ms: int, created_ms: int | None) -> bool:
        known = self.known.get(key)
        if known is not None:
            if at_ms <= known.last_ms:
                return False
            known.is_removed, known.last_ms = True, at_ms
            return True
        own_ms = at_ms if created_ms is None else created_ms
        if own_ms <= self.now_ms - self.window_ms:
            return False
        self.known[key] = Known(None, own_ms, at_ms, is_removed=True)
        return True

    def advance(self, now_ms: int) -> None:
        self.now_ms = now_ms
        start = now_ms - self.window_ms
        self.known = {key: known for key, known in self.known.items() if known.at_ms > start}

    def totals(self) -> tuple[int, int]:
        there = [
            known.author
            for known in self.known.values()
            if not known.is_removed and known.at_ms <= self.now_ms
        ]
        return len(there), len(set(there))


def totals(window: SlidingWindow) -> tuple[int, int]:
    """Return what the window counts."""
    return window.posts, window.authors


Operation = tuple[str, int, int, int, int, int | None]
# Times are told in quarters of a window and a few milliseconds, so that borders are met often.
operations = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add", "remove", "advance", "advance"]),
        st.integers(0, 19),
        st.integers(0, 4),
        st.one_of(st.integers(-6, 6), st.sampled_from([-400_000, 400_000])),
        st.integers(-2, 2),
        st.none() | st.integers(0, 4),
    ),
    max_size=60,
)


def perform(window: SlidingWindow | BruteForce, step: Operation, window_ms: int) -> bool | None:
    """Let one of the two windows do one operation and return its answer."""
    verb, key, author, quarters, more, later = step
    at_ms = NOON + quarters * window_ms // 4 + more
    later_ms = None if later is None else at_ms + later * window_ms // 8
    if verb == "advance":
        window.advance(max(window.now_ms, at_ms))
        return None
    if verb == "remove":
        created_ms = None if later_ms is None else at_ms
        return bool(window.remove(f"x:{key}", later_ms or at_ms, created_ms))
    return bool(window.add(Post(f"x:{key}", f"x:{author}", at_ms, later_ms or 0)))


@settings(max_examples=examples(400), deadline=None)
@given(operations, st.sampled_from([1, 3, 10, 5_000, 100_000, HOUR]), st.sampled_from([1, 8, 1024]))
@example([("add", 0, 0, 0, 0, 3), ("add", 0, 0, 0, 0, 4), ("remove", 0, 0, 0, 0, None)], 3, 1)
def test_the_window_agrees_with_brute_force_after_every_operation(
    steps: list[Operation], window_ms: int, few_rows: int
) -> None:
    window, oracle = SlidingWindow(window_ms, NOON), BruteForce(window_ms, NOON)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counter, "_FEW_ROWS", few_rows)
        for step in steps:
            assert perform(window, step, window_ms) == perform(oracle, step, window_ms)
            assert totals(window) == oracle.totals()
            assert window.now_ms == oracle.now_ms


@settings(max_examples=examples(100), deadline=None)
@given(st.data())
def test_the_order_in_which_posts_arrive_makes_no_difference(data: st.DataObject) -> None:
    moments = st.integers(NOON - HOUR - 2, NOON + 2)
    posts = [
        Post(f"x:{i}", f"x:{author}", ms)
        for i, (author, ms) in enumerate(data.draw(st.lists(st.tuples(st.integers(0, 5), moments))))
    ]
    one, other = SlidingWindow(HOUR, NOON), SlidingWindow(HOUR, NOON)
    for post in posts:
        one.add(post)
    for post in data.draw(st.permutations(posts)):
        other.add(post)
    for now_ms in sorted(data.draw(st.lists(st.integers(NOON, NOON + HOUR), max_size=5))):
        assert totals(one) == totals(other)
        one.advance(now_ms)
        other.advance(now_ms)
    assert totals(one) == totals(other)


def test_a_post_is_counted_from_its_millisecond_until_an_hour_later_to_the_millisecond() -> None:
    window = SlidingWindow(HOUR, NOON - 1)
    assert window.add(Post("x:1", "x:7", NOON))
    assert totals(window) == (0, 0)
    window.advance(NOON)
    assert totals(window) == (1, 1)
    window.advance(NOON + HOUR - 1)
    assert totals(window) == (1, 1)
    window.advance(NOON + HOUR)
    assert totals(window) == (0, 0)


def test_a_post_at_the_window_s_start_is_too_old_and_one_a_millisecond_later_is_not() -> None:
    window = SlidingWindow(HOUR, NOON)
    assert not window.add(Post("x:1", "x:7", NOON - HOUR))
    assert window.add(Post("x:1", "x:7", NOON - HOUR + 1))


def test_the_first_word_on_a_post_wins() -> None:
    window = SlidingWindow(HOUR, NOON)
    assert window.add(Post("x:1", "x:7", NOON - HOUR + 1))
    assert not window.add(Post("x:1", "x:8", NOON))
    assert totals(window) == (1, 1)
    window.advance(NOON + 1)
    assert totals(window) == (0, 0)


def test_an_author_leaves_with_the_last_of_their_posts() -> None:
    window = SlidingWindow(HOUR, NOON)
    for i, created_ms in enumerate((NOON, NOON - 2000, NOON - 1000)):
        window.add(Post(f"x:{i}", "x:7", created_ms))
    for now_ms, expected in ((NOON - 2000, (2, 1)), (NOON - 1000, (1, 1)), (NOON, (0, 0))):
        window.advance(now_ms + HOUR)
        assert totals(window) == expected


@pytest.mark.parametrize("order", list(permutations(("add", "remove", "add again"))))
def test_a_removed_post_does_not_count_whether_it_came_before_or_after(
    order: tuple[str, ...],
) -> None:
    window = SlidingWindow(HOUR, NOON)
    for what in order:
        if what == "remove":
            window.remove("x:1", NOON - 10)
        else:
            window.add(Post("x:1", "x:7", NOON - 20))
    assert totals(window) == (0, 0)


def test_a_removal_is_remembered_as_long_as_its_post_can_be_in_the_window() -> None:
    window = SlidingWindow(HOUR, NOON)
    post = Post("x:1", "x:7", NOON)
    window.add(post)
    removal = window.remove(post.key, NOON - 2000)  # by a clock that is behind
    assert removal
    after_restart = SlidingWindow(HOUR, NOON)
    after_restart.put(Mark(removal.key, 7, post.created_ms))
    after_restart.put(removal)
    for one in (window, after_restart):
        one.advance(NOON - 1 + HOUR)
        assert not one.add(post)
        one.advance(NOON + HOUR)
        assert not one.add(post)


def test_a_tag_that_is_taken_off_and_put_back_counts_again_and_no_older_copy_does() -> None:
    """A removal was for ever: the post was missing for the rest of its hour."""
    window = SlidingWindow(HOUR, NOON)
    window.add(Post("x:1", "x:7", NOON - 900, NOON - 900))
    window.remove("x:1", NOON - 500, NOON - 900)
    assert not window.add(Post("x:1", "x:7", NOON - 900, NOON - 900))
    assert not window.add(Post("x:1", "x:7", NOON - 900, NOON - 500))
    assert totals(window) == (0, 0)
    assert window.add(Post("x:1", "x:7", NOON - 900, NOON - 499))
    assert totals(window) == (1, 1)
    # Nor does an older removal hold, read once more after that.
    assert not window.remove("x:1", NOON - 500, NOON - 900)
    assert totals(window) == (1, 1)
    window.advance(NOON - 900 + HOUR)
    assert totals(window) == (0, 0)


def test_a_removal_of_before_a_copy_that_came_first_does_not_hold() -> None:
    window = SlidingWindow(HOUR, NOON)
    window.add(Post("x:1", "x:7", NOON - 900, NOON - 900))
    window.add(Post("x:1", "x:7", NOON - 900, NOON - 100))
    assert not window.remove("x:1", NOON - 500)
    assert window.remove("x:1", NOON - 99)
    assert totals(window) == (0, 0)


def test_a_removal_of_what_was_not_seen_holds_after_a_restart() -> None:
    """Its own time, which is not kept, may be earlier, and cannot be lowered."""
    window, before = SlidingWindow(HOUR, NOON), SlidingWindow(HOUR, NOON)
    removal = before.remove("x:1", NOON - 500, NOON - 900)
    assert removal
    window.put(removal)
    assert not window.add(Post("x:1", "x:7", NOON - 900, NOON))
    assert totals(window) == (0, 0)


@settings(max_examples=examples(200), deadline=None)
@given(operations)
def test_what_is_kept_as_marks_is_the_same_after_a_restart(steps: list[Operation]) -> None:
    window, kept = SlidingWindow(HOUR, NOON), []
    for verb, key, author, quarters, more, later in steps:
        at_ms = NOON + quarters * HOUR // 4 + more
        later_ms = at_ms + (later or 0) * HOUR // 8
        if verb == "advance":
            window.advance(max(window.now_ms, at_ms))
        elif verb == "remove" and window.knows(f"x:{key}"):
            kept.append(window.remove(f"x:{key}", later_ms, None if later is None else at_ms))
        elif verb == "add":
            kept.append(window.add(Post(f"x:{key}", f"x:{author}", at_ms, later_ms)))
    for marks in ([mark for mark in kept if mark], list(window.marks())):
        again = SlidingWindow(HOUR, window.now_ms)
        for mark in marks:
            again.put(mark)
        assert totals(again) == totals(window)


def test_a_window_does_not_go_back() -> None:
    window = SlidingWindow(HOUR, NOON)
    with pytest.raises(ValueError, match="later than"):
        window.advance(NOON - 1)


def test_half_a_surrogate_pair_in_a_name_is_a_name_like_any_other() -> None:
    window = SlidingWindow(HOUR, NOON)
    assert window.add(Post("bluesky:\ud800", "bluesky:\udfff", NOON))
    assert totals(window) == (1, 1)


def held() -> int:
    """The bytes that windows hold: what threads of other tests do meanwhile is not theirs."""
    files = (counter, fingerprints)
    own = [tracemalloc.Filter(inclusive=True, filename_pattern=str(f.__file__)) for f in files]
    snapshot = tracemalloc.take_snapshot().filter_traces(own)
    return sum(statistic.size for statistic in snapshot.statistics("filename"))


def test_a_burst_is_counted_in_60_bytes_a_post_and_its_memory_given_back() -> None:
    rng = random.Random(1)
    # As much of the table is used as at a million posts.
    number, limit = (31_250, 60) if is_thorough() else (15_625, 54)
    posts = [Post(f"x:{i}", f"x:{i}", NOON - rng.randrange(HOUR)) for i in range(number)]
    window = SlidingWindow(HOUR, NOON)
    tracemalloc.start()
    for post in posts:
        window.add(post)
    # A few thousand steps cost half a megabyte, which is nothing only to a million posts.
    per_post = (held() - 600_000) / len(posts)
    full = totals(window)
    window.advance(NOON + HOUR - 60_000)
    left, kept = window.posts, held()
    tracemalloc.stop()
    assert full == (len(posts), len(posts))
    assert per_post <= limit
    assert left == sum(post.created_ms > NOON - 60_000 for post in posts)
    assert kept < 200_000


def test_a_post_is_known_again_after_its_table_grew_and_shrank() -> None:
    window = SlidingWindow(HOUR, NOON)
    posts = [Post(f"x:{i}", f"x:{i % 600}", NOON - HOUR + 1 + i * 1000) for i in range(3000)]
    for post in posts:
        assert window.add(post)
    assert not any(window.add(post) for post in posts)
    window.advance(NOON + 2_500_000)
    assert totals(window) == (500, 500)
    assert not any(window.add(post) for post in posts)


def test_a_jump_of_fifty_years_costs_no_more_than_the_posts_it_moves() -> None:
    window = SlidingWindow(HOUR, NOON)
    fifty_years_ms = 50 * 365 * 24 * HOUR
    for number in range(1000):  # step by step, this would take hours
        window.add(Post("x:1", "x:7", window.now_ms))
        assert window.posts == 1
        window.advance(NOON + (number + 1) * fifty_years_ms)
        assert window.posts == 0
