"""The page as it is first sent: both dials drawn, every word and number in its place."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import NamedTuple

from tweetdock import __version__
from tweetdock.core.coverage import Grade
from tweetdock.core.dial import (
    CAPITAL,
    INK,
    LABEL_SIZE,
    RED,
    SOFT,
    Dial,
    Rank,
    Tick,
    label_point,
    point,
)
from tweetdock.core.errors import plain
from tweetdock.core.motion import ACCELERATION, ARRIVED, SPEED
from tweetdock.core.reading import DialReading, Reading, SourceReading
from tweetdock.core.scaler import SMALLEST_FULL_SCALE, make_scale
from tweetdock.core.times import rfc3339
from tweetdock.settings.gauge import DialSettings
from tweetdock.show.words import (
    SEPARATOR,
    TITLES,
    WORDS,
    detail_words,
    dial_words,
    grade_words,
    heard_words,
    network_names,
    notes,
    number,
    source_words,
    window_words,
)

# The pivot is the origin; the picture is 400 wide and high.
FACE, ARC = 198.0, 148.0
LENGTHS = {Rank.MINOR: 8.0, Rank.MIDDLE: 13.0, Rank.MAJOR: 20.0}
HALF_CAPITAL = ARC * LABEL_SIZE * CAPITAL / 2
WIDTHS = {Rank.MINOR: 1.4, Rank.MIDDLE: 1.4, Rank.MAJOR: 3.5}
# The largest size at which so many signs fit below the pivot.
SIZES = ((5, 76), (7, 60), (9, 46), (13, 34))
SMALLEST_SIZE = 24
WIDE_SWEEP = 250.0  # degrees; ticks come down beside the number
FONTS = (
    "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', Piboto, Roboto, 'Noto Sans', "
    "'DejaVu Sans Condensed', sans-serif"
)
# A style sheet may put other colours in their place; a picture has these.
PAPER, RULE = "#fbf8f1", "#e4ddcd"

NAME = "TweetDock"
LONG_HEADING = 36  # signs in a heading
LONGEST = 160  # signs of a query; who has a longer one knows it by its beginning
KIOSK_SIGNS = 90  # of hashtags that a screen on a wall has room for
KIND_MEANINGS = {
    "Demo": "These posts are made up.",
    "Replay": "These posts are from another time.",
}

RANGES = {"1": "1 h", "6": "6 h", "24": "24 h", "168": "7 d"}  # hours, as they are asked for
USUAL_RANGE = "6"
_CHOICES = "".join(
    f'<label><input type="radio" name="hours" value="{hours}"'
    f"{' checked' if hours == USUAL_RANGE else ''}><span>{label}</span></label>"
    for hours, label in RANGES.items()
)
CHART = f"""\
<section id="chart" aria-labelledby="chart-title">
<h2 id="chart-title">History <span></span></h2>
<fieldset><legend class="unseen">How far back</legend>{_CHOICES}</fieldset>
<p class="legend"><span class="tweets">Tweets</span><span class="tweeters">Tweeters</span>\
<span class="doubt">at least</span><output></output></p>
<div class="plot" role="img" aria-label="The chart is loading."></div>
</section>"""


class Places(NamedTuple):
    """How far below the pivot the words stand, and how large they are at most."""

    title_y: int
    count_y: int
    note_y: int
    count_size: int
    note_size: int


BELOW, WITHIN = Places(56, 129, 159, 76, 15), Places(-50, 84, 106, 40, 12)


def draw_dial(
    name: str, reading: DialReading | None, dial: DialSettings, grade: Grade, kind: str = ""
) -> str:
    """A dial with its needle; reading: None while there is none.

    kind: what a picture that stands by itself says first; empty for real posts of now.
    The needle is the group `needle`, turned by its bearing: degrees clockwise from straight up.
    `data-straight` is the angle at which it points straight up; by the other data-attributes one
    knows of which scale its ticks are.
    """
    shown = reading or _nothing(dial)
    geometry = Dial.of(dial, shown.full_scale)
    places = WITHIN if abs(geometry.sweep) > WIDE_SWEEP else BELOW
    size = min(places.count_size, _size(number(shown.count)))
    label = dial_words(name, shown, grade) if reading else f"{TITLES[name]}: {WORDS['none_why']}"
    count = number(shown.count) if reading else "\u2013"
    note = notes(shown, grade) if reading else WORDS["at_rest"]
    if kind:
        label, note = f"{kind}. {label}", SEPARATOR.join(filter(None, (kind, note)))
    is_pegged = shown.pegged and shown.known and grade is not Grade.STALE
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" class="dial" viewBox="-200 -200 400 400" role="img"
aria-label="{escape(label)}" data-dial="{escape(name)}" data-angle="{shown.angle:g}"
data-straight="{-geometry.bearing_of(0):g}" data-full-scale="{shown.full_scale}"
data-scale="{escape(dial.scale)}" data-min-angle="{dial.min_angle}"
data-max-angle="{dial.max_angle}"
font-family="{escape(FONTS)}" text-anchor="middle">
<circle class="face" r="{FACE:g}" fill="{PAPER}" stroke="{RULE}" stroke-width="2"/>
{_scale(geometry)}
<text class="title" y="{places.title_y}" font-size="18" letter-spacing="1.4" \
fill="{SOFT}">{TITLES[name]}</text>
<text class="count" y="{places.count_y}" font-size="{size}" fill="{INK}">{count}</text>
<text class="note" y="{places.note_y}" font-size="{places.note_size}" \
fill="{INK}">{escape(note)}</text>
{_peg(geometry, is_pegged=is_pegged)}
{_needle(geometry.bearing_of(shown.angle))}
</svg>"""


