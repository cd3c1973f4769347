"""A stand-in Mastodon server: real HTTP on loopback, real semantics, faults on demand."""

import json
import queue
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Self, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from standins.loopback import Loopback
from standins.mastodon_index import Entry, Ids, Index, Json, Note, as_status, normal
from tweetdock.core.times import rfc3339

TAGS = "/api/v1/timelines/tag/"
INSTANCE, OLD_INSTANCE = "/api/v2/instance", "/api/v1/instance"
STATUS = "/api/v1/statuses/"
STREAM = "/api/v1/streaming/hashtag"
JSON_TYPE = "application/json; charset=utf-8"
THUMP = b":thump\n"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one exchange instead of, or to, its answer.

    status, body, headers: another answer. change: the same answer, altered. cut: the connection
    is reset after so many bytes, of a stream too. hang: no byte until the server is healed.
    """

    status: int = 0
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    change: Callable[[Any], Any] | None = None
    cut: int | None = None
    hang: bool = False


def refusal(status: int, error: str = "", *headers: tuple[str, str]) -> Fault:
    """Refuse in Mastodon's own form."""
    body = json.dumps({"error": error}).encode() if error else b""
    return Fault(status, body, (("Content-Type", JSON_TYPE), *headers))


@dataclass(frozen=True, slots=True)
class Request:
    """A request that came in: when, what, and whether a user's token came with it."""

    time: float
    path: str
    params: tuple[tuple[str, str], ...]
    is_signed: bool
    status: int = 0

    def get(self, name: str) -> str | None:
        """A parameter."""
        return dict(self.params).get(name)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back; cut: the connection is reset after so many bytes of the body."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut: int | None = None


class Stream:
    """An open stream: what is put in goes out; None ends it well, a number of bytes by a cut."""

    def __init__(self, tag: str, headers: dict[str, str], cut_after: int | None) -> None:
        self.tag = normal(tag)
        self.headers = headers
        self.outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.waiting: list[bytes] = []
        self.cut_after = cut_after


