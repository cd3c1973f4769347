"""Coverage: what was seen against brute force over milliseconds, and what each grade may claim."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.coverage import Assessment, Coverage, Grade, Seen, Spans, worst
from tweetdock.core.post import Batch, Feed, Late, Span, Trouble

START = 1_000_000
WINDOW = 60_000
LAG = 5_000
STALE = 20_000

small_spans = st.builds(Span, st.integers(-5, 40), st.integers(-5, 40))


def milliseconds(span: Span) -> set[int]:
    """The moments of (since, until]."""
    return set(range(span.since_ms + 1, span.until_ms + 1))


def union(spans: list[Span]) -> set[int]:
    return set[int]().union(*map(milliseconds, spans))


def hear(
    coverage: Coverage,
    at_ms: int,
    span: Span | None,
    unreadable: Sequence[int] = (),
    *,
    channel: str = "",
    lost: str = "",
    remark: str = "",
) -> None:
    odd = tuple(unreadable)
    word = Batch(source="x", channel=channel, covers=span, unreadable=odd, lost=lost, remark=remark)
    coverage.add_batch(word, at_ms)


def ail(coverage: Coverage, detail: str, *, channel: str = "", by_choice: bool = False) -> None:
    coverage.add_trouble(Trouble(source="x", channel=channel, detail=detail, by_choice=by_choice))


def listening(lag_ms: int, started_ms: int, window_ms: int = WINDOW) -> Coverage:
    """A coverage that has seen nothing yet."""
    return Coverage(Feed("x", lag_ms), window_ms=window_ms, started_ms=started_ms)


def covered_until(at_ms: int, *, lag_ms: int = LAG) -> Coverage:
    """A source that has seen the whole window up to `at_ms`."""
    coverage = listening(lag_ms, at_ms)
    hear(coverage, at_ms, Span(at_ms - WINDOW, at_ms))
    return coverage


def certain_ms(coverage: Coverage, now_ms: int) -> int:
    return coverage.assess(now_ms, STALE).certain_ms


def assess(coverage: Coverage, at_ms: int) -> Assessment:
    return coverage.assess(at_ms, STALE)


@given(st.lists(small_spans, max_size=12), small_spans)
def test_the_gaps_are_what_no_span_has_seen(spans: list[Span], within: Span) -> None:
    gaps = Spans(spans).gaps(within)
    assert union(gaps) == milliseconds(within) - union(spans)
    assert all(gap.since_ms < gap.until_ms for gap in gaps)
    # Oldest first, and no two that touch: each gap is to be asked for once.
    assert all(a.until_ms < b.since_ms for a, b in pairwise(gaps))


@given(st.lists(small_spans, max_size=12), st.lists(small_spans, max_size=12))
def test_what_two_have_in_common_and_what_one_has_alone(one: list[Span], two: list[Span]) -> None:
    assert union(list(Spans(one) & two)) == union(one) & union(two)
    assert union(list(Spans(one) - two)) == union(one) - union(two)


@given(st.lists(small_spans, max_size=12))
def test_the_stretches_are_in_order_and_apart(spans: list[Span]) -> None:
    found = list(Spans(spans))
    assert union(found) == union(spans)
    assert all(a.since_ms < a.until_ms for a in found)
    assert all(a.until_ms < b.since_ms for a, b in pairwise(found))


@given(st.lists(small_spans, max_size=12), small_spans, st.randoms(use_true_random=False))
def test_spans_may_be_added_in_any_order(spans: list[Span], within: Span, dice: Random) -> None:
    shuffled = list(spans)
    dice.shuffle(shuffled)
    assert Spans(spans).gaps(within) == Spans(shuffled).gaps(within)


@given(st.lists(small_spans, max_size=12), st.integers(-5, 40), small_spans)
def test_what_is_forgotten_is_a_gap_again(spans: list[Span], floor: int, within: Span) -> None:
    known = Spans(spans)
    known.forget_before(floor)
    seen = {ms for ms in union(spans) if ms > floor}
    assert union(known.gaps(within)) == milliseconds(within) - seen


@given(st.lists(small_spans, max_size=12))
def test_the_end_is_that_of_the_latest_span(spans: list[Span]) -> None:
    assert Spans(spans).until_ms == max(union(spans), default=None)


def test_the_worst_grade_is_the_last_in_the_contracts_order() -> None:
    assert worst([Grade.EXACT, Grade.FILLING]) is Grade.FILLING
    assert worst([Grade.PARTIAL, Grade.FILLING, Grade.EXACT]) is Grade.PARTIAL
    assert worst([Grade.PARTIAL, Grade.STALE]) is Grade.STALE
    assert worst([Grade.EXACT]) is Grade.EXACT


@given(
    window=st.integers(11, 30),
    lag=st.integers(0, 10),
    words=st.lists(
        st.tuples(st.integers(0, 4), st.one_of(st.none(), st.tuples(*[st.integers(-40, 3)] * 2))),
        max_size=15,
    ),
)
def test_exact_is_said_only_when_every_millisecond_due_was_seen(
    window: int, lag: int, words: list[tuple[int, tuple[int, int] | None]]
) -> None:
    now = 1000
    coverage = listening(lag, now, window)
    seen: set[int] = set()
    for pause, bounds in words:
        now += pause
        span = Span(now + bounds[0], now + bounds[1]) if bounds else None
        hear(coverage, now, span)
        seen |= milliseconds(span) if span else set()
        due = milliseconds(Span(now - window, now - min(lag, window * 3 // 4)))
        missing = due - seen
        assessment = coverage.assess(now, STALE)
        assert assessment.grade is (Grade.FILLING if missing else Grade.EXACT)
        assert (assessment.covered == 1.0) is (not missing)
        share = 1 - len(missing) / len(due)
        assert share - 0.0001 < assessment.covered <= share + 1e-9


def test_one_missing_millisecond_in_six_days_is_not_called_all() -> None:
    window = 518_400_000
    coverage = listening(0, window, window)
    hear(coverage, window, Span(0, window - 1))
    assessment = coverage.assess(window, STALE)
    assert assessment.grade is Grade.FILLING
    assert assessment.covered == 0.9999
    assert assessment.detail == "reading back: 99% of the window seen"


def test_nothing_is_known_before_the_first_word() -> None:
    assessment = assess(listening(LAG, START), START)
    assert assessment == Assessment(
        Grade.FILLING, 0.0, "reading back: 0% of the window seen", START - WINDOW
    )


def test_half_a_window_seen_is_filling_and_says_so() -> None:
    coverage = listening(0, START)
    hear(coverage, START, Span(START - WINDOW // 2, START))
    assessment = assess(coverage, START)
    assert assessment == Assessment(
        Grade.FILLING, 0.5, "reading back: 50% of the window seen", START - WINDOW
    )


def test_the_usual_lag_is_no_gap_but_more_is() -> None:
    coverage = covered_until(START)
    assert assess(coverage, START + LAG).grade is Grade.EXACT
    assert assess(coverage, START + LAG + 1).grade is Grade.FILLING


def test_trouble_with_a_gap_is_partial_for_the_reason() -> None:
    coverage = covered_until(START)
    ail(coverage, "X asks us to wait")
    assessment = assess(coverage, START + LAG + 1)
    assert assessment.grade is Grade.PARTIAL
    assert assessment.covered < 1.0
    assert assessment.detail == "X asks us to wait"


def test_trouble_before_the_first_word_is_partial() -> None:
    coverage = listening(LAG, START)
    ail(coverage, "no route to X")
    assert assess(coverage, START) == Assessment(
        Grade.PARTIAL, 0.0, "no route to X", START - WINDOW
    )


def test_a_failure_that_the_next_try_mends_leaves_it_exact_but_shows() -> None:
    coverage = covered_until(START)
    ail(coverage, "X asks us to wait")
    mended = Assessment(Grade.EXACT, 1.0, "X asks us to wait", START)
    assert assess(coverage, START) == mended
    assert assess(coverage, START + LAG // 2) == mended


def test_an_outage_is_partial_before_it_has_made_a_gap() -> None:
    coverage = covered_until(START)
    ail(coverage, "X asks us to wait")
    assessment = assess(coverage, START + LAG // 2 + 1)
    assert assessment == Assessment(Grade.PARTIAL, 1.0, "X asks us to wait", START)


def test_silence_without_trouble_is_exact_for_as_long_as_the_lag() -> None:
    found = assess(covered_until(START), START + LAG)
    assert found == Assessment(Grade.EXACT, 1.0, "", START)


def test_a_lag_longer_than_the_window_still_leaves_something_to_be_seen() -> None:
    coverage = listening(2 * WINDOW, START)
    hear(coverage, START, Span(START - WINDOW, START - WINDOW * 3 // 4 - 1))
    assert assess(coverage, START).grade is Grade.FILLING
    hear(coverage, START, Span(START - WINDOW, START - WINDOW * 3 // 4))
    assert assess(coverage, START).grade is Grade.EXACT


def test_a_word_ends_the_trouble() -> None:
    coverage = covered_until(START)
    ail(coverage, "X asks us to wait")
    hear(coverage, START + 1, Span(START, START + 1))
    assert assess(coverage, START + 1) == Assessment(Grade.EXACT, 1.0, "", START + 1)


def test_silence_beyond_the_limit_is_stale_for_the_reason() -> None:
    coverage = covered_until(START)
    assert assess(coverage, START + STALE).grade is not Grade.STALE
    assessment = assess(coverage, START + STALE + 1)
    assert assessment.grade is Grade.STALE
    assert assessment.detail == "no data for 20 s"
    ail(coverage, "the cable is out")
    assert assess(coverage, START + STALE + 1).detail == "no data for 20 s: the cable is out"


def test_trouble_is_no_word() -> None:
    coverage = covered_until(START)
    ail(coverage, "the cable is out")
    assert coverage.is_silent(START + STALE + 1, STALE)


def test_a_source_that_never_spoke_becomes_stale_too() -> None:
    coverage = listening(LAG, START)
    assessment = assess(coverage, START + STALE + 1)
    assert assessment.grade is Grade.STALE
    assert assessment.covered == 0.0


def test_an_empty_word_is_a_word() -> None:
    coverage = covered_until(START)
    hear(coverage, START + STALE, None)
    assert assess(coverage, START + STALE + 1).grade is Grade.FILLING


def test_unreadable_posts_make_it_partial_until_they_leave_the_window() -> None:
    coverage = listening(LAG, START)
    hear(coverage, START, Span(START - WINDOW, START), unreadable=[START - 10, START - 5])
    assessment = assess(coverage, START)
    assert assessment.grade is Grade.PARTIAL
    assert assessment.covered == 1.0
    assert "2 posts" in assessment.detail
    last = START - 5 + WINDOW
    hear(coverage, last, Span(START, last))
    assert assess(coverage, last - 1).grade is Grade.PARTIAL
    assert assess(coverage, last) == Assessment(Grade.EXACT, 1.0, "", last)


def test_the_same_unreadable_post_read_twice_is_one() -> None:
    coverage = covered_until(START)
    for _ in range(2):
        hear(coverage, START, None, unreadable=[START - 10])
    assert "1 post of" in assess(coverage, START).detail


def test_while_a_post_cannot_be_read_nothing_is_certain() -> None:
    """It was written no later than that, but nobody knows how much earlier."""
    coverage = covered_until(START)
    hear(coverage, START, None, unreadable=[START - 10])
    assert certain_ms(coverage, START) == START - WINDOW
    assert certain_ms(coverage, START - 10 + WINDOW) == START


def test_beside_sources_that_speak_stale_is_partial() -> None:
    stale = Assessment(Grade.STALE, 0.5, "no data for 5 min", START)
    assert stale.as_partial() == Assessment(Grade.PARTIAL, 0.5, "no data for 5 min", START)
    exact = Assessment(Grade.EXACT, 1.0, "", START)
    assert exact.as_partial() is exact


def test_each_voice_has_a_trouble_of_its_own() -> None:
    coverage = covered_until(START)
    ail(coverage, "the stream is refused", channel="stream")
    hear(coverage, START + 1, None, channel="search")
    assert assess(coverage, START + LAG + 2).detail == "the stream is refused"
    hear(coverage, START + 2, None, channel="stream")
    assert assess(coverage, START + LAG + 3).grade is Grade.FILLING


def test_what_a_voice_cannot_do_is_no_matter_while_another_sees_all() -> None:
    coverage = covered_until(START)
    ail(coverage, "the stream is refused", channel="stream")
    hear(coverage, START + LAG, Span(START, START + LAG), channel="search")
    assert assess(coverage, START + LAG).grade is Grade.EXACT


def test_a_gap_that_will_not_be_filled_is_partial_for_the_reason() -> None:
    coverage = covered_until(START)
    hear(coverage, START + 10, Span(START + 5, START + 10), lost="the server forgot it")
    found = assess(coverage, START + 10 + LAG)
    assert (found.grade, found.detail) == (Grade.PARTIAL, "the server forgot it")
    last = START + 5 + WINDOW
    hear(coverage, last, Span(START + 10, last), lost="the server forgot it")
    assert assess(coverage, last).grade is Grade.EXACT


def test_what_is_seen_by_a_clock_in_doubt_is_no_exact_count() -> None:
    coverage = covered_until(START)
    coverage.add_batch(Batch(source="x", doubt="two clocks"), START)
    doubted = Assessment(Grade.PARTIAL, 1.0, "two clocks", START - WINDOW)
    assert assess(coverage, START) == doubted
    hear(coverage, START, None)
    assert assess(coverage, START).grade is Grade.EXACT


def test_who_chooses_not_to_ask_is_not_silent() -> None:
    coverage = covered_until(START)
    ail(coverage, "the budget is spent", by_choice=True)
    found = assess(coverage, START + STALE + 1)
    assert (found.grade, found.detail) == (Grade.PARTIAL, "the budget is spent")
    ail(coverage, "the cable is out")
    assert assess(coverage, START + STALE + 1).grade is Grade.STALE


def test_a_remark_is_told_whatever_the_grade() -> None:
    coverage = covered_until(START)
    hear(coverage, START, None, remark="0.35 USD today")
    assert assess(coverage, START) == Assessment(Grade.EXACT, 1.0, "0.35 USD today", START)
    late = assess(coverage, START + LAG + 600)
    assert late.detail == "reading back: 98% of the window seen; 0.35 USD today"


def test_a_clock_ahead_of_ours_completes_nothing_that_is_to_come() -> None:
    coverage = listening(LAG, START)
    hear(coverage, START, Span(START - WINDOW, START + 10 * WINDOW))
    assert certain_ms(coverage, START) == START
    assert assess(coverage, START + LAG + 1).grade is Grade.FILLING


# --- how late posts show -----------------------------------------------------------------------

MINUTE, HOUR = 60_000, 3_600_000
NOON = 500 * HOUR
BEST, WORST = 60_000, 1_800_000  # what posts are late at least, and until it is measured


def late_feed(window_ms: int = HOUR, seen: Seen | None = None, at_ms: int = NOON) -> Coverage:
    feed = Feed("mastodon", MINUTE, late=Late(BEST, WORST))
    return Coverage(feed, window_ms=window_ms, started_ms=at_ms, seen=seen)


def ask(coverage: Coverage, at_ms: int, *new_ms: int, since_ms: int | None = None) -> None:
    """The feed is asked for all since then, an hour ago unless said, and brings new posts."""
    span = Span(at_ms - HOUR if since_ms is None else since_ms, at_ms)
    coverage.add_batch(Batch(source="mastodon", covers=span, read_ms=at_ms), at_ms, new_ms)


def test_a_moment_is_certain_once_it_was_read_when_no_post_of_it_could_be_late() -> None:
    coverage = late_feed()
    ask(coverage, NOON)
    assert certain_ms(coverage, NOON) == NOON - WORST
    assert coverage.known(NOON).late_ms == WORST
    assert coverage.assess(NOON, STALE).grade is Grade.EXACT
    assert late_feed(600_000).known(NOON).late_ms == 300_000


def test_what_is_assumed_holds_until_enough_posts_of_an_hour_have_shown_how_late_they_are() -> None:
    coverage, ms = late_feed(), NOON
    for _ in range(90):
        ms += MINUTE
        ask(coverage, ms, ms - 1000)
        is_known = ms >= NOON + HOUR
        assert coverage.known(ms).late_ms == (BEST if is_known else WORST)
    seen = coverage.seen(ms)
    assert seen is not None
    restarted = late_feed(seen=seen, at_ms=ms)
    assert restarted.known(ms + HOUR - 1).late_ms == BEST
    assert restarted.known(ms + HOUR).late_ms == WORST
    assert late_feed(seen=seen, at_ms=ms + HOUR).known(ms + HOUR).late_ms == WORST
    quiet = late_feed()
    for ms in range(NOON + 6 * MINUTE, NOON + 3 * HOUR, 6 * MINUTE):
        ask(quiet, ms, ms - 1000)
    assert quiet.known(ms).late_ms == WORST


def test_what_was_assumed_is_not_kept_as_if_it_were_known() -> None:
    """A window of a minute assumes half a minute: an hour's believed it after a restart."""
    short = late_feed(MINUTE)
    ask(short, NOON)
    seen = short.seen(NOON)
    assert seen is not None
    assert seen.late_ms == 0
    assert late_feed(seen=seen).known(NOON).late_ms == WORST


