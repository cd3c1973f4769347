"""How a dial is drawn, on a screen as on paper: where its ticks stand and its needle points."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from tweetdock.core.scaler import LinearScale, LogScale, Scale, make_scale

DIALS = ("tweets", "tweeters")

LEAST_DEGREES = 1.2  # between two ticks; nearer ones are a smear
LEAST_LABEL_DEGREES = 11.0  # between two numbers
MOST_MINOR = 60  # ticks on a linear dial
WIDE = 330.0  # degrees; from there on the end of the scale may meet its beginning
TURN = 360.0
INTERVALS = 5  # between numbers, at most; so every scale of 1, 2 or 5 times ten divides evenly

# Of numbers, in radii of the dial; a capital's height and a digit's width in their size.
LABEL_SIZE = 0.1
LABEL_GAP = 0.045  # between the arc and a number outside of it
CAPITAL = 0.72
DIGIT = 0.56

INK, SOFT, RED = "#1d2733", "#5b6673", "#d6402b"  # of the scale, of lesser words, of the needle

_HAIR = 1e-9  # so much is nothing: 1.2 degrees five times are 6.000000000000001


class DialSpan(Protocol):
    """What a dial shows: its scale as the owner writes it, and where it ends, in degrees."""

    @property
    def scale(self) -> str:
        """`auto`, `linear:500` or `log:10000`."""
        ...

    @property
    def min_angle(self) -> float:
        """At count 0."""
        ...

    @property
    def max_angle(self) -> float:
        """At full scale."""
        ...


class Rank(IntEnum):
    """How long a tick is; the longest have a number."""

    MINOR = 0
    MIDDLE = 1
    MAJOR = 2


@dataclass(frozen=True, slots=True, order=True)
class Tick:
    """One tick: its count, its place (0..1), its bearing, and how long it is."""

    count: int
    position: float
    bearing: float
    rank: Rank

    @property
    def label(self) -> str:
        """The number beside it, as short as it can be read: `500`, `2k`, `1.5M`; or nothing."""
        return short(self.count) if self.rank is Rank.MAJOR else ""


@dataclass(frozen=True, slots=True)
class Dial:
    """A dial's geometry: bearings are degrees clockwise from straight up, as seen by its reader.

    The middle of the dial is straight up; higher counts are further clockwise.
    """

    min_angle: float
    max_angle: float
    scale: Scale

    @classmethod
    def of(cls, dial: DialSpan, full_scale: int) -> "Dial":
        """A dial as it is set; an automatic scale is drawn as it stands now."""
        scale = LinearScale(full_scale) if dial.scale == "auto" else make_scale(dial.scale)
        return cls(dial.min_angle, dial.max_angle, scale)

    @property
    def sweep(self) -> float:
        """Degrees from one end to the other."""
        return self.max_angle - self.min_angle

    def bearing_of(self, angle: float) -> float:
        """The bearing of a needle at a servo's angle."""
        return angle - (self.min_angle + self.max_angle) / 2

    def bearing(self, position: float) -> float:
        """The bearing of a place on the scale, 0..1."""
        return self.bearing_of(self.min_angle + position * self.sweep)

    def ticks(self) -> list[Tick]:
        """All ticks, from zero to full scale; both ends have a number, the others if there is room.

        Numbers go by 1-2-5, on a logarithmic scale in each decade. On a dial that comes round
        again full scale has one only if it is clear of zero's, and a second turn has no ticks.
        """
        is_log, full_scale = isinstance(self.scale, LogScale), self.scale.full_scale
        kept = self._numbered(_log_numbers(full_scale) if is_log else _linear_numbers(full_scale))
        major = min((tick.count for tick in kept if tick.count), default=full_scale)
        others = (
            _log_others(full_scale, self.sweep)
            if is_log
            else _linear_others(full_scale, self.sweep, major)
        )
        ends = [] if full_scale in (tick.count for tick in kept) else [(full_scale, Rank.MIDDLE)]
        for count, rank in (*ends, *sorted(others, key=lambda other: -other[1])):
            tick = self._tick(count, rank)
            if self._is_first_turn(count) and _is_clear(tick, kept, LEAST_DEGREES):
                kept.append(tick)
        return sorted(kept)

    def _numbered(self, choices: Iterable[Sequence[int]]) -> list[Tick]:
        """The ticks with numbers: of the first choice that has room, or what has of the last."""
        ends = self._ends()
        labelled = ends
        for choice in choices:
            counts = [count for count in choice if self._is_first_turn(count)]
            labelled, is_even = list(ends), True
            for count in counts:
                tick = self._tick(count, Rank.MAJOR)
                if _has_room(tick, labelled):
                    labelled.append(tick)
                elif not self._may_lack(count, counts, is_at_end=not _has_room(tick, ends)):
                    is_even = False
            if is_even:
                break
        return labelled

    def _ends(self) -> list[Tick]:
        """Zero and full scale, which has to be clear of zero where the dial comes round to it."""
        zero, full = (self._tick(count, Rank.MAJOR) for count in (0, self.scale.full_scale))
        if self.sweep <= WIDE or (self.sweep < TURN and _has_room(full, [zero])):
            return [zero, full]
        return [zero]

    def _is_first_turn(self, count: int) -> bool:
        return self.scale.position(count, 0) * self.sweep < TURN

    def _may_lack(self, count: int, counts: Sequence[int], *, is_at_end: bool) -> bool:
        """Whether numbers still look even without this one."""
        if isinstance(self.scale, LogScale):
            return is_at_end or count < 10  # the first crowd on any wide scale
        return count == counts[-1]

    def _tick(self, count: int, rank: Rank) -> Tick:
        # Both kinds of scale that are drawn know no time.
        position = self.scale.position(count, 0)
        return Tick(count, position, self.bearing(position), rank)


