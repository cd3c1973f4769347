"""What calibration shows: one dial's pulses on a scale, its marks, and what the next key does."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text

from tweetdock.servos.calibration import SAFE_US, USUAL_US, Calibration, DialPoint
from tweetdock.servos.needle import LAST_US
from tweetdock.settings.gauge import DialSettings

WIDEST_PANEL = 76
ROOMY = 60
MESSAGE_ROWS = 3  # the keys below stay where they are, whatever the message
KEYS = (
    (("← →", "10 µs"), ("↑ ↓", "1 µs"), ("1 2 3", "go to left, middle, right"), ("space", "stop")),
    (("l m r", "mark left, middle, right here"), ("x", "reverse"), ("u", "undo")),
    (("t", "sweep test"), ("tab", "other dial"), ("s", "save"), ("q", "quit"), ("?", "help")),
)
MEANING_COLUMNS = len("  halfway, not measured")
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


@dataclass(frozen=True, slots=True)
class View:
    """All that is to be seen of one dial; at_us: None before the needle was moved."""

    name: str
    other: str
    servos: str
    dial: DialSettings
    calibration: Calibration
    at_us: int | None
    is_resting: bool
    trouble: str
    other_is_unsaved: bool


def panel(view: View, width: int) -> list[Text]:
    """The rows of a dial, none wider than `width`."""
    width = max(10, min(width, WIDEST_PANEL) - 1)
    rows = [
        _head(view, width),
        Text(),
        _position(view),
        Text(),
        *_scale(view, width - 2),
        Text(),
        *_marks(view, is_roomy=width >= ROOMY),
        Text(),
        *_messages(view, width),
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


def _head(view: View, width: int) -> Text:
    begin = f" {view.name}"
    rest = f"  GPIO {view.dial.pin}, {view.servos}"
    other = f"tab: {view.other}{', not saved' * view.other_is_unsaved}"
    gap = width - len(begin) - len(rest) - len(other)
    row = Text.assemble((begin, "bold"), (rest, "dim"))
    return row.append(" " * gap).append(other, "dim") if gap > 1 else row


def _position(view: View) -> Text:
    calibration = view.calibration
    if view.at_us is None:
        where, note = "not moved yet", f"its first pulse will be {calibration.target_us} µs"
    else:
        where, note = f"{view.at_us} µs", ""
        if calibration.is_sweeping:
            note = "sweeping; any key stops it"
        elif view.is_resting:
            note = "at rest, no pulses"
        elif view.at_us != calibration.target_us:
            note = f"on its way to {calibration.target_us} µs"
    return Text.assemble((f"   {where}", "bold"), (f"  {note}" if note else "", "dim"))


def _scale(view: View, room: int) -> Iterator[Text]:
    """The needle above a line of all pulses, the marks on it, numbers below."""
    marks = view.calibration.marks
    here = view.calibration.target_us if view.at_us is None else view.at_us
    seen = [here, *(marks.pulse_us(point) for point in DialPoint)]
    is_wide = min(seen) < USUAL_US[0] or max(seen) > USUAL_US[1]
    low, high = LAST_US if is_wide else USUAL_US

    def column(us: float) -> int:
        return round((us - low) / (high - low) * (room - 1))

    needle = " " * column(here)
    yield Text.assemble(f"  {needle}", ("▼", "dim" if view.at_us is None else "bold red"))
    line = Text("  ")
    letters = {column(marks.pulse_us(point)): point.letter for point in DialPoint}
    for cell in range(room):
        us = low + cell / (room - 1) * (high - low)
        if cell in letters:
            line.append(letters[cell], "bold")
        elif SAFE_US[0] <= us <= SAFE_US[1]:
            line.append("━")
        else:
            line.append("─" if USUAL_US[0] <= us <= USUAL_US[1] else "·", "dim")
    yield line
    numbers = [" "] * (room + 2)
    for us in (low, high, *SAFE_US, 1500, *USUAL_US):
        text, at = str(us), 2 + column(us)
        start = max(0, min(at - len(text) // 2, len(numbers) - len(text)))
        around = numbers[max(0, start - 1) : start + len(text) + 1]
        if not "".join(around).strip():
            numbers[start : start + len(text)] = text
    yield Text("".join(numbers), "dim")


def _marks(view: View, *, is_roomy: bool) -> Iterator[Text]:
    dial, marks = view.dial, view.calibration.marks
    angles = dial.min_angle, (dial.min_angle + dial.max_angle) / 2, dial.max_angle
    meanings = "count 0", "halfway", "full scale"
    for point, angle, of_dial in zip(DialPoint, angles, meanings, strict=True):
        is_free = point is DialPoint.MIDDLE and marks.middle is None
        meaning = f"  {of_dial}{', not measured' * is_free}" * is_roomy
        unsaved = "not saved" if view.calibration.is_unsaved(point) else ""
        yield Text.assemble(
            (f"   {point.letter} ", "bold"),
            f" {point:<10}  {marks.pulse_us(point):>4} µs",
            (f"  {angle:>4g}°", "dim"),
            (f"{meaning:<{MEANING_COLUMNS if unsaved and is_roomy else 0}}", "dim"),
            (f"  {unsaved}" if unsaved else "", "yellow"),
        )


def _messages(view: View, width: int) -> Iterator[Text]:
    """The error or the last note, and what to do next."""
    calibration = view.calibration
    if view.trouble:
        text, style = f"{view.trouble}; trying again", "bold red"
    elif calibration.note:
        text, style = calibration.note, "bold"
    else:
        text, style = calibration.caution, "yellow"
    rows = [Text(f" {line}", style) for line in _wrapped(text, width - 1)]
    rows += [Text(f" {line}") for line in _wrapped(_next(view), width - 1)]
    yield from rows + [Text() for _ in range(MESSAGE_ROWS - len(rows))]


def _next(view: View) -> str:
    calibration = view.calibration
    if view.at_us is None:
        return "← and → move the needle, slowly at first. ? tells how it is done."
    if DialPoint.LEFT not in calibration.marked:
        return "Next: bring the needle onto the zero of your dial and press l."
    if DialPoint.RIGHT not in calibration.marked:
        return "Next: bring the needle onto full scale and press r."
    if calibration.marks.trouble:
        return calibration.marks.trouble
    if not calibration.unsaved:
        return "t sweeps once more, tab takes the other dial, q quits."
    if calibration.marks.middle is None:
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
