"""Connections to servers: at which step one fails, and what an answer says of clock and limit."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tweetdock.core.clock import TRUSTED_MS
from tweetdock.core.errors import SourceError
from tweetdock.core.times import DAY_MS, clock_time, duration
from tweetdock.doctor.checks import Finding, Verdict
from tweetdock.sources.endpoint import SET_CLOCK, proxy_of
from tweetdock.sources.endpoint import Endpoint as Asked
from tweetdock.sources.http import RateLimit

# A limit that allows requests nearly as often as the owner wants them does no harm.
HARMLESS_SECONDS = 10.0

SERVER_SECONDS = 12.0  # most for all that is asked of one server
NAME_SECONDS = 5.5  # a resolver asks once more after five
ADDRESS_SECONDS = 2.0
CONNECT_SECONDS = NAME_SECONDS + ADDRESS_SECONDS
AGAIN = "try again in a minute; TweetDock itself keeps trying"

Result = TypeVar("Result")


def clock_finding(source: str, whose: str, server_ms: int, machine_ms: int) -> Finding:
    """The clock of this machine compared with a server's, both in Unix ms. whose: as in `X's`."""
    thing, off_ms = f"{source} clock", machine_ms - server_ms
    if abs(off_ms) <= TRUSTED_MS:
        return Finding(thing, Verdict.PASS, f"this machine's clock agrees with {whose}")
    days = abs(off_ms) / DAY_MS
    by = duration(abs(off_ms) / 1000) if days < 2 else f"{days:,.0f} days"
    order = "ahead of" if off_ms > 0 else "behind"
    says = f"this machine's clock is {by} {order} {whose}"
    if days < 1:
        says = f"{says}; the counts are still right, as they use {whose}"
        return Finding(thing, Verdict.WARN, says, SET_CLOCK)
    says = f"{says}, which breaks certificates, logs and archives"
    return Finding(thing, Verdict.FAIL, says, SET_CLOCK)


def limit_finding(
    source: str,
    limit: RateLimit | None,
    now_ms: int,
    *,
    wanted_seconds: float,
    a_turn: int = 1,
    what: str = "requests",
) -> Finding:
    """What is left of a rate limit, and whether it is enough. now_ms: by the server's clock.

    wanted_seconds: from one turn of `a_turn` requests to the next.
    """
    thing = f"{source} limit"
    if limit is None:
        return Finding(thing, Verdict.PASS, f"the server names no limit for {what}")
    share = (
        f"{limit.remaining:,}"
        if limit.allowed is None
        else (f"{limit.remaining:,} of {limit.allowed:,}")
    )
    says = f"{share} {what} are left until {clock_time(limit.reset_ms)}"
    seconds = limit.pause_seconds(now_ms, wanted_seconds, a_turn)
    if seconds <= wanted_seconds + HARMLESS_SECONDS:
        return Finding(thing, Verdict.PASS, says)
    return Finding(
        thing,
        Verdict.WARN,
        f"{says}, which is enough for one every {duration(seconds)}",
        "check whether another program uses the same credentials or the same address; "
        "TweetDock slows down by itself",
    )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server: which source asks it, its address, and the setting that names it.

    proxy: `host:port` of what stands in between; empty if nothing does.
    """

    source: str
    url: str
    setting: str
    proxy: str = ""

    @classmethod
    def through_proxy(cls, source: str, url: str, setting: str) -> "Endpoint":
        """A server that is asked through a proxy wherever the environment names one."""
        return cls(source, url, setting, proxy_of(url))

    @property
    def host(self) -> str:
        """Its name, without port."""
        return urlsplit(self.url).hostname or ""

    @property
    def next_hop(self) -> tuple[str, int]:
        """Host and port to connect to, the proxy's if there is one; ValueError if it has none."""
        url = urlsplit(f"//{self.proxy}" if self.proxy else self.url)
        if not url.hostname:
            raise ValueError("no host")
        usual = 443 if url.scheme in ("https", "wss") else 80
        return url.hostname, url.port or usual

    def finding(self, verdict: Verdict, says: str, cure: str = "") -> Finding:
        """A finding on the connection to it."""
        return Finding(f"{self.source} reach", verdict, says, cure)


def connect_to(endpoint: Endpoint) -> Finding:
    """Look its name up and connect to it, or to the proxy; ends within some seconds.

    A pass says that it answers: report it once the server has answered a request, too.
    """
    until = time.monotonic() + CONNECT_SECONDS
    try:
        host, port = endpoint.next_hop
    except ValueError:
        return _no_address(endpoint)
    try:
        silent = _connect(_addresses(host, port), until)
    except (OSError, UnicodeError) as error:
        return unreachable(endpoint, error)
    way = f" through the proxy {endpoint.proxy}" if endpoint.proxy else ""
    if not silent:
        return endpoint.finding(Verdict.PASS, f"{endpoint.host} is found and answers{way}")
    family = "IPv6 " if ":" in silent[0] else ""
    return endpoint.finding(
        Verdict.WARN,
        f"{endpoint.host} answers{way}, but only after its {family}address {silent[0]} did not: "
        "each new connection takes seconds",
        "fix IPv6 in this network's router, or switch it off on this machine: "
        "sudo sysctl net.ipv6.conf.all.disable_ipv6=1"
        if family
        else "nothing to do if it is gone tomorrow",
    )


def unreachable(endpoint: Endpoint, error: Exception) -> Finding:
    """Why it cannot be reached, by the error of a client or of the system."""
    if not isinstance(error, SourceError):
        error = Asked(endpoint.url, endpoint.setting, endpoint.proxy).explain(error)
    return endpoint.finding(Verdict.FAIL, error.what, error.cure or AGAIN)


def in_time(seconds: float, call: Callable[[], Result]) -> Result:
    """The result of a call that cannot be ended; TimeoutError if it takes too long."""
    answer: Future[Result] = Future()

    def ask() -> None:
        try:
            answer.set_result(call())
        except (OSError, ValueError) as error:
            answer.set_exception(error)

    threading.Thread(target=ask, name="in time", daemon=True).start()
    return answer.result(seconds)


def _addresses(host: str, port: int) -> list[Any]:
    try:
        return in_time(
            NAME_SECONDS, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
    except TimeoutError as error:
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers") from error


def _connect(addresses: list[Any], until: float) -> list[str]:
    """Connect to the first address that answers; returns those before it, which did not."""
    silent: list[str] = []
    failure: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
    for family, kind, _, _, address in addresses:
        try:
            with socket.socket(family, kind) as wire:
                wire.settimeout(max(0.1, min(ADDRESS_SECONDS, until - time.monotonic())))
                wire.connect(address)
        except OSError as error:
            failure = error
            # A machine without IPv6 says so at once, which costs nobody any time.
            if isinstance(error, TimeoutError):
                silent.append(str(address[0]))
        else:
            return silent
    raise failure


def _no_address(endpoint: Endpoint) -> Finding:
    name = f"the proxy {endpoint.proxy}" if endpoint.proxy else endpoint.url
    cure = f"correct {_setting(endpoint)}: http://host:port, with a port up to 65535"
    return endpoint.finding(Verdict.FAIL, f"{name} is not an address", cure)


def _setting(endpoint: Endpoint) -> str:
    return "HTTPS_PROXY" if endpoint.proxy else endpoint.setting
