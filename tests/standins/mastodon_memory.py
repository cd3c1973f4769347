"""The way to stand-in Mastodon servers without sockets: requests asks them by a call."""

import io
import queue
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from standins.mastodon import Answer, Mastodon, Stream
from tweetdock.sources.http import HttpSession


class MemoryAdapter(HTTPAdapter):
    """Carries questions to the servers of a test, and what they answer back.

    A server that has nothing to send on a stream has fallen silent; one that hangs times out.
    """

    def __init__(self, servers: Iterable[Mastodon]) -> None:
        super().__init__()
        self._servers = {server.host: server for server in servers}

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, **_: Any
    ) -> requests.Response:
        """Ask the server that the address names."""
        url = urlsplit(str(request.url))
        server = self._servers[url.netloc]
        target = f"{url.path}?{url.query}" if url.query else url.path
        found = server.ask(target, request.headers.get("Authorization", ""))
        match found:
            case Answer():
                if found.cut is not None and found.cut < len(found.body):
                    raise requests.ConnectionError("Connection reset by peer")
                body: Any = io.BytesIO(found.body)
                status = found.status
            case Stream():
                body, status = _StreamBody(server, found), 200
            case _:
                raise requests.ReadTimeout("no answer")
        answer = HTTPResponse(body, found.headers, status, preload_content=False)
        return self.build_response(request, answer)


class _StreamBody(io.RawIOBase):
    """What has been sent to a stream, up to now."""

    def __init__(self, server: Mastodon, stream: Stream) -> None:
        self._server, self._stream = server, stream
        self._rest = stream.cut_after

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next piece."""
        return self.read1()

    def read1(self, size: int = -1) -> bytes:
        """The next piece; empty at a good end."""
        try:
            raw = self._stream.outgoing.get_nowait()
        except queue.Empty:
            raise ReadTimeoutError(None, "", "silence") from None  # type: ignore[arg-type]
        if raw is None:
            return b""
        # As much of it counts as on a wire, where a piece has its length before it.
        size = len(b"%x\r\n%b\r\n" % (len(raw), raw))
        if self._rest is not None and size > self._rest:
            raise ProtocolError("Connection broken")
        self._rest = None if self._rest is None else self._rest - size
        return raw

    def close(self) -> None:
        """Listen no more."""
        if not self.closed:
            self._server.left(self._stream)
        super().close()


def memory_session(servers: Iterable[Mastodon], **options: Any) -> HttpSession:
    """A session like any other, which reaches these servers and nothing else."""
    session = HttpSession(**options)
    session.mount("http://", MemoryAdapter(servers))
    return session
