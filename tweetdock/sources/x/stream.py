"""X's filtered stream as a source: posts within moments, by rules of ours."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Known
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.post import Batch, fold
from tweetdock.core.times import duration
from tweetdock.settings.networks import XSettings
from tweetdock.settings.x_query import Queries, build_queries
from tweetdock.sources.polling import Pause
from tweetdock.sources.x.budget import Budget
from tweetdock.sources.x.client import XClient
from tweetdock.sources.x.follow import Followed, FollowLists
from tweetdock.sources.x.posts import Entry, Wanted, parse_line
from tweetdock.sources.x.rules import RuleChanges, in_parts, reconcile, rule_key
from tweetdock.sources.x.search import SECONDS_A_QUERY, XSearch

if TYPE_CHECKING:
    from tweetdock.sources.http import LineStream

log = logging.getLogger(__name__)

SEARCH_SECONDS = 60.0  # how often the same is searched for
CHECK_MS = 300_000  # so often it is seen to that the rules are still there
MOST_CONNECTS = 45  # X allows 50 in 15 minutes, ours and whoever else's the app is
CONNECTS_MS = 15 * 60_000


class Connects:
    """The connects made, never more than X allows, whoever asks for them.

    made_ms: when the last ones were made, in Unix ms; those of before a restart at first.
    """

    def __init__(self, made_ms: Iterable[int] = ()) -> None:
        self.made_ms = list(made_ms)

    def add(self, now_ms: int) -> None:
        """One more is made; SourceError if that is to wait."""
        # A time to come is from before our clock was corrected.
        times = sorted(min(at_ms, now_ms) for at_ms in self.made_ms)
        self.made_ms = [at_ms for at_ms in times if at_ms > now_ms - CONNECTS_MS][-MOST_CONNECTS:]
        if len(self.made_ms) == MOST_CONNECTS:
            raise SourceError(
                "X's stream was connected to as often as X allows in 15 min",
                retry_after=(self.made_ms[0] + CONNECTS_MS - now_ms) / 1000,
            )
        self.made_ms.append(now_ms)

    def drop_last(self) -> None:
        """The last one never came as far as X, and does not count there."""
        del self.made_ms[-1:]


def _left_off(cursor: str) -> tuple[list[int], list[Followed]]:
    """The connects made and the lists read by the feed's cursor.

    One that cannot be read costs the price of the lists, and no truth.
    """
    with suppress(ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        left = json.loads(cursor)
        followed = [Followed(str(a), int(b), str(c)) for a, b, c in left.get("followed", ())]
        return [int(at_ms) for at_ms in left.get("connects", ())], followed
    return [], []


class XStream:
    """The stream of one app on X, one piece a poll; a broken one is connected to anew.

    It makes nothing complete: what a stream leaves out it does not say. That is left to the
    `search` beside it, for a thread of its own, by which each post is found once more.

    x: if it has a query, that goes instead of the hashtags; the stream takes the bearer token only.
    cursor: where to go on from. Nothing is asked yet.
    """

    channel = "stream"

    def __init__(
        self,
        hashtags: Sequence[str],
        x: XSettings,
        *,
        clock: Clock,
        budget: Budget,
        window_seconds: float,
        keeps_raw: bool = False,
        cursor: str = "",
    ) -> None:
        self._hashtags, self._query = hashtags, x.query
        self._accounts = [account.name for account in x.follow if not account.is_list]
        self._clock = clock
        self._budget = budget
        self._keeps_raw = keeps_raw
        connects, followed = _left_off(cursor)
        self._client = XClient(x, clock=clock, budget=budget, keeps_raw=keeps_raw)
        lists = [account.name for account in x.follow if account.is_list]
        self._lists = FollowLists(lists, self._client, self._budget, followed)
        self._connects = Connects(connects)
        self._queries = Queries((), (), ())  # not known before all lists are
        self.search = XSearch(
            lambda: self._queries.searches,
            x,
            clock=clock,
            budget=budget,
            window_seconds=window_seconds,
            poll_seconds=SEARCH_SECONDS,
            keeps_raw=keeps_raw,
            cursor=cursor,
            source="x-stream",
            channel="search",
            beside=self._left,
        )
        self.feed = self.search.feed
        self._wanted = Wanted(frozenset())  # by the rules of the stream that is open
        self._checked_ms = 0
        # Once a kind.
        self._warn = cache(
            partial(log.warning, "x-stream: a line that cannot be read is left out: %s")
        )
        self._stream: LineStream | None = None

    def _left(self) -> dict[str, Any]:
        """What `_left_off` goes on from."""
        return {"connects": self._connects.made_ms, "followed": self._lists.followed}

    def poll(self, _: Known) -> Iterator[Batch]:
        """Connect if need be, and wait for the next piece: one Batch, if it has a whole line.

        SourceError when X does not deliver.
        """
        try:
            if self._stream is None:
                yield from self._connect()
            yield from self._batches(self._read())
            self._budget.check_stream(self._client.now_ms)
        except SourceError:
            self._end()
            raise

    def pause(self, _: Known) -> Pause:
        """None: the next piece is waited for."""
        return Pause(0.0)

    def cut(self) -> None:
        """End it for good, from another thread."""
        self._client.cut()

    def close(self) -> None:
        """Leave the stream, and let go of the connections."""
        self._end()
        self._client.close()

    def _connect(self) -> Iterator[Batch]:
        try:
            server_ms = self._open()
        except SourceError:
            if self._lists.billed:  # of which not all were to be had
                yield self._batch([])
            raise
        yield self._batch([], server_ms)

    def _open(self) -> int | None:
        """Connect by the rules that are wanted; what time it is at X, if it says so."""
        queries = self._prepare(self._clock.now_ms())
        # Not before: the search goes by these queries, too, and may have money left.
        self._budget.check_stream(self._client.now_ms)
        self._checked_ms = self._clock.now_ms()
        there = self._client.rules()
        changes = reconcile(there, queries.rules)
        if there:
            server_ms = self._begin()
            # Not before: whom X gives no stream may be beside another gauge, whose rules they are.
            ids = self._change(changes)
        else:  # without any rule X gives no stream
            ids = self._change(changes)
            server_ms = self._begin()
        self._wanted = Wanted(
            tag_rules=frozenset(ids[rule] for rule in queries.tag_rules),
            other_rules=frozenset(ids[rule] for rule in queries.other_rules),
            tags=frozenset(() if self._query else map(fold, self._hashtags)),
        )
        return server_ms

    def _prepare(self, now_ms: int) -> Queries:
        """What is to be asked for; SourceError if that is not known, or X would not take it."""
        self._lists.read_due(now_ms)
        names = {name.casefold(): name for name in (*self._accounts, *self._lists.names)}
        # In an order of their own: X's may be another one each time.
        accounts = [names[key] for key in sorted(names)]
        queries = build_queries(self._hashtags, accounts, self._query)
        if not queries.rules:
            what = "there is nothing to ask X for"
            raise SourceError(what, "set TWEETDOCK_HASHTAGS", kind=Kind.QUERY)
        if queries != self._queries:
            self._queries = queries
            if (seconds := len(queries.searches) * SECONDS_A_QUERY) > SEARCH_SECONDS:
                log.warning(
                    "x-stream: the accounts followed take %d searches, which X's rate limit "
                    "allows every %s: a post that the stream leaves out is found late",
                    *(len(queries.searches), duration(seconds)),
                )
        return queries

    def _change(self, changes: RuleChanges) -> dict[str, str]:
        """Make the changes; the ids of the wanted rules."""
        ids = dict(changes.ids)
        for part in in_parts(changes.delete):
            self._client.delete_rules(part)
        for values in in_parts(changes.add):
            added = self._client.add_rules(values)
            ids |= {value: added[rule_key(value)] for value in values if rule_key(value) in added}
        if changes.add or changes.delete:
            numbers = len(changes.add), len(changes.delete), len(changes.ids)
            log.info("x-stream: %d rules added, %d deleted, %d kept", *numbers)
        if missing := [rule for rule in changes.add if rule not in ids]:
            raise SourceError(f"X does not say whether it took the rule {missing[0]:.80}")
        return ids

    def _begin(self) -> int | None:
        self._connects.add(self._clock.now_ms())
        try:
            self._stream, server_ms = self._client.open()
        except SourceError as error:
            if error.kind in (Kind.CONNECTION, Kind.STRANGER) and not error.may_have_come:
                self._connects.drop_last()
            raise
        return server_ms

    def _read(self) -> list[bytes]:
        """Wait for the next piece; its lines."""
        assert self._stream is not None  # noqa: S101 - just connected, or open before
        now_ms = self._clock.now_ms()
        if self._lists.is_due(now_ms):
            raise SourceError("X is to be asked anew who is followed")
        if abs(now_ms - self._checked_ms) >= CHECK_MS:
            self._checked_ms = now_ms
            self._check_rules()
        return self._stream.read()

    def _check_rules(self) -> None:
        try:
            there = {rule.id for rule in self._client.rules()}
        except SourceError as error:  # which proves nothing
            log.info("x-stream: X does not say if the rules are still there: %s", error)
            return
        if not self._wanted.tag_rules | self._wanted.other_rules <= there:
            raise SourceError("somebody has changed this gauge's rules on X")

    def _end(self) -> None:
        if self._stream:
            self._stream.close()
        self._stream = None

    def _batches(self, lines: list[bytes]) -> Iterator[Batch]:
        read: list[Entry] = []
        end: SourceError | None = None
        now_ms, wanted = self._client.now_ms, self._wanted
        for line in lines:
            try:
                read.append(parse_line(line, now_ms, wanted, keeps_raw=self._keeps_raw))
            except SourceError as error:
                end = error
                break
        if read:
            yield self._batch(read)
        if end:
            raise end

    def _batch(self, read: list[Entry], server_ms: int | None = None) -> Batch:
        for line in read:
            if line.lacks:  # the search finds whatever was in it
                self._warn(line.lacks)
        sent = (line.version for line in read if line.version)
        now_ms = self._client.now_ms
        billed = self._budget.charge(sent, now_ms)
        return Batch(
            source=self.feed.source,
            channel=self.channel,
            posts=tuple(line.post for line in read if line.post),
            raw=tuple(line.raw for line in read if line.raw and self._keeps_raw),
            server_ms=server_ms,
            cursor=self.search.cursor,
            billed=billed + self._lists.pop_billed(),
            remark=self._budget.remark(now_ms),
        )