def _nothing(dial: DialSettings) -> DialReading:
    full_scale = SMALLEST_FULL_SCALE if dial.scale == "auto" else make_scale(dial.scale).full_scale
    return DialReading(
        count=0, position=0, full_scale=full_scale, angle=dial.min_angle, pegged=False, known=False
    )


def _scale(dial: Dial) -> str:
    ticks = dial.ticks()
    lines = "".join(map(_tick, ticks))
    numbers = "".join(_number(tick) for tick in ticks if tick.label)
    return (
        f'<g class="marks" stroke="{INK}" stroke-linecap="butt">{lines}</g>'
        f'<g class="numbers" font-size="{ARC * LABEL_SIZE:g}" fill="{INK}">{numbers}</g>'
    )


def _tick(tick: Tick) -> str:
    (x1, y1), (x2, y2) = point(tick.bearing, ARC), point(tick.bearing, ARC - LENGTHS[tick.rank])
    return (
        f'<line x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" '
        f'stroke-width="{WIDTHS[tick.rank]:g}" data-count="{tick.count}"/>'
    )


def _number(tick: Tick) -> str:
    x, y = (ARC * way for way in label_point(tick.bearing, tick.label))
    return f'<text x="{x:.1f}" y="{y + HALF_CAPITAL:.1f}">{tick.label}</text>'


def _size(count: str) -> int:
    return next((size for longest, size in SIZES if len(count) <= longest), SMALLEST_SIZE)


def _peg(dial: Dial, *, is_pegged: bool) -> str:
    """An arrow that leads on past the end of the scale."""
    opacity = 1 if is_pegged else 0
    return (
        f'<g class="peg" opacity="{opacity}" transform="rotate({dial.bearing(1):g})">'
        f'<path d="M7 -{ARC:g}l13 8.5l-13 8.5z" fill="{RED}"/></g>'
    )


def _needle(bearing: float) -> str:
    return (
        f'<g class="needle" transform="rotate({bearing:g})">'
        f'<path d="M-5 30L-1.3 -141H1.3L5 30z" fill="{RED}"/>'
        f'<circle r="13" fill="{RED}"/></g>'
        f'<circle class="pivot" r="4" fill="{PAPER}"/>'
    )


def title(reading: Reading | None) -> str:
    """The page's name, in plain text; reading: None while there is none."""
    if reading is None:
        return NAME
    kind = reading.kind.capitalize()
    words = " ".join(_parts(reading))
    return f"{kind}: {words} \u00b7 {NAME}" if kind else f"{words} \u00b7 {NAME}"


