"""The state file: what was saved comes back, whatever happened to the file."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from profiles import is_thorough

from tweetdock.core.coverage import Grade, Seen
from tweetdock.core.errors import StateError, UnavailableError
from tweetdock.core.gauge import Gauge, Saved, ScaleState, SourceMark
from tweetdock.core.post import Batch, Feed, Post, Raw, Removal, Span, Spent
from tweetdock.core.times import DAY_MS, HOUR_MS, MINUTE_MS
from tweetdock.keep.database import (
    FILE,
    TIDY_MS,
    HistoryRow,
    State,
    Store,
    read_history,
    read_state,
)
from tweetdock.keep.keeper import History
from tweetdock.settings.gauge import Settings

NOON = 1_790_000_000_000
WINDOW = 3_600_000
SUBJECTS = {"x": "#dockercon"}
SALT = bytes(range(16))
GAUGE = Settings.from_env({"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": "a-token"}).gauge
FEEDS = [Feed("x", 105_000)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path, SUBJECTS, WINDOW)) as store:
        yield store


def state_of(gauge: Gauge, now_ms: int, cursor: str = "{}") -> State:
    saved = Saved(salt=SALT, seen=gauge.seen, scales=gauge.scales)
    cursors = dict.fromkeys(gauge.seen, cursor)
    return State(saved_ms=now_ms, saved=saved, cursors=cursors, angles=(12.5, 90.0))


def loaded(folder: Path, subjects: dict[str, str] = SUBJECTS) -> State | None:
    with closing(Store(folder, subjects, WINDOW)) as store:
        return store.load()


def a_post(number: int, at_ms: int) -> Post:
    return Post(f"x:{number}", f"x:{number % 7}", at_ms)


def one_batch(number: int = 100, at_ms: int = NOON) -> Batch:
    posts = tuple(a_post(n, at_ms - 1000 * n) for n in range(number))
    return Batch(source="x", posts=posts, covers=Span(at_ms - WINDOW, at_ms))


def save_all(store: Store, gauge: Gauge, now_ms: int = NOON) -> None:
    store.save(state_of(gauge, now_ms), gauge.marks(), is_whole=True)


def full_gauge() -> Gauge:
    gauge = Gauge(GAUGE, FEEDS, NOON, Saved(salt=SALT))
    gauge.deliver(one_batch(), NOON)
    return gauge


def is_aside(folder: Path) -> bool:
    return any(path.name.startswith(f"{FILE}.damaged-") for path in folder.iterdir())


@dataclass(frozen=True)
class Step:
    """A batch, so long after the last one, and what is done about it."""

    later_ms: int
    posts: list[tuple[int, int]]
    removals: list[tuple[int, int]]
    raws: list[int]
    then: str

    def batch(self, now_ms: int) -> Batch:
        return Batch(
            source="x",
            posts=tuple(a_post(n, now_ms + at_ms) for n, at_ms in self.posts),
            removals=tuple(Removal(f"x:{n}", now_ms + at_ms) for n, at_ms in self.removals),
            covers=Span(now_ms - 60_000, now_ms),
            unreadable=(now_ms - 5,) if len(self.raws) == 3 else (),
            raw=tuple(Raw(f"x:{n}", "{}", None) for n in self.raws),
        )


numbers = st.integers(0, 30)
steps = st.builds(
    Step,
    later_ms=st.integers(0, 900_000),
    posts=st.lists(st.tuples(numbers, st.integers(-WINDOW - 5000, 5000)), max_size=8),
    removals=st.lists(st.tuples(numbers, st.integers(-5000, 0)), max_size=3),
    raws=st.lists(numbers, max_size=4),
    then=st.sampled_from(["wait", "save", "save whole", "restart"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, max_size=12))
def test_a_gauge_that_restarts_at_any_save_shows_what_one_that_never_ended_shows(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    folder = tmp_path_factory.mktemp("state")
    now_ms = NOON
    steady = Gauge(GAUGE, FEEDS, now_ms, Saved(salt=SALT))
    again = Gauge(GAUGE, FEEDS, now_ms, Saved(salt=SALT))
    store = Store(folder, SUBJECTS, WINDOW)
    new: list[SourceMark] = []
    for step in steps:
        now_ms += step.later_ms
        batch = step.batch(now_ms)
        expected, news = steady.deliver(batch, now_ms), again.deliver(batch, now_ms)
        assert news.raw == expected.raw
        new += news.marks
        if step.then != "wait":
            is_whole = step.then == "save whole"
            marks = list(again.marks()) if is_whole else new
            store.save(state_of(again, now_ms), marks, is_whole=is_whole)
            new = []
        if step.then == "restart":
            store.close()
            store = Store(folder, SUBJECTS, WINDOW)
            state = store.load()
            assert state is not None
            again = Gauge(GAUGE, FEEDS, now_ms, state.saved)
        assert again.read(now_ms) == steady.read(now_ms)
    store.close()


def test_all_that_was_saved_comes_back(store: Store, tmp_path: Path) -> None:
    gauge = full_gauge()
    gauge.read(NOON)
    save_all(store, gauge)
    state = loaded(tmp_path)
    assert state is not None
    saved = replace(state.saved, marks=sorted(state.saved.marks))
    assert replace(state, saved=saved) == State(
        saved_ms=NOON,
        saved=Saved(salt=SALT, marks=sorted(gauge.marks()), seen=gauge.seen, scales=gauge.scales),
        cursors={"x": "{}"},
        angles=(12.5, 90.0),
    )


def test_a_new_folder_has_nothing_to_go_on_from(store: Store) -> None:
    assert store.load() is None


def test_what_was_asked_before_is_forgotten_when_another_question_is_asked(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_all(store, full_gauge())
    store.close()
    caplog.set_level("INFO")
    with closing(Store(tmp_path, {"x": "#other"}, WINDOW)) as other:
        state = other.load()
        assert state is not None
        assert (list(state.saved.marks), state.saved.seen, state.cursors) == ([], {}, {})
        assert "x was asked for #dockercon before" in caplog.text
        gauge = Gauge(GAUGE, FEEDS, NOON, state.saved)
        news = gauge.deliver(one_batch(3), NOON)
        other.save(state_of(gauge, NOON), news.marks)
    again = loaded(tmp_path, {"x": "#other"})
    assert again is not None
    assert len(list(again.saved.marks)) == 3


ONE, OTHER = Feed("mastodon", 60_000, "one.example"), Feed("mastodon", 60_000, "other.example")


def asked(*feeds: Feed) -> dict[str, str]:
    """What feeds are asked for: of Mastodon's servers each is asked beside all others."""
    servers = " ".join(feed.server for feed in feeds if feed.server)
    return {
        feed.name: f"#dockercon at {servers}" if feed.server else "#dockercon" for feed in feeds
    }


