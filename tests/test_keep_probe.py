"""The probe of state, archive and bucket, and of disks, each as it may be found."""

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from buckets import S3, SECRET
from checking import only

from tweetdock.core.errors import StateError
from tweetdock.core.finding import Finding, Verdict
from tweetdock.core.gauge import Saved
from tweetdock.core.post import Spent
from tweetdock.core.times import rfc3339
from tweetdock.doctor.machine import disk
from tweetdock.keep.archive_reader import read_lines
from tweetdock.keep.database import State, Store, read_state
from tweetdock.keep.files import Lock
from tweetdock.keep.probe import checks, spent_of
from tweetdock.settings.gauge import Settings
from tweetdock.sources import choice

PASS, WARN, FAIL = Verdict
LEAST = {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": "token"}
NOBODY = 65534


def settings(folder: Path, **more: str) -> Settings:
    return Settings.from_env({**LEAST, "TWEETDOCK_STATE_DIR": str(folder), **more})


def check(thing: str, folder: Path, **more: str) -> list[Finding]:
    keep = settings(folder, **more).keep
    if thing == "disk":
        return list(disk([folder]))
    return [finding for check in checks(keep) if check.thing == thing for finding in check.run()]


def now_ms() -> int:
    return round(time.time() * 1000)


def save(folder: Path, saved_ms: int, spent: Mapping[tuple[str, str], Spent] | None = None) -> None:
    folder.mkdir(exist_ok=True)
    with closing(Store(folder, {"x": "#dockercon"}, 3_600_000)) as store:
        saved = Saved(salt=b"salt")
        state = State(saved_ms=saved_ms, saved=saved, cursors={})
        store.save(state, spent=spent or {})


def change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "state.db", isolation_level=None)) as db:
        db.execute(statement)


