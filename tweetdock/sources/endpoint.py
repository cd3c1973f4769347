"""A server as it is asked, and what it means for the owner how it answers, or that it does not."""

import errno
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import requests
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import ConnectTimeoutError, LocationValueError
from urllib3.exceptions import TimeoutError as PoolTimeoutError

from tweetdock.core.clock import FIRST_YEAR, TRUSTED_MS
from tweetdock.core.errors import LOG_IN, Kind, SourceError
from tweetdock.core.finding import Finding
from tweetdock.core.times import DAY_MS, duration

NO_ROUTE = errno.ENETUNREACH, errno.EHOSTUNREACH
TOO_EARLY = 9  # OpenSSL: X509_V_ERR_CERT_NOT_YET_VALID
ANSWERS = frozenset({Kind.CREDENTIALS, Kind.ACCOUNT, Kind.QUERY, Kind.LIMIT})  # of the server's own
SLOW_SECONDS = 1.5
AGAIN = "try again in a minute; TweetDock itself keeps trying"
WAIT = (
    "nothing, TweetDock waits by itself; but check whether another program uses the same "
    "credentials or the same address"
)
SET_CLOCK = "let a time server set this machine's clock: sudo timedatectl set-ntp true"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server: its address, and the setting that names it."""

    url: str
    setting: str = ""

    @property
    def proxy(self) -> str:
        """`host:port` of what the environment puts in between; empty if nothing."""
        # What stands before the '@' is a user's name and password.
        return proxy_address(self.url).rpartition("//")[2].rpartition("@")[2].rstrip("/")

    @property
    def host(self) -> str:
        """Its name, with a port if the address has one."""
        return self.url.partition("://")[2].partition("/")[0].rpartition("@")[2]

    def late(self, *, may_have_come: bool = True) -> SourceError:
        """It was not heard in time."""
        return SourceError(
            f"{self._next} does not answer in time",
            "try to reach it from another machine on this network: if that fails too, a firewall "
            f"or the router is the cause; else check {self._set_by}",
            may_have_come=may_have_come,
        )

    def no_address(self) -> SourceError:
        """Its address, or the proxy's, is none."""
        return SourceError(
            f"{self._next} is not an address",
            f"correct {self._set_by}: http://host:port, with a port up to 65535",
            kind=Kind.ADDRESS,
        )

    def proxy_fails(self) -> SourceError:
        """The proxy says that it does not get there."""
        return SourceError(
            f"the proxy {self.proxy} does not reach {self.host}",
            f"check HTTPS_PROXY, or name {self.host} in NO_PROXY to do without",
        )

    def explain(self, error: BaseException) -> SourceError:
        """An error of a socket, of TLS or of a library over them, as one for the owner.

        Nothing that they say is repeated: it may be an address with all its query.
        """
        causes = tuple(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return self._untrusted(cause)
        return self._not_found(causes) or self._not_connected(causes) or self._broken(causes)

    @property
    def _next(self) -> str:
        return f"the proxy {self.proxy}" if self.proxy else self.host

    @property
    def _set_by(self) -> str:
        return "HTTPS_PROXY" if self.proxy else self.setting or "its address"

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> SourceError:
        today = datetime.now(UTC)
        if today.year < FIRST_YEAR or error.verify_code == TOO_EARLY:
            return SourceError(
                f"{self.host}'s certificate is not valid at this machine's time: its clock says "
                f"{today:%Y-%m-%d}, which is too early",
                SET_CLOCK,
            )
        # OpenSSL's own words, and nothing that a server sent.
        reason = error.verify_message.rstrip(".")
        return SourceError(
            f"{self.host}'s certificate cannot be trusted ({reason}): another server answers in "
            f"its place, or the date is wrong ({today:%Y-%m-%d} here)",
            f"on a guest Wi-Fi, {LOG_IN}; behind a company's proxy, name its certificate in "
            "REQUESTS_CA_BUNDLE and SSL_CERT_FILE",
        )

    def _not_found(self, causes: Sequence[BaseException]) -> SourceError | None:
        if self.proxy and _has(causes, requests.exceptions.InvalidSchema, ImportError):
            return SourceError(
                f"the proxy {self.proxy} uses SOCKS, for which a package is missing here",
                "pip install pysocks python-socks, or name an HTTP proxy in HTTPS_PROXY",
                kind=Kind.ADDRESS,
            )
        if _has(causes, socket.gaierror, UnicodeError):
            return SourceError(
                f"{self._next} cannot be found",
                "check the cable or the Wi-Fi (hostname -I shows this machine's addresses); if "
                f"other names are found, check {self._set_by}",
            )
        if _has(causes, requests.exceptions.InvalidURL, LocationValueError):
            return self.no_address()
        return None

    def _not_connected(self, causes: Sequence[BaseException]) -> SourceError | None:
        if _has(causes, ConnectionRefusedError):
            return SourceError(
                f"{self._next} refuses the connection: nothing listens there",
                f"check {self._set_by}; a firewall, a filter such as Pi-hole, or a server that is "
                "down may be the cause",
            )
        if any(isinstance(cause, OSError) and cause.errno in NO_ROUTE for cause in causes):
            return SourceError(
                f"there is no route to {self._next}: this machine's network is down",
                "check the cable or the Wi-Fi (ip route shows a default route if there is one)",
            )
        return None

    def _broken(self, causes: Sequence[BaseException]) -> SourceError:
        is_of_proxy = _has(causes, requests.exceptions.ProxyError)
        if _has(causes, TimeoutError, requests.Timeout, PoolTimeoutError):
            is_unsent = is_of_proxy or _has(causes, ConnectTimeoutError)
            return self.late(may_have_come=not is_unsent)
        if is_of_proxy:
            return self.proxy_fails()
        kind = type(causes[0]).__name__
        return SourceError(
            f"{self._next} cannot be reached: the connection broke ({kind})",
            may_have_come=not _has(causes, requests.exceptions.SSLError),
        )


def refused(source: str, error: SourceError) -> Finding:
    """Why a source has no answer."""
    if error.kind is Kind.LIMIT:
        return Finding.warning(f"{source} limit", error.what, error.cure or WAIT)
    part = error.kind if error.kind in ANSWERS else "reach"
    return Finding.trouble(f"{source} {part}", error.what, error.cure or AGAIN)


def reached(source: str, endpoint: Endpoint, connect_seconds: float = 0.0) -> Finding:
    """A server has answered."""
    way = f" through the proxy {endpoint.proxy}" if endpoint.proxy else ""
    says = f"{endpoint.host} answers{way}"
    if connect_seconds < SLOW_SECONDS:
        return Finding.well(f"{source} reach", says)
    return Finding.warning(
        f"{source} reach",
        f"{says}, but each new connection takes {connect_seconds:.0f} s",
        "if this network's IPv6 leads nowhere, fix it in the router, or switch it off on this "
        "machine: sudo sysctl net.ipv6.conf.all.disable_ipv6=1; else check the name server",
    )


def compared(source: str, whose: str, server_ms: int, machine_ms: int) -> Finding:
    """The clock of this machine compared with a server's, both in Unix ms. whose: as in `X's`."""
    thing, off_ms = f"{source} clock", machine_ms - server_ms
    if abs(off_ms) <= TRUSTED_MS:
        return Finding.well(thing, f"this machine's clock agrees with {whose}")
    days = abs(off_ms) / DAY_MS
    by = duration(abs(off_ms) / 1000)
    says = f"this machine's clock is {by} {'ahead of' if off_ms > 0 else 'behind'} {whose}"
    if days < 1:
        says = f"{says}; the counts are still right, as they use {whose}"
        return Finding.warning(thing, says, SET_CLOCK)
    return Finding.trouble(
        thing, f"{says}, which breaks certificates, logs and archives", SET_CLOCK
    )


def proxy_address(url: str) -> str:
    """The proxy through which an address is asked, with name and password; empty if none is."""
    asked = url.replace("ws", "http", 1) if url.startswith("ws") else url
    proxies = get_environ_proxies(asked, no_proxy=None)
    proxy = select_proxy(asked, proxies) or ""
    return proxy if "//" in proxy or not proxy else f"http://{proxy}"


def _has(causes: Sequence[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in causes)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and all that have led to it: some are only kept inside of others."""
    found = [error]
    for one in found:
        yield one
        inner = (one.__cause__, one.__context__, *one.args)
        found += [each for each in inner if isinstance(each, BaseException) and each not in found]
