"""The HTTP server under the page: how it starts, and how it ends at once."""

import asyncio
import logging
import socket
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import Server as Uvicorn

from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board
from tweetdock.show.web.guard import SAFE_HEADERS, Guard, Limits, names_of
from tweetdock.show.web.routes import make_routes
from tweetdock.show.web.watchers import Watchers

if TYPE_CHECKING:
    from asyncio import TimerHandle

log = logging.getLogger(__name__)

# What clients do wrong is not logged; our own errors are, by the guard.
log.setLevel(logging.ERROR)

REFUSALS = {
    400: b"This is not a request that TweetDock understands.\n",
    431: b"The head of this request is too long.\n",
    503: b"Too many connections; please come back in a moment.\n",
}
FAREWELL_SECONDS = 0.05  # for the last words to those who watch
CUT_SECONDS = 0.05


class Connection(H11Protocol):
    """Uvicorn's connection with what it lacks: an end for those who are slow on purpose."""

    def __init__(self, *arguments: Any, limits: Limits, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.logger = log
        self._limits = limits
        self.timeout_keep_alive = limits.idle_seconds  # type: ignore[assignment]
        self._asking: TimerHandle | None = None
        self._unread: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, if there is room."""
        super().connection_made(transport)
        # Whatever the system does not take at once counts as unread.
        transport.set_write_buffer_limits(high=0)
        _die_with_the_peer(transport.get_extra_info("socket"), self._limits.unread_seconds)
        if len(self.connections) > self._limits.connections:
            self._refuse(503)
        else:
            self._asking = self._abort_after(self._limits.request_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        for timer in (self._asking, self._unread):
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what was sent: a request's head and no more."""
        if self.transport.is_closing():
            return
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering and self._is_much(data + self.conn.trailing_data[0]):
            self.transport.abort()  # it asks and asks, and does not wait for answers
        elif self._is_much(data):
            self._refuse(431)
        else:
            super().data_received(data)
            self._watch_request()

    def pause_writing(self) -> None:
        """Give the peer some time to read."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self._abort_after(self._limits.unread_seconds)

    def resume_writing(self) -> None:
        """All has been read, or the system has taken it."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - Uvicorn's words; we have ours
        """Refuse what is no request."""
        self._refuse(431 if self._is_much(self.conn.trailing_data[0]) else 400)

    def _is_much(self, data: bytes) -> bool:
        return len(data) > self._limits.head_bytes

    def _watch_request(self) -> None:
        """See to it that what has begun to be asked is asked in time."""
        is_waiting = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        if not is_waiting and self._asking is not None:
            self._asking.cancel()
            self._asking = None
        elif is_waiting and self._asking is None and self.timeout_keep_alive_task is None:
            self._asking = self._abort_after(self._limits.request_seconds)

    def _abort_after(self, seconds: float) -> "TimerHandle":
        # Not `close`, which would wait until everything is read.
        return self.loop.call_later(seconds, self.transport.abort)

    def _refuse(self, status: int) -> None:
        body = REFUSALS[status]
        head = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "content-type: text/plain; charset=utf-8",
            f"content-length: {len(body)}",
            "connection: close",
            *(["retry-after: 5"] if status == 503 else []),
            *(f"{name.decode()}: {value.decode()}" for name, value in SAFE_HEADERS),
        ]
        self.transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        self.transport.close()


def _die_with_the_peer(connection: socket.socket, seconds: float) -> None:
    """Have the system give up a peer that has vanished: it never says so itself."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it
    if option is not None:
        connection.setsockopt(socket.IPPROTO_TCP, option, round(seconds * 1000))


class Server(Uvicorn):
    """Serves the board at sockets, in the thread that calls `run`, until `stop`.

    It sleeps while nothing happens, and waits for nobody at its end.
    """

    def __init__(self, settings: Settings, board: Board, limits: Limits) -> None:
        self._watchers = Watchers(board, limits)
        routes = make_routes(settings, board, self._watchers)
        names = names_of(socket.gethostname(), settings.web_hosts)
        guard = Guard(routes, names, limits, is_open=settings.is_page_open)
        # Nothing from the environment, no log, no name in each answer.
        config = Config(
            guard,
            loop="asyncio",
            http=partial(Connection, limits=limits),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            workers=1,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=limits.connections,
            h11_max_incomplete_event_size=limits.head_bytes,
        )
        super().__init__(config)
        self._wake: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """Have it end, from any thread, at any time."""
        self.should_exit = True
        if self._loop is not None and self._wake is not None:
            try:
                self._loop.call_soon_threadsafe(self._wake.set)
            except RuntimeError:  # it has ended, and its loop is closed
                return

    async def main_loop(self) -> None:
        """Wait to be stopped; Uvicorn's own looks ten times a second whether it is."""
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(take_failure)
        self._watchers.begin()
        if not self.should_exit:
            await self._wake.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say goodbye to those who watch, and cut whatever is left."""
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        self._watchers.end()
        await self._tasks_end(FAREWELL_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await self._tasks_end(CUT_SECONDS)

    async def _tasks_end(self, seconds: float) -> None:
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=seconds)


def take_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what fails in the loop, but not that a peer is gone, which asyncio takes for an error."""
    if "transport" not in context or not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)
