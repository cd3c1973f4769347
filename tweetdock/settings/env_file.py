"""Reading a `.env` file, and changing values in it: mode and owner stay."""

import os
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from shlex import quote

from dotenv import set_key
from dotenv.parser import Binding, parse_stream

from tweetdock.core.errors import Problem, SettingsError
from tweetdock.settings.gauge import Settings
from tweetdock.settings.parse import COMMENT
from tweetdock.settings.setting import Written, unquoted

ENV_FILE = ".env"  # in the folder where TweetDock is started

# In quotation marks or not, and what dotenv takes for a comment behind it.
_VALUE = re.compile(r"""(?s)(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|.*?)(\s+#.*)?""")


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
    problems, cure = [], f"correct that line of {path}; .env.example shows how it is written"
    values = {}
    for line, binding in _bindings(path):
        name = (binding.key or "").replace("\0", "")
        why = "not of the form NAME=value" if binding.error else ""
        if "\0" in binding.original.string:
            why = f"{name or 'it'} holds NUL characters: the file is damaged, write that line anew"
        if why:
            problems.append(Problem("", f"{path.name} line {line}: {why}", cure=cure))
        elif name:
            values[name] = Written(binding.value or "", _letters(binding))
    if problems:
        raise SettingsError(problems)
    return dict(values)


def lines_for_dotenv_only(path: Path) -> list[int]:
    """The numbers of the lines that Docker or systemd takes for something else."""
    return [
        line
        for line, binding in _bindings(path)
        if binding.key is not None
        and (
            binding.original.string.lstrip().startswith("export ")
            or unquoted(_written(binding)) != (binding.value or "")
        )
    ]


def _bindings(path: Path) -> Iterator[tuple[int, Binding]]:
    for binding in parse_stream(StringIO(_text(path), newline=None)):
        # A binding begins with the blank lines before it.
        text = binding.original.string
        yield binding.original.line + text[: len(text) - len(text.lstrip())].count("\n"), binding


def _text(path: Path) -> str:
    data = b""
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        is_utf_16 = data.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
        line = f"line {data.count(10, 0, error.start) + 1} is not UTF-8"
        why = "it is UTF-16: save it as UTF-8" if is_utf_16 else line
        raise _unreadable(path, why) from error
    except OSError as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str) -> SettingsError:
    shown = f"`ls -l {quote(str(path))}` shows its owner"
    cure = f"make it UTF-8 text that this user may read: {shown}"
    return SettingsError([Problem("", f"{path}: cannot be read: {why}", cure=cure)])


def _letters(binding: Binding) -> str:
    """The value with everything that may be part of it and that dotenv takes away."""
    letters = COMMENT.split(_written(binding))[0]
    cut = _VALUE.fullmatch(letters)
    return f"{binding.value}{cut[1]}" if cut and cut[1] else letters


def _written(binding: Binding) -> str:
    return binding.original.string.partition("=")[2].strip()


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
