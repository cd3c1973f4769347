"""A session for HTTP sources: every exchange ends in time, and can be ended from outside."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ReadTimeoutError

from tweetdock.core.clock import TRUSTED_MS, Clock
from tweetdock.core.errors import LOG_IN, Kind, RefusedError, SourceError
from tweetdock.core.finding import Finding
from tweetdock.core.times import YEAR_2020_MS, YEAR_2100_MS, clock_time, duration, parse_ms
from tweetdock.sources.endpoint import WAIT, Endpoint

CONNECT_SECONDS = 5.0
BETWEEN_BYTES_SECONDS = 10.0
WHOLE_SECONDS = 30.0
GOOD_STATUSES = (200, 201)
LONGEST_RESET_SECONDS = 3600.0
# A limit that allows requests nearly as often as the owner wants them does no harm.
HARMLESS_SECONDS = 10.0
SPELLINGS = ("x-rate-limit", "x-ratelimit")  # X's and Mastodon's
A = TypeVar("A", requests.Response, "LineStream")
LARGEST_LINE = 1024 * 1024
LARGEST_BODY = 8 * 1024 * 1024  # a page of 100 posts with all its fields is about 200 kB


class CuttableAdapter(HTTPAdapter):
    """Knows its open connections, to be cut from another thread.

    Only a shut-down socket wakes a thread that waits in it; a time limit on single reads does
    not end a server that sends a byte now and then.
    slowest_seconds: how long the slowest of them has taken to come about.
    """

    def __init__(self) -> None:
        kinds = {"http": HTTPConnection, "https": HTTPSConnection}
        self._kinds = {scheme: _told(kind, self._add) for scheme, kind in kinds.items()}
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._is_over = False
        self.slowest_seconds = 0.0
        super().__init__()

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Where requests takes a connection from."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = self._kinds[pool.scheme]
        return pool

    def cut(self, *, for_good: bool = False) -> None:
        """End all of them now, and for good those to come; whoever waits in one gets an error."""
        with self._lock:
            self._is_over |= for_good
            for connection in self._open:
                with suppress(OSError):
                    # Not SSLSocket's own shutdown: it pulls the TLS state from under the reader.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _add(self, connection: socket.socket | None, seconds: float) -> None:
        with self._lock:
            self.slowest_seconds = max(self.slowest_seconds, seconds)
            # Those closed since are forgotten.
            self._open = [known for known in self._open if known.fileno() >= 0]
            if connection is not None:
                self._open.append(connection)
            is_over = self._is_over
        if is_over:
            self.cut()


def _told(
    kind: type[HTTPConnection], opened: Callable[[socket.socket | None, float], None]
) -> type[HTTPConnection]:
    class Told(kind):  # type: ignore[valid-type, misc]
        def connect(self) -> None:
            began = time.monotonic()
            super().connect()
            opened(self.sock, time.monotonic() - began)

    return Told


class HttpSession(requests.Session):
    """requests for a daemon: whole answers within WHOLE_SECONDS, of bounded size, or an error.

    moved: beginnings of addresses that are really found elsewhere. They are replaced before
    a request is signed, so that an OAuth 1.0a signature holds at the new place.
    now_ms: the clock that such a signature goes by, instead of the machine's.
    setting: the one that names the server.
    Every trouble is a SourceError, every answer but 200 and 201 a RefusedError; `cut()` from
    another thread ends it.
    """

    def __init__(
        self,
        *,
        moved: Mapping[str, str] | None = None,
        now_ms: Callable[[], int] | None = None,
        whole_seconds: float = WHOLE_SECONDS,
        setting: str = "",
    ) -> None:
        super().__init__()
        self._now_ms = now_ms
        self._setting = setting
        self._moved = dict(moved or {})
        self._whole_seconds = whole_seconds
        self._connections = CuttableAdapter()
        for scheme in ("https://", "http://"):
            self.mount(scheme, self._connections)

    @property
    def connect_seconds(self) -> float:
        """How long the slowest connection has taken to come about."""
        return self._connections.slowest_seconds

    def cut(self) -> None:
        """End the exchange under way, from another thread, and all that are still to come."""
        self._connections.cut(for_good=True)

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """One exchange, with the body read to its end."""
        timeout = min(BETWEEN_BYTES_SECONDS, self._whole_seconds)
        response, body, _ = self._exchange(method, url, timeout, **kwargs)
        response.raw = io.BytesIO(body)
        response.content  # noqa: B018 - read and kept now: tweepy closes what it returns
        return response

    def open(self, method: str, url: str, *, silence_seconds: float, **kwargs: Any) -> "LineStream":
        """Begin an exchange whose answer goes on; it ends after so long a silence."""
        # What is packed may wait at the server until there is more to pack.
        kwargs["headers"] = {**(kwargs.get("headers") or {}), "Accept-Encoding": "identity"}
        response, _, endpoint = self._exchange(method, url, silence_seconds, goes_on=True, **kwargs)
        return LineStream(response, endpoint, silence_seconds)

    def _exchange(
        self, method: str, url: str, timeout: float, *, goes_on: bool = False, **kwargs: Any
    ) -> tuple[requests.Response, bytes, Endpoint]:
        """An answer that is good, its body, unless that goes on, and who gave it."""
        url = self._place(url)
        # Half of it: where IPv6 leads nowhere, another address is still to be tried.
        kwargs["timeout"] = min(CONNECT_SECONDS, self._whole_seconds / 2), timeout
        # An API does not redirect; a hotel's Wi-Fi does.
        kwargs |= {"allow_redirects": False, "stream": True}
        self._sign(kwargs)
        endpoint = Endpoint(url, self._setting)
        with self._in_time(endpoint):
            response = super().request(method, url, **kwargs)
            is_good = response.status_code in GOOD_STATUSES
            body = b"" if goes_on and is_good else _read(response, endpoint.host)
        if not is_good:
            raise RefusedError(response.status_code, response.headers, body)
        return response, body, endpoint

    def _place(self, url: str) -> str:
        for old, new in self._moved.items():
            if url.startswith(old):
                return new + url.removeprefix(old)
        return url

    def _sign(self, kwargs: dict[str, Any]) -> None:
        # Without any auth requests would put a password from ~/.netrc in our token's place.
        auth = kwargs["auth"] = kwargs.get("auth") or _as_it_is
        if self._now_ms and hasattr(auth, "client"):
            auth.client.timestamp = str(self._now_ms() // 1000)

    @contextmanager
    def _in_time(self, endpoint: Endpoint) -> Iterator[None]:
        late = threading.Event()

        def end() -> None:
            late.set()
            self._connections.cut()

        timer = threading.Timer(self._whole_seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except SourceError:
            raise
        except (requests.RequestException, HTTPError, OSError) as error:
            raise (endpoint.late() if late.is_set() else endpoint.explain(error)) from error
        except ValueError as error:
            # requests reads where a redirect leads, though nobody is to follow.
            what = f"{endpoint.host} leads to an address that is none"
            raise SourceError(what, LOG_IN, kind=Kind.STRANGER) from error
        finally:
            timer.cancel()
        if late.is_set():
            raise endpoint.late()


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What is left of an allowance: `remaining` requests until `reset_ms` (unix)."""

    remaining: int
    reset_ms: int

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], *, is_refused: bool = False) -> Self | None:
        """From X's `x-rate-limit-*` or Mastodon's `x-ratelimit-*`; None where they are no use.

        is_refused: nothing is left, though another limit may be told of by who refuses.
        X's reset is in unix seconds, Mastodon's a date by ISO 8601; each may be either.
        https://docs.x.com/x-api/fundamentals/rate-limits https://docs.joinmastodon.org/api/rate-limits/
        """
        for name in SPELLINGS:
            try:
                remaining = 0 if is_refused else int(headers[f"{name}-remaining"])
                reset_ms = _reset_ms(headers[f"{name}-reset"])
                clock_time(reset_ms)  # which no calendar may go as far as
            except (KeyError, ValueError, OverflowError, OSError):
                continue
            return cls(remaining, reset_ms)
        return None

    def is_spent(self, now_ms: int) -> bool:
        """Whether a request now would be refused."""
        return self.remaining <= 0 and self._seconds_left(now_ms) > 0

    def pause_seconds(self, now_ms: int, wanted: float, requests: int = 1) -> float:
        """Seconds from one turn to the next that keep inside the allowance, at least `wanted`.

        Spreads what is left evenly over the time left, so that we are never refused.
        requests: how many of them a turn takes.
        """
        left = self._seconds_left(now_ms)
        return max(wanted, left * requests / max(requests, self.remaining))

    def _seconds_left(self, now_ms: int) -> float:
        left = (self.reset_ms - now_ms) / 1000 + 1
        # X's windows last 15 minutes: a reset in the past or far off is no reset.
        return left if 0 < left <= LONGEST_RESET_SECONDS else 0.0


