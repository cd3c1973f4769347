"""Saving settings in a `.env` file: comments, order, mode and owner stay, all lines or none."""

import os
import re
import tempfile
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv import set_key
from dotenv.parser import parse_stream

# set_key takes the blank lines above a name for a part of it, and drops them.
_BLANK, _MARKED = re.compile(r"(?m)^[ \t]*$(?=\n)"), "#\x00"


def save(path: Path, values: Mapping[str, str]) -> None:
    """Set names to values that need no quotes; raises OSError, and then nothing has changed.

    A file that is not there is made, for its owner only. Of a link it is not known who else
    relies on it: it is left alone.
    """
    if path.is_symlink():
        raise OSError(f"{path} is a link to {path.readlink()}")
    is_new = not path.exists()
    with tempfile.TemporaryDirectory(prefix=".env-", dir=path.parent) as folder:
        copy = Path(folder) / path.name
        copy.touch(0o600)
        data = b"" if is_new else path.read_bytes()
        encoding = "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
        text = data.decode(encoding)
        copy.write_text(_BLANK.sub(_MARKED, text), encoding=encoding)
        for name, value in values.items():
            comment, is_export = _dress(text, name)
            set_key(
                copy, name, value + comment, quote_mode="never", export=is_export, encoding=encoding
            )
        changed = copy.read_text(encoding=encoding).replace(_MARKED, "")
        _write(copy, changed.encode(encoding), path)
        copy.replace(path)


def _write(copy: Path, data: bytes, path: Path) -> None:
    """The whole file on the disk, with the mode and owner of the one that it replaces."""
    with copy.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    model = path if path.exists() else path.parent
    if path.exists():
        copy.chmod(path.stat().st_mode & 0o7777)
    # A calibration by sudo must not take the file from its owner.
    if model.stat().st_uid != copy.stat().st_uid:
        os.chown(copy, model.stat().st_uid, model.stat().st_gid)


def _dress(text: str, name: str) -> tuple[str, bool]:
    """The comment behind a name's value, and whether it is exported: set_key would drop both."""
    for binding in parse_stream(StringIO(text)):
        if binding.key == name:
            line = binding.original.string.strip()
            comment = re.search(r"\s+#.*", line.partition("=")[2])
            return comment[0] if comment else "", line.startswith("export ")
    return "", False