def test_what_was_later_than_assumed_is_known_after_any_restart_for_an_hour() -> None:
    """A restart within an hour of the last forgot it, and called exact what lacked posts."""
    coverage = late_feed()
    ask(coverage, NOON)
    ask(coverage, NOON + MINUTE, NOON - WORST, since_ms=NOON - HOUR)
    kept = coverage.seen(NOON + MINUTE)
    assert kept is not None
    late_ms = (WORST + MINUTE) * 5 // 4
    assert kept.late_ms == late_ms
    again = late_feed(seen=kept, at_ms=NOON + MINUTE)
    ask(again, NOON + 2 * MINUTE)
    twice = again.seen(NOON + 2 * MINUTE)
    assert twice is not None
    assert twice.late_ms == late_ms


def test_a_post_that_is_later_than_any_withdraws_what_was_certain_for_an_hour() -> None:
    seen = Seen((), (), NOON, BEST)
    coverage = late_feed(seen=seen)
    ask(coverage, NOON)
    ask(coverage, NOON + MINUTE, since_ms=NOON - MINUTE)
    ms = NOON + 10 * MINUTE
    ask(coverage, ms, since_ms=NOON - MINUTE)
    assert certain_ms(coverage, ms) == ms - BEST
    ask(coverage, ms + MINUTE, ms - 4 * MINUTE, since_ms=ms)
    late_ms = 5 * MINUTE * 5 // 4
    assert coverage.known(ms + MINUTE).late_ms == late_ms
    assert certain_ms(coverage, ms + MINUTE) == ms + MINUTE - late_ms
    half = ms + 30 * MINUTE
    ask(coverage, half, *range(half - 20, half), since_ms=ms)
    assert coverage.known(ms + HOUR).late_ms == late_ms
    assert coverage.known(ms + HOUR + MINUTE).late_ms == BEST


