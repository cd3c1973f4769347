"""Calibrating a dial: how far its needle may be sent, and which pulses are marked."""

from dataclasses import replace
from enum import StrEnum

from tweetdock.servos.needles import Geometry, Needle
from tweetdock.settings.gauge import LAST_US, DialSettings

SAFE_US = (1000, 2000)  # every servo's range
USUAL_US = (500, 2500)  # most servos'; beyond it many run into their stop, and some break
LEAST_SPAN_US = 50
LEAD_US = 100  # how far a held key runs ahead of its needle: let go, and it stands soon
NEAR_US = 10  # from its target a needle counts as arrived
# A key that is held repeats sooner than that: only one that was let go is pressed again.
PAUSE_SECONDS = 0.8
# Every pulse that there is, each microsecond, and its degrees as an ordinary servo turns.
RANGE = Geometry(
    DialSettings(
        pin=0,
        scale="auto",
        min_angle=LAST_US[0] * 0.09,
        max_angle=LAST_US[1] * 0.09,
        min_pulse_us=LAST_US[0],
        max_pulse_us=LAST_US[1],
        mid_pulse_us=None,
        reversed=False,
    ),
    step_us=1.0,
)


class DialPoint(StrEnum):
    """What can be marked: the zero of the dial, its middle and its full scale."""

    LEFT = "left stop"
    MIDDLE = "middle"
    RIGHT = "right stop"

    @property
    def letter(self) -> str:
        """What stands for it on the scale."""
        return self.name[0]


