"""What a tag timeline is asked, against servers in memory where turns break off anywhere."""

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples
from standins.mastodon_index import Ids, Index, Note, as_status

from tweetdock.core.coverage import Known
from tweetdock.core.errors import SourceError
from tweetdock.core.post import Span
from tweetdock.sources.mastodon.posts import StatusPage, parse_page
from tweetdock.sources.mastodon.timeline import PagedSpan, TimelinePlan, complete

NOW_MS = 1_790_000_000_000
WINDOW_MS = 3_600_000
MINUTE_MS = 60_000
LATE_MS = 120_000


class Server:
    """Posts on a server, and a plan that reads them; every claim is checked when it is made."""

    def __init__(self, ids: Ids, seed: int, seen: tuple[Span, ...] = ()) -> None:
        self.dice = random.Random(seed)
        self.index = Index(ids, seed)
        self.now_ms = NOW_MS
        self.behind_ms = 0  # by what clock the past is served
        self.plan = TimelinePlan(WINDOW_MS, 1)
        self.known = Known(seen, LATE_MS)
        self.read: set[str] = set()
        self.requests = 0

    def add(self, created_ms: int, shows_ms: int | None = None) -> Note:
        number = len(self.index.entries)
        note = Note(f"https://a.example/{number}", "https://a.example/@ada", created_ms, ("x",))
        shows = created_ms if shows_ms is None else shows_ms
        self.index.add(note, shows, is_own=shows_ms is None)
        return note

    def poll(self, breaks_after: int | None = None) -> bool:
        """One turn, which may break off after some pages; whether it came to its end."""
        self.known.forget_before(self.now_ms - WINDOW_MS)
        pages = 0
        for (part,) in self.plan.turn(self.known, self.now_ms):
            while not part.is_done:
                if breaks_after is not None and pages >= breaks_after:
                    return False
                pages += 1
                self.take(part)
        return True

    def take(self, part: PagedSpan) -> None:
        self.requests += 1
        served_ms = self.now_ms
        found = self.index.find("x", {**part.bounds, "limit": "40"}, served_ms)
        body = json.dumps([as_status(entry) for entry in found]).encode()
        page = replace(parse_page(body, served_ms, "a.example"), served_ms=served_ms)
        if not part.is_live:
            page = replace(page, served_ms=served_ms - self.behind_ms)
        part.add_page(page)
        self.plan.record([part], part, page)
        self.read |= {status.post.key.removeprefix("mastodon:") for status in page.statuses}
        if (span := complete([part])) and part.is_sure:
            # As the gauge does.
            certain = Span(span.since_ms, min(span.until_ms, part.read_ms - LATE_MS))
            self.known.add(certain)
            self.check(certain)
        # An answer takes its time.
        self.now_ms += self.dice.randrange(300)

    def check(self, span: Span) -> None:
        """All that showed in time in what is certain was read."""
        for entry in self.index.entries:
            is_in_time = entry.shows_ms - entry.note.created_ms < LATE_MS
            if span.since_ms < entry.note.created_ms <= span.until_ms and is_in_time:
                assert entry.note.uri in self.read | self.index.hidden

    def missing(self) -> set[str]:
        """What shows in the window and was not read."""
        floor = self.now_ms - WINDOW_MS
        return {
            entry.note.uri
            for entry in self.index.entries
            if floor < entry.note.created_ms and entry.shows(self.now_ms)
        } - self.read

    def gaps(self) -> list[Span]:
        until_ms = self.now_ms - LATE_MS - MINUTE_MS - 10_000
        return self.known.gaps(Span(self.now_ms - WINDOW_MS, until_ms))


IDS = st.sampled_from(["snowflakes", "letters", "small numbers"])


@settings(max_examples=examples(25))
@given(ids=IDS, seed=st.integers(0, 2**32), number=st.sampled_from([0, 1, 30, 300]))
def test_whatever_breaks_off_the_window_is_whole_in_the_end_and_no_claim_was_false(
    ids: Ids, seed: int, number: int
) -> None:
    server = Server(ids, seed)
    dice = server.dice
    for ago_ms in sorted(dice.sample(range(70 * MINUTE_MS), number), reverse=True):
        server.add(NOW_MS - ago_ms)
    for _ in range(40):
        server.poll(breaks_after=dice.choice([None, 0, 1, 2, 5]))
        for _ in range(dice.choice([0, 0, 1, 25])):
            created_ms = server.now_ms - dice.randrange(4_000)
            # As they show: at once, in some seconds, or minutes later from elsewhere.
            late_ms = dice.choice([None, 300, 4_000, 50_000, 500_000])
            server.add(created_ms, None if late_ms is None else created_ms + late_ms)
        server.now_ms += dice.choice([1_000, 5_000, 5_000, 60_000, 900_000])
    server.now_ms += 500_000
    assert server.poll()
    server.now_ms += 5_000
    assert server.poll()
    # Once more around the clock, when even the latest have been looked for.
    server.now_ms += 16 * MINUTE_MS
    assert server.poll()
    assert server.missing() == set()
    assert server.gaps() == []


