"""Archives of several listeners made one, against brute force, and with all that may be wrong."""

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from listeners import START_MS, Chunk, line, member, read, text_of, write
from running import run, run_here

from tweetdock.core.errors import ArchiveError
from tweetdock.core.post import Span
from tweetdock.keep.archive_format import ArchiveLine, pack
from tweetdock.keep.archive_reader import opened
from tweetdock.keep.closed_files import Manifest, manifest_path
from tweetdock.keep.files import FileBytes
from tweetdock.keep.merge import Merged, merge

# A folder a test, a new name an example.
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = count()

SECOND = 1000
spans = st.builds(
    lambda since, length: Span(START_MS + since, START_MS + since + length),
    st.integers(0, 30),
    st.integers(1, 8),
)


def copies(number: int) -> st.SearchStrategy[ArchiveLine]:
    """One post as listeners may receive it: readable or not is the post's own, when is not."""
    at = None if number % 5 == 0 else number * 3 % 20
    source = "bluesky" if number % 7 == 0 else "x"
    return st.builds(
        lambda received: line(number, at=at, received=received, source=source),
        st.integers(20, 40),
    )


chunks = st.builds(
    lambda lines, covers: Chunk(tuple(lines), {s: tuple(c) for s, c in covers.items() if c}),
    st.lists(st.integers(0, 15).flatmap(copies), max_size=6),
    st.dictionaries(st.sampled_from(["x", "bluesky"]), st.lists(spans, max_size=3)),
)
archives = st.lists(chunks, min_size=1, max_size=5)
several = st.lists(archives, min_size=1, max_size=4)


def lay_out(folder: Path, heard: Iterable[Sequence[Chunk]]) -> list[Path]:
    place = folder / str(next(numbers))
    place.mkdir()
    return [write(place / f"{n}.jsonl.gz", chunks) for n, chunks in enumerate(heard)]


def merged_into(paths: Sequence[Path]) -> tuple[Merged, Path]:
    output = paths[0].parent / f"merged-{next(numbers)}.jsonl.gz"
    return merge(paths, output), output


def union_in_order(lines: Iterable[ArchiveLine]) -> list[bytes]:
    """By brute force: each version as received first, by time and version."""
    kept: dict[str, ArchiveLine] = {}
    for one in lines:
        other = kept.setdefault(one.raw.version, one)
        if (one.received_ms, one.as_text()) < (other.received_ms, other.as_text()):
            kept[one.raw.version] = one
    in_order = sorted(kept.values(), key=lambda one: (one.at_ms, one.raw.version))
    return [one.as_text().encode() for one in in_order]


def milliseconds(spans: Iterable[Span]) -> set[int]:
    return {ms for since, until in spans for ms in range(since + 1, until + 1)}


@in_one_folder
@given(several)
def test_all_posts_of_all_listeners_are_there_once_and_in_order(
    tmp_path: Path, heard: list[list[Chunk]]
) -> None:
    merged, output = merged_into(lay_out(tmp_path, heard))
    lines = [one for chunks in heard for chunk in chunks for one in chunk.lines]
    expected = union_in_order(lines)
    assert gzip.decompress(output.read_bytes()).splitlines() == expected
    assert merged.manifest.lines == len(expected)
    counts = [sum(len(chunk.lines) for chunk in chunks) for chunks in heard]
    assert [summary.lines for summary in merged.inputs] == counts
    assert not any(summary.damaged or summary.foreign for summary in merged.inputs)


@in_one_folder
@given(several)
def test_the_gaps_are_what_no_listener_has_seen(tmp_path: Path, heard: list[list[Chunk]]) -> None:
    merged, output = merged_into(lay_out(tmp_path, heard))
    _, reader = read(output)
    for source in ("x", "bluesky"):
        found = [
            span
            for chunks in heard
            for chunk in chunks
            for span in (chunk.covers or {}).get(source, ())
        ]
        together = merged.manifest.covers.get(source, ())
        assert milliseconds(together) == milliseconds(found)
        assert tuple(reader.covers.get(source, ())) == together
    knows = [any(chunk.covers for chunk in chunks) for chunks in heard]
    assert [bool(archive.covers) for archive in merged.inputs] == knows


