"""How far the archive had come, for a later TweetDock to find what was written after that."""

from typing import NamedTuple


class Place(NamedTuple):
    """An end of the archive: the path it was opened at, the file's inode, and its size."""

    path: str
    inode: int
    size: int