@pytest.mark.parametrize("ids", ["snowflakes", "letters", "small numbers"])
def test_a_quiet_tag_costs_one_request_a_poll(ids: Ids) -> None:
    server = Server(ids, 1)
    for number in range(50):
        server.add(NOW_MS - WINDOW_MS - number * 1000 - 120_000)
    server.poll()
    server.requests = 0
    for _ in range(9):
        server.now_ms += 5_000
        server.poll()
    assert server.requests == 9


def test_an_hour_that_was_broken_off_goes_on_where_it_was() -> None:
    server = Server("snowflakes", 1)
    for ago_ms in range(3_500_000, 10_000, -4_000):
        server.add(NOW_MS - ago_ms)
    while server.gaps():
        server.poll(breaks_after=5)
        # 22 pages are read, and in each turn two of the present; a look-back is in it, too.
        assert server.requests < 60


def test_after_a_restart_the_present_comes_first_and_then_the_window_once_more() -> None:
    """By its ids alone a server says which posts are gone: they must be known again."""
    seen = Span(NOW_MS - WINDOW_MS, NOW_MS - 20_000)
    server = Server("snowflakes", 1, (seen,))
    for ago_ms in range(3_500_000, 10_000, -10_000):
        server.add(NOW_MS - ago_ms)
    server.poll(breaks_after=4)
    assert server.gaps() == []
    server.poll()
    assert server.missing() == set()


def test_what_a_wrong_clock_has_seen_of_the_future_is_not_known() -> None:
    server = Server("snowflakes", 1, (Span(NOW_MS - WINDOW_MS, NOW_MS + WINDOW_MS),))
    server.now_ms += 5_000
    fresh = server.add(server.now_ms - 2_000)
    server.poll()
    assert fresh.uri in server.read
    server.now_ms += 30_000
    late = server.add(server.now_ms - 20_000)
    server.poll()
    assert late.uri in server.read


def test_what_a_clock_that_is_behind_leaves_uncertain_is_read_again_a_minute_later() -> None:
    """Behind a second clock it was asked for again at once, until the rate limit was used up."""
    server = Server("snowflakes", 1)
    server.add(NOW_MS - 10_000)
    server.poll()
    server.now_ms += 16 * MINUTE_MS
    server.behind_ms = 2 * WINDOW_MS
    assert server.poll(breaks_after=20)
    assert server.gaps()
    server.behind_ms = 0
    server.now_ms += MINUTE_MS
    assert server.poll(breaks_after=20)
    assert server.gaps() == []


@pytest.mark.parametrize("history_minutes", [70, 20])
def test_what_lies_below_a_page_that_the_server_keeps_back_is_read(history_minutes: int) -> None:
    """An empty page was taken for the end: 40 posts of people whom the server hides, in a row."""
    server = Server("snowflakes", 1)
    for ago_ms in range(history_minutes * MINUTE_MS, 200_000, -10_000):
        server.add(NOW_MS - ago_ms)
    notes = [entry.note for entry in server.index.entries]
    server.index.hidden = {note.uri for note in notes[40:90]}
    for _ in range(2):
        server.poll()
        server.now_ms += MINUTE_MS
    floor = server.now_ms - WINDOW_MS
    assert server.missing() <= server.index.hidden
    assert server.known.gaps(Span(floor, NOW_MS - LATE_MS)) == []


