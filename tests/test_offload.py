"""Off-load, by real files and the real command against moto's server, failing half-way and after.

Nothing is removed here of which no true copy was seen there.
"""

import fcntl
import gzip
import hashlib
import json
import logging
import os
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from buckets import S3, SECRET, URL
from running import Running, run, run_here
from standins.flaky_proxy import Answer, Corrupt, Cut, Fault, Hang
from standins.x_api import XApi, make_post

from tweetdock.core.errors import OffloadError
from tweetdock.core.post import Post, Raw
from tweetdock.keep.archive_format import ArchiveLine, pack
from tweetdock.keep.closed_files import ClosedFiles, Manifest, is_untouched, manifest_path
from tweetdock.keep.offload import Offload, Outcome

START_MS = 1_795_244_136_000  # 2026-11-21T06:55:36Z
DAY_MS = 86_400_000
TRIES = 3
DOWN = [Answer(503)] * TRIES


# One worker has moto's server and Amazon's descriptions in memory, not each.
pytestmark = pytest.mark.xdist_group("bucket")


@pytest.fixture
def closed_files(tmp_path: Path) -> ClosedFiles:
    """An archive with its open file and nothing closed yet."""
    closed_files = ClosedFiles(tmp_path / "tweets.jsonl.gz")
    closed_files.path.write_bytes(archived(START_MS + 30 * DAY_MS))
    return closed_files


def archived(first_ms: int) -> bytes:
    """Three lines, too large for one piece of the proxy's."""
    posts = (Post(f"x:{first_ms + n}", "x:7", first_ms + n) for n in range(3))
    noise = hashlib.shake_256(str(first_ms).encode()).hexdigest(10_000)
    text = json.dumps({"text": noise})
    lines = [
        ArchiveLine(post.created_ms, "x", Raw(post.key, text, post)).as_text() for post in posts
    ]
    return pack("".join(f"{line}\n" for line in lines).encode())


def close(closed_files: ClosedFiles, day: int) -> Path:
    """A file that was closed on that day, and is older than those of later days."""
    first_ms = START_MS + day * DAY_MS
    path = closed_files.new_name(first_ms)
    path.write_bytes(archived(first_ms))
    os.utime(path, (first_ms / 1000, first_ms / 1000))
    return path


def key_of(path: Path, day: int) -> str:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"raw/pi/tweets-202611{21 + day}T065536Z-pi-4.local-{digest[:8]}.jsonl.gz"


def offload(s3: S3, closed_files: ClosedFiles, *, keeps_local: bool = False) -> Offload:
    return Offload(closed_files, s3.bucket(), keeps_local=keeps_local, host="pi-4.local")


def bring(s3: S3, closed_files: ClosedFiles, *, keeps_local: bool = False) -> list[Outcome]:
    return list(offload(s3, closed_files, keeps_local=keeps_local).run())


def bring_in_vain(s3: S3, closed_files: ClosedFiles, before: Sequence[Path] = ()) -> OffloadError:
    """The run ends with a failure, after those files."""
    came: list[str] = []
    with pytest.raises(OffloadError) as caught:
        came.extend(outcome.file for outcome in offload(s3, closed_files).run())
    assert came == [path.name for path in before]
    return caught.value


def test_a_closed_file_goes_to_the_bucket_with_its_manifest(
    s3: S3, closed_files: ClosedFiles
) -> None:
    path = close(closed_files, 0)
    content, key = path.read_bytes(), key_of(path, 0)
    described = Manifest.of(path)
    (outcome,) = bring(s3, closed_files)
    url = f"s3://posts/{key}"
    assert outcome == Outcome(file=path.name, manifest=described, url=url, was_there=False)
    assert s3.get(key) == content
    assert len(gzip.decompress(s3.get(key)).splitlines()) == 3
    manifest = json.loads(s3.get(f"{key}.manifest.json"))
    assert manifest["sha256"] == hashlib.sha256(content).hexdigest()
    assert manifest["lines"] == 3
    assert s3.keys() == [key, f"{key}.manifest.json"]
    # Only the open one is left here.
    assert list(closed_files.path.parent.iterdir()) == [closed_files.path]
    assert bring(s3, closed_files) == []


