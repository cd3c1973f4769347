"""What can go wrong: one root, and beside each kind the built-in that fits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

LOG_IN = "open any page in a browser on this network and log in, then try again"  # a cure of many


def plain(text: str) -> str:
    """A line without what would tear it: line breaks and escapes become spaces."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


class TweetDockError(Exception):
    """Anything that TweetDock itself raises: what happened, and what its owner can do about it.

    cure: empty if it mends itself, or if nobody knows one. `str()` is both.
    """

    def __init__(self, what: str = "", cure: str = "") -> None:
        # Text of others: a line break, an escape or half a surrogate pair would tear a log.
        self.what, self.cure = plain(what), plain(cure)
        super().__init__("; ".join(filter(None, (self.what, self.cure))))


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a setting: its name, why, the value if it helps, and what to do.

    name: empty if it is about something else. cure: empty if it is to correct the setting.
    """

    name: str
    why: str
    value: str = ""
    cure: str = ""

    def __str__(self) -> str:
        named = f"{self.name}={self.value}" if self.value else self.name
        return f"{named}: {self.why}" if named else self.why


class SettingsError(TweetDockError, ValueError):
    """Settings that cannot be used; `problems` are all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class PostError(TweetDockError, ValueError):
    """What a source sent as a post cannot be counted as one; `str()` is what it lacks."""


class Kind(StrEnum):
    """What ails a source: it decides how soon it is asked again, and whether that may help."""

    CONNECTION = "connection"  # there is none, or it has ended
    STRANGER = "stranger"  # something else answers in the server's place
    SERVER = "server"  # it is out of order
    LIMIT = "limit"  # it was asked too often
    ADDRESS = "address"
    CREDENTIALS = "credentials"
    ACCOUNT = "account"
    QUERY = "query"


FOR_OWNER = frozenset({Kind.ADDRESS, Kind.CREDENTIALS, Kind.ACCOUNT, Kind.QUERY})
LONGEST_RETRY_SECONDS = 900.0
_SELDOM = 60.0, LONGEST_RETRY_SECONDS
_WAITS = dict.fromkeys((Kind.LIMIT, *FOR_OWNER), _SELDOM)
_WAITS |= {Kind.STRANGER: (5.0, 60.0), Kind.SERVER: (5.0, 320.0)}


class SourceError(TweetDockError, ConnectionError):
    """A source has no answer now.

    kind: what ails it; by that `first` and `cap`, in seconds.
    retry_after: seconds to wait, where they are known by the server's word or our own limits;
    None leaves it to the backoff, which starts at `first` and doubles up to `cap`.
    by_choice: it would answer, but is not to be asked now.
    may_have_come: the request may have reached the server, so that its answer may be billed.
    server_ms: what time the server says it is (Unix ms), if it has just said so.
    """

    def __init__(
        self,
        what: str,
        cure: str = "",
        *,
        kind: Kind = Kind.CONNECTION,
        retry_after: float | None = None,
        by_choice: bool = False,
        may_have_come: bool = False,
        server_ms: int | None = None,
    ) -> None:
        super().__init__(what, cure)
        self.kind = kind
        self.retry_after = retry_after
        self.by_choice = by_choice
        self.may_have_come = may_have_come
        self.server_ms = server_ms
        self.first, self.cap = _WAITS.get(kind, (1.0, 30.0))

    @property
    def needs_owner(self) -> bool:
        """Whether it will not mend itself, and somebody must act."""
        return self.kind in FOR_OWNER


class RefusedError(TweetDockError, ConnectionError):
    """A server's answer other than 200, with all that says why.

    server_ms: what time it was there (Unix ms), as far as somebody has found that out.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers
        self.body = body
        self.server_ms: int | None = None

    @property
    def retry_after(self) -> float | None:
        """Seconds that it asks to wait for, at most 900; None if it names no number of them.

        https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
        """
        word = self.headers.get("Retry-After", "")
        is_number = word.isascii() and word.isdigit()
        # Zero is left to the backoff: who still refuses is not to be asked again at once.
        return min(float(word), LONGEST_RETRY_SECONDS) or None if is_number else None


class ServoError(TweetDockError, OSError):
    """The servos cannot be reached or have stopped answering."""


class UnavailableError(TweetDockError, OSError):
    """A thing that the settings demand cannot be had."""


class TornError(TweetDockError, EOFError):
    """A gzip member that is cut off or damaged."""


class LineError(TweetDockError, ValueError):
    """A line that no TweetDock wrote into an archive."""


class ArchiveError(TweetDockError, OSError):
    """The archive, or one of its files, cannot be used."""


class StateError(TweetDockError, OSError):
    """The state cannot be kept now."""


class OffloadError(TweetDockError, OSError):
    """The bucket cannot be used, or does not hold what it was given.

    needs_owner: it will not mend itself, somebody must act.
    """

    def __init__(self, what: str, cure: str = "", *, needs_owner: bool = False) -> None:
        super().__init__(what, cure)
        self.needs_owner = needs_owner
