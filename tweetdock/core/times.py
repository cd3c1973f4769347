"""Moments as networks and servers write them, and as we write them ourselves."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from dateutil import parser

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
YEAR_2000_MS, YEAR_2020_MS, YEAR_2100_MS = 946_684_800_000, 1_577_836_800_000, 4_102_444_800_000
_LONGEST = 64  # characters
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_DAY, _TIME, _YEAR = r"(?P<day>\d\d)", r"(?P<time>\d\d:\d\d:\d\d)", r"(?P<year>\d{4})"
_HTTP_DATE = re.compile(rf"(?:{_DAYS}), {_DAY} {_MONTH} {_YEAR} {_TIME} GMT", re.ASCII)
_TWITTER_DATE = re.compile(
    rf"(?:{_DAYS}) {_MONTH} {_DAY} {_TIME} (?P<zone>[+-]\d{{4}}) {_YEAR}", re.ASCII
)

# dateutil fills in from today what a date leaves out: one that is whole is the same on two days
# that have nothing in common.
_FILLED_IN = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2001, 2, 2, tzinfo=UTC))


def parse_ms(text: str) -> int:
    """Unix milliseconds of a date in any form that the networks use.

    RFC 3339 (`2026-11-21T03:50:00.000Z`), HTTP dates (RFC 9110) and Twitter's old
    `Wed Aug 27 13:08:45 +0000 2008` on the fast path, others by dateutil fifty times as slow.
    A date without a zone is UTC.
    Raises ValueError for what is no date, or not a whole one.
    """
    if len(text) > _LONGEST:  # dateutil takes seconds for what is long enough
        raise ValueError(f"no date: {text[:_LONGEST]!r}...")
    if old := _HTTP_DATE.fullmatch(text) or _TWITTER_DATE.fullmatch(text):
        text = _in_rfc3339(**old.groupdict())
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = _parse_other(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _in_rfc3339(day: str, month: str, year: str, time: str, zone: str = "Z") -> str:
    return f"{year}-{_MONTHS.index(month) + 1:02}-{day}T{time}{zone}"


def _parse_other(text: str) -> datetime:
    try:
        moment, same = (parser.parse(text, default=day, tzinfos=_zone) for day in _FILLED_IN)
    except OverflowError as error:
        raise ValueError(f"no date: {text!r}") from error
    if moment != same:
        raise ValueError(f"not a whole date: {text!r}")
    return moment


def _zone(name: str | None, offset: int | None) -> tzinfo:
    # A zone by name is another one in other parts of the world; GMT and Z come with offset 0.
    if name and offset is None:
        raise ValueError(f"no offset known for the time zone {name}")
    return timezone(timedelta(seconds=offset or 0))


def rfc3339(ms: int) -> str:
    """Unix milliseconds as RFC 3339 in UTC, to the millisecond."""
    seconds, milliseconds = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def clock_time(ms: int) -> str:
    """Unix milliseconds as a person reads it on a clock: `12:05 UTC`."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%H:%M} UTC"


def duration(seconds: float) -> str:
    """Seconds as a person says them: `40 s`, `5 min`, `2 h`, `3 days`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    days = seconds / 86_400
    return f"{seconds / 3600:.0f} h" if days < 2 else f"{days:,.0f} days"


def from_now(seconds: float) -> str:
    """Seconds to come as a person says them: `at once`, `in 5 min`."""
    return "at once" if seconds < 0.5 else f"in {duration(seconds)}"


def size(number: float) -> str:
    """Bytes as a person says them."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