def test_the_oldest_file_goes_first(s3: S3, closed_files: ClosedFiles) -> None:
    names = [close(closed_files, day).name for day in (2, 0, 1)]
    assert [outcome.file for outcome in bring(s3, closed_files)] == [names[1], names[2], names[0]]


def test_a_file_without_lines_is_named_by_its_time(s3: S3, closed_files: ClosedFiles) -> None:
    path = close(closed_files, 0)
    path.write_bytes(b"")
    os.utime(path, (START_MS / 1000, START_MS / 1000))
    key = key_of(path, 0)
    bring(s3, closed_files)
    assert s3.get(key) == b""


def test_a_hosts_odd_name_does_no_harm_to_the_key(s3: S3, closed_files: ClosedFiles) -> None:
    close(closed_files, 0)
    (outcome,) = Offload(closed_files, s3.bucket(), keeps_local=False, host="ü/../Pi 4").run()
    assert "/tweets-20261121T065536Z-..-Pi-4-" in outcome.url


def test_a_file_that_is_to_stay_is_marked_and_skipped_next_time(
    s3: S3, closed_files: ClosedFiles
) -> None:
    path = close(closed_files, 0)
    (outcome,) = bring(s3, closed_files, keeps_local=True)
    assert path.exists()
    manifest = Manifest.read(path)
    assert manifest
    assert manifest.offloaded == outcome.url == f"s3://posts/{key_of(path, 0)}"
    s3.proxy.forget()
    assert bring(s3, closed_files, keeps_local=True) == []
    assert s3.proxy.asked("PUT") == s3.proxy.asked("HEAD") == []


def test_a_marked_file_is_not_read_again_until_it_is_touched(
    s3: S3, closed_files: ClosedFiles
) -> None:
    path = close(closed_files, 0)
    size = path.stat().st_size
    bring(s3, closed_files, keeps_local=True)
    offload_again = offload(s3, closed_files, keeps_local=True)
    assert bytes_read_by(offload_again) < size
    # As logrotate does, whose `.1` is another file every day; of the same size at worst.
    path.rename(f"{path}.away")
    Path(f"{path}.away").rename(path)
    assert bytes_read_by(offload_again) >= size
    assert len(s3.keys()) == 2
    # The kernel's clock for files may stand still for some milliseconds.
    assert any(bytes_read_by(offload_again) < size for _ in range(1000))


def bytes_read_by(offload: Offload) -> int:
    """What this thread reads in a run, by the kernel's own count."""
    counts = Path("/proc/thread-self/io")
    before = counts.read_text()
    list(offload.run())
    return _rchar(counts.read_text()) - _rchar(before)


def _rchar(counts: str) -> int:
    return int(counts.split()[1])


def test_a_file_marked_for_another_bucket_goes_to_this_one_too(
    s3: S3, closed_files: ClosedFiles
) -> None:
    close(closed_files, 0)
    bring(s3, closed_files, keeps_local=True)
    elsewhere = Offload(closed_files, s3.bucket("s3://posts"), keeps_local=True, host="pi")
    assert len(list(elsewhere.run())) == 1
    assert len(s3.keys()) == 4


def test_a_marked_file_goes_when_none_is_to_stay_any_more(
    s3: S3, closed_files: ClosedFiles
) -> None:
    path = close(closed_files, 0)
    bring(s3, closed_files, keeps_local=True)
    (outcome,) = bring(s3, closed_files)
    assert outcome.was_there
    assert not path.exists()
    assert not manifest_path(path).exists()