class Mastodon:
    """One server. access: of its own and other servers' posts, `public`, `authenticated`, ...

    streaming_url: what it says of its stream's place; None: nothing. heartbeat_seconds: 0 for
    heartbeats by `beat()` alone. limit: of requests in the window; 0 for none, and no word of it.
    """

    def __init__(
        self,
        *,
        token: str = "a-users-token",
        access: tuple[str, str] | None = ("public", "public"),
        limit: int = 300,
        window_seconds: float = 300,
        skew_seconds: float = 0.0,
        now: Callable[[], float] = time.time,
        ids: Ids = "snowflakes",
        streaming_url: str | None = None,
        heartbeat_seconds: float = 0.0,
    ) -> None:
        self.token = token
        self.access = access
        self.turns_strangers_away = False  # without a word of it in what it says of itself
        self.knows_used_tags_only = False  # as GoToSocial
        self.limit = limit
        self.skew_seconds = skew_seconds
        self.now = now
        self.streaming_url = streaming_url
        self.heartbeat_seconds = heartbeat_seconds
        self.streams: list[Stream] = []
        self.cut_streams_after: int | None = None  # bytes, of those that are opened from now on
        self._window_seconds = window_seconds
        self._used, self._reset = 0, 0.0
        self._index = Index(ids)
        self._sent: set[int] = set()
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._faults: deque[Fault | None] = deque()
        self._always: Fault | None = None
        self._healed = threading.Event()
        self._loopback = Loopback(lambda connection: _Exchange(connection, self))
        self.host = f"127.0.0.1:{self._loopback.port}"
        self.url = f"http://{self.host}"
        self.up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def now_ms(self) -> int:
        """The true time, which the server's Date may not show."""
        return round(self.now() * 1000)

    @property
    def requests(self) -> list[Request]:
        """What came in so far, in order."""
        with self._changed:
            return list(self._requests)

    def asked(self, path: str) -> list[Request]:
        """Those with a path that begins so."""
        return [request for request in self.requests if request.path.startswith(path)]

    def add(self, *notes: Note, shows_ms: int | None = None, is_own: bool = True) -> None:
        """Let posts show from a moment on, by default that of their creation or now."""
        with self._changed:
            for note in notes:
                shows = min(note.created_ms, self.now_ms) if shows_ms is None else shows_ms
                self._index.add(note, shows, is_own=is_own)

    def delete(self, uri: str) -> None:
        """Take a post down now; the streams are told by the next `tick()`."""
        with self._changed:
            entry = self._index.by_uri(uri)
            entry.gone_ms = self.now_ms
            self._tell(entry, b"delete", entry.id.encode())

    def has(self, uri: str) -> bool:
        """Whether a post is known here, or will be."""
        with self._changed:
            return any(entry.note.uri == uri for entry in self._index.entries)

    def edit(self, uri: str, text: str, *tags: str) -> None:
        """Change a post now, and its tags if there are any; the streams are told by `tick()`."""
        with self._changed:
            entry = self._index.by_uri(uri)
            tags = tags or entry.note.tags
            entry.note = replace(entry.note, text=text, tags=tags, edited_ms=self.now_ms)
            self._tell(entry, b"status.update", json.dumps(as_status(entry)).encode())
            entry.tags = frozenset(map(normal, tags))

    def tick(self) -> None:
        """Send to the streams what shows since the last time, and a heartbeat, in one go."""
        with self._changed:
            fresh = [
                (number, entry)
                for number, entry in enumerate(self._index.entries)
                if number not in self._sent and entry.shows_ms <= self.now_ms
            ]
            self._sent.update(number for number, _ in fresh)
            for stream in self.streams:
                events = [
                    _event(b"update", json.dumps(as_status(entry)).encode())
                    for _, entry in fresh
                    if stream.tag in entry.tags and entry.gone_ms is None
                ]
                stream.outgoing.put(b"".join([*events, *stream.waiting, THUMP]))
                stream.waiting.clear()

    def beat(self) -> None:
        """Send a heartbeat to all streams."""
        self.send(THUMP)

    def send(self, raw: bytes) -> None:
        """Send any bytes to all streams."""
        with self._changed:
            for stream in self.streams:
                stream.outgoing.put(raw)

    def end_streams(self) -> None:
        """Close all streams as if they were done."""
        with self._changed:
            for stream in self.streams:
                stream.outgoing.put(None)
            self.streams.clear()

    def truth(self, since_ms: int, until_ms: int) -> set[Note]:
        """The posts created in (since, until] that show now."""
        with self._changed:
            now_ms = self.now_ms
            return {
                entry.note
                for entry in self._index.entries
                if entry.shows(now_ms)
                and not entry.note.boost
                # What is of a time to come was created when it came.
                and since_ms < min(entry.note.created_ms, entry.shows_ms) <= until_ms
            }

    def entry(self, uri: str) -> Entry:
        """A post as it is known here."""
        with self._changed:
            return self._index.by_uri(uri)

    def late_ms(self, note: Note) -> int:
        """How long after it was written a post showed here."""
        return self.entry(note.uri).shows_ms - note.created_ms

    def fail(self, *faults: Fault | None) -> None:
        """One for each of the next questions; None lets one pass."""
        with self._changed:
            self._faults.extend(faults)

    def fail_always(self, fault: Fault) -> None:
        """Let every question that has no fault of its own meet this one, until healed."""
        with self._changed:
            self._always = fault

    def heal(self) -> None:
        """Forget all faults; what hangs is answered now."""
        with self._changed:
            self._faults.clear()
            self._always = self.cut_streams_after = None
            self._healed.set()
            self._healed = threading.Event()

    def wait_for(self, condition: Callable[[], bool], limit: float = 10.0) -> None:
        """Wait until something is so that changes with a request or a stream."""
        with self._changed:
            assert self._changed.wait_for(condition, limit)

    def down(self) -> None:
        """Refuse connections, and cut those that are open."""
        self.end_streams()
        self._loopback.down()

    def up(self) -> None:
        """Listen again, on the same port."""
        self._loopback.up()

    def close(self) -> None:
        """End everything at once."""
        self.heal()
        self.end_streams()
        self._loopback.close()

    def _tell(self, entry: Entry, kind: bytes, data: bytes) -> None:
        for stream in self.streams:
            if stream.tag in entry.tags:
                stream.waiting.append(_event(kind, data))

    def ask(self, target: str, authorization: str) -> Answer | Stream | threading.Event:
        """What a question comes to; an event: nothing, until that is set."""
        fault, healed = self._next_fault()
        url = urlsplit(target)
        params = tuple(parse_qsl(url.query, keep_blank_values=True))
        is_signed = authorization == f"Bearer {self.token}"
        request = Request(self.now(), url.path, params, is_signed)
        if fault and fault.hang:
            self._record(request)
            return healed
        if fault and fault.status:
            return self._reply(request, fault.status, fault.body, dict(fault.headers))
        if authorization and not is_signed:
            return self._refuse(request, 401, "The access token is invalid")
        if url.path == STREAM:
            return self._open(request, None if fault is None else fault.cut)
        status, answer, headers = self._answer(request)
        if fault and fault.change and status == 200:
            answer = fault.change(answer)
        body, cut = json.dumps(answer).encode(), fault.cut if fault else None
        return self._reply(request, status, body, headers | {"Content-Type": JSON_TYPE}, cut)

    def left(self, stream: Stream) -> None:
        """Nobody listens to a stream any more."""
        with self._changed:
            if stream in self.streams:
                self.streams.remove(stream)
            self._changed.notify_all()

    def _reply(
        self,
        request: Request,
        status: int,
        body: bytes,
        headers: dict[str, str],
        cut: int | None = None,
    ) -> Answer:
        self._record(replace(request, status=status))
        return Answer(
            status, {**self._date(), **headers, "Content-Length": str(len(body))}, body, cut
        )

    def _refuse(self, request: Request, status: int, error: str) -> Answer:
        body = json.dumps({"error": error}).encode()
        return self._reply(request, status, body, {"Content-Type": JSON_TYPE})

    def _open(self, request: Request, cut_after: int | None) -> Answer | Stream:
        tag = request.get("tag")
        if not request.is_signed:
            return self._refuse(request, 401, "Missing access token")
        if not tag:
            return self._refuse(request, 400, "Missing tag name parameter")
        headers = self._date() | {
            "Content-Type": "text/event-stream",
            "Cache-Control": "private, no-store",
            "Transfer-Encoding": "chunked",
            "Connection": "close",
        }
        stream = Stream(tag, headers, self.cut_streams_after if cut_after is None else cut_after)
        stream.outgoing.put(b":)\n")
        with self._changed:
            self.streams.append(stream)
        self._record(replace(request, status=200))
        return stream

    def _date(self) -> dict[str, str]:
        return {"Date": formatdate(self.now() + self.skew_seconds, usegmt=True)}

    def _next_fault(self) -> tuple[Fault | None, threading.Event]:
        with self._changed:
            fault = self._faults.popleft() if self._faults else self._always
            return fault, self._healed

    def _record(self, request: Request) -> None:
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def _spend(self) -> dict[str, str]:
        if not self.limit:
            return {}
        now = self.now() + self.skew_seconds
        if now >= self._reset:
            self._used, self._reset = 0, now // 1 + self._window_seconds
        self._used += 1
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self._used)),
            "X-RateLimit-Reset": rfc3339(round(self._reset * 1000)).replace("Z", "000Z"),
        }

    def _answer(self, request: Request) -> tuple[int, Any, dict[str, str]]:
        with self._changed:
            headers = self._spend()
            if self._used > self.limit > 0:
                return 429, {"error": "Too many requests"}, headers
            if request.path == INSTANCE:
                return 200, self._instance(), headers
            if request.path == OLD_INSTANCE:
                return 200, {"uri": self.host, "version": "3.5.0", "urls": {}}, headers
            if request.path.startswith(STATUS):
                entry = self._index.by_id(request.path.removeprefix(STATUS))
                if entry is None or not entry.shows(self.now_ms):
                    return 404, {"error": "Record not found"}, headers
                return 200, as_status(entry), headers
            if not request.path.startswith(TAGS):
                return 404, {"error": "The page you are looking for isn't here."}, headers
            says_so = self.access and self.access != ("public", "public")
            if not request.is_signed and (says_so or self.turns_strangers_away):
                return 401, {"error": "This method requires an authenticated user"}, headers
            if self.access == ("disabled", "disabled"):
                return 200, [], headers
            tag = unquote(request.path.removeprefix(TAGS))
            if self.knows_used_tags_only and not self._index.has(tag, self.now_ms):
                return 404, {"error": "Not Found"}, headers
            found = self._index.find(tag, dict(request.params), self.now_ms)
            return 200, [as_status(entry) for entry in found], headers | self._link(request, found)

    def _instance(self) -> Json:
        configuration: Json = {"urls": {}}
        if self.streaming_url is not None:
            configuration["urls"]["streaming"] = self.streaming_url
        if self.access:
            local, remote = self.access
            access = {"local": local, "remote": remote}
            configuration["timelines_access"] = {"live_feeds": access, "hashtag_feeds": access}
        return {"domain": self.host, "version": "4.5.0", "configuration": configuration}

    def _link(self, request: Request, found: list[Entry]) -> dict[str, str]:
        if not found:
            return {}
        kept = [(n, v) for n, v in request.params if n not in ("max_id", "min_id", "since_id")]
        place = f"{self.url}{request.path}"
        older = urlencode([*kept, ("max_id", found[-1].id)])
        newer = urlencode([*kept, ("min_id", found[0].id)])
        return {"Link": f'<{place}?{older}>; rel="next", <{place}?{newer}>; rel="prev"'}


