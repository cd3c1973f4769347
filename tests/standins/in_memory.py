"""A stand-in asked without a socket, by the real client: hours of questions cost seconds."""

import io
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPResponse


class Answer(Protocol):
    """What a stand-in answers: a body as a whole, or one to be read piece by piece."""

    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes | io.RawIOBase: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


class Question(NamedTuple):
    """What a stand-in is asked; the headers' names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class InMemory(HTTPAdapter):
    """Hands a session's requests to a stand-in; what that cannot answer goes by `wire`.

    An answer that fails is raised, as what requests raises.
    """

    def __init__(self, answer: Callable[[Question], Answer | None], wire: BaseAdapter) -> None:
        super().__init__()
        self._answer = answer
        self._wire = wire

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """Answer, or send it."""
        headers = {name.lower(): str(value) for name, value in request.headers.items()}
        headers["host"] = urlsplit(str(request.url)).netloc
        body = request.body or b""
        answer = self._answer(
            Question(
                method=str(request.method),
                target=request.path_url,
                headers=headers,
                body=body.encode() if isinstance(body, str) else body,
            )
        )
        if answer is None:
            return self._wire.send(request, *args, **kwargs)
        read = io.BytesIO(answer.body) if isinstance(answer.body, bytes) else answer.body
        raw = HTTPResponse(read, answer.headers, answer.status, preload_content=False)
        return self.build_response(request, raw)


def mount(session: requests.Session, url: str, answer: Callable[[Question], Answer | None]) -> None:
    """Let a session ask the stand-ins at addresses that begin with `url` so."""
    session.mount(url, InMemory(answer, session.get_adapter(url)))
