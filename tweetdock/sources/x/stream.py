"""X's filtered stream as a source: posts within moments, by rules of ours, watched over."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Self

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.post import Batch, Feed, Span, fold
from tweetdock.settings.networks import XSettings
from tweetdock.settings.x_query import Queries, build_queries
from tweetdock.sources.http import LineStream, server_now_ms
from tweetdock.sources.polling import Pause
from tweetdock.sources.x.budget import Budget
from tweetdock.sources.x.client import XClient
from tweetdock.sources.x.fill import CHECK_MS, Streamed, XFill
from tweetdock.sources.x.follow import Followed, FollowLists
from tweetdock.sources.x.posts import Entry, Wanted, parse_line, snowflake_ms
from tweetdock.sources.x.rules import RuleChanges, in_parts, reconcile, rule_key

log = logging.getLogger(__name__)

CONNECTING_MS = 5_000  # what was written so shortly after a connect is left to the search
STALL_MS = 10_000
# One post in a hundred takes 6 to 7 s. Of a stream that breaks more is read again (IN_FLIGHT_MS).
LATENCY_MS = 20_000
# Only what the rules were there for is claimed, and they are checked once a minute; it is
# claimed by the next line, which comes within 20 s.
LAG_MS = CHECK_MS + LATENCY_MS + 20_000 + 10_000
MOST_CONNECTS = 45  # X allows 50 in 15 minutes, ours and whoever else's the app is
CONNECTS_MS = 15 * 60_000
MOST_SEARCHES = 300  # that X's 450 in 15 min read every minute, and a gap besides


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


class _Known(NamedTuple):
    """Where both left off, as the cursor has it."""

    connects: Sequence[int] = ()
    rules_ms: int = 0
    unsettled: Sequence[Span] = ()
    followed: Sequence[Followed] = ()

    @classmethod
    def load(cls, cursor: str) -> Self:
        """From JSON; one that cannot be read costs requests, the price of the lists, no truth."""
        with suppress(ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            known = json.loads(cursor)
            return cls(
                [int(at_ms) for at_ms in known.get("connects", ())],
                int(known.get("rules_ms", 0)),
                [Span(int(since), int(until)) for since, until in known.get("unsettled", ())],
                [Followed(str(a), int(b), str(c)) for a, b, c in known.get("followed", ())],
            )
        return cls()


def _dump(connects: Connects, streamed: Streamed, lists: FollowLists) -> str:
    """What `_Known` goes on from."""
    parts = {"connects": connects.made_ms, **streamed.dump(), "followed": lists.followed}
    return json.dumps(parts, separators=(",", ":"))


class XStream:
    """The stream of one app on X, one piece a poll; a broken one is connected to anew.

    x: if it has a query, that goes instead of the hashtags; the stream takes the bearer token only.
    cursor: where to go on from. fill: the search that reads what this leaves out, for a thread of
    its own. Nothing is asked yet.
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
        self.feed = Feed("x-stream", LAG_MS)
        self._hashtags, self._query = hashtags, x.query
        self._accounts = [account.name for account in x.follow if not account.is_list]
        self._clock = clock
        self._budget = budget
        self._keeps_raw = keeps_raw
        known = _Known.load(cursor)
        make_client = partial(XClient, x, clock=clock, budget=budget, keeps_raw=keeps_raw)
        self._client = make_client()
        lists = [account.name for account in x.follow if account.is_list]
        self._lists = FollowLists(lists, self._client, self._budget, known.followed)
        self._connects = Connects(known.connects)
        self._streamed = Streamed(
            window_ms=round(window_seconds * 1000),
            look_back_ms=round(x.look_back_seconds * 1000),
            unsettled=known.unsettled,
            rules_ms=known.rules_ms,
        )
        self._cursor = partial(_dump, self._connects, self._streamed, self._lists)
        self.fill = XFill(
            self.feed,
            self._streamed,
            make_client(),
            self._budget,
            clock=clock,
            cursor=self._cursor,
        )
        self._queries: Queries | None = None  # not known before all lists are
        self._wanted = Wanted(frozenset())  # by the rules of the stream that is open
        self._stream: LineStream | None = None
        self._left_ms = 0  # by the monotonic clock

    def poll(self, _: Spans) -> Iterator[Batch]:
        """Connect if need be, and wait for the next piece: one Batch, if it has a whole line.

        SourceError when X does not deliver.
        """
        try:
            if self._stream is None:
                yield from self._connect()
            yield from self._batches(self._read())
            self._budget.check_stream(self._clock.now_ms())
        except SourceError:
            self._end()
            raise

    def pause(self, _: Spans) -> Pause:
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
                yield self._batch([], self._clock.now_ms())
            raise
        yield self._batch([], self._clock.now_ms(), server_ms=server_ms)

    def _open(self) -> int | None:
        """Connect by the rules that are wanted; what time it is at X, if it says so."""
        queries = self._prepare(self._clock.now_ms())
        # Not before: the search goes by these queries, too, and may have money left.
        self._budget.check_stream(self._clock.now_ms())
        asked_ms = self._clock.now_ms()
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
        self._left_ms, now_ms = self._clock.monotonic_ms(), self._clock.now_ms()
        self._streamed.begins(now_ms + CONNECTING_MS, ids.values(), min(asked_ms, now_ms), now_ms)
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
            self._streamed.ask_by(queries.searches)
            if len(queries.searches) > MOST_SEARCHES:
                log.warning(
                    "x-stream: the accounts followed take %d searches, which X's rate limit "
                    "does not allow each minute: gaps are filled slowly, or never",
                    len(queries.searches),
                )
        return queries

    def _change(self, changes: RuleChanges) -> dict[str, str]:
        """Make the changes; the ids of the wanted rules."""
        ids = dict(changes.ids)
        for part in in_parts(changes.delete):
            self._client.delete_rules(part)
        for values in in_parts(changes.add):
            added = self._client.add_rules(values)
            self._streamed.rules_changed(self._clock.now_ms())
            ids |= {value: added[rule_key(value)] for value in values if rule_key(value) in added}
        if changes.add or changes.delete:
            numbers = len(changes.add), len(changes.delete), len(changes.ids)
            log.info("x-stream: %d rules added, %d deleted, %d kept", *numbers)
        if missing := [rule for rule in changes.add if rule not in ids]:
            raise SourceError(f"X does not say whether it took the rule {missing[0]:.80}")
        return ids

    def _begin(self) -> int | None:
        asked_ms = self._clock.now_ms()
        self._connects.add(asked_ms)
        try:
            stream = self._stream = self._client.open()
        except SourceError as error:
            if error.kind in (Kind.CONNECTION, Kind.STRANGER) and not error.may_have_come:
                self._connects.drop_last()
            raise
        return server_now_ms(stream.headers, asked_ms, self._clock.now_ms())

    def _read(self) -> list[bytes]:
        """Wait for the next piece; its lines."""
        assert self._stream is not None  # noqa: S101 - just connected, or open before
        if self._clock.monotonic_ms() - self._left_ms > STALL_MS:
            # What lies ready may be old, and how much more of it there is nobody knows.
            raise SourceError("this machine was too busy to read X's stream")
        if self._lists.is_due(self._clock.now_ms()):
            raise SourceError("X is to be asked anew who is followed")
        if self._streamed.has_lost_rules:
            raise SourceError("somebody has changed this gauge's rules on X")
        lines = self._stream.read()
        self._left_ms = self._clock.monotonic_ms()
        return lines

    def _end(self) -> None:
        self._streamed.ends()
        if self._stream:
            self._stream.close()
        self._stream = None

    def _batches(self, lines: list[bytes]) -> Iterator[Batch]:
        read: list[Entry] = []
        end: SourceError | None = None
        now_ms, wanted = self._clock.now_ms(), self._wanted
        for line in lines:
            try:
                read.append(parse_line(line, now_ms, wanted, keeps_raw=self._keeps_raw))
            except SourceError as error:
                end = error
                break
        if read:
            yield self._batch(read, now_ms)
        if end:
            raise end

    def _batch(
        self,
        read: list[Entry],
        now_ms: int,
        *,
        server_ms: int | None = None,
    ) -> Batch:
        odd = [line.lacks for line in read if line.lacks]
        if odd:
            # Whatever was in it, the search reads that minute once more.
            self._streamed.stumbled(now_ms)
            self._client.note_unreadable(odd)
        sent = [line.snowflake for line in read if line.snowflake]
        billed = self._budget.charge((f"x:{i}" for i in sent), now_ms, nameless=len(odd))
        return Batch(
            source=self.feed.source,
            channel=self.channel,
            posts=tuple(line.post for line in read if line.post),
            covers=self._covers(sent, now_ms) if read else None,
            raw=tuple(line.raw for line in read if line.raw),
            server_ms=server_ms,
            cursor=self._cursor(),
            billed=billed + self._lists.pop_billed(),
            remark=self._budget.remark(now_ms),
        )

    def _covers(self, sent: list[int], now_ms: int) -> Span | None:
        known = self._streamed.line_came(now_ms)
        # When only old posts come, newer ones are yet to come.
        is_behind = bool(sent) and snowflake_ms(max(sent)) < now_ms - LATENCY_MS
        if is_behind or known.since_ms >= known.until_ms - LATENCY_MS:
            return None
        return Span(known.since_ms, known.until_ms - LATENCY_MS)
