"""A WebSocket that is listened to: it ends in time, and can be ended from another thread."""

import logging
import socket
import threading
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    WebSocketException,
)
from websockets.sync.client import ClientConnection, connect

from tweetdock.core.errors import LOG_IN, Kind, RefusedError, SourceError
from tweetdock.core.times import duration
from tweetdock.sources.endpoint import Endpoint, proxy_address

SETTING = "TWEETDOCK_JETSTREAM"
OTHER_ADDRESS = f"check {SETTING}: the address of a Jetstream is wss://host/subscribe"
BUSY = (408, 425)  # refusals that end by themselves
OPEN_SECONDS = 10.0
ONE_ADDRESS_SECONDS = 4.0  # some swallow what comes (IPv6 that leads nowhere)
END_SECONDS = 0.1
LARGEST = 16 * 1024 * 1024  # a record has 1 MB at the most, which as JSON is six at the most
MOST_MESSAGES = 1000  # of one read
# ValueError: of names; EOFError: its older releases wrap none; ImportError: for SOCKS proxies.
OPEN_ERRORS = (OSError, WebSocketException, ValueError, EOFError, ImportError)


class WebSocket:
    """One connection at a time to a server that speaks and is listened to (RFC 6455).

    It goes through the proxy that the environment names. Nothing is packed, as to unpack a
    message costs as much again as to receive it. Every trouble is a SourceError.
    """

    def __init__(self) -> None:
        self._is_cut = False
        self._host = ""
        self._attempt: Future[ClientConnection] = Future()

    def cut(self) -> None:
        """End it, and all attempts to come, from another thread: who waits in it gets an error."""
        self._is_cut = True
        self.close()

    def close(self) -> None:
        """Leave the connection, or the attempt at one."""
        attempt = self._attempt
        if not attempt.cancel() and attempt.exception() is None:
            _end(attempt.result())

    def open(self, url: str) -> dict[str, str]:
        """Connect; the headers of the answer, `Like-This`."""
        self.close()
        attempt = self._attempt = Future()
        if self._is_cut:
            raise SourceError("ended")
        endpoint = Endpoint(url, SETTING)
        self._host = endpoint.host
        # A thread of its own can be left alone; nothing ends the look-up of a name.
        threading.Thread(target=_connect, args=(url, attempt), name="connect", daemon=True).start()
        try:
            response = attempt.result(OPEN_SECONDS).response
        except (CancelledError, *OPEN_ERRORS) as error:
            self.close()
            raise _failed(endpoint, error) from error
        return _by_name(response.headers) if response else {}

    def read(self, silence_seconds: float) -> list[bytes]:
        """Wait for a message; it, and those that have come by then.

        Raises SourceError when the connection has ended, or counts as dead as no message came for
        so long.
        """
        connection = self._attempt.result(0)
        messages: list[bytes] = []
        try:
            while len(messages) < MOST_MESSAGES:
                messages.append(connection.recv(0 if messages else silence_seconds, decode=False))
        except TimeoutError as error:
            if not messages:
                silence = duration(silence_seconds)
                raise SourceError(f"{self._host} has said nothing for {silence}") from error
        except ConnectionClosed as error:
            if not messages:
                raise _ended(self._host, error) from error
        return messages


class _Connection(ClientConnection):
    """Follows no redirect: Jetstream does not redirect, a hotel's Wi-Fi does.

    It reads nothing before it has asked: OpenSSL hangs, once in a few hundred times, when what
    TLS 1.3 sends after its handshake is read while another thread writes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._has_asked = threading.Event()
        super().__init__(*args, **kwargs)

    def recv_events(self) -> None:
        self._has_asked.wait(OPEN_SECONDS)
        super().recv_events()

    def send_data(self) -> None:
        try:
            super().send_data()
        finally:
            self._has_asked.set()

    def handshake(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().handshake(*args, **kwargs)
        except InvalidStatus as error:
            response = error.response
            raise RefusedError(response.status_code, _by_name(response.headers), b"") from error


def _by_name(headers: Headers) -> dict[str, str]:
    return {name.title(): value for name, value in headers.raw_items()}


def _connect(url: str, attempt: "Future[ClientConnection]") -> None:
    quiet = logging.getLogger(f"{__name__}.library")
    quiet.setLevel(logging.CRITICAL)  # it takes our ends for errors; all others are raised, too
    try:
        connection = connect(
            url,
            proxy=proxy_address(url) or None,
            compression=None,
            open_timeout=OPEN_SECONDS,
            timeout=ONE_ADDRESS_SECONDS,
            ping_interval=None,  # who says nothing is left sooner than a ping would show
            close_timeout=END_SECONDS,
            max_size=LARGEST,
            logger=quiet,
            create_connection=_Connection,
        ).__enter__()
    except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
        with suppress(InvalidStateError):
            attempt.set_exception(error)
    else:
        try:
            attempt.set_result(connection)
        except InvalidStateError:  # nobody waits any more
            _end(connection)


def _end(connection: ClientConnection) -> None:
    with suppress(OSError):
        # What only is closed goes on waiting for a host that takes nothing. And not SSLSocket's
        # own: it pulls the TLS state from under the reader.
        socket.socket.shutdown(connection.socket, socket.SHUT_RDWR)
    connection.close()


def _failed(endpoint: Endpoint, error: BaseException) -> SourceError:
    """Why there is no connection. Their own words are not used: they may hold a password."""
    match error:
        case RefusedError():
            return _refused(endpoint.host, error)
        case InvalidURI():
            what = f"{endpoint.host} is no WebSocket's address"
            return SourceError(what, OTHER_ADDRESS, kind=Kind.ADDRESS)
        case InvalidProxy():
            return endpoint.no_address()
        case ProxyError():
            return endpoint.proxy_fails()
        case EOFError() | InvalidHandshake(__cause__=EOFError()):
            return SourceError(f"{endpoint.host} has closed the connection")
        case WebSocketException():
            return SourceError(
                f"{endpoint.host} does not speak WebSocket", OTHER_ADDRESS, kind=Kind.STRANGER
            )
    return endpoint.explain(error)


def _refused(host: str, refusal: RefusedError) -> SourceError:
    status, kind, cure = refusal.status, Kind.SERVER, ""
    if 300 <= status < 400:
        kind, cure = Kind.STRANGER, f"{LOG_IN}; else check {SETTING}"
    elif status == 429:
        kind = Kind.LIMIT
    elif status not in BUSY and status < 500:
        kind, cure = Kind.STRANGER, OTHER_ADDRESS
    what = f"{host} refuses (HTTP {status})"
    return SourceError(what, cure, kind=kind, retry_after=refusal.retry_after)


def _ended(host: str, error: ConnectionClosed) -> SourceError:
    """Why a connection has ended."""
    received, sent = error.rcvd, error.sent
    if received is not None and error.rcvd_then_sent is not False:
        reason = " ".join("".join(filter(str.isprintable, received.reason)).split())[:100]
        return SourceError(f"{host} has closed the connection: {received.code} {reason}".strip())
    if sent is None:
        return SourceError(f"{host} has closed the connection")
    return SourceError(f"{host} sends what cannot be read as a WebSocket's messages")
