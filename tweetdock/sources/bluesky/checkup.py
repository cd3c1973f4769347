"""The doctor's look at Bluesky: each Jetstream host, what it sends, and how late that is."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from tweetdock.checkup import Finding, Verdict
from tweetdock.clock import TRUSTED_MS, Clock
from tweetdock.errors import SourceError
from tweetdock.sources.answers import clock_finding
from tweetdock.sources.bluesky.events import COLLECTION, Sieve
from tweetdock.sources.bluesky.websocket import WebSocket
from tweetdock.sources.http import date_ms, proxy_of
from tweetdock.sources.reach import LOOK_SECONDS, Place, unreachable
from tweetdock.timestamps import duration

SETTING = "TWEETDOCK_JETSTREAM"
EVENT_SECONDS = 5.0  # fifty posts a second is usual
LATE_MS = 30_000


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
        self._places = [Place("bluesky", host, SETTING) for host in hosts]
        self._wall = wall
        self._event_seconds = event_seconds
        self._look_seconds = look_seconds

    def look(self) -> Iterator[Finding]:
        """A line for each host, and one for the clock."""
        outcomes = self._listen()
        works = any(isinstance(outcome, Heard) for outcome in outcomes)
        for place, outcome in zip(self._places, outcomes, strict=True):
            if isinstance(outcome, Heard):
                yield _alive(place, outcome)
            else:
                yield _dead(place, outcome, others_work=works)
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

    def _ask(self, place: Place, socket: WebSocket) -> Heard:
        sieve, clock = Sieve(()), Clock(self._wall)
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

    def _newest_us(self, sieve: Sieve, socket: WebSocket, host: str) -> int:
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
        raise SourceError(f"{host} sends what has no time: is it a Jetstream host?")


def _alive(place: Place, heard: Heard) -> Finding:
    now_ms = heard.machine_ms if heard.server_ms is None else heard.server_ms
    late_ms = now_ms - heard.event_ms
    if late_ms > LATE_MS:
        says = f"{place.host} answers, but is {duration(late_ms / 1000)} behind"
        cure = (
            f"if it stays so, take it out of {SETTING}; if all are, see whether the clock is right"
        )
        return place.finding(Verdict.WARN, says, cure)
    late = f"{max(0, late_ms) / 1000:.1f} s"
    return place.finding(Verdict.PASS, f"{place.host} answers; its newest event is {late} old")


def _dead(place: Place, error: SourceError, *, others_work: bool) -> Finding:
    found = unreachable(place, error)
    cure = found.cure
    if others_work:
        cure = f"nothing for now: another host stands in; if it stays so, take it out of {SETTING}"
    elif proxy := proxy_of(place.url.replace("ws", "http", 1)):
        cure = f"let this machine out past the proxy {proxy}, through which no Bluesky comes"
    return place.finding(Verdict.WARN if others_work else Verdict.FAIL, found.says, cure)


def _time_of(heard: Heard) -> int | None:
    """What time the host showed that it is; an event of a time to come shows it too."""
    if heard.server_ms is not None:
        return heard.server_ms
    return heard.event_ms if heard.event_ms > heard.machine_ms + TRUSTED_MS else None