def go_on(
    folder: Path,
    number: int,
    *feeds: Feed,
    heard: int = 0,
    now_ms: int = NOON,
    window_ms: int = WINDOW,
) -> Gauge:
    """A gauge of these feeds goes on from the state, hears of some posts and saves."""
    with closing(Store(folder, asked(*feeds), window_ms)) as store:
        state = store.load()
        gauge = Gauge(
            replace(GAUGE, window_seconds=window_ms / 1000),
            feeds,
            now_ms,
            state.saved if state else Saved(salt=SALT),
        )
        kept: list[SourceMark] = []
        for feed in feeds if number else ():
            posts = tuple(a_post(heard + n, now_ms - 1000 * n) for n in range(number))
            covers = Span(now_ms - window_ms, now_ms)
            batch = Batch(source=feed.source, server=feed.server, posts=posts, covers=covers)
            kept += gauge.deliver(batch, now_ms).marks
        store.save(state_of(gauge, now_ms), kept)
    return gauge


@pytest.mark.parametrize("heard_between", [0, 5])
def test_a_server_that_is_asked_again_has_not_seen_what_was_forgotten_meanwhile(
    tmp_path: Path, heard_between: int
) -> None:
    """The server's row had outlived the posts: the hour without them was said to be exact."""
    go_on(tmp_path, 20, ONE, OTHER)
    alone = go_on(tmp_path, heard_between, ONE)
    assert alone.read(NOON).posts == heard_between
    again = go_on(tmp_path, 0, ONE, OTHER)
    assert again.read(NOON).posts == 0
    assert again.read(NOON).grade is not Grade.EXACT
    assert again.seen == {}


