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
export TWEETDOCK_TWEETS_MIN_PULSE_US=600
TWEETDOCK_TWEETS_MAX_PULSE_US='2400'

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
    save(path, {"TWEETDOCK_TWEETS_MAX_PULSE_US": "2399", "TWEETDOCK_TWEETS_REVERSED": "1"})
    changed = OURS.replace("'2400'", "2399") + "TWEETDOCK_TWEETS_REVERSED=1\n"
    assert path.read_text() == changed


def test_a_value_can_be_taken_back_to_nothing(path: Path) -> None:
    save(path, {"TWEETDOCK_TWEETS_MIN_PULSE_US": ""})
    assert read_env_file(path)["TWEETDOCK_TWEETS_MIN_PULSE_US"] == ""
    assert "# My gauge" in path.read_text()


def test_a_missing_last_line_break_joins_no_lines(path: Path) -> None:
    path.write_text("A=1")
    save(path, {"B": "2"})
    assert path.read_text() == "A=1\nB=2\n"


def test_a_name_that_stands_there_twice_has_one_meaning_afterwards(path: Path) -> None:
    path.write_text("A=1 # old\nexport A=2\n")
    save(path, {"A": "4"})
    assert path.read_text() == "A=4\nA=4\n"


def test_a_mark_of_the_encoding_does_no_harm(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbfA=1\r\nB=\xc3\xa4\r\n")
    save(path, {"A": "3"})
    assert read_env_file(path) == {"A": "3", "B": "ä"}


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
def test_root_does_not_take_the_file_from_its_owner() -> None:
    """After `sudo tweetdock calibrate` the gauge could not read its own settings."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ".env"
        os.chown(folder, 1234, 1234)
        for mode in (0o600, 0o640):
            save(path, {"A": "1"})
            assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1234)
            assert path.stat().st_mode & 0o777 == mode
            path.chmod(0o640)


def test_a_link_is_left_alone(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(OSError, match="is a link"):
        save(link, {"A": "1"})
    assert link.is_symlink()
    assert path.read_text() == OURS


@as_root
def test_root_is_led_by_no_link_to_what_the_folders_owner_may_not_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose folder it is can put a link in the place of the file when it has been looked at."""
    path.chmod(0o600)
    monkeypatch.setattr(Path, "is_symlink", lambda _: False)
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 1234, 1234)
        link = Path(folder) / ".env"
        link.symlink_to(path)
        with pytest.raises(PermissionError):
            save(link, {"A": "1"})
        assert list(Path(folder).iterdir()) == [link]
    assert os.geteuid() == 0


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
