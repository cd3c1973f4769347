"""A WebSocket that is listened to: it ends in time, and can be ended from another thread."""

import errno
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI, PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import WebSocketURI, parse_uri

from tweetdock.core.errors import RefusedError, SourceError
from tweetdock.core.times import duration

OPEN_SECONDS = 10.0
ONE_ADDRESS_SECONDS = 3.0  # most for an address but the last: some swallow what comes (IPv6)
GLANCE_SECONDS = 0.2
LARGEST = 4 * 1024 * 1024
LARGEST_ANSWER = 256 * 1024
_PIECE = 65536


class TooLargeError(SourceError):
    """The next message is larger than what we read."""


class WebSocket:
    """One connection at a time to a server that speaks and is listened to (RFC 6455).

    The protocol is the library's, without its threads and queues: those more than double what a
    message costs. Nothing is packed, as to unpack a message costs as much again as to receive it.
    It connects directly, through no proxy.

    Every trouble is a SourceError. `cut()` is for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wire: socket.socket | None = None
        self._is_cut = False
        self._is_in_use = False
        self._host = ""
        self._headers: dict[str, str] = {}
        self._protocol: ClientProtocol | None = None
        self._messages: list[bytes] = []
        self._parts: list[bytes] = []

    def cut(self) -> None:
        """End it, and all attempts to come: whoever waits in it gets an error."""
        with self._lock:
            self._is_cut = True
            if self._wire is None:
                return
            with suppress(OSError):
                # Not SSLSocket's own: it pulls the TLS state from under the reader.
                socket.socket.shutdown(self._wire, socket.SHUT_RDWR)
            if not self._is_in_use:
                self._wire.close()

    def close(self) -> None:
        """Leave the connection, if there is one."""
        with self._lock:
            wire, self._wire = self._wire, None
        self._protocol = None
        self._messages, self._parts = [], []
        if wire is not None:
            wire.close()

    def open(self, url: str) -> dict[str, str]:
        """Connect; the headers of the answer, their names in lower case."""
        self.close()
        try:
            uri = parse_uri(url)
        except (InvalidURI, ValueError) as error:
            raise SourceError("the address is no WebSocket's", needs_owner=True) from error
        self._host = uri.host
        deadline = time.monotonic() + OPEN_SECONDS
        try:
            with self._in_use():
                wire = self._dial(uri, deadline)
                return self._shake_hands(wire, uri, deadline)
        except SourceError:  # which is an OSError, too
            self.close()
            raise
        except (OSError, ValueError) as error:
            self.close()
            raise _translated(self._host, error, is_new=True) from error

    def read(self, silence_seconds: float) -> list[bytes]:
        """Wait for more; the messages that it completes, one at least.

        Raises SourceError when the connection has ended, or counts as dead as no message came for
        so long.
        """
        deadline = time.monotonic() + silence_seconds
        try:
            with self._in_use():
                while not self._messages:
                    self._check()
                    self._receive(deadline)
        except SourceError:
            raise
        except TimeoutError as error:
            silence = duration(silence_seconds)
            raise SourceError(f"{self._host} has said nothing for {silence}") from error
        except (OSError, ValueError) as error:
            raise _translated(self._host, error) from error
        messages, self._messages = self._messages, []
        return messages

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        with self._lock:
            self._is_in_use = True
        try:
            yield
        finally:
            with self._lock:
                self._is_in_use = False
                if self._is_cut and self._wire is not None:
                    self._wire.close()

    def _hold(self, wire: socket.socket) -> None:
        with self._lock:
            if self._is_cut:
                wire.close()
                raise SourceError("ended")
            self._wire = wire

    def _dial(self, uri: WebSocketURI, deadline: float) -> socket.socket:
        failure: OSError = socket.gaierror("no address")
        found = socket.getaddrinfo(uri.host, uri.port, type=socket.SOCK_STREAM)
        for left, (family, kind, _, _, address) in zip(
            range(len(found), 0, -1), found, strict=True
        ):
            wire = socket.socket(family, kind)
            self._hold(wire)
            until = _share(deadline, left)
            try:
                self._reach(wire, address, until)
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return self._secure(wire, uri.host, until) if uri.secure else wire
            except SourceError:
                raise
            except OSError as error:
                wire.close()
                failure = error
        raise failure

    def _reach(self, wire: socket.socket, address: Any, deadline: float) -> None:
        wire.settimeout(0.0)
        number = wire.connect_ex(address)
        if number == errno.EINPROGRESS:
            with selectors.DefaultSelector() as selector:
                selector.register(wire, selectors.EVENT_WRITE)
                # A cut before the attempt began leaves no trace in the socket: it is looked for.
                while not selector.select(min(GLANCE_SECONDS, _left(deadline))):
                    self._hold(wire)
            number = wire.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        self._hold(wire)

    def _secure(self, wire: socket.socket, host: str, deadline: float) -> ssl.SSLSocket:
        context = ssl.create_default_context()
        secure = context.wrap_socket(wire, server_hostname=host, do_handshake_on_connect=False)
        try:
            self._hold(secure)
            secure.settimeout(_left(deadline))
            secure.do_handshake()
        except OSError:
            secure.close()
            raise
        return secure

    def _shake_hands(
        self, wire: socket.socket, uri: WebSocketURI, deadline: float
    ) -> dict[str, str]:
        protocol = ClientProtocol(uri, max_size=LARGEST)
        self._protocol = protocol
        protocol.send_request(protocol.connect())
        self._send(wire, protocol)
        read = 0
        while protocol.state is State.CONNECTING and protocol.handshake_exc is None:
            read += self._receive(deadline)
            if read > LARGEST_ANSWER and protocol.state is State.CONNECTING:
                raise SourceError(f"{self._host} does not speak WebSocket")
        if protocol.handshake_exc is not None:
            self._refuse(protocol.handshake_exc)
        return self._headers

    def _receive(self, deadline: float) -> int:
        wire, protocol = self._wire, self._protocol
        if wire is None or protocol is None:
            raise SourceError(f"{self._host}: the connection is closed")
        wire.settimeout(_left(deadline))
        data = wire.recv(_PIECE)
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._handle_event(event)
            elif isinstance(event, Response):
                self._headers = {name.lower(): value for name, value in event.headers.raw_items()}
        self._send(wire, protocol)
        return len(data)

    def _handle_event(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if frame.fin and not self._parts:
            self._messages.append(bytes(frame.data))
            return
        self._parts.append(bytes(frame.data))
        if frame.fin:
            self._messages.append(b"".join(self._parts))
            self._parts = []

    def _send(self, wire: socket.socket, protocol: ClientProtocol) -> None:
        for data in protocol.data_to_send():
            if data:
                # The other side may have gone already, with a message for us still to be read.
                with suppress(OSError):
                    wire.sendall(data)

    def _check(self) -> None:
        protocol = self._protocol
        if protocol is None or protocol.state is State.OPEN:
            return
        if isinstance(protocol.parser_exc, PayloadTooBig):
            raise TooLargeError(f"{self._host} sends more than {LARGEST} bytes at once")
        close = protocol.close_rcvd
        if close is not None:
            reason = " ".join("".join(filter(str.isprintable, close.reason)).split())[:100]
            raise SourceError(
                f"{self._host} has closed the connection: {close.code} {reason}".strip()
            )
        if protocol.parser_exc is None or isinstance(protocol.parser_exc, EOFError):
            raise SourceError(f"{self._host} has closed the connection")
        raise SourceError(f"{self._host} sends what is no WebSocket message")

    def _refuse(self, error: Exception) -> NoReturn:
        if not isinstance(error, InvalidStatus):
            # The library's older releases do not wrap the end of the stream.
            is_end = isinstance(error, EOFError) or isinstance(error.__cause__, EOFError)
            what = "has closed the connection" if is_end else "does not speak WebSocket"
            raise SourceError(f"{self._host} {what}")
        status = error.response.status_code
        wanted = "".join(error.response.headers.get_all("Retry-After"))
        is_number = wanted.isascii() and wanted.isdigit()
        retry_after = min(float(wanted), 900.0) if is_number else None
        sentence = f"{self._host} refuses (HTTP {status})"
        refusal = RefusedError(status, dict(error.response.headers.raw_items()), b"")
        raise SourceError(sentence, retry_after=retry_after) from refusal


def _share(deadline: float, addresses: int) -> float:
    """The deadline for the next of so many addresses."""
    if addresses == 1:
        return deadline
    return time.monotonic() + min(ONE_ADDRESS_SECONDS, _left(deadline) / addresses)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _translated(host: str, error: Exception, *, is_new: bool = False) -> SourceError:
    if isinstance(error, socket.gaierror | UnicodeError):
        return SourceError(
            f"{host} cannot be reached: the name cannot be looked up; is the network up?"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return SourceError(
            f"{host} cannot be reached: its certificate is not to be trusted; "
            "is the clock right, is this the open internet?"
        )
    if isinstance(error, ConnectionRefusedError):
        return SourceError(f"{host} cannot be reached: nobody listens there")
    if isinstance(error, TimeoutError):
        return SourceError(f"{host} does not answer in time")
    what = "cannot be reached" if is_new else "is gone"
    return SourceError(f"{host} {what}: the connection broke ({type(error).__name__})")
