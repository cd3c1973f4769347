"""Saving settings in a `.env` file: what was there stays, and it is whole or as it was."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.errors import SettingsError
from tweetdock.settings.env_file import read_env_file, save

OURS = """\
# My gauge

TWEETDOCK_HASHTAGS=dockercon

export TWEETDOCK_TWEETS_MIN_PULSE_US=600   # the left stop, carefully
TWEETDOCK_TWEETS_MAX_PULSE_US='2400' # right

# A secret with signs of its own
X_BEARER_TOKEN='a # b'
TEXT="two

lines"
"""


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text(OURS)
    return path


def test_only_values_change_and_new_names_go_to_the_end(path: Path) -> None:
    save(path, {"TWEETDOCK_TWEETS_MIN_PULSE_US": "612", "TWEETDOCK_TWEETS_REVERSED": "1"})
    changed = OURS.replace("_US=600", "_US=612") + "TWEETDOCK_TWEETS_REVERSED=1\n"
    assert path.read_text() == changed
    save(path, {"TWEETDOCK_TWEETS_MAX_PULSE_US": "2399"})
    assert path.read_text() == changed.replace("'2400' # right", "2399 # right")


def test_a_value_can_be_taken_back_to_nothing(path: Path) -> None:
    save(path, {"TWEETDOCK_TWEETS_MIN_PULSE_US": ""})
    assert read_env_file(path)["TWEETDOCK_TWEETS_MIN_PULSE_US"] == ""
    assert "the left stop, carefully" in path.read_text()


def test_a_missing_last_line_break_joins_no_lines(path: Path) -> None:
    path.write_text("A=1")
    save(path, {"B": "2"})
    assert path.read_text() == "A=1\nB=2\n"


def test_a_name_that_stands_there_twice_has_one_meaning_afterwards(path: Path) -> None:
    """Both lines got the comment of the first, and lost what they were indented by."""
    path.write_text("A=1 # old\n\n  export A=2\n\tA='3'#new\n")
    save(path, {"A": "4"})
    assert path.read_text() == "A=4 # old\n\n  export A=4\n\tA=4 #new\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A=1\r\n\r\n  \r\n# b\r\nB=2\r\n", "A=1\r\n\r\n  \r\n# b\r\nB=9\r\nZ=8\r\n"),
        ("A=1\r\nB=2", "A=1\r\nB=9\r\nZ=8\r\n"),
        ("A=1\n \t\nB=2 \r\n\r\n", "A=1\n \t\nB=9 \r\n\r\nZ=8\r\n"),
        ("  \n", "  \nB=9\nZ=8\n"),
    ],
)
def test_ends_of_lines_and_blanks_stay(path: Path, before: str, after: str) -> None:
    """A file that was written on Windows had every one of its lines changed."""
    path.write_bytes(before.encode())
    save(path, {"B": "9", "Z": "8"})
    assert path.read_bytes() == after.encode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A= # note", "A=9 # note"),
        ("A=#1", "A=9"),
        ("A =  '1'", "A =  9"),
        ("A=1#2 # note", "A=9 # note"),
        ('A="1\n#2"#note', "A=9 #note"),
        ("A # note", "A=9 # note"),
        ("export  A", "export  A=9"),
        ("'A'=1", "'A'=9"),
        ("A='it\\'s'\t# note", "A=9\t# note"),
    ],
)
def test_a_value_is_replaced_in_whatever_way_it_is_written(
    path: Path, before: str, after: str
) -> None:
    path.write_text(f"B=1\n{before}\nC=3\n")
    save(path, {"A": "9"})
    assert path.read_text() == f"B=1\n{after}\nC=3\n"
    assert read_env_file(path) == {"B": "1", "A": "9", "C": "3"}


def test_lines_that_nobody_understands_stay(path: Path) -> None:
    path.write_bytes(b"=1\nA='1\nB=\xff\n")
    save(path, {"B": "2"})
    assert path.read_bytes() == b"=1\nA='1\nB=2\n"


def test_a_mark_of_the_encoding_stays(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbfA=1\n\nB=\xc3\xa4\n")
    save(path, {"A": "3"})
    assert path.read_bytes() == b"\xef\xbb\xbfA=3\n\nB=\xc3\xa4\n"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_who_may_read_it_stays_as_it_was(path: Path, mode: int) -> None:
    path.chmod(mode)
    save(path, {"A": "1"})
    assert path.stat().st_mode & 0o7777 == mode


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    save(path, {"A": "1", "B": "2"})
    assert path.read_text() == "A=1\nB=2\n"
    assert path.stat().st_mode & 0o7777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@as_root
@pytest.mark.parametrize("owner", [(0, 1234), (1234, 0)], ids=["group", "user"])
def test_the_group_that_may_read_it_is_kept(path: Path, owner: tuple[int, int]) -> None:
    """A file of root:tweetdock became one of root:root, and the service could not read it."""
    os.chown(path, *owner)
    path.chmod(0o640)
    save(path, {"A": "1"})
    assert (path.stat().st_uid, path.stat().st_gid) == owner
    assert path.stat().st_mode & 0o7777 == 0o640


@as_root
def test_who_may_write_in_a_folder_of_others_makes_a_file_of_his_own() -> None:
    """He was told that it cannot be written: only root can give a file to the folder's owner."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ".env"
        path.parent.chmod(0o777)
        os.seteuid(1234)
        try:
            save(path, {"A": "1"})
            save(path, {"A": "2"})
        finally:
            os.seteuid(0)
        assert path.read_text() == "A=2\n"
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (1234, 0o600)