def test_a_stream_shows_what_is_late_and_is_no_question_for_the_rest() -> None:
    """A streamed post while the window was read made all that was read after it an hour late."""
    coverage = late_feed(seen=Seen((), (), NOON, BEST))
    streamed = Batch(source="mastodon", channel="#x", read_ms=NOON - 500)
    coverage.add_batch(streamed, NOON, [NOON - 900])
    ask(coverage, NOON, NOON - 1000, since_ms=NOON - MINUTE)
    coverage.add_batch(replace(streamed, read_ms=NOON + 100), NOON + 200, [NOON + 50])
    ask(coverage, NOON, NOON - 30 * MINUTE)
    assert coverage.known(NOON).late_ms == BEST
    ms = NOON + 20 * MINUTE
    ask(coverage, ms)
    coverage.add_batch(replace(streamed, read_ms=ms + 100), ms + 200, [NOON + 50])
    assert coverage.known(ms).late_ms > 20 * MINUTE


def test_a_post_is_late_that_a_second_reading_shows_before_anything_was_certain() -> None:
    """Of posts up to 200 s late none was measured, as none was young any more when it was read."""
    coverage = late_feed(seen=Seen((), (), NOON, BEST))
    ask(coverage, NOON)
    written = NOON - BEST + 10_000
    assert certain_ms(coverage, NOON) < written
    ask(coverage, NOON + MINUTE, written, since_ms=NOON - BEST)
    late_ms = round((NOON + MINUTE - written) * 1.25)
    assert coverage.known(NOON + MINUTE).late_ms == late_ms
    assert certain_ms(coverage, NOON + MINUTE) < written


