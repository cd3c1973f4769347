"""The loop's memory: the archive first, then the state, and what fails now later."""

import errno
import gzip
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from archiving import Watch

from tweetdock.core.errors import UnavailableError
from tweetdock.core.gauge import Gauge
from tweetdock.core.post import Batch, Feed, Post, Raw, Span, Spent
from tweetdock.keep.archive import Archive
from tweetdock.keep.closed_files import Manifest
from tweetdock.keep.database import read_history
from tweetdock.keep.keeper import RETRY_SECONDS, Keeper
from tweetdock.settings.gauge import Settings
from tweetdock.settings.keeping import Rotation

NOON = 1_790_000_000_000
HOUR = 3_600_000
ANGLES = (10.0, 20.0)


class House:
    """A gauge and its keeper, as the daemon puts them together."""

    def __init__(
        self,
        folder: Path,
        now_ms: int = NOON,
        *,
        is_guest: bool = False,
        has_archive: bool = True,
        sources: Sequence[str] = ("x",),
        subject: str = "#dockercon",
    ) -> None:
        self.folder, self.now_ms, self.watch = folder, now_ms, Watch()
        env = {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": "a-token"}
        path = folder / "a" / "tweets.jsonl.gz"
        kept = {"TWEETDOCK_STATE_DIR": str(folder), "TWEETDOCK_ARCHIVE": str(path)}
        settings = Settings.from_env(env | kept)
        archive = partial(Archive, path, Rotation(), lambda: None, self.watch)
        opened = archive if has_archive else None
        subjects = dict.fromkeys(sources, subject)
        self.keeper = Keeper(settings, subjects, opened, is_guest=is_guest, monotonic=self.watch)
        feeds = [Feed(source, 105_000) for source in sources]
        self.gauge = Gauge(settings.gauge, feeds, now_ms, self.keeper.recall())
        self.keeper.recall_archive(self.gauge, now_ms)

    def hear(self, *numbers: int, source: str = "x") -> None:
        """A batch of posts comes in."""
        posts = [Post(f"{source}:{n}", f"x:{n % 7}", self.now_ms - n) for n in numbers]
        batch = Batch(
            source=source,
            posts=tuple(posts),
            covers=Span(self.now_ms - HOUR, self.now_ms),
            raw=tuple(Raw(f"{post.key}@2", "{}", post) for post in posts),
        )
        self.keeper.keep(batch, self.gauge.deliver(batch, self.now_ms), self.now_ms)

    def turn(self, seconds: float = 0, *, is_confirmed: bool = True) -> int:
        """The loop turns, so much later; how many posts are counted."""
        self.watch.now += seconds
        self.now_ms += round(seconds * 1000)
        reading = self.gauge.read(self.now_ms)
        self.keeper.turn(self.gauge, reading, ANGLES, is_confirmed=is_confirmed)
        return reading.posts


@contextmanager
def house(folder: Path, now_ms: int = NOON, **said: Any) -> Iterator[House]:
    one = House(folder, now_ms, **said)
    try:
        yield one
    finally:
        one.keeper.close(one.now_ms)


def remembered(folder: Path, now_ms: int = NOON) -> int:
    """How many posts a gauge that starts now has at once."""
    with house(folder, now_ms) as one:
        return one.gauge.read(now_ms).posts


def lines_of(folder: Path) -> list[str]:
    whole = gzip.decompress((folder / "a" / "tweets.jsonl.gz").read_bytes())
    return whole.decode().splitlines()


def test_the_state_is_saved_at_first_word_and_then_each_thirty_seconds(tmp_path: Path) -> None:
    with house(tmp_path) as one:
        one.hear(1)
        one.turn()
        one.hear(2)
        one.turn(29.9)
        # A kill is a death without close.
        with pytest.raises(UnavailableError, match="in use by another TweetDock"):
            House(tmp_path)
        saved = one.keeper.state
        one.turn(0.1)
        assert one.keeper.state is not None
        assert saved is not None
        assert one.keeper.state.saved_ms - saved.saved_ms == 30_000
    assert remembered(tmp_path, NOON + 30_000) == 2


def test_while_many_posts_come_in_what_is_known_is_saved_each_second(tmp_path: Path) -> None:
    """A kill in the middle of a first fill had all of the hour read, and billed, again."""
    saves = set()
    with house(tmp_path) as one:
        for page in range(30):
            one.hear(*range(100 * page, 100 * page + 100))
            assert one.keeper.due_seconds() <= 1.0
            one.turn(0.1)
            assert one.keeper.state is not None
            saves.add(one.keeper.state.saved_ms)
        assert len(saves) == 3
        one.turn(one.keeper.due_seconds())
        one.hear(5000)
        one.turn(29.9)
        assert one.keeper.state is not None
        assert one.keeper.state.saved_ms == max(saves) + 1000
    assert remembered(tmp_path, NOON + 33_000) == 3000


def test_what_came_after_the_last_save_is_archived_once_all_the_same(tmp_path: Path) -> None:
    with house(tmp_path) as one:
        one.hear(1, 2)
        one.turn()
        one.hear(3)
        one.turn(1)
    with house(tmp_path, NOON + 2000) as again:
        assert again.turn() == 2
        again.hear(1, 2, 3, 4)
        assert again.turn(1) == 4
    assert len(lines_of(tmp_path)) == 4


def test_a_post_that_answers_another_question_too_is_archived_once(tmp_path: Path) -> None:
    """With the old question, all that was known of its posts was forgotten."""
    with house(tmp_path) as one:
        one.hear(1, 2)
        one.turn()
    with house(tmp_path, NOON + 2000, subject="#docker") as other:
        assert other.turn() == 0
        other.hear(1, 2, 3)
        assert other.turn(1) == 3
    assert len(lines_of(tmp_path)) == 3


def test_without_its_state_a_gauge_still_knows_what_is_archived(tmp_path: Path) -> None:
    with house(tmp_path) as one:
        one.hear(1, 2)
        one.turn(1)
    (tmp_path / "state.db").unlink()
    with house(tmp_path, NOON + 2000) as again:
        assert again.turn() == 0
        again.hear(1, 2, 3)
        assert again.turn(1) == 3
    assert len(lines_of(tmp_path)) == 3


def test_what_a_network_has_archived_outlasts_another_that_is_dropped(tmp_path: Path) -> None:
    """What the archive had beyond the state was all taken for the first source's."""
    both = ("x", "bluesky")
    with house(tmp_path, sources=both) as one:
        one.hear(1)
        one.turn()
        one.hear(1, 2, 3, source="bluesky")
        one.turn(1)
    with house(tmp_path, NOON + 2000, sources=both) as again:
        again.hear(source="x")  # bluesky does not speak, before it all is saved again
        again.turn(60)
    with house(tmp_path, NOON + 70_000, sources=("bluesky",)) as alone:
        alone.hear(1, 2, 3, 4, source="bluesky")
        alone.turn(1)
    assert len(lines_of(tmp_path)) == 5


def test_nothing_is_saved_as_seen_that_the_archive_could_not_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with house(tmp_path) as one:
        one.hear(1)
        one.turn()

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as disk:
            disk.setattr("os.write", full)
            one.hear(2)
            one.turn(31)
        assert one.keeper.state is not None
        assert one.keeper.state.saved_ms == NOON
        one.turn(RETRY_SECONDS)
        assert one.keeper.state.saved_ms == NOON + 61_000
    assert len(lines_of(tmp_path)) == 2


def test_a_state_that_cannot_be_saved_is_saved_whole_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with house(tmp_path) as one:
        one.hear(1)
        one.turn()
        (tmp_path / "state.db").unlink()
        one.hear(2)
        assert one.turn(30) == 2
        assert "running from memory" in caplog.text
        one.hear(3)
        assert one.turn(RETRY_SECONDS) == 3
        assert "state: back after" in caplog.text
    assert remembered(tmp_path, NOON + 60_000) == 3


def test_a_guest_goes_on_from_the_state_and_leaves_it_as_it_is(tmp_path: Path) -> None:
    with house(tmp_path) as owner:
        owner.hear(1, 2)
        owner.turn()
        with house(tmp_path, is_guest=True) as guest:
            assert guest.gauge.read(NOON).posts == 2
            guest.hear(3)
            assert guest.turn(60) == 3
            guest.keeper.save(guest.gauge, guest.now_ms, ANGLES, is_confirmed=True)
    assert remembered(tmp_path) == 2


def test_a_guest_knows_what_was_spent(tmp_path: Path) -> None:
    """A budget beside a gauge at work began afresh: together they spent twice as much."""
    with house(tmp_path) as owner:
        assert not owner.keeper.is_guest
        assert owner.keeper.spent == {}
        owner.hear(1, 2)
        owner.turn()
        with house(tmp_path, is_guest=True) as guest:
            assert guest.keeper.is_guest
            assert guest.keeper.spent == {"2026-09-21": {"x": Spent(1, 2)}}
    with house(tmp_path, is_guest=True) as alone:  # no guest where nobody else is
        assert not alone.keeper.is_guest


def test_what_was_spent_is_known_whatever_this_machine_says_which_day_it_is(
    tmp_path: Path,
) -> None:
    """A clock that was days ahead at the start had forgotten the bill of the day that it was."""
    with house(tmp_path) as one:
        one.hear(1, 2)
        one.turn()
    for days in (-300, 0, 1, 9):
        with house(tmp_path, NOON + days * 24 * HOUR) as wrong:
            assert wrong.keeper.spent == {"2026-09-21": {"x": Spent(1, 2)}}


@pytest.mark.parametrize(
    "change", ["DROP TABLE spent", "UPDATE spent SET posts = 'many'", "UPDATE spent SET posts = -1"]
)
def test_bills_that_make_no_sense_do_not_keep_a_gauge_from_its_work(
    tmp_path: Path, change: str
) -> None:
    """They were read outside of what guards against a damaged file: every start was a crash."""
    with house(tmp_path) as one:
        one.hear(1, 2)
        one.turn()
        with closing(sqlite3.connect(tmp_path / "state.db")) as db:
            db.execute(change)
            db.commit()
        with house(tmp_path, is_guest=True) as guest:
            assert guest.keeper.spent == {}
        assert not list(tmp_path.glob("*.damaged-*"))
    with house(tmp_path) as again:
        assert again.keeper.spent == {}
        again.hear(1, 2)
        again.turn()
    assert len(list(tmp_path.glob("state.db.damaged-*"))) == 1
    with house(tmp_path) as healed:
        assert healed.keeper.spent == {"2026-09-21": {"x": Spent(1, 2)}}


def test_only_the_needles_are_saved_until_a_source_has_spoken(tmp_path: Path) -> None:
    with house(tmp_path) as one:
        one.hear(1, 2)
        one.turn()
    years = 10 * 365 * 24 * HOUR
    with house(tmp_path, NOON + years) as wrong:  # by a clock that is ahead
        assert wrong.turn() == 0
        wrong.keeper.save(wrong.gauge, wrong.now_ms, (1.0, 2.0), is_confirmed=True)
    with house(tmp_path) as one:
        assert one.keeper.state is not None
        assert (one.keeper.state.saved_ms, one.keeper.state.angles) == (NOON, (1.0, 2.0))
        assert one.gauge.read(NOON).posts == 2


def test_by_a_time_that_nobody_has_confirmed_only_bills_and_needles_are_saved(
    tmp_path: Path,
) -> None:
    """What was counted by a clock that was ahead was saved, and was exact after the next start."""
    years = 10 * 365 * 24 * HOUR
    with house(tmp_path) as one:
        one.hear(1, 2)
        one.turn()
    with house(tmp_path, NOON + years) as wrong:
        wrong.hear(*range(3, 103))
        for _ in range(3):
            wrong.turn(60, is_confirmed=False)
        assert wrong.keeper.due_seconds() > 60
    assert read_history(tmp_path) == []
    with house(tmp_path) as again:
        assert again.keeper.state is not None
        assert (again.keeper.state.saved_ms, again.keeper.state.angles) == (NOON, ANGLES)
        assert again.gauge.read(NOON).posts == 2
        assert [sum(spent["x"].posts for spent in again.keeper.spent.values())] == [102]


def test_once_somebody_has_confirmed_the_time_all_that_was_heard_before_is_saved(
    tmp_path: Path,
) -> None:
    with house(tmp_path) as one:
        one.hear(1, 2)
        one.turn(is_confirmed=False)
        with house(tmp_path, is_guest=True) as guest:
            assert guest.gauge.seen == {}
            assert guest.keeper.spent == {"2026-09-21": {"x": Spent(1, 2)}}
        one.hear(3)
        one.turn(60)
    assert remembered(tmp_path, NOON + 60_000) == 3


def test_what_is_in_memory_alone_waits_for_the_time(tmp_path: Path) -> None:
    """In a file that was begun meanwhile, what was seen before would be there without its posts."""
    with house(tmp_path) as one:
        one.hear(1)
        one.turn()
        (tmp_path / "state.db").unlink()
        one.hear(2)
        one.turn(30)  # finds out
        one.hear(3)
        one.turn(RETRY_SECONDS, is_confirmed=False)
        assert not (tmp_path / "state.db").exists()
        one.turn(RETRY_SECONDS)
    assert remembered(tmp_path, NOON + 90_000) == 3


def test_the_hour_is_not_held_in_memory_twice(tmp_path: Path) -> None:
    with house(tmp_path) as one:
        one.hear(*range(1, 50))
        one.turn()
    with house(tmp_path) as again:
        assert again.turn() == 49
        assert again.keeper.state is not None
        assert list(again.keeper.state.saved.marks) == []


def test_readings_are_kept_by_the_minute(tmp_path: Path) -> None:
    with house(tmp_path) as one:
        for seconds in range(180):
            one.hear(seconds)
            one.turn(1)
    kept = read_history(tmp_path)
    assert [(row.per, row.posts, row.subject) for row in kept] == [
        ("minute", row.posts, "#dockercon") for row in kept
    ]
    # Those of the last half minute are not saved yet.
    assert [row.at_ms % 60_000 for row in kept] == [0] * len(kept)
    assert len(kept) in (2, 3)


def noted(folder: Path) -> tuple[Span, ...]:
    """Which stretches the archive says it has."""
    return Manifest.of(folder / "a" / "tweets.jsonl.gz").covers.get("x", ())


def test_an_archive_switched_on_later_claims_nothing_from_before(tmp_path: Path) -> None:
    with house(tmp_path, has_archive=False) as one:
        one.hear(1, 2)
        one.turn()
    with house(tmp_path, NOON + 1000) as later:
        later.hear(1, 2, 3)
        later.turn(1)
    # Nor does the one after it, which finds the archive in its place.
    with house(tmp_path, NOON + 60_000) as again:
        again.hear(1, 2, 3, 4)
        again.turn(1)
    assert len(lines_of(tmp_path)) == 2
    assert [span.since_ms for span in noted(tmp_path)] == [NOON + 1000]


def test_what_was_complete_is_noted_again_after_a_kill(tmp_path: Path) -> None:
    """State saved, and notes not yet: the quiet minutes in between looked like a gap."""
    killed = House(tmp_path)
    killed.hear(1)
    killed.turn(1)
    killed.hear()
    killed.turn(40)
    for held in (killed.keeper._archive, killed.keeper._lock):
        assert held is not None
    before = noted(tmp_path)
    killed.keeper._archive._open_file.close()  # type: ignore[union-attr]  # as a kill lets go of it
    killed.keeper._lock.close()  # type: ignore[union-attr]
    with house(tmp_path, NOON + 42_000) as again:
        again.turn(1)
    assert max(span.until_ms for span in noted(tmp_path)) > max(s.until_ms for s in before)


def test_a_folder_that_was_replaced_is_locked_anew(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with house(folder, has_archive=False) as one:
        one.hear(1)
        one.turn()
        folder.rename(tmp_path / "moved")
        one.hear(2)
        one.turn(RETRY_SECONDS)  # finds out
        one.turn(RETRY_SECONDS)
        with pytest.raises(UnavailableError, match="in use by another TweetDock"):
            House(folder, has_archive=False)