def heading(reading: Reading | None, *, kiosk: bool) -> str:
    """The page's heading as HTML; in a kiosk, which nobody can scroll, no longer than its room."""
    if reading is None:
        return f'<h1>{NAME}</h1><p class="window">Tweets and tweeters on two dials</p>'
    parts = _parts(reading)
    shown = _with_room(parts) if kiosk else parts
    words = [f"<bdi>{escape(part)}</bdi>" for part in shown]
    if len(shown) < len(parts):
        words.append(f"<span>and {len(parts) - len(shown)} more</span>")
    long = ' class="long"' if sum(map(len, parts)) > LONG_HEADING else ""
    kind = reading.kind.capitalize()
    said = f'<p class="sort"><strong>{kind}</strong> {KIND_MEANINGS[kind]}</p>' if kind else ""
    return (
        f'<h1{long}>{" ".join(words)}</h1><p class="window">Tweets and tweeters of the '
        f"{window_words(reading.window_seconds)}, each counted once</p>{said}"
    )


def _parts(reading: Reading) -> list[str]:
    topics = map(plain, reading.topics)
    return [t if len(t) <= LONGEST else t[: LONGEST - 1] + "\u2026" for t in topics] or [NAME]


def _with_room(parts: list[str]) -> list[str]:
    """The first ones, as many as there is room for, and at least one."""
    signs, shown = 0, 0
    for part in parts:
        signs += len(part) + 1
        if shown and signs > KIOSK_SIGNS:
            break
        shown += 1
    return parts[:shown]


def page(reading: Reading | None, dials: Mapping[str, DialSettings], *, kiosk: bool) -> str:
    """The whole page; reading: None while there is none.

    It needs nothing but what is in `static/`, wherever a proxy may have put that, and is complete
    before any script has run. Without them it is lost after a while, by its style sheet alone.
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
<header><p id="lost">{_lost(reading)}</p>{heading(reading, kiosk=kiosk)}</header>
<main>
<section id="dials" aria-label="Dials">
{drawn}
</section>
<section id="grade" aria-label="How far this can be trusted">
{_grade(reading)}
</section>
<div id="more">
{CHART}
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
<link rel="icon" href="static/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="static/uPlot.min.css">
<link rel="stylesheet" href="static/page.css">
<link rel="stylesheet" href="static/below.css">
<link rel="stylesheet" href="static/screens.css">
<script src="static/uPlot.iife.min.js" defer></script>
<script src="static/page.js" type="module"></script>
<noscript><meta http-equiv="refresh" content="30"></noscript>
</head>"""


def _data(reading: Reading | None) -> str:
    """What the scripts go by: one truth with the servos' motion and the words."""
    values = {
        "speed": f"{SPEED:g}",
        "acceleration": f"{ACCELERATION:g}",
        "arrived": f"{ARRIVED:g}",
        "words": json.dumps(dict(WORDS)),
        "window": window_words(reading.window_seconds) if reading else "",
        "networks": json.dumps(network_names(reading.sources) if reading else {}),
        "reading": json.dumps(reading.as_json() if reading else {}),
    }
    return "\n".join(f'data-{name}="{escape(value)}"' for name, value in values.items())


def _grade(reading: Reading | None) -> str:
    word = WORDS[reading.grade if reading else "none"]
    if reading is None:
        why, taken = escape(WORDS["none_why"]), ""
    else:
        why = escape(grade_words(reading))
        taken = f"As of {_second(reading.at_ms)}. The page reloads every 30 s."
    return (
        f'<p>{_glyph(reading.grade if reading else "none")}<strong id="word">{word}</strong> '
        f'<span id="why" dir="auto">{why}</span></p>'
        f'<noscript><p class="taken">{taken}</p></noscript>'
    )


def _lost(reading: Reading | None) -> str:
    """What is seen where the page has had no word for a while, or has no style sheet."""
    since = WORDS["lost"].format(time=_second(reading.at_ms)) if reading else ""
    return f"<span>{since}</span>"


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
<span class="source-grade">{source_words(source, reading)}</span></p>
<svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">\
<rect width="100" height="1"/><rect class="share" width="{share:.1f}" height="1"/></svg>
<p><b class="posts">{number(source.posts)}</b> tweets</p>
<p><b class="authors">{number(source.authors)}</b> tweeters</p>
<p><b class="heard">{heard_words(source, reading.at_ms)}</b> <span>last update</span></p>
<p class="detail" dir="auto">{escape(detail_words(source, reading))}</p>
</li>
"""


def _footer(*, kiosk: bool) -> str:
    if kiosk:
        return ""
    return (
        f'<footer><p>TweetDock {__version__}</p><nav aria-label="More">'
        '<a href="?kiosk">Full screen</a> <a href="api/reading">This reading as JSON</a> '
        '<a href="metrics">Metrics</a></nav></footer>'
    )
