"""Permissions: whether a folder or file can be used, and how this user comes to use it."""

import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path
from shlex import quote


def nearest(path: Path) -> Path:
    """The path itself, or the nearest above it that is there."""
    whole = path.absolute()
    for place in (whole, *whole.parents):
        with suppress(OSError):  # a folder that we may not look into
            if place.exists():
                return path if place == whole else place
    return whole


def obstacle(folder: Path) -> str:
    """Why nothing can be written into a folder, or it cannot be made; empty if it can."""
    place = nearest(folder)
    if not place.is_dir():
        return f"{place} is no folder"
    if _may(place, os.W_OK | os.X_OK) and not _is_the_kernels(place):
        return ""
    what = "written to" if place == folder else f"written to, and {folder} is to be made in it"
    return f"{place} may not be {what}"


def file_obstacle(path: Path) -> str:
    """Why a file cannot be read and written; empty if it can, or is not there."""
    if not path.exists():
        return ""
    if not path.is_file():
        return f"{path} is no file"
    return "" if _may(path, os.R_OK | os.W_OK) else f"{path} may not be read and written"


def cure(path: Path, name: str, *, is_ours: bool = False) -> str:
    """How this user comes to use a folder or file that is set by a name.

    is_ours: nothing but TweetDock's own is in it. Of no other folder anybody is told to change
    the owner: it may be the system's.
    """
    place, me = nearest(path), os.geteuid()
    elsewhere = f"name another place with {name}"
    if not place.is_dir() and (place != path or not is_ours):
        return f"move that away, or {elsewhere}"
    if _is_the_kernels(place):
        return elsewhere
    if me == 0:
        return f"mount it for writing, or {elsewhere}"
    if place != path:
        return f"`sudo install -d -o {me} {quote(str(path))}` makes it; or {elsewhere}"
    owner = place.stat().st_uid
    if owner == me:
        return f"`chmod -R u+rwX {quote(str(place))}`, or {elsewhere}"
    theirs = (
        f"it belongs to {user(owner)}, and the doctor is {user(me)}: if TweetDock runs as "
        f"{user(owner)}, run the doctor so, too, by sudo; else "
    )
    if is_ours:
        return f"{theirs}`sudo chown -R {me} {quote(str(place))}`"
    return f"{theirs}{elsewhere}"


def file_cure(path: Path, name: str) -> str:
    """How this user comes to use a file of TweetDock's that is set by a name."""
    if not path.is_file():
        return f"move that away, or name another place with {name}"
    return cure(path, name, is_ours=True)


def user(number: int) -> str:
    """The name of a user, or what stands for it."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"  # in a container it may have no name


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=True)


def _is_the_kernels(place: Path) -> bool:
    # Root may do everything, it is said; but in /proc and /sys nothing can be made.
    is_closed = not place.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    return is_closed and os.statvfs(place).f_blocks == 0
