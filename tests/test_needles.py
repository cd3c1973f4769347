"""The thread that turns the needles: real servos' code, a stand-in pigpiod, real time."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from dials import LIMIT, STEP_US, TWEETERS, TWEETS, busy_share, comes_true, dials, exact_us
from standins.pigpiod import PulseChange, StandInPigpiod

from tweetdock.core.motion import SPEED
from tweetdock.servos.needles import FIRST_SPEED, STAGGER_SECONDS, NeedleThread
from tweetdock.servos.pigpio import PigpioServos
from tweetdock.servos.servos import REMEMBERED, MockServos

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tweetdock.servos.servos import Servos
    from tweetdock.threads import Crash

DIAL, _ = DIALS = dials()
DEGREES_A_STEP = 0.9
HOME_US = 1000
STOP_SECONDS = 1.7  # what the daemon grants
LATE = 0.15  # a frame may come late on a busy machine
SHORT = 36.0  # degrees: a move of half a second
# At rest the thread looks after pigpiod now and then, on its way it talks to it all the time.
OUTAGES = [
    ("drop", "at rest"),
    ("drop", "on its way"),
    ("kill", "on its way"),
    ("hang", "at rest"),
    ("hang", "on its way"),
]


class Gauge:
    """Needles at work, the stand-in that they move, and whatever they told of a crash."""

    def __init__(self, pigpiod: StandInPigpiod, servos: Servos | None = None) -> None:
        self.pigpiod = pigpiod
        self.crashes: list[Crash] = []
        rig = servos or PigpioServos(DIALS, "127.0.0.1", pigpiod.port)
        self.needles = NeedleThread(rig, DIALS, self.crashes.append)

    def aim(self, tweets: float, tweeters: float | None = None) -> None:
        self.needles.aim([tweets, tweets if tweeters is None else tweeters])

    def changes(self, pin: int) -> list[PulseChange]:
        return [change for change in self.pigpiod.pulses if change.gpio == pin]

    def stands_at(self, pin: int) -> float | None:
        """The last pulse that a pin had; None while it still has pulses, or before the first."""
        lengths = [change.pulse_us for change in self.changes(pin)]
        return lengths[-2] if len(lengths) > 1 and lengths[-1] == 0 else None

    def rests_at(self, tweets: float, tweeters: float | None = None) -> bool:
        """Whether both needles stand within a step of these angles, without pulses."""
        angles = {TWEETS: tweets, TWEETERS: tweets if tweeters is None else tweeters}
        return all(
            (stand := self.stands_at(pin)) and abs(stand - exact_us(DIAL, angle)) <= STEP_US
            for pin, angle in angles.items()
        )

    def comes_to_rest(self, tweets: float, tweeters: float | None = None) -> bool:
        return comes_true(lambda: self.rests_at(tweets, tweeters))

    def is_on_its_way(self, pin: int, beyond: float) -> bool:
        """Whether the pulse of a pin has passed that of an angle."""
        return self.pigpiod.pulse_us(pin) > exact_us(DIAL, beyond)

    def is_told_of(self, log: pytest.LogCaptureFixture) -> bool:
        """Whether the log says that this gauge's pigpiod does not answer."""
        trouble = f"servos: no pigpiod answers at 127.0.0.1:{self.pigpiod.port};"
        return any(message.startswith(trouble) for message in log.messages)

    @property
    def checks(self) -> int:
        """How often the thread has looked after a pigpiod without a word to say to it."""
        return sum(name == "TICK" for name, _, _ in self.pigpiod.commands)

    def has_checked(self, times: int) -> bool:
        return self.checks >= times

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Stop them; never later than they may."""
        begun = time.monotonic()
        has_ended = self.needles.stop(seconds)
        assert time.monotonic() - begun < seconds + LATE
        return has_ended


Outages = dict[tuple[str, str], Gauge]


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert comes_true(lambda: set(threading.enumerate()) <= before), threading.enumerate()


@pytest.fixture
def pigpiod(no_thread_is_left: None) -> Iterator[StandInPigpiod]:
    with StandInPigpiod() as pigpiod:
        yield pigpiod


@pytest.fixture
def gauge(pigpiod: StandInPigpiod) -> Iterator[Gauge]:
    """Needles at rest at home after their first move; no crash is allowed."""
    gauge = Gauge(pigpiod)
    assert gauge.comes_to_rest(0)
    yield gauge
    pigpiod.kill()  # there is nobody left to be brought home for
    assert gauge.needles.stop(LIMIT)
    assert gauge.crashes == []


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


@pytest.fixture
def outages(no_thread_is_left: None) -> Iterator[Outages]:
    """A gauge for every kind of outage and its moment, struck by it; all at once to save time."""
    with ExitStack() as stack:
        gauges = {case: Gauge(stack.enter_context(StandInPigpiod())) for case in OUTAGES}
        assert all(gauge.comes_to_rest(0) for gauge in gauges.values())
        moving = [gauge for (_, moment), gauge in gauges.items() if moment == "on its way"]
        for gauge in moving:
            gauge.aim(60.0)
        assert all(comes_true(partial(gauge.is_on_its_way, TWEETS, 10.0)) for gauge in moving)
        for (outage, _), gauge in gauges.items():
            getattr(gauge.pigpiod, outage)()
        yield gauges
        for gauge in gauges.values():
            gauge.pigpiod.kill()
        for gauge in gauges.values():
            assert gauge.needles.stop(LIMIT)
            assert gauge.crashes == []


def mend(pigpiod: StandInPigpiod, outage: str) -> None:
    {"drop": lambda: None, "kill": pigpiod.revive, "hang": pigpiod.resume}[outage]()


def assert_no_faster(changes: list[PulseChange], speed: float) -> None:
    """No stretch of a tenth of a second or more was faster, but for a step and a late frame."""
    moves = [change for change in changes if change.pulse_us]
    assert len(moves) > 3
    for number, start in enumerate(moves):
        for end in moves[number + 1 :]:
            seconds = end.at_monotonic - start.at_monotonic
            degrees = abs(end.pulse_us - start.pulse_us) / STEP_US * DEGREES_A_STEP
            if seconds >= 0.1:
                assert degrees <= speed * (seconds + 0.05) + DEGREES_A_STEP


def test_the_needles_follow_their_targets_and_rest(gauge: Gauge) -> None:
    for tweets, tweeters in ((10.3, SHORT), (7.77, 22.2)):
        gauge.aim(tweets, tweeters)
        assert gauge.comes_to_rest(tweets, tweeters)
    assert gauge.pigpiod.cuts == 0


def test_without_a_target_the_needles_stand_at_home_and_cost_next_to_nothing(gauge: Gauge) -> None:
    assert busy_share() < 0.1
    assert [change.pulse_us for change in gauge.changes(TWEETS)] == [HOME_US, 0]
    assert [change.pulse_us for change in gauge.changes(TWEETERS)] == [HOME_US, 0]


def test_a_needle_on_its_way_turns_to_the_latest_target(gauge: Gauge) -> None:
    gauge.aim(180.0, 0.0)
    assert comes_true(lambda: gauge.is_on_its_way(TWEETS, 30.0))
    for angle in (180.0, 90.0, 120.0, 9.0):
        gauge.aim(angle, 0.0)
    assert gauge.comes_to_rest(9.0, 0.0)
    assert max(change.pulse_us for change in gauge.pigpiod.pulses) <= exact_us(DIAL, 90.0)
    ends = [b for a, b in pairwise(gauge.changes(TWEETS)[2:]) if not b.pulse_us]
    assert len(ends) == 1


def test_the_first_move_is_slow_and_the_next_ones_keep_their_limit(pigpiod: StandInPigpiod) -> None:
    gauge = Gauge(pigpiod)
    gauge.aim(18.0, 0.0)
    assert gauge.comes_to_rest(18.0, 0.0)
    first = gauge.changes(TWEETS)
    assert_no_faster(first, FIRST_SPEED)
    assert first[-1].at_monotonic - first[0].at_monotonic > 18 / FIRST_SPEED
    gauge.aim(99.0, 0.0)
    assert gauge.comes_to_rest(99.0, 0.0)
    second = gauge.changes(TWEETS)[len(first) :]
    assert_no_faster(second, SPEED)
    assert second[-1].at_monotonic - second[0].at_monotonic < 81 / FIRST_SPEED
    assert gauge.stop()


def test_two_needles_never_start_together(gauge: Gauge) -> None:
    gauge.aim(SHORT)
    assert gauge.comes_to_rest(SHORT)
    starts: dict[int, list[float]] = {}
    for pin in (TWEETS, TWEETERS):
        changes = gauge.changes(pin)
        starts[pin] = [changes[0].at_monotonic] + [
            after.at_monotonic for before, after in pairwise(changes) if not before.pulse_us
        ]
        assert len(starts[pin]) == 2
    for one, other in zip(starts[TWEETS], starts[TWEETERS], strict=True):
        assert abs(one - other) >= STAGGER_SECONDS - 0.02


def test_a_change_that_no_step_would_show_sends_no_pulse(gauge: Gauge) -> None:
    gauge.aim(SHORT)
    assert gauge.comes_to_rest(SHORT)
    before = gauge.pigpiod.pulses
    for tenths in (1, 3, -4, 7, -7, 0):
        # Each target wakes the thread, which looks whether pigpiod is still there.
        ticks = gauge.checks + 1
        gauge.aim(SHORT + tenths / 10)
        assert gauge.pigpiod.wait_until(partial(gauge.has_checked, ticks))
    assert gauge.pigpiod.pulses == before


def test_the_needles_come_back_by_themselves_after_every_kind_of_outage(
    log: pytest.LogCaptureFixture, outages: Outages
) -> None:
    for gauge in outages.values():
        gauge.aim(24.0, 12.0)
    for case, gauge in outages.items():
        assert comes_true(partial(gauge.is_told_of, log)), case
    for (outage, _), gauge in outages.items():
        mend(gauge.pigpiod, outage)
    for case, gauge in outages.items():
        assert gauge.comes_to_rest(24.0, 12.0), case
    troubles = [record for record in log.records if record.levelname == "WARNING"]
    ends = [record for record in log.records if record.levelname == "INFO"]
    assert len(troubles) == len(ends) == len(outages), log.messages
    assert all("servos: back after" in record.getMessage() for record in ends)


def test_needles_without_a_daemon_wait_for_it(
    pigpiod: StandInPigpiod, log: pytest.LogCaptureFixture
) -> None:
    pigpiod.kill()
    gauge = Gauge(pigpiod)
    assert comes_true(lambda: bool(log.records))
    assert busy_share(1.2) < 0.1  # and at least one more try in vain
    assert len(log.records) == 1
    assert not gauge.needles.was_reached
    assert gauge.needles.trouble == f"no pigpiod answers at 127.0.0.1:{pigpiod.port}"
    pigpiod.revive()
    gauge.aim(9.0)
    assert gauge.comes_to_rest(9.0)
    assert gauge.needles.was_reached
    assert gauge.stop()


def test_a_stop_brings_both_needles_home_from_full_scale(gauge: Gauge) -> None:
    """The second one starts later, and was left a few degrees short of its home."""
    gauge.aim(180.0)
    assert gauge.comes_to_rest(180.0)
    assert gauge.stop()
    assert gauge.rests_at(0)
    assert gauge.pigpiod.cuts == 0
    assert gauge.pigpiod.wait_until(lambda: gauge.pigpiod.clients == 0)


def test_a_stop_brings_both_needles_home_when_they_are_just_reaching_full_scale(
    gauge: Gauge,
) -> None:
    gauge.aim(180.0)
    assert comes_true(lambda: gauge.is_on_its_way(TWEETERS, 150.0))
    assert gauge.stop()
    assert gauge.rests_at(0)
    assert gauge.pigpiod.cuts == 0


def test_a_stop_in_the_middle_of_the_first_move_brings_the_needles_home(
    pigpiod: StandInPigpiod,
) -> None:
    gauge = Gauge(pigpiod)
    gauge.aim(180.0)
    assert comes_true(lambda: gauge.is_on_its_way(TWEETERS, 4.0))
    assert gauge.stop()
    assert gauge.needles.are_home
    assert gauge.rests_at(0)
    assert gauge.crashes == []


def test_a_stop_is_in_time_whatever_became_of_the_daemon(outages: Outages) -> None:
    for case, gauge in outages.items():
        assert gauge.stop(), case


def test_a_stop_is_at_once_while_a_daemon_is_waited_for(
    pigpiod: StandInPigpiod, log: pytest.LogCaptureFixture
) -> None:
    pigpiod.kill()
    gauge = Gauge(pigpiod)
    assert comes_true(lambda: len(log.records) > 0)
    assert gauge.stop(0.5)
    assert not gauge.needles.are_home


def test_a_stop_does_not_wait_longer_than_it_may(gauge: Gauge) -> None:
    gauge.pigpiod.hang()
    assert not gauge.stop(0.2)
    assert comes_true(lambda: gauge.needles.stop(0.0))


class Buggy(MockServos):
    """Servos with a bug of ours in one of their methods."""

    def __init__(self, method: str) -> None:
        super().__init__(DIALS)
        self.pins: list[Any] = []
        setattr(self, method, self._fail)

    def connect(self) -> None:
        super().connect()
        self.pins = [self._factory.pin(dial.pin) for dial in DIALS]

    def _fail(self, *_arguments: object) -> None:
        raise RuntimeError("a bug")


@pytest.mark.parametrize("method", ["connect", "point", "rest", "check"])
def test_a_bug_is_told_as_a_crash_and_ends_the_pulses(no_thread_is_left: None, method: str) -> None:
    servos = Buggy(method)
    crashes: list[Crash] = []
    needles = NeedleThread(servos, DIALS, crashes.append)
    assert comes_true(lambda: bool(crashes))
    assert needles.stop(STOP_SECONDS)
    (crash,) = crashes
    assert crash.thread == "needles"
    assert isinstance(crash.error, RuntimeError)
    assert [pin.frequency for pin in servos.pins] == [None] * len(servos.pins)


@pytest.fixture
def mock() -> Iterator[tuple[MockServos, NeedleThread]]:
    """Needles on gpiozero's mock pins, at rest at home."""
    servos = MockServos(DIALS)
    crashes: list[Crash] = []
    needles = NeedleThread(servos, DIALS, crashes.append)
    assert comes_true(lambda: is_resting(servos) and len(states(servos, TWEETERS)) > 1)
    yield servos, needles
    needles.stop(LIMIT)
    assert crashes == []


