"""The page as it is first sent: both dials drawn, every word and number in its place."""

import json
from collections.abc import Iterator, Mapping
from html import escape

from tweetdock import __version__
from tweetdock.core.coverage import Grade
from tweetdock.core.motion import ACCELERATION, ARRIVED, SPEED
from tweetdock.core.reading import Reading, SourceReading
from tweetdock.core.times import clock_time, rfc3339
from tweetdock.settings.gauge import DialSettings
from tweetdock.show.web.dial_svg import draw_dial
from tweetdock.show.web.heading import heading, title
from tweetdock.show.web.words import (
    WORDS,
    detail_words,
    grade_words,
    heard_words,
    network_names,
    number,
    source_words,
    window_words,
)

RANGES = {"1": "1 h", "6": "6 h", "24": "24 h", "168": "7 d"}  # hours, as they are asked for
USUAL_RANGE = "6"
LONG_AGO_MS = 20 * 3_600_000  # from then on a time needs its day


def page(reading: Reading | None, dials: Mapping[str, DialSettings], *, kiosk: bool) -> str:
    """The whole page; reading: None while there is none.

    It needs nothing but what is in `static/`, and is complete before any script has run.
    """
    grade = reading.grade if reading else None
    drawn = "\n".join(
        draw_dial(name, reading.dials[name] if reading else None, dial, grade or Grade.STALE)
        for name, dial in dials.items()
    )
    return f"""\
<!doctype html>
<html lang="en" class="{"kiosk" if kiosk else "usual"}" data-grade="{grade or "none"}">
{_head(reading)}
<body {_data(reading)}>
<header><p id="lost" hidden><span></span></p>{heading(reading, kiosk=kiosk)}</header>
<main>
<section id="dials" aria-label="Dials">
{drawn}
</section>
<section id="grade" aria-label="How far this can be trusted">
{_grade(reading)}
</section>
<div id="more">
{_chart()}
<section id="sources" aria-label="Networks">
<h2>Networks</h2>
<ul>
{"".join(_sources(reading)) if reading else ""}</ul>
</section>
</div>
</main>
{_footer(kiosk=kiosk)}
<p id="spoken" class="unseen" role="status"></p>
</body>
</html>
"""


def _head(reading: Reading | None) -> str:
    # Nothing is painted before the last element is there: a slow Pi would show things move.
    return f"""\
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title(reading))}</title>
<link rel="expect" href="#spoken" blocking="render">
<link rel="icon" href="/static/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/uPlot.min.css">
<link rel="stylesheet" href="/static/page.css">
<link rel="stylesheet" href="/static/below.css">
<link rel="stylesheet" href="/static/screens.css">
<script src="/static/uPlot.iife.min.js" defer></script>
<script src="/static/page.js" type="module"></script>
<noscript><meta http-equiv="refresh" content="30"></noscript>
</head>"""


def _data(reading: Reading | None) -> str:
    """What the scripts go by: one truth with the servos' motion and the words above."""
    networks = network_names(reading.sources) if reading else {}
    window = window_words(reading.window_seconds) if reading else ""
    shape = (
        {
            "hashtags": reading.hashtags,
            "subject": reading.subject,
            "sources": list(reading.sources),
            "window_seconds": reading.window_seconds,
            "demo": reading.demo,
            "replay": reading.replay,
        }
        if reading
        else {}
    )
    values = {
        "speed": f"{SPEED:g}",
        "acceleration": f"{ACCELERATION:g}",
        "arrived": f"{ARRIVED:g}",
        "window": window,
        "shape": json.dumps(shape),
        "networks": json.dumps(networks),
        "words": json.dumps(dict(WORDS)),
    }
    return "\n".join(f'data-{name}="{escape(value)}"' for name, value in values.items())


def _grade(reading: Reading | None) -> str:
    word = WORDS[reading.grade if reading else "none"]
    if reading is None:
        why, taken = escape(WORDS["none_why"]), ""
    else:
        spoke = [s.heard_ms for s in reading.sources.values() if s.heard_ms is not None]
        why = escape(grade_words(reading, _since(max(spoke), reading.at_ms) if spoke else ""))
        taken = f"As it was at {_second(reading.at_ms)}; the page asks anew every 30 s."
    return (
        f'<p>{_glyph(reading.grade if reading else "none")}<strong id="word">{word}</strong> '
        f'<span id="why" dir="auto">{why}</span></p>'
        f'<noscript><p class="taken">{taken}</p></noscript>'
    )


def _since(ms: int, at_ms: int) -> str:
    day = f"{rfc3339(ms)[:10]} " if at_ms - ms > LONG_AGO_MS else ""
    return day + clock_time(ms)


def _second(ms: int) -> str:
    stamp = rfc3339(ms)
    return f'<time datetime="{stamp}">{stamp[11:19]} UTC</time>'


def _glyph(grade: str) -> str:
    """A ring that is as full as our knowledge; CSS shows it by the grade's name."""
    return (
        f'<svg class="glyph" data-grade="{grade}" viewBox="-10 -10 20 20" aria-hidden="true">'
        '<circle class="ring" r="7.5"/><circle class="core" r="4"/>'
        '<path class="half" d="M0 -4A4 4 0 0 1 0 4z"/></svg>'
    )


def _sources(reading: Reading) -> Iterator[str]:
    names = network_names(reading.sources)
    most = max((source.posts for source in reading.sources.values()), default=0)
    for name, source in reading.sources.items():
        yield _source(name, names[name], source, most, reading)


def _source(name: str, title: str, source: SourceReading, most: int, reading: Reading) -> str:
    share = 100 * source.posts / most if most else 0
    return f"""\
<li data-source="{escape(name)}">
<h3>{escape(title)}</h3>
<p class="state">{_glyph(source.grade)}\
<span class="source-grade">{source_words(source)}</span></p>
<svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">\
<rect width="100" height="1"/><rect class="share" width="{share:.1f}" height="1"/></svg>
<p><b class="posts">{number(source.posts)}</b> tweets</p>
<p><b class="authors">{number(source.authors)}</b> tweeters</p>
<p><b class="heard">{heard_words(source, reading.at_ms)}</b> <span>last word</span></p>
<p class="detail" dir="auto">{escape(detail_words(source, reading))}</p>
</li>
"""


def _chart() -> str:
    choices = "".join(
        f'<label><input type="radio" name="hours" value="{hours}"'
        f"{' checked' if hours == USUAL_RANGE else ''}><span>{label}</span></label>"
        for hours, label in RANGES.items()
    )
    return f"""\
<section id="chart" aria-labelledby="chart-title">
<h2 id="chart-title">History <span></span></h2>
<fieldset><legend class="unseen">How far back</legend>{choices}</fieldset>
<p class="legend"><span class="tweets">Tweets</span><span class="tweeters">Tweeters</span>\
<span class="doubt">at least</span><output></output></p>
<div class="plot" role="img" aria-label="Being drawn."></div>
</section>"""


def _footer(*, kiosk: bool) -> str:
    if kiosk:
        return ""
    return (
        f'<footer><p>TweetDock {__version__}</p><nav aria-label="More">'
        '<a href="/?kiosk">Full screen</a> <a href="/api/reading">This reading as JSON</a> '
        '<a href="/metrics">Metrics</a></nav></footer>'
    )
