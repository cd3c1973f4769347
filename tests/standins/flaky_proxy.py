"""An HTTP/1.1 proxy on loopback between boto3 and a bucket, which counts, and fails on demand."""

import socket
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from typing import Any, Self, cast

from standins.loopback import Loopback

LIMIT_SECONDS = 20.0
_PIECE = 4096


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection is reset after so many bytes of the body, in both directions."""

    after_bytes: int


@dataclass(frozen=True, slots=True)
class Hang:
    """After so many bytes of the body nothing is read or answered any more."""

    after_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The request does not reach the bucket; this comes back instead."""

    status: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Corrupt:
    """The last byte of the body is another one, before a server that keeps no sums.

    S3 itself would compare with the sum and refuse.
    """


Fault = Cut | Hang | Answer | Corrupt


class FlakyProxy:
    """Passes requests on to a port of 127.0.0.1.

    meanwhile: called with each request's method and path before it is passed on.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.meanwhile: Callable[[str, str], object] = lambda _method, _path: None
        self._changed = threading.Condition()
        self._requests: list[tuple[str, str]] = []
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._hanging = 0
        self._closed = threading.Event()
        self._loopback = Loopback(lambda connection: _Exchange(connection, self))
        self.url = f"http://127.0.0.1:{self._loopback.port}"
        self._loopback.up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._loopback.close()

    def asked(self, method: str) -> list[str]:
        """The paths of all requests of a method so far, in order."""
        with self._changed:
            return [path for one, path in self._requests if one == method]

    def forget(self) -> None:
        """Count anew."""
        with self._changed:
            self._requests.clear()

    def fail(self, method: str, *faults: Fault | None) -> None:
        """One for each of the next requests of a method; None lets one pass."""
        with self._changed:
            self._faults[method].extend(cast("Any", faults))

    def wait_until_hanging(self) -> None:
        """Wait until a request hangs."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._hanging, LIMIT_SECONDS)

    def down(self) -> None:
        """Refuse connections."""
        self._loopback.down()

    def _take(self, method: str, path: str) -> Fault | None:
        with self._changed:
            self._requests.append((method, path))
            faults = self._faults[method]
            return faults.popleft() if faults else None

    def _hang(self) -> None:
        with self._changed:
            self._hanging += 1
            self._changed.notify_all()
        self._closed.wait(LIMIT_SECONDS)


class _Exchange(BaseHTTPRequestHandler):
    """One connection's requests, passed on one by one."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, proxy: FlakyProxy) -> None:
        self.proxy = proxy
        super().__init__(connection, ("127.0.0.1", 0), cast("Any", None))

    def log_message(self, *_: object) -> None:
        """Say nothing: `asked` tells all."""

    def do_GET(self) -> None:
        """Pass it on, or fail."""
        path = self.path.partition("?")[0]
        fault = self.proxy._take(self.command, path)
        if isinstance(fault, Answer):
            for _ in self._body():
                pass
            self._give(fault.status, [("Content-Length", str(len(fault.body)))], fault.body)
            return
        self.proxy.meanwhile(self.command, path)
        upstream = HTTPConnection("127.0.0.1", self.proxy.target, timeout=LIMIT_SECONDS)
        try:
            self._pass_on(upstream, fault)
        finally:
            upstream.close()

    do_HEAD = do_PUT = do_DELETE = do_GET  # noqa: N815 - named by http.server

    def _pass_on(self, upstream: HTTPConnection, fault: Fault | None) -> None:
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            is_sum = name.lower().startswith(("x-amz-checksum-", "x-amz-sdk-checksum-"))
            if name.lower() != "expect" and not (is_sum and isinstance(fault, Corrupt)):
                upstream.putheader(name, value)
        upstream.endheaders()
        rest = fault.after_bytes if isinstance(fault, Cut | Hang) else self._length
        for piece in self._body():
            part = piece[:rest]
            rest -= len(part)
            is_bad = isinstance(fault, Corrupt) and not rest
            upstream.send(part[:-1] + bytes([part[-1] ^ 1]) if is_bad else part)
            if not rest:
                break
        if isinstance(fault, Hang):
            self.proxy._hang()
        if isinstance(fault, Cut | Hang):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        answer = upstream.getresponse()
        body = answer.read()
        headers = [(n, v) for n, v in answer.getheaders() if n.lower() not in _OF_THE_CONNECTION]
        if self.command == "HEAD":
            headers.append(("Content-Length", answer.getheader("Content-Length", "0")))
        else:
            headers.append(("Content-Length", str(len(body))))
        self._give(answer.status, headers, body)

    def _give(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @property
    def _length(self) -> int:
        return int(self.headers.get("Content-Length", "0"))

    def _body(self) -> Iterator[bytes]:
        rest = self._length
        while rest:
            piece = self.rfile.read(min(rest, _PIECE))
            if not piece:
                raise ConnectionAbortedError
            rest -= len(piece)
            yield piece


_OF_THE_CONNECTION = {"connection", "content-length", "transfer-encoding", "keep-alive"}
