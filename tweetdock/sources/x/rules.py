"""The rules of X's stream: which of them are ours, which to delete and which to add."""

import json
import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, Self

from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.times import DAY_MS
from tweetdock.sources.x.budget import Budget

log = logging.getLogger(__name__)

TAG = "tweetdock"  # by this beginning of a rule's tag we know our own
MOST_RULES = 1000  # on self-serve plans
RULES_AT_ONCE = 25  # of 1,000 characters at the most, that is a small request

USD_A_USER = 0.010  # https://docs.x.com/x-api/getting-started/pricing
POSTS_A_USER = 2  # as the budget counts, which knows posts
OLD_MS = 7 * DAY_MS
MOST_USERS_A_PAGE = 1000
MOST_USER_PAGES = 50
USER_NAME = re.compile(r"[A-Za-z0-9_]{1,20}")  # 15 today, and some are older


class Rule(NamedTuple):
    """A rule as X keeps it until it is deleted, whoever added it."""

    id: str
    value: str
    tag: str = ""


class RuleChanges(NamedTuple):
    """What turns the rules there are into those that are wanted.

    delete: ids. add: values. ids: of the wanted rules that are there, by value.
    """

    delete: tuple[str, ...]
    add: tuple[str, ...]
    ids: dict[str, str]


def reconcile(there: Iterable[Rule], wanted: Sequence[str]) -> RuleChanges:
    """What to delete and to add; others' rules are left alone.

    A wanted rule that is somebody else's is used as it is: X takes no second one of its value.
    SourceError if there would be more rules than X takes.
    """
    there = tuple(there)
    by_key = {rule_key(rule.value): rule.id for rule in there}
    ids = {value: by_key[rule_key(value)] for value in wanted if rule_key(value) in by_key}
    delete = [r.id for r in there if r.tag.startswith(TAG) and r.id not in ids.values()]
    add = tuple(value for value in dict.fromkeys(wanted) if value not in ids)
    if len(there) - len(delete) + len(add) > MOST_RULES:
        raise SourceError(
            f"X takes {MOST_RULES} rules, and {len(wanted)} would be needed beside the "
            f"{len(there) - len(delete) - len(ids)} of others",
            "name fewer accounts in TWEETDOCK_FOLLOW, or fewer hashtags",
            kind=Kind.QUERY,
        )
    return RuleChanges(tuple(delete), add, ids)


def parse_rules(body: bytes) -> tuple[Rule, ...]:
    """X's list of rules; SourceError if it is none.

    https://docs.x.com/x-api/posts/filtered-stream/integrate/build-a-rule
    """
    return tuple(_rules(_decode(body).get("data") or []))


def parse_added(body: bytes) -> dict[str, str]:
    """The ids of the rules that X has added or had already, by the `rule_key` of each.

    SourceError if it does not take one of them.
    """
    answer = _decode(body)
    ids = {rule_key(rule.value): rule.id for rule in _rules(answer.get("data") or [])}
    errors = answer.get("errors") or []
    for error in errors if isinstance(errors, list) else []:
        if not isinstance(error, dict):
            continue
        if str(error.get("title")).casefold() != "duplicaterule":
            raise SourceError(
                f"X does not take the rule {error.get('value')!s:.80}: {_said(error)}",
                "change TWEETDOCK_X_QUERY, TWEETDOCK_FOLLOW or the hashtags",
                kind=Kind.QUERY,
            )
        ids |= {rule_key(rule.value): rule.id for rule in _rules([error])}
    return ids


def rule_key(value: str) -> str:
    """What two rules have in common that are the same one, however X echoes it."""
    return " ".join(unicodedata.normalize("NFC", value).split())


def in_parts(things: Sequence[str]) -> Iterator[Sequence[str]]:
    """So many at once as X is sent in one request."""
    for start in range(0, len(things), RULES_AT_ONCE):
        yield things[start : start + RULES_AT_ONCE]


def _rules(entries: Any) -> Iterator[Rule]:
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict):
            continue
        identity, value, tag = entry.get("id"), entry.get("value"), entry.get("tag")
        if isinstance(identity, str | int) and isinstance(value, str):
            yield Rule(str(identity), value, tag if isinstance(tag, str) else "")