class Calibration:
    """One dial being calibrated: its needle, its settings by the marks so far, and a note.

    The needle is assumed to stand at zero until it is moved. Pulses are whole microseconds, `now`
    is seconds. The needle never goes beyond what its settings have, or most servos take, before a
    key was pressed twice for it.
    """

    def __init__(self, name: str, dial: DialSettings) -> None:
        self.name = name
        self.dial = dial
        self.needle = Needle(RANGE, RANGE.angle(dial.start_us))
        self.note = ""
        self.marked: frozenset[DialPoint] = frozenset()
        self._saved = dial
        self._undo: list[tuple[DialSettings, frozenset[DialPoint]]] = []
        self._route: list[DialPoint] = []
        self._asked: tuple[int, float] | None = None
        self._limits = {
            -1: min(dial.min_pulse_us, USUAL_US[0]),
            1: max(dial.max_pulse_us, USUAL_US[1]),
        }

    @property
    def at_us(self) -> int:
        """The pulse of where the needle is."""
        return round(self.needle.pulse_us)

    @property
    def target_us(self) -> int:
        """The pulse of where the needle is sent."""
        return round(RANGE.pulse_us(self.needle.target))

    @property
    def home(self) -> float:
        """The angle of the zero at which a gauge will assume the needle: the one last saved."""
        return RANGE.angle(self._saved.start_us)

    @property
    def is_sweeping(self) -> bool:
        """Whether the needle is on its way through all marks."""
        return bool(self._route)

    @property
    def caution(self) -> str:
        """What to mind where the needle is sent to; empty where every servo goes."""
        if not USUAL_US[0] <= self.target_us <= USUAL_US[1]:
            return "Few servos go here. If it buzzes or stands still, go back at once."
        if not SAFE_US[0] <= self.target_us <= SAFE_US[1]:
            return "Most servos go here, not all. If it buzzes or stands still, go back."
        return ""

    @property
    def trouble(self) -> str:
        """Why no gauge can run by these marks; empty if one can."""
        low, middle, high = self.dial.min_pulse_us, self.dial.mid_pulse_us, self.dial.max_pulse_us
        if high - low < LEAST_SPAN_US:
            return (
                f"The stops are {high - low} µs apart: there is no room for a needle. Mark the "
                "other stop too."
            )
        if middle is not None and not low < middle < high:
            return (
                f"The middle, {middle} µs, is not between the stops. Bring the needle to it and "
                "press m, or press 2 and m to have it halfway."
            )
        return ""

    @property
    def unsaved(self) -> dict[str, str]:
        """The settings to save, by their names; none if nothing has changed."""
        if self.dial == self._saved:
            return {}
        prefix, middle = f"TWEETDOCK_{self.name.upper()}_", self.dial.mid_pulse_us
        return {
            f"{prefix}MIN_PULSE_US": str(self.dial.min_pulse_us),
            f"{prefix}MID_PULSE_US": "" if middle is None else str(middle),
            f"{prefix}MAX_PULSE_US": str(self.dial.max_pulse_us),
            f"{prefix}REVERSED": str(int(self.dial.reversed)),
        }

    def pulse_us(self, point: DialPoint) -> int:
        """The pulse of a point; a middle without a mark is halfway."""
        pulse_us = _mark(self.dial, point)
        return round(self.dial.middle_us) if pulse_us is None else pulse_us

    def is_unsaved(self, point: DialPoint) -> bool:
        """Whether a point is not where it was saved."""
        return _mark(self.dial, point) != _mark(self._saved, point)

    def save(self) -> None:
        """What is marked has been saved."""
        self._saved = self.dial

    def nudge(self, us: int, now: float) -> None:
        """Send the needle further by `us`; stop at a limit and ask first."""
        base = min(max(self.target_us, self.at_us - LEAD_US), self.at_us + LEAD_US)
        side = 1 if us > 0 else -1
        asked, limit = self._asked, self._limits[side]
        self._begin()
        wanted = base + us
        if (wanted - limit) * side <= 0:
            self._send(wanted)
            return
        if limit in LAST_US:
            self.note = f"{limit} µs is the end: the settings take no more."
        elif asked and asked[0] == side and now - asked[1] >= PAUSE_SECONDS:
            self._limits[side] = LAST_US[0] if side < 0 else LAST_US[1]
            self._send(min(max(wanted, LAST_US[0]), LAST_US[1]))
            return
        else:
            self._asked = side, now
            whose = "most servos go" if limit in USUAL_US else "this dial is set to go"
            self.note = (
                f"{limit} µs is as far as {whose}; beyond it some servos break. "
                "Let go of the key, then press it again to go on."
            )
        self._send(limit)

    def go(self, point: DialPoint) -> None:
        """Send the needle to a mark."""
        self._begin()
        self._send(self.pulse_us(point))

    def sweep(self) -> None:
        """Send the needle through all marks, from left to right and back."""
        self._begin()
        self._route = [DialPoint.LEFT, DialPoint.MIDDLE, DialPoint.RIGHT, DialPoint.LEFT]
        self._send(self.pulse_us(DialPoint.LEFT))

    def go_on(self) -> bool:
        """Send a needle that has come to a mark of its sweep to the next one; whether it moves."""
        if not (self._route and self.needle.is_still):
            return False
        self._route = self._route[1:]
        if self._route:
            self._send(self.pulse_us(self._route[0]))
        return bool(self._route)

    def halt(self) -> None:
        """Stop the needle where it is, within its limits."""
        self._begin()
        if self.needle.was_moved:
            self._send(min(max(self.at_us, self._limits[-1]), self._limits[1]))

    def mark(self, point: DialPoint) -> None:
        """Mark the point where the needle stands; a middle that is marked there is taken back."""
        self._begin()
        target_us = self.target_us
        if not self.needle.was_moved:
            self.note = "Move the needle first: nobody knows where it stands."
        elif abs(self.at_us - target_us) > NEAR_US:
            self.note = "The needle is still on its way: mark the place when it stands."
        elif point is not DialPoint.MIDDLE:
            left, right = self.dial.start_us, self.dial.end_us
            left, right = (target_us, right) if point is DialPoint.LEFT else (left, target_us)
            low, high = sorted((left, right))
            dial = replace(self.dial, min_pulse_us=low, max_pulse_us=high, reversed=left > right)
            self._change(dial, self.marked | {point}, f"{point.capitalize()}: {target_us} µs.")
        elif self.dial.mid_pulse_us == target_us:
            note = "The middle is halfway between the stops again."
            self._change(replace(self.dial, mid_pulse_us=None), self.marked - {point}, note)
        else:
            dial = replace(self.dial, mid_pulse_us=target_us)
            self._change(dial, self.marked | {point}, f"Middle: {target_us} µs.")

    def reverse(self) -> None:
        """Swap left and right."""
        self._begin()
        dial = replace(self.dial, reversed=not self.dial.reversed)
        way = "shorter" if dial.reversed else "longer"
        self._change(dial, self.marked, f"Turned round: a higher count is a {way} pulse now.")

    def undo(self) -> None:
        """Take the last mark or turn back; the needle stays where it is."""
        self._begin()
        if self._undo:
            self.dial, self.marked = self._undo.pop()
            self.note = "Taken back."
        else:
            self.note = "There is nothing to take back."

    def _begin(self) -> None:
        self.note, self._asked, self._route = "", None, []

    def _send(self, pulse_us: int) -> None:
        self.needle.aim(RANGE.angle(pulse_us))

    def _change(self, dial: DialSettings, marked: frozenset[DialPoint], note: str) -> None:
        self._undo.append((self.dial, self.marked))
        self.dial, self.marked, self.note = dial, marked, note


def _mark(dial: DialSettings, point: DialPoint) -> int | None:
    if point is DialPoint.MIDDLE:
        return dial.mid_pulse_us
    return dial.start_us if point is DialPoint.LEFT else dial.end_us
