"""The README's lines about what is kept, run as they are printed."""

import csv
import gzip
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from buckets import S3, serving
from listeners import Chunk, line, write
from running import Running, run
from standins.flaky_proxy import FlakyProxy
from standins.x_api import XApi, make_post

from tweetdock.post import Span

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(text, comments=True)
    for block in re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    for text in block.splitlines()
    if text.startswith(".venv/bin/tweetdock ")
]
TOKEN = "a-bearer-token"


def words_of(command: str) -> list[str]:
    """The words of the one command in the README that begins so."""
    (words,) = [words[1:] for words in COMMANDS if " ".join(words[1:]).startswith(command)]
    return words


@pytest.fixture
def api() -> Iterator[XApi]:
    now_ms = round(time.time() * 1000)
    posts = [make_post(now_ms - 60_000 * minute, minute % 7) for minute in range(1, 50)]
    with XApi(posts, bearer=TOKEN) as api:
        yield api


def at_x(api: XApi) -> dict[str, str]:
    return {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": TOKEN, "X_API_URL": api.url}


def test_every_command_of_the_readme_is_tried_here() -> None:
    tried = ["--archive", "--sources replay", "offload", "merge", "export history", "export posts"]
    tried += ["doctor", "calibrate", "face tweets", "face --full-scale"]
    assert len(COMMANDS) == len([words_of(command) for command in tried])


def test_the_gauge_archives_and_the_history_is_exported(api: XApi, tmp_path: Path) -> None:
    with Running(*words_of("--archive"), folder=tmp_path, env=at_x(api)) as tweetdock:
        tweetdock.wait_for("49 tweets", "exact")
        assert tweetdock.stop() == 0
    with gzip.open(tmp_path / "tweets.jsonl.gz", "rt") as file:
        assert len(file.readlines()) == 49
    assert run(*words_of("export history"), folder=tmp_path).returncode == 0
    with (tmp_path / "history.csv").open(newline="") as file:
        assert next(csv.reader(file))[:5] == ["at", "per", "posts", "authors", "grade"]


def test_what_was_archived_is_played_again(api: XApi, tmp_path: Path) -> None:
    with Running(*words_of("--archive"), folder=tmp_path, env=at_x(api)) as tweetdock:
        tweetdock.wait_for("49 tweets", "exact")
        assert tweetdock.stop() == 0
    with Running(*words_of("--sources replay"), folder=tmp_path) as tweetdock:
        tweetdock.wait_for("49 posts by 7 authors")
        tweetdock.wait_for("REPLAY:", "exact", "60 times as fast")
        assert tweetdock.stop() == 0


def test_the_doctor_finds_nothing_wrong_with_a_gauge_that_works(api: XApi, tmp_path: Path) -> None:
    seen = run(*words_of("doctor"), folder=tmp_path, env=at_x(api))
    assert seen.returncode == 0, seen.stdout
    assert "fail" not in seen.stdout
    assert "x credentials" in seen.stdout


def test_calibrating_without_a_terminal_says_so(tmp_path: Path) -> None:
    refused = run(*words_of("calibrate"), folder=tmp_path)
    assert (refused.returncode, "terminal" in refused.stderr) == (2, True)


def test_faces_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("fpdf", reason="fpdf2 is not installed")
    for command, name in (("face tweets", "tweets.svg"), ("face --full-scale", "dials.pdf")):
        drawn = run(*words_of(command), folder=tmp_path)
        assert drawn.returncode == 0, drawn.stderr
        assert (tmp_path / name).is_file()


def test_listeners_are_merged_and_their_posts_exported(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    write(tmp_path / "berlin.jsonl.gz", [Chunk((line(1, at=1), line(2, at=2)))])
    write(
        tmp_path / "tokyo.jsonl.gz", [Chunk((line(2, at=2), line(3, at=3)), {"x": (Span(0, 9),)})]
    )
    merged = run(*words_of("merge"), folder=tmp_path)
    assert (merged.returncode, merged.stdout.splitlines()[0]) == (
        0,
        "both.jsonl.gz: 3 posts, each once and in order",
    )
    exported = run(*words_of("export posts"), folder=tmp_path)
    assert (exported.returncode, exported.stdout) == (0, "posts.parquet: 3 posts\n")


def test_closed_files_are_off_loaded(tmp_path: Path) -> None:
    write(tmp_path / "tweets.jsonl.gz", [Chunk((line(3, at=3),))])
    write(tmp_path / "tweets-20261121T065536Z.jsonl.gz", [Chunk((line(1, at=1), line(2, at=2)))])
    with serving() as port, FlakyProxy(port) as proxy, closing(S3(port, proxy)) as s3:
        s3.client.create_bucket(Bucket="my-bucket")
        sent = run(*words_of("offload"), folder=tmp_path, env=s3.env)
        assert sent.returncode == 0, sent.stderr
        found = s3.client.list_objects_v2(Bucket="my-bucket")["Contents"]
    assert [entry["Key"].startswith("tweets/tweets-20261121T") for entry in found] == [True, True]
    assert [path.name for path in tmp_path.iterdir()] == ["tweets.jsonl.gz"]
