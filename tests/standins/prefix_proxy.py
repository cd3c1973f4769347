"""A reverse proxy on loopback that takes the first part of a path off, as before many a page."""

import socket
import threading
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler
from typing import Any, Self, cast

from standins.loopback import Loopback

LIMIT_SECONDS = 20.0
PREFIX = "/gauge/"
_PIECE = 4096


class PrefixProxy:
    """Passes what is asked for below `/gauge/` on to a port of 127.0.0.1; all else is not there.

    withheld: ends of paths that are not passed on; unanswered: of those that it says nothing to.
    holds_events: until they have all come, as a proxy does that collects what it passes on.
    """

    def __init__(
        self,
        target: int,
        *,
        withheld: tuple[str, ...] = (),
        unanswered: tuple[str, ...] = (),
        holds_events: bool = False,
    ) -> None:
        self.target = target
        self.withheld = withheld
        self.unanswered = unanswered
        self.holds_events = holds_events
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._refused: list[str] = []
        self._upstream: set[socket.socket] = set()
        self._loopback = Loopback(lambda connection: _Exchange(connection, self))
        self.url = f"http://127.0.0.1:{self._loopback.port}"
        self._loopback.up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with self._lock:
            for upstream in self._upstream:
                upstream.shutdown(socket.SHUT_RDWR)
        self._loopback.close()

    @property
    def refused(self) -> list[str]:
        """The paths that it did not pass on."""
        with self._lock:
            return list(self._refused)

    def _target_of(self, path: str) -> str:
        asked = path.partition("?")[0]
        if asked.endswith(self.unanswered):
            self._closed.wait(LIMIT_SECONDS)
        if asked.startswith(PREFIX) and not asked.endswith(self.withheld):
            return path.removeprefix(PREFIX.removesuffix("/"))
        with self._lock:
            self._refused.append(path)
        return ""

    def _begin(self, upstream: socket.socket) -> None:
        with self._lock:
            self._upstream.add(upstream)

    def _end(self, upstream: socket.socket) -> None:
        with self._lock:
            self._upstream.discard(upstream)


class _Exchange(BaseHTTPRequestHandler):
    """One request, and its answer as it comes."""

    def __init__(self, connection: socket.socket, proxy: PrefixProxy) -> None:
        self.proxy = proxy
        super().__init__(connection, ("127.0.0.1", 0), cast("Any", None))

    def log_message(self, *_: object) -> None:
        """Say nothing: the test looks at the page."""

    def do_GET(self) -> None:
        """Pass it on, or know nothing of it."""
        target = self.proxy._target_of(self.path)
        if not target:
            self.send_error(404)
            return
        upstream = HTTPConnection("127.0.0.1", self.proxy.target, timeout=LIMIT_SECONDS)
        upstream.connect()
        held = upstream.sock
        self.proxy._begin(held)
        try:
            with suppress(HTTPException):  # it may go in the midst of an answer
                self._pass_on(upstream, target)
        finally:
            self.proxy._end(held)
            upstream.close()

    def _pass_on(self, upstream: HTTPConnection, target: str) -> None:
        upstream.request("GET", target, headers={"Accept": self.headers.get("Accept", "*/*")})
        answer = upstream.getresponse()
        is_stream = "event-stream" in (answer.getheader("Content-Type") or "")
        whole = answer.read() if is_stream and self.proxy.holds_events else b""
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "keep-alive"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(whole)
        while piece := answer.read1(_PIECE):
            self.wfile.write(piece)