def used_up(
    limit: RateLimit | None, whose: str, now_ms: int, retry_after: float | None = None
) -> SourceError:
    """That no request is left, with the time to wait if that is known. whose: as in `X's`.

    retry_after: seconds to wait where the limit does not tell.
    """
    what = f"{whose} rate limit is used up"
    if limit is None or not limit.is_spent(now_ms):
        return SourceError(what, kind=Kind.LIMIT, retry_after=retry_after)
    return SourceError(
        f"{what} until {clock_time(limit.reset_ms)}",
        kind=Kind.LIMIT,
        retry_after=limit.pause_seconds(now_ms, 0.0),
    )


class RateLimited:
    """Exchanges of a kind with a server, which has a limit of its own for them.

    whose: the server's, as in `X's`. limit: what it said last.
    """

    def __init__(self, clock: Clock, whose: str) -> None:
        self.limit: RateLimit | None = None
        self._clock = clock
        self._whose = whose

    def ask(self, send: Callable[[], A]) -> tuple[A, int, int | None]:
        """The answer, how many ms that took, and what time it is there now: see `server_now_ms`.

        SourceError if the limit leaves none, or there is no answer; RefusedError with its time.
        """
        asked_ms = self._clock.now_ms()
        if self.limit and self.limit.is_spent(asked_ms):
            raise used_up(self.limit, self._whose, asked_ms)
        try:
            answer = send()
        except RefusedError as refusal:
            self.limit = RateLimit.from_headers(refusal.headers)
            refusal.server_ms = server_now_ms(refusal.headers, asked_ms, self._clock.now_ms())
            raise
        self.limit = RateLimit.from_headers(answer.headers)
        now_ms = self._clock.now_ms()
        return answer, now_ms - asked_ms, server_now_ms(answer.headers, asked_ms, now_ms)