def test_a_manifest_of_another_file_is_not_believed(s3: S3, closed_files: ClosedFiles) -> None:
    # logrotate renames files, but not our manifests: .1 may have that of what now is .2.
    path = close(closed_files, 0)
    bring(s3, closed_files, keeps_local=True)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (outcome,) = bring(s3, closed_files, keeps_local=True)
    assert hashlib.sha256(content).hexdigest()[:8] in outcome.url
    assert s3.get(outcome.url.removeprefix("s3://posts/")) == content


def test_a_file_that_has_rotted_is_told_and_hinders_no_other(
    s3: S3, closed_files: ClosedFiles
) -> None:
    rotten, good = close(closed_files, 0), close(closed_files, 1)
    described = replace(Manifest.of(rotten), sha256="0" * 64)
    described.write(rotten)
    while not is_untouched(rotten, rotten.stat()):  # the kernel's clock for files stands still
        described.write(rotten)
    assert "is not what its manifest says" in str(bring_in_vain(s3, closed_files, [good]))
    assert rotten.exists()


@pytest.mark.parametrize(
    "faults", [DOWN, pytest.param([Cut(9_000)] * TRIES, marks=pytest.mark.thorough)]
)
def test_a_run_that_broke_off_is_taken_up_where_it_was(
    s3: S3, closed_files: ClosedFiles, faults: list[Fault]
) -> None:
    first, second, third = (close(closed_files, day) for day in range(3))
    # The first file and its manifest pass.
    s3.proxy.fail("PUT", None, None, *faults)
    content = first.read_bytes()
    url = f"s3://posts/{key_of(first, 0)}"
    bring_in_vain(s3, closed_files, [first])
    assert not first.exists()
    assert second.exists()
    assert third.exists()
    assert len(s3.keys()) == 2
    s3.proxy.forget()
    assert [outcome.file for outcome in bring(s3, closed_files)] == [second.name, third.name]
    assert len(s3.proxy.asked("PUT")) == 4
    assert len(s3.keys()) == 6
    assert s3.get(url.removeprefix("s3://posts/")) == content


def test_only_what_is_missing_is_sent_again(s3: S3, closed_files: ClosedFiles) -> None:
    path = close(closed_files, 0)
    s3.proxy.fail("PUT", None, *DOWN)  # of the manifest
    bring_in_vain(s3, closed_files)
    assert path.exists()
    s3.proxy.forget()
    (outcome,) = bring(s3, closed_files)
    assert outcome.was_there
    assert [key.endswith(".manifest.json") for key in s3.proxy.asked("PUT")] == [True]
    assert not path.exists()


def test_a_file_has_the_same_key_whatever_logrotate_calls_it(
    s3: S3, closed_files: ClosedFiles
) -> None:
    path = close(closed_files, 0)
    s3.proxy.fail("PUT", None, *DOWN)
    bring_in_vain(s3, closed_files)
    path = path.rename(f"{closed_files.path}.1")
    s3.proxy.forget()
    (outcome,) = bring(s3, closed_files)
    assert outcome.file == "tweets.jsonl.gz.1"
    assert outcome.was_there
    assert len(s3.keys()) == 2


def test_what_arrived_damaged_stays_here_until_a_true_copy_is_seen(
    s3: S3, closed_files: ClosedFiles
) -> None:
    path = close(closed_files, 0)
    key = key_of(path, 0)
    s3.proxy.fail("PUT", Corrupt())
    assert f"{path.name} stays here" in str(bring_in_vain(s3, closed_files))
    assert s3.keys() == [key]
    content = path.read_bytes()
    (outcome,) = bring(s3, closed_files)
    assert not outcome.was_there
    assert s3.get(key) == content


def test_what_was_changed_in_the_bucket_is_sent_again(s3: S3, closed_files: ClosedFiles) -> None:
    path = close(closed_files, 0)
    key, content = key_of(path, 0), path.read_bytes()
    s3.proxy.fail("PUT", None, *DOWN)
    bring_in_vain(s3, closed_files)
    s3.put(key, content[:-1] + b"?")
    s3.proxy.fail("PUT", *DOWN)
    bring_in_vain(s3, closed_files)
    assert path.read_bytes() == content
    bring(s3, closed_files)
    assert s3.get(key) == content
    assert not path.exists()


