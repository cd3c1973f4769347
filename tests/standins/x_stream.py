"""X's filtered stream: lines as posts come, keep-alives, one connection, faults on demand."""

import heapq
import itertools
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit

from standins import x_faults as faults
from standins.x_answer import Answer
from standins.x_posts import Post, milliseconds
from standins.x_rules import Rule, Rules
from standins.x_search import RENAMED, Vocabulary, _fields

PATH = "/2/tweets/search/stream"
CONNECTS, WINDOW_SECONDS = 50, 900.0
NEW_MS = 60_000  # what is older when it is added was there before
PARAMETERS = frozenset(
    {
        *("backfill_minutes", "start_time", "end_time", "tweet.fields", "expansions"),
        *("media.fields", "poll.fields", "user.fields", "place.fields"),
    }
)


class Connect(NamedTuple):
    """A connect that was made, and what it was answered by; 0: nothing."""

    time: float
    status: int
    params: Mapping[str, str]


class Delivery(NamedTuple):
    """A version of a post that was put on a connection."""

    time: float
    id: str


@dataclass(frozen=True, slots=True)
class CloseAtOnce(faults.Fault):
    """Begin to answer, and end."""


@dataclass(frozen=True, slots=True)
class _Cut:
    after_bytes: int


@dataclass(frozen=True, slots=True)
class _End:
    by_reset: bool


@dataclass(eq=False)
class _Connection:
    wire: socket.socket
    fields: frozenset[str]
    pending: deque[bytes | _Cut | _End] = field(default_factory=deque)
    is_silent: bool = False
    is_over: bool = False
    cut: int | None = None  # where the next line is to end

    def is_left(self) -> bool:
        """Whether nobody reads any more."""
        if self.is_over:
            return True
        try:
            return not self.wire.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True


class Exchange(Protocol):
    """What the stream needs of the request that it answers."""

    connection: socket.socket
    path: str
    close_connection: bool


