"""Manifests: what is in a file, as told by reading all of it, and as kept beside it."""

import gzip
import hashlib
import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from archiving import START_MS, fill, line, open_archive
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.coverage import Spans
from tweetdock.core.post import Span
from tweetdock.core.times import rfc3339
from tweetdock.keep.archive_format import END_OF_TIME_MS, notes, pack, read_note
from tweetdock.keep.archive_reader import ArchiveReader
from tweetdock.keep.closed_files import Manifest, manifest_path
from tweetdock.keep.files import bytes_of

spans = st.builds(Span, st.integers(0, 60), st.integers(0, 60))
covers = st.dictionaries(
    st.text(max_size=5), st.lists(spans, max_size=8).map(Spans).map(tuple), max_size=4
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tweets-20261121T065536Z.jsonl.gz"


def test_a_manifest_tells_what_is_in_a_file(path: Path) -> None:
    archive = open_archive(path)
    for number in (3, 1, 2):
        archive.append([line(number)])
        archive.cover("x", Span(START_MS + 10 * number, START_MS + 10 * number + 10))
        archive.flush(START_MS)
    archive.close(START_MS)
    data = path.read_bytes()
    assert Manifest.of(path) == Manifest(
        file=path.name,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        lines=3,
        first=rfc3339(START_MS + 1),
        last=rfc3339(START_MS + 3),
        covers={"x": (Span(START_MS + 10, START_MS + 40),)},
        host=socket.gethostname(),
        damaged=0,
    )


def test_an_empty_file_has_a_manifest_too(path: Path) -> None:
    path.touch()
    manifest = Manifest.of(path)
    assert (manifest.bytes, manifest.lines, manifest.damaged) == (0, 0, 0)
    assert (manifest.first, manifest.last, manifest.covers) == (None, None, {})
    assert manifest.sha256 == hashlib.sha256().hexdigest()
    manifest.write(path)
    assert Manifest.read(path) == manifest


def test_a_manifest_is_read_as_it_was_written(path: Path) -> None:
    fill(path, range(20))
    manifest = replace(
        Manifest.of(path),
        offloaded="s3://bucket/tweets",
        covers={"x": (Span(0, 5), Span(START_MS, START_MS + 1))},
    )
    manifest.write(path)
    assert Manifest.read(path) == manifest
    kept = manifest_path(path)
    assert kept.name == "tweets-20261121T065536Z.jsonl.gz.manifest.json"
    assert json.loads(kept.read_text())["first"] == "2026-11-21T06:55:36.000Z"
    assert sorted(path.parent.iterdir()) == [path, kept]


def test_a_manifest_that_does_not_fit_its_file_is_none(path: Path) -> None:
    assert Manifest.read(path) is None
    fill(path, range(3))
    assert Manifest.read(path) is None
    Manifest.of(path).write(path)
    with path.open("ab") as file:
        file.write(b"more")
    assert Manifest.read(path) is None
    Manifest.of(path).write(path)
    path.unlink()
    assert Manifest.read(path) is None


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "\0", '{"file": 1}', "[" * 100_000],
)
def test_a_manifest_that_cannot_be_read_is_none(path: Path, text: str) -> None:
    fill(path, range(3))
    manifest_path(path).write_text(text)
    assert Manifest.read(path) is None


@pytest.mark.parametrize("field", ["bytes", "covers"])
def test_a_manifest_that_lacks_something_is_none(path: Path, field: str) -> None:
    fill(path, range(3))
    Manifest.of(path).write(path)
    found = json.loads(manifest_path(path).read_text())
    for value in ({}, {field: ["?"]}):
        kept = {name: found[name] for name in found if name != field}
        manifest_path(path).write_text(json.dumps(kept | value))
        assert Manifest.read(path) is None


def test_torn_places_are_counted_and_hide_no_other_line(path: Path) -> None:
    members = [pack(line(number).as_bytes() * 50, b"") for number in range(5)]
    torn = [members[0], members[1][:-30], members[2], members[3][:60], members[3][:60], members[4]]
    path.write_bytes(b"".join(torn))
    manifest = Manifest.of(path)
    assert manifest.damaged == 2
    assert 150 <= manifest.lines < 200
    assert (manifest.first, manifest.last) == (rfc3339(START_MS), rfc3339(START_MS + 4))