def test_what_is_counted_with_a_server_that_is_asked_again_is_in_the_file(tmp_path: Path) -> None:
    """What one server's row had recalled another's deleted: the next start lacked it."""
    go_on(tmp_path, 20, ONE, OTHER)
    go_on(tmp_path, 5, ONE)
    counted = go_on(tmp_path, 7, ONE, OTHER, heard=100)
    again = go_on(tmp_path, 0, ONE, OTHER)
    assert again.read(NOON).posts == counted.read(NOON).posts == 7
    assert again.read(NOON).grade is Grade.EXACT


def test_a_server_that_was_never_heard_costs_the_others_nothing(tmp_path: Path) -> None:
    subjects = asked(ONE, OTHER)
    with closing(Store(tmp_path, subjects, WINDOW)) as store:
        gauge = Gauge(GAUGE, [ONE, OTHER], NOON, Saved(salt=SALT))
        news = gauge.deliver(replace(one_batch(), source=ONE.source, server=ONE.server), NOON)
        store.save(state_of(gauge, NOON), news.marks)
    assert go_on(tmp_path, 0, ONE, OTHER).read(NOON).posts == 100


def test_a_source_that_is_not_asked_for_a_while_stays_as_it_was(tmp_path: Path) -> None:
    x = FEEDS[0]
    go_on(tmp_path, 20, x, ONE)
    assert go_on(tmp_path, 0, x).read(NOON).posts == 20
    with closing(Store(tmp_path, asked(x), WINDOW)) as store:
        store.load()
        gauge = Gauge(GAUGE, [x], NOON, Saved(salt=SALT))
        store.save(state_of(gauge, NOON), gauge.marks(), is_whole=True)
    # Yet what is saved whole has lost the others' marks, and says so.
    assert go_on(tmp_path, 0, x, ONE).seen == {}


def test_an_hour_in_which_the_window_was_shorter_is_not_taken_as_seen(tmp_path: Path) -> None:
    """The shorter window had thrown marks away, of sources that had not spoken in it, too."""
    go_on(tmp_path, 20, FEEDS[0], ONE)
    later, short = NOON + 1000, WINDOW // 6
    with closing(Store(tmp_path, asked(ONE), short)) as store:
        state = store.load()
        assert state is not None
        store.save(replace(state, saved_ms=later))
    with closing(Store(tmp_path, asked(FEEDS[0], ONE), WINDOW)) as store:
        state = store.load()
        assert state is not None
        for seen in state.saved.seen.values():
            assert seen.spans == (Span(later - short, NOON),)
        assert len(state.saved.seen) == 2


def test_what_a_shorter_window_has_thrown_away_is_not_taken_as_seen_ever_after(
    tmp_path: Path,
) -> None:
    """A third gauge with the long window hid it: of 293 posts 6 were called exact."""
    x, both = FEEDS[0], (FEEDS[0], ONE)
    go_on(tmp_path, 293, *both)
    short = MINUTE_MS
    go_on(tmp_path, 1, x, now_ms=NOON + 1000, window_ms=short)
    go_on(tmp_path, 1, x, now_ms=NOON + 2000)
    again = go_on(tmp_path, 0, *both, now_ms=NOON + 3000)
    assert list(again.known(ONE.name, NOON + 3000)) == [Span(NOON + 1000 - short, NOON)]
    # Of each second there was one post.
    assert again.read(NOON + 3000).sources["mastodon"].posts == short // 1000 - 1


