"""The doctor's checks of the page's address: whether it is free, what answers, and who sees it."""

import errno
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from tweetdock.core.coverage import Grade
from tweetdock.doctor.checks import Check, Finding, Verdict
from tweetdock.settings.gauge import Settings
from tweetdock.settings.parse import is_loopback
from tweetdock.show.web.web import is_contained

ANSWER_SECONDS = 3.0
MOST_BYTES = 1 << 18  # of an answer; a reading has some hundred
_NO_READING = b"no reading yet"
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked there, not listened at


def page_checks(settings: Settings) -> list[Check]:
    """The checks; a TweetDock that runs there is asked for its reading."""
    if settings.web is None:
        return [Check("page", lambda: iter([Finding("page", Verdict.PASS, "off")]))]
    check = partial(_check_page, *settings.web, is_demanded=settings.is_page_demanded)
    return [Check("page", check)]


def _check_page(host: str, port: int, *, is_demanded: bool) -> Iterator[Finding]:
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if port == 0:
        yield Finding("page", Verdict.PASS, f"at {host}, on any port that is free")
    elif _is_answered(_LOOPBACK.get(host, host), port):
        yield _running(where, _LOOPBACK.get(host, host), port, is_demanded=is_demanded)
    else:
        yield _listenable(where, host, port, is_demanded=is_demanded)
    if not is_loopback(host):
        # In a container loopback is the container's alone.
        alone = f"TWEETDOCK_WEB=127.0.0.1:{port}"
        if is_contained():
            alone = f"`docker run -p 127.0.0.1:{port}:{port}`"
        yield Finding(
            "page",
            Verdict.WARN,
            "everybody in your network can see it",
            f"fine at home, if you want that; {alone} shows it to this machine only",
        )


@dataclass(frozen=True, slots=True)
class _PageAnswer:
    status: int
    body: bytes

    @property
    def reason(self) -> str:
        """The beginning of the answer, on one line."""
        return " ".join(self.body[:300].decode(errors="replace").split())

    @property
    def grade(self) -> str:
        """The grade, if this is a reading of TweetDock; else empty."""
        try:
            said = json.loads(self.body)
        except (ValueError, RecursionError):
            return ""
        is_ours = isinstance(said, dict) and {"grade", "posts", "authors", "dials"} <= set(said)
        return str(said["grade"]) if is_ours and said["grade"] in set(Grade) else ""


def _running(where: str, host: str, port: int, *, is_demanded: bool) -> Finding:
    """What answers there: a TweetDock, and how it is, or another program."""
    reading = _ask(host, port, "/api/reading")
    if reading is not None and reading.status == 503 and _NO_READING in reading.body:
        return Finding("page", Verdict.PASS, f"a TweetDock has just started at {where}")
    if reading is None or not reading.grade:
        return _unavailable(f"another program uses {where}", port, is_demanded=is_demanded)
    says = f"a TweetDock runs at {where}, and its reading is {reading.grade}"
    health = _ask(host, port, "/healthz")
    if health is None or health.status != 200:
        reason = health.reason if health else "no answer"
        cure = "see its log, then restart it"
        return Finding("page", Verdict.FAIL, f"{says}, but it has a problem: {reason}", cure)
    if reading.grade == Grade.STALE:
        return Finding("page", Verdict.WARN, says, "see the lines on its sources")
    return Finding("page", Verdict.PASS, says)


def _listenable(where: str, host: str, port: int, *, is_demanded: bool) -> Finding:
    """Whether the address could be listened at."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as error:
        says = f"{where} cannot be used: {error.strerror or error}"
        if error.errno == errno.EACCES:
            says = f"{where} cannot be used: ports below 1024 are for root"
        elif error.errno == errno.EADDRNOTAVAIL:
            says = f"{where} cannot be used: this machine does not have that address"
        return _unavailable(says, port, is_demanded=is_demanded)
    return Finding("page", Verdict.PASS, f"{where} is free")


def _unavailable(says: str, port: int, *, is_demanded: bool) -> Finding:
    other = port + 1 if 1024 <= port < 65535 else 8080
    cure = f"choose another address, such as TWEETDOCK_WEB=127.0.0.1:{other}, or off"
    if is_demanded:
        return Finding("page", Verdict.FAIL, says, cure)
    # The owner has not asked for this address: the gauge runs without a page.
    return Finding("page", Verdict.WARN, f"{says}; TweetDock would run without a page", cure)


def _is_answered(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), ANSWER_SECONDS):
        return True
    return False


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
