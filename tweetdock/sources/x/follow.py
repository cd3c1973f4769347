"""Whom accounts follow: lists that X is asked for now and then, which costs money."""

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.times import DAY_MS
from tweetdock.sources.x.budget import Budget
from tweetdock.sources.x.client import XClient
from tweetdock.sources.x.posts import decode, not_with, objects

log = logging.getLogger(__name__)

USD_A_USER = 0.010  # https://docs.x.com/x-api/getting-started/pricing
POSTS_A_USER = 2  # as the budget counts, which knows posts
OLD_MS = 7 * DAY_MS
MOST_USERS_A_PAGE = 1000
MOST_USERS = 50_000
USER_NAME = re.compile(r"[A-Za-z0-9_]{1,20}")  # 15 today, and some are older


class Followed(NamedTuple):
    """Whom `of` followed at `read_ms`, by their names, with spaces between."""

    of: str
    read_ms: int
    names: str

    def is_old(self, now_ms: int) -> bool:
        """Whether it is time to ask again."""
        return now_ms - self.read_ms > OLD_MS


@dataclass(slots=True)
class _Begun:
    """A list as far as it was read. token: of its next page."""

    identity: str
    token: str | None = None
    names: dict[str, None] = field(default_factory=dict)  # each once, in X's order


class FollowLists:
    """Whom accounts follow: asked of X a page at a time, as far as the day's money reaches.

    What was read of a list is kept when a later page cannot be had.
    https://docs.x.com/x-api/users/follows/introduction

    wanted: whose lists. known: those that were read before a restart. billed: what was, in posts,
    and was not told yet.
    """

    def __init__(
        self, wanted: Iterable[str], client: XClient, budget: Budget, known: Iterable[Followed] = ()
    ) -> None:
        self._wanted = tuple(wanted)
        self._client = client
        self._budget = budget
        self._begun: dict[str, _Begun] = {}
        self.billed = 0
        self._followed = {one.of: one for one in known if one.of in self._wanted}

    @property
    def followed(self) -> list[Followed]:
        """The lists that are known."""
        return list(self._followed.values())

    @property
    def names(self) -> list[str]:
        """All who are followed, as far as that is known."""
        return [name for one in self._followed.values() for name in one.names.split()]

    def is_due(self, now_ms: int) -> bool:
        """Whether a list is to be read, anew or for the first time."""
        return bool(self._due(now_ms))

    def read_due(self, now_ms: int) -> None:
        """Read the lists that are due; SourceError if one never was read."""
        for name in self._due(now_ms):
            try:
                followed = self.read(name, now_ms)
            except SourceError as error:
                if name not in self._followed:
                    raise
                # The old list does for another day.
                old = self._followed[name]
                followed = old._replace(read_ms=now_ms - OLD_MS + DAY_MS)
                log.warning("x-stream: whom @%s follows is not known anew: %s", name, error)
            else:
                number = len(followed.names.split())
                log.info(
                    "x-stream: @%s follows %d accounts; to read who they are has cost %.2f USD",
                    *(name, number, (1 + number) * USD_A_USER),
                )
            self._followed = {**self._followed, name: followed}

    def read(self, name: str, now_ms: int) -> Followed:
        """Whom `name` follows; SourceError if X does not tell, BudgetError if it costs too much."""
        begun = self._begun.get(name) or _Begun(self._identity(name))
        self._begun[name] = begun
        while self._page(begun):
            pass
        del self._begun[name]
        return Followed(name, now_ms, " ".join(filter(USER_NAME.fullmatch, begun.names)))

    def pop_billed(self) -> int:
        """What was billed; it is told now."""
        billed, self.billed = self.billed, 0
        return billed

    def _due(self, now_ms: int) -> list[str]:
        known = self._followed
        return [n for n in self._wanted if n not in known or known[n].is_old(now_ms)]

    def _identity(self, name: str) -> str:
        (found,) = _users(self._pay(lambda _: self._client.user(name), 1))[:1] or [{}]
        identity = found.get("id")
        if not isinstance(identity, str) or not identity.isdecimal():
            raise SourceError(
                f"X knows no account @{name}", "correct TWEETDOCK_FOLLOW", kind=Kind.QUERY
            )
        return identity

    def _page(self, begun: _Begun) -> bool:
        """Read one page more; whether there is another one."""
        answer = self._pay(
            lambda most: self._client.following(begun.identity, begun.token, most),
            MOST_USERS_A_PAGE,
        )
        known = len(begun.names)
        names = (user.get("username") for user in _users(answer))
        begun.names |= dict.fromkeys(name for name in names if isinstance(name, str))
        meta = answer.get("meta")
        token = meta.get("next_token") if isinstance(meta, dict) else None
        begun.token = token if isinstance(token, str) else None
        # A page that brings nobody new leads nowhere.
        return bool(begun.token) and known < len(begun.names) < MOST_USERS

    def _pay(self, ask: Callable[[int], bytes], most: int) -> dict[str, Any]:
        """An answer with so many users at the most, fewer if the day's money buys fewer."""
        with self._budget.buy(lambda: self._client.now_ms, most * POSTS_A_USER) as allowance:
            answer = decode(ask(allowance.size // POSTS_A_USER), "accounts")
            if not isinstance(answer.get("data") or [], list | dict):
                raise not_with("accounts")
        ids = [str(entry.get("id")) for entry in _users(answer)]
        versions = [f"user:{one}/{n}" for one in ids for n in range(POSTS_A_USER)]
        self.billed += self._budget.charge(versions, self._client.now_ms, allowance=allowance)
        return answer


def _users(answer: dict[str, Any]) -> list[dict[str, Any]]:
    data = answer.get("data")
    return objects([data] if isinstance(data, dict) else data)