def test_what_an_earlier_version_has_thrown_away_is_not_taken_as_seen_ever_after(
    tmp_path: Path,
) -> None:
    x, both = FEEDS[0], (FEEDS[0], ONE)
    go_on(tmp_path, 293, *both)
    by_an_earlier_one(
        tmp_path,
        f"DELETE FROM marks WHERE at_ms <= {NOON - MINUTE_MS}",
        f"INSERT OR REPLACE INTO facts VALUES ('saved_ms', {NOON})",
        f"INSERT OR REPLACE INTO facts VALUES ('window_ms', {MINUTE_MS})",
    )
    go_on(tmp_path, 1, x, now_ms=NOON + 2000)
    again = go_on(tmp_path, 0, *both, now_ms=NOON + 3000)
    assert list(again.known(ONE.name, NOON + 3000)) == [Span(NOON - MINUTE_MS, NOON)]


def test_how_late_a_feed_is_outlasts_a_while_in_which_it_is_not_asked(tmp_path: Path) -> None:
    both = asked(FEEDS[0], ONE)
    late = {"x": Seen((), (), NOON, 120_000), ONE.name: Seen((), (), NOON, 1_500_000)}
    with closing(Store(tmp_path, both, WINDOW)) as store:
        store.save(State(saved_ms=NOON, saved=Saved(salt=SALT, seen=late), cursors={}))
    go_on(tmp_path, 1, FEEDS[0])
    state = loaded(tmp_path, both)
    assert state is not None
    assert state.saved.seen[ONE.name] == late[ONE.name]


def test_nothing_is_taken_as_seen_of_the_time_after_it_was_saved(
    store: Store, tmp_path: Path
) -> None:
    """By a clock that was ahead, the time to come was known, the scale was roomy and it spoke."""
    ahead = NOON + 50 * MINUTE_MS
    seen = {"x": Seen((Span(NOON - 1000, ahead),), (), ahead)}
    saved = Saved(salt=SALT, seen=seen, scales={"tweets": ScaleState(100, ahead)})
    store.save(State(saved_ms=NOON, saved=saved, cursors={}, blind_until_ms=ahead))
    state = loaded(tmp_path)
    assert state is not None
    assert state.saved.seen == {"x": Seen((Span(NOON - 1000, NOON),), (), NOON)}
    assert state.saved.scales == {"tweets": ScaleState(100, NOON)}
    assert state.blind_until_ms == NOON


def test_what_was_spent_comes_back_by_day_and_source(store: Store, tmp_path: Path) -> None:
    spent = {("2026-01-05", "x"): Spent(1, 2), ("2026-09-21", "counts"): Spent(2, 0)}
    spent[("2026-09-21", "x")] = Spent(3, 30)
    store.save(state_of(full_gauge(), NOON), spent=spent)
    state = loaded(tmp_path)
    assert state is not None
    assert state.spent == {
        "2026-01-05": {"x": Spent(1, 2)},
        "2026-09-21": {"x": Spent(3, 30), "counts": Spent(2, 0)},
    }


def test_a_save_that_fails_changes_nothing(store: Store, tmp_path: Path) -> None:
    save_all(store, full_gauge())

    def breaks_off() -> Iterator[SourceMark]:
        yield next(full_gauge().marks())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.save(state_of(full_gauge(), NOON + 1), breaks_off(), is_whole=True)
    state = loaded(tmp_path)
    assert state is not None
    assert state.saved_ms == NOON
    assert len(list(state.saved.marks)) == 100


def test_what_has_left_the_window_leaves_the_file(store: Store, tmp_path: Path) -> None:
    gauge = full_gauge()
    save_all(store, gauge)
    later = NOON + 2 * WINDOW
    news = gauge.deliver(one_batch(5, later), later)
    for now_ms, marks in ((later, news.marks), (later + TIDY_MS, ())):
        store.save(state_of(gauge, now_ms), marks)
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        assert db.execute("SELECT count(*) FROM marks").fetchone() == (5,)