def left_of(
    source: str, limit: RateLimit | None, now_ms: int, *, wanted_seconds: float, what: str
) -> Finding:
    """What is left of a rate limit, and whether it is enough. now_ms: by the server's clock."""
    thing = f"{source} limit"
    if limit is None:
        return Finding.well(thing, f"the server names no limit for {what}")
    says = f"{limit.remaining:,} {what} are left until {clock_time(limit.reset_ms)}"
    seconds = limit.pause_seconds(now_ms, wanted_seconds)
    if seconds <= wanted_seconds + HARMLESS_SECONDS:
        return Finding.well(thing, says)
    return Finding.warning(
        thing, f"{says}, which is enough for one every {duration(seconds)}", WAIT
    )


def _reset_ms(reset: str) -> int:
    try:
        return int(reset) * 1000
    except ValueError:
        return parse_ms(reset)


class LineStream:
    """An answer that goes on: its lines as they come."""

    def __init__(
        self, response: requests.Response, endpoint: Endpoint, silence_seconds: float
    ) -> None:
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self.host = endpoint.host
        self._endpoint = endpoint
        self._silence_seconds = silence_seconds
        self._rest = b""

    def read(self) -> list[bytes]:
        """Wait for more; the lines that it completes, without their ends, which may be none.

        Raises SourceError when the connection has ended, nothing came for so long that it is to
        be taken for dead, or a line is longer than any that makes sense.
        """
        try:
            chunk = self._response.raw.read1(65536, decode_content=True)
        except (requests.Timeout, ReadTimeoutError, TimeoutError) as error:
            silence = duration(self._silence_seconds)
            raise SourceError(f"{self.host} has said nothing for {silence}") from error
        except (requests.RequestException, HTTPError, OSError) as error:
            raise self._endpoint.explain(error) from error
        if not chunk:
            raise SourceError(f"{self.host} has closed the connection")
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LARGEST_LINE:
            what = f"{self.host} sends a line of more than {LARGEST_LINE} bytes"
            raise SourceError(what, kind=Kind.SERVER)
        return [line.removesuffix(b"\r") for line in whole]

    def close(self) -> None:
        """Leave it."""
        with suppress(requests.RequestException, HTTPError, OSError):
            self._response.close()


def date_ms(headers: Mapping[str, str]) -> int | None:
    """An answer's own time (Unix ms); None if it gives none, or one that nobody lives in."""
    try:
        # It is cut to the second: its middle is the best guess.
        at_ms = parse_ms(headers["Date"]) + 500
    except (KeyError, ValueError):
        return None
    return at_ms if YEAR_2020_MS < at_ms < YEAR_2100_MS else None


def server_now_ms(headers: Mapping[str, str], asked_ms: int, now_ms: int) -> int | None:
    """What time it is at a server whose answer is here now (Unix ms); None if it does not say.

    asked_ms: when it was asked, by our clock; it read its own between then and now. If the two
    clocks agree, it is ours.
    """
    said_ms = date_ms(headers)
    if said_ms is None or asked_ms - TRUSTED_MS <= said_ms <= now_ms + TRUSTED_MS:
        return said_ms and now_ms
    return said_ms + (now_ms - asked_ms) // 2


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _read(response: requests.Response, host: str) -> bytes:
    body = io.BytesIO()
    with response:
        for chunk in response.raw.stream(65536, decode_content=True):
            body.write(chunk)
            if body.tell() > LARGEST_BODY:
                what = f"{host} sent more than {LARGEST_BODY} bytes"
                raise SourceError(what, kind=Kind.SERVER, may_have_come=True)
    return body.getvalue()
