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
from tweetdock.core.post import Span
from tweetdock.sources.x.fill import Streamed, Sweep

HOUR = 3_600_000
NOW_MS = 1_790_000_000_000
LOOK_BACK_MS = 120_000


class Fill:
    """What is to be searched, and a book of what was seen as the gauge keeps it."""

    def __init__(self, *seen: Span, window_ms: int = HOUR) -> None:
        self.streamed = Streamed(window_ms=window_ms, look_back_ms=LOOK_BACK_MS)
        self.streamed.ask_by(["#a"])
        self.seen = Spans(seen)
        self._window_ms = window_ms

    def stream_begins(self, since_ms: int) -> None:
        """By rules that always are there."""
        self.streamed.begins(since_ms, (), since_ms + 24 * HOUR, since_ms)

    def next(self, now_ms: int) -> Span | None:
        due = self.streamed.due_search(self.seen, now_ms)
        return Span(due[1].since_ms, due[1].until_ms or 0) if due else None

    def read(self, span: Span, now_ms: int) -> None:
        self.streamed.read("#a", span, now_ms)
        self.seen.add(span)
        self.seen.forget_before(now_ms - self._window_ms)

    def read_all(self, now_ms: int) -> list[Span]:
        """Do all the work that there is now."""
        found: list[Span] = []
        while span := self.next(now_ms):
            found.append(span)
            self.read(span, now_ms)
            assert len(found) < 100
        return found


def test_at_the_start_the_window_is_asked_for_at_once() -> None:
    assert Fill().read_all(NOW_MS) == [Span(NOW_MS - HOUR, NOW_MS - 30_000)]
    fill = Fill()
    fill.stream_begins(NOW_MS + 5_000)
    assert fill.read_all(NOW_MS) == [Span(NOW_MS - HOUR, NOW_MS - 30_000)]


def test_the_rest_up_to_the_stream_is_asked_for_when_the_index_has_it() -> None:
    fill = Fill()
    fill.stream_begins(NOW_MS + 5_000)
    fill.read_all(NOW_MS)
    assert fill.next(NOW_MS + 34_999) is None
    assert fill.read_all(NOW_MS + 35_000) == [Span(NOW_MS - 30_000, NOW_MS + 5_000)]


def test_what_was_read_soon_is_read_once_more_and_then_never() -> None:
    fill = Fill()
    fill.stream_begins(NOW_MS)
    found = []
    for now_ms in range(NOW_MS, NOW_MS + HOUR, 1000):
        fill.seen.add(Span(NOW_MS, now_ms))  # by the stream
        found += fill.read_all(now_ms)
    assert found == [
        Span(NOW_MS - HOUR, NOW_MS - 30_000),
        Span(NOW_MS - 30_000, NOW_MS),
        Span(NOW_MS - LOOK_BACK_MS, NOW_MS - 60_000),
        Span(NOW_MS - 60_000, NOW_MS),
    ]


def test_a_gap_of_the_stream_is_asked_for_from_a_minute_before_its_end() -> None:
    fill = Fill(Span(NOW_MS - HOUR, NOW_MS))
    fill.stream_begins(NOW_MS)
    fill.streamed.line_came(NOW_MS + 600_000)
    fill.seen.add(Span(NOW_MS, NOW_MS + 580_000))
    fill.streamed.ends()
    fill.stream_begins(NOW_MS + 595_000)
    assert fill.next(NOW_MS + 624_999) is None
    assert fill.next(NOW_MS + 625_000) == Span(NOW_MS + 540_000, NOW_MS + 595_000)


def test_what_was_in_flight_is_asked_for_though_the_stream_broke_before_the_first_search() -> None:
    fill = Fill(Span(NOW_MS - HOUR, NOW_MS + 20_000), Span(NOW_MS + 100_000, NOW_MS + 500_000))
    fill.stream_begins(NOW_MS - HOUR)
    fill.streamed.line_came(NOW_MS + 40_000)
    fill.streamed.ends()
    assert fill.read_all(NOW_MS + 500_000) == [Span(NOW_MS - 20_000, NOW_MS + 100_000)]


def test_what_was_in_flight_at_the_end_of_the_program_is_asked_for_after_it() -> None:
    fill = Fill()
    fill.stream_begins(NOW_MS)
    fill.streamed.line_came(NOW_MS + 600_000)
    assert fill.streamed.dump()["unsettled"] == [Span(NOW_MS + 540_000, NOW_MS + 600_000)]


