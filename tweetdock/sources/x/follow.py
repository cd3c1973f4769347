"""Whom an account on X follows: asked for seldom, since each account read costs money."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

from tweetdock.errors import SourceError

USD_A_USER = 0.010  # https://docs.x.com/x-api/getting-started/pricing
OLD_MS = 7 * 86_400_000
MOST_PAGES = 50
NAME = re.compile(r"[A-Za-z0-9_]{1,20}")  # 15 today, and some are older
FOLLOWING = "following"


class Wishes(NamedTuple):
    """Accounts that are followed one by one, and those all of whose followed ones are."""

    accounts: tuple[str, ...]
    lists: tuple[str, ...]


def parse_follow(words: Iterable[str]) -> Wishes:
    """`@a` is an account, `@me:following` all whom @me follows; SourceError for anything else."""
    accounts: list[str] = []
    lists: list[str] = []
    for word in words:
        name, _, what = word.removeprefix("@").partition(":")
        if not NAME.fullmatch(name) or what not in ("", FOLLOWING):
            raise SourceError(f"no account on X: {word!r:.80}", cap=900.0, needs_owner=True)
        (lists if what else accounts).append(name)
    return Wishes(tuple(dict.fromkeys(accounts)), tuple(dict.fromkeys(lists)))


@dataclass(frozen=True, slots=True)
class Followed:
    """Whom `of` followed at `read_ms`, by their names."""

    of: str
    read_ms: int
    names: tuple[str, ...]

    @property
    def usd(self) -> float:
        """What it has cost to read them, `of` included."""
        return (1 + len(self.names)) * USD_A_USER

    def is_old(self, now_ms: int) -> bool:
        """Whether it is time to ask again."""
        return now_ms - self.read_ms > OLD_MS

    def dump(self) -> list[Any]:
        """As JSON has it."""
        return [self.of, self.read_ms, " ".join(self.names)]

    @classmethod
    def load(cls, entry: Any) -> Self | None:
        """What `dump` gave; None if it is none."""
        match entry:
            case [str(of), int(read_ms), str(names)] if 0 <= read_ms < 1 << 60:
                return cls(of, read_ms, tuple(n for n in names.split() if NAME.fullmatch(n)))
        return None


class Users(Protocol):
    """X's users, as bodies of its answers."""

    def user(self, name: str) -> bytes:
        """The account of that name."""
        ...

    def following(self, identity: str, token: str | None) -> bytes:
        """A page of the accounts that one follows."""
        ...


def read_followed(users: Users, name: str, now_ms: int) -> Followed:
    """Ask X whom `name` follows; SourceError if it does not tell.

    https://docs.x.com/x-api/users/follows/introduction
    """
    found = _decode(users.user(name)).get("data")
    identity = found.get("id") if isinstance(found, dict) else None
    if not isinstance(identity, str) or not identity.isdecimal():
        raise SourceError(f"X knows no account @{name}", first=60.0, cap=900.0, needs_owner=True)
    entries = _pages(users, identity)
    names = [e["username"] for e in entries if isinstance(e.get("username"), str)]
    return Followed(name, now_ms, tuple(n for n in names if NAME.fullmatch(n)))


def _pages(users: Users, identity: str) -> Iterator[dict[str, Any]]:
    token, tokens = None, set[str]()
    for _ in range(MOST_PAGES):
        answer = _decode(users.following(identity, token))
        data, meta = answer.get("data"), answer.get("meta")
        yield from (entry for entry in data or [] if isinstance(entry, dict))
        token = meta.get("next_token") if isinstance(meta, dict) else None
        if not isinstance(token, str) or not token or token in tokens:
            return
        tokens.add(token)


def _decode(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("data") or [], list | dict):
        raise SourceError("X's address answers, but not with accounts", first=5.0, cap=60.0)
    return answer