class Stream:
    """`GET /2/tweets/search/stream`; `changed` guards it and what belongs to it.

    heartbeat: real seconds without a line until a blank one is sent; `beat()` sends one at once.
    greets: a blank line begins each connection. ticks: late posts go out by themselves, as time
    passes. lines: how many were put on the connection that
    is open, or was last.
    """

    def __init__(
        self,
        rules: Rules,
        changed: threading.Condition,
        now: Callable[[], float],
        *,
        heartbeat: float = 20.0,
    ) -> None:
        self.rules = rules
        self.heartbeat = heartbeat
        self.greets = True
        self.ticks = False
        self.vocabulary: Vocabulary = "legacy"
        self.lines = 0
        self.connects: list[Connect] = []
        self.delivered: list[Delivery] = []
        self._changed = changed
        self._now = now
        self._faults: deque[faults.Fault] = deque()
        self._always: faults.Fault | None = None
        self._open: _Connection | None = None
        self._later: list[tuple[float, int, Post]] = []
        self._number = itertools.count()
        self._healed = threading.Event()
        self._is_closed = False

    @property
    def is_open(self) -> bool:
        """Whether somebody listens."""
        with self._changed:
            return self._open is not None and not self._open.is_left()

    @property
    def is_silent(self) -> bool:
        """Whether nothing more is said on the connection that is open."""
        with self._changed:
            return self._open is not None and self._open.is_silent

    def wait_until_open(self, timeout: float) -> bool:
        """Wait for somebody who listens; False if nobody came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._open is not None, timeout)

    def offer(self, posts: Iterable[Post]) -> None:
        """Take in posts: each goes out at once, or when its `_streamed_ms` says."""
        with self._changed:
            for post in posts:
                now_ms = self._now() * 1000
                due_ms = post.get("_streamed_ms", now_ms)
                if due_ms > now_ms:
                    heapq.heappush(self._later, (due_ms, next(self._number), post))
                elif milliseconds(post["id"]) > now_ms - NEW_MS:
                    self._send_post(post)

    def tick(self) -> None:
        """Send what is due by now."""
        with self._changed:
            while self._later and self._later[0][0] <= self._now() * 1000:
                self._send_post(heapq.heappop(self._later)[2])

    def repeat(self, post: Post) -> None:
        """Send a post once more."""
        with self._changed:
            self._send_post(post)

    def beat(self) -> None:
        """Send a blank line."""
        self.say(b"")

    def say(self, line: bytes | dict[str, Any]) -> None:
        """Send a line, whatever it is."""
        raw = json.dumps(line).encode() if isinstance(line, dict) else line
        with self._changed:
            self._put(raw + b"\r\n")

    def cut(self, after_bytes: int) -> None:
        """Reset the connection after so many bytes of the next line."""
        with self._changed:
            self._put(_Cut(after_bytes))

    def end(self, *, by_reset: bool = False) -> None:
        """End the connection."""
        with self._changed:
            self._put(_End(by_reset))

    def fall_silent(self) -> None:
        """Say nothing more on this connection, though it stays."""
        with self._changed:
            if self._open:
                self._open.is_silent = True

    def fail(self, *some: faults.Fault) -> None:
        """One fault for each of the next connects."""
        with self._changed:
            self._faults.extend(some)

    def fail_always(self, fault: faults.Fault) -> None:
        """Let every connect meet this one, until healed."""
        with self._changed:
            self._always = fault

    def heal(self) -> None:
        """Forget all faults of connects; what hangs is ended."""
        with self._changed:
            self._faults.clear()
            self._always = None
            self._healed.set()
            self._healed = threading.Event()

    def close(self) -> None:
        """End everything."""
        with self._changed:
            self._is_closed = True
            self._healed.set()
            self._put(_End(by_reset=True))
            self._changed.notify_all()

    def serve(
        self, exchange: Exchange, answer: Callable[[faults.Status], Answer], *, is_admitted: bool
    ) -> Answer | None:
        """Answer a connect, by a refusal or by the stream itself, to its end."""
        params = dict(parse_qsl(urlsplit(exchange.path).query))
        with self._changed:
            fault = self._faults.popleft() if self._faults else self._always
            refusal = self._refusal(fault, params, is_admitted=is_admitted)
            status = refusal.code if refusal else 200
            status = 0 if isinstance(fault, faults.Hang | faults.Reset) else status
            self.connects.append(Connect(self._now(), status, params))
            self._changed.notify_all()
            healed = self._healed
            if refusal is None and status and not isinstance(fault, CloseAtOnce):
                fields = _fields({k: v for k, v in params.items() if k == "tweet.fields"})
                self._open = _Connection(exchange.connection, fields)
                self.lines = 0
                if self.greets:
                    self._put(b"\r\n")
            connection = self._open
        exchange.close_connection = True
        if isinstance(fault, faults.Hang):
            healed.wait()
            return None
        if not status:
            _reset(exchange.connection)
            return None
        if refusal:
            # Said, not only done: a client must not send its next connect on this connection.
            refused = answer(refusal)
            return replace(refused, headers=refused.headers | {"connection": "close"})
        exchange.connection.sendall(self._head(answer))
        if isinstance(fault, CloseAtOnce):
            exchange.connection.sendall(b"0\r\n\r\n")
        elif connection:
            self._speak(connection)
        return None

    def _refusal(
        self, fault: faults.Fault | None, params: Mapping[str, str], *, is_admitted: bool
    ) -> faults.Status | None:
        now = self._now()
        if isinstance(fault, faults.Status):
            return fault
        if not is_admitted:
            return faults.unauthorized()
        if params.keys() - PARAMETERS:
            return faults.status(400, {"title": "Invalid Request", "detail": "no such parameter"})
        if sum(one.time > now - WINDOW_SECONDS for one in self.connects) >= CONNECTS:
            return faults.rate_limited(60)
        if not self.rules.kept:
            return faults.status(409, {"title": "ConnectionException", "detail": "no rules"})
        if self._open and not self._open.is_left():
            return faults.too_many_connections()
        return None

    def _head(self, answer: Callable[[faults.Status], Answer]) -> bytes:
        headers = {"content-type": faults.JSON_TYPE}
        whole = answer(faults.status(200, b"", headers)).head(self._now())
        lines = [line for line in whole.split(b"\r\n") if not line.startswith(b"content-length")]
        return b"\r\n".join([lines[0], b"transfer-encoding: chunked", *lines[1:]])

    def _speak(self, connection: _Connection) -> None:
        pending = connection.pending
        try:
            while True:
                with self._changed:
                    self._wait_for(lambda: bool(pending) or self._is_closed)
                    if not pending and self._is_closed:
                        return
                    if not pending and not connection.is_silent:
                        pending.append(b"\r\n")
                        self.lines += connection is self._open
                    items = list(pending)
                    pending.clear()
                if not self._write(connection, items):
                    return
        finally:
            with self._changed:
                connection.is_over = True
                if self._open is connection:
                    self._open = None
                self._changed.notify_all()

    def _wait_for(self, sign: Callable[[], bool]) -> None:
        until = time.monotonic() + self.heartbeat
        while not sign() and (rest := until - time.monotonic()) > 0:
            self._changed.wait(min(rest, 0.01) if self.ticks else rest)
            if self.ticks:
                self.tick()

    def _write(self, connection: _Connection, items: list[bytes | _Cut | _End]) -> bool:
        for item in items:
            if isinstance(item, _Cut):
                connection.cut = item.after_bytes
            elif isinstance(item, _End):
                if item.by_reset:
                    _reset(connection.wire)
                else:
                    connection.wire.sendall(b"0\r\n\r\n")
                return False
            else:
                cut = connection.cut
                line = item if cut is None else item[: min(cut, len(item) - 1)]
                if line:
                    connection.wire.sendall(b"%x\r\n%b\r\n" % (len(line), line))
                if cut is not None:
                    _reset(connection.wire)
                    return False
        return True

    def _put(self, item: bytes | _Cut | _End) -> None:
        if self._open and not self._open.is_silent:
            self._open.pending.append(item)
            self.lines += isinstance(item, bytes)
            self._changed.notify_all()

    def _send_post(self, post: Post) -> None:
        rules = self.rules.matching(post, self._now())
        if not rules or not self._open or self._open.is_silent or self._open.is_left():
            return
        self.delivered.append(Delivery(self._now(), post["id"]))
        line = self._line(post, rules, self._open.fields)
        self._put(json.dumps(line, separators=(",", ":")).encode() + b"\r\n")

    def _line(self, post: Post, rules: list[Rule], fields: frozenset[str]) -> dict[str, Any]:
        shown = {name: value for name, value in post.items() if name in fields}
        if self.vocabulary == "post":
            shown = {RENAMED.get(name, name): value for name, value in shown.items()}
        return {"data": shown, "matching_rules": [{"id": r.id, "tag": r.tag} for r in rules]}


def _reset(wire: socket.socket) -> None:
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
