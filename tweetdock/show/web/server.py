"""The HTTP server under the page: whom it answers, how long it waits for them, and how it ends."""

import asyncio
import logging
import re
import socket
import threading
import traceback
from asyncio import TimerHandle
from collections.abc import Iterable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import Server as Uvicorn

from tweetdock.core.address import is_ip
from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board
from tweetdock.show.web.routes import App, Limits, Message, Receive, Send, make_routes, refusal

log = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE_HEADERS = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
]
HOST = re.compile(
    r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9_.-]{0,250}[a-z0-9_])?)\.?(?::\d{1,5})?"
)
UNWATCHED_PAUSES = 4  # while nobody watches: a look takes as much as everything else at rest
FAREWELL_SECONDS = 0.05  # for the last words to those who watch


def names_of(machine: str, others: Iterable[str]) -> frozenset[str]:
    """The names by which the page may be asked for: this machine's, and those of the settings."""
    name = machine.lower()
    short = name.partition(".")[0]
    own = {name, short, f"{short}.local"} if short else set()
    return frozenset({"localhost", *own, *others})


def guarded(app: App, names: frozenset[str], *, is_open: bool) -> App:
    """The application for requests that are meant for this machine.

    A name that is not ours is refused, as a foreign page may have made it point here (DNS
    rebinding), and would read what we answer. A body is refused too: it may never end. A bug is
    logged once, however often it is met.

    is_open: the whole network may ask. Then any name that only this network gives will do, as a
    container does not know what the machine that it runs on is called.
    """
    told: set[tuple[type, int]] = set()

    def refused(scope: Message) -> App | None:
        headers, path = dict(scope["headers"]), scope["path"]
        found = HOST.fullmatch(headers.get(b"host", b"").decode("latin-1").lower())
        name = found[1] if found else ""
        if not (name in names or is_ip(name.strip("[]")) or (is_open and is_local(name))):
            why = "A request must name this TweetDock's host, by its name or address."
            if name and not name.startswith("["):
                why = (
                    f"TweetDock is not known here as {name}. "
                    f"If it is, tell it so: TWEETDOCK_WEB_HOSTS={name}"
                )
            return refusal(path, 421, why)
        if b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0":
            return refusal(path, 413, "A question to TweetDock has no body.", connection="close")
        return None

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        try:
            await (refused(scope) or app)(scope, receive, send)
        except Exception as error:
            *_, (_, line) = traceback.walk_tb(error.__traceback__)
            if (type(error), line) not in told:
                told.add((type(error), line))
                path = scope["path"][:80]
                log.exception("page: a bug of TweetDock at %r; please report it", path)

    return answer


def is_local(name: str) -> bool:
    """Whether a name is given by the local network, so that no foreign page can have it.

    `.local` is for multicast DNS alone (RFC 6762, section 3). A name without a dot comes from the
    network's own router; the few top-level domains with an address are registries' (RFC 7085).
    """
    return name.endswith(".local") or bool(name and "." not in name)


class Connection(H11Protocol):
    """Uvicorn's connection with what it lacks: an end for those who are slow on purpose."""

    _unread: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take it, if there is room, and wait for a request."""
        super().connection_made(transport)
        # Whatever the system does not take at once counts as unread.
        transport.set_write_buffer_limits(high=0)
        if self.limit_concurrency and len(self.connections) >= self.limit_concurrency:
            self._refuse("503 Service Unavailable", "Too many connections; come back in a moment.")
        else:
            self.timeout_keep_alive_task = self._abort_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._unset_keepalive_if_required()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what was sent; the time for a request goes on until it has come whole."""
        clock, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
        super().data_received(data)
        if clock is None:
            return
        if self.cycle is None or self.cycle.response_complete:
            self.timeout_keep_alive_task = clock
        else:
            clock.cancel()

    def pause_writing(self) -> None:
        """Give the peer some time to read."""
        super().pause_writing()
        self._unread = self._abort_later()

    def resume_writing(self) -> None:
        """All has been read, or the system has taken it."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, whatever is being answered meanwhile."""
        self._refuse("400 Bad Request", msg)

    def _abort_later(self) -> TimerHandle:
        # Not `close`, which would wait until everything is read.
        return self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def _refuse(self, status: str, why: str) -> None:
        kind = "content-type: text/plain\r\nx-content-type-options: nosniff\r\nretry-after: 5"
        answer = f"HTTP/1.1 {status}\r\n{kind}\r\nconnection: close\r\n\r\n{why}\n"
        self.transport.write(answer.encode())
        self.transport.close()


class Server(Uvicorn):
    """Serves the board at sockets, in the thread that calls `run`, until `stopping` is set.

    It waits for nobody at its end.
    """

    def __init__(
        self,
        settings: Settings,
        board: Board,
        stopping: threading.Event,
        limits: Limits | None = None,
    ) -> None:
        self._stopping = stopping
        limits = limits or Limits()
        self._limits = limits
        routes, self._watchers = make_routes(settings, board, limits)
        names = names_of(socket.gethostname(), settings.web_hosts)
        # Nothing from the environment, no log beside our own, no name in each answer.
        config = Config(
            guarded(routes, names, is_open=settings.is_page_open),
            loop="asyncio",
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            workers=1,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            headers=SAFE_HEADERS,
            limit_concurrency=limits.connections + 1,  # that one more is told to come back
            timeout_keep_alive=limits.patience_seconds,
        )
        super().__init__(config)

    async def main_loop(self) -> None:
        """Tell who watches of new readings, and look whether to end."""
        self.server_state.default_headers = self.config.encoded_headers
        while not self._stopping.is_set():
            self._watchers.tell()
            pauses = 1 if self._watchers.number else UNWATCHED_PAUSES
            await asyncio.sleep(self._limits.pause_seconds * pauses)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say goodbye to those who watch, and cut whatever is left."""
        self._watchers.end()
        await asyncio.sleep(FAREWELL_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)
