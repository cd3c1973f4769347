"""Answers of the page's server: bytes of a type, files, readings, and refusals in plain words."""

import hashlib
import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tweetdock.core.reading import Reading

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
PIECE_BYTES = 16_384
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a body and its headers; an ASGI application that sends them."""

    body: bytes
    kind: str = TEXT
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    async def __call__(self, scope: Message, _receive: Receive, send: Send) -> None:
        """Send it; its body in pieces, so that it does not wait in memory for a slow reader."""
        fields = {"cache-control": "no-store", **self.headers}
        if self.status != 304:  # nothing is said of a body that is elsewhere
            fields |= {"content-length": str(len(self.body)), "content-type": self.kind}
        headers = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        end = 0 if scope["method"] == "HEAD" else len(self.body)
        for at in range(0, end, PIECE_BYTES):
            piece = self.body[at : at + PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def refusal(path: str, status: int, why: str, **headers: str) -> Answer:
    """An error, as JSON for who asks the API, as a line for people."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if path.startswith("/api/") and not path.endswith(".txt"):
        return Answer(json.dumps({"error": why}).encode() + b"\n", JSON, status, named)
    return Answer(f"{why}\n".encode(), TEXT, status, named)


class Statics:
    """The files of a folder as they are at the start; nothing else can be had by any name."""

    def __init__(self, folder: Path) -> None:
        self._answers = {
            path.relative_to(folder).as_posix(): _answer(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }

    def answer(self, name: str, known: str) -> Answer:
        """The file; known: the tags of those that somebody has, as `If-None-Match` says them."""
        found = self._answers.get(name)
        if found is None:
            return refusal("", 404, "There is nothing at this address.")
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        if found.headers["etag"] in tags or "*" in tags:
            return replace(found, body=b"", status=304)
        return found


def _answer(path: Path) -> Answer:
    body = path.read_bytes()
    tag = hashlib.sha256(body).hexdigest()[:16]
    # To be asked for again each time, and then mostly not sent: an upgrade shows at once.
    headers = {"etag": f'"{tag}"', "cache-control": "no-cache"}
    return Answer(body, KINDS.get(path.suffix, TEXT), headers=headers)


def as_bytes(reading: Reading) -> bytes:
    """The reading as the contract's JSON, in one line."""
    text = json.dumps(reading.as_json(), ensure_ascii=False)
    # A network's own words may have half a surrogate pair.
    return text.encode(errors="replace") + b"\n"


def as_line(reading: Reading) -> bytes:
    r"""The reading as one line of ASCII for a tiny client that would not parse JSON.

    Fields are separated by one space and the line ends with `\n`; more may be added at the end:

        412 287 exact 0.4120 0.2870 1.000 1763732112 live

    posts, authors; the grade; where the two needles are to be, 0..1; the share of the window that
    is covered, 0..1, rounded down; when that was, Unix seconds; `live`, `demo` or `replay`.
    """
    tweets, tweeters = reading.dials["tweets"], reading.dials["tweeters"]
    covered = math.floor(reading.covered * 1000) / 1000
    return (
        f"{reading.posts} {reading.authors} {reading.grade} {tweets.position:.4f} "
        f"{tweeters.position:.4f} {covered:.3f} {reading.at_ms // 1000} {reading.kind or 'live'}\n"
    ).encode()
