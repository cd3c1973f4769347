"""The page's address: whether it is free, what answers there, and who sees it."""

import errno
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tweetdock.core.coverage import Grade
from tweetdock.core.finding import Finding
from tweetdock.settings.gauge import Settings
from tweetdock.show.web.web import is_contained

ANSWER_SECONDS = 3.0
MOST_BYTES = 1 << 18  # of an answer; a reading has some hundred
LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked there, not listened at


def probe(settings: Settings) -> Iterator[Finding]:
    """A TweetDock that runs there is asked how it is, and for its reading."""
    if settings.web is None:
        yield Finding.well("page", "off")
        return
    host, port = settings.web
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    near = LOOPBACKS.get(host, host)
    if port == 0:
        yield Finding.well("page", f"at {host}, on any port that is free")
    elif _is_answered(near, port):
        yield _running(where, near, port) or _taken(f"another program uses {where}", settings)
    elif why := _obstacle(host, port):
        yield _taken(f"{where} cannot be used: {why}", settings)
    else:
        yield Finding.well("page", f"{where} is free")
    if settings.is_page_open:
        # In a container loopback is the container's alone.
        alone = f"TWEETDOCK_WEB=127.0.0.1:{port}"
        if is_contained():
            alone = f"`docker run -p 127.0.0.1:{port}:{port}`"
        yield Finding.warning(
            "page",
            "everybody in your network can see it",
            f"fine at home, if you want that; {alone} shows it to this machine only",
        )


def _running(where: str, host: str, port: int) -> Finding | None:
    """How the TweetDock is that answers there; None if it is another program."""
    health, reading = _ask(host, port, "/healthz"), _ask(host, port, "/api/reading")
    says = f"a TweetDock runs at {where}"
    if health is None or reading is None:
        return None
    if reading.grade:
        says = f"{says}, and its reading is {reading.grade}"
    elif not reading.is_refusal:
        return None
    if health.status != 200:
        says = f"{says}, but it has a problem: {health.line}"
        return Finding.trouble("page", says, "see its log, then restart it")
    if reading.grade == Grade.STALE:
        return Finding.warning("page", says, "see the lines on its sources")
    return Finding.well("page", says if reading.grade else f"{says}, and has just started")


def _taken(says: str, settings: Settings) -> Finding:
    port = settings.web[1] if settings.web else 0
    other = port + 1 if 1024 <= port < 65535 else 8080
    cure = f"choose another address, such as TWEETDOCK_WEB=127.0.0.1:{other}, or off"
    if settings.is_page_demanded:
        return Finding.trouble("page", says, cure)
    # The owner has not asked for this address: the gauge runs without a page.
    return Finding.warning("page", f"{says}; TweetDock would run without a page", cure)


def _obstacle(host: str, port: int) -> str:
    """Why the address cannot be listened at; empty if it can."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as error:
        whys = {
            errno.EACCES: "ports below 1024 are for root",
            errno.EADDRNOTAVAIL: "this machine does not have that address",
        }
        return whys.get(error.errno or 0, error.strerror or str(error))
    return ""


def _is_answered(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), ANSWER_SECONDS):
        return True
    return False


@dataclass(frozen=True, slots=True)
class _PageAnswer:
    status: int
    body: bytes

    @property
    def line(self) -> str:
        """The beginning of it, on one line."""
        return " ".join(self.body[:300].decode(errors="replace").split())

    @property
    def is_refusal(self) -> bool:
        """Whether it is a TweetDock's own word that it has no reading now."""
        return self.status == 503 and set(self._said()) == {"error"}

    @property
    def grade(self) -> str:
        """The grade, if this is a reading of TweetDock; else empty."""
        said = self._said()
        is_reading = {"grade", "posts", "authors", "dials"} <= set(said)
        return str(said["grade"]) if is_reading and said["grade"] in set(Grade) else ""

    def _said(self) -> dict[str, Any]:
        try:
            said = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return said if isinstance(said, dict) else {}


def _ask(host: str, port: int, path: str) -> _PageAnswer | None:
    """The answer to a request; None if there is none in HTTP."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return _PageAnswer(answer.status, answer.read(MOST_BYTES))
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
