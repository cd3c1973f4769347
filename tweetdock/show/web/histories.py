"""What has been, for the page's chart: long, so that it is made once and not for too many."""

import json
import time
from collections.abc import Iterable

from tweetdock.show.board import Board
from tweetdock.show.past import HOUR_MS, TEN_SECONDS_MS, Moment
from tweetdock.show.web.answers import JSON, Answer, refusal
from tweetdock.show.web.asgi import App, Message, Receive, Send

LEAST_HOURS, MOST_HOURS = 0.1, 8784.0  # six minutes; a leap year
AT_ONCE = 20  # a year is some hundred kilobytes, and a slow reader keeps them
KEPT = 4  # the page has as many ranges to choose from


class Histories:
    """The board's past as JSON; made anew when there is more of it."""

    def __init__(self, board: Board, window_seconds: float) -> None:
        self._board = board
        self._window_seconds = window_seconds
        self._made: dict[float, tuple[int, bytes]] = {}
        self._under_way = 0

    def answer(self, path: str, text: str) -> App:
        """The last hours, as many as `text` says."""
        hours = hours_of(text)
        if hours is None:
            why = f"hours must be a number from {LEAST_HOURS:g} to {MOST_HOURS:g}."
            return refusal(path, 400, why)
        if self._under_way >= AT_ONCE:
            return refusal(path, 503, "Many ask for the history just now.", retry_after="2")

        async def send_history(scope: Message, receive: Receive, send: Send) -> None:
            self._under_way += 1
            try:
                await Answer(self._body(hours), JSON)(scope, receive, send)
            finally:
                self._under_way -= 1

        return send_history

    def _body(self, hours: float) -> bytes:
        reading = self._board.reading
        now_ms = round(time.time() * 1000) if reading is None else reading.at_ms
        stamp, made = now_ms // TEN_SECONDS_MS, self._made.get(hours)
        if made is not None and made[0] == stamp:
            return made[1]
        moments = self._board.past.since(now_ms - round(hours * HOUR_MS))
        body = as_json(moments, hours, self._window_seconds)
        self._made.pop(hours, None)
        self._made[hours] = stamp, body
        if len(self._made) > KEPT:
            del self._made[next(iter(self._made))]
        return body


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