def test_lines_that_are_none_are_not_counted_and_divided_ones_are(path: Path) -> None:
    theirs = b"someone's\n\n[]\n" + json.dumps(json.loads(line(1).as_bytes())).encode() + b"\n"
    ours = line(2).as_bytes() + line(3).as_bytes()
    late = line(4).as_bytes().replace(b"2026-11-21T06:55:36.004Z", b"9999-12-31T23:59:59-12:00")
    last = line(5).as_bytes().rstrip(b"\n")
    parts = [theirs + ours[:100], ours[100:], late, last]
    path.write_bytes(b"".join(map(gzip.compress, parts)))
    manifest = Manifest.of(path)
    assert manifest.lines == 5
    assert manifest.first == rfc3339(START_MS + 1)
    manifest.write(path)
    assert Manifest.read(path) == manifest


def test_what_is_no_gzip_at_all_is_damage(path: Path) -> None:
    path.write_bytes(b"someone's notes\n" * 100)
    manifest = Manifest.of(path)
    assert (manifest.lines, manifest.damaged) == (0, 1)


@given(st.data())
def test_of_a_damaged_file_it_covers_what_a_merge_lists(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """It took every note at its word, also one that rested on lines that were lost."""
    path = tmp_path_factory.getbasetemp() / "damaged.jsonl.gz"
    members = []
    for number in range(1, 6):
        since = data.draw(st.integers(0, number)) * 10
        (note,) = notes({"x": (Span(START_MS + since, START_MS + number * 10),)})
        members.append(pack(line(number * 10).as_bytes(), note))
    content = bytearray(b"".join(members))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[place] ^= 0x55
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    manifest = Manifest.of(path)
    with bytes_of(path) as buffer:
        reader = ArchiveReader(path, buffer)
        received = [line.received_ms for _, line in reader]
    assert manifest.covers == {source: tuple(found) for source, found in reader.covers.items()}
    assert (manifest.lines, manifest.damaged) == (len(received), reader.damaged)
    times = [rfc3339(ms) for ms in sorted(received)]
    assert [manifest.first, manifest.last] == ([times[0], times[-1]] if times else [None, None])


def test_a_note_that_rests_on_lost_lines_is_not_in_the_manifest(path: Path) -> None:
    some = [note for end in (10, 20) for note in notes({"x": (Span(START_MS, START_MS + end),)})]
    lost, later = (pack(line(n * 10).as_bytes(), note) for n, note in enumerate(some, 1))
    path.write_bytes(lost[:-20] + later)
    assert Manifest.of(path).covers == {}
    path.write_bytes(lost + later)
    assert Manifest.of(path).covers == {"x": (Span(START_MS, START_MS + 20),)}


def test_a_manifest_is_no_more_for_everybody_than_the_archive(path: Path) -> None:
    fill(path, range(3))
    left = manifest_path(path).with_name(manifest_path(path).name + ".tmp")
    left.touch(0o666)
    Manifest.of(path).write(path)
    assert manifest_path(path).stat().st_mode & 0o777 == path.stat().st_mode & 0o777 == 0o640


@given(covers)
def test_a_note_is_read_as_it_was_written(some: dict[str, tuple[Span, ...]]) -> None:
    wanted = {source: found for source, found in some.items() if found}
    assert [read_note(note) for note in notes(some)] == [wanted] * bool(wanted)


def test_what_is_too_much_for_one_note_is_written_into_several() -> None:
    late = END_OF_TIME_MS - 10_000
    wanted = {
        source: tuple(Span(late + number, late + number + 1) for number in range(0, 3000, 2))
        for source in ("x", "bluesky", "mastodon")
    }
    found: dict[str, list[Span]] = {source: [] for source in wanted}
    for note in notes(wanted):
        assert len(note) < 65_000
        for source, some in read_note(note).items():
            found[source].extend(some)
    assert {source: tuple(some) for source, some in found.items()} == wanted


@pytest.mark.parametrize(
    "note",
    [
        *(b"", b"{", b"[]", b'{"covers": 1}', b'{"covers": {"x": [1]}}'),
        *(b'{"covers": {"x": [[1]]}}', b'{"covers": []}', b"[" * 100_000),
        *(b'{"covers": {"x": [["a", "b"]]}}', b'{"covers": {"x": [[1, 1e999]]}}', b"\xff"),
        *(b'{"covers": {"x": [[-1, 5]]}}', b'{"covers": {"x": [[5, 4]]}}'),
    ],
)
def test_what_is_no_note_of_ours_says_nothing(note: bytes) -> None:
    assert read_note(note) == {}
