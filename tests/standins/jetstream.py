"""Jetstream hosts: real WebSockets on loopback, the firehose of one network, faults on demand."""

import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, urlsplit

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from standins.jetstream_events import Event, Truth, as_sent, background, make_identity
from standins.loopback import Loopback

DAY_US = 86_400_000_000
LIMIT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One connection: when, from which cursor on (Unix us), for which collections."""

    at: float
    cursor_us: int | None
    collections: tuple[str, ...]


@dataclass(slots=True)
class Faults:
    """What a host does wrong until told otherwise.

    refuses: it answers so. redirects: and sends elsewhere. hangs: it takes connections and says
    nothing. mute: it sends no events. closes_at_once: it says nothing after the handshake. cuts:
    after so many bytes, one number a connection. repeats, fragments: every event.
    """

    refuses: int = 0
    redirects: str = ""
    hangs: bool = False
    mute: bool = False
    closes_at_once: bool = False
    cuts: list[int] = field(default_factory=list)
    repeats: bool = False
    fragments: bool = False
    ignores_cursor: bool = False
    date: str = ""


class Network:
    """What happens on Bluesky, brought to all hosts as it happens.

    now: its own time in seconds. rate: events a second beside those that are added.
    disorder_ms: events come so much out of order. truth: what there is of one hashtag.
    """

    def __init__(
        self,
        now: Callable[[], float],
        hashtag: str = "dockercon",
        *,
        rate: float = 1.0,
        disorder_ms: int = 40,
        seed: int = 1,
    ) -> None:
        self.now = now
        self.truth = Truth(hashtag)
        self.hosts: list[Jetstream] = []
        self._rate, self._disorder_us = rate, disorder_ms * 1000
        self._dice = random.Random(seed)
        self._number = 1_000_000
        self._ticked = now()
        self._lock = threading.RLock()  # a test and what goes on beside it may both let it happen

    @property
    def now_us(self) -> int:
        """Its time in microseconds."""
        return round(self.now() * 1_000_000)

    def add(self, event: Event, time_us: int | None = None) -> int:
        """Something happens, now or at another time; that time."""
        with self._lock:
            if time_us is None:
                self._pass_time()
                time_us = self.now_us
            self.truth.note(event, time_us)
            for host in self.hosts:
                host.receive(event, time_us)
            return time_us

    def tick(self) -> None:
        """Let what goes on beside happen up to now, and just now three events that all get."""
        with self._lock:
            self._pass_time()
            for _ in range(3):
                self._happen(self.now(), make_identity)

    @contextmanager
    def going_on(self, pause: float = 0.01) -> Iterator[None]:
        """Things happen meanwhile: at the tip of a stream there is nothing else."""
        is_over = threading.Event()

        def go_on() -> None:
            while not is_over.wait(pause):
                self.tick()

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def _pass_time(self) -> None:
        while self._ticked + 1 / self._rate <= self.now():
            self._ticked += 1 / self._rate
            self._happen(self._ticked)

    def _happen(self, at: float, make: Callable[[int], Event] | None = None) -> None:
        self._number += 1
        event = make(self._number) if make else background(self._dice, self._number)
        self.add(event, round(at * 1_000_000) - self._dice.randrange(self._disorder_us + 1))


class Jetstream:
    """One host with a store of its own, version 1 of the wire.

    keeps_us: how far back it goes. skew_us: how much later it dates events. asked: the
    connections so far.
    """

    def __init__(
        self, network: Network, *, keeps_us: int = 3 * DAY_US // 2, skew_us: int = 0
    ) -> None:
        self.keeps_us, self.skew_us = keeps_us, skew_us
        self.faults = Faults()
        self.asked: list[Asked] = []
        self.refused = 0
        self._network = network
        self._changed = threading.Condition()
        self._store: list[tuple[int, bytes, str]] = []
        self._conversations: set[_Conversation] = set()
        self._closed = False
        self._loopback = Loopback(self._serve)
        self._loopback.up()
        self.url = f"ws://127.0.0.1:{self._loopback.port}/subscribe"
        network.hosts.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._loopback.close()

    def receive(self, event: Event, time_us: int) -> None:
        """An event has reached this host."""
        time_us += self.skew_us
        self.insert(as_sent(event, time_us), time_us, event.get("commit", {}).get("collection", ""))

    def insert(self, frame: bytes, time_us: int, collection: str = "") -> None:
        """Have this to send, as it is, from now on."""
        with self._changed:
            self._store.append((time_us, frame, collection))
            self._changed.notify_all()

    def lose(self, since_us: int, until_us: int) -> None:
        """Have nothing of that time any more."""
        with self._changed:
            self._store = [
                (at, b"" if since_us < at <= until_us else frame, collection)
                for at, frame, collection in self._store
            ]

    def close_all(self, code: int, reason: str) -> None:
        """Close the connections that there are."""
        with self._changed:
            meant = set(self._conversations)
            for conversation in meant:
                conversation.closing = code, reason
            self._changed.notify_all()
            self._changed.wait_for(lambda: not meant & self._conversations, LIMIT_SECONDS)

    def heal(self) -> None:
        """Do nothing wrong any more; what hangs is gone on with."""
        with self._changed:
            self.faults = Faults()
            self._changed.notify_all()

    def down(self) -> None:
        """Refuse connections, and cut those that are open."""
        self._loopback.down()

    def up(self) -> None:
        """Listen again, on the same port."""
        self._loopback.up()

    def wait_until_asked(self, times: int) -> None:
        """Wait for so many connections in all."""
        with self._changed:
            done = self._changed.wait_for(lambda: self._loopback.accepted >= times, LIMIT_SECONDS)
            assert done, "nobody came"

    def _serve(self, connection: socket.socket) -> None:
        with self._changed:
            self._changed.notify_all()
            cut = self.faults.cuts.pop(0) if self.faults.cuts else None
            self._changed.wait_for(lambda: self._closed or not self.faults.hangs)
        _Conversation(self, connection, cut).run()


class _Conversation:
    """One connection."""

    def __init__(self, host: Jetstream, connection: socket.socket, cut: int | None) -> None:
        self._host, self._connection, self._left = host, connection, cut
        self.closing: tuple[int, str] | None = None
        self._place = 0
        self._protocol = ServerProtocol(max_size=None)
        connection.settimeout(LIMIT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        request = self._read_request()
        if request is None:
            return
        try:
            response, asked = self._answer(request)
            self._protocol.send_response(response)
            self._write()
            if asked is not None and not self._host.faults.closes_at_once:
                self._stream(asked)
        finally:
            with self._host._changed:
                self._host._conversations.discard(self)
                self._host._changed.notify_all()

    def _read_request(self) -> Request | None:
        while data := self._connection.recv(65536):
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                if isinstance(event, Request):
                    return event
        return None

    def _answer(self, request: Request) -> tuple[Response, Asked | None]:
        faults, reject = self._host.faults, self._protocol.reject
        url = urlsplit(request.path)
        query = parse_qs(url.query)
        cursor = query.get("cursor", [""])[0]
        asked = Asked(
            self._host._network.now(),
            int(cursor) if cursor.isdigit() else None,
            tuple(query.get("wantedCollections", ())),
        )
        with self._host._changed:
            if faults.refuses:
                self._host.refused += 1
                response = reject(faults.refuses, "no\n")
                if faults.redirects:
                    response.headers["Location"] = faults.redirects
                return response, None
            if url.path != "/subscribe":
                return reject(404, "not found\n"), None
            if cursor and not cursor.isdigit():
                return reject(400, "invalid cursor\n"), None
            self._host.asked.append(asked)
            self._host._conversations.add(self)
            self._place = self._first(asked.cursor_us)
        response = self._protocol.accept(request)
        headers = Headers(response.headers.raw_items())
        del headers["Date"]
        if faults.date:
            headers["Date"] = faults.date
        return Response(response.status_code, response.reason_phrase, headers), asked

    def _stream(self, asked: Asked) -> None:
        host = self._host
        while not self._is_over():
            with host._changed:
                news, self._place = host._store[self._place :], len(host._store)
            for _, frame, collection in news:
                is_wanted = not collection or collection in asked.collections
                if frame and (is_wanted or not asked.collections):
                    self._send(frame)
            self._write()
        self._write()

    def _is_over(self) -> bool:
        """Wait until there is more to send, or an end."""
        host = self._host
        with host._changed:
            host._changed.wait_for(
                lambda: (
                    host._closed
                    or self.closing
                    or (self._place < len(host._store) and not host.faults.mute)
                )
            )
            if self.closing:
                self._protocol.send_close(*self.closing)
                return True
            return host._closed

    def _first(self, cursor_us: int | None) -> int:
        """The place in the store where a replay begins: clamped if too old, the tip if too new."""
        host = self._host
        now_us = host._network.now_us
        if cursor_us is None or cursor_us > now_us + host.skew_us or host.faults.ignores_cursor:
            return len(host._store)
        oldest = max(cursor_us, now_us - host.keeps_us)
        places = (n for n, (at, frame, _) in enumerate(host._store) if frame and at >= oldest)
        return next(places, len(host._store))

    def _send(self, frame: bytes) -> None:
        for _ in range(2 if self._host.faults.repeats else 1):
            if not self._host.faults.fragments:
                self._protocol.send_text(frame)
                continue
            third = len(frame) // 3
            self._protocol.send_text(frame[:third], fin=False)
            self._protocol.send_ping(b"between")
            self._protocol.send_frame(Frame(Opcode.CONT, frame[third:], fin=False))
            self._protocol.send_frame(Frame(Opcode.CONT, b"", fin=True))
            self._protocol.expect_continuation_frame = False

    def _write(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        if self._left is not None and len(data) >= self._left:
            self._connection.sendall(data[: self._left])
            linger = struct.pack("ii", 1, 0)  # closing sends RST instead of FIN
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            raise ConnectionAbortedError
        self._connection.sendall(data)
        if self._left is not None:
            self._left -= len(data)
