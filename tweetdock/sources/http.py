"""A session for HTTP sources: every exchange ends in time, and can be ended from outside."""

import io
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from tweetdock.errors import RefusedError, SourceError

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 10.0
WHOLE_SECONDS = 30.0
LARGEST_BODY = 8 * 1024 * 1024  # a page of 100 posts with all its fields is about 200 kB


class Wires:
    """The open connections of one session, to be cut from another thread.

    Only a shut-down socket wakes a thread that waits in it; a time limit on single reads does
    not end a server that sends a byte now and then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []

    def add(self, wire: socket.socket | None) -> None:
        """Watch over one more connection; those closed since are forgotten."""
        with self._lock:
            self._open = [known for known in self._open if known.fileno() >= 0]
            if wire is not None:
                self._open.append(wire)

    def cut(self) -> None:
        """End all of them now; whoever waits in one gets an error."""
        with self._lock:
            for wire in self._open:
                with suppress(OSError):
                    # Not SSLSocket's own shutdown: it pulls the TLS state from under the reader.
                    socket.socket.shutdown(wire, socket.SHUT_RDWR)


class _WatchedAdapter(HTTPAdapter):
    def __init__(self, wires: Wires) -> None:
        class Plain(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                wires.add(self.sock)

        class Secure(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                wires.add(self.sock)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        self._pools = {"http": PlainPool, "https": SecurePool}
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager


class Session(requests.Session):
    """requests for a daemon: whole answers within WHOLE_SECONDS, of bounded size, or an error.

    moved: beginnings of addresses that are really found elsewhere. They are replaced before
    a request is signed, so that an OAuth 1.0a signature holds at the new place.
    now_ms: the clock that such a signature goes by, instead of the machine's.
    Every trouble is a SourceError, every answer but 200 a RefusedError; `cut()` from another
    thread ends the exchange under way.
    """

    def __init__(
        self,
        *,
        moved: Mapping[str, str] | None = None,
        now_ms: Callable[[], int] | None = None,
        whole_seconds: float = WHOLE_SECONDS,
    ) -> None:
        super().__init__()
        self._now_ms = now_ms
        self._moved = dict(moved or {})
        self._whole_seconds = whole_seconds
        self._wires = Wires()
        for scheme in ("https://", "http://"):
            self.mount(scheme, _WatchedAdapter(self._wires))

    def cut(self) -> None:
        """End the exchange under way, from another thread."""
        self._wires.cut()

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """One exchange, with the body read to its end."""
        for old, new in self._moved.items():
            if url.startswith(old):
                url = new + url.removeprefix(old)
        kwargs |= {
            "timeout": (CONNECT_SECONDS, min(SILENCE_SECONDS, self._whole_seconds)),
            "allow_redirects": False,  # an API does not redirect; a hotel's Wi-Fi does
            "stream": True,
        }
        # Without any auth requests would put a password from ~/.netrc in our token's place.
        auth = kwargs["auth"] = kwargs.get("auth") or _as_it_is
        if self._now_ms and hasattr(auth, "client"):
            auth.client.timestamp = str(self._now_ms() // 1000)
        host = url.partition("://")[2].partition("/")[0]
        with self._in_time(host):
            response = super().request(method, url, **kwargs)
            body = _read(response)
        if response.status_code != 200:
            raise RefusedError(response.status_code, response.headers, body)
        response.raw = io.BytesIO(body)
        response.content  # noqa: B018 - read and kept now: tweepy closes what it returns
        return response

    @contextmanager
    def _in_time(self, host: str) -> Iterator[None]:
        late = threading.Event()

        def end() -> None:
            late.set()
            self._wires.cut()

        timer = threading.Timer(self._whole_seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (requests.RequestException, HTTPError, OSError) as error:
            if late.is_set() or isinstance(error, requests.Timeout):
                raise SourceError(f"{host} does not answer in time") from error
            raise SourceError(_explain(host, error)) from error
        finally:
            timer.cancel()
        if late.is_set():
            raise SourceError(f"{host} does not answer in time")


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _read(response: requests.Response) -> bytes:
    body = io.BytesIO()
    with response:
        for chunk in response.raw.stream(65536, decode_content=True):
            body.write(chunk)
            if body.tell() > LARGEST_BODY:
                raise requests.RequestException(f"sent more than {LARGEST_BODY} bytes")
    return body.getvalue()


def _explain(host: str, error: Exception) -> str:
    # str() of a requests error can carry the whole address with its query; a kind is enough.
    text = str(error)
    kinds = {
        "NameResolutionError": "the name cannot be looked up; is the network up?",
        "Connection refused": "nobody listens there",
        "CERTIFICATE_VERIFY_FAILED": "its certificate is not to be trusted; "
        "is the clock right, is this the open internet?",
        "Network is unreachable": "the network is down",
        "sent more than": f"it {text}",
    }
    for sign, sentence in kinds.items():
        if sign in text:
            return f"{host} cannot be reached: {sentence}"
    return f"{host} cannot be reached: the connection broke ({type(error).__name__})"
