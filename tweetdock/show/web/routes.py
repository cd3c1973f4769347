"""What can be asked of the page: the table of addresses, and an answer for each."""

import asyncio
import json
import math
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tweetdock.core.reading import Reading
from tweetdock.core.times import HOUR_MS
from tweetdock.settings.gauge import Settings
from tweetdock.show.board import TEN_SECONDS_MS, Board, Moment
from tweetdock.show.web.page import draw_dial, page

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LEAST_HOURS, MOST_HOURS = 0.1, 8784.0  # six minutes; a leap year
AT_ONCE = 20  # a year is some hundred kilobytes, and a slow reader keeps them
KEPT = 4  # the page has as many ranges to choose from
PIECE_BYTES = 16_384
RETRY = b"retry: 2000\n\n"
USUAL_HEADERS = {"cache-control": "no-store", "cross-origin-resource-policy": "same-origin"}
EVENT_HEADERS = USUAL_HEADERS | {
    "content-type": "text/event-stream",
    "x-accel-buffering": "no",  # nginx would collect events before it passes them on
}
TEXT = "text/plain"
JSON = "application/json"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the page's server takes on; what is beyond is refused, or dropped.

    watchers: who follow the readings live. connections: these and all others.
    patience_seconds: for how long a connection may let us wait: for its next request, until that
    has come whole, or until what was sent has been read.
    pause_seconds: from one event to the next, and while somebody watches from one look at the board
    to the next.
    """

    watchers: int = 250
    connections: int = 400
    patience_seconds: int = 10
    pause_seconds: float = 0.25


def answer(body: bytes | str, kind: str = TEXT, status: int = 200, **headers: str) -> Response:
    """An answer that nobody keeps, and no other site may read, unless its headers say so."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(body, status, USUAL_HEADERS | named, kind)


def refusal(path: str, status: int, why: str, **headers: str) -> Response:
    """An error, as JSON for who asks the API, as a line for people."""
    if path.startswith("/api/") and not path.endswith(".txt"):
        return answer(json.dumps({"error": why}) + "\n", JSON, status, **headers)
    return answer(f"{why}\n", TEXT, status, **headers)


def as_bytes(reading: Reading) -> bytes:
    """The reading as the contract's JSON, in one line."""
    text = json.dumps(reading.as_json(), ensure_ascii=False)
    # A network's own words may have half a surrogate pair.
    return text.encode(errors="replace") + b"\n"


def as_line(reading: Reading) -> bytes:
    r"""The reading as one line of ASCII for a tiny client that would not parse JSON.

    Fields are separated by one space and the line ends with `\n`; more may be added at the end:

        412 287 exact 0.4120 0.2870 1.000 1763732112 live

    posts, authors; the grade; where the two needles are to be, 0..1; the share of the window that
    is covered, 0..1, rounded down; when that was, Unix seconds; `live`, `demo` or `replay`.
    """
    tweets, tweeters = reading.dials["tweets"], reading.dials["tweeters"]
    covered = math.floor(reading.covered * 1000) / 1000
    return (
        f"{reading.posts} {reading.authors} {reading.grade} {tweets.position:.4f} "
        f"{tweeters.position:.4f} {covered:.3f} {reading.at_ms // 1000} {reading.kind or 'live'}\n"
    ).encode()


