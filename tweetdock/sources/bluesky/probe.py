"""Connects to every Jetstream host at once, and waits for a first event: who answers, how late."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tweetdock.core.clock import TRUSTED_MS
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.finding import Finding
from tweetdock.core.times import duration
from tweetdock.sources.bluesky.events import Filter
from tweetdock.sources.bluesky.progress import ReplayRequest
from tweetdock.sources.bluesky.websocket import OTHER_ADDRESS, SETTING, WebSocket
from tweetdock.sources.endpoint import AGAIN, Endpoint, compared
from tweetdock.sources.http import date_ms

EVENT_SECONDS = 4.0  # fifty posts a second is usual
LATE_MS = 30_000
THING = "bluesky reach"


class HostTimes(NamedTuple):
    """The times (Unix ms) of a host, if it is known, of its newest event, and of this machine."""

    host: str
    server_ms: int | None
    event_ms: int
    machine_ms: int


def probe(
    hosts: Sequence[str],
    *,
    wall: Callable[[], float] = time.time,
    event_seconds: float = EVENT_SECONDS,
) -> Iterator[Finding]:
    """A line for each host, but one for all with the same error; and one for the clock.

    One host that does not work is no problem while another one does.
    """
    names = [Endpoint(host, SETTING).host for host in hosts]
    with ThreadPoolExecutor(len(hosts)) as pool:
        answers = list(pool.map(lambda host: _ask(host, wall, event_seconds), hosts))
    working = [times for times in answers if isinstance(times, HostTimes)]
    yield from map(_working, working)
    failed: dict[object, tuple[SourceError, list[str]]] = {}
    for name, error in zip(names, answers, strict=True):
        if isinstance(error, SourceError):
            alike = error.kind, repr(error.__cause__)
            failed.setdefault(alike, (error, []))[1].append(name)
    for error, (_, *others) in failed.values():
        says = f"{error.what} (the same: {', '.join(others)})" if others else error.what
        if working:
            cure = f"nothing: another host is used; if it stays so, remove it from {SETTING}"
            yield Finding.warning(THING, says, cure)
        else:
            yield Finding.trouble(THING, says, error.cure or AGAIN)
    for host, server_ms, _, machine_ms in working:
        if server_ms is not None:
            yield compared("bluesky", f"{host}'s", server_ms, machine_ms)
            return


def _ask(url: str, wall: Callable[[], float], event_seconds: float) -> HostTimes | SourceError:
    socket, host = WebSocket(), Endpoint(url).host
    try:
        server_ms = date_ms(socket.open(ReplayRequest(url, 0, None).url))
        opened = time.monotonic()
        event_ms = _newest_us(socket, host, opened + event_seconds) // 1000
    except SourceError as error:
        return error
    finally:
        socket.close()
    machine_ms = round(wall() * 1000)
    if server_ms is not None:
        server_ms += round((time.monotonic() - opened) * 1000)
    elif event_ms > machine_ms + TRUSTED_MS:
        server_ms = event_ms  # an event from the future shows the time, too
    return HostTimes(host, server_ms, event_ms, machine_ms)


def _newest_us(socket: WebSocket, host: str, until: float) -> int:
    filter_, has_heard = Filter(()), False
    while (left := until - time.monotonic()) > 0:
        try:
            frames = socket.read(left)
        except SourceError:
            if has_heard:
                break
            raise
        has_heard = True
        event_times, _ = filter_.find(frames)
        if event_times:
            return event_times[-1]
    what = f"{host} sends nothing with a time, so it may be no Jetstream host"
    raise SourceError(what, OTHER_ADDRESS, kind=Kind.STRANGER)


def _working(times: HostTimes) -> Finding:
    now_ms = times.machine_ms if times.server_ms is None else times.server_ms
    if abs(now_ms - times.machine_ms) <= TRUSTED_MS:
        now_ms = times.machine_ms  # which is not cut to the second
    late_ms = now_ms - times.event_ms
    if late_ms <= LATE_MS:
        late = f"{max(0, late_ms) / 1000:.1f} s"
        return Finding.well(THING, f"{times.host} answers; its newest event is {late} old")
    says = f"{times.host} answers, but is {duration(late_ms / 1000)} behind"
    cure = f"if it stays so, remove it from {SETTING}; if all are late, check the clock"
    return Finding.warning(THING, says, cure)
