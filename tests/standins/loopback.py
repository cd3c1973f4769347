"""A TCP listener on 127.0.0.1 with a thread for each connection, which can go down and up again."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

JOIN_SECONDS = 5.0


class Loopback:
    """Calls `serve(connection)` for each connection; closes it when that returns."""

    def __init__(self, serve: Callable[[socket.socket], Any], port: int = 0) -> None:
        self._serve = serve
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._listening: threading.Thread | None = None
        self._closed = False
        self.accepted = 0
        self._listener = _bound(port)
        self.port: int = self._listener.getsockname()[1]

    @property
    def is_up(self) -> bool:
        """Whether it listens."""
        return self._listening is not None

    def up(self) -> None:
        """Listen; does nothing when it does already."""
        with self._lock:
            if self._closed or self._listening:
                return
            self._listener.listen(128)
            self._listening = threading.Thread(
                target=self._accept, args=(self._listener,), name="loopback", daemon=True
            )
            self._listening.start()

    def down(self) -> None:
        """Refuse connections and cut the open ones; the port stays ours."""
        with self._lock:
            if self._closed or not self._listening:
                return
            _shut(self._listener)
            self._listener.close()
            # Bound without listening, it refuses, and no other program is given the port.
            self._listener = _bound(self.port)
            listening, self._listening = self._listening, None
            for connection in self._connections:
                _shut(connection)
        listening.join(JOIN_SECONDS)

    def close(self) -> None:
        """End everything; whatever `serve` waits for must have been ended before."""
        self.down()
        with self._lock:
            self._closed = True
            self._listener.close()
            threads = list(self._connections.values())
        for thread in threads:
            thread.join(JOIN_SECONDS)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                if listener is not self._listener:
                    connection.close()
                    return
                self.accepted += 1
                thread = threading.Thread(
                    target=self._converse, args=(connection,), name="loopback-peer", daemon=True
                )
                self._connections[connection] = thread
                thread.start()

    def _converse(self, connection: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):  # the peer may go at any moment
                self._serve(connection)
        finally:
            with self._lock:
                del self._connections[connection]
            connection.close()


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener


def _shut(connection: socket.socket) -> None:
    """Wake whoever reads or accepts here; closing alone would not."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
