"""Saving settings in a `.env` file: all else stays, to the byte, with mode, owner and group."""

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
    if path.is_symlink():
        raise OSError(f"{path} is a link to {path.readlink()}")
    data = path.read_bytes() if path.exists() else b""
    encoding = "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
    text = _changed(data.decode(encoding, "surrogateescape"), values)
    with tempfile.TemporaryDirectory(prefix=".env-", dir=path.parent) as folder:
        copy = Path(folder) / path.name
        copy.touch(0o600)
        _write(copy, text.encode(encoding, "surrogateescape"), path)
        copy.replace(path)


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


def _write(copy: Path, data: bytes, path: Path) -> None:
    """The whole file on the disk, with the mode and owner of the one that it replaces."""
    with copy.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    ours = copy.stat()
    if path.exists():
        # The group too, and before the mode: what a service may read, no other group may.
        there = path.stat()
        if (there.st_uid, there.st_gid) != (ours.st_uid, ours.st_gid):
            os.chown(copy, there.st_uid, there.st_gid)
        copy.chmod(there.st_mode & 0o7777)
    elif os.geteuid() == 0:
        # A calibration by sudo makes a file of the one whose folder it is.
        folder = path.parent.stat()
        os.chown(copy, folder.st_uid, folder.st_gid)
