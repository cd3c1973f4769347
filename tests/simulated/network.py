"""The way to the servers: how long it takes, what fails on it, and what their dates say."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from standins.in_memory import Question
from urllib3 import HTTPResponse
from urllib3.exceptions import ProtocolError, ReadTimeoutError

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from simulated.machine import Machine

Kind = Literal["refused", "hangs", "broken", "500", "429", "slow"]
KINDS: tuple[Kind, ...] = ("refused", "hangs", "broken", "500", "429", "slow")
SLOW_SECONDS = 6.0


class Answer(Protocol):
    """What a server answers: a body as a whole, or a stream."""

    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes | Stream: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


class Server(Protocol):
    """Whom a machine can ask."""

    @property
    def host(self) -> str:
        """Its name."""
        ...

    def ask(self, question: Question) -> Answer:
        """What it answers now."""
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer."""

    status: int
    body: bytes | Stream
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What fails on the way to a server from one moment to another, in true Unix seconds."""

    since: float
    until: float
    kind: Kind


@dataclass(slots=True)
class Way:
    """The way to one server. date_off: so far ahead are its dates; None: there are none."""

    troubles: list[Trouble] = field(default_factory=list)
    date_off: float | None = 0.0
    least_seconds: float = 0.03
    most_seconds: float = 0.4

    def trouble(self, now: float) -> Kind | None:
        """What fails now."""
        return next((t.kind for t in self.troubles if t.since <= now < t.until), None)


class Network:
    """All servers, by host, and the ways to them."""

    def __init__(self, machine: Machine, dice: random.Random) -> None:
        self.machine = machine
        self.dice = dice
        self.servers: dict[str, Server] = {}
        self.ways: dict[str, Way] = {}

    def add(self, server: Server) -> None:
        """Connect a server."""
        self.servers[server.host] = server
        self.ways[server.host] = Way()

    def add_way(self, host: str) -> None:
        """Connect one that is not asked by HTTP."""
        self.ways[host] = Way()

    def adapter(self) -> Link:
        """What a session sends by."""
        return Link(self)

    def seconds(self, way: Way) -> float:
        """How long a message takes."""
        if way.trouble(self.machine.true) == "slow":
            return SLOW_SECONDS
        return self.dice.uniform(way.least_seconds, way.most_seconds) / 2

    def dated(self, way: Way, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers with the date that the server gives."""
        kept = {name: value for name, value in headers.items() if name.lower() != "date"}
        if way.date_off is None:
            return kept
        return kept | {"Date": formatdate(self.machine.true + way.date_off, usegmt=True)}


class Link(HTTPAdapter):
    """Stands for the adapter of a session, which knows its connections and can cut them."""

    slowest_seconds = 0.0

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network
        self._machine = network.machine
        self._is_over = False
        self.cuts = 0

    def cut(self, *, for_good: bool = False) -> None:
        """End what is under way."""
        self._is_over |= for_good
        self.cuts += 1

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, *, timeout: tuple[float, float], **_: Any
    ) -> requests.Response:
        """Ask a server, and wait for its answer."""
        network, host = self._network, urlsplit(str(request.url)).netloc
        way, cuts = network.ways[host], self.cuts
        trouble = way.trouble(self._machine.true)
        if trouble == "refused":
            self._wait(cuts, 0.01)
            raise requests.ConnectionError(ConnectionRefusedError())
        if trouble == "hangs":
            self._wait(cuts, timeout[1])
            raise requests.ReadTimeout("no answer")
        to_seconds = network.seconds(way)
        self._wait(cuts, min(to_seconds, timeout[1]))
        if to_seconds >= timeout[1]:
            raise requests.ReadTimeout("no answer")
        answer = self._answer(network.servers[host], request, trouble)
        headers = network.dated(way, answer.headers)  # its date is that of the answer's beginning
        self._wait(cuts, network.seconds(way))
        if trouble == "broken" or way.trouble(self._machine.true) == "broken":
            raise requests.ConnectionError(ProtocolError("Connection broken"))
        body = answer.body
        if isinstance(body, bytes):
            read: io.RawIOBase | io.BytesIO = io.BytesIO(body)
        else:
            read = _StreamBody(self._machine, self, body, timeout[1])
        raw = HTTPResponse(read, headers, answer.status, preload_content=False)
        return self.build_response(request, raw)

    def _answer(
        self, server: Server, request: requests.PreparedRequest, trouble: Kind | None
    ) -> Answer:
        if trouble == "500":
            return Whole(503, b"<html>out of order</html>", {"Content-Type": "text/html"})
        if trouble == "429":
            body = json.dumps({"title": "Too Many Requests", "status": 429}).encode()
            return Whole(429, body, {"Content-Type": "application/json"})
        headers = {name.lower(): str(value) for name, value in request.headers.items()}
        headers["host"] = server.host
        sent = request.body or b""
        body = sent.encode() if isinstance(sent, str) else sent
        return server.ask(Question(str(request.method), request.path_url, headers, body))

    def _wait(self, cuts: int, seconds: float) -> None:
        if self._is_over or self._machine.wait(lambda: self.cuts != cuts, seconds):
            raise requests.ConnectionError(ProtocolError("Connection broken"))


class Stream(Protocol):
    """A body that goes on."""

    def take(self) -> bytes | None:
        """What lies ready; empty at its end, None for nothing."""
        ...

    def due_seconds(self) -> float:
        """In how many seconds it is to be asked again at the latest."""
        ...

    def left(self) -> None:
        """Nobody listens any more."""
        ...


class _StreamBody(io.RawIOBase):
    """A stream as it is read."""

    def __init__(self, machine: Machine, link: Link, stream: Stream, silence: float) -> None:
        self._machine = machine
        self._link, self._cuts = link, link.cuts
        self._stream = stream
        self._silence = silence

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self.read1()

    def read1(self, size: int = -1) -> bytes:
        """The next piece; empty at a good end."""
        until = self._machine.awake + self._silence
        while True:
            if self._link.cuts != self._cuts:
                raise ProtocolError("Connection broken")
            piece = self._stream.take()
            if piece is not None:
                return piece
            left = until - self._machine.awake
            if left <= 0:
                raise ReadTimeoutError(None, "", "silence")  # type: ignore[arg-type]
            self._machine.wait(self._is_cut, min(left, self._stream.due_seconds()))

    def _is_cut(self) -> bool:
        return self._link.cuts != self._cuts

    def close(self) -> None:
        if not self.closed:
            self._stream.left()
        super().close()
