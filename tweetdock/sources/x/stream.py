"""X's filtered stream as a source: posts within moments, by rules of ours, watched over."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import LOG_IN, Kind, RefusedError, SourceError
from tweetdock.core.post import Batch, Feed, Span, fold
from tweetdock.settings.x_query import Account, Queries
from tweetdock.sources.http import WHOLE_SECONDS, LineStream, server_now_ms
from tweetdock.sources.polling import Pause
from tweetdock.sources.x.budget import Budget
from tweetdock.sources.x.client import PORTAL, Credentials, XClient, XStreamClient, explain
from tweetdock.sources.x.fill import XFill
from tweetdock.sources.x.posts import StreamLine, Wanted, parse_line, snowflake_ms
from tweetdock.sources.x.rules import (
    FollowLists,
    RuleChanges,
    in_parts,
    parse_added,
    parse_rules,
    reconcile,
    rule_key,
)
from tweetdock.sources.x.stream_state import CHECK_MS, StreamState

log = logging.getLogger(__name__)

CONNECTING_MS = 5_000  # what was written so shortly after a connect is left to the search
STALL_SECONDS = 10.0
SILENCE_SECONDS = 21.0  # X says something every 20 s
# One post in a hundred takes 6 to 7 s. Of a stream that breaks more is read again (IN_FLIGHT_MS).
LATENCY_MS = 20_000
# Only what the rules were there for is claimed, and they are checked once a minute; it is
# claimed by the next line, which comes within 20 s.
LAG_MS = CHECK_MS + LATENCY_MS + 20_000 + 10_000
KNOWN_EDITS = 10_000


class XConnection:
    """Opened, read, broken, and opened again; used by one thread, cut by any.

    tags: the hashtags wanted; none where a query of the owner's own decides.
    lists: reads whom accounts follow. monotonic: seconds that nobody corrects.
    wanted: which posts count, by the rules of the connection that is open. server_ms: what time
    it was at X when that was opened; None if X did not say.
    """

    def __init__(
        self,
        state: StreamState,
        client: XStreamClient,
        lists: FollowLists,
        *,
        tags: Iterable[str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wanted = Wanted(frozenset())
        self._state = state
        self._clock = state.clock
        self._client = client
        self._lists = lists
        self._monotonic = monotonic
        self._tags = frozenset(map(fold, tags))
        self.server_ms: int | None = None
        self._stream: LineStream | None = None
        self._left = 0.0
        self._is_cut = threading.Event()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._stream is not None

    def open(self) -> None:
        """Connect; SourceError, with the seconds that X's rules want waited, if that fails."""
        if self._is_cut.is_set():
            raise SourceError("X's stream was ended")
        try:
            queries = self._prepare(self._clock.now_ms())
            checked_ms = self._clock.now_ms()
            there = parse_rules(self._client.rules())
            changes = reconcile(there, queries.rules)
            if not there:  # without any rule X gives no stream
                changes = self._change(changes)
            self._stream = self._open()
            # Not before: whom X gives no stream may be beside another gauge, whose rules they are.
            ids = self._change(changes).ids
        except RefusedError as refusal:
            raise self._refused(refusal) from refusal
        except SourceError as error:
            self.end(error)
            raise
        self.wanted = Wanted(
            tag_rules=frozenset(ids[rule] for rule in queries.tag_rules),
            other_rules=frozenset(ids[rule] for rule in queries.other_rules),
            tags=self._tags,
        )
        self._left, now_ms = self._monotonic(), self._clock.now_ms()
        self._state.opened(now_ms + CONNECTING_MS, ids.values(), min(checked_ms, now_ms))

    def read(self) -> list[bytes | None]:
        """Wait for the next piece; its lines. SourceError when it is over."""
        now_ms = self._clock.now_ms()
        if self._stream is None:
            raise SourceError("there is no connection to X's stream")
        if self._monotonic() - self._left > STALL_SECONDS:
            # What lies ready may be old, and how much more of it there is nobody knows.
            raise SourceError("this machine was too busy to read X's stream")
        if self._state.lists_due(now_ms):
            raise SourceError("X is to be asked anew who is followed")
        if self._state.has_lost_rules:
            raise SourceError("somebody has changed this gauge's rules on X")
        lines = self._stream.read()
        self._left = self._monotonic()
        return lines

    def cut(self) -> None:
        """End it for good, from another thread."""
        self._is_cut.set()
        self._client.cut()

    def end(self, error: SourceError) -> None:
        """Close it; the error gets the wait that X's rules want, unless it has one."""
        self._close()
        now_ms = self._clock.now_ms()
        wait = self._state.broke(now_ms)
        if error.needs_owner:
            wait = self._state.refused(now_ms, error.first, error.cap)
        if error.retry_after is None:
            error.retry_after = wait

    def _prepare(self, now_ms: int) -> Queries:
        for name in self._state.lists_due(now_ms):
            try:
                followed = self._lists.read(name, now_ms)
            except (RefusedError, SourceError) as error:
                if not self._state.put_off(name, now_ms):
                    raise
                log.warning("x-stream: whom @%s follows is not known anew: %s", name, error)
            else:
                self._state.follow(followed)
                log.info(
                    "x-stream: @%s follows %d accounts; to read who they are has cost %.2f USD",
                    *(name, len(followed.names), followed.usd),
                )
        self._state.prepare()
        queries = self._state.queries
        if queries is None or not queries.rules:
            what = "there is nothing to ask X for"
            raise SourceError(what, "set TWEETDOCK_HASHTAGS", kind=Kind.QUERY)
        return queries

    def _change(self, changes: RuleChanges) -> RuleChanges:
        """Make the changes; what is left of them, which is nothing but the ids."""
        ids = dict(changes.ids)
        for part in in_parts(changes.delete):
            self._client.delete_rules(part)
        for values in in_parts(changes.add):
            added = parse_added(self._client.add_rules(values))
            self._state.rules_changed(self._clock.now_ms())
            ids |= {value: added[rule_key(value)] for value in values if rule_key(value) in added}
        if changes.add or changes.delete:
            numbers = len(changes.add), len(changes.delete), len(changes.ids)
            log.info("x-stream: %d rules added, %d deleted, %d kept", *numbers)
        if missing := [rule for rule in changes.add if rule not in ids]:
            raise SourceError(f"X does not say whether it took the rule {missing[0]:.80}")
        return RuleChanges((), (), ids)

    def _open(self) -> LineStream:
        asked_ms = self._clock.now_ms()
        if wait := self._state.wait_seconds(asked_ms):
            sentence = "X's stream was connected to as often as X allows in 15 min"
            raise SourceError(sentence, retry_after=wait)
        self._state.connecting(asked_ms)
        try:
            stream = self._client.open()
        except SourceError as error:
            if not error.may_have_come:
                self._state.not_reached()
            raise
        if self._is_cut.is_set():  # it came too late for what was open then
            stream.close()
            raise SourceError("X's stream was ended")
        if "html" in stream.headers.get("Content-Type", ""):
            stream.close()
            self._state.not_reached()
            portal = SourceError(PORTAL, LOG_IN, kind=Kind.STRANGER)
            portal.retry_after = self._state.refused(asked_ms, portal.first, portal.cap)
            raise portal
        self.server_ms = server_now_ms(stream.headers, asked_ms, self._clock.now_ms())
        return stream

    def _refused(self, refusal: RefusedError) -> SourceError:
        self._close()
        now_ms = self._clock.now_ms()
        trouble = explain(refusal, now_ms, "stream")
        wait = self._state.refused(now_ms, trouble.first, trouble.cap)
        trouble.retry_after = trouble.retry_after or wait  # the server's own word
        return trouble

    def _close(self) -> None:
        if self._stream:
            self._stream.close()
        self._stream = None


