"""What can be asked of the page: the table of addresses, and an answer for each."""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, Router

from tweetdock.core.dial import DIALS
from tweetdock.core.times import HOUR_MS
from tweetdock.settings.gauge import Settings
from tweetdock.show.board import TEN_SECONDS_MS, Board, Moment
from tweetdock.show.web.answers import (
    JSON,
    TEXT,
    App,
    Message,
    Receive,
    Send,
    Statics,
    as_bytes,
    as_line,
    refusal,
)
from tweetdock.show.web.page import draw_dial, page
from tweetdock.show.web.watchers import Watchers

LEAST_HOURS, MOST_HOURS = 0.1, 8784.0  # six minutes; a leap year
AT_ONCE = 20  # a year is some hundred kilobytes, and a slow reader keeps them
KEPT = 4  # the page has as many ranges to choose from
SOON = {"retry_after": "1"}
PIECE_BYTES = 16_384
NOTHING = "There is nothing at this address."
EVENT_HEADERS = {
    "content-type": "text/event-stream",
    "x-accel-buffering": "no",  # nginx would collect events before it passes them on
}
STATIC = Path(__file__).parent / "static"


class Histories:
    """The board's past as JSON; made anew when there is more of it."""

    def __init__(self, board: Board, window_seconds: float) -> None:
        self._board = board
        self._window_seconds = window_seconds
        self._body = lru_cache(KEPT)(self._make)
        self._under_way = 0

    def answer(self, path: str, text: str) -> Response:
        """The last hours, as many as `text` says."""
        hours = hours_of(text)
        if hours is None:
            why = f"hours must be a number from {LEAST_HOURS:g} to {MOST_HOURS:g}."
            return refusal(path, 400, why)
        if self._under_way >= AT_ONCE:
            return refusal(path, 503, "Many ask for the history just now.", retry_after="2")
        reading = self._board.reading
        now_ms = round(time.time() * 1000) if reading is None else reading.at_ms
        body = self._body(hours, now_ms // TEN_SECONDS_MS)
        size = {"content-length": str(len(body))}
        return StreamingResponse(self._pieces(body), headers=size, media_type=JSON)

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


def as_json(moments: Iterable[Moment], hours: float, window_seconds: float) -> bytes:
    """The moments, a list for each of their sides, oldest first; times in Unix seconds."""
    rows = list(moments)
    whole = {
        "hours": hours,
        "window_seconds": window_seconds,
        "at": [row.at_ms // 1000 for row in rows],
        "posts": [row.posts for row in rows],
        "authors": [row.authors for row in rows],
        "grade": [row.grade for row in rows],
    }
    return json.dumps(whole, separators=(",", ":")).encode() + b"\n"


def make_routes(settings: Settings, board: Board, watchers: Watchers) -> App:
    """All that is served, as one ASGI application."""
    answers = _Answers(settings, board, watchers)
    table = {
        "/": answers.page,
        "/static/{name:path}": answers.static,
        "/dial/{name}.svg": answers.dial,
        "/api/reading": answers.reading,
        "/api/reading.txt": answers.line,
        "/api/events": answers.events,
        "/api/history": answers.history,
        "/metrics": answers.metrics,
        "/healthz": answers.health,
    }
    routes = [Route(path, answer) for path, answer in table.items()]
    return Router(routes, redirect_slashes=False, default=_nothing_there)


class _Answers:
    """An answer for each address; read off the board when asked."""

    def __init__(self, settings: Settings, board: Board, watchers: Watchers) -> None:
        self._board = board
        self._watchers = watchers
        self._statics = Statics(STATIC)
        self._histories = Histories(board, settings.window_seconds)
        self._dials = {name: getattr(settings, name) for name in DIALS}
        self._scrape: Callable[[str], tuple[bytes, str]] | None = None

    async def page(self, request: Request) -> Response:
        reading = self._board.current_reading
        if reading is None and self._board.reading is not None:
            return self._no_reading(request, refresh="5")
        text = page(reading, self._dials, kiosk="kiosk" in request.query_params)
        return Response(text, media_type="text/html")

    async def static(self, request: Request) -> Response:
        known = request.headers.get("if-none-match", "")
        return self._statics.answer(request.path_params["name"], known)

    async def dial(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._dials:
            return refusal("", 404, NOTHING)
        reading = self._board.current_reading
        if reading is None:
            return self._no_reading(request)
        one, dial = reading.dials[name], self._dials[name]
        text = draw_dial(name, one, dial, reading.grade, reading.kind.capitalize())
        # It may be shown elsewhere, in slides; all else is for this page.
        open_to_all = {"cross-origin-resource-policy": "cross-origin"}
        return Response(text, headers=open_to_all, media_type="image/svg+xml")

    async def reading(self, request: Request) -> Response:
        reading = self._board.current_reading
        if reading is None:
            return self._no_reading(request)
        return Response(as_bytes(reading), media_type=JSON)

    async def line(self, request: Request) -> Response:
        reading = self._board.current_reading
        if reading is None:
            return self._no_reading(request)
        return Response(as_line(reading), media_type=TEXT)

    async def events(self, request: Request) -> Response:
        if not self._watchers.has_room:
            why = "As many watch as there is room for; /api/reading may be asked all the same."
            return refusal(request.scope["path"], 503, why, retry_after="30")
        if request.method == "HEAD":
            return Response(headers=EVENT_HEADERS)
        return StreamingResponse(self._watchers.events(), headers=EVENT_HEADERS)

    async def history(self, request: Request) -> Response:
        return self._histories.answer(
            request.scope["path"], request.query_params.get("hours", "24")
        )

    async def metrics(self, request: Request) -> Response:
        if self._scrape is None:
            # A megabyte or two, for those who measure.
            from tweetdock.show.web.metrics import Metrics  # noqa: PLC0415

            self._scrape = Metrics(self._board, lambda: len(self._watchers)).scrape
        body, kind = self._scrape(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": kind})

    async def health(self, request: Request) -> Response:  # noqa: ARG002 - as all the others
        trouble = self._board.problem
        if trouble:
            return refusal("", 503, trouble)
        return Response(b"ok\n", media_type=TEXT)

    def _no_reading(self, request: Request, **headers: str) -> Response:
        why = self._board.why_no_reading
        return refusal(request.scope["path"], 503, why, **SOON, **headers)


async def _nothing_there(scope: Message, receive: Receive, send: Send) -> None:
    await refusal(scope["path"], 404, NOTHING)(scope, receive, send)
