"""What can go wrong: one root, and beside each kind the built-in that fits."""

import re
from collections.abc import Mapping, Sequence
from typing import Self


def plain(text: str) -> str:
    """A line without what would tear it: line breaks and escapes become spaces."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


class TweetDockError(Exception):
    """Anything that TweetDock itself raises."""


class SettingsError(TweetDockError, ValueError):
    """Settings that cannot be used; `problems` names all of them, a sentence each.

    What is about a setting begins with its name, and behind that `=` or a colon and a space.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def name_of(problem: str) -> str:
    """The setting that a problem is about; empty if it is about something else."""
    named = re.match(r"([A-Za-z_][^\s=]*?)(?:=|:\s)", problem)
    return named[1] if named else ""


class PostError(TweetDockError, ValueError):
    """What a source sent as a post cannot be counted as one; `str()` is what it lacks."""


class SourceError(TweetDockError, ConnectionError):
    """A source has no answer now: `str()` is a plain sentence for the owner of the gauge.

    retry_after: seconds that the server itself asked for; None leaves it to the backoff,
    which starts at `first` seconds and doubles up to `cap`.
    needs_owner: it will not mend itself, somebody must act.
    by_choice: it would answer, but is not to be asked now.
    """

    def __init__(
        self,
        detail: str,
        *,
        retry_after: float | None = None,
        first: float = 1.0,
        cap: float = 30.0,
        needs_owner: bool = False,
        by_choice: bool = False,
    ) -> None:
        # Text of others: a line break, an escape or half a surrogate pair would tear a log.
        super().__init__(plain(detail))
        self.retry_after = retry_after
        self.first = first
        self.cap = cap
        self.needs_owner = needs_owner
        self.by_choice = by_choice

    @classmethod
    def for_owner(cls, detail: str) -> Self:
        """One that will not mend itself: it is tried again, but seldom."""
        return cls(detail, first=60.0, cap=900.0, needs_owner=True)


class RefusedError(TweetDockError, ConnectionError):
    """A server's answer other than 200, with all that says why."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers
        self.body = body


class ServoError(TweetDockError, OSError):
    """The servos cannot be reached or have stopped answering."""


class UnavailableError(TweetDockError, OSError):
    """A thing that the settings demand cannot be had."""


class TornError(TweetDockError, EOFError):
    """A gzip member that is cut off or damaged."""


class LineError(TweetDockError, ValueError):
    """A line that no TweetDock wrote into an archive."""


class ArchiveError(TweetDockError, OSError):
    """The archive, or one of its files, cannot be used: `str()` says which, why, and what to do."""


class StateError(TweetDockError, OSError):
    """The state cannot be kept now: `str()` says where and why."""


class OffloadError(TweetDockError, OSError):
    """The bucket cannot be used, or does not hold what it was given: `str()` is a plain sentence.

    needs_owner: it will not mend itself, somebody must act.
    """

    def __init__(self, detail: str, *, needs_owner: bool = False) -> None:
        super().__init__(detail)
        self.needs_owner = needs_owner
