"""The real page's server over a board of the test's own."""

import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import requests
from dials import comes_true

from tweetdock.core.coverage import Grade
from tweetdock.core.reading import DialReading, Reading, SourceReading
from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board, Health, Moment, Past
from tweetdock.show.web.routes import Limits
from tweetdock.show.web.web import Web
from tweetdock.threads import Crash, WatchedThread

AT_MS = 1_790_000_000_000
ENV = {"TWEETDOCK_WEB": "127.0.0.1:0"}
LIMIT = 10.0
QUICK = Limits(pause_seconds=0.01)


def make_reading(number: int = 0, **changes: Any) -> Reading:
    """The reading of that many seconds after the first: 412 posts and as many more."""
    posts, authors = 412 + number, 287
    dials = {
        "tweets": DialReading(
            count=posts, position=posts / 1000, full_scale=1000, angle=74.16, pegged=False
        ),
        "tweeters": DialReading(
            count=authors, position=authors / 1000, full_scale=1000, angle=51.66, pegged=False
        ),
    }
    source = SourceReading(
        posts=posts,
        authors=authors,
        grade=Grade.EXACT,
        covered=1.0,
        detail="",
        certain_ms=AT_MS,
        heard_ms=AT_MS - 2_500,
    )
    usual: dict[str, Any] = {
        "at_ms": AT_MS + 1000 * number,
        "hashtags": ("dockercon",),
        "window_seconds": 3600.0,
        "posts": posts,
        "authors": authors,
        "grade": Grade.EXACT,
        "covered": 1.0,
        "certain_ms": AT_MS,
        "sources": {"x": source},
        "dials": dials,
        "demo": False,
    }
    return Reading(**usual | changes)


class Serving:
    """The page at a free port of loopback; a failure of its thread fails the test."""

    def __init__(
        self, env: dict[str, str] | None = None, kept: Iterable[Moment] = (), **limits: Any
    ) -> None:
        self.threads: dict[str, bool] = {"needles": True}
        self.needles: dict[str, float] = {"tweets": 70.0, "tweeters": 50.0}
        self.servo_trouble = ""
        self.cost_usd: float | None = None
        self.seconds = 1000.0
        health = Health(
            threads=lambda: self.threads,
            needles=lambda: self.needles,
            servo_trouble=lambda: self.servo_trouble,
            cost_usd=lambda: self.cost_usd,
        )
        self.board = Board(Past(kept), health, monotonic=lambda: self.seconds)
        self.crashes: list[Crash] = []
        self._session = requests.Session()
        self.settings = Settings.from_env(ENV | (env or {}), demo=True)
        self.web = Web(self.settings, self.board, self._start, replace(QUICK, **limits))
        self.port = self.web.port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        self._session.close()
        self.web.stop()
        assert self.thread.join(LIMIT)
        assert not self.crashes

    def get(self, path: str, method: str = "GET", **headers: str) -> requests.Response:
        """Ask for a path."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._session.request(
            method, f"http://127.0.0.1:{self.port}{path}", headers=named, timeout=LIMIT
        )

    def ask(self, request: bytes) -> bytes:
        """Send these bytes, and return all that comes until the connection ends."""
        with socket.create_connection(("127.0.0.1", self.port), LIMIT) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    def _start(self, name: str, work: Callable[[], None]) -> WatchedThread:
        self.thread = WatchedThread(name, work, self.crashes.append)
        return self.thread


def wait_until(condition: Callable[[], bool]) -> None:
    """Ask again and again until it holds; fails after a while."""
    assert comes_true(condition, LIMIT)