@as_root
def test_root_does_not_take_the_file_from_its_owner(path: Path) -> None:
    """After `sudo tweetdock calibrate` the gauge could not read its own settings."""
    os.chown(path, 1234, 1234)
    save(path, {"A": "1"})
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1234)
    path.unlink()
    os.chown(path.parent, 1234, 1234)
    save(path, {"A": "1"})
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (1234, 0o600)


def test_a_link_is_left_alone(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(OSError, match="is a link"):
        save(link, {"A": "1"})
    assert link.is_symlink()
    assert path.read_text() == OURS


def test_no_link_of_somebody_quicker_is_written_through(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose folder it is can put one of his own in the place of ours before we write into it."""
    other, theirs = tmp_path / "other", tmp_path / "theirs"
    other.write_text("not ours")
    theirs.mkdir()
    (theirs / path.name).symlink_to(other)
    monkeypatch.setattr(tempfile, "mkdtemp", lambda *_, **__: str(theirs))
    with pytest.raises(FileExistsError):
        save(path, {"A": "1"})
    assert (path.read_text(), other.read_text()) == (OURS, "not ours")


def test_what_cannot_be_replaced_is_as_it_was_and_nothing_lies_about(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        save(path, {"A": "1"})
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "nowhere" / ".env", {"A": "1"})


SIGNS = ["A", "B", "=", "'", '"', "#", " ", "\t", "\n", "\r\n", "\r", "\\", "export ", "\x0b", "é"]


@given(st.lists(st.sampled_from(SIGNS), max_size=14).map("".join))
def test_whatever_stands_there_the_other_names_keep_their_values(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("env") / ".env"
    path.write_bytes(text.encode())
    try:
        before = read_env_file(path)
    except SettingsError:
        before = None  # no gauge and no calibration begins with it
    save(path, {"A": "9"})
    if before is not None:
        assert read_env_file(path) == before | {"A": "9"}


# A line, the name in it, and what stands before and behind the value.
LINES = {
    "": ("", "", ""),
    "  ": ("", "", ""),
    "# note": ("", "", ""),
    "A=1": ("A", "A=", ""),
    "\tA=11  # first": ("A", "\tA=", "  # first"),
    "B = 2": ("B", "B = ", ""),
    "C='x # y'": ("C", "C=", ""),
    "export D=4 # d": ("D", "export D=", " # d"),
    'E="a\n\nb" # e': ("E", "E=", " # e"),
    "F": ("F", "F=", ""),
    "G=": ("G", "G=", ""),
}
new_values = st.dictionaries(st.sampled_from("ABCDEFGYZ"), st.sampled_from(["", "7", "89"]))


@given(
    text=st.lists(st.sampled_from(list(LINES)), max_size=8),
    values=new_values,
    line_end=st.sampled_from(["\n", "\r\n"]),
    is_ended=st.booleans(),
)
def test_nothing_else_changes_by_a_single_byte(
    tmp_path_factory: pytest.TempPathFactory,
    text: list[str],
    values: dict[str, str],
    line_end: str,
    *,
    is_ended: bool,
) -> None:
    path = tmp_path_factory.mktemp("env") / ".env"

    def write(lines: list[str], *, is_ended: bool) -> bytes:
        joined = "\n".join(lines) + "\n" * (is_ended and bool(lines))
        return joined.replace("\n", line_end).encode()

    def changed(line: str) -> str:
        name, before, behind = LINES[line]
        return before + values[name] + behind if name in values else line

    path.write_bytes(write(text, is_ended=is_ended))
    has_breaks = line_end.encode() in path.read_bytes()
    before = read_env_file(path)
    save(path, values)
    assert read_env_file(path) == before | values
    there = {LINES[line][0] for line in text}
    added = [f"{name}={value}" for name, value in values.items() if name not in there]
    kept = write([changed(line) for line in text], is_ended=is_ended)
    if not added:
        assert path.read_bytes() == kept
        return
    # What has no break of its own to go by gets the usual one.
    own = line_end if has_breaks else "\n"
    if kept and not kept.endswith(b"\n"):
        kept += own.encode()
    assert path.read_bytes() == kept + "".join(f"{line}{own}" for line in added).encode()
