"""The thread that moves the needles: on mock pins in its own time, and on a stand-in pigpiod."""

from __future__ import annotations

import itertools
import logging
import threading
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from dials import LIMIT, PINS, STEP_US, TWEETERS, TWEETS, comes_true, dials, exact_us, us
from standins.pigpiod import PulseChange, StandInPigpiod
from virtual_time import NotingServos, VirtualTime

import tweetdock.servos.pigpio
import tweetdock.servos.pigpiod
from tweetdock.core.motion import SPEED
from tweetdock.servos.needles import (
    FIRST_SPEED,
    STAGGER_SECONDS,
    Geometry,
    Needle,
    Needles,
    NeedleThread,
)
from tweetdock.servos.pigpio import PigpioServos
from tweetdock.servos.servos import REMEMBERED, MockServos

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tweetdock.servos.servos import Servos
    from tweetdock.settings.gauge import DialSettings
    from tweetdock.threads import Crash

DIAL, _ = DIALS = dials()
DEGREES_A_STEP = 0.9
HOME_US = 1000
STOP_SECONDS = 1.7  # what the daemon grants
SHORT = 36.0  # degrees: a move of half a second
FRAME_SECONDS = 0.02
# At rest the thread checks pigpiod now and then, on its way it talks to it all the time.
OUTAGES = [
    ("drop", "at rest"),
    ("drop", "on its way"),
    ("kill", "on its way"),
    ("hang", "at rest"),
    ("hang", "on its way"),
]


class Moved:
    """A needle thread in its own time, and the crashes that it reported."""

    def __init__(
        self, servos: Servos, time: VirtualTime, dials: Sequence[DialSettings] = DIALS
    ) -> None:
        self.time = time
        self.crashes: list[Crash] = []
        self.needles = NeedleThread(
            servos, dials, self.crashes.append, monotonic=time.monotonic, wait=time.wait
        )

    def aim(self, tweets: float, tweeters: float | None = None) -> None:
        self.needles.aim([tweets, tweets if tweeters is None else tweeters])

    def stop(self) -> bool:
        """Stop it within what the daemon grants; whether the needles came home."""
        begun = self.time.now
        self.end()
        assert self.time.now - begun <= STOP_SECONDS
        return self.needles.are_home

    def end(self) -> None:
        """Stop it however long that takes."""
        self.needles.go_home()
        self.time.let_go()
        assert self.needles.stop(LIMIT)


class Gauge(Moved):
    """Needles on servos that note each change of a pulse."""

    def __init__(self) -> None:
        time = VirtualTime()
        self.servos = NotingServos(PINS, time.monotonic)
        super().__init__(self.servos, time)

    def rests_at(self, tweets: float, tweeters: float | None = None) -> bool:
        """Whether both needles stand within a step of these angles, without pulses."""
        angles = {TWEETS: tweets, TWEETERS: tweets if tweeters is None else tweeters}
        return all(
            (stand := self.servos.stands_at_us(pin))
            and abs(stand - exact_us(DIAL, angle)) <= STEP_US
            for pin, angle in angles.items()
        )

    def comes_to_rest(self, tweets: float, tweeters: float | None = None) -> bool:
        return self.time.run_until(lambda: self.rests_at(tweets, tweeters))

    def passes(self, pin: int, angle: float) -> bool:
        """Let time pass until the pulse of a pin is beyond that of an angle."""
        return self.time.run_until(lambda: self.servos.pulse_us(pin) > exact_us(DIAL, angle))


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert comes_true(lambda: set(threading.enumerate()) <= before), threading.enumerate()


@pytest.fixture
def new_gauge(no_thread_is_left: None) -> Iterator[Gauge]:
    """Needles before their first move; no crash is allowed."""
    gauge = Gauge()
    yield gauge
    gauge.end()
    assert gauge.crashes == []


@pytest.fixture
def gauge(new_gauge: Gauge) -> Gauge:
    """Needles at rest at home after their first move."""
    assert new_gauge.comes_to_rest(0)
    return new_gauge


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def assert_no_faster(changes: list[PulseChange], speed: float) -> None:
    """No stretch of a tenth of a second or more was faster, but for a step and a frame."""
    moves = [change for change in changes if change.pulse_us]
    assert len(moves) > 3
    for number, start in enumerate(moves):
        for end in moves[number + 1 :]:
            seconds = end.at_monotonic - start.at_monotonic
            degrees = abs(end.pulse_us - start.pulse_us) / STEP_US * DEGREES_A_STEP
            if seconds >= 0.1:
                assert degrees <= speed * (seconds + FRAME_SECONDS) + DEGREES_A_STEP


def test_the_needles_follow_their_targets_and_rest(gauge: Gauge) -> None:
    for tweets, tweeters in ((10.3, SHORT), (7.77, 22.2), (180.0, 0.0), (0.0, 180.0)):
        gauge.aim(tweets, tweeters)
        assert gauge.comes_to_rest(tweets, tweeters)


