"""The doctor's look at Bluesky: each Jetstream host, what it sends, and how late that is."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from tweetdock.core.clock import TRUSTED_MS, Clock
from tweetdock.core.errors import RefusedError, SourceError
from tweetdock.core.times import duration
from tweetdock.doctor.reach import AGAIN, LOG_IN, LOOK_SECONDS, Endpoint, clock_finding, unreachable
from tweetdock.doctor.round import Finding, Verdict
from tweetdock.sources.bluesky.events import COLLECTION, Filter
from tweetdock.sources.bluesky.websocket import WebSocket
from tweetdock.sources.http import date_ms, proxy_of

SETTING = "TWEETDOCK_JETSTREAM"
EVENT_SECONDS = 5.0  # fifty posts a second is usual
LATE_MS = 30_000
BUSY = (408, 425, 429)  # refusals that end by themselves
# As it is said of what answers, and is no Jetstream.
STRANGER_SIGNS = "does not speak WebSocket", "is it a Jetstream host?"


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one host: its time (Unix ms), if it said so, and that of its newest event."""

    server_ms: int | None
    event_ms: int
    machine_ms: int


Outcome = Heard | SourceError


class BlueskyCheckup:
    """Connects to every host at once and waits for a first event; nothing is counted.

    One host that is out of order is no harm while another one is not.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        wall: Callable[[], float] = time.time,
        event_seconds: float = EVENT_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._places = [Endpoint("bluesky", host, SETTING) for host in hosts]
        self._wall = wall
        self._event_seconds = event_seconds
        self._look_seconds = look_seconds

    def look(self) -> Iterator[Finding]:
        """A line for each host, but one for all that fail alike; and one for the clock."""
        outcomes = self._listen()
        works = any(isinstance(outcome, Heard) for outcome in outcomes)
        lines: dict[object, tuple[Finding, list[str]]] = {}
        for place, outcome in zip(self._places, outcomes, strict=True):
            if isinstance(outcome, Heard):
                lines[place] = _alive(place, outcome), [place.host]
                continue
            found = _dead(place, outcome, others_work=works)
            alike = found.verdict, found.says.replace(place.host, ""), found.cure
            lines.setdefault(alike, (found, []))[1].append(place.host)
        for found, (_, *others) in lines.values():
            yield _said_of_all(found, others)
        for place, outcome in zip(self._places, outcomes, strict=True):
            if isinstance(outcome, Heard) and (server_ms := _time_of(outcome)) is not None:
                whose = f"{place.host}'s"
                yield clock_finding("bluesky", whose, server_ms, outcome.machine_ms)
                return

    def _listen(self) -> list[Outcome]:
        until = time.monotonic() + self._look_seconds
        sockets = [WebSocket() for _ in self._places]
        outcomes: list[Outcome] = [
            SourceError(f"{place.host} does not answer in time") for place in self._places
        ]

        def ask(number: int) -> None:
            try:
                outcomes[number] = self._ask(self._places[number], sockets[number])
            except SourceError as error:
                outcomes[number] = error

        threads = [
            threading.Thread(target=ask, args=(number,), name="jetstream", daemon=True)
            for number in range(len(self._places))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        found = list(outcomes)
        for socket in sockets:
            socket.cut()
        return found

    def _ask(self, place: Endpoint, socket: WebSocket) -> Heard:
        sieve, clock = Filter(()), Clock(self._wall, time.monotonic)
        asked_ms = clock.now_ms()
        mark = "&" if "?" in place.url else "?"
        headers = socket.open(f"{place.url}{mark}{urlencode({'wantedCollections': COLLECTION})}")
        server_ms = date_ms({"Date": headers.get("date", "")})
        if server_ms is not None:
            clock.correct(server_ms, asked_ms)
        newest_us = self._newest_us(sieve, socket, place.host)
        socket.close()
        # Its Date is cut to the second; only what is clearly off is another time.
        said_ms = None if server_ms is None else clock.now_ms()
        return Heard(said_ms, newest_us // 1000, round(self._wall() * 1000))

    def _newest_us(self, sieve: Filter, socket: WebSocket, host: str) -> int:
        until, number = time.monotonic() + self._event_seconds, 0
        while (left := until - time.monotonic()) > 0:
            try:
                frames = socket.read(left)
            except SourceError:
                if number:
                    break
                raise
            number += len(frames)
            times, _ = sieve.sift(frames)
            if times:
                return times[-1]
        raise SourceError(f"{host} sends nothing with a time: is it a Jetstream host?")


def _alive(place: Endpoint, heard: Heard) -> Finding:
    now_ms = heard.machine_ms if heard.server_ms is None else heard.server_ms
    late_ms = now_ms - heard.event_ms
    if late_ms > LATE_MS:
        says = f"{place.host} answers, but is {duration(late_ms / 1000)} behind"
        cure = f"if it stays so, remove it from {SETTING}; if all are late, check the clock"
        return place.finding(Verdict.WARN, says, cure)
    late = f"{max(0, late_ms) / 1000:.1f} s"
    return place.finding(Verdict.PASS, f"{place.host} answers; its newest event is {late} old")


def _dead(place: Endpoint, error: SourceError, *, others_work: bool) -> Finding:
    found = unreachable(place, error)
    cure = found.cure
    if others_work:
        cure = f"nothing for now: another host is used; if it stays so, remove it from {SETTING}"
    elif wrong := _cure_of_address(error):
        cure = wrong
    elif proxy := proxy_of(place.url.replace("ws", "http", 1)):
        cure = f"let this machine connect without the proxy {proxy}, which Bluesky cannot use"
    return place.finding(Verdict.WARN if others_work else Verdict.FAIL, found.says, cure)


def _cure_of_address(error: SourceError) -> str:
    """What to do if something answers that is no Jetstream; empty if that is not so."""
    cause = error.__cause__
    status = cause.status if isinstance(cause, RefusedError) else 0
    if 300 <= status < 400:
        return f"{LOG_IN}; else check {SETTING}"
    if status in BUSY or status >= 500:
        return AGAIN
    if status or any(sign in str(error) for sign in STRANGER_SIGNS):
        return f"check {SETTING}: the address of a Jetstream is wss://host/subscribe"
    return ""


def _said_of_all(found: Finding, others: Sequence[str]) -> Finding:
    if not others:
        return found
    *first, last = others
    names = f"{', '.join(first)} and {last}" if first else last
    link = " It" if found.says.endswith("?") else "; it"
    return replace(found, says=f"{found.says}{link} is the same for {names}")


def _time_of(heard: Heard) -> int | None:
    """What time the host showed that it is; an event of a time to come shows it too."""
    if heard.server_ms is not None:
        return heard.server_ms
    return heard.event_ms if heard.event_ms > heard.machine_ms + TRUSTED_MS else None
