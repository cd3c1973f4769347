"""What X's stream and its search know together, each in a thread of its own."""

import json
import logging
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import SourceError
from tweetdock.core.post import Span
from tweetdock.core.times import DAY_MS
from tweetdock.settings.x_query import Queries, build_queries
from tweetdock.sources.x.plan import FillPlan, SearchRequest, Sweep
from tweetdock.sources.x.rules import OLD_MS, Followed

log = logging.getLogger(__name__)

MOST_CONNECTS = 45  # X allows 50 in 15 minutes, ours and whoever else's the app is
CONNECTS_MS = 15 * 60_000
LASTING_MS = 20_000
NETWORK_STEP, NETWORK_CAP = 0.25, 16.0

RULES_SETTLE_MS = 30_000  # a rule holds after about 20 s
CHECK_MS = 60_000  # X allows 450 checks in 15 min
MOST_SEARCHES = 300  # that X's 450 in 15 min read every minute, and a gap besides


class Reconnects:
    """The connects made and what became of them.

    After a broken connection the first retry is at once, the next ones 0.25 s later each, up to
    16 s; a refusal is answered by waits that double. Failures that take turns do not start each
    other over: only a connection that lasted does. https://docs.x.com/x-api/fundamentals/handling-disconnections

    connects_ms: when connects were made before a restart.
    """

    def __init__(self, connects_ms: Iterable[int] = ()) -> None:
        self._connects_ms = sorted(connects_ms)[-MOST_CONNECTS:]
        self._opened_ms: int | None = None
        self._network_wait = 0.0
        self._refusal_waits: dict[tuple[float, float], float] = {}

    @property
    def connects_ms(self) -> tuple[int, ...]:
        """When connects were made, as far as they still matter, in unix milliseconds."""
        return tuple(self._connects_ms)

    def wait_seconds(self, now_ms: int) -> float:
        """Seconds until one more connect may be made."""
        # A time to come is from before our clock was corrected.
        times = (min(at_ms, now_ms) for at_ms in self._connects_ms)
        self._connects_ms = [at_ms for at_ms in times if at_ms > now_ms - CONNECTS_MS]
        if len(self._connects_ms) < MOST_CONNECTS:
            return 0.0
        return (self._connects_ms[-MOST_CONNECTS] + CONNECTS_MS - now_ms) / 1000

    def connecting(self, now_ms: int) -> None:
        """A connect is made."""
        self._connects_ms.append(now_ms)

    def not_reached(self) -> None:
        """The last connect never came as far as X, and does not count there."""
        del self._connects_ms[-1:]

    def opened(self, now_ms: int) -> None:
        """X has let us in."""
        self._opened_ms = now_ms

    def broke(self, now_ms: int) -> float:
        """The connection has ended, or none came about; how many seconds to wait."""
        if self._opened_ms is not None and now_ms - self._opened_ms >= LASTING_MS:
            self._network_wait = 0.0
            self._refusal_waits.clear()
        self._opened_ms = None
        wait = self._network_wait
        self._network_wait = min(NETWORK_CAP, wait + NETWORK_STEP)
        return max(wait, self.wait_seconds(now_ms))

    def refused(self, now_ms: int, first: float, cap: float) -> float:
        """X has refused; how many seconds to wait: `first`, doubling up to `cap`."""
        wait = self._refusal_waits.get((first, cap), first)
        self._refusal_waits[first, cap] = min(cap, wait * 2)
        return max(wait, self.wait_seconds(now_ms))


class DueSearch(NamedTuple):
    """One search to make: by which text, which of the queries that is, and what of it."""

    text: str
    query: int
    request: SearchRequest


