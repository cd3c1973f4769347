"""Calibrating a dial: how far its needle may be sent, and which pulses are marked."""

from dataclasses import dataclass, replace
from enum import StrEnum

from tweetdock.servos.needle import LAST_US, STEP_US
from tweetdock.settings.gauge import DialSettings

SAFE_US = (1000, 2000)  # every servo's range
USUAL_US = (500, 2500)  # most servos'; beyond it many run into their stop, and some break
LEAST_SPAN_US = 50
LEAD_US = 100  # how far a held key runs ahead of its needle: let go, and it stands soon
NEAR_US = 10  # from its target a needle counts as arrived
# A key that is held repeats sooner than that: only one that was let go is pressed again.
PAUSE_SECONDS = 0.8


class DialPoint(StrEnum):
    """What can be marked: the zero of the dial, its middle and its full scale."""

    LEFT = "left stop"
    MIDDLE = "middle"
    RIGHT = "right stop"

    @property
    def letter(self) -> str:
        """What stands for it on the scale."""
        return self.name[0]


@dataclass(frozen=True, slots=True)
class Marks:
    """The pulses of a dial's zero, middle and full scale; middle: None is halfway."""

    left: int
    right: int
    middle: int | None = None

    @classmethod
    def of(cls, dial: DialSettings) -> "Marks":
        """The marks of a dial as it is set."""
        return cls(dial.start_us, dial.end_us, dial.mid_pulse_us)

    def pulse_us(self, point: DialPoint) -> int:
        """The pulse of a point."""
        middle = round(self._halfway) if self.middle is None else self.middle
        return {DialPoint.LEFT: self.left, DialPoint.RIGHT: self.right}.get(point, middle)

    @property
    def trouble(self) -> str:
        """Why no gauge can run by them; empty if one can."""
        if abs(self.right - self.left) < LEAST_SPAN_US:
            return (
                f"The stops are {abs(self.right - self.left)} µs apart: there is no room for a "
                "needle. Mark the other stop too."
            )
        low, high = sorted((self.left, self.right))
        if self.middle is not None and not low < self.middle < high:
            return (
                f"The middle, {self.middle} µs, is not between the stops. Bring the needle to it "
                "and press m, or press 2 and m to have it halfway."
            )
        return ""

    def settings(self) -> dict[str, str]:
        """The settings with the same meaning, by their names without the dial's."""
        low, high = sorted((self.left, self.right))
        bends = self.middle is not None and abs(self.middle - self._halfway) > STEP_US
        return {
            "MIN_PULSE_US": str(low),
            "MID_PULSE_US": str(self.middle) if bends else "",
            "MAX_PULSE_US": str(high),
            "REVERSED": str(int(self.left > self.right)),
        }

    @property
    def _halfway(self) -> float:
        return (self.left + self.right) / 2