class XStream:
    """The stream of one app on X, one piece a poll; a broken one is connected to anew.

    state: shared with the search that fills what this leaves out.
    """

    channel = "stream"

    def __init__(
        self,
        feed: Feed,
        state: StreamState,
        connection: XConnection,
        *,
        keeps_raw: bool = False,
        budget: Budget,
    ) -> None:
        self.feed = feed
        self._state = state
        self._clock = state.clock
        self._connection = connection
        self._keeps_raw = keeps_raw
        self._budget = budget
        self._first_of: dict[str, str] = {}  # the keys of posts by their later versions
        self._unreadable: Counter[str] = Counter()

    def poll(self, _: Spans) -> Iterator[Batch]:
        """Connect if need be, and wait for the next piece: one Batch, if it has a whole line.

        SourceError when X does not deliver, with the seconds that X's rules want waited.
        """
        if not self._connection.is_open:
            self._budget.check_stream(self._clock.now_ms())
            self._connection.open()
            yield self._batch([], self._clock.now_ms(), server_ms=self._connection.server_ms)
        try:
            yield from self._batches(self._connection.read())
            self._budget.check_stream(self._clock.now_ms())
        except SourceError as error:
            self._connection.end(error)
            raise

    def pause(self, _: Spans) -> Pause:
        """None: the next piece is waited for."""
        return Pause(0.0)

    def cut(self) -> None:
        """End it for good."""
        self._connection.cut()

    def _batches(self, lines: list[bytes | None]) -> Iterator[Batch]:
        read: list[StreamLine] = []
        end: SourceError | None = None
        now_ms, wanted = self._clock.now_ms(), self._connection.wanted
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

    def _batch(self, read: list[StreamLine], now_ms: int, server_ms: int | None = None) -> Batch:
        odd = [line.unreadable for line in read if line.unreadable]
        if odd:
            # Whatever was in it, the search reads that minute once more.
            self._state.stumbled(now_ms)
            self._note_unreadable(odd)
        sent = [line.snowflake for line in read if line.snowflake]
        self._budget.streamed(len(sent) + len(odd))
        billed = self._budget.charge((f"x:{i}" for i in sent), now_ms, nameless=len(odd))
        for line in read:
            if line.post and line.post.key != f"x:{line.snowflake}":
                self._first_of[f"x:{line.snowflake}"] = line.post.key
        while len(self._first_of) > KNOWN_EDITS:
            del self._first_of[next(iter(self._first_of))]
        gone = [line.removal for line in read if line.removal]
        return Batch(
            source=self.feed.source,
            channel=self.channel,
            posts=tuple(line.post for line in read if line.post),
            removals=tuple(replace(r, key=self._first_of.get(r.key, r.key)) for r in gone),
            covers=self._covers(sent, now_ms) if read else None,
            raw=tuple(line.raw for line in read if line.raw),
            server_ms=server_ms,
            cursor=self._state.cursor(),
            billed=billed + self._state.owed(),
            remark=self._budget.remark(now_ms),
        )

    def _covers(self, sent: list[int], now_ms: int) -> Span | None:
        known = self._state.line_came(now_ms)
        # When only old posts come, newer ones are yet to come.
        is_behind = bool(sent) and snowflake_ms(max(sent)) < now_ms - LATENCY_MS
        if is_behind or known.since_ms >= known.until_ms - LATENCY_MS:
            return None
        return Span(known.since_ms, known.until_ms - LATENCY_MS)

    def _note_unreadable(self, kinds: list[str]) -> None:
        for kind in kinds:
            self._unreadable[kind] += 1
            if self._unreadable[kind] == 1:
                log.warning(
                    "x-stream: a line cannot be read: %s; the search reads that minute, and so "
                    "with others like it",
                    kind,
                )


