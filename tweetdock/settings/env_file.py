"""Reading a `.env` file, and changing values in it: all else stays, mode and owner included."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import TextIO

from dotenv.parser import Binding, parse_stream

from tweetdock.core.errors import SettingsError
from tweetdock.settings.gauge import Settings

ENV_FILE = ".env"  # in the folder where TweetDock is started

# A line as dotenv reads it; `=` takes no blanks before a comment, which is none without them.
_LINE = re.compile(
    r"""
    (?P<before>\s*(?:export[^\S\r\n]+)?(?:'[^']+'|[^=\#\s]+))
    (?:
        (?P<equals>[^\S\r\n]*=(?:[^\S\r\n]*(?!\#)|))
        (?:
            '(?:\\.|[^'\\])*' | "(?:\\.|[^"\\])*"
            | [^\r\n]*?(?=[^\S\r\n]+\#|[^\S\r\n]*(?:[\r\n]|\Z))
        )
    )?
    (?P<behind>(?:[^\S\r\n]*\#[^\r\n]*)?[^\S\r\n]*(?:\r\n|\n|\r|\Z))
    """,
    re.DOTALL | re.VERBOSE,
)


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
            return dict(_values(stream, path.name))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: cannot be read: {error}"]) from error


def _values(stream: TextIO, name: str) -> Iterator[tuple[str, str]]:
    problems = []
    for binding in parse_stream(stream):
        # A binding begins with the blank lines before it.
        text = binding.original.string
        line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        if binding.error:
            problems.append(f"{name} line {line}: not of the form NAME=value")
        elif binding.key is not None:
            if _lost_hashtag(binding):
                problems.append(
                    f"{name} line {line}: {binding.key}: ' #' begins a comment "
                    'here; put the value in quotes or leave the # away: "one two"'
                )
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
    """Set names to values that need no quotes; raises OSError, and then nothing has changed.

    A missing file is made, for its owner only. A link is not changed: others may rely on its file.
    """
    data, there = _read(path)
    encoding = "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
    text = _changed(data.decode(encoding, "surrogateescape"), values)
    with tempfile.TemporaryDirectory(prefix=".env-", dir=path.parent) as folder:
        copy = Path(folder) / path.name
        _write(copy, text.encode(encoding, "surrogateescape"), there, path.parent)
        copy.replace(path)


def _read(path: Path) -> tuple[bytes, os.stat_result | None]:
    """What is in it, and its mode and owner; None if it is not there."""
    try:
        with open(path, "rb", opener=_open_no_link) as file:
            return file.read(), os.fstat(file.fileno())
    except FileNotFoundError:
        return b"", None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(f"{path} is a link to {path.readlink()}") from error
        raise


def _open_no_link(name: str, flags: int) -> int:
    # Whose folder it is could make a link just now, and root would read or write another file.
    return os.open(name, flags | os.O_NOFOLLOW, 0o600)


def _changed(text: str, values: Mapping[str, str]) -> str:
    """The text with a name's value changed wherever it stands, and at the end where it does not."""
    parts, missing = [], dict(values)
    for binding in parse_stream(StringIO(text)):
        line = binding.original.string
        if binding.key is not None and binding.key in values:
            missing.pop(binding.key, None)
            line = _with_value(line, values[binding.key])
        parts.append(line)
    line_end = "\r\n" if "\r\n" in text else "\n"
    if missing and text and not text.endswith(("\n", "\r")):
        parts.append(line_end)
    return "".join(parts) + "".join(f"{name}={missing[name]}{line_end}" for name in missing)


def _with_value(line: str, value: str) -> str:
    found = _LINE.fullmatch(line)
    if found is None:
        raise OSError(f"a line of it cannot be changed: {line.strip().partition('=')[0]}")
    before, equals, behind = found["before"], found["equals"] or "=", found["behind"]
    # Behind a value without quotes only what stands apart from it is a comment.
    gap = " " if behind.startswith("#") else ""
    return f"{before}{equals}{value}{gap}{behind}"


def _write(copy: Path, data: bytes, there: os.stat_result | None, folder: Path) -> None:
    """The whole file on the disk, with the mode and owner of the one that it replaces."""
    with open(copy, "xb", opener=_open_no_link) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        ours = os.fstat(file.fileno())
        if there is not None:
            # The group too, and before the mode: what a service may read, no other group may.
            if (there.st_uid, there.st_gid) != (ours.st_uid, ours.st_gid):
                os.fchown(file.fileno(), there.st_uid, there.st_gid)
            os.fchmod(file.fileno(), there.st_mode & 0o7777)
        elif os.geteuid() == 0:
            # A calibration by sudo makes a file of the one whose folder it is.
            whose = folder.stat()
            os.fchown(file.fileno(), whose.st_uid, whose.st_gid)
