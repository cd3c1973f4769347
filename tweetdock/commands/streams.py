"""Where the words of the command line speak: results on one stream, what is wrong on the other."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tweetdock.keep.files.contents import Tally


@contextmanager
def results() -> Iterator[None]:
    """While results are written to standard output, which `| head` may close before the end."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def complain(problem: object) -> None:
    """Say on standard error what is wrong."""
    sys.stderr.write(f"tweetdock: {problem}\n")


def warn_of(inputs: Iterable[Tally]) -> None:
    """Say which archives are not whole, and what became of that."""
    for tally in inputs:
        if tally.damaged:
            complain(f"{tally.path} is damaged; what can be read of it was taken")
        if tally.foreign:
            lines = counted(tally.foreign, "line")
            complain(f"{tally.path} has {lines} that no TweetDock wrote; left out")


def counted(number: int, noun: str) -> str:
    """A number of things, as a person writes it: `1 line`, `12,345 lines`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
