"""How commands answer: results on standard output, problems on standard error, an exit code."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tweetdock.core.errors import TweetDockError, UnavailableError
from tweetdock.settings.gauge import SETTINGS
from tweetdock.settings.setting import Written

if TYPE_CHECKING:
    from tweetdock.keep.archive_reader import ArchiveReader

EXIT_BUG = 1
EXIT_PROBLEMS = 1  # that the doctor has found
EXIT_SETTINGS = 2
EXIT_UNAVAILABLE = 69
EXIT_INTERRUPTED = 130

_LAST_STREAM = 2  # standard error's number


def add_settings(parser: "argparse._ActionsContainer", *, is_hidden: bool = False) -> None:
    """Add a flag for each setting that is no secret; is_hidden: without its help."""
    for setting in SETTINGS:
        if not setting.secret:
            meaning = setting.meaning.replace("%", "%%")
            if setting.default and " " not in setting.default:  # a list is too long
                meaning += f" ({setting.default})"
            told = argparse.SUPPRESS if is_hidden else meaning
            parser.add_argument(setting.flag, dest=setting.name, metavar="VALUE", help=told)


def flags_of(arguments: argparse.Namespace) -> dict[str, str]:
    """The settings that are given by flags."""
    values = vars(arguments)
    return {s.name: Written(values[s.name]) for s in SETTINGS if values.get(s.name) is not None}


def add_archives(parser: argparse.ArgumentParser) -> None:
    """Add which archives are to be read."""
    parser.add_argument(
        "archives", nargs="+", type=Path, metavar="ARCHIVE", help="such as tweets.jsonl.gz"
    )


def add_output(parser: argparse.ArgumentParser, meaning: str, *, required: bool = False) -> None:
    """Add which file is to be written."""
    parser.add_argument(
        "-o", "--output", type=Path, required=required, metavar="FILE", help=meaning
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")


def open_streams() -> None:
    """Discard what is printed to a stream that was closed before the start, as by `>&-`."""
    if sys.stdout and sys.stderr:
        return
    # The first get the numbers of the standard streams, which no other file should have.
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= _LAST_STREAM:
        pass
    sys.stdout = sys.stdout or os.fdopen(nowhere, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(nowhere, "w", closefd=False)


def is_able(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether it is a terminal with colours, in which lines can be overwritten."""
    return stream.isatty() and env.get("TERM", "") not in ("", "dumb", "unknown")


@contextmanager
def results() -> Iterator[None]:
    """Write results to standard output, which `| head` may close before the end.

    Raises UnavailableError if they cannot be written, as on a full disk.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        if isinstance(error, TweetDockError) or error.filename is not None:
            raise  # a file that is read
        discard(sys.stdout)
        why = error.strerror or str(error)
        raise UnavailableError(f"standard output cannot be written: {why}") from error


def discard(*streams: TextIO) -> None:
    """Discard what is left of streams that are gone, as Python flushes once more when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def complain(problem: object) -> None:
    """Print a problem to standard error."""
    sys.stderr.write(f"tweetdock: {problem}\n")


def warn_of(inputs: "Iterable[ArchiveReader]") -> None:
    """Print which archives are not whole, and what was left out."""
    for archive in inputs:
        if archive.damaged:
            complain(f"{archive.path} is damaged; what can be read of it was used")
        if archive.foreign:
            lines = counted(archive.foreign, "line")
            complain(f"{archive.path} has {lines} that TweetDock did not write; they were left out")


def counted(number: int, noun: str) -> str:
    """A number of things, as a person writes it: `1 line`, `12,345 lines`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
