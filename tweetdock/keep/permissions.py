"""Permissions: whether a folder or file can be used, and how this user comes to use it."""

import os
import pwd
from pathlib import Path
from shlex import quote
from typing import NamedTuple


class Obstacle(NamedTuple):
    """Why a folder or file cannot be used, and what its owner can do about it."""

    says: str
    cure: str


def nearest(path: Path) -> Path:
    """The path itself, or the nearest above it that is there."""
    whole = path.absolute()
    for place in (whole, *whole.parents):
        if os.access(place, os.F_OK):
            return path if place == whole else place
    return whole


def folder_obstacle(folder: Path, name: str, *, is_ours: bool = False) -> Obstacle | None:
    """Why nothing can be written into a folder, or it cannot be made; None if it can.

    name: of its setting. is_ours: nothing but TweetDock's own is in it.
    """
    place = nearest(folder)
    if not place.is_dir():
        return Obstacle(f"{place} is no folder", _away(name))
    if _may(place, os.W_OK | os.X_OK):
        return None
    what = "written to" if place == folder else f"written to, and {folder} is to be made in it"
    return Obstacle(f"{place} may not be {what}", cure(folder, name, is_ours=is_ours))


def file_obstacle(path: Path, name: str) -> Obstacle | None:
    """Why a file of TweetDock's cannot be read and written; None if it can, or is not there."""
    if not path.exists() or (path.is_file() and _may(path, os.R_OK | os.W_OK)):
        return None
    if not path.is_file():
        return Obstacle(f"{path} is no file", _away(name))
    return Obstacle(f"{path} may not be read and written", cure(path, name, is_ours=True))


def cure(path: Path, name: str, *, is_ours: bool = False) -> str:
    """How this user comes to use a folder or file that is there, or to make it.

    Of what is not TweetDock's own nobody is told to change the owner: it may be the system's.
    """
    place, me = nearest(path), os.geteuid()
    elsewhere = f"name another place with {name}"
    if me == 0:
        return f"mount it for writing, or {elsewhere}"
    if place != path:
        return f"`sudo install -d -o {me} {quote(str(path))}` makes it; or {elsewhere}"
    owner = place.stat().st_uid
    if owner == me:
        return f"`chmod -R u+rwX {quote(str(place))}`, or {elsewhere}"
    take = f"`sudo chown -R {me} {quote(str(place))}`" if is_ours else elsewhere
    return (
        f"it belongs to {user(owner)}, and the doctor is {user(me)}: if TweetDock runs as "
        f"{user(owner)}, run the doctor so, too, by sudo; else {take}"
    )


def user(number: int) -> str:
    """The name of a user, or what stands for it."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"  # in a container it may have no name


def _away(name: str) -> str:
    return f"move that away, or name another place with {name}"


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=True)