def point(bearing: float, radius: float) -> tuple[float, float]:
    """Where a bearing leads to from the pivot, x to the right and y downwards."""
    angle = math.radians(bearing)
    return radius * math.sin(angle), -radius * math.cos(angle)


def short(count: int) -> str:
    """A count as a dial has room for it: `500`, `2000`, `10k`, `1.5M`."""
    for unit, sign in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        # What four digits would round up to the unit is one of it.
        if count >= max(unit * 0.99995, 10_000):
            return f"{count / unit:.4g}{sign}"
    return str(count)


def label_point(bearing: float, label: str) -> tuple[float, float]:
    """Where the middle of a number outside of the arc stands, in radii; the wider, the further."""
    width, height = _label_box(label)
    across = abs(width / 2 * math.sin(math.radians(bearing)))
    down = abs(height / 2 * math.cos(math.radians(bearing)))
    # Between an ellipse and its box, a number keeps the same distance to the eye all round.
    reach = (math.hypot(across, down) + across + down) / 2
    return point(bearing, 1 + LABEL_GAP + reach)


def _linear_numbers(full_scale: int) -> Iterator[Sequence[int]]:
    for step in _steps(full_scale):
        if full_scale // step <= INTERVALS:
            yield range(step, full_scale, step)


def _linear_others(full_scale: int, sweep: float, major: int) -> Iterator[tuple[int, Rank]]:
    # The finest ticks that neither smear nor are too many to count.
    least = max(full_scale / MOST_MINOR, full_scale * (LEAST_DEGREES - _HAIR) / sweep)
    minor = next((s for s in _steps(major) if s >= least and major % s == 0), major)
    for count in range(minor, full_scale, minor):
        yield count, Rank.MIDDLE if count * 2 % major == 0 else Rank.MINOR


def _log_numbers(full_scale: int) -> Iterator[Sequence[int]]:
    decades = [10**power for power in range(len(str(full_scale))) if 10**power < full_scale]
    between = [decade * digit for decade in decades for digit in (2, 5)]
    yield [*decades, *(count for count in between if count < full_scale)]
    yield decades
    # Every second, then every third, so that a power of ten at full scale is one of them.
    yield from (decades[::-1][nth - 1 :: nth] for nth in (2, 3))


def _log_others(full_scale: int, sweep: float) -> Iterator[tuple[int, Rank]]:
    # All nine of a decade, or such as nobody counts wrong.
    narrowest = sweep * math.log(11 / 10) / math.log1p(full_scale)
    digits = range(1, 10) if narrowest >= LEAST_DEGREES else (1, 2, 5)
    for decade in (10**power for power in range(len(str(full_scale)))):
        for digit in digits:
            if digit * decade < full_scale:
                yield digit * decade, Rank.MIDDLE if digit in (1, 5) else Rank.MINOR


def _steps(full_scale: int) -> Iterator[int]:
    """1, 2, 5, 10 and so on, up to one that is no less."""
    decade = 1
    while True:
        for step in (decade, decade * 2, decade * 5):
            yield step
            if step >= full_scale:
                return
        decade *= 10


def _has_room(tick: Tick, others: list[Tick]) -> bool:
    return _is_clear(tick, others, LEAST_LABEL_DEGREES) and not any(
        _touch(tick, other) for other in others
    )


def _touch(tick: Tick, other: Tick) -> bool:
    """Whether their numbers would, or leave no gap between them."""
    (x, y), (width, height) = label_point(tick.bearing, tick.label), _label_box(tick.label)
    (u, v), (breadth, tallness) = label_point(other.bearing, other.label), _label_box(other.label)
    space = 0.6 * DIGIT * LABEL_SIZE
    return (
        abs(x - u) < (width + breadth) / 2 + space and abs(y - v) < (height + tallness) / 2 * 1.25
    )


def _label_box(label: str) -> tuple[float, float]:
    return len(label) * DIGIT * LABEL_SIZE, CAPITAL * LABEL_SIZE


def _is_clear(tick: Tick, others: list[Tick], degrees: float) -> bool:
    return all(_apart(tick, other) >= degrees - _HAIR for other in others)


def _apart(tick: Tick, other: Tick) -> float:
    """Degrees between them, the shorter way round."""
    return abs((tick.bearing - other.bearing + TURN / 2) % TURN - TURN / 2)