def all_of(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file below a folder, with all that would tell of a change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        about = path.stat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (about.st_mode, about.st_mtime_ns, content)
    return found


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a file system that lives in memory."""
    folder = tmp_path / "disk"
    with ExitStack() as mounted:

        def mount(options: str) -> Path:
            folder.mkdir()
            words = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
            if shutil.which("mount") is None or os.geteuid() != 0:
                pytest.skip("only root may mount")
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"it is not permitted to mount here: {done.stderr.strip()}")
            mounted.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)
            return folder

        yield mount


def test_a_folder_that_is_not_there_yet_is_made_at_the_start(tmp_path: Path) -> None:
    finding = only(check("state", tmp_path / "a" / "state"))
    assert (finding.verdict, finding.cure) == (PASS, "")
    assert "will be made at the first start" in finding.says
    assert not (tmp_path / "a").exists()


def test_an_empty_folder_is_fine(tmp_path: Path) -> None:
    finding = only(check("state", tmp_path))
    assert finding.verdict is PASS
    assert "nothing is saved yet" in finding.says


def test_it_is_told_when_the_state_was_saved(tmp_path: Path) -> None:
    save(tmp_path / "state", now_ms() - 7_200_000)
    finding = only(check("state", tmp_path / "state"))
    assert finding == Finding("state", PASS, f"{tmp_path}/state: saved 2 h ago")


def test_a_state_of_a_clock_that_was_ahead_is_told(tmp_path: Path) -> None:
    save(tmp_path / "state", now_ms() + 7_200_000)
    assert "by a clock that was ahead" in only(check("state", tmp_path / "state")).says


def test_a_gauge_at_work_is_told_and_nothing_is_wrong_with_that(tmp_path: Path) -> None:
    save(tmp_path / "state", now_ms())
    with closing(Lock(tmp_path / "state")):
        finding = only(check("state", tmp_path / "state"))
    assert finding.verdict is PASS
    assert finding.says.endswith("; a running TweetDock uses it")


def test_checking_changes_nothing(tmp_path: Path) -> None:
    save(tmp_path / "state", now_ms())
    before = all_of(tmp_path)
    archive = str(tmp_path / "archive" / "tweets.jsonl.gz")
    for thing in ("state", "disk", "archive"):
        assert check(thing, tmp_path / "state", TWEETDOCK_ARCHIVE=archive)
    assert all_of(tmp_path) == before


def test_what_a_killed_gauge_saved_last_is_seen(tmp_path: Path) -> None:
    save(tmp_path / "state", now_ms() - 7_200_000)
    later = now_ms() - 60_000
    store = Store(tmp_path / "state", {"x": "#dockercon"}, 3_600_000)
    store.save(State(saved_ms=later, saved=Saved(salt=b"salt"), cursors={}))
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "state", copy)  # as a kill leaves it, with a log that is not closed
    store.close()
    assert (copy / "state.db-wal").stat().st_size > 0
    assert "saved 60 s ago" in only(check("state", copy)).says


@pytest.mark.parametrize("damage", ["overwritten", "cut"])
def test_a_damaged_file_is_to_be_mended_from_a_backup(tmp_path: Path, damage: str) -> None:
    save(tmp_path, now_ms())
    path = tmp_path / "state.db"
    content = path.read_bytes()
    path.write_bytes(b"\xff" * len(content) if damage == "overwritten" else content[: 3 * 1024])
    finding = only(check("state", tmp_path))
    assert finding.verdict is FAIL
    assert "is damaged" in finding.says
    assert "backup" in finding.cure


def test_a_file_of_a_newer_tweetdock_wants_that_one(tmp_path: Path) -> None:
    save(tmp_path, now_ms())
    change(tmp_path, "PRAGMA user_version=99")
    finding = only(check("state", tmp_path))
    assert finding.verdict is FAIL
    assert "by a newer TweetDock" in finding.says
    assert "install that version again" in finding.cure


def test_a_file_without_anything_in_it_is_fine(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    finding = only(check("state", tmp_path))
    assert (finding.verdict, finding.says) == (PASS, f"{tmp_path}: nothing is saved yet")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_state_that_is_no_file_is_told_at_once(tmp_path: Path, kind: str) -> None:
    """A pipe was waited for without end, and root was told to mount a folder for writing."""
    with ExitStack() as held:
        if kind == "folder":
            (tmp_path / "state.db").mkdir()
        else:
            os.mkfifo(tmp_path / "state.db")
            # With a writer there, who opens it to read is not kept waiting.
            held.callback(os.close, os.open(tmp_path / "state.db", os.O_RDWR))
        finding = only(check("state", tmp_path))
        assert (finding.verdict, finding.says) == (FAIL, f"{tmp_path}/state.db is no file")
        assert finding.cure == "move that away, or name another place with TWEETDOCK_STATE_DIR"
        assert not spent_of(tmp_path)
        with pytest.raises(StateError):
            read_state(tmp_path, {}, 3_600_000)


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("mine")
    finding = only(check("state", tmp_path / "state"))
    assert (finding.verdict, finding.says) == (FAIL, f"{tmp_path}/state is no folder")
    assert "TWEETDOCK_STATE_DIR" in finding.cure


def test_a_folder_of_somebody_else_is_told_with_the_command_that_gives_it(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    save(tmp_path / "state", now_ms())
    (tmp_path / "state").chmod(0o555)
    request.getfixturevalue("somebody")
    first = only(check("state", tmp_path / "state"))
    assert (first.verdict, first.says) == (FAIL, f"{tmp_path}/state may not be written to")
    if (tmp_path / "state").stat().st_uid != os.geteuid():
        assert "it belongs to root, and the doctor is nobody" in first.cure
        assert f"sudo chown -R {NOBODY} {tmp_path}/state" in first.cure


def test_a_file_that_may_not_be_read_is_told(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    save(tmp_path / "state", now_ms())
    (tmp_path / "state" / "state.db").chmod(0)
    (tmp_path / "state").chmod(0o777)
    request.getfixturevalue("somebody")
    finding = only(check("state", tmp_path / "state"))
    assert finding.verdict is FAIL
    assert f"{tmp_path}/state/state.db" in finding.says
    assert "sudo chown -R" in finding.cure or "chmod -R u+rwX" in finding.cure


def test_a_folder_that_may_not_be_made_is_told(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "a").mkdir(mode=0o555)
    request.getfixturevalue("somebody")
    finding = only(check("state", tmp_path / "a" / "state"))
    assert finding.verdict is FAIL
    assert "is to be made in it" in finding.says
    assert f"`sudo install -d -o {os.geteuid()} {tmp_path}/a/state`" in finding.cure


def test_nobody_is_told_to_take_over_a_folder_that_may_be_the_systems(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "log").mkdir(mode=0o555)
    request.getfixturevalue("somebody")
    for finding in (
        only(check("state", tmp_path / "log")),
        only(check("archive", tmp_path, TWEETDOCK_ARCHIVE=str(tmp_path / "log" / "t.jsonl.gz"))),
    ):
        assert finding.verdict is FAIL
        assert "chown" not in finding.cure
        assert "name another place with TWEETDOCK_" in finding.cure


def test_an_archive_of_another_user_is_told(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    archive = tmp_path / "mine" / "tweets.jsonl.gz"
    archive.parent.mkdir()
    archive.parent.chmod(0o777)
    archive.touch(0o400)
    request.getfixturevalue("somebody")
    finding = only(check("archive", tmp_path, TWEETDOCK_ARCHIVE=str(archive)))
    assert finding.verdict is FAIL
    assert finding.says == f"{archive} may not be read and written"
    assert str(archive) in finding.cure


def test_a_full_disk_is_told_with_what_makes_room(mount: Callable[[str], Path]) -> None:
    folder = mount("size=20m")
    finding = only(check("disk", folder))
    assert finding.verdict is FAIL
    assert finding.says == f"only 21 MB free at {folder}"
    assert "make room" in finding.cure


def test_a_disk_with_little_room_is_told(mount: Callable[[str], Path]) -> None:
    finding = only(check("disk", mount("size=200m") / "state"))
    assert finding.verdict is WARN
    assert "make room" in finding.cure


def test_a_disk_that_can_only_be_read_is_told(mount: Callable[[str], Path]) -> None:
    folder = mount("size=20m,ro")
    room, state = only(check("disk", folder)), only(check("state", folder / "state"))
    assert room.verdict is state.verdict is FAIL
    assert room.says == f"the file system of {folder} is read-only"
    assert "SD card" in room.cure
    assert "may not be written to" in state.says


def test_an_archive_is_told_with_its_size_and_its_closed_files(tmp_path: Path) -> None:
    archive = tmp_path / "tweets.jsonl.gz"
    said = only(check("archive", tmp_path, TWEETDOCK_ARCHIVE=str(archive))).says
    assert said == f"{archive} will be made at the first start"
    archive.write_bytes(bytes(1234))
    (tmp_path / "tweets-20261121T065536Z.jsonl.gz").write_bytes(b"")
    said = only(check("archive", tmp_path, TWEETDOCK_ARCHIVE=str(archive))).says
    assert said == f"{archive}, 1 kB; 1 closed file beside it"


def test_an_archive_that_is_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "tweets.jsonl.gz").mkdir()
    archive = str(tmp_path / "tweets.jsonl.gz")
    finding = only(check("archive", tmp_path, TWEETDOCK_ARCHIVE=archive))
    assert finding.verdict is FAIL
    assert finding.says == f"{archive} is no file"
    assert finding.cure == "move that away, or name another place with TWEETDOCK_ARCHIVE"


def test_an_archive_on_a_disk_of_its_own_has_that_checked(
    tmp_path: Path, mount: Callable[[str], Path]
) -> None:
    archive = mount("size=20m") / "tweets.jsonl.gz"
    _, found = disk([tmp_path / "state", archive.parent])
    assert found.verdict is FAIL
    assert found.says == f"only 21 MB free at {archive.parent}"


def test_an_off_load_of_an_archive_that_is_never_closed_is_told(tmp_path: Path) -> None:
    more = {
        "TWEETDOCK_ARCHIVE": str(tmp_path / "tweets.jsonl.gz"),
        "TWEETDOCK_OFFLOAD": "s3://posts/raw",
    }
    _, finding = check("archive", tmp_path, **more)
    assert finding.verdict is WARN
    assert "TWEETDOCK_ARCHIVE_ROTATE" in finding.cure
    assert only(check("archive", tmp_path, **more, TWEETDOCK_ARCHIVE_ROTATE="daily"))


@pytest.fixture
def in_bucket(s3: S3, tmp_path: Path) -> Callable[..., Finding]:
    """What is found of a bucket of moto's server, asked for by an address and some settings."""

    def find(url: str = "s3://posts/raw", **more: str) -> Finding:
        env = {
            "TWEETDOCK_ARCHIVE": str(tmp_path / "tweets.jsonl.gz"),
            "TWEETDOCK_OFFLOAD": url,
            "AWS_ENDPOINT_URL": s3.proxy.url,
            "AWS_ACCESS_KEY_ID": "AKIATEST",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            **more,
        }
        return only(check("bucket", tmp_path, **env))

    return find


@pytest.mark.xdist_group("bucket")
def test_a_bucket_that_lets_us_in_passes(in_bucket: Callable[..., Finding]) -> None:
    assert in_bucket() == Finding("bucket", PASS, "s3://posts/raw exists and can be used")


@pytest.mark.xdist_group("bucket")
def test_a_bucket_that_is_not_there_is_told(in_bucket: Callable[..., Finding]) -> None:
    finding = in_bucket("s3://nowhere-at-all/raw")
    assert finding.verdict is FAIL
    assert finding.says == "there is no bucket nowhere-at-all"
    assert "TWEETDOCK_OFFLOAD" in finding.cure


def spending(folder: Path, **more: str) -> list[Finding]:
    every = choice.checks(settings(folder, **more), read_lines, lambda: spent_of(folder))
    return [found for check in every if check.thing == "spending" for found in check.run()]


def test_what_x_has_cost_today_is_told_and_what_is_left(tmp_path: Path) -> None:
    today = rfc3339(now_ms())[:10]
    save(tmp_path, now_ms(), {(today, "x"): Spent(3, 84), (today, "counts"): Spent(2, 0)})
    finding = only(spending(tmp_path))
    assert finding.verdict is PASS
    assert finding.says == "0.43 USD today, 84 posts (UTC, as last saved)"
    finding = only(spending(tmp_path, TWEETDOCK_X_DAILY_BUDGET_USD="2"))
    assert finding.verdict is PASS
    assert finding.says.startswith("0.43 of 2.00 USD today, 84 posts")
    assert "more posts may be read" in finding.says


def test_a_budget_that_is_spent_is_told_with_when_it_goes_on(tmp_path: Path) -> None:
    today = rfc3339(now_ms())[:10]
    save(tmp_path, now_ms(), {(today, "x"): Spent(3, 400)})
    finding = only(spending(tmp_path, TWEETDOCK_X_DAILY_BUDGET_USD="2"))
    assert finding.verdict is WARN
    assert "it goes on at 00:00 UTC" in finding.says
    assert "TWEETDOCK_X_DAILY_BUDGET_USD" in finding.cure


def test_nothing_is_spent_without_a_state_and_none_is_made_for_that(tmp_path: Path) -> None:
    finding = only(spending(tmp_path / "state"))
    assert finding == Finding("spending", PASS, "nothing so far today (UTC)")
    assert not (tmp_path / "state").exists()


def test_where_nobody_asks_x_nothing_is_spent(tmp_path: Path) -> None:
    assert not spending(tmp_path, TWEETDOCK_SOURCES="bluesky")
    assert not spending(tmp_path, TWEETDOCK_SOURCES="demo")
