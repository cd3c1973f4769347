"""The one connection to X's stream: by X's rules on connects, and with our rules on posts."""

import logging
import threading
import time
from collections.abc import Callable, Iterable

from tweetdock.core.errors import RefusedError, SourceError
from tweetdock.settings.query import Queries, normal
from tweetdock.sources.http import LineStream
from tweetdock.sources.x.follow import FollowLists
from tweetdock.sources.x.lines import Wanted
from tweetdock.sources.x.reconnects import LIMIT_CAP, LIMIT_FIRST
from tweetdock.sources.x.refusals import PORTAL, explain
from tweetdock.sources.x.rules import (
    Changes,
    Rule,
    in_parts,
    parse_added,
    parse_rules,
    reconcile,
    rule_key,
)
from tweetdock.sources.x.stream_client import XStreamClient
from tweetdock.sources.x.stream_state import Ledger

log = logging.getLogger(__name__)

SEAM_MS = 5_000  # what was written so shortly after a connect is left to the search
STALL_SECONDS = 10.0
PORTAL_FIRST, PORTAL_CAP = 5.0, 60.0


class XConnection:
    """Opened, read, broken, and opened again; used by one thread, cut by any.

    tags: the hashtags wanted; none where a query of the owner's own decides.
    lists: reads whom accounts follow. monotonic: seconds that nobody corrects.
    wanted: which posts count, by the rules of the connection that is open.
    """

    def __init__(
        self,
        ledger: Ledger,
        client: XStreamClient,
        lists: FollowLists,
        *,
        tags: Iterable[str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wanted = Wanted(frozenset())
        self._ledger = ledger
        self._clock = ledger.clock
        self._client = client
        self._lists = lists
        self._monotonic = monotonic
        self._tags = frozenset(map(normal, tags))
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
            looked_ms = self._clock.now_ms()
            there = self._rules()
            changes = reconcile(there, queries.rules)
            if not there:  # without any rule X gives no stream
                changes = self._change(changes)
            self._stream = self._open()
            # Not before: whom X gives no stream may be beside another gauge, whose rules they are.
            ids = self._change(changes).ids
        except RefusedError as refusal:
            raise self._refused(refusal) from refusal
        except SourceError as error:
            raise self.broken(error) from error
        self.wanted = Wanted(
            tag_rules=frozenset(ids[rule] for rule in queries.tag_rules),
            other_rules=frozenset(ids[rule] for rule in queries.other_rules),
            tags=self._tags,
        )
        self._left, now_ms = self._monotonic(), self._clock.now_ms()
        self._ledger.opened(now_ms + SEAM_MS, ids.values(), min(looked_ms, now_ms))

    def read(self) -> list[bytes | None]:
        """Wait for the next piece; its lines. SourceError when it is over."""
        now_ms = self._clock.now_ms()
        if self._stream is None:
            raise SourceError("there is no connection to X's stream")
        if self._monotonic() - self._left > STALL_SECONDS:
            # What lies ready may be old, and how much more of it there is nobody knows.
            raise SourceError("this machine was too busy to read X's stream")
        if self._ledger.lists_due(now_ms):
            raise SourceError("X is to be asked anew who is followed")
        if self._ledger.has_lost_rules:
            raise SourceError("somebody has changed this gauge's rules on X")
        lines = self._stream.read()
        self._left = self._monotonic()
        return lines

    def cut(self) -> None:
        """End it for good, from another thread."""
        self._is_cut.set()
        self._client.cut()

    def broken(self, error: SourceError) -> SourceError:
        """Close it; the same error with the wait that X's rules want, unless it has one."""
        self._close()
        now_ms = self._clock.now_ms()
        wait = self._ledger.broke(now_ms)
        if error.retry_after is not None:
            return error
        if error.needs_owner:
            wait = self._ledger.refused(now_ms, error.first, error.cap)
        return SourceError(str(error), retry_after=wait, needs_owner=error.needs_owner)

    def _prepare(self, now_ms: int) -> Queries:
        for name in self._ledger.lists_due(now_ms):
            try:
                followed = self._lists.read(name, now_ms)
            except (RefusedError, SourceError) as error:
                if not self._ledger.put_off(name, now_ms):
                    raise
                log.warning("x-stream: whom @%s follows is not known anew: %s", name, error)
            else:
                self._ledger.follow(followed)
                log.info(
                    "x-stream: @%s follows %d accounts; to read who they are has cost %.2f USD",
                    *(name, len(followed.names), followed.usd),
                )
        self._ledger.prepare()
        queries = self._ledger.queries
        if queries is None or not queries.rules:
            raise SourceError("there is nothing to ask X for", cap=900.0, needs_owner=True)
        return queries

    def _rules(self) -> tuple[Rule, ...]:
        asked_ms = self._clock.now_ms()
        body, headers = self._client.rules()
        there = parse_rules(body)
        self._ledger.correct(headers, asked_ms)
        return there

    def _change(self, changes: Changes) -> Changes:
        """Make the changes; what is left of them, which is nothing but the ids."""
        ids = dict(changes.ids)
        for part in in_parts(changes.delete):
            self._client.delete_rules(part)
        for values in in_parts(changes.add):
            added = parse_added(self._client.add_rules(values))
            self._ledger.rules_changed(self._clock.now_ms())
            ids |= {value: added[rule_key(value)] for value in values if rule_key(value) in added}
        if changes.add or changes.delete:
            numbers = len(changes.add), len(changes.delete), len(changes.ids)
            log.info("x-stream: %d rules added, %d deleted, %d kept", *numbers)
        if missing := [rule for rule in changes.add if rule not in ids]:
            raise SourceError(f"X does not say whether it took the rule {missing[0]:.80}")
        return Changes((), (), ids)

    def _open(self) -> LineStream:
        asked_ms = self._clock.now_ms()
        if wait := self._ledger.wait_seconds(asked_ms):
            sentence = "X's stream was connected to as often as X allows in 15 min"
            raise SourceError(sentence, retry_after=wait)
        self._ledger.connecting(asked_ms)
        try:
            stream = self._client.open()
        except SourceError as error:
            if _never_reached(error):
                self._ledger.not_reached()
            raise
        if self._is_cut.is_set():  # it came too late for what was open then
            stream.close()
            raise SourceError("X's stream was ended")
        if "html" in stream.headers.get("Content-Type", ""):
            stream.close()
            self._ledger.not_reached()
            wait = self._ledger.refused(asked_ms, PORTAL_FIRST, PORTAL_CAP)
            raise SourceError(PORTAL, retry_after=wait)
        self._ledger.correct(stream.headers, asked_ms)
        return stream

    def _refused(self, refusal: RefusedError) -> SourceError:
        self._close()
        now_ms = self._clock.now_ms()
        trouble = explain(refusal, now_ms, "stream")
        sentence, first, cap = str(trouble), trouble.first, trouble.cap
        if refusal.status == 409:
            sentence, first, cap = "X has no rules for the stream (409)", 5.0, 320.0
        elif refusal.status == 429 and not trouble.needs_owner:
            first, cap = LIMIT_FIRST, LIMIT_CAP
            if "connections" in sentence:
                sentence = "another program holds the stream of this app on X (429)"
        wait = self._ledger.refused(now_ms, first, cap)
        wait = trouble.retry_after or wait  # the server's own word
        return SourceError(sentence, retry_after=wait, needs_owner=trouble.needs_owner)

    def _close(self) -> None:
        if self._stream:
            self._stream.close()
        self._stream = None


def _never_reached(error: SourceError) -> bool:
    cause = str(error.__cause__)
    kinds = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError")
    return any(kind in cause for kind in kinds)
