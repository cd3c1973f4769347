"""The file that belongs to one TweetDock at a time."""

import os
from pathlib import Path

import pytest

from tweetdock.errors import UnavailableError
from tweetdock.keep.files.lock import Lock, is_held

NOBODY = 65534


def test_it_is_held_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(path)
    assert is_held(path)
    with pytest.raises(UnavailableError, match="in use by another TweetDock"):
        Lock(path)
    lock.close()
    assert not is_held(path)
    Lock(path).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file for somebody else")
def test_roots_lock_is_the_folders_owners(tmp_path: Path) -> None:
    """A calibration by sudo, before the service ran, left it a lock that it may not open."""
    os.chown(tmp_path, NOBODY, NOBODY)
    Lock(tmp_path / "lock").close()
    made = (tmp_path / "lock").stat()
    assert (made.st_uid, made.st_gid) == (NOBODY, NOBODY)
    assert made.st_mode & 0o777 == 0o600