class StreamState:
    """The one place of what both channels of `x-stream` share; what changes it takes its lock.

    hashtags, query, accounts: what is asked for; `accounts` are named one by one. lists: whose
    list of followed accounts is asked for, too. cursor: where to go on from.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        hashtags: Iterable[str],
        query: str,
        accounts: Iterable[str],
        lists: Iterable[str],
        window_ms: int,
        look_back_ms: int,
        cursor: str,
    ) -> None:
        self.clock = clock
        self.window_ms = window_ms
        self._hashtags, self._query = tuple(hashtags), query
        self._accounts, self._lists = tuple(accounts), tuple(lists)
        self._lock = threading.Lock()
        known = _loaded(cursor)
        # One that cannot be read costs the window's posts once more, and no truth.
        self._reconnects = Reconnects(_numbers(known.get("connects")))
        self._rules_hold_ms = max(_numbers([known.get("rules_ms")]), default=0)
        followed = [Followed.load(entry) for entry in _list(known.get("followed"))]
        self._followed = {one.of: one for one in followed if one and one.of in self._lists}
        self._followed_json = ""
        self._rule_ids: frozenset[str] = frozenset()
        self._checked_ms = self._opened_ms = 0
        self._has_lost_rules = False
        self._owed = 0
        self.queries: Queries | None = None  # not known before all lists are
        self._sweep: Sweep | None = None
        self._fill = FillPlan(
            window_ms=window_ms,
            look_back_ms=look_back_ms,
            unsettled=_spans(known.get("unsettled")),
        )
        with suppress(SourceError):  # the stream says what X would not take
            self.prepare()

    def prepare(self) -> None:
        """Build the queries, if all is known for it; SourceError says what X would not take."""
        with self._lock:
            if any(name not in self._followed for name in self._lists):
                return
            names = {name.casefold(): name for name in self._accounts}
            for one in self._followed.values():
                names |= {name.casefold(): name for name in one.names}
            # In an order of their own: X's may be another one each time.
            accounts = [names[key] for key in sorted(names)]
            queries = build_queries(self._hashtags, accounts, self._query)
            if queries != self.queries:
                self.queries = queries
                self._sweep = None
                if len(queries.searches) > MOST_SEARCHES:
                    log.warning(
                        "x-stream: the accounts followed take %d searches, which X's rate limit "
                        "does not allow each minute: gaps are filled slowly, or never",
                        len(queries.searches),
                    )

    def lists_due(self, now_ms: int) -> list[str]:
        """Whose list of followed accounts is to be read, anew or for the first time."""
        with self._lock:
            known = self._followed
            return [n for n in self._lists if n not in known or known[n].is_old(now_ms)]

    def put_off(self, name: str, now_ms: int) -> bool:
        """Go on with the old list for a day; False if there is none."""
        with self._lock:
            known = self._followed.get(name)
            if known is None:
                return False
            self._followed[name] = replace(known, read_ms=now_ms - OLD_MS + DAY_MS)
            self._followed_json = ""
            return True

    def follow(self, followed: Followed) -> None:
        """A list was read."""
        with self._lock:
            self._followed[followed.of] = followed
            self._followed_json = ""

    def cursor(self) -> str:
        """What both go on from after a restart, as JSON."""
        with self._lock:
            cursor = {
                "connects": self._reconnects.connects_ms,
                "rules_ms": self._rules_hold_ms,
                "unsettled": self._fill.unsettled,
            }
            if not self._followed_json:  # thousands of names, which seldom change
                followed = [one.dump() for one in self._followed.values()]
                self._followed_json = json.dumps(followed, separators=(",", ":"))
            head = json.dumps(cursor, separators=(",", ":")).removesuffix("}")
            return f'{head},"followed":{self._followed_json}}}'

    def owe(self, billed: int) -> None:
        """So much was billed, in posts, that no batch has told yet."""
        with self._lock:
            self._owed += billed

    def owed(self) -> int:
        """The same, to be told by the next batch."""
        with self._lock:
            owed, self._owed = self._owed, 0
            return owed

    # What the search is to read, and has read.

    def due_search(self, seen: Spans) -> DueSearch | None:
        """The search that is due, given what has been seen; None if there is nothing to ask."""
        now_ms = self.clock.now_ms()
        with self._lock:
            if not self.queries:
                return None
            texts = self.queries.searches
            found = self._sweep and self._sweep.next(now_ms - self.window_ms)
            if not found and (span := self._fill.next(seen, now_ms)):
                self._sweep = Sweep(span, len(texts))
                found = self._sweep.next(now_ms - self.window_ms)
            return DueSearch(texts[found[0]], *found) if found else None

    def read(self, due: DueSearch, span: Span, served_ms: int) -> Span | None:
        """A search has read a stretch by `served_ms`; what of the window is complete by that."""
        with self._lock:
            if self._sweep is None:
                return None  # whom we follow has changed meanwhile
            complete = self._sweep.read(due.query, span, served_ms)
            self._fill.read(complete, self._sweep.begun_ms)
            return complete if complete.until_ms > complete.since_ms else None

    # The stream's connections.

    def wait_seconds(self, now_ms: int) -> float:
        """Seconds until the stream may be connected to once more."""
        with self._lock:
            return self._reconnects.wait_seconds(now_ms)

    def connecting(self, now_ms: int) -> None:
        """The stream is connected to."""
        with self._lock:
            self._reconnects.connecting(now_ms)

    def not_reached(self) -> None:
        """The connect never came as far as X."""
        with self._lock:
            self._reconnects.not_reached()

    def rules_changed(self, now_ms: int) -> None:
        """Rules were added, and hold a while later."""
        with self._lock:
            self._rules_hold_ms = now_ms + RULES_SETTLE_MS

    def check_is_due(self, now_ms: int) -> bool:
        """Whether it is time to see if the open stream's rules are still there."""
        with self._lock:
            is_open = self._fill.live_ms is not None and not self._has_lost_rules
            return is_open and now_ms - self._checked_ms >= CHECK_MS

    def rules_are(self, ids: Iterable[str], asked_ms: int) -> None:
        """X was asked which rules there are: these."""
        with self._lock:
            if asked_ms < self._opened_ms:  # of another connection
                return
            if self._rule_ids <= set(ids):
                self._checked_ms = asked_ms
            else:
                self._has_lost_rules = True

    @property
    def has_lost_rules(self) -> bool:
        """Whether the open stream lacks a rule of its own; deleted and added it is another one."""
        return self._has_lost_rules

    def opened(self, since_ms: int, rule_ids: Iterable[str], checked_ms: int) -> None:
        """The stream is there, and brings every post from that moment on, if its rules hold.

        checked_ms: when the rules were there.
        """
        with self._lock:
            known, self._rule_ids = self._rule_ids, frozenset(rule_ids)
            self._has_lost_rules = False
            self._checked_ms, self._opened_ms = checked_ms, self.clock.now_ms()
            if known and not self._rule_ids <= known:  # whoever has added it meanwhile
                self._rules_hold_ms = max(self._rules_hold_ms, self._opened_ms + RULES_SETTLE_MS)
            self._reconnects.opened(self._opened_ms)
            self._fill.stream_begins(max(since_ms, self._rules_hold_ms))

    def line_came(self, now_ms: int) -> Span:
        """The stream has brought a line; since when it brings every post, and until when for sure.

        Not until now: its rules may have been deleted after the last check.
        """
        with self._lock:
            since_ms = self._fill.live_ms or now_ms
            until_ms = max(since_ms, min(now_ms, self._checked_ms))
            self._fill.line_came(until_ms)
            return Span(since_ms, until_ms)

    def stumbled(self, now_ms: int) -> None:
        """The stream has brought a line that cannot be read, of just now: the search is to."""
        with self._lock:
            self._fill.stream_ends()
            self._fill.stream_begins(max(now_ms, self._rules_hold_ms))

    def broke(self, now_ms: int) -> float:
        """The stream has ended, or could not be reached; seconds to wait."""
        with self._lock:
            self._fill.stream_ends()
            return self._reconnects.broke(now_ms)

    def refused(self, now_ms: int, first: float, cap: float) -> float:
        """X has refused; seconds to wait."""
        with self._lock:
            return self._reconnects.refused(now_ms, first, cap)


def _loaded(cursor: str) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        known = json.loads(cursor)
        if isinstance(known, dict):
            return known
    return {}


def _list(thing: Any) -> list[Any]:
    return thing if isinstance(thing, list) else []


def _numbers(things: Any) -> list[int]:
    return [n for n in _list(things) if type(n) is int and 0 <= n < 1 << 60]


def _spans(things: Any) -> list[Span]:
    pairs = [_numbers(thing) for thing in _list(things)]
    return [Span(*pair) for pair in pairs if len(pair) == 2]