def rows_of(per: str, step_ms: int, number: int, until_ms: int = NOON) -> list[HistoryRow]:
    """So many rows of the history, oldest first."""
    moments = range(until_ms - (number - 1) * step_ms, until_ms + 1, step_ms)
    return [HistoryRow(per, at_ms, 1, 1, "exact", 3600.0, "#dockercon") for at_ms in moments]


def test_a_day_of_minutes_and_a_year_of_hours_and_of_bills_are_kept(
    store: Store, tmp_path: Path
) -> None:
    minutes, hours = rows_of("minute", MINUTE_MS, 1500), rows_of("hour", HOUR_MS, 9000)
    first = date(2025, 9, 1)
    days = [str(first + timedelta(days=number)) for number in range(400)]
    spent = {(day, "x"): Spent(1, 2) for day in days}
    store.save(state_of(full_gauge(), NOON), (), minutes + hours, spent)
    store.save(state_of(full_gauge(), NOON + TIDY_MS))
    assert read_history(tmp_path, "minute") == minutes[-1440:]
    assert read_history(tmp_path, "hour") == hours[-8784:]
    state = loaded(tmp_path)
    assert state is not None
    assert list(state.spent) == days[-366:]


@pytest.mark.parametrize("years", [-20, 64])
def test_a_time_that_is_wrong_costs_neither_history_nor_bills(
    store: Store, tmp_path: Path, years: int
) -> None:
    """Eight events of the year 2090 had the readings of a year and all bills deleted."""
    rows = rows_of("hour", HOUR_MS, 7999)
    spent = {("2026-01-05", "x"): Spent(1, 2), ("2026-09-21", "x"): Spent(3, 30)}
    store.save(state_of(full_gauge(), NOON), (), rows, spent)
    wrong = NOON + years * 365 * DAY_MS
    store.save(state_of(full_gauge(), wrong), (), rows_of("hour", HOUR_MS, 1, wrong))
    store.save(state_of(full_gauge(), wrong + TIDY_MS))
    assert set(rows) < set(read_history(tmp_path, "hour"))
    state = loaded(tmp_path)
    assert state is not None
    assert state.spent == {"2026-01-05": {"x": Spent(1, 2)}, "2026-09-21": {"x": Spent(3, 30)}}


def test_the_history_of_a_time_that_was_wrong_makes_room_first(
    store: Store, tmp_path: Path
) -> None:
    wrong = NOON + 64 * 365 * DAY_MS
    store.save(state_of(full_gauge(), wrong), (), rows_of("minute", MINUTE_MS, 1440, wrong))
    minutes = rows_of("minute", MINUTE_MS, 100)
    store.save(state_of(full_gauge(), NOON), (), minutes)
    store.save(state_of(full_gauge(), NOON + TIDY_MS))
    assert len(read_history(tmp_path, "minute")) == 1440
    assert set(minutes) < set(read_history(tmp_path, "minute"))


def test_a_year_that_is_not_to_come_costs_the_hour_and_nothing_else(
    store: Store, tmp_path: Path
) -> None:
    """What an earlier TweetDock had saved by it was damaged, bills and history with it."""
    rows, spent = rows_of("hour", HOUR_MS, 3), {("2026-09-21", "x"): Spent(3, 30)}
    store.save(state_of(full_gauge(), NOON), (), rows, spent)
    with store._db as db:
        year_5138 = 99_999_999_999_999
        db.execute("INSERT OR REPLACE INTO facts VALUES ('saved_ms', ?)", (year_5138,))
        db.execute("UPDATE sources SET heard_ms = ?, spans = ?", (year_5138, f"[[5,{year_5138}]]"))
    state = loaded(tmp_path)
    assert state is not None
    assert (state.saved_ms, state.saved.seen, state.cursors) == (0, {}, {})
    assert state.angles == (12.5, 90.0)
    assert state.spent == {"2026-09-21": {"x": Spent(3, 30)}}
    assert read_history(tmp_path) == rows


