"""What the page, the terminal and a face say, in words that a passer-by understands at once."""

from collections.abc import Iterable, Mapping

from tweetdock.core.coverage import Grade
from tweetdock.core.errors import plain
from tweetdock.core.reading import DialReading, Reading, SourceReading
from tweetdock.core.times import HOUR_MS, clock_time, duration, rfc3339

# Said by the server on first sight and by the browser from then on: `{names}` are filled in.
WORDS: Mapping[str, str] = {
    "exact": "Exact",
    "exact_why": "Every post of the {window} up to {time} is counted.",
    "filling": "Reading back",
    "filling_why": "{percent} % of the {window} is known. There are at least this many.",
    "partial": "At least this many",
    "partial_why": "{reason}",
    "partial_unknown": "Part of the {window} is missing.",
    "stale": "No data",
    "stale_why": "No network has sent data since {time}. The needles are at rest.",
    "stale_unknown": "No network has sent data yet. The needles are at rest.",
    "none": "Starting",
    "none_why": "There is no count yet. The needles are at rest.",
    "source_exact": "exact",
    "source_exact_until": "exact up to {time}",
    "source_filling": "incomplete",
    "source_partial": "at least",
    "source_stale": "no data",
    "at_least": "at least",
    "pegged": "above the scale",
    "at_rest": "needle at rest",
    "dial": "{title}: {count}{note}. The dial goes to {full_scale}.",
    "heard": "{ago} ago",
    "unheard": "no data yet",
    "spoken": "{posts} tweets by {authors} tweeters in the {window}. {grade}. {why}",
    "lost": "No data from TweetDock since {time}",
    "dial_lost": "{title}: {count} at {time}. No data since.",
    "lost_why": "This page shows the counts from then.",
    "found": "TweetDock is back.",
}
TITLES: Mapping[str, str] = {"tweets": "Tweets", "tweeters": "Tweeters"}
SEPARATOR = " · "
LONG_AGO_MS = 20 * HOUR_MS  # from then on a time needs its day
_NETWORKS = {
    "x": "X",
    "x-stream": "X",
    "bluesky": "Bluesky",
    "mastodon": "Mastodon",
    "demo": "Demo",
    "replay": "Replay",
}
_WAYS = {"x": "X search", "x-stream": "X stream"}
_WINDOWS = {3600: "last hour", 86_400: "last day", 604_800: "last week"}


def window_words(seconds: float) -> str:
    """The window as it is said: `last hour`, `last 90 min`."""
    return _WINDOWS.get(round(seconds), f"last {duration(seconds)}")


def network_names(sources: Iterable[str]) -> dict[str, str]:
    """What each source is called; X by its two ways if it is listened to in both."""
    names = list(sources)
    ways = _WAYS if {"x", "x-stream"} <= set(names) else {}
    networks = {name: _NETWORKS.get(name.partition(":")[0], plain(name)) for name in names}
    return networks | {name: way for name, way in ways.items() if name in networks}


def number(count: int) -> str:
    """A count with its thousands apart, by spaces that do not break."""
    return f"{count:,}".replace(",", "\u202f")


def percent(covered: float) -> str:
    """A share as whole percents, rounded down: 100 is said of nothing less."""
    return str(round(covered * 10_000) // 100)


def notes(dial: DialReading, grade: Grade) -> str:
    """What must be said beside a dial's count; empty if it is just so."""
    is_at_rest = grade is Grade.STALE or not dial.known
    found = (
        WORDS["at_least"] if grade is not Grade.EXACT or not dial.known else "",
        WORDS["pegged"] if dial.pegged and not is_at_rest else "",
        WORDS["at_rest"] if is_at_rest else "",
    )
    return SEPARATOR.join(filter(None, found))


def dial_words(name: str, dial: DialReading, grade: Grade) -> str:
    """A dial for who cannot see it."""
    note = notes(dial, grade)
    return WORDS["dial"].format(
        title=TITLES[name],
        count=dial.count,
        note=f", {note}" if note else "",
        full_scale=dial.full_scale,
    )


def reason(reading: Reading) -> str:
    """What the worst source says of itself, with its network's name if there are several."""
    name = reading.worst_source
    if not name:
        return ""
    detail = plain(reading.sources[name].detail)
    if len(reading.sources) > 1:
        return f"{network_names(reading.sources)[name]}: {detail}"
    return detail[:1].upper() + detail[1:]


def grade_words(reading: Reading) -> str:
    """Why the grade is what it is."""
    window, grade = window_words(reading.window_seconds), reading.grade
    if grade is Grade.EXACT:
        said = moment_words(reading.certain_ms, reading)
    else:
        said = reason(reading) if grade is Grade.PARTIAL else _last_update(reading)
    is_unknown = grade in (Grade.PARTIAL, Grade.STALE) and not said
    return WORDS[f"{grade}_{'unknown' if is_unknown else 'why'}"].format(
        window=window, percent=percent(reading.covered), reason=said, time=said
    )


def moment_words(ms: int, reading: Reading) -> str:
    """A moment of a reading as people say it; its day only if that was long ago."""
    day = f"{rfc3339(ms)[:10]} " if reading.at_ms - ms > LONG_AGO_MS else ""
    return day + clock_time(ms)


def _last_update(reading: Reading) -> str:
    heard_ms = max((source.heard_ms or 0 for source in reading.sources.values()), default=0)
    return moment_words(heard_ms, reading) if heard_ms else ""


def source_words(source: SourceReading, reading: Reading) -> str:
    """A source's own grade; one of several that is exact says up to when."""
    if source.grade is not Grade.EXACT or len(reading.sources) == 1:
        return WORDS[f"source_{source.grade}"]
    return WORDS["source_exact_until"].format(time=moment_words(source.certain_ms, reading))


def detail_words(source: SourceReading, reading: Reading) -> str:
    """What a source says of itself, unless the grade of the whole has said it already."""
    is_said = len(reading.sources) == 1 and reading.grade is Grade.PARTIAL
    return "" if is_said else plain(source.detail)


def heard_words(source: SourceReading, at_ms: int) -> str:
    """How long ago a source last sent something."""
    if source.heard_ms is None:
        return WORDS["unheard"]
    return WORDS["heard"].format(ago=duration(max(0.0, (at_ms - source.heard_ms) / 1000)))
