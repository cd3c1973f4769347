"""The file that belongs to one TweetDock at a time."""

import os
from pathlib import Path

import pytest

from tweetdock.core.errors import UnavailableError
from tweetdock.keep.lock import Lock, is_held

NOBODY = 65534

for_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can make a file for somebody else"
)


def test_it_is_held_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(path)
    assert is_held(path)
    with pytest.raises(UnavailableError, match="in use by another TweetDock"):
        Lock(path)
    lock.close()
    assert not is_held(path)
    Lock(path).close()


@for_root
def test_roots_lock_is_the_folders_owners(tmp_path: Path) -> None:
    """A calibration by sudo, before the service ran, left it a lock that it may not open."""
    os.chown(tmp_path, NOBODY, NOBODY)
    Lock(tmp_path / "lock").close()
    made = (tmp_path / "lock").stat()
    assert (made.st_uid, made.st_gid) == (NOBODY, NOBODY)
    assert made.st_mode & 0o777 == 0o600


def test_a_link_is_no_lock(tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "lock"
    other.write_text("something else")
    for aim in (other, tmp_path / "not there yet"):
        path.symlink_to(aim)
        with pytest.raises(OSError, match=f"its lock is a link: '{path}'"):
            Lock(path)
        path.unlink()
    assert sorted(tmp_path.iterdir()) == [other]
    assert not is_held(other)


def owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


@for_root
def test_by_a_link_in_its_folder_a_service_is_not_given_roots_files(tmp_path: Path) -> None:
    """Its user makes the link, waits for a calibration by sudo, and owns /etc/shadow."""
    folder, others = tmp_path / "state", tmp_path / "shadow"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    others.write_text("root's")
    path = folder / "lock"
    path.symlink_to(others)
    with pytest.raises(OSError, match="is a link"):
        Lock(path)
    assert owner(others) == (0, 0)
    path.unlink()
    # Nor by a second name of the same file, where the kernel lets anybody make one.
    path.hardlink_to(others)
    Lock(path).close()
    assert owner(others) == (0, 0)
