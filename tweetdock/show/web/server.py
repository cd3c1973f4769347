"""The HTTP server under the page: how it starts, and how it ends at once."""

import asyncio
import socket
from typing import Any

from uvicorn.config import Config
from uvicorn.server import Server as Uvicorn

from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board
from tweetdock.show.web.connection import Connection
from tweetdock.show.web.guard import Guard, names_of
from tweetdock.show.web.limits import Limits
from tweetdock.show.web.routes import make_routes
from tweetdock.show.web.watchers import Watchers

FAREWELL_SECONDS = 0.05  # for the last words to those who watch
END_SECONDS = 0.05


class Server:
    """Serves the board at a socket, in the thread that calls `serve`, until `stop`."""

    def __init__(self, settings: Settings, board: Board, limits: Limits) -> None:
        self._watchers = Watchers(board, limits)
        routes = make_routes(settings, board, self._watchers)
        names = names_of(socket.gethostname(), settings.web_hosts)
        guard = Guard(routes, names, limits, is_open=settings.is_page_open)
        self._uvicorn = _Uvicorn(_Config(guard, limits), self._watchers)

    def serve(self, listener: socket.socket) -> None:
        """Serve until told to stop."""
        asyncio.run(self._uvicorn.serve(sockets=[listener]))

    def stop(self) -> None:
        """Have it end, from any thread, at any time."""
        self._uvicorn.stop()


class _Config(Config):
    """Nothing from the environment, no log, no name in each answer."""

    def __init__(self, app: Guard, limits: Limits) -> None:
        super().__init__(
            app,
            loop="asyncio",
            http=Connection,
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
            timeout_keep_alive=1,
            h11_max_incomplete_event_size=limits.head_bytes,
        )
        self.limits = limits


class _Uvicorn(Uvicorn):
    """Uvicorn that sleeps while nothing happens, and waits for nobody at its end."""

    def __init__(self, config: _Config, watchers: Watchers) -> None:
        super().__init__(config)
        self._watchers = watchers
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
        await self._tasks_end(END_SECONDS)

    async def _tasks_end(self, seconds: float) -> None:
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=seconds)


def take_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what fails in the loop, but not that a peer is gone, which asyncio takes for an error."""
    if "transport" not in context or not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)