def test_without_a_target_the_needles_stand_at_home_and_cost_next_to_nothing(gauge: Gauge) -> None:
    before, checks = gauge.time.waits, gauge.servos.checks
    gauge.time.run(60.0)
    assert gauge.time.waits - before <= 62
    assert gauge.servos.checks - checks >= 58  # a servo that was lost is noticed
    assert gauge.servos.pulses_us(TWEETS) == [HOME_US, 0]
    assert gauge.servos.pulses_us(TWEETERS) == [HOME_US, 0]


def test_a_needle_on_its_way_turns_to_the_latest_target(gauge: Gauge) -> None:
    gauge.aim(180.0, 0.0)
    assert gauge.passes(TWEETS, 30.0)
    for angle in (180.0, 90.0, 120.0, 9.0):
        gauge.aim(angle, 0.0)
    assert gauge.comes_to_rest(9.0, 0.0)
    assert max(gauge.servos.pulses_us(TWEETS)) <= exact_us(DIAL, 90.0)
    assert gauge.servos.pulses_us(TWEETS)[2:].count(0) == 1


def test_the_first_move_is_slow_and_the_next_ones_keep_their_limit(new_gauge: Gauge) -> None:
    gauge = new_gauge
    gauge.aim(18.0, 0.0)
    assert gauge.comes_to_rest(18.0, 0.0)
    first = gauge.servos.changes_of(TWEETS)
    assert_no_faster(first, FIRST_SPEED)
    assert first[-1].at_monotonic - first[0].at_monotonic > 18 / FIRST_SPEED
    gauge.aim(99.0, 0.0)
    assert gauge.comes_to_rest(99.0, 0.0)
    second = gauge.servos.changes_of(TWEETS)[len(first) :]
    assert_no_faster(second, SPEED)
    assert second[-1].at_monotonic - second[0].at_monotonic < 81 / FIRST_SPEED


def test_two_needles_never_start_together(gauge: Gauge) -> None:
    gauge.aim(SHORT)
    assert gauge.comes_to_rest(SHORT)
    starts: dict[int, list[float]] = {}
    for pin in (TWEETS, TWEETERS):
        changes = gauge.servos.changes_of(pin)
        starts[pin] = [changes[0].at_monotonic] + [
            after.at_monotonic for before, after in pairwise(changes) if not before.pulse_us
        ]
        assert len(starts[pin]) == 2
    for one, other in zip(starts[TWEETS], starts[TWEETERS], strict=True):
        assert abs(one - other) >= STAGGER_SECONDS


def test_a_change_that_no_step_would_show_sends_no_pulse(gauge: Gauge) -> None:
    gauge.aim(SHORT)
    assert gauge.comes_to_rest(SHORT)
    before = list(gauge.servos.changes)
    for tenths in (1, 3, -4, 7, -7, 0):
        checks = gauge.servos.checks
        gauge.aim(SHORT + tenths / 10)
        gauge.time.run(FRAME_SECONDS)
        assert gauge.servos.checks > checks  # the new target has woken the thread
    assert gauge.servos.changes == before


def test_a_stop_brings_both_needles_home_from_full_scale(gauge: Gauge) -> None:
    """The second one starts later, and was left a few degrees short of its home."""
    gauge.aim(180.0)
    assert gauge.comes_to_rest(180.0)
    assert gauge.stop()
    assert gauge.rests_at(0)


def test_a_stop_brings_both_needles_home_when_they_are_just_reaching_full_scale(
    gauge: Gauge,
) -> None:
    gauge.aim(180.0)
    assert gauge.passes(TWEETERS, 150.0)
    assert gauge.stop()
    assert gauge.rests_at(0)


@pytest.mark.parametrize("degrees", [270.0, 360.0])
def test_a_stop_brings_the_needles_of_a_wide_dial_home_as_well(degrees: float) -> None:
    time = VirtualTime()
    wide = Moved(NotingServos(PINS, time.monotonic), time, dials(max_angle=degrees))
    wide.aim(degrees)
    assert time.run_until(lambda: wide.needles.angles == (degrees, degrees))
    assert wide.stop()


@pytest.mark.parametrize("seconds", [0.3, 0.4])
def test_a_machine_that_is_slow_at_the_end_brings_its_needle_near_home(seconds: float) -> None:
    time = VirtualTime()
    time.let_go()
    needle = Needle(Geometry(DIAL), 180.0)
    needles = Needles(
        NotingServos(PINS, time.monotonic),
        [needle],
        time.monotonic,
        lambda _: time.sleep(seconds),
    )
    needles.connect()
    needles.bring_home({0: 0.0})
    assert needle.angle < 5.0
    needles.close()