def test_a_server_that_cannot_be_asked_afterwards_is_not_believed(
    s3: S3, closed_files: ClosedFiles
) -> None:
    path = close(closed_files, 0)
    s3.proxy.fail("HEAD", None, *DOWN)
    bring_in_vain(s3, closed_files)
    assert path.exists()


def test_one_bad_file_does_not_hold_up_the_next(s3: S3, closed_files: ClosedFiles) -> None:
    first, second = close(closed_files, 0), close(closed_files, 1)
    manifest_path(first).mkdir()
    assert str(bring_in_vain(s3, closed_files, [second])) == f"{first.name}: Is a directory"
    assert first.exists()
    assert not second.exists()


def test_a_file_on_which_somebody_else_works_is_left_alone(
    s3: S3, closed_files: ClosedFiles
) -> None:
    close(closed_files, 0)
    second = close(closed_files, 1)
    with second.open("rb") as held:
        # After the folder was listed.
        s3.proxy.meanwhile = lambda *_: fcntl.flock(held, fcntl.LOCK_EX)
        assert len(bring(s3, closed_files)) == 1
    assert second.exists()
    assert not manifest_path(second).exists()


def test_a_file_is_ours_while_it_is_sent(s3: S3, closed_files: ClosedFiles) -> None:
    close(closed_files, 0)
    seen: list[list[Path]] = []
    s3.proxy.meanwhile = lambda *_: seen.append(closed_files.closed())
    bring(s3, closed_files)
    assert seen
    assert not any(seen)


def test_a_file_that_vanishes_on_the_way_is_no_failure(s3: S3, closed_files: ClosedFiles) -> None:
    first, second = close(closed_files, 0), close(closed_files, 1)

    def prune(method: str, _path: str) -> None:
        if method == "PUT":
            first.unlink(missing_ok=True)

    s3.proxy.meanwhile = prune
    assert [outcome.file for outcome in bring(s3, closed_files)] == [second.name]


def test_another_file_in_its_place_is_not_removed(s3: S3, closed_files: ClosedFiles) -> None:
    path = close(closed_files, 0)
    older = closed_files.path.with_name("tweets.jsonl.gz.9")
    newer = archived(START_MS + DAY_MS)

    def rotate(method: str, _path: str) -> None:
        if method == "PUT" and not older.exists():
            path.rename(older)
            path.write_bytes(newer)

    s3.proxy.meanwhile = rotate
    assert bring(s3, closed_files) == []
    assert {file.read_bytes() for file in closed_files.closed()} == {newer, older.read_bytes()}
    s3.proxy.meanwhile = lambda *_: None
    # Both go with the next run, and the one that was sent is not sent again.
    assert {outcome.file: outcome.was_there for outcome in bring(s3, closed_files)} == {
        "tweets-19700101T000000Z.jsonl.gz": False,
        "tweets.jsonl.gz.9": True,
    }


def test_a_kill_in_the_middle_of_a_removal_is_made_good_by_the_next_run(
    s3: S3, closed_files: ClosedFiles
) -> None:
    path = close(closed_files, 0)
    bring(s3, closed_files, keeps_local=True)
    manifest_path(path).unlink()
    path.rename(closed_files.new_name(0))
    assert [outcome.was_there for outcome in bring(s3, closed_files)] == [True]
    assert list(closed_files.path.parent.iterdir()) == [closed_files.path]


def test_it_is_logged_what_is_safe(
    s3: S3, closed_files: ClosedFiles, caplog: pytest.LogCaptureFixture
) -> None:
    path = close(closed_files, 0)
    key = key_of(path, 0)
    with caplog.at_level(logging.INFO, "tweetdock"):
        bring(s3, closed_files)
    assert f"{path.name} (3 lines) is safe at s3://posts/{key}" in caplog.text


