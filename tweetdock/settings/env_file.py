"""Reading a `.env` file, and changing values in it: mode and owner stay."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TextIO

from dotenv import set_key
from dotenv.parser import Binding, parse_stream

from tweetdock.core.errors import Problem, SettingsError
from tweetdock.settings.gauge import Settings

ENV_FILE = ".env"  # in the folder where TweetDock is started


def load(
    flags: Mapping[str, str], environment: Mapping[str, str], folder: Path, *, demo: bool = False
) -> Settings:
    """All settings, checked; raises SettingsError with every problem.

    A name that is set to nothing counts as set: it hides the same name further down.
    """
    file = read_env_file(folder / ENV_FILE)
    return Settings.from_env({**file, **environment, **flags}, demo=demo)


def read_env_file(path: Path) -> dict[str, str]:
    """The names and values in a `.env` file; none if there is no such file.

    Nothing is interpolated, so that `docker run --env-file` reads the same.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            return dict(_values(stream, path))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        shown = f"`ls -l {quote(str(path))}` shows its owner"
        cure = f"make it UTF-8 text that this user may read: {shown}"
        raise SettingsError([Problem("", f"{path}: cannot be read: {error}", cure=cure)]) from error


def _values(stream: TextIO, path: Path) -> Iterator[tuple[str, str]]:
    problems, cure = [], f"correct that line of {path}; .env.example shows how it is written"
    for binding in parse_stream(stream):
        # A binding begins with the blank lines before it.
        text = binding.original.string
        line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        if binding.error:
            why = f"{path.name} line {line}: not of the form NAME=value"
            problems.append(Problem("", why, cure=cure))
        elif binding.key is not None:
            if _lost_hashtag(binding):
                why = (
                    f"{path.name} line {line}: {binding.key}: ' #' begins a comment "
                    'here; put the value in quotes or leave the # away: "one two"'
                )
                problems.append(Problem("", why, cure=cure))
            yield binding.key, binding.value or ""
    if problems:
        raise SettingsError(problems)


def _lost_hashtag(binding: Binding) -> bool:
    # In `TWEETDOCK_HASHTAGS=#one #two` the second is a comment to dotenv: it must not go unseen.
    if binding.key != "TWEETDOCK_HASHTAGS":
        return False
    kept = (binding.value or "").count("#")
    # A '#' with a space behind it begins a comment for every reader.
    written = re.split(r"\s#(?=\s|$)", binding.original.string.partition("=")[2])[0]
    return any(re.findall(r"#(\w?)", written)[kept:])


def save(path: Path, values: Mapping[str, str]) -> None:
    """Set names to values that need no quotes; raises OSError, and then the file is whole.

    A missing file is made, for its owner only. A link is not changed: others may rely on its file.
    """
    if path.is_symlink():
        raise OSError(f"{path} is a link to {path.readlink()}")
    there = path.stat() if path.exists() else path.parent.stat()
    with _as_owner_of(path.parent, there.st_gid):
        for name, value in values.items():
            set_key(path, name, value, quote_mode="never")
    if os.geteuid() == 0 == path.parent.stat().st_uid:
        os.chown(path, there.st_uid, there.st_gid)


@contextmanager
def _as_owner_of(folder: Path, group: int) -> Iterator[None]:
    """Let root be the one whose folder it is, who could lead root to others' files by a link.

    And let the file stay of its group: what a service may read, no other group may.
    """
    own_group = os.getegid()
    if os.geteuid() != 0:
        yield
        return
    os.setegid(group)
    os.seteuid(folder.stat().st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(own_group)