def test_while_there_is_no_stream_a_minute_is_asked_for_at_a_time() -> None:
    fill = Fill()
    fill.read_all(NOW_MS)
    moments = [
        (now - NOW_MS) // 1000
        for now in range(NOW_MS, NOW_MS + 300_000, 1000)
        if fill.read_all(now)
    ]
    assert moments == [60, 120, 180, 240]


def test_the_newest_gap_is_asked_for_first() -> None:
    fill = Fill(
        Span(NOW_MS - 3_000_000, NOW_MS - 2_000_000),
        Span(NOW_MS - 1_000_000, NOW_MS - 500_000),
        Span(NOW_MS - 400_000, NOW_MS - 20_000),
    )
    ends = [span.until_ms for span in fill.read_all(NOW_MS)]
    assert ends == [NOW_MS - offset for offset in (400_000, 1_000_000, 3_000_000)]


@given(
    st.integers(1, 4),
    st.lists(st.integers(1, 100), max_size=40),
)
def test_a_stretch_is_complete_when_every_query_was_read_for_it(
    queries: int, pages: list[int]
) -> None:
    whole = Span(NOW_MS, NOW_MS + 300)
    done = {str(number): Spans() for number in range(queries)}
    sweep = Sweep(whole, done)
    for length in pages:
        if (found := sweep.next(0)) is None:
            break
        query, request = found
        assert request.until_ms is not None
        page = Span(max(NOW_MS, request.until_ms - length), request.until_ms)
        done[query].add(page)
        complete = sweep.read(query, page, NOW_MS)
        for own in done.values():
            assert own.gaps(complete) == []
    assert (sweep.next(0) is None) == all(own.gaps(whole) == [] for own in done.values())


class Model:
    """Seconds brought by a stream that comes and goes, and how often others were searched."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.fill = Fill(window_ms=600_000)
        self.now_ms = NOW_MS
        self.live_ms: int | None = None
        self.streamed: set[int] = set()
        self.reads: Counter[int] = Counter()

    def step(self) -> None:
        """Let a second pass."""
        self.now_ms += 1000
        if self.live_ms is None and self.dice.random() < 0.03:
            self.live_ms = self.now_ms
            self.fill.stream_begins(self.now_ms)
        elif self.live_ms is not None and self.dice.random() < 0.01:
            self.fill.streamed.ends()
            self.live_ms = None
        elif self.live_ms is not None:
            self.fill.streamed.line_came(self.now_ms)
            self.fill.seen.add(Span(self.live_ms, self.now_ms - 20_000))
            self.streamed.add(self.now_ms // 1000)
        for _ in range(5):
            span = self.fill.next(self.now_ms) if self.dice.random() < 0.9 else None
            if span:
                self._search(span)

    def _search(self, span: Span) -> None:
        assert span.until_ms <= self.now_ms - 30_000
        if self.dice.random() < 0.3:  # its later pages do not come
            span = Span((span.since_ms + span.until_ms) // 2, span.until_ms)
        self.fill.read(span, self.now_ms)
        self.reads.update(range(span.since_ms // 1000 + 1, span.until_ms // 1000 + 1))


@settings(max_examples=examples(20))
@given(seed=st.integers(0, 2**32))
def test_whatever_the_stream_does_all_is_asked_for_and_little_twice(seed: int) -> None:
    model = Model(seed)
    for _ in range(1800):
        model.step()
    assert max(model.reads.values()) <= 4  # two, and what lies on seams
    assert sum(n > 2 for n in model.reads.values()) <= len(model.reads) // 8
    first = model.now_ms // 1000 - 590
    for second in range(first, (model.live_ms or model.now_ms) // 1000 - 120):
        assert second in model.streamed or second in model.reads


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
        streaming.run(0)
        api.takes = lambda: None
        assert time.ms > begun_ms + 2 * LOOK_BACK_MS
        assert json.loads(streaming.cursor)["unsettled"][-1][0] <= begun_ms - LOOK_BACK_MS


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
        api.fail(*[faults.Changed(lambda page: page), faults.service_unavailable()] * 3)
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
            assert {channel for channel, _ in streaming.told} == {"stream"}
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
        assert any("rate limit is used up" in sentence for _, sentence in streaming.told)


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
        streaming.cursors["x-stream"] = cursor
        streaming.restart()
        streaming.run(200)
        assert streaming.seen("x-stream").gaps(Span(time.ms - 3_600_000, time.ms - 50_000)) == []


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