def test_the_young_end_is_read_at_the_start_and_once_more_when_it_is_ripe() -> None:
    """What came after the first reading and before it was settled was called exact without it."""
    server = Server("snowflakes", 1)
    young = server.add(NOW_MS - 100_000)
    late = server.add(NOW_MS - 100_000, shows_ms=NOW_MS + 15_000)
    server.poll()
    assert server.read == {young.uri}
    assert server.known.gaps(Span(NOW_MS - WINDOW_MS, NOW_MS)) == [Span(NOW_MS - LATE_MS, NOW_MS)]
    server.now_ms += MINUTE_MS
    server.poll()
    assert server.read == {young.uri, late.uri}
    assert server.known.gaps(Span(NOW_MS - LATE_MS, NOW_MS + MINUTE_MS - LATE_MS)) == []


def test_small_numbers_are_not_asked_for_from_a_made_up_id() -> None:
    """No post has an id above one that is made up from the time: an empty page, and a lie."""
    server = Server("small numbers", 1)
    fresh = server.add(NOW_MS - 10_000)
    server.poll()
    server.now_ms += 10_000
    second = server.add(NOW_MS + 1_000)
    server.poll()
    assert {fresh.uri, second.uri} <= server.read


def status(moment_ms: int, number: int = 0, status_id: str = "") -> dict[str, Any]:
    note = Note(f"https://a.example/{number}", "https://a.example/@ada", moment_ms, ("x",))
    made = as_status(Index("snowflakes", number).add(note, moment_ms, is_own=True))
    return made | ({"id": status_id} if status_id else {})


def page(*entries: dict[str, Any]) -> StatusPage:
    found = parse_page(json.dumps(entries).encode(), NOW_MS, "a.example")
    return replace(found, served_ms=NOW_MS)


@pytest.mark.parametrize("by_time", [True, False])
def test_pages_that_lead_nowhere_are_left(*, by_time: bool) -> None:
    reading = PagedSpan(NOW_MS - WINDOW_MS, None, by_time=by_time)
    same = page(status(NOW_MS - 10_000))
    reading.add_page(same)
    with pytest.raises(SourceError, match="nothing new"):
        reading.add_page(same)


def test_a_page_without_any_id_leads_nowhere() -> None:
    reading = PagedSpan(NOW_MS - WINDOW_MS, None, by_time=False)
    with pytest.raises(SourceError, match="nothing new"):
        reading.add_page(page(status(NOW_MS) | {"id": None}))


def test_pages_without_end_are_left() -> None:
    reading = PagedSpan(NOW_MS - WINDOW_MS, None, by_time=False)

    def read_on() -> None:
        for number in range(2_000):
            reading.add_page(page(status(NOW_MS, number, f"A{number}")))

    with pytest.raises(SourceError, match="nothing new"):
        read_on()


def test_an_id_of_a_time_to_come_hides_nothing() -> None:
    reading = PagedSpan(NOW_MS - WINDOW_MS, None, by_time=True)
    far = str((NOW_MS + 10 * WINDOW_MS) << 16)
    reading.add_page(page(status(NOW_MS, 9, far), *(status(NOW_MS - 900_000, n) for n in range(3))))
    assert reading.read
    assert NOW_MS - 900_000 <= reading.read.since_ms <= NOW_MS - 895_000
    assert not reading.is_done


def test_ids_that_stop_telling_the_time_are_bounds_no_more() -> None:
    server = Server("snowflakes", 1)
    server.add(NOW_MS - 10_000)
    server.poll()
    (bounded,) = next(server.plan.turn(server.known, server.now_ms + 5_000))
    assert bounded.bounds.keys() == {"since_id"}
    assert not bounded.is_sure
    odd = page(status(NOW_MS, 1, "A1"), status(NOW_MS, 2, "A2"))
    bounded.add_page(odd)
    assert bounded.is_done
    assert complete([bounded]) is None
    server.plan.record([bounded], bounded, odd)
    (free,) = next(server.plan.turn(server.known, server.now_ms + 5_000))
    assert free.bounds == {}


READ = st.just(Span(0, 0)) | st.builds(Span, st.integers(0, 20), st.integers(10, 50))


@given(st.lists(READ, min_size=1, max_size=3))
def test_of_several_tags_a_stretch_is_complete_as_far_as_all_have_read_it(
    reads: list[Span],
) -> None:
    parts = [PagedSpan(0, 50, by_time=True) for _ in reads]
    for part, read in zip(parts, reads, strict=True):
        part.read = read
    moments = range(50)
    if whole := complete(parts):
        since, until = whole
        assert all(read.since_ms <= since < until <= read.until_ms for read in reads)
    else:
        assert not any(all(r.since_ms <= m < r.until_ms for r in reads) for m in moments)
