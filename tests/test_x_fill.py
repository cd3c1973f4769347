"""What the stream did not bring is read by search: every gap, once, the newest first."""

import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples
from simulation import START, TOKEN, Time
from standins import x_faults as faults
from standins.x_api import XApi
from standins.x_posts import make_post, milliseconds
from x_streaming import Streaming

from tweetdock.core.coverage import Spans
from tweetdock.core.gauge import Bookmark
from tweetdock.core.post import Span
from tweetdock.sources.x.plan import DueSearch, Gaps, ReadSpans

HOUR = 3_600_000
NOW_MS = 1_790_000_000_000
LOOK_BACK_MS = 120_000


def make_gaps(**options: object) -> Gaps:
    given_ = {"queries": 1, "window_ms": HOUR, "look_back_ms": LOOK_BACK_MS, **options}
    return Gaps(**given_)  # type: ignore[arg-type]


def span_of(work: DueSearch | None) -> Span | None:
    return Span(work.request.since_ms, work.request.until_ms or 0) if work else None


def read_all(gaps: Gaps, now_ms: int) -> list[Span]:
    """Do all the work that there is now."""
    found = []
    while work := gaps.next(now_ms):
        span = span_of(work)
        assert span
        found.append(span)
        gaps.read(work.query, span, now_ms)
        assert len(found) < 100
    return found


def test_at_the_start_the_window_is_asked_for_at_once() -> None:
    gaps = make_gaps()
    assert read_all(gaps, NOW_MS) == [Span(NOW_MS - HOUR - 1, NOW_MS - 30_000)]
    gaps = make_gaps()
    gaps.stream_begins(NOW_MS + 5_000)
    assert read_all(gaps, NOW_MS) == [Span(NOW_MS - HOUR - 1, NOW_MS - 30_000)]


def test_the_rest_up_to_the_stream_is_asked_for_when_the_index_has_it() -> None:
    gaps = make_gaps()
    gaps.stream_begins(NOW_MS + 5_000)
    read_all(gaps, NOW_MS)
    assert gaps.next(NOW_MS + 34_999) is None
    assert read_all(gaps, NOW_MS + 35_000) == [Span(NOW_MS - 30_001, NOW_MS + 5_000)]


def test_what_was_read_soon_is_read_once_more_and_then_never() -> None:
    gaps = make_gaps()
    gaps.stream_begins(NOW_MS)
    found = [s for now in range(NOW_MS, NOW_MS + HOUR, 1000) for s in read_all(gaps, now)]
    assert found == [
        Span(NOW_MS - HOUR - 1, NOW_MS - 30_000),
        Span(NOW_MS - 30_001, NOW_MS),
        Span(NOW_MS - LOOK_BACK_MS - 1, NOW_MS - 60_000),
        Span(NOW_MS - 60_001, NOW_MS),
    ]


def test_a_gap_of_the_stream_is_asked_for_from_a_minute_before_its_end() -> None:
    gaps = make_gaps(seen=[Span(NOW_MS - HOUR, NOW_MS + 60_000)])
    gaps.stream_begins(NOW_MS)
    gaps.line_came(NOW_MS + 600_000)
    gaps.stream_ends()
    gaps.stream_begins(NOW_MS + 599_000)
    assert gaps.next(NOW_MS + 628_999) is None
    assert span_of(gaps.next(NOW_MS + 629_000)) == Span(NOW_MS + 539_999, NOW_MS + 599_000)


def test_while_there_is_no_stream_a_minute_is_asked_for_at_a_time() -> None:
    gaps = make_gaps()
    read_all(gaps, NOW_MS)
    moments = [
        (now - NOW_MS) // 1000
        for now in range(NOW_MS, NOW_MS + 300_000, 1000)
        if read_all(gaps, now)
    ]
    assert moments == [60, 120, 180, 240]


def test_the_newest_gap_is_asked_for_first() -> None:
    seen = [
        Span(NOW_MS - 3_000_000, NOW_MS - 2_000_000),
        Span(NOW_MS - 1_000_000, NOW_MS - 500_000),
        Span(NOW_MS - 400_000, NOW_MS + 30_000),
    ]
    gaps = make_gaps(seen=seen)
    assert [span.until_ms for span in read_all(gaps, NOW_MS)] == [
        *(NOW_MS - 400_000, NOW_MS - 1_000_000, NOW_MS - 3_000_000)
    ]