def make_x_stream(
    hashtags: Sequence[str],
    credentials: Credentials,
    *,
    clock: Clock,
    api_url: str,
    window_seconds: float,
    look_back_seconds: float,
    query: str = "",
    follow: Sequence[Account] = (),
    keeps_raw: bool = False,
    cursor: str = "",
    budget: Budget | None = None,
    silence_seconds: float = SILENCE_SECONDS,
    whole_seconds: float = WHOLE_SECONDS,
    monotonic: Callable[[], float] = time.monotonic,
) -> tuple[XStream, XFill]:
    """The two sources of `x-stream`, each for a thread of its own; nothing is asked yet.

    query: in X's own language, instead of the hashtags. credentials: the stream takes the bearer
    token only.
    SourceError for what X would never take.
    """
    feed = Feed("x-stream", LAG_MS)
    budget = budget or Budget()
    state = StreamState(
        clock,
        hashtags=hashtags,
        query=query,
        accounts=[account.name for account in follow if not account.is_list],
        lists=[account.name for account in follow if account.is_list],
        window_ms=round(window_seconds * 1000),
        look_back_ms=round(look_back_seconds * 1000),
        cursor=cursor,
    )
    client = XClient(
        credentials,
        clock=clock,
        api_url=api_url,
        whole_seconds=whole_seconds,
        keeps_raw=keeps_raw,
        budget=budget,
    )
    stream_client = XStreamClient(
        credentials.bearer_token,
        api_url=api_url,
        silence_seconds=silence_seconds,
        whole_seconds=whole_seconds,
        keeps_raw=keeps_raw,
    )
    connection = XConnection(
        state,
        stream_client,
        FollowLists(stream_client, budget, state.owe),
        tags=() if query else hashtags,
        monotonic=monotonic,
    )
    stream = XStream(feed, state, connection, keeps_raw=keeps_raw, budget=budget)
    return stream, XFill(feed, state, client, stream_client, budget)
