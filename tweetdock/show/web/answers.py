"""Answers of the page's server: files, readings, and refusals in plain words."""

import hashlib
import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.responses import Response

from tweetdock.core.reading import Reading

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

TEXT = "text/plain"
JSON = "application/json"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def refusal(path: str, status: int, why: str, **headers: str) -> Response:
    """An error, as JSON for who asks the API, as a line for people."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if path.startswith("/api/") and not path.endswith(".txt"):
        return Response(json.dumps({"error": why}) + "\n", status, named, JSON)
    return Response(f"{why}\n", status, named, TEXT)


class Statics:
    """The files of a folder as they are at the start; nothing else can be had by any name."""

    def __init__(self, folder: Path) -> None:
        self._answers = {
            path.relative_to(folder).as_posix(): _answer(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }

    def answer(self, name: str, known: str) -> Response:
        """The file; known: the tags of those that somebody has, as `If-None-Match` says them."""
        found = self._answers.get(name)
        if found is None:
            return refusal("", 404, "There is nothing at this address.")
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        if found.headers["etag"] in tags or "*" in tags:
            named = {name: found.headers[name] for name in ("etag", "cache-control")}
            return Response(status_code=304, headers=named)
        return found


def _answer(path: Path) -> Response:
    body = path.read_bytes()
    tag = hashlib.sha256(body).hexdigest()[:16]
    # To be asked for again each time, and then mostly not sent: an upgrade shows at once.
    headers = {"etag": f'"{tag}"', "cache-control": "no-cache"}
    return Response(body, headers=headers, media_type=KINDS.get(path.suffix, TEXT))


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
