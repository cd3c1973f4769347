"""Calibrating a dial: how far its needle may be sent, and which pulses are marked."""

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


LEFT, MIDDLE, RIGHT = DialPoint


class Calibration:
    """One dial being calibrated: its needle, the marks so far, and a note about both.

    The needle is assumed to stand at zero until it is moved. Pulses are whole microseconds, `now`
    is seconds. The needle never goes beyond what its settings have, or most servos take, before a
    key was pressed twice for it.
    """

    def __init__(self, name: str, dial: DialSettings) -> None:
        self.name = name
        self.dial = dial
        self.needle = Needle(RANGE, RANGE.angle(dial.start_us))
        self.note = ""
        self.marks = {LEFT: dial.start_us, RIGHT: dial.end_us}
        if dial.mid_pulse_us is not None:
            self.marks[MIDDLE] = dial.mid_pulse_us
        self._saved = self.marks
        self._undo: list[tuple[dict[DialPoint, int], DialPoint | None]] = []
        self._route: list[DialPoint] = []
        self._limits = [min(dial.min_pulse_us, USUAL_US[0]), max(dial.max_pulse_us, USUAL_US[1])]
        self._asked: tuple[bool, float] | None = None

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
        return RANGE.angle(self._saved[LEFT])

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
    def marked(self) -> set[DialPoint | None]:
        """The points that were marked until now."""
        return {point for _, point in self._undo}

    @property
    def trouble(self) -> str:
        """Why no gauge can run by these marks; empty if one can."""
        low, high = sorted((self.marks[LEFT], self.marks[RIGHT]))
        if high - low < LEAST_SPAN_US:
            return (
                f"The stops are {high - low} µs apart: there is no room for a needle. Mark the "
                "other stop too."
            )
        if MIDDLE in self.marks and not low < self.marks[MIDDLE] < high:
            return (
                f"The middle, {self.marks[MIDDLE]} µs, is not between the stops. Bring the needle "
                "to it and press m, or press 2 and m to have it halfway."
            )
        return ""

    @property
    def unsaved(self) -> dict[str, str]:
        """The settings to save, by their names; none if nothing has changed."""
        if self.marks == self._saved:
            return {}
        left, right, prefix = self.marks[LEFT], self.marks[RIGHT], f"TWEETDOCK_{self.name.upper()}_"
        return {
            f"{prefix}MIN_PULSE_US": str(min(left, right)),
            f"{prefix}MID_PULSE_US": str(self.marks.get(MIDDLE, "")),
            f"{prefix}MAX_PULSE_US": str(max(left, right)),
            f"{prefix}REVERSED": str(int(left > right)),
        }

    def pulse_us(self, point: DialPoint) -> int:
        """The pulse of a point; a middle without a mark is halfway."""
        return self.marks.get(point, round((self.marks[LEFT] + self.marks[RIGHT]) / 2))

    def is_unsaved(self, point: DialPoint) -> bool:
        """Whether a point is not where it was saved."""
        return self.marks.get(point) != self._saved.get(point)

    def save(self) -> None:
        """What is marked has been saved."""
        self._saved = self.marks

    def nudge(self, us: int, now: float) -> None:
        """Send the needle further by `us`; stop at a limit and ask first."""
        wanted = min(max(self.target_us, self.at_us - LEAD_US), self.at_us + LEAD_US) + us
        asked, is_up = self._asked, us > 0
        self._begin()
        if asked and asked[0] == is_up and now - asked[1] >= PAUSE_SECONDS:
            self._limits[is_up] = LAST_US[is_up]
        limit = self._limits[is_up]
        self._send(wanted)
        if self.target_us == wanted:
            return
        if limit in LAST_US:
            self.note = f"{limit} µs is the end: the settings take no more."
        else:
            self._asked = is_up, now
            whose = "most servos go" if limit in USUAL_US else "this dial is set to go"
            self.note = (
                f"{limit} µs is as far as {whose}; beyond it some servos break. "
                "Let go of the key, then press it again to go on."
            )

    def go(self, point: DialPoint) -> None:
        """Send the needle to a mark."""
        self._begin()
        self._send(self.pulse_us(point))

    def sweep(self) -> None:
        """Send the needle through all marks, from left to right and back."""
        self._begin()
        self._route = [LEFT, MIDDLE, RIGHT, LEFT]
        self._send(self.pulse_us(LEFT))

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
            self._send(self.at_us)

    def mark(self, point: DialPoint) -> None:
        """Mark the point where the needle stands; a middle that is marked there is taken back."""
        self._begin()
        target_us = self.target_us
        if not self.needle.was_moved:
            self.note = "Move the needle first: nobody knows where it stands."
        elif abs(self.at_us - target_us) > NEAR_US:
            self.note = "The needle is still on its way: mark the place when it stands."
        elif point is MIDDLE and self.marks.get(MIDDLE) == target_us:
            ends = {end: self.marks[end] for end in (LEFT, RIGHT)}
            self._change(ends, point, "The middle is halfway between the stops again.")
        else:
            marks = self.marks | {point: target_us}
            self._change(marks, point, f"{point.capitalize()}: {target_us} µs.")

    def reverse(self) -> None:
        """Swap left and right."""
        self._begin()
        marks = self.marks | {LEFT: self.marks[RIGHT], RIGHT: self.marks[LEFT]}
        way = "shorter" if marks[LEFT] > marks[RIGHT] else "longer"
        self._change(marks, None, f"Turned round: a higher count is a {way} pulse now.")

    def undo(self) -> None:
        """Take the last mark or turn back; the needle stays where it is."""
        self._begin()
        if self._undo:
            self.marks, _ = self._undo.pop()
            self.note = "Taken back."
        else:
            self.note = "There is nothing to take back."

    def _begin(self) -> None:
        self.note, self._asked, self._route = "", None, []

    def _send(self, pulse_us: int) -> None:
        low, high = self._limits
        self.needle.aim(RANGE.angle(min(max(pulse_us, low), high)))

    def _change(self, marks: dict[DialPoint, int], point: DialPoint | None, note: str) -> None:
        self._undo.append((self.marks, point))
        self.marks, self.note = marks, note
