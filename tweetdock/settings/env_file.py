"""Saving settings in a `.env` file: all else stays, to the byte, with mode, owner and group."""

import errno
import os
import re
import tempfile
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

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


def save(path: Path, values: Mapping[str, str]) -> None:
    """Set names to values that need no quotes; raises OSError, and then nothing has changed.

    A file that is not there is made, for its owner only. Of a link it is not known who else
    relies on it: it is left alone.
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