def states(servos: MockServos, pin: int) -> list[float]:
    """The pulse lengths that a mock pin had, in microseconds."""
    if servos._factory is None:
        return []
    return [state.state * 20_000 for state in list(servos._factory.pin(pin).states)]


def is_resting(servos: MockServos) -> bool:
    return all(states(servos, pin)[-1:] == [0] for pin in (TWEETS, TWEETERS))


def come_to_rest(servos: MockServos, *angles: float) -> Callable[[], bool]:
    lengths = [exact_us(DIAL, angle) for angle in angles]

    def have_come() -> bool:
        return is_resting(servos) and all(
            abs(states(servos, pin)[-2] - length) <= STEP_US
            for pin, length in zip((TWEETS, TWEETERS), lengths, strict=True)
        )

    return have_come


def test_mock_needles_go_the_very_same_way(mock: tuple[MockServos, NeedleThread]) -> None:
    servos, needles = mock
    needles.aim([SHORT, 9.0])
    assert comes_true(come_to_rest(servos, SHORT, 9.0))
    way = states(servos, TWEETS)[3:-1]
    assert way == sorted(way)
    assert len(way) > 10
    pins = [servos._factory.pin(dial.pin) for dial in DIALS]
    assert needles.stop(STOP_SECONDS)
    for pin in pins:
        assert pin.frequency is None
        assert pin.states[-1].state == 0
        assert pin.states[-2].state * 20_000 == pytest.approx(HOME_US, abs=STEP_US)


def test_mock_pins_remember_only_so_much() -> None:
    servos = MockServos(DIALS)
    servos.connect()
    for turn in range(2 * REMEMBERED):
        servos.point(0, turn % 180)
    pin = servos._factory.pin(TWEETS)
    assert len(pin.states) == REMEMBERED
    assert pin.states[-1].state * 20_000 == pytest.approx(exact_us(DIAL, 19), abs=STEP_US)
    servos.close()


@pytest.mark.parametrize("is_reversed", [False, True], ids=["as it is", "reversed"])
def test_mock_servos_point_as_exactly_as_the_real_ones(*, is_reversed: bool) -> None:
    both = dials(reversed=is_reversed)
    servos = MockServos(both)
    servos.connect()
    for angle in range(-10, 200):
        servos.point(1, angle)
        wanted = exact_us(both[1], min(max(angle, 0), 180))
        assert states(servos, TWEETERS)[-1] == pytest.approx(wanted, abs=1.0)
    servos.rest(1)
    servos.rest(1)
    assert states(servos, TWEETERS)[-1] == 0
    servos.close()
    servos.close()
