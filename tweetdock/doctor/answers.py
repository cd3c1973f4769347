"""What a server's answer tells beside its posts: what time it is there, and what may be asked."""

import re

from tweetdock.core.clock import TRUSTED_MS
from tweetdock.core.errors import SourceError
from tweetdock.core.times import clock_time, duration
from tweetdock.doctor.findings import Finding, Verdict
from tweetdock.sources.rate_limit import RateLimit

DAY_MS = 86_400_000
SET_CLOCK = "let this machine go by the network's time: sudo timedatectl set-ntp true"
# A limit that allows it nearly as often as the owner wants it does no harm.
HARMLESS_SECONDS = 10.0


def plainly(trouble: SourceError) -> str:
    """What the trouble is, without the advice at its end, which a log has no better place for."""
    return re.sub(r": (check|add|raise|set|take) .*", "", str(trouble))


def clock_finding(source: str, whose: str, server_ms: int, machine_ms: int) -> Finding:
    """The clock of this machine beside a server's, both in Unix ms. whose: as in `X's`."""
    thing, off_ms = f"{source} clock", machine_ms - server_ms
    if abs(off_ms) <= TRUSTED_MS:
        return Finding(thing, Verdict.PASS, f"this machine's clock agrees with {whose}")
    days = abs(off_ms) / DAY_MS
    by = duration(abs(off_ms) / 1000) if days < 2 else f"{days:,.0f} days"
    order = "ahead of" if off_ms > 0 else "behind"
    says = f"this machine's clock is {by} {order} {whose}"
    if days < 1:
        says = f"{says}; the counts are right all the same, as they go by {whose}"
        return Finding(thing, Verdict.WARN, says, SET_CLOCK)
    says = f"{says}: by such a clock certificates, logs and archives go wrong"
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
    """What is left of an allowance, and whether it is enough. now_ms: by the server's clock.

    wanted_seconds: from one turn of `a_turn` requests to the next.
    """
    thing = f"{source} limit"
    if limit is None:
        return Finding(thing, Verdict.PASS, f"nothing is said of a limit of {what}")
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
        f"{says}, which is one look every {duration(seconds)} until then",
        "see whether another program asks with the same credentials or from the same address; "
        "TweetDock slows down by itself",
    )
