"""The page and the API: their address, and the thread that serves them."""

import errno
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tweetdock.core.address import host_and_port, is_loopback
from tweetdock.core.errors import UnavailableError
from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board

if TYPE_CHECKING:
    from tweetdock.show.web.routes import Limits

log = logging.getLogger(__name__)

# Files that Docker and Podman put into each container.
MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - told apart, not listened at
# Where packets would go out; documentation's own address, and none are sent.
OUTSIDE = ("192.0.2.1", 9)
BUFFER_BYTES = 32_768  # of the system, a connection: who does not read is soon found out


def is_contained(marks: Sequence[Path] = MARKS) -> bool:
    """Whether one of the marks of a container is there."""
    return any(mark.exists() for mark in marks)


class Web:
    """Serves the board until it is stopped; it listens from the start.

    Raises UnavailableError if the address cannot be had.
    """

    def __init__(
        self,
        settings: Settings,
        board: Board,
        start: Callable[[str, Callable[[], None]], object],
        limits: "Limits | None" = None,
    ) -> None:
        if settings.web is None:
            raise UnavailableError("TWEETDOCK_WEB=off: there is no page")
        self._settings = settings
        self._board = board
        self._limits = limits
        self._listener = listen(*settings.web)
        self._stopping = threading.Event()
        host, port = settings.web[0], self._listener.getsockname()[1]
        self.port: int = port  # what the system has chosen, if that was 0
        log.info("page: %s", _whereabouts(host, port))
        if is_loopback(host) and is_contained():
            log.info(
                "page: if this container has a network of its own nobody outside gets there; "
                "TWEETDOCK_WEB=0.0.0.0:%d opens it",
                port,
            )
        start("page", self._serve)

    def stop(self) -> None:
        """Have it end at once, with all who watch; its thread need not be waited for."""
        self._stopping.set()

    def _serve(self) -> None:
        with self._listener:  # closed by this thread only: a server that is slow to end needs it
            # Here, not above: it takes a moment, for which the needles need not wait.
            from tweetdock.show.web.server import Server  # noqa: PLC0415

            Server(self._settings, self._board, self._stopping, self._limits).run([self._listener])


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at the address; UnavailableError if it cannot be had."""
    is_v6 = ":" in host
    listener = None
    try:
        family = socket.AF_INET6 if is_v6 else socket.AF_INET
        # By name: only then asyncio sends small answers at once, instead of 40 ms later.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        # After a restart the port may still be remembered for connections that have ended.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # the connections inherit it
            listener.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        if is_v6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        listener.bind((host, port))
        listener.listen()  # as many as the system likes; the server sets its own number
    except OSError as error:
        if listener is not None:
            listener.close()
        raise _unavailable(error, host, port) from error
    return listener


def _unavailable(error: OSError, host: str, port: int) -> UnavailableError:
    """What is wrong with the address, and what to do."""
    what = f"TWEETDOCK_WEB={host_and_port(host, port)}"
    if error.errno == errno.EADDRINUSE:
        other = host_and_port(host, port + 1 if port < 65535 else 8080)
        return UnavailableError(
            f"{what}: another program, or another TweetDock, listens there",
            f"choose another port such as TWEETDOCK_WEB={other}, or TWEETDOCK_WEB=off",
        )
    if error.errno == errno.EACCES:
        cure = f"choose another such as TWEETDOCK_WEB={host_and_port(host, 8080)}"
        return UnavailableError(f"{what}: ports below 1024 are for root", cure)
    return UnavailableError(
        f"{what}: this machine does not have that address ({error.strerror or error})",
        f"choose TWEETDOCK_WEB=127.0.0.1:{port} for this machine alone, "
        f"TWEETDOCK_WEB=0.0.0.0:{port} for all of its addresses, or off",
    )


def _whereabouts(host: str, port: int) -> str:
    """Where people find the page, as far as that is known here."""
    if host not in ANYWHERE:
        return f"http://{host_and_port(host, port)}"
    if is_contained():
        return f"at port {port}; if this container has a network of its own, where -p has put it"
    address = _own_address()
    name = f"http://{host_and_port(_own_name(), port)}"
    return f"{name} or http://{host_and_port(address, port)}" if address else name


def _own_name() -> str:
    """The machine's name as others on the network can ask for it."""
    name = socket.gethostname()
    if name in ("", "localhost"):
        return "127.0.0.1"
    return name if "." in name else f"{name}.local"


def _own_address() -> str:
    """The machine's address as others on the network know it; empty if there is no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(OUTSIDE)
        except OSError:
            return ""
        return str(probe.getsockname()[0])