def _decode(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _no_rules("but not with JSON, as the login page of a Wi-Fi does") from error
    if not isinstance(answer, dict) or not answer.keys() & {"data", "meta", "errors"}:
        raise _no_rules("but not with rules")
    return answer


def _no_rules(what: str) -> SourceError:
    return SourceError(f"X's address answers, {what}", kind=Kind.STRANGER)


def _said(error: dict[str, Any]) -> str:
    details = error.get("details")
    said = details[0] if isinstance(details, list) and details else None
    said = said or error.get("detail") or error.get("message") or error.get("title")
    return " ".join(said.split())[:300] if isinstance(said, str) else "no reason given"


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
                return cls(of, read_ms, tuple(n for n in names.split() if USER_NAME.fullmatch(n)))
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
    """Whom accounts follow: asked of X a page at a time, as far as the day's money reaches.

    What was read of a list is kept when a later page cannot be had.
    https://docs.x.com/x-api/users/follows/introduction

    wanted: whose lists. known: of what `dump` gave before a restart; what is odd is left out.
    """

    def __init__(
        self, wanted: Iterable[str], users: Users, budget: Budget, known: Any = None
    ) -> None:
        self._wanted = tuple(wanted)
        self._users = users
        self._budget = budget
        self._begun: dict[str, _Begun] = {}
        self._billed = 0
        self._dumped = ""
        kept = [Followed.load(entry) for entry in (known if isinstance(known, list) else [])]
        self._followed = {one.of: one for one in kept if one and one.of in self._wanted}

    @property
    def names(self) -> list[str] | None:
        """All who are followed; None while a list is not known."""
        if self._followed.keys() != set(self._wanted):
            return None
        return [name for one in self._followed.values() for name in one.names]

    def dump(self) -> str:
        """The lists as JSON."""
        if not self._dumped:  # thousands of names, which seldom change
            followed = [one.dump() for one in self._followed.values()]
            self._dumped = json.dumps(followed, separators=(",", ":"))
        return self._dumped

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
                followed = replace(old, read_ms=now_ms - OLD_MS + DAY_MS)
                log.warning("x-stream: whom @%s follows is not known anew: %s", name, error)
            else:
                log.info(
                    "x-stream: @%s follows %d accounts; to read who they are has cost %.2f USD",
                    *(name, len(followed.names), followed.usd),
                )
            self._followed = {**self._followed, name: followed}
            self._dumped = ""

    def read(self, name: str, now_ms: int) -> Followed:
        """Whom `name` follows; SourceError if X does not tell, BudgetError if it costs too much."""
        begun = self._begun.get(name) or _Begun(self._identity(name, now_ms))
        self._begun[name] = begun
        while self._page(begun, now_ms):
            pass
        del self._begun[name]
        return Followed(name, now_ms, tuple(n for n in begun.names if USER_NAME.fullmatch(n)))

    def pop_billed(self) -> int:
        """What was billed, in posts, and was not told yet."""
        billed, self._billed = self._billed, 0
        return billed

    def _due(self, now_ms: int) -> list[str]:
        known = self._followed
        return [n for n in self._wanted if n not in known or known[n].is_old(now_ms)]

    def _identity(self, name: str, now_ms: int) -> str:
        found = self._pay(lambda _: self._users.user(name), 1, now_ms).get("data")
        identity = found.get("id") if isinstance(found, dict) else None
        if not isinstance(identity, str) or not identity.isdecimal():
            raise SourceError(
                f"X knows no account @{name}", "correct TWEETDOCK_FOLLOW", kind=Kind.QUERY
            )
        return identity

    def _page(self, begun: _Begun, now_ms: int) -> bool:
        """Read one page more; whether there is another one."""
        answer = self._pay(
            lambda most: self._users.following(begun.identity, begun.token, most),
            MOST_USERS_A_PAGE,
            now_ms,
        )
        begun.names += [e["username"] for e in _users(answer) if isinstance(e.get("username"), str)]
        meta = answer.get("meta")
        token = meta.get("next_token") if isinstance(meta, dict) else None
        if not isinstance(token, str) or not token or token in begun.tokens:
            return False
        begun.tokens.add(token)
        begun.token = token
        return len(begun.tokens) < MOST_USER_PAGES

    def _pay(self, ask: Callable[[int], bytes], most: int, now_ms: int) -> dict[str, Any]:
        """An answer with so many users at the most, fewer if the day's money buys fewer."""
        allowance = self._budget.allow(now_ms, most * POSTS_A_USER)
        try:
            answer = _decode_accounts(ask(allowance.size // POSTS_A_USER))
        except SourceError as error:
            if error.may_have_come:
                self._budget.lose(allowance, now_ms)
            else:
                self._budget.free(allowance)
            raise
        ids = [str(entry.get("id")) for entry in _users(answer)]
        versions = [f"user:{one}/{n}" for one in ids for n in range(POSTS_A_USER)]
        self._billed += self._budget.charge(versions, now_ms, allowance=allowance)
        return answer


def _users(answer: dict[str, Any]) -> list[dict[str, Any]]:
    data = answer.get("data") or []
    return [one for one in (data if isinstance(data, list) else [data]) if isinstance(one, dict)]


def _decode_accounts(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("data") or [], list | dict):
        what = "X's address answers, but not with accounts"
        raise SourceError(what, kind=Kind.STRANGER, may_have_come=True)
    return answer
