"""The doctor's checks of Bluesky: each Jetstream host, what it sends, and how late that is."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tweetdock.core.clock import TRUSTED_MS, Clock
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.times import duration
from tweetdock.doctor.checks import Finding, Verdict
from tweetdock.doctor.connections import (
    SERVER_SECONDS,
    Endpoint,
    clock_finding,
    unreachable,
)
from tweetdock.sources.bluesky.events import Filter
from tweetdock.sources.bluesky.progress import ReplayRequest
from tweetdock.sources.bluesky.websocket import OTHER_ADDRESS, WebSocket

SETTING = "TWEETDOCK_JETSTREAM"
EVENT_SECONDS = 5.0  # fifty posts a second is usual
LATE_MS = 30_000


@dataclass(frozen=True, slots=True)
class HostTimes:
    """The times (Unix ms) of a host, if it sent one, of its newest event, and of this machine."""

    server_ms: int | None
    event_ms: int
    machine_ms: int


HostOutcome = HostTimes | SourceError


class BlueskyCheckup:
    """Connects to every host at once and waits for a first event; nothing is counted.

    One host that does not work is no problem while another one does.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        wall: Callable[[], float] = time.time,
        event_seconds: float = EVENT_SECONDS,
        check_seconds: float = SERVER_SECONDS,
    ) -> None:
        self._endpoints = [Endpoint.through_proxy("bluesky", host, SETTING) for host in hosts]
        self._wall = wall
        self._event_seconds = event_seconds
        self._check_seconds = check_seconds

    def check(self) -> Iterator[Finding]:
        """A line for each host, but one for all with the same error; and one for the clock."""
        outcomes = self._listen()
        works = any(isinstance(outcome, HostTimes) for outcome in outcomes)
        lines: dict[object, tuple[Finding, list[str]]] = {}
        for endpoint, outcome in zip(self._endpoints, outcomes, strict=True):
            if isinstance(outcome, HostTimes):
                lines[endpoint] = _working(endpoint, outcome), [endpoint.host]
                continue
            found = _failed(endpoint, outcome, others_work=works)
            alike = found.verdict, found.says.replace(endpoint.host, ""), found.cure
            lines.setdefault(alike, (found, []))[1].append(endpoint.host)
        for found, (_, *others) in lines.values():
            yield _joined(found, others)
        for endpoint, outcome in zip(self._endpoints, outcomes, strict=True):
            if isinstance(outcome, HostTimes) and (server_ms := _time_of(outcome)) is not None:
                whose = f"{endpoint.host}'s"
                yield clock_finding("bluesky", whose, server_ms, outcome.machine_ms)
                return

    def _listen(self) -> list[HostOutcome]:
        until = time.monotonic() + self._check_seconds
        sockets = [WebSocket() for _ in self._endpoints]
        outcomes: list[HostOutcome] = [
            SourceError(f"{endpoint.host} does not answer in time") for endpoint in self._endpoints
        ]

        def ask(number: int) -> None:
            try:
                outcomes[number] = self._ask(self._endpoints[number], sockets[number])
            except SourceError as error:
                outcomes[number] = error

        threads = [
            threading.Thread(target=ask, args=(number,), name="jetstream", daemon=True)
            for number in range(len(self._endpoints))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        found = list(outcomes)
        for socket in sockets:
            socket.cut()
        return found

    def _ask(self, endpoint: Endpoint, socket: WebSocket) -> HostTimes:
        filter_, clock = Filter(()), Clock(self._wall, time.monotonic)
        asked_ms = clock.now_ms()
        server_ms = socket.open(ReplayRequest(endpoint.url, asked_ms, None).url)
        if server_ms is not None:
            clock.correct(server_ms, asked_ms)
        newest_us = self._newest_us(filter_, socket, endpoint.host)
        socket.close()
        # Its Date has whole seconds; only a clear difference counts.
        said_ms = None if server_ms is None else clock.now_ms()
        return HostTimes(said_ms, newest_us // 1000, round(self._wall() * 1000))

    def _newest_us(self, filter_: Filter, socket: WebSocket, host: str) -> int:
        until, number = time.monotonic() + self._event_seconds, 0
        while (left := until - time.monotonic()) > 0:
            try:
                frames = socket.read(left)
            except SourceError:
                if number:
                    break
                raise
            number += len(frames)
            event_times, _ = filter_.find(frames)
            if event_times:
                return event_times[-1]
        raise SourceError(
            f"{host} sends nothing with a time: is it a Jetstream host?",
            OTHER_ADDRESS,
            kind=Kind.STRANGER,
        )


def _working(endpoint: Endpoint, times: HostTimes) -> Finding:
    now_ms = times.machine_ms if times.server_ms is None else times.server_ms
    late_ms = now_ms - times.event_ms
    if late_ms > LATE_MS:
        says = f"{endpoint.host} answers, but is {duration(late_ms / 1000)} behind"
        cure = f"if it stays so, remove it from {SETTING}; if all are late, check the clock"
        return endpoint.finding(Verdict.WARN, says, cure)
    late = f"{max(0, late_ms) / 1000:.1f} s"
    return endpoint.finding(
        Verdict.PASS, f"{endpoint.host} answers; its newest event is {late} old"
    )


def _failed(endpoint: Endpoint, error: SourceError, *, others_work: bool) -> Finding:
    found = unreachable(endpoint, error)
    cure = found.cure
    if others_work:
        cure = f"nothing for now: another host is used; if it stays so, remove it from {SETTING}"
    return endpoint.finding(Verdict.WARN if others_work else Verdict.FAIL, found.says, cure)


def _joined(found: Finding, others: Sequence[str]) -> Finding:
    if not others:
        return found
    *first, last = others
    names = f"{', '.join(first)} and {last}" if first else last
    link = " It" if found.says.endswith("?") else "; it"
    return replace(found, says=f"{found.says}{link} is the same for {names}")


def _time_of(times: HostTimes) -> int | None:
    """The host's time; an event from the future shows it, too."""
    if times.server_ms is not None:
        return times.server_ms
    return times.event_ms if times.event_ms > times.machine_ms + TRUSTED_MS else None