@in_one_folder
@given(several, st.randoms(use_true_random=False))
def test_the_order_of_the_archives_does_not_matter(
    tmp_path: Path, heard: list[list[Chunk]], dice: Random
) -> None:
    paths = lay_out(tmp_path, heard)
    _, output = merged_into(paths)
    dice.shuffle(paths)
    assert merged_into(paths)[1].read_bytes() == output.read_bytes()


@in_one_folder
@given(several)
def test_merging_again_changes_nothing(tmp_path: Path, heard: list[list[Chunk]]) -> None:
    paths = lay_out(tmp_path, heard)
    first, output = merged_into(paths)
    second, again = merged_into([output, *paths, output])
    assert again.read_bytes() == output.read_bytes()
    assert second.manifest.covers == first.manifest.covers
    by_steps = merged_into([output, merged_into(paths[1:] or paths)[1]])[1]
    assert by_steps.read_bytes() == output.read_bytes()


@in_one_folder
@given(several, st.data())
def test_an_archive_that_was_cut_anywhere_gives_what_is_before_the_cut(
    tmp_path: Path, heard: list[list[Chunk]], data: st.DataObject
) -> None:
    paths = lay_out(tmp_path, heard)
    content = paths[0].read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    paths[0].write_bytes(content[:cut])
    merged, output = merged_into(paths)
    whole: list[ArchiveLine] = []
    at = 0
    known: set[int] = set()
    for chunk in heard[0]:
        at += len(member(chunk))
        if at > cut:
            break
        whole += chunk.lines
        known |= milliseconds((chunk.covers or {}).get("x", ()))
    sound = whole + [one for chunks in heard[1:] for chunk in chunks for one in chunk.lines]
    found, reader = read(output)
    versions = {ArchiveLine.parse(text).raw.version for text in found}
    assert len(found) == len(versions)
    assert set(union_in_order(sound)) <= set(found)
    for chunks in heard[1:]:
        for chunk in chunks:
            known |= milliseconds((chunk.covers or {}).get("x", ()))
    assert milliseconds(reader.covers.get("x", ())) == known
    assert merged.inputs[0].damaged == (cut not in ends(heard[0]))


def ends(chunks: Sequence[Chunk]) -> set[int]:
    sizes = [len(member(chunk)) for chunk in chunks]
    return {sum(sizes[:n]) for n in range(len(sizes) + 1)}