def test_a_stop_in_the_middle_of_the_first_move_brings_the_needles_home(new_gauge: Gauge) -> None:
    new_gauge.aim(180.0)
    assert new_gauge.passes(TWEETERS, 4.0)
    assert new_gauge.stop()
    assert new_gauge.rests_at(0)


def test_a_stop_is_at_once_while_the_servos_are_waited_for(gauge: Gauge) -> None:
    gauge.servos.is_out_of_reach = True
    assert gauge.time.run_until(lambda: bool(gauge.needles.trouble))
    begun = gauge.time.now
    assert not gauge.stop()
    assert gauge.time.now == begun


def test_a_stop_does_not_wait_longer_than_it_may() -> None:
    reached, answered = threading.Event(), threading.Event()

    class HungServos(MockServos):
        def point(self, number: int, pulse_us: float) -> None:
            reached.set()
            answered.wait(LIMIT)
            super().point(number, pulse_us)

    needles = NeedleThread(HungServos(PINS), DIALS, lambda _: None)
    assert reached.wait(LIMIT)
    assert not needles.stop(0.05)
    answered.set()
    assert needles.stop(LIMIT)


def test_needles_whose_servos_are_away_wait_for_them_and_tell_once(
    new_gauge: Gauge, log: pytest.LogCaptureFixture
) -> None:
    gauge = new_gauge
    gauge.servos.is_out_of_reach = True
    gauge.time.run(60.0)
    log.clear()
    waits = gauge.time.waits
    gauge.time.run(600.0)
    assert 60 <= gauge.time.waits - waits <= 120  # it tries at least every ten seconds
    assert log.records == []
    assert gauge.needles.trouble == "the servos are out of reach"
    gauge.servos.is_out_of_reach = False
    gauge.aim(9.0)
    assert gauge.comes_to_rest(9.0)
    assert gauge.needles.was_reached
    assert gauge.needles.trouble == ""


def test_a_needle_that_was_lost_on_its_way_starts_anew_from_there(gauge: Gauge) -> None:
    gauge.aim(180.0, 0.0)
    assert gauge.passes(TWEETS, 60.0)
    stood_us = gauge.servos.pulse_us(TWEETS)
    gauge.servos.is_out_of_reach = True
    assert gauge.time.run_until(lambda: bool(gauge.needles.trouble))
    assert gauge.servos.pulse_us(TWEETS) == gauge.servos.pulse_us(TWEETERS) == 0
    seen = len(gauge.servos.changes_of(TWEETS))
    gauge.servos.is_out_of_reach = False
    assert gauge.comes_to_rest(180.0, 0.0)
    first, *_ = gauge.servos.pulses_us(TWEETS)[seen:]
    # In two frames it may have gone on.
    assert abs(first - stood_us) <= 2 * SPEED * FRAME_SECONDS / DEGREES_A_STEP * STEP_US


Gauges = dict[tuple[str, str], tuple[StandInPigpiod, Moved]]


@pytest.fixture
def outages(no_thread_is_left: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gauges]:
    """Needles on a pigpiod for every kind of outage and its moment, after it has happened."""
    monkeypatch.setattr(tweetdock.servos.pigpio, "COMMAND_SECONDS", 0.1)
    monkeypatch.setattr(tweetdock.servos.pigpiod, "PROBE_SECONDS", 0.1)
    gauges: Gauges = {}
    # Pulses go by a time that passes only when somebody asks: no busy machine can cut one.
    steps = itertools.count()

    def clock() -> float:
        return next(steps) * 0.00037

    for outage, moment in OUTAGES:
        pigpiod = StandInPigpiod(clock=clock).__enter__()
        servos = PigpioServos(PINS, "127.0.0.1", pigpiod.port, monotonic=clock)
        gauge = Moved(servos, VirtualTime())
        gauges[outage, moment] = (pigpiod, gauge)
        gauge.time.run(2.0)
        assert rest_at(pigpiod, 0, 0)
        if moment == "on its way":
            gauge.aim(60.0)
            passed = partial(is_beyond, pigpiod, TWEETS, 10.0)
            assert gauge.time.run_until(passed)
        getattr(pigpiod, outage)()
    yield gauges
    for pigpiod, gauge in gauges.values():
        pigpiod.kill()
        gauge.end()
        pigpiod.close()
        assert gauge.crashes == []


def is_beyond(pigpiod: StandInPigpiod, pin: int, angle: float) -> bool:
    return pigpiod.pulse_us(pin) > exact_us(DIAL, angle)


def rest_at(pigpiod: StandInPigpiod, *angles: float) -> bool:
    """Whether the needles stand within a step of these angles, without pulses."""
    for pin, angle in zip((TWEETS, TWEETERS), angles, strict=True):
        lengths = [change.pulse_us for change in pigpiod.pulses if change.gpio == pin]
        if lengths[-1:] != [0] or abs(lengths[-2] - exact_us(DIAL, angle)) > STEP_US:
            return False
    return True


