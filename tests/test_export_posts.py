"""Posts of the archive as Parquet, read again by another reader than its writer."""

import gzip
import json
import sys
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from listeners import START_MS, Chunk, line, member, write
from running import run, run_here

from tweetdock.core.errors import ArchiveError
from tweetdock.keep import export as parquet

if TYPE_CHECKING:
    from subprocess import CompletedProcess

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
POST = {
    "text": "Grüße #Welt",
    "public_metrics": {"like_count": 3},
    "entities": {"hashtags": [{"tag": "Welt"}]},
}
numbers = count()


@pytest.fixture(autouse=True, scope="module")
def _() -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def arrow_parquet() -> Any:
    """The other reader, loaded by the first who asks."""
    return import_module("pyarrow.parquet")


def exported(*paths: Path) -> list[dict[str, Any]]:
    output = paths[0].with_name(f"{next(numbers)}.parquet")
    parquet.export_posts(paths, output)
    rows: list[dict[str, Any]] = arrow_parquet().read_table(output).to_pylist()
    return rows


def moment(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


def export(folder: Path, *given: object) -> "CompletedProcess[str]":
    return run_here("export", "posts", *map(str, given), folder=folder)


def test_a_line_is_a_row_of_what_was_received(tmp_path: Path) -> None:
    raw = json.dumps(POST, indent=None, separators=(",", ":"), ensure_ascii=False)
    one = line(1, at=5, received=1234, post=raw)
    (row,) = exported(write(tmp_path / "a.jsonl.gz", [Chunk((one,))]))
    assert row == {
        "source": "x",
        "key": "x:1",
        "version": "x:1",
        "author": "x:7",
        "created": moment(START_MS + 5),
        "received": moment(START_MS + 1234),
        "text": "Grüße #Welt",
        "lang": None,
        "conversation": None,
        "reply_to": None,
        "repost_of": None,
        "quote_of": None,
        "hashtags": ["Welt"],
        "likes": 3,
        "reposts": None,
        "replies": None,
        "quotes": None,
        "raw": raw,
    }


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    output = tmp_path / "posts.parquet"
    parquet.export_posts([write(tmp_path / "a.jsonl.gz", [Chunk((line(1, at=5),))])], output)
    file = arrow_parquet().ParquetFile(output)
    assert b"TweetDock" in file.schema_arrow.metadata[b"title"]
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    kinds = {field.name: str(field.type) for field in file.schema_arrow}
    assert kinds["created"] == kinds["received"] == "timestamp[ms, tz=UTC]"
    assert kinds["likes"] == "int64"
    assert kinds["hashtags"].startswith("list<")


def test_rows_are_written_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 20)
    lines = tuple(line(n, at=n) for n in range(45))
    output = tmp_path / "posts.parquet"
    parquet.export_posts([write(tmp_path / "a.jsonl.gz", [Chunk(lines)])], output)
    about = arrow_parquet().ParquetFile(output).metadata
    sizes = [about.row_group(n).num_rows for n in range(about.num_row_groups)]
    assert sizes == [20, 20, 5]


def test_several_archives_follow_each_other_with_their_doubles(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl.gz", [Chunk((line(1, at=5), line(2, at=4)))])
    b = write(tmp_path / "b.jsonl.gz", [Chunk((line(2, at=4),))])
    assert [row["version"] for row in exported(a, b)] == ["x:1", "x:2", "x:2"]


def test_no_lines_are_a_table_without_rows(tmp_path: Path) -> None:
    assert exported(write(tmp_path / "a.jsonl.gz", [])) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*POST, "lang"]), inner),
        max_leaves=8,
    )
)
def test_whatever_a_network_sends_becomes_a_row(tmp_path: Path, post: object) -> None:
    raw = json.dumps(post)
    one = line(1, at=None, post=raw)
    (row,) = exported(write(tmp_path / "a.jsonl.gz", [Chunk((one,))]))
    assert row["raw"] == raw
    assert (row["key"], row["author"], row["created"]) == (None, None, None)


def test_half_a_letter_is_a_sign_that_there_was_one(tmp_path: Path) -> None:
    raw = '{"text": "\\ud83d and \\ud83d\\ude00"}'
    (row,) = exported(write(tmp_path / "a.jsonl.gz", [Chunk((line(1, at=5, post=raw),))]))
    assert row["text"] == "\ufffd and \U0001f600"
    assert row["raw"] == raw


@pytest.mark.parametrize("first", ["post", "author"])
def test_a_line_that_others_wrote_anew_has_the_same_in_it(tmp_path: Path, first: str) -> None:
    raw = json.dumps({"text": 'a, "post": b', "lang": "de"})
    found = json.loads(line(1, at=5, post=raw).as_text())
    anew = json.dumps({first: found.pop(first), **found}, separators=(",", ":"))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(anew.encode()))
    (row,) = exported(path)
    assert (row["text"], row["lang"]) == ('a, "post": b', "de")
    assert json.loads(row["raw"]) == json.loads(raw)


def test_of_a_damaged_archive_all_that_can_be_read_is_taken(tmp_path: Path) -> None:
    torn = tmp_path / "a.jsonl.gz"
    torn.write_bytes(member(Chunk((line(1, at=5),))) + member(Chunk((line(2, at=6),)))[:30])
    output = tmp_path / "posts.parquet"
    done = export(tmp_path, torn, "-o", output)
    assert (done.returncode, done.stdout) == (0, f"{output}: 1 post\n")
    assert done.stderr == f"tweetdock: {torn} is damaged; what can be read of it was used\n"


def test_what_cannot_be_done_is_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl.gz", [Chunk((line(1, at=5),))])
    there = tmp_path / "there.parquet"
    there.write_bytes(b"old")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for words, reason in (
        ((a, "-o", there), "--force"),
        ((a, "--force", "-o", a), "one of the files"),
        ((there, "-o", tmp_path / "new.parquet"), "no gzip file"),
        ((tmp_path / "none", "-o", tmp_path / "new.parquet"), "there is no file"),
    ):
        done = export(tmp_path, *words)
        assert (done.returncode, done.stdout) == (69, "")
        assert reason in done.stderr
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert export(tmp_path, a, "--force", "-o", there).returncode == 0
    assert arrow_parquet().read_table(there).num_rows == 1


def test_without_pyarrow_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    a = write(tmp_path / "a.jsonl.gz", [Chunk((line(1, at=5),))])
    with pytest.raises(ArchiveError, match=r"pip install 'tweetdock\[parquet\]'"):
        parquet.export_posts([a], tmp_path / "posts.parquet")
    assert list(tmp_path.iterdir()) == [a]


def test_the_command_exports_posts(tmp_path: Path) -> None:
    one = line(1, at=5)
    write(tmp_path / "a.jsonl.gz", [Chunk((one,))])
    done = run("export", "posts", "a.jsonl.gz", "-o", "posts.parquet", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "posts.parquet: 1 post\n", "")
    (row,) = arrow_parquet().read_table(tmp_path / "posts.parquet").to_pylist()
    assert row["raw"] == one.raw.text
    assert run_here("export", "posts", "a.jsonl.gz", folder=tmp_path).returncode == 2