@in_one_folder
@given(several, st.lists(st.tuples(st.integers(0), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bytes_never_harm_what_another_archive_has_whole(
    tmp_path: Path, heard: list[list[Chunk]], flips: list[tuple[int, int]]
) -> None:
    paths = lay_out(tmp_path, heard)
    content = bytearray(paths[0].read_bytes())
    for place, change in flips:
        content[place % len(content)] ^= change
    paths[0].write_bytes(content)
    try:
        _, output = merged_into(paths)
    except ArchiveError:
        # Nothing is left of the only member by which one sees that it is gzip.
        assert not content.startswith(b"\x1f\x8b\x08")
        return
    found, reader = read(output)
    others = [one for chunks in heard[1:] for chunk in chunks for one in chunk.lines]
    versions = {ArchiveLine.parse(text).raw.version for text in found}
    assert len(versions) == len(found)
    assert {one.raw.version for one in others} <= versions
    assert list(map(ArchiveLine.parse, found)) == sorted(
        map(ArchiveLine.parse, found), key=lambda one: (one.at_ms, one.raw.version)
    )
    assert not reader.damaged


def test_a_sound_copy_goes_before_one_that_may_be_garbled(tmp_path: Path) -> None:
    early, late = line(1, at=5, received=10), line(1, at=5, received=20)
    garbled = write(tmp_path / "garbled.jsonl.gz", [Chunk((early,))])
    content = bytearray(garbled.read_bytes())
    content[-5] ^= 1  # the check sum: every letter of the text is doubtful
    garbled.write_bytes(content)
    sound = write(tmp_path / "sound.jsonl.gz", [Chunk((late,))])
    merged, output = merged_into([garbled, sound])
    assert read(output)[0] == [late.as_text().encode()]
    assert (merged.inputs[0].lines, merged.inputs[0].damaged) == (1, 1)


def test_a_note_after_a_damaged_place_says_nothing_of_the_time_before_it(tmp_path: Path) -> None:
    """A search looks back: a later note covers again what only the lost member had."""
    lost = Chunk((line(1, at=5, received=10),), {"x": (Span(START_MS, START_MS + 10),)})
    later = Chunk((line(2, at=15, received=20),), {"x": (Span(START_MS, START_MS + 20),)})
    last = Chunk((line(3, at=25, received=30),), {"x": (Span(START_MS + 20, START_MS + 30),)})
    path = tmp_path / "a.jsonl.gz"
    head = bytearray(member(lost))
    head[20:] = bytes(len(head) - 20)
    path.write_bytes(bytes(head) + member(later) + member(last))
    merged, _ = merged_into([path])
    assert merged.manifest.covers == {"x": (Span(START_MS + 20, START_MS + 30),)}
    assert merged.inputs[0].covers


def test_an_archive_cut_after_a_merge_claims_no_more_than_it_has(tmp_path: Path) -> None:
    post = json.dumps({"text": "x" * 10_000})
    lines = tuple(line(n, at=n * 400, received=50_000, post=post) for n in range(300))
    whole = Span(START_MS - 1, START_MS + 120_000)
    path = write(tmp_path / "a.jsonl.gz", [Chunk(lines, {"x": (whole,)})])
    _, output = merged_into([path])
    content = output.read_bytes()
    for length in (len(content) - 1, len(content) // 2):
        output.write_bytes(content[:length])
        _, reader = read(output)
        assert reader.damaged == 1
        assert reader.covers == {}


def test_more_gaps_than_a_gzip_header_holds_are_kept(tmp_path: Path) -> None:
    found = tuple(Span(START_MS + n * 10, START_MS + n * 10 + 5) for n in range(5000))
    parts = [Chunk((), {"x": found[n : n + 1000]}) for n in range(0, 5000, 1000)]
    parts.append(Chunk((line(1, at=5),)))
    _, output = merged_into([write(tmp_path / "a.jsonl.gz", parts)])
    lines, reader = read(output)
    assert tuple(reader.covers["x"]) == found
    assert len(lines) == 1


def test_what_is_not_ours_is_counted_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    ours = line(1, at=5).as_text().encode()
    foreign = b'{"id": 5}\n\n[]\nno JSON\n\xff\xfe\n' + b"[" * 100_000 + b"\n"
    path.write_bytes(gzip.compress(foreign + ours))
    merged, output = merged_into([path])
    (summary,) = merged.inputs
    assert (summary.lines, summary.foreign, summary.damaged) == (1, 5, 0)
    assert not summary.covers
    assert read(output)[0] == [ours]


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    ours = line(1, at=5).as_text().encode()
    path.write_bytes(gzip.compress(b"x" * 20_000_000 + b"\n" + ours + b"\n"))
    (summary,) = merged_into([path])[0].inputs
    assert (summary.lines, summary.foreign) == (1, 1)


@given(st.integers(1, 400))
@in_one_folder
def test_members_that_part_a_line_are_read_like_one_text(tmp_path: Path, size: int) -> None:
    lines = [line(n, at=n) for n in range(9)]
    text = text_of(lines)
    path = tmp_path / f"{next(numbers)}.jsonl.gz"
    parts = [text[n : n + size] for n in range(0, len(text), size)]
    path.write_bytes(b"".join(gzip.compress(part) for part in parts))
    merged, output = merged_into([path])
    assert read(output)[0] == text.splitlines()
    assert merged.inputs[0].foreign == 0


def test_the_text_of_a_post_stays_byte_for_byte(tmp_path: Path) -> None:
    posts = ['{"n":1.50,"n":2,  "e":"\\u00e9\\/é"}', '{"half": "\\ud800"}']
    lines = [line(n, at=n, post=post) for n, post in enumerate(posts)]
    _, output = merged_into([write(tmp_path / "a.jsonl.gz", [Chunk(tuple(lines))])])
    assert gzip.decompress(output.read_bytes()) == text_of(lines)


def test_a_version_whose_time_is_told_in_two_ways_is_there_once(tmp_path: Path) -> None:
    early, late = line(1, at=900, received=10), line(1, at=None, received=20)
    heard = [[Chunk((late,))], [Chunk((early,)), Chunk((line(2, at=15),))]]
    _, output = merged_into(lay_out(tmp_path, heard))
    found = [ArchiveLine.parse(text).raw.version for text in read(output)[0]]
    assert found == ["x:2", "x:1"]


def test_a_version_of_half_a_letter_is_a_version(tmp_path: Path) -> None:
    text = line(1, at=5).as_text().replace('"x:1"', '"x:\\ud800"', 1)
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(text.encode() + b"\n"))
    merged, output = merged_into([path, path])
    assert merged.manifest.lines == 1
    assert read(output)[0] == [text.encode()]


@pytest.mark.parametrize(
    "note",
    [
        b'{"covers": {"x": [[-5, 10]]}}',
        b'{"covers": {"x": [[10, 5]]}}',
        b'{"covers": {"x": [[1, 1' + b"0" * 30 + b"]]}}",
        b'{"covers": []}',
        b"\xff",
    ],
)
def test_a_note_that_makes_no_sense_covers_nothing(tmp_path: Path, note: bytes) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(pack(text_of([line(1, at=5)]), note))
    merged, _ = merged_into([path])
    assert (merged.manifest.lines, merged.manifest.covers) == (1, {})


def test_an_archive_that_cannot_be_read_any_more_is_named(tmp_path: Path) -> None:
    """A bad place on the disk was laid at the door of the output."""
    path = write(tmp_path / "a.jsonl.gz", [Chunk((line(1, at=5),))])
    fd = os.open(path, os.O_WRONLY)
    try:
        with pytest.raises(ArchiveError, match=f"{path} cannot be read: Bad"), opened(path):
            FileBytes(fd, path)[0:1]
    finally:
        os.close(fd)


def test_an_empty_archive_is_one(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.jsonl.gz", [])
    merged, output = merged_into([empty, write(tmp_path / "b.jsonl.gz", [Chunk((line(1, at=1),))])])
    assert [summary.lines for summary in merged.inputs] == [0, 1]
    assert len(read(output)[0]) == 1
    nothing, output = merged_into([empty])
    assert nothing.manifest.lines == 0
    assert gzip.decompress(output.read_bytes()) == b""


def test_the_manifest_lies_beside_the_output(tmp_path: Path) -> None:
    covers = {"x": (Span(START_MS, START_MS + 50),)}
    merged, output = merged_into(
        [write(tmp_path / "a.jsonl.gz", [Chunk((line(1, at=5), line(2, at=6)), covers)])]
    )
    manifest = Manifest.read(output)
    assert manifest == merged.manifest
    assert (manifest.file, manifest.lines, manifest.covers) == (output.name, 2, covers)


def refused(folder: Path, *given: object) -> str:
    """What the command says when it refuses; whatever is there must stay as it is."""
    output = folder / Path(str(given[-1])).parent
    before = files_of(output) if output.is_dir() else {}
    done = run_here("merge", *map(str, given), folder=folder)
    assert (done.returncode, done.stdout) == (69, "")
    assert (files_of(output) if output.is_dir() else {}) == before
    assert done.stderr.startswith("tweetdock: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_what_cannot_be_read_or_written_is_refused_in_a_sentence(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl.gz", [Chunk((line(1, at=5),))])
    other = tmp_path / "notes.txt"
    other.write_text("no gzip")
    c = tmp_path / "c.jsonl.gz"
    assert "there is no file" in refused(tmp_path, a, tmp_path / "b.jsonl.gz", "-o", c)
    assert "no gzip file" in refused(tmp_path, a, other, "-o", c)
    assert "there is no file" in refused(tmp_path, tmp_path, "-o", c)
    assert "one of the files" in refused(tmp_path, a, "--force", "-o", a)
    linked = tmp_path / "linked.jsonl.gz"
    os.link(a, linked)
    assert "one of the files" in refused(tmp_path, a, "--force", "-o", linked)
    assert "--force" in refused(tmp_path, a, "-o", other)
    (tmp_path / "folder").mkdir()
    assert "exists already" in refused(tmp_path, a, "-o", tmp_path / "folder")
    nowhere = tmp_path / "nowhere" / "c.jsonl.gz"
    assert "cannot be written" in refused(tmp_path, a, "-o", nowhere)


@contextmanager
def nobody_special(*owned: Path) -> Iterator[None]:
    """Without root's rights, which no mode of a file withstands; these files are one's own."""
    if os.geteuid() != 0:
        yield
        return
    for path in owned:
        os.chown(path, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    a = write(Path("a.jsonl.gz"), [Chunk((line(1, at=5),))])
    locked = Path("locked")
    locked.mkdir(mode=0o500)
    with nobody_special(tmp_path, locked), pytest.raises(ArchiveError, match="ermission"):
        merge([a], locked / "c.jsonl.gz")


def test_an_output_is_replaced_by_force_only(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl.gz", [Chunk((line(1, at=5),))])
    c = tmp_path / "c.jsonl.gz"
    c.write_bytes(b"old")
    refused(tmp_path, a, "-o", c)
    assert run_here("merge", str(a), "--force", "-o", str(c), folder=tmp_path).returncode == 0
    assert len(read(c)[0]) == 1
    assert set(files_of(tmp_path)) == {a.name, c.name, manifest_path(c).name}
    assert len(list(tmp_path.iterdir())) == 3


def test_an_error_amid_the_work_leaves_nothing_behind(tmp_path: Path) -> None:
    """A name whose manifest's is too long for the disk fails when all else is done."""
    a = write(tmp_path / "a.jsonl.gz", [Chunk((line(1, at=5),))])
    with pytest.raises(ArchiveError, match="too long"):
        merge([a], tmp_path / ("c" * 250))
    assert [path.name for path in tmp_path.iterdir()] == [a.name]


def test_the_summary_tells_what_came_of_each_archive_and_which_gaps_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def covers(*minutes: tuple[int, int]) -> dict[str, tuple[Span, ...]]:
        spans = (Span(START_MS + s * 60_000, START_MS + u * 60_000) for s, u in minutes)
        return {"x": tuple(spans)}

    posts = [line(n, at=n, received=n) for n in range(4)]
    write(Path("attic.jsonl.gz"), [Chunk(tuple(posts[:3]), covers((0, 10), (15, 60)))])
    garage = [Chunk(tuple(posts[1:]), covers((0, 12), (20, 60)))]
    write(Path("garage.jsonl.gz"), garage)
    with Path("garage.jsonl.gz").open("ab") as file:
        file.write(member(garage[0])[:40])
    Path("old.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    archives = "attic.jsonl.gz", "garage.jsonl.gz", "old.jsonl.gz"
    done = run_here("merge", *archives, "-o", "all.jsonl.gz", folder=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "all.jsonl.gz: 4 posts, each once and in order",
        "  from attic.jsonl.gz   3 lines",
        "  from garage.jsonl.gz  3 lines, 1 damaged place",
        "  from old.jsonl.gz     0 lines, 1 foreign line left out",
        "  2 doubles left out",
        "x: 2026-11-21T03:00:00.000Z to 2026-11-21T04:00:00.000Z, 60 min",
        "  gaps that all share: 1, 3 min in all",
        "    2026-11-21T03:12:00.000Z to 2026-11-21T03:15:00.000Z  3 min",
        "unknown: old.jsonl.gz does not say which times it covers",
    ]
    assert done.stderr.splitlines() == [
        "tweetdock: garage.jsonl.gz is damaged; what can be read of it was used",
        "tweetdock: old.jsonl.gz has 1 line that TweetDock did not write; they were left out",
    ]


def test_the_command_merges_and_says_that_there_is_no_gap(tmp_path: Path) -> None:
    covers = {"x": (Span(START_MS, START_MS + 50),)}
    write(tmp_path / "a.jsonl.gz", [Chunk((line(1, at=5),), covers)])
    write(tmp_path / "b.jsonl.gz", [Chunk((line(2, at=6),), covers)])
    done = run("merge", "a.jsonl.gz", "b.jsonl.gz", "-o", "c.jsonl.gz", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 posts" in done.stdout
    assert "no gap" in done.stdout
    assert json.loads((tmp_path / "c.jsonl.gz.manifest.json").read_text())["lines"] == 2
    again = run_here("merge", "a.jsonl.gz", "-o", "c.jsonl.gz", folder=tmp_path)
    assert again.returncode == 69
    assert run_here("merge", "a.jsonl.gz", folder=tmp_path).returncode == 2
