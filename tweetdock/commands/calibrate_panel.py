"""What calibration shows: one dial's pulses on a scale, its marks, and what the next key does."""

import textwrap
from collections.abc import Iterator

from rich.text import Text

from tweetdock.servos.calibration import SAFE_US, USUAL_US, Calibration, DialPoint
from tweetdock.settings.gauge import LAST_US

WIDEST_PANEL = 76
MESSAGE_ROWS = 3  # the keys below stay where they are, whatever the message
KEYS = (
    (("← →", "10 µs"), ("↑ ↓", "1 µs"), ("1 2 3", "go to left, middle, right"), ("space", "stop")),
    (("l m r", "mark left, middle, right here"), ("x", "reverse"), ("u", "undo")),
    (("t", "sweep test"), ("tab", "other dial"), ("s", "save"), ("q", "quit"), ("?", "help")),
)
STEP_NUMBERS = tuple(f"{number}. " for number in range(1, 5))
HELP = """\
How to calibrate (any key goes back)

Each servo is a little different, even two of one make. Here you show TweetDock where yours has \
the ends of your dial.

1. Bring the needle onto the zero of your dial with ← and → (↑ and ↓ are finer). Press l.
2. Bring it onto full scale. Press r.
3. Press 2: the middle. If the needle does not stand in the middle, bring it there and press m.
4. Press t and watch a whole sweep. Then s saves both dials.

Does the needle turn the wrong way? Let left be left all the same: TweetDock sees by the marks \
which way your servo turns. x swaps both ends.
A servo that buzzes at rest has run into its stop: go back a little. Pulses end by themselves when \
the needle stands, so nothing burns while you think.
A needle is best put on its axle while the servo stands in the middle: 2, then press it on. The \
angles are those of your face, MIN_ANGLE and MAX_ANGLE in the settings."""


def panel(
    one: Calibration, other: Calibration, servos: str, trouble: str, width: int
) -> list[Text]:
    """The rows of one dial, none wider than `width`.

    servos: what moves the needles. trouble: why they cannot be moved, if so.
    """
    width = max(10, min(width, WIDEST_PANEL) - 1)
    rows = [
        _head(one, other, servos, width),
        Text(),
        _position(one),
        Text(),
        *_scale(one, width - 2),
        Text(),
        *_marks(one),
        Text(),
        *_messages(one, trouble, width),
        Text(),
        *_keys(width),
    ]
    for row in rows:
        row.truncate(width)
    return rows


def help_text(width: int) -> list[Text]:
    """How to calibrate, in short."""
    width = max(10, min(width, WIDEST_PANEL) - 2)
    title, *lines = _wrapped(HELP, width)
    return [Text(f" {title}", "bold"), *(Text(f" {line}" if line else "") for line in lines)]


def _head(one: Calibration, other: Calibration, servos: str, width: int) -> Text:
    begin, rest = f" {one.name}", f"  GPIO {one.dial.pin}, {servos}"
    switch = f"tab: {other.name}{', not saved' * bool(other.unsaved)}"
    gap = width - len(begin) - len(rest) - len(switch)
    row = Text.assemble((begin, "bold"), (rest, "dim"))
    return row.append(" " * gap).append(switch, "dim") if gap > 1 else row


def _position(one: Calibration) -> Text:
    where, note = f"{one.at_us} µs", ""
    if not one.needle.was_moved:
        where, note = "not moved yet", f"its first pulse will be {one.at_us} µs"
    elif one.is_sweeping:
        note = "sweeping; any key stops it"
    elif one.needle.is_still:
        note = "at rest, no pulses"
    elif one.at_us != one.target_us:
        note = f"on its way to {one.target_us} µs"
    return Text.assemble((f"   {where}", "bold"), (f"  {note}" if note else "", "dim"))


def _scale(one: Calibration, room: int) -> Iterator[Text]:
    """The needle above a line of all pulses, the marks on it, numbers below."""
    seen = [one.at_us, *map(one.pulse_us, DialPoint)]
    is_wide = min(seen) < USUAL_US[0] or max(seen) > USUAL_US[1]
    low, high = LAST_US if is_wide else USUAL_US

    def column(us: float) -> int:
        return round((us - low) / (high - low) * (room - 1))

    colour = "bold red" if one.needle.was_moved else "dim"
    yield Text.assemble("  " + " " * column(one.at_us), ("▼", colour))
    line = Text("  ")
    letters = {column(one.pulse_us(point)): point.letter for point in DialPoint}
    for cell in range(room):
        us = low + cell / (room - 1) * (high - low)
        if cell in letters:
            line.append(letters[cell], "bold")
        elif SAFE_US[0] <= us <= SAFE_US[1]:
            line.append("━")
        else:
            line.append("─" if USUAL_US[0] <= us <= USUAL_US[1] else "·", "dim")
    yield line
    numbers = ""
    for us in sorted({low, *SAFE_US, 1500, *USUAL_US, high}):
        start = 2 + max(0, min(column(us) - 2, room - len(str(us))))
        if start > len(numbers):
            numbers = f"{numbers:<{start}}{us}"
    yield Text(numbers, "dim")


def _marks(one: Calibration) -> Iterator[Text]:
    dial = one.dial
    angles = dial.min_angle, (dial.min_angle + dial.max_angle) / 2, dial.max_angle
    meanings = "count 0", "halfway", "full scale"
    for point, angle, meaning in zip(DialPoint, angles, meanings, strict=True):
        is_free = point not in one.marks
        unsaved = "not saved" if one.is_unsaved(point) else ""
        yield Text.assemble(
            (f"   {point.letter} ", "bold"),
            f" {point:<10}  {one.pulse_us(point):>4} µs",
            (f"  {angle:>4g}°", "dim"),
            (f"  {unsaved:<9}", "yellow"),
            (f"  {meaning}{', not measured' * is_free}", "dim"),
        )


def _messages(one: Calibration, trouble: str, width: int) -> Iterator[Text]:
    """The error or the last note, and what to do next."""
    if trouble:
        text, style = f"{trouble}; trying again", "bold red"
    elif one.note:
        text, style = one.note, "bold"
    else:
        text, style = one.caution, "yellow"
    rows = [Text(f" {line}", style) for line in _wrapped(text, width - 1)]
    rows += [Text(f" {line}") for line in _wrapped(_next(one), width - 1)]
    yield from rows + [Text() for _ in range(MESSAGE_ROWS - len(rows))]


def _next(one: Calibration) -> str:
    if not one.needle.was_moved:
        return "← and → move the needle, slowly at first. ? tells how it is done."
    if DialPoint.LEFT not in one.marked:
        return "Next: bring the needle onto the zero of your dial and press l."
    if DialPoint.RIGHT not in one.marked:
        return "Next: bring the needle onto full scale and press r."
    if one.trouble:
        return one.trouble
    if not one.unsaved:
        return "t sweeps once more, tab takes the other dial, q quits."
    if DialPoint.MIDDLE not in one.marks:
        return "Next: 2 goes halfway; if that is not the middle, move there and press m. Then s."
    return "Next: t sweeps from end to end, s saves."


def _keys(width: int) -> Iterator[Text]:
    for group in KEYS:
        row = Text()
        for key, meaning in group:
            if row and len(row) + len(key) + len(meaning) + 4 > width:
                yield row
                row = Text()
            row.append("   " if row else " ").append(key, "bold").append(f" {meaning}", "dim")
        yield row


def _wrapped(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for line in text.split("\n") if text else ():
        hang = " " * 3 if line[:3] in STEP_NUMBERS else ""
        lines += textwrap.wrap(line, width, subsequent_indent=hang) or [""]
    return lines
