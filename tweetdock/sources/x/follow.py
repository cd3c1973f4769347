"""Whom an account on X follows: asked for seldom, since each account read costs money."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self

from tweetdock.core.errors import RefusedError, SourceError
from tweetdock.sources.x.budget import Budget

USD_A_USER = 0.010  # https://docs.x.com/x-api/getting-started/pricing
POSTS_A_USER = 2  # as the budget counts, which knows posts
OLD_MS = 7 * 86_400_000
LARGEST_PAGE = 1000
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

    def following(self, identity: str, token: str | None, most: int) -> bytes:
        """A page of the accounts that one follows, of so many at the most."""
        ...


@dataclass(slots=True)
class _Begun:
    """A list as far as it was read. token: of its next page."""

    identity: str
    token: str | None = None
    names: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)


class FollowLists:
    """Asks X whom accounts follow, a page at a time, as far as the day's money reaches.

    What was read of a list is kept when a later page cannot be had. billed: is told of what was
    paid, in posts. https://docs.x.com/x-api/users/follows/introduction
    """

    def __init__(self, users: Users, budget: Budget, billed: Callable[[int], object]) -> None:
        self._users = users
        self._budget = budget
        self._billed = billed
        self._begun: dict[str, _Begun] = {}

    def read(self, name: str, now_ms: int) -> Followed:
        """Whom `name` follows; SourceError if X does not tell, BudgetError if it costs too much."""
        begun = self._begun.get(name) or _Begun(self._identity(name, now_ms))
        self._begun[name] = begun
        while self._page(begun, now_ms):
            pass
        del self._begun[name]
        return Followed(name, now_ms, tuple(n for n in begun.names if NAME.fullmatch(n)))

    def _identity(self, name: str, now_ms: int) -> str:
        found = self._pay(lambda _: self._users.user(name), 1, now_ms).get("data")
        identity = found.get("id") if isinstance(found, dict) else None
        if not isinstance(identity, str) or not identity.isdecimal():
            sentence = f"X knows no account @{name}"
            raise SourceError(sentence, first=60.0, cap=900.0, needs_owner=True)
        return identity

    def _page(self, begun: _Begun, now_ms: int) -> bool:
        """Read one page more; whether there is another one."""
        answer = self._pay(
            lambda most: self._users.following(begun.identity, begun.token, most),
            LARGEST_PAGE,
            now_ms,
        )
        begun.names += [e["username"] for e in _users(answer) if isinstance(e.get("username"), str)]
        meta = answer.get("meta")
        token = meta.get("next_token") if isinstance(meta, dict) else None
        if not isinstance(token, str) or not token or token in begun.tokens:
            return False
        begun.tokens.add(token)
        begun.token = token
        return len(begun.tokens) < MOST_PAGES

    def _pay(self, ask: Callable[[int], bytes], most: int, now_ms: int) -> dict[str, Any]:
        """An answer with so many users at the most, fewer if the day's money buys fewer."""
        allowance = self._budget.allow(now_ms, most * POSTS_A_USER)
        try:
            answer = _decode(ask(allowance.size // POSTS_A_USER))
        except RefusedError:
            self._budget.free(allowance)
            raise
        except SourceError:
            self._budget.lose(allowance, now_ms)
            raise
        ids = [str(entry.get("id")) for entry in _users(answer)]
        versions = [f"user:{one}/{n}" for one in ids for n in range(POSTS_A_USER)]
        self._billed(self._budget.take(versions, now_ms, allowance=allowance))
        return answer


def _users(answer: dict[str, Any]) -> list[dict[str, Any]]:
    data = answer.get("data") or []
    return [one for one in (data if isinstance(data, list) else [data]) if isinstance(one, dict)]


def _decode(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("data") or [], list | dict):
        raise SourceError("X's address answers, but not with accounts", first=5.0, cap=60.0)
    return answer