def settings(s3: S3, closed_files: ClosedFiles) -> dict[str, str]:
    return s3.env | {"TWEETDOCK_OFFLOAD": URL, "TWEETDOCK_ARCHIVE": str(closed_files.path)}


def test_the_command_says_a_line_for_each_file(
    s3: S3, closed_files: ClosedFiles, tmp_path: Path
) -> None:
    path = close(closed_files, 0)
    size = path.stat().st_size
    words = ("offload", URL, "--archive", str(closed_files.path), "--keep")
    done = run_here(*words, folder=tmp_path, env=s3.env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{path.name} -> {URL}/tweets-20261121T065536Z-")
    assert done.stdout.endswith(f"({size:,} bytes, 3 lines, kept here)\n")
    done = run_here(*words, folder=tmp_path, env=s3.env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"no closed file of {closed_files.path} is waiting\n"


def test_the_command_minds_no_settings_but_its_own(
    s3: S3, closed_files: ClosedFiles, tmp_path: Path
) -> None:
    close(closed_files, 0)
    others = {"TWEETDOCK_WINDOW_SECONDS": "never", "TWEETDOCK_HASHTAGS": "#"}
    done = run_here("offload", folder=tmp_path, env=settings(s3, closed_files) | others)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_that_is_not_there_has_no_closed_file(s3: S3, tmp_path: Path) -> None:
    closed_files = ClosedFiles(tmp_path / "missing" / "tweets.jsonl.gz")
    done = run_here("offload", folder=tmp_path, env=settings(s3, closed_files))
    assert (done.returncode, done.stdout) == (
        0,
        f"no closed file of {closed_files.path} is waiting\n",
    )


def test_the_command_takes_its_words_from_the_settings(
    s3: S3, closed_files: ClosedFiles, tmp_path: Path
) -> None:
    kept = close(closed_files, 0)
    settings_file = tmp_path / ".env"
    settings_file.write_text("TWEETDOCK_OFFLOAD_KEEP=1\n")
    done = run("offload", folder=tmp_path, env=settings(s3, closed_files))
    assert (done.returncode, done.stderr) == (0, "")
    assert kept.exists()
    settings_file.unlink()
    done = run("offload", folder=tmp_path, env=settings(s3, closed_files))
    assert done.stdout.endswith(" lines, already there)\n")
    assert not kept.exists()


def test_wrong_words_are_all_named(tmp_path: Path) -> None:
    done = run_here("offload", "posts", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "TWEETDOCK_OFFLOAD=posts: an address such as s3://" in done.stderr
    done = run_here("offload", "s3://posts", folder=tmp_path)
    assert "without TWEETDOCK_ARCHIVE" in done.stderr
    done = run_here("offload", folder=tmp_path)
    assert "TWEETDOCK_OFFLOAD: not set" in done.stderr
    done = run_here("offload", folder=tmp_path, env={"AWS_SECRET_ACCESS_KEY": f"{SECRET} {SECRET}"})
    assert done.returncode == 2
    assert "AWS_SECRET_ACCESS_KEY: one word" in done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"TWEETDOCK_OFFLOAD": "s3://nowhere"}, "there is no bucket nowhere"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "http://127.0.0.1:1 cannot be reached"),
        ({"AWS_ACCESS_KEY_ID": ""}, "not all of them"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no credentials"),
    ],
)
def test_a_bucket_that_cannot_be_had_ends_the_command_in_one_sentence(
    s3: S3, closed_files: ClosedFiles, tmp_path: Path, changes: dict[str, str], sentence: str
) -> None:
    path = close(closed_files, 0)
    done = run_here("offload", folder=tmp_path, env=settings(s3, closed_files) | changes)
    assert (done.returncode, done.stdout) == (69, "")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert SECRET not in done.stderr
    assert path.exists()


