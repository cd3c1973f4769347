"""Saving settings in a `.env` file: what was there stays, and it is whole or as it was."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.config import read_env_file
from tweetdock.env_file import save

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
    path.write_text("A=1\nA=2\n")
    save(path, {"A": "3"})
    assert path.read_text() == "A=3\nA=3\n"


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
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


def test_what_cannot_be_replaced_is_as_it_was_and_nothing_lies_about(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        save(path, {"A": "1"})
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "nowhere" / ".env", {"A": "1"})


lines = st.sampled_from(
    ["", "# note", "A=1", "B = 2", "C='x # y'", "export D=4 # d", 'E="a\n\nb"', "F", "  ", "G="]
)


@given(
    st.lists(lines, max_size=8), st.dictionaries(st.sampled_from("ABDGZ"), st.sampled_from("789"))
)
def test_everything_else_reads_as_before(
    tmp_path_factory: pytest.TempPathFactory, text: list[str], values: dict[str, str]
) -> None:
    path = tmp_path_factory.mktemp("env") / ".env"
    path.write_text("\n".join(text))
    before = read_env_file(path)
    save(path, values)
    assert read_env_file(path) == before | values
    after = path.read_text()
    assert after.count("# note") == text.count("# note")
    assert after.count("# d") == text.count("export D=4 # d")
    assert len(after.splitlines()) >= len("\n".join(text).splitlines())