class Calibration:
    """One dial being calibrated: where its needle is sent, its marks, and a note about both.

    Pulses are whole microseconds, `now` is seconds. The needle never goes beyond what its
    settings have, or most servos take, before a key was pressed twice for it.
    """

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self.target_us = marks.left
        self.note = ""
        self.marked: frozenset[DialPoint] = frozenset()
        self._saved = marks
        # As they are written: a middle that is nearly halfway may be set or not.
        self._settings = marks.settings() | {"MID_PULSE_US": str(marks.middle or "")}
        self._undo: list[tuple[Marks, frozenset[DialPoint]]] = []
        self._route: list[DialPoint] = []
        self._asked: tuple[int, float] | None = None
        low, high = sorted((marks.left, marks.right))
        self._limits = {-1: min(low, USUAL_US[0]), 1: max(high, USUAL_US[1])}

    @property
    def is_sweeping(self) -> bool:
        """Whether it is on its way through all marks."""
        return bool(self._route)

    @property
    def limits(self) -> tuple[int, int]:
        """The shortest and longest pulse that it may be sent to now."""
        return self._limits[-1], self._limits[1]

    @property
    def home_us(self) -> int:
        """The zero at which a gauge will assume the needle to stand: the one last saved or kept."""
        return self._saved.left

    @property
    def caution(self) -> str:
        """What to mind where the needle is sent to; empty where every servo goes."""
        if USUAL_US[0] > self.target_us or self.target_us > USUAL_US[1]:
            return "Few servos go here. If it buzzes or stands still, go back at once."
        if SAFE_US[0] > self.target_us or self.target_us > SAFE_US[1]:
            return "Most servos go here, not all. If it buzzes or stands still, go back."
        return ""

    @property
    def unsaved(self) -> dict[str, str]:
        """The settings to save, by their names without the dial's; none if nothing has changed."""
        new, old = self.marks.settings(), self._settings
        if self.marks == self._saved or new == old:
            return {}
        ends = ("MIN_PULSE_US", "MAX_PULSE_US")
        usual = {"MID_PULSE_US": "", "REVERSED": "0"}
        return {n: v for n, v in new.items() if n in ends or v != usual[n] or v != old[n]}

    def is_unsaved(self, point: DialPoint) -> bool:
        """Whether a point is not where it was saved."""
        if point is DialPoint.MIDDLE:
            old = self._settings["MID_PULSE_US"]
            return self.unsaved.get("MID_PULSE_US", old) != old
        return self.marks.pulse_us(point) != self._saved.pulse_us(point)

    def save(self) -> None:
        """What is marked has been saved."""
        self._settings |= self.unsaved
        self._saved = self.marks

    def nudge(self, us: int, at_us: int, now: float) -> None:
        """Send the needle, which is at `at_us`, further by `us`; stop at a limit and ask first."""
        base = min(max(self.target_us, at_us - LEAD_US), at_us + LEAD_US)
        side = 1 if us > 0 else -1
        asked, limit = self._asked, self._limits[side]
        self._begin()
        wanted = base + us
        if (wanted - limit) * side <= 0:
            self.target_us = wanted
            return
        self.target_us = limit
        if limit in LAST_US:
            self.note = f"{limit} µs is the end: the settings take no more."
        elif asked and asked[0] == side and now - asked[1] >= PAUSE_SECONDS:
            self._limits[side] = LAST_US[0] if side < 0 else LAST_US[1]
            self.target_us = min(max(wanted, LAST_US[0]), LAST_US[1])
        else:
            self._asked = side, now
            whose = "most servos go" if limit in USUAL_US else "this dial is set to go"
            self.note = (
                f"{limit} µs is as far as {whose}; beyond it some servos break. "
                "Let go of the key, then press it again to go on."
            )

    def go(self, point: DialPoint) -> None:
        """Send the needle to a mark."""
        self._begin()
        self.target_us = self.marks.pulse_us(point)

    def sweep(self) -> None:
        """Send the needle through all marks, from left to right and back."""
        self._begin()
        self._route = [DialPoint.LEFT, DialPoint.MIDDLE, DialPoint.RIGHT, DialPoint.LEFT]
        self.target_us = self.marks.left

    def arrive(self) -> None:
        """The needle rests where it was sent; on its way through the marks it goes on."""
        self._route = self._route[1:]
        if self._route:
            self.target_us = self.marks.pulse_us(self._route[0])

    def halt(self, at_us: int) -> None:
        """Stop the needle where it is, within its limits."""
        self._begin()
        self.target_us = min(max(at_us, self.limits[0]), self.limits[1])

    def mark(self, point: DialPoint, at_us: int | None) -> None:
        """Mark the point where the needle stands; at_us: None if it has not been moved yet."""
        self._begin()
        if at_us is None:
            self.note = "Move the needle first: nobody knows where it stands."
            return
        if abs(at_us - self.target_us) > NEAR_US:
            self.note = "The needle is still on its way: mark the place when it stands."
            return
        if point is DialPoint.MIDDLE and self.marks.middle == self.target_us:
            self._change(replace(self.marks, middle=None), self.marked - {point})
            self.note = "The middle is halfway between the stops again."
            return
        marks = replace(self.marks, **{point.name.lower(): self.target_us})
        self._change(marks, self.marked | {point})
        self.note = f"{point.capitalize()}: {self.target_us} µs."

    def reverse(self) -> None:
        """Swap left and right."""
        self._begin()
        left, right = self.marks.right, self.marks.left
        self._change(replace(self.marks, left=left, right=right), self.marked)
        way = "shorter" if left > right else "longer"
        self.note = f"Turned round: a higher count is a {way} pulse now."

    def undo(self) -> None:
        """Take the last mark or turn back; the needle stays where it is."""
        self._begin()
        if self._undo:
            self.marks, self.marked = self._undo.pop()
            self.note = "Taken back."
        else:
            self.note = "There is nothing to take back."

    def _begin(self) -> None:
        self.note, self._asked, self._route = "", None, []

    def _change(self, marks: Marks, marked: frozenset[DialPoint]) -> None:
        self._undo.append((self.marks, self.marked))
        self.marks, self.marked = marks, marked
