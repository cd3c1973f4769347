"""A stand-in of X's recent search: real HTTP on loopback, real semantics, faults on demand."""

import argparse
import gzip
import json
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import parse_qsl, urlsplit

if not __package__:  # started as a program
    sys.path.insert(0, str(Path(__file__).parents[1]))

from standins import x_counts
from standins import x_faults as faults
from standins.in_memory import Question
from standins.loopback import Loopback
from standins.x_answer import LIMITED_CODES, Answer, RateLimit, Request, Trouble, json_answer
from standins.x_auth import OAuth1Keys, carries_bearer, signed_by
from standins.x_counts import Bill, Counts, Ledger
from standins.x_index import PostIndex
from standins.x_posts import Post, make_post, milliseconds, shifted
from standins.x_query import RefusedError
from standins.x_rules import PATH as RULES_PATH
from standins.x_rules import Rules
from standins.x_search import PATH, Search, Vocabulary
from standins.x_stream import PATH as STREAM_PATH
from standins.x_stream import Stream
from standins.x_users import Users

__all__ = ["OAuth1Keys", "Request", "XApi", "make_post", "shifted"]


class XApi:
    """X's recent search and counts as X answers them; a post is found from its own time on."""

    def __init__(
        self,
        posts: Iterable[Post] = (),
        *,
        bearer: str = "a-bearer-token",
        oauth1: OAuth1Keys | None = None,
        limit: int = 450,
        window_seconds: float = 900,
        skew_seconds: float = 0.0,
        now: Callable[[], float] = time.time,
        vocabulary: Vocabulary = "as asked",
        port: int = 0,
    ) -> None:
        self.bearer = bearer
        self.oauth1 = oauth1
        self.rate = RateLimit(limit, window_seconds)
        self.counts_rate = RateLimit(300, window_seconds)
        self.skew_seconds = skew_seconds
        self.now = now
        self.vocabulary: Vocabulary = vocabulary
        self.empty_data_list = False
        self.takes: Callable[[], object] = lambda: None  # called before and after an answer is made
        self.closed = False
        self._changed = threading.Condition()
        self.users = Users()
        self.rules = Rules()
        self.stream = Stream(self.rules, self._changed, self.clock)
        self.others: list[Request] = []  # what came in for the rules and users
        self.other_faults: list[faults.Status] = []  # for the next of these, one each
        self._index = PostIndex()
        self._requests: list[Request] = []
        self._ledger = Ledger()
        self._trouble = Trouble()
        self.add(*posts)
        self._loopback = Loopback(lambda connection: _Exchange(connection, self), port)
        self.url = f"http://127.0.0.1:{self._loopback.port}"
        self.up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def posts(self) -> list[Post]:
        """All posts, oldest first; a copy, `add()` is the way in."""
        with self._changed:
            return self._index.posts()

    @property
    def changes(self) -> int:
        """How often a post was added: what was made of `posts` holds until there is one more."""
        with self._changed:
            return self._index.changes

    @property
    def requests(self) -> list[Request]:
        """What came in so far, in order."""
        with self._changed:
            return list(self._requests)

    @property
    def posts_read(self) -> int:
        """How many posts were returned, each time counted: what X would bill."""
        return sum(request.posts_returned for request in self.requests)

    def bill(self, day: str) -> Bill:
        """What a UTC day such as 2026-11-21 costs, by X's clock."""
        with self._changed:
            return self._ledger.bill(day)

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        return self._loopback.accepted

    def clock(self) -> float:
        """X's own idea of the time."""
        return self.now() + self.skew_seconds

    def add(self, *posts: Post) -> None:
        """Let posts exist from now on."""
        with self._changed:
            self._index.add(posts)
            self.stream.offer(posts)

    def wait_for_requests(self, n: int, timeout: float) -> bool:
        """Wait until so many requests came in all; False if they did not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._requests) >= n, timeout)

    def fail(self, *some: faults.Fault) -> None:
        """One fault for each of the next requests."""
        with self._changed:
            self._trouble.queue.extend(some)

    def fail_always(self, fault: faults.Fault) -> None:
        """Let every request that has no fault of its own meet this one, until healed."""
        with self._changed:
            self._trouble.always = fault

    def heal(self) -> None:
        """Forget all faults; what hangs or drips is answered now."""
        with self._changed:
            self._trouble.healed.set()
            self._trouble = Trouble()

    def down(self) -> None:
        """Refuse connections, and cut those that are open."""
        self._loopback.down()

    def up(self) -> None:
        """Listen again, on the same port."""
        self._loopback.up()

    def close(self) -> None:
        """End everything at once, hanging answers too."""
        self.closed = True
        self.heal()
        self.stream.close()
        self._loopback.close()

    def _next_fault(self) -> tuple[faults.Fault | None, threading.Event]:
        with self._changed:
            trouble = self._trouble
            fault = trouble.queue.popleft() if trouble.queue else trouble.always
            return fault, trouble.healed

    def _record(self, request: Request, place: int | None = None) -> int:
        with self._changed:
            if place is None:
                self._requests.append(request)
            else:
                self._requests[place] = request
            self._changed.notify_all()
            return len(self._requests) - 1

    def answer(self, question: Question) -> Answer | None:
        """Answer without a connection; None if what happens takes one."""
        with self._changed:
            trouble = self._trouble
            next_fault = trouble.queue[0] if trouble.queue else trouble.always
        takes_wire = next_fault is not None and not isinstance(
            next_fault, faults.Status | faults.Changed
        )
        if takes_wire or not self._loopback.is_up or urlsplit(question.target).path == STREAM_PATH:
            return None
        other = self._answer_other(*question)
        if other is not None:
            return other.dated(self.clock())
        if question.method != "GET":
            return self._refused(faults.not_found(), self.clock()).dated(self.clock())
        fault, _ = self._next_fault()
        request = self._begin(question.target)
        self.takes()
        answer = self._answer(question.target, question.headers, fault)
        self._record(request.answered(answer))
        answer = answer.dated(self.clock())
        self.takes()
        return answer

    def _begin(self, target: str) -> Request:
        url = urlsplit(target)
        return Request(self.now(), url.path, dict(parse_qsl(url.query)), 0)

    def _answer(
        self, target: str, headers: Mapping[str, str], fault: faults.Fault | None
    ) -> Answer:
        with self._changed:
            now = self.clock()
            if isinstance(fault, faults.Status):
                return self._refused(fault, now)
            if urlsplit(target).path == x_counts.PATH:
                return self._count(target, headers, now, fault)
            if urlsplit(target).path != PATH:
                return self._refused(faults.not_found(), now)
            if not self._admits(target, headers, now):
                return self._refused(faults.unauthorized(), now)
            if not self.rate.spend(now):
                return self._refused(faults.rate_limited(self.rate.reset - now), now)
            try:
                payload = self._search(target, now)
            except RefusedError as refusal:
                return json_answer(400, refusal.body, self.rate.headers())
            found = len(payload.get("data", ()))
            ids = tuple(post["id"] for post in payload.get("data", ()))
            if isinstance(fault, faults.Changed):
                payload = fault.change(payload)
                found = min(found, len(payload.get("data", ())))
            self._ledger.book_posts(ids[:found], now)
            return json_answer(200, payload, self.rate.headers(), found, ids)

    def _answer_other(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Answer | None:
        """Answer what is asked of rules and users; None if it is of neither."""
        url = urlsplit(target)
        params = dict(parse_qsl(url.query))
        with self._changed:
            now = self.clock()
            is_admitted = carries_bearer(self.bearer, headers.get("authorization", ""))
            is_rules = url.path == RULES_PATH
            if not is_rules and not (method == "GET" and url.path.startswith("/2/users/")):
                return None
            answer = None
            if self.other_faults:
                answer = self._refused(self.other_faults.pop(0), now)
            elif is_admitted and is_rules:
                answer = self.rules.answer(method, params, body, now)
            elif is_admitted:
                answer = self.users.answer(url.path, params)
            if answer is None:
                refusal = faults.not_found() if is_admitted else faults.unauthorized()
                answer = self._refused(refusal, now)
            self.others.append(Request(self.now(), url.path, params, answer.status))
            return answer

    def _count(
        self, target: str, headers: Mapping[str, str], now: float, fault: faults.Fault | None
    ) -> Answer:
        if not carries_bearer(self.bearer, headers.get("authorization", "")):
            return self._refused(faults.unauthorized(), now)
        if not self.counts_rate.spend(now):
            spent = faults.rate_limited(self.counts_rate.reset - now)
            return self._refused(spent, now)
        try:
            counts = Counts.parse(_params(target), now, self.vocabulary)
        except RefusedError as refusal:
            return json_answer(400, refusal.body, self.counts_rate.headers())
        found = self._index.find(counts.search, now)
        payload = counts.answer(milliseconds(post["id"]) for post in found)
        if isinstance(fault, faults.Changed):
            payload = fault.change(payload)
        self._ledger.book_counts(now)
        return json_answer(200, payload, self.counts_rate.headers())

    def _search(self, target: str, now: float) -> dict[str, Any]:
        search = Search.parse(_params(target), now, self.vocabulary)
        found = self._index.find(search, now)
        return search.answer(found, empty_data_list=self.empty_data_list)

    def _admits(self, target: str, headers: Mapping[str, str], now: float) -> bool:
        authorization = headers.get("authorization", "")
        if not authorization.startswith("OAuth "):
            return carries_bearer(self.bearer, authorization)
        url = f"http://{headers.get('host', '')}{target}"
        return self.oauth1 is not None and signed_by(self.oauth1, "GET", url, authorization, now)

    def _refused(self, fault: faults.Status, now: float) -> Answer:
        headers = dict(fault.headers)
        if fault.reset_in is not None:
            headers |= self.rate.headers(0, round(now + fault.reset_in))
        elif fault.code in LIMITED_CODES and headers.get("content-type") == faults.JSON_TYPE:
            self.rate.spend(now)
            headers |= self.rate.headers()
        return Answer(fault.code, fault.body, headers)


def _params(target: str) -> dict[str, str]:
    params: dict[str, str] = {}
    for name, value in parse_qsl(urlsplit(target).query, keep_blank_values=True):
        if name in params:
            raise RefusedError(name, value, f"Duplicate query parameter [{name}]")
        params[name] = value
    return params


class _Exchange(BaseHTTPRequestHandler):
    """One connection's requests and answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, connection: socket.socket, api: XApi) -> None:
        self.api = api
        super().__init__(connection, ("127.0.0.1", 0), cast("Any", None))

    def log_message(self, *_: object) -> None:
        """Say nothing: `requests` tells all."""

    def do_POST(self) -> None:
        """Change the rules."""
        self._answer_other(self.rfile.read(int(self.headers.get("content-length", "0"))))

    def _answer_other(self, body: bytes = b"") -> bool:
        """Whether it was none of the search's."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.api._answer_other(self.command, self.path, headers, body)
        if answer is None and urlsplit(self.path).path == STREAM_PATH:
            answer = self.api.stream.serve(
                self,
                lambda refusal: self.api._refused(refusal, self.api.clock()),
                is_admitted=carries_bearer(self.api.bearer, headers.get("authorization", "")),
            )
            if answer is None:
                return True
        if answer is None and self.command != "GET":
            answer = self.api._refused(faults.not_found(), self.api.clock())
        if answer is None:
            return False
        self.wfile.write(answer.head(self.api.clock()) + answer.body)
        return True

    def do_GET(self) -> None:
        """Answer, or fail as told."""
        if self._answer_other():
            return
        fault, healed = self.api._next_fault()
        request = self.api._begin(self.path)
        place = None
        if isinstance(fault, faults.Hang | faults.Reset):
            place = self.api._record(request)
        if isinstance(fault, faults.Reset):
            self._reset()
            return
        if isinstance(fault, faults.Hang):
            healed.wait()
            if self._client_is_gone():
                self.close_connection = True
                return
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.api.takes()
        answer = self.api._answer(self.path, headers, fault)
        if answer.body and "gzip" in headers.get("accept-encoding", ""):
            packed = answer.headers | {"content-encoding": "gzip"}
            answer = replace(answer, body=gzip.compress(answer.body, mtime=0), headers=packed)
        self.api._record(request.answered(answer), place)
        self._deliver(answer, fault, healed)

    def _deliver(self, answer: Answer, fault: faults.Fault | None, healed: threading.Event) -> None:
        head, body = answer.head(self.api.clock()), answer.body
        self.api.takes()
        match fault:
            case faults.Drip(speed, "headers"):
                self._drip(head, speed, healed)
                self.wfile.write(body)
            case faults.Drip(speed):
                self.wfile.write(head)
                self._drip(body, speed, healed)
            case faults.Cut(after_bytes):
                self.wfile.write(head + body[: min(after_bytes, len(body) - 1)])
                self._reset()
            case _:
                self.wfile.write(head + body)

    def _drip(self, raw: bytes, bytes_per_second: float, healed: threading.Event) -> None:
        step = max(1, int(bytes_per_second / 20))
        for start in range(0, len(raw), step):
            self.wfile.write(raw[start : start + step])
            if healed.wait(step / bytes_per_second):
                if self.api.closed:
                    raise ConnectionAbortedError
                self.wfile.write(raw[start + step :])
                return

    def _reset(self) -> None:
        """Let closing send RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def _client_is_gone(self) -> bool:
        """Whether nobody would read an answer; then none is given, and none billed."""
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return self.api.closed


def main() -> None:
    """Serve recorded posts until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=Path, required=True, help="X v2 posts, one JSON a line")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ends-in", type=float, help="move the last post to so many seconds ahead")
    parser.add_argument("--compress", type=float, default=1.0, help="times faster than recorded")
    asked = parser.parse_args()
    posts = [json.loads(line) for line in asked.posts.read_text("utf-8").splitlines()]
    if asked.ends_in is not None:
        posts = shifted(posts, round((time.time() + asked.ends_in) * 1000), asked.compress)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with XApi(posts, port=asked.port) as api:
        sys.stdout.write(f"{api.url}\n")
        sys.stdout.flush()
        stopping.wait()


if __name__ == "__main__":
    main()