class _Exchange(BaseHTTPRequestHandler):
    """One connection's requests and answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, connection: socket.socket, server_: Mastodon) -> None:
        self.mastodon = server_
        super().__init__(connection, ("127.0.0.1", 0), cast("Any", None))

    def log_message(self, *_: object) -> None:
        """Say nothing: `requests` tells all."""

    def do_GET(self) -> None:
        """Answer, or fail as told."""
        found = self.mastodon.ask(self.path, self.headers.get("Authorization", ""))
        match found:
            case Answer():
                self._give(found)
            case Stream():
                self._stream(found)
            case _:
                found.wait()
                self.close_connection = True

    def _give(self, answer: Answer) -> None:
        self.wfile.write(self._head(answer.status, answer.headers) + answer.body[: answer.cut])
        if answer.cut is not None:
            self._abort()

    def _head(self, status: int, headers: Mapping[str, str]) -> bytes:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode()

    def _abort(self) -> None:
        """Let closing send RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def _stream(self, stream: Stream) -> None:
        self.close_connection = True
        try:
            self.wfile.write(self._head(200, stream.headers))
            self._send(stream)
        finally:
            self.mastodon.left(stream)

    def _send(self, stream: Stream) -> None:
        rest = stream.cut_after
        while True:
            try:
                raw = stream.outgoing.get(timeout=self.mastodon.heartbeat_seconds or None)
            except queue.Empty:
                raw = THUMP
            if raw is None:
                self.wfile.write(b"0\r\n\r\n")
                return
            whole = b"%x\r\n%b\r\n" % (len(raw), raw)
            if rest is not None and len(whole) > rest:
                self.wfile.write(whole[:rest])
                self._abort()
                return
            rest = None if rest is None else rest - len(whole)
            self.wfile.write(whole)


def _event(kind: bytes, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind, data)


class Fediverse:
    """Several servers: what is posted on one shows on the others, sooner or later."""

    def __init__(self, servers: Iterable[Mastodon]) -> None:
        self.servers = list(servers)
        self._number = 0

    def post(
        self,
        author: int,
        *tags: str,
        home: int = 0,
        ago_ms: int = 0,
        delays_ms: dict[int, int] | None = None,
        boost: bool = False,
    ) -> Note:
        """A new post at its author's server, and on the others by number, each after a delay.

        None of them sees it that is not named. ago_ms: posted so long ago already.
        """
        server = self.servers[home]
        created_ms = server.now_ms - ago_ms
        self._number += 1
        person = f"{server.url}/@person{author}"
        uri = f"{server.url}/users/person{author}/statuses/{self._number}"
        note = Note(uri, person, created_ms, tags, boost=boost)
        server.add(note)
        for other, delay_ms in (delays_ms or {}).items():
            self.servers[other].add(note, shows_ms=created_ms + delay_ms, is_own=False)
        return note

    def truth(self, since_ms: int, until_ms: int) -> set[str]:
        """The posts that any of them shows."""
        return {n.uri for server in self.servers for n in server.truth(since_ms, until_ms)}
