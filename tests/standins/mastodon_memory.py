"""Stand-in Mastodon servers asked without sockets, with their streams."""

import io
import queue
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import requests
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from standins import in_memory
from standins.in_memory import Question
from standins.mastodon import Answer, Mastodon, Stream
from tweetdock.sources.http import HttpSession


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


class _Opened(NamedTuple):
    headers: Mapping[str, str]
    body: _StreamBody
    status: int = 200


def memory_session(servers: Iterable[Mastodon], **options: Any) -> HttpSession:
    """A session like any other, which reaches these servers and nothing else.

    A server that has nothing to send on a stream has fallen silent; one that hangs times out.
    """
    by_host = {server.host: server for server in servers}

    def answer(question: Question) -> Answer | _Opened:
        server = by_host[question.headers["host"]]
        found = server.ask(question.target, question.headers.get("authorization", ""))
        match found:
            case Answer():
                if found.cut is not None and found.cut < len(found.body):
                    raise requests.ConnectionError("Connection reset by peer")
                return found
            case Stream():
                return _Opened(found.headers, _StreamBody(server, found))
            case _:
                raise requests.ReadTimeout("no answer")

    session = HttpSession(**options)
    in_memory.mount(session, "http://", answer)
    return session