def test_the_needles_come_back_by_themselves_after_every_kind_of_outage(
    log: pytest.LogCaptureFixture, outages: Gauges
) -> None:
    for (outage, _), (pigpiod, gauge) in outages.items():
        log.clear()
        gauge.aim(24.0, 12.0)
        assert gauge.time.run_until(lambda gauge=gauge: bool(gauge.needles.trouble))  # type: ignore[misc]
        trouble = f"no pigpiod answers at 127.0.0.1:{pigpiod.port}"
        assert gauge.needles.trouble == trouble
        if outage != "drop":
            gauge.time.run(20.0)
        {"drop": lambda: None, "kill": pigpiod.revive, "hang": pigpiod.resume}[outage]()
        gauge.time.run(20.0)
        assert rest_at(pigpiod, 24.0, 12.0)
        assert pigpiod.cuts == 0
        began, ended = log.records
        assert began.levelname == "WARNING"
        assert began.getMessage().startswith(f"servos: {trouble};")
        assert ended.levelname == "INFO"
        assert ended.getMessage().startswith("servos: back after")
        assert gauge.stop()
        assert rest_at(pigpiod, 0, 0)
        assert pigpiod.wait_until(lambda pigpiod=pigpiod: pigpiod.clients == 0)  # type: ignore[misc]


def test_a_stop_is_in_time_whatever_became_of_pigpiod(outages: Gauges) -> None:
    for case, (_, gauge) in outages.items():
        gauge.needles.go_home()
        gauge.time.let_go()
        assert gauge.needles.stop(STOP_SECONDS), case


class BuggyServos(MockServos):
    """Servos with a bug of ours in one of their methods."""

    def __init__(self, method: str) -> None:
        super().__init__(PINS)
        self.pins: list[Any] = []
        setattr(self, method, self._fail)

    def connect(self) -> None:
        super().connect()
        self.pins = [self._factory.pin(dial.pin) for dial in DIALS]

    def _fail(self, *_arguments: object) -> None:
        raise RuntimeError("a bug")


@pytest.mark.parametrize("method", ["connect", "point", "rest", "check"])
def test_a_bug_is_told_as_a_crash_and_ends_the_pulses(method: str) -> None:
    servos, time = BuggyServos(method), VirtualTime()
    moved = Moved(servos, time)
    time.let_go()
    assert comes_true(lambda: bool(moved.crashes))
    assert moved.needles.stop(STOP_SECONDS)
    (crash,) = moved.crashes
    assert crash.thread == "needles"
    assert isinstance(crash.error, RuntimeError)
    assert [pin.frequency for pin in servos.pins] == [None] * len(servos.pins)


def states(servos: MockServos, pin: int) -> list[float]:
    """The pulse lengths that a mock pin had, in microseconds."""
    return [state.state * 20_000 for state in list(servos._factory.pin(pin).states)]


def test_mock_needles_go_the_very_same_way() -> None:
    servos = MockServos(PINS)
    moved = Moved(servos, VirtualTime())
    moved.time.run(2.0)
    moved.aim(SHORT, 9.0)
    moved.time.run(3.0)
    for pin, angle in ((TWEETS, SHORT), (TWEETERS, 9.0)):
        *way, last, end = states(servos, pin)[3:]
        assert [*way, last] == sorted([*way, last])
        assert len(way) > 10
        assert abs(last - exact_us(DIAL, angle)) <= STEP_US
        assert end == 0
    pins = [servos._factory.pin(dial.pin) for dial in DIALS]
    assert moved.stop()
    for pin in pins:
        assert pin.frequency is None
        assert pin.states[-1].state == 0
        assert pin.states[-2].state * 20_000 == pytest.approx(HOME_US, abs=STEP_US)


def test_mock_pins_remember_only_so_much() -> None:
    servos = MockServos(PINS)
    servos.connect()
    for turn in range(2 * REMEMBERED):
        servos.point(0, us(turn % 180))
    pin = servos._factory.pin(TWEETS)
    assert len(pin.states) == REMEMBERED
    assert pin.states[-1].state * 20_000 == pytest.approx(exact_us(DIAL, 19), abs=STEP_US)
    servos.close()


def test_mock_servos_point_as_exactly_as_the_real_ones() -> None:
    servos = MockServos(PINS)
    servos.connect()
    for pulse_us in range(300, 3001):
        servos.point(1, pulse_us)
        assert states(servos, TWEETERS)[-1] == pytest.approx(pulse_us, abs=1.0)
    servos.rest(1)
    servos.rest(1)
    assert states(servos, TWEETERS)[-1] == 0
    servos.close()
    servos.close()