def test_what_never_was_asked_for_is_not_late() -> None:
    coverage = late_feed(seen=Seen((), (), NOON, BEST))
    ask(coverage, NOON, NOON - 5 * MINUTE, NOON - 1000)  # at the start
    ms = NOON + 20 * MINUTE  # after an outage
    ask(coverage, ms, NOON + 5 * MINUTE, ms - 1000, since_ms=NOON - BEST)
    assert coverage.known(ms).late_ms == BEST


def test_what_showed_while_nobody_asked_is_not_late() -> None:
    """After an outage of 20 minutes a post that was about to show before it was 20 minutes late."""
    coverage = late_feed(seen=Seen((), (), NOON, BEST))
    ask(coverage, NOON)
    ask(coverage, NOON + MINUTE, since_ms=NOON - BEST)
    ms = NOON + 20 * MINUTE
    ask(coverage, ms, NOON + MINUTE - 1000, since_ms=NOON)
    assert coverage.known(ms).late_ms == BEST


def test_posts_that_show_after_most_of_the_window_are_said_to() -> None:
    coverage = late_feed(seen=Seen((), (), NOON, 50 * MINUTE))
    ask(coverage, NOON)
    found = coverage.assess(NOON, STALE)
    assert found.grade is Grade.PARTIAL
    assert found.detail == "posts show up to 50 min after they were written"
