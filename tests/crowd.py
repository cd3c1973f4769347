"""People at the page: many who watch, some who do not read, and some who mean no good."""

import selectors
import socket
import threading
from collections.abc import Iterator
from itertools import cycle
from types import TracebackType
from typing import Self

NOISE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,  # TLS, at the wrong door
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /api/reading HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\nabc",
    b"GET /" + b"a" * 30_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /api/history?hours=1e308 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
    b"hello\r\n\r\n",
)


def connect(port: int, request: bytes = b"", *, receive_bytes: int = 0) -> socket.socket:
    """A connection to the page, with a request sent; receive_bytes: take in no more at once."""
    connection = socket.socket()
    connection.settimeout(10)
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    try:
        connection.connect(("127.0.0.1", port))
        connection.sendall(request)
    except OSError:
        connection.close()
        raise
    return connection


def asking(path: str) -> bytes:
    """A request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


class Crowd:
    """So many who watch and read in time; how many events each has had, and the last of it."""

    def __init__(self, port: int, count: int) -> None:
        self._selector = selectors.DefaultSelector()
        self.events: dict[socket.socket, int] = {}
        self.newest: dict[socket.socket, bytes] = {}
        self.ended = 0
        for _ in range(count):
            watcher = connect(port, asking("/api/events"))
            watcher.settimeout(0)
            self.events[watcher] = 0
            self.newest[watcher] = b""
            self._selector.register(watcher, selectors.EVENT_READ)
        self._is_leaving = threading.Event()
        self._thread = threading.Thread(target=self._read, name="crowd")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_leaving.set()
        self._thread.join()
        self._selector.close()
        for watcher in self.events:
            watcher.close()

    def _read(self) -> None:
        while not self._is_leaving.is_set():
            for key, _ in self._selector.select(0.05):
                watcher = key.fileobj
                assert isinstance(watcher, socket.socket)
                try:
                    found = watcher.recv(65_536)
                except OSError:
                    found = b""
                if not found:
                    self.ended += 1
                    self._selector.unregister(watcher)
                self.events[watcher] += found.count(b"\ndata: ")
                self.newest[watcher] = (self.newest[watcher] + found)[-20_000:]


class Flood:
    """Bad requests, one after the other, as fast as the page answers them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_leaving = threading.Event()
        self._thread = threading.Thread(target=self._pour, name="flood")
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        self._is_leaving.set()
        self._thread.join()

    def _pour(self) -> None:
        for noise in cycle(NOISE):
            if self._is_leaving.is_set():
                return
            try:
                with connect(self._port, noise) as connection:
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65_536):
                        pass
            except OSError:  # it hangs up on such people, and may well do so early
                continue
            finally:
                self.sent += 1


def delays(metrics: str) -> dict[float, int]:
    """How many of the loop's delays were at most so long, by seconds, from a scrape."""

    def rows() -> Iterator[tuple[float, int]]:
        for line in metrics.splitlines():
            name, _, value = line.rpartition(" ")
            if name.startswith("tweetdock_loop_delay_seconds_bucket"):
                yield float(name.split('"')[1].replace("+Inf", "inf")), int(float(value))

    return dict(rows())


def quantile(counts: dict[float, int], share: float) -> float:
    """The end of the bucket in which that share of all lies."""
    whole = max(counts.values())
    return next(end for end, count in sorted(counts.items()) if count >= share * whole)


def since(before: dict[float, int], after: dict[float, int]) -> dict[float, int]:
    """The delays between two scrapes."""
    return {end: count - before.get(end, 0) for end, count in after.items()}