def test_a_newer_file_is_refused_and_left_alone(store: Store, tmp_path: Path) -> None:
    store._db.execute("PRAGMA user_version=99")
    for use in (Store, read_state):
        with pytest.raises(UnavailableError, match=r"written by a newer TweetDock"):
            use(tmp_path, SUBJECTS, WINDOW)
    assert not is_aside(tmp_path)


@pytest.mark.parametrize("number", range(20))
def test_a_damaged_file_is_moved_aside_and_begun_anew(
    store: Store, tmp_path: Path, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    gauge = full_gauge()
    save_all(store, gauge)
    store.close()
    path, dice = tmp_path / FILE, random.Random(number)
    whole = bytearray(path.read_bytes())
    start = dice.randrange(0, len(whole) - 2048)
    whole[start : start + 2048] = dice.randbytes(2048)
    path.write_bytes(whole[: dice.choice([len(whole), start + 1500])])
    with closing(Store(tmp_path, SUBJECTS, WINDOW)) as new:
        new.load()
        assert is_aside(tmp_path)
        (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
        assert "state.db.damaged-" in line.getMessage()
        save_all(new, gauge)
    state = loaded(tmp_path)
    assert state is not None
    assert len(list(state.saved.marks)) == 100


def test_what_is_no_state_at_all_is_moved_aside(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    (tmp_path / FILE / "letter").write_text("keep me")
    with closing(Store(tmp_path, SUBJECTS, WINDOW)) as store:
        save_all(store, full_gauge())
    assert [path.read_text() for path in tmp_path.rglob("letter")] == ["keep me"]


def test_a_file_of_another_program_is_moved_aside(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("CREATE TABLE recipes (name)")
        db.execute("PRAGMA user_version=1")
    with closing(Store(tmp_path, SUBJECTS, WINDOW)) as store:
        assert store.load() is None
        save_all(store, full_gauge())
    assert is_aside(tmp_path)
    assert loaded(tmp_path) is not None


SENSELESS = {
    "no spans": 'UPDATE sources SET spans = \'[["a", "b"]]\'',
    "no moment": "UPDATE sources SET heard_ms = 'noon'",
    "the year 318856": "UPDATE facts SET value = 9999999999999999 WHERE name = 'saved_ms'",
    "no scale": "UPDATE facts SET value = '{\"tweets\": [\"big\", null]}' WHERE name = 'scales'",
    "no place": "UPDATE facts SET value = '5' WHERE name = 'place'",
    "no sum": "INSERT INTO spent VALUES ('2026-09-21', 'x', 1, 'many')",
    "no bills": "DROP TABLE spent",
    "no salt": "DELETE FROM facts WHERE name = 'salt'",
}


@pytest.mark.parametrize("change", SENSELESS.values(), ids=SENSELESS)
def test_a_file_that_makes_no_sense_is_moved_aside(
    store: Store, tmp_path: Path, change: str
) -> None:
    save_all(store, full_gauge())
    store.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute(change)
        db.commit()
    with closing(Store(tmp_path, SUBJECTS, WINDOW)) as again:
        assert again.load() is None
        save_all(again, full_gauge())
    assert is_aside(tmp_path)
    assert loaded(tmp_path) is not None


ROTTEN = {
    "a post's time": "UPDATE marks SET at_ms = at_ms + 1 WHERE rowid = 7",
    "a post": "UPDATE marks SET key = key + 1 WHERE rowid = 7",
    "an author": "UPDATE marks SET author = author + 1 WHERE rowid = 7",
    "a post's source": "UPDATE marks SET source = 'y' WHERE rowid = 7",
    "a post that is gone": "DELETE FROM marks WHERE rowid = 7",
    "what was seen": "UPDATE sources SET spans = replace(spans, '0', '1')",
    "the salt": "UPDATE facts SET value = x'00' WHERE name = 'salt'",
    "when it was saved": "UPDATE facts SET value = value + 1 WHERE name = 'saved_ms'",
    "a bill": "UPDATE spent SET posts = posts + 1",
}


@pytest.mark.parametrize("change", ROTTEN.values(), ids=ROTTEN)
def test_what_is_not_as_it_was_saved_is_damage(store: Store, tmp_path: Path, change: str) -> None:
    """Bits that a card had lost were counted: SQLite itself looks at its own order only."""
    gauge = full_gauge()
    store.save(state_of(gauge, NOON), gauge.marks(), spent={("2026-09-21", "x"): Spent(3, 30)})
    assert read_state(tmp_path, SUBJECTS, WINDOW) is not None
    with store._db as db:
        db.execute(change)
    with pytest.raises(StateError, match="is damaged"):
        read_state(tmp_path, SUBJECTS, WINDOW)
    assert loaded(tmp_path) is None
    assert is_aside(tmp_path)


@pytest.mark.parametrize(
    "change", ["UPDATE sources SET spans = '[[1'", "UPDATE marks SET key = 'x' WHERE rowid = 7"]
)
def test_rot_that_a_save_meets_is_damage(store: Store, tmp_path: Path, change: str) -> None:
    """It was taken for a bug of ours, and ended the gauge."""
    gauge = full_gauge()
    store.save(state_of(gauge, NOON), gauge.marks())
    with store._db as db:
        db.execute(change)
    store._marks_sum = None  # as after a save that failed
    with pytest.raises(StateError, match="is damaged"):
        store.save(state_of(gauge, NOON + 2 * TIDY_MS))


def test_whatever_byte_is_lost_all_that_comes_back_is_as_it_was_saved(tmp_path: Path) -> None:
    """By bits that were lost, 542 of 2,527 readings that were called exact were not."""
    folder, dice, both = tmp_path / "state", random.Random(7), (FEEDS[0], ONE)
    folder.mkdir()
    gauge = go_on(folder, 60, *both)
    with closing(Store(folder, asked(*both), WINDOW)) as store:
        store.load()
        spent = {("2026-09-21", "x"): Spent(3, 30)}
        store.save(state_of(gauge, NOON), (), rows_of("minute", MINUTE_MS, 5), spent)
    whole, saved = (folder / FILE).read_bytes(), read_state(folder, asked(*both), WINDOW)
    assert saved is not None
    refused = 0
    for _ in range(5000 if is_thorough() else 200):
        lost = bytearray(whole)
        lost[dice.randrange(len(lost))] ^= 1 << dice.randrange(8)
        (folder / FILE).write_bytes(lost)
        try:
            assert read_state(folder, asked(*both), WINDOW) in (saved, None)
        except (StateError, UnavailableError):
            refused += 1
        with suppress(StateError):
            assert len(read_history(folder)) <= 5
    assert refused


def test_bits_that_are_lost_in_a_table_s_name_do_not_keep_a_gauge_from_its_work(
    store: Store, tmp_path: Path
) -> None:
    """SQLite's complaint named it as it was, which was no text: every start was a crash."""
    save_all(store, full_gauge())
    store.close()
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE sources", b"CREATE TA\xccLE sources"))
    assert loaded(tmp_path) is None
    assert is_aside(tmp_path)


@pytest.mark.parametrize("name", ["requests INTEGER", "NEW.name"])
def test_bits_that_are_lost_where_they_hinder_the_next_save_alone_are_found_at_once(
    store: Store, tmp_path: Path, name: str
) -> None:
    """The state was loaded, and then could not be saved any more."""
    save_all(store, full_gauge())
    store.close()
    path = tmp_path / FILE
    whole = path.read_bytes()
    assert name.encode() in whole
    path.write_bytes(whole.replace(name.encode(), name.replace("e", "i").encode()))
    with closing(Store(tmp_path, SUBJECTS, WINDOW)) as again:
        assert again.load() is None
        save_all(again, full_gauge())


def by_an_earlier_one(folder: Path, *changes: str) -> None:
    """An earlier TweetDock, which knows of no checksum, changes the file."""
    with closing(sqlite3.connect(folder / FILE)) as db, db:
        for change in changes:
            db.execute(change)


def test_what_an_earlier_version_has_saved_last_is_no_damage(store: Store, tmp_path: Path) -> None:
    save_all(store, full_gauge())
    by_an_earlier_one(
        tmp_path,
        "DELETE FROM marks WHERE rowid = 7",
        f"INSERT OR REPLACE INTO facts VALUES ('saved_ms', {NOON})",
        "INSERT INTO marks VALUES ('x', 1, 2, 3)",
    )
    state = loaded(tmp_path)
    assert state is not None
    assert len(list(state.saved.marks)) == 99


def test_what_an_earlier_version_has_forgotten_is_no_damage(store: Store, tmp_path: Path) -> None:
    save_all(store, full_gauge())
    by_an_earlier_one(tmp_path, "DELETE FROM marks", "DELETE FROM sources")
    state = loaded(tmp_path)
    assert state is not None
    assert (list(state.saved.marks), state.saved.seen) == ([], {})


def test_who_only_reads_changes_nothing_whatever_is_found(store: Store, tmp_path: Path) -> None:
    save_all(store, full_gauge())
    assert read_state(tmp_path, {"x": "#other"}, WINDOW) is not None
    state = read_state(tmp_path, SUBJECTS, WINDOW)
    assert state is not None
    assert len(list(state.saved.marks)) == 100
    with store._db:
        store._db.execute(SENSELESS["no moment"])
    before = files_of(tmp_path)
    with pytest.raises(StateError, match="is damaged"):
        read_state(tmp_path, SUBJECTS, WINDOW)
    assert files_of(tmp_path) == before


def files_of(folder: Path) -> list[tuple[str, int, int]]:
    """All but what SQLite shares between processes."""
    files = [(path.name, path.stat()) for path in folder.iterdir() if "shm" not in path.name]
    return sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in files)


def test_a_file_that_was_taken_away_is_noticed_at_the_next_save(
    store: Store, tmp_path: Path
) -> None:
    save_all(store, full_gauge())
    (tmp_path / FILE).unlink()
    with pytest.raises(StateError, match="taken away"):
        save_all(store, full_gauge())


def test_the_first_reading_of_each_minute_and_hour_is_kept() -> None:
    start = NOON // HOUR_MS * HOUR_MS
    history, gauge = History("#dockercon", 3600), Gauge(GAUGE, FEEDS, start, Saved(salt=SALT))
    kept = []
    for at_ms in range(start + 1, start + 3 * HOUR_MS, 7_000):
        kept += history.note(gauge.read(at_ms))
    minutes = [row.at_ms for row in kept if row.per == "minute"]
    assert minutes == list(range(start + MINUTE_MS, start + 3 * HOUR_MS, MINUTE_MS))
    assert [row.at_ms for row in kept if row.per == "hour"] == [
        start + HOUR_MS,
        start + 2 * HOUR_MS,
    ]


def test_history_is_read_by_the_hour_until_the_minutes_begin(store: Store, tmp_path: Path) -> None:
    hours = [HistoryRow("hour", NOON + n * HOUR_MS, n, n, "exact", 3600.0, "#a") for n in range(5)]
    begun = NOON + 3 * HOUR_MS - 1
    minutes = [
        HistoryRow("minute", begun + n * MINUTE_MS, n, n, "partial", 3600.0, "#a") for n in range(3)
    ]
    store.save(state_of(full_gauge(), NOON), rows=[*hours, *minutes])
    assert read_history(tmp_path) == [*hours[:3], *minutes]
    assert read_history(tmp_path, "hour") == hours
    assert read_history(tmp_path, "minute") == minutes


def test_history_without_a_state_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=str(tmp_path)):
        read_history(tmp_path)