def test_a_corrected_clock_lets_the_stream_begin_anew() -> None:
    gaps = make_gaps(seen=[Span(NOW_MS - HOUR, NOW_MS + 60_000)])
    gaps.stream_begins(NOW_MS)
    gaps.clock_moved(NOW_MS + HOUR)
    assert gaps.live_ms == NOW_MS + HOUR
    assert span_of(gaps.next(NOW_MS + HOUR + 30_000)) == Span(NOW_MS + 29_999, NOW_MS + HOUR)


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60), st.integers(0, 30))),
)
def test_a_stretch_is_complete_when_every_query_was_read_for_it(
    queries: int, reads: list[tuple[int, int, int]]
) -> None:
    known = ReadSpans(queries)
    done: list[set[int]] = [set() for _ in range(queries)]
    for query, since, length in reads:
        complete = known.add(query % queries, Span(since, since + length))
        done[query % queries].update(range(since, since + length))
        both = set.intersection(*done)
        whole = {ms for span in known.whole for ms in range(*span)}
        assert whole == both
        assert all(set(range(*span)) <= both for span in complete)
        for gap in known.whole.gaps(Span(0, 90)):
            found = known.missing(gap)
            assert found
            assert done[found[0]].isdisjoint(range(*found[1]))


class Model:
    """Seconds brought by a stream that comes and goes, and how often each query was read."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.gaps = make_gaps(queries=2, window_ms=600_000)
        self.now_ms = NOW_MS
        self.live_ms: int | None = None
        self.streamed: set[int] = set()
        self.reads: list[Counter[int]] = [Counter(), Counter()]

    def step(self) -> None:
        """Let a second pass."""
        self.now_ms += 1000
        if self.live_ms is None and self.dice.random() < 0.03:
            self.live_ms = self.now_ms
            self.gaps.stream_begins(self.now_ms)
        elif self.live_ms is not None and self.dice.random() < 0.01:
            self.gaps.stream_ends()
            self.live_ms = None
        elif self.live_ms is not None:
            self.gaps.line_came(self.now_ms)
            self.streamed.add(self.now_ms // 1000)
        for _ in range(5):
            work = self.gaps.next(self.now_ms) if self.dice.random() < 0.9 else None
            if work:
                self._search(work)

    def _search(self, work: DueSearch) -> None:
        span = span_of(work)
        assert span
        assert span.until_ms <= self.now_ms - 30_000
        if self.dice.random() < 0.3:  # its later pages do not come
            span = Span((span.since_ms + span.until_ms) // 2, span.until_ms)
        self.gaps.read(work.query, span, self.now_ms)
        self.reads[work.query].update(range(span.since_ms // 1000 + 1, span.until_ms // 1000 + 1))


@settings(max_examples=examples(20))
@given(seed=st.integers(0, 2**32))
def test_whatever_the_stream_does_all_is_asked_for_and_little_twice(seed: int) -> None:
    model = Model(seed)
    for _ in range(1800):
        model.step()
    for own in model.reads:
        assert max(own.values()) <= 4  # two, and what lies on seams
        assert sum(n > 2 for n in own.values()) <= len(own) // 8
    first = model.now_ms // 1000 - 590
    for second in range(first, (model.live_ms or model.now_ms) // 1000 - 120):
        assert second in model.streamed or all(second in own for own in model.reads)


# With X's search behind it.


@pytest.fixture
def time() -> Time:
    return Time()


def hour_of(number: int, seed: int = 1) -> list[dict[str, object]]:
    dice, until_ms = random.Random(seed), round(START * 1000)
    moments = sorted(dice.sample(range(until_ms - 70 * 60_000, until_ms), number))
    return [make_post(at, dice.randrange(number // 3 + 1)) for at in moments]


def reads_of(api: XApi) -> dict[str, int]:
    found: dict[str, int] = {}
    for request in api.requests:
        for one in request.ids_returned:
            found[one] = found.get(one, 0) + 1
    return found


def test_the_window_is_there_at_once_and_whole_after_a_minute(time: Time) -> None:
    with XApi(hour_of(950), now=time, bearer=TOKEN) as api, Streaming(api, time) as streaming:
        streaming.run(0)
        assert streaming.missing == []
        assert len(api.requests) == 9
        streaming.run(60, streaming.assert_honest)
        streaming.assert_true()


def test_what_was_young_when_a_long_search_began_is_read_once_more(time: Time) -> None:
    """All of it counted as settled by the time of the last page, which came minutes later."""
    with XApi(hour_of(150), now=time, bearer=TOKEN) as api, Streaming(api, time) as streaming:
        begun_ms = time.ms

        def pass_by() -> None:
            time.seconds += 150 if api.requests else 0

        api.takes = pass_by
        *_, last = streaming.fill.poll()
        api.takes = lambda: None
        assert time.ms > begun_ms + 2 * LOOK_BACK_MS
        assert json.loads(last.cursor)["unsettled"][-1][0] <= begun_ms - LOOK_BACK_MS


def test_several_queries_complete_a_stretch_together(time: Time) -> None:
    tags = [f"tag{number}{'x' * 50}" for number in range(20)]
    dice = random.Random(3)
    posts = [
        make_post(time.ms - dice.randrange(4_000_000), dice.randrange(99), tag=dice.choice(tags))
        for _ in range(500)
    ]
    with (
        XApi(posts, now=time, bearer=TOKEN) as api,
        Streaming(api, time, hashtags=tags) as streaming,
    ):
        assert len(streaming.wanted) == 3
        api.fail(*[faults.Changed(lambda page: page), faults.service_unavailable()] * 3)
        streaming.run(120, streaming.assert_honest)
        streaming.assert_true()
        assert max(reads_of(api).values()) <= 2


def test_an_interrupted_search_goes_on_where_it_was(time: Time) -> None:
    posts = hour_of(900)
    with XApi(posts, now=time, bearer=TOKEN) as api:
        api.fail(*[faults.Changed(lambda page: page), faults.service_unavailable()] * 8)
        with Streaming(api, time) as streaming:
            streaming.run(100, streaming.assert_honest)
            streaming.assert_true()
            assert api.posts_read < 900


def test_search_alone_carries_the_hour_when_the_stream_is_refused_for_good(time: Time) -> None:
    with XApi(hour_of(300), now=time, bearer=TOKEN) as api:
        api.stream.fail_always(faults.client_forbidden())
        with Streaming(api, time) as streaming:

            def happen() -> None:
                streaming.assert_honest()
                api.add(make_post(time.ms, time.ms % 97))

            streaming.run(900, happen)
            assert {channel for channel, _ in streaming.troubles} == {"stream"}
            assert len(api.stream.connects) <= 6
            # A minute is asked for at a time, and once more: two requests a minute.
            assert len(api.requests) <= 4 + 35
            streaming.run(61)
            assert streaming.count(time.ms - 3_600_000, time.ms - 91_000) == streaming.truth(
                time.ms - 3_600_000, time.ms - 91_000
            )
            assert max(reads_of(api).values()) <= 2 + 1


def test_a_post_that_the_index_was_late_with_is_found_by_the_second_look(time: Time) -> None:
    with XApi(now=time, bearer=TOKEN) as api:
        late = make_post(time.ms - 40_000, 5)
        late["_indexed_ms"] = time.ms + 60_000
        api.add(late)
        with Streaming(api, time) as streaming:
            streaming.run(60)
            assert not streaming.posts
            streaming.run(120)
            streaming.assert_true()
            assert len(streaming.posts) == 1


def test_the_rate_limit_is_lived_with_and_admitted(time: Time) -> None:
    with (
        XApi(hour_of(900), now=time, bearer=TOKEN, limit=2) as api,
        Streaming(api, time) as streaming,
    ):
        streaming.run(4500, streaming.assert_honest, every=60)
        assert {request.status for request in api.requests} == {200}
        streaming.assert_true()
        assert any("rate limit is used up" in sentence for _, sentence in streaming.troubles)


def test_a_restart_reads_only_what_was_missed(time: Time) -> None:
    with XApi(hour_of(900), now=time, bearer=TOKEN) as api, Streaming(api, time) as streaming:

        def happen() -> None:
            streaming.assert_honest()
            api.add(make_post(time.ms, time.ms % 97))

        streaming.run(200, happen)
        before = len(api.requests)
        api.stream.end()
        time.seconds += 100
        api.add(make_post(time.ms - 50_000, 1))
        streaming.restart()
        streaming.run(200, happen)
        streaming.run(10)
        streaming.assert_true()
        again = [i for r in api.requests[before:] for i in r.ids_returned]
        oldest = min(milliseconds(i) for i in again)
        assert oldest > time.ms - 310_000 - 120_000
        assert len(again) < 2 * 40


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "{", "null", "[]", "5", "[" * 100_000, '{"connects":5,"unsettled":{}}'),
        '{"connects":["x",null,-5,1e99,true],"rules_ms":"x","unsettled":[[1],[2,"x"],5,[3,4,5]]}',
        '{"followed":[5,["a"],["a",-5,"b"],["a",true,"b"],["a",5,["b"]]]}',
        '{"connects":[' + "9" * 5000 + "]}",
    ],
)
def test_a_damaged_cursor_costs_requests_and_no_truth(time: Time, cursor: str) -> None:
    with XApi(hour_of(90), now=time, bearer=TOKEN) as api, Streaming(api, time) as streaming:
        streaming.restart(Bookmark(cursor, (Span(time.ms - 100_000, time.ms - 90_000),)))
        streaming.run(200)
        assert Spans(streaming.seen).gaps(Span(time.ms - 3_600_000, time.ms - 50_000)) == []


def test_a_machine_whose_clock_is_off_goes_by_xs(time: Time) -> None:
    for hours in (-24 * 365, -1.0, 0.02, 24.0):
        with (
            XApi(hour_of(200), now=time, bearer=TOKEN) as api,
            Streaming(api, time, machine_is_off_by=hours * 3600) as streaming,
        ):
            streaming.run(150)
            api.add(make_post(time.ms - 1, 5))
            streaming.run(10)
            streaming.assert_true()
        time.seconds = START
