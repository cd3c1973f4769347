"""What the probes of all networks find alike: the way there, refusals, clock and limit."""

from tweetdock.core.clock import TRUSTED_MS
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.finding import Finding
from tweetdock.core.times import DAY_MS, clock_time, duration
from tweetdock.sources.endpoint import SET_CLOCK, Endpoint
from tweetdock.sources.http import RateLimit

ANSWERS = frozenset({Kind.CREDENTIALS, Kind.ACCOUNT, Kind.QUERY, Kind.LIMIT})  # of the server's own
SLOW_SECONDS = 1.5
# A limit that allows requests nearly as often as the owner wants them does no harm.
HARMLESS_SECONDS = 10.0
AGAIN = "try again in a minute; TweetDock itself keeps trying"
WAIT = (
    "nothing, TweetDock waits by itself; but check whether another program uses the same "
    "credentials or the same address"
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
    by = duration(abs(off_ms) / 1000) if days < 2 else f"{days:,.0f} days"
    says = f"this machine's clock is {by} {'ahead of' if off_ms > 0 else 'behind'} {whose}"
    if days < 1:
        says = f"{says}; the counts are still right, as they use {whose}"
        return Finding.warning(thing, says, SET_CLOCK)
    return Finding.trouble(
        thing, f"{says}, which breaks certificates, logs and archives", SET_CLOCK
    )


def left_of(
    source: str, limit: RateLimit | None, now_ms: int, *, wanted_seconds: float, what: str
) -> Finding:
    """What is left of a rate limit, and whether it is enough. now_ms: by the server's clock."""
    thing = f"{source} limit"
    if limit is None:
        return Finding.well(thing, f"the server names no limit for {what}")
    of = "" if limit.allowed is None else f" of {limit.allowed:,}"
    says = f"{limit.remaining:,}{of} {what} are left until {clock_time(limit.reset_ms)}"
    seconds = limit.pause_seconds(now_ms, wanted_seconds)
    if seconds <= wanted_seconds + HARMLESS_SECONDS:
        return Finding.well(thing, says)
    return Finding.warning(
        thing, f"{says}, which is enough for one every {duration(seconds)}", WAIT
    )