class Watchers:
    """Those who follow the readings live; each gets the newest, and nobody holds up another."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._changed = asyncio.Event()
        self._told: Reading | None = None
        self._event = b""
        self._has_ended = False
        self.number = 0

    def tell(self) -> None:
        """Tell them of the newest reading, by one event for all."""
        reading = self._board.reading
        if self.number and reading is not None and reading is not self._told:
            self._told = reading
            self._event = b"id: %d\ndata: %b\n" % (reading.at_ms, as_bytes(reading))
            self._wake()

    def end(self) -> None:
        """End the answers to all of them."""
        self._has_ended = True
        self._wake()

    async def events(self) -> AsyncIterator[bytes]:
        """The readings for one watcher, the newest again and again."""
        self.number += 1
        try:
            yield RETRY
            self.tell()
            seen = None
            while not self._has_ended:
                # Asked for the next when all that was sent before is on its way: only then the
                # newest is chosen, so that who reads slowly misses readings, and sees no old ones.
                yield b""
                # What was put up before the loop hung is not sent to who comes later.
                if self._told is seen or self._board.is_silent:
                    await self._changed.wait()
                else:
                    seen = self._told
                    yield self._event
        finally:
            self.number -= 1

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Histories:
    """The board's past as JSON; made anew when there is more of it."""

    def __init__(self, board: Board, window_seconds: float) -> None:
        self._board = board
        self._window_seconds = window_seconds
        self._body = lru_cache(KEPT)(self._make)
        self._under_way = 0

    def answer(self, text: str) -> Response:
        """The last hours, as many as `text` says."""
        hours = hours_of(text)
        if hours is None:
            why = f"hours must be a number from {LEAST_HOURS:g} to {MOST_HOURS:g}."
            raise HTTPException(400, why)
        if self._under_way >= AT_ONCE:
            raise HTTPException(503, "Many ask for the history just now.", {"retry-after": "2"})
        reading = self._board.reading
        now_ms = round(time.time() * 1000) if reading is None else reading.at_ms
        body = self._body(hours, now_ms // TEN_SECONDS_MS)
        headers = USUAL_HEADERS | {"content-length": str(len(body))}
        return StreamingResponse(self._pieces(body), headers=headers, media_type=JSON)

    async def _pieces(self, body: bytes) -> AsyncIterator[bytes]:
        """The body in pieces, so that it does not wait in memory for a slow reader."""
        self._under_way += 1
        try:
            for at in range(0, len(body), PIECE_BYTES):
                yield body[at : at + PIECE_BYTES]
        finally:
            self._under_way -= 1

    def _make(self, hours: float, now: int) -> bytes:
        since_ms = now * TEN_SECONDS_MS - round(hours * HOUR_MS)
        return as_json(self._board.past.since(since_ms), hours, self._window_seconds)


def hours_of(text: str) -> float | None:
    """For how many hours somebody asks; None if that cannot be had."""
    try:
        hours = float(text)
    except ValueError:
        return None
    return hours if LEAST_HOURS <= hours <= MOST_HOURS else None


def as_json(moments: list[Moment], hours: float, window_seconds: float) -> bytes:
    """The moments, a list for each of their sides, oldest first; times in Unix seconds."""
    whole = {
        "hours": hours,
        "window_seconds": window_seconds,
        "at": [moment.at_ms // 1000 for moment in moments],
        "posts": [moment.posts for moment in moments],
        "authors": [moment.authors for moment in moments],
        "grade": [moment.grade for moment in moments],
    }
    return json.dumps(whole, separators=(",", ":")).encode() + b"\n"


def make_routes(settings: Settings, board: Board, limits: Limits) -> tuple[Starlette, Watchers]:
    """All that is served, as one ASGI application, and those who watch it."""
    watchers = Watchers(board)
    answers = _Answers(settings, board, watchers, limits.watchers)
    table = {
        "/": answers.page,
        "/static/{name}": answers.static,
        "/dial/{name}.svg": answers.dial,
        "/api/reading": answers.reading,
        "/api/reading.txt": answers.line,
        "/api/events": answers.events,
        "/api/history": answers.history,
        "/metrics": answers.metrics,
        "/healthz": answers.health,
    }
    routes = [Route(path, answer) for path, answer in table.items()]
    refusals: Any = {HTTPException: _refuse, Exception: _apologize}
    return Starlette(routes=routes, exception_handlers=refusals), watchers


async def _refuse(request: Request, error: Any) -> Response:
    is_unknown = error.status_code == 404
    why = "There is nothing at this address." if is_unknown else error.detail
    return refusal(request.scope["path"], error.status_code, why, **(error.headers or {}))


async def _apologize(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as above
    return refusal(request.scope["path"], 500, "This is a bug of TweetDock; its log has more.")


class _Answers:
    """An answer for each address; read off the board when asked."""

    def __init__(
        self, settings: Settings, board: Board, watchers: Watchers, most_watchers: int
    ) -> None:
        self._board = board
        self._watchers = watchers
        self._most_watchers = most_watchers
        # As they are at the start; nothing else can be had by any name.
        self._static = {path.name: path.read_bytes() for path in STATIC.iterdir()}
        self._histories = Histories(board, settings.window_seconds)
        self._dials = settings.dials
        self._scrape: Callable[[str], tuple[bytes, str]] | None = None

    async def page(self, request: Request) -> Response:
        reading = None if self._board.reading is None else self._reading(refresh="5")
        text = page(reading, self._dials, kiosk="kiosk" in request.query_params)
        return answer(text, "text/html")

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._static:
            raise HTTPException(404)
        body = self._static[name]
        tag = f'"{zlib.crc32(body):08x}"'
        is_known = tag in request.headers.get("if-none-match", "")
        body, status = (b"", 304) if is_known else (body, 200)
        # To be asked for again each time, and then mostly not sent: an upgrade shows at once.
        kind = KINDS.get(Path(name).suffix, TEXT)
        return answer(body, kind, status, etag=tag, cache_control="no-cache")

    async def dial(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._dials:
            raise HTTPException(404)
        reading, dial = self._reading(), self._dials[name]
        text = draw_dial(name, reading.dials[name], dial, reading.grade, reading.kind.capitalize())
        # It may be shown elsewhere, in slides; all else is for this page.
        return answer(text, "image/svg+xml", cross_origin_resource_policy="cross-origin")

    async def reading(self, request: Request) -> Response:  # noqa: ARG002 - as all the others
        return answer(as_bytes(self._reading()), JSON)

    async def line(self, request: Request) -> Response:  # noqa: ARG002 - as all the others
        return answer(as_line(self._reading()))

    async def events(self, request: Request) -> Response:
        if self._watchers.number >= self._most_watchers:
            why = "As many watch as there is room for; /api/reading may be asked all the same."
            raise HTTPException(503, why, {"retry-after": "30"})
        if request.method == "HEAD":
            return Response(headers=EVENT_HEADERS)
        return StreamingResponse(self._watchers.events(), headers=EVENT_HEADERS)

    async def history(self, request: Request) -> Response:
        return self._histories.answer(request.query_params.get("hours", "24"))

    async def metrics(self, request: Request) -> Response:
        if self._scrape is None:
            # A megabyte or two, for those who measure.
            from tweetdock.show.web.metrics import Metrics  # noqa: PLC0415

            self._scrape = Metrics(self._board, lambda: self._watchers.number).scrape
        body, kind = self._scrape(request.headers.get("accept", ""))
        return answer(body, content_type=kind)

    async def health(self, request: Request) -> Response:  # noqa: ARG002 - as all the others
        trouble = self._board.problem
        return refusal("", 503, trouble) if trouble else answer("ok\n")

    def _reading(self, **headers: str) -> Reading:
        """The reading that holds now; HTTPException without one."""
        reading = self._board.current_reading
        if reading is None:
            raise HTTPException(503, self._board.why_no_reading, {"retry-after": "1"} | headers)
        return reading
