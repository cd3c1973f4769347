"""The page's address: whether it is free, what answers there, and who sees it."""

import http.client
import json
from collections.abc import Iterator

from tweetdock.core.address import host_and_port
from tweetdock.core.coverage import Grade
from tweetdock.core.errors import UnavailableError
from tweetdock.core.finding import Finding
from tweetdock.settings.gauge import Settings
from tweetdock.show.web.web import is_contained, listen

ANSWER_SECONDS = 3.0
MOST_BYTES = 1 << 18  # of an answer; a reading has some hundred
LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked there, not listened at


def probe(settings: Settings) -> Iterator[Finding]:
    """A TweetDock that runs there is asked how it is, and for its reading."""
    if settings.web is None:
        yield Finding.well("page", "off")
        return
    host, port = settings.web
    where = f"http://{host_and_port(host, port)}"
    if port == 0:
        yield Finding.well("page", f"at {host}, on any port that is free")
    else:
        running = _running(where, LOOPBACKS.get(host, host), port)
        yield running or _free(where, host, port, is_demanded=settings.is_page_demanded)
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
    """How the TweetDock is that answers there; None if nobody does, or another program."""
    health, line = _ask(host, port, "/healthz")
    status, body = _ask(host, port, "/api/reading") if health else (0, b"")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    says, grade = f"a TweetDock runs at {where}", said.get("grade")
    if {"grade", "posts", "authors", "dials"} <= set(said) and grade in list(Grade):
        says = f"{says}, and its reading is {grade}"
    elif status == 503 and set(said) == {"error"}:
        grade = None
    else:
        return None
    if health != 200:
        problem = " ".join(line[:300].decode(errors="replace").split())
        says = f"{says}, but it has a problem: {problem}"
        return Finding.trouble("page", says, "see its log, then restart it")
    if grade == Grade.STALE:
        return Finding.warning("page", says, "see the lines on its sources")
    return Finding.well("page", says if grade else f"{says}, and has just started")


def _free(where: str, host: str, port: int, *, is_demanded: bool) -> Finding:
    """Whether the gauge could listen there."""
    try:
        listen(host, port).close()
    except UnavailableError as error:
        if is_demanded:
            return Finding.trouble("page", error.what, error.cure)
        # The owner has not asked for this address: the gauge runs without a page.
        says = f"{error.what}; TweetDock would run without a page"
        return Finding.warning("page", says, error.cure)
    return Finding.well("page", f"{where} is free")


def _ask(host: str, port: int, path: str) -> tuple[int, bytes]:
    """The status and the body of the answer to a request; 0 if there is none in HTTP."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(MOST_BYTES)
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