def test_credentials_that_the_server_does_not_know_end_the_command(
    s3: S3, closed_files: ClosedFiles, tmp_path: Path
) -> None:
    path = close(closed_files, 0)
    s3.tell("reset-auth", "0")
    try:
        done = run_here("offload", folder=tmp_path, env=settings(s3, closed_files))
    finally:
        s3.tell("reset-auth", "inf")
    assert (done.returncode, done.stdout) == (69, "")
    assert "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in done.stderr
    assert SECRET not in done.stderr
    assert path.exists()


def test_a_bad_file_ends_the_command_with_69_after_the_others(
    s3: S3, closed_files: ClosedFiles, tmp_path: Path
) -> None:
    first, second = close(closed_files, 0), close(closed_files, 1)
    manifest_path(first).mkdir()
    done = run_here("offload", folder=tmp_path, env=settings(s3, closed_files))
    assert done.returncode == 69
    assert done.stderr == f"tweetdock: {first.name}: Is a directory\n"
    assert second.name in done.stdout


@pytest.mark.parametrize(
    "passing", [1, *(pytest.param(number, marks=pytest.mark.thorough) for number in (0, 2, 3))]
)
def test_a_command_killed_on_the_way_loses_nothing(
    s3: S3, closed_files: ClosedFiles, tmp_path: Path, passing: int
) -> None:
    paths = [close(closed_files, day) for day in range(2)]
    contents = {key_of(path, day): path.read_bytes() for day, path in enumerate(paths)}
    s3.proxy.fail("PUT", *[None] * passing, Hang(100))
    with Running("offload", folder=tmp_path, env=settings(s3, closed_files)) as process:
        s3.proxy.wait_until_hanging()
        process.process.kill()
    host = Manifest.of(paths[1]).host
    keys = {key.replace("pi-4.local", host): content for key, content in contents.items()}
    # Whatever is gone here is there.
    for path, (key, content) in zip(paths, keys.items(), strict=True):
        assert path.exists() or s3.get(key) == content
    s3.proxy.forget()
    done = run_here("offload", folder=tmp_path, env=settings(s3, closed_files))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(s3.proxy.asked("PUT")) == 4 - passing
    assert {key: s3.get(key) for key in keys} == keys
    assert len(s3.keys()) == 4
    assert list(tmp_path.glob("tweets*")) == [closed_files.path]


@pytest.mark.parametrize("keeps_local", ["0", pytest.param("1", marks=pytest.mark.thorough)])
def test_the_gauge_off_loads_after_each_rotation(s3: S3, tmp_path: Path, keeps_local: str) -> None:
    now_ms, dice = round(time.time() * 1000), random.Random(1)
    posts = [make_post(now_ms - 5000 * n, dice.randrange(10**9)) for n in range(1, 300)]
    kept = {"TWEETDOCK_OFFLOAD_KEEP": keeps_local, "TWEETDOCK_ARCHIVE_KEEP": "1"}
    with XApi(posts, bearer="a-token") as api:
        env = (
            s3.env
            | kept
            | {
                "TWEETDOCK_HASHTAGS": "dockercon",
                "X_BEARER_TOKEN": "a-token",
                "X_API_URL": api.url,
                "TWEETDOCK_ARCHIVE": str(tmp_path / "tweets.jsonl.gz"),
                "TWEETDOCK_ARCHIVE_ROTATE": "10KB",
                "TWEETDOCK_OFFLOAD": URL,
            }
        )
        with Running(folder=tmp_path, env=env) as tweetdock:
            tweetdock.wait_for("is safe at", URL, limit=60)
            assert tweetdock.stop() == 0
    sent = [key for key in sorted(s3.keys()) if key.endswith(".jsonl.gz")]
    lines = [line for key in sent for line in gzip.decompress(s3.get(key)).splitlines()]
    closed = list(tmp_path.glob("tweets-*.jsonl.gz"))
    with gzip.open(tmp_path / "tweets.jsonl.gz") as file:
        lines += file.read().splitlines()
    assert len(lines) == len(set(lines)) == 299
    assert len(closed) == int(keeps_local)
    assert SECRET not in tweetdock.log
