"""The servos on a pigpiod: real gpiozero and pigpio over sockets, and what may become of it."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pigpio
import pytest
from dials import LIMIT, PINS, STEP_US, TWEETERS, TWEETS, busy_share, comes_true, us
from standins.pigpiod import StandInPigpiod, free_port

import tweetdock.servos.pigpio
import tweetdock.servos.pigpiod
from tweetdock.core.errors import ServoError
from tweetdock.servos.pigpio import PigpioServos

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = 1.5  # a few milliseconds' work, without waiting for an answer
PATIENCE = 3.0
GEOMETRIES = [
    pytest.param({}, id="default"),
    pytest.param({"min_pulse_us": 500, "max_pulse_us": 2500}, id="wide"),
    pytest.param({"min_pulse_us": 602, "max_pulse_us": 2303}, id="between steps"),
    pytest.param({"min_angle": -90.0, "max_angle": 90.0}, id="about zero"),
    pytest.param({"min_angle": 20.0, "max_angle": 65.5, "max_pulse_us": 1200}, id="narrow"),
    pytest.param({"mid_pulse_us": 1620}, id="bent"),
    pytest.param({"mid_pulse_us": 733, "min_pulse_us": 602, "max_pulse_us": 2303}, id="very bent"),
]
OUTAGES = ["drop", "kill", "hang"]
outages = pytest.mark.parametrize("outage", OUTAGES)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert comes_true(lambda: set(threading.enumerate()) <= before), threading.enumerate()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits for an answer, shortened."""
    monkeypatch.setattr(tweetdock.servos.pigpio, "COMMAND_SECONDS", 0.3)
    monkeypatch.setattr(tweetdock.servos.pigpiod, "PROBE_SECONDS", 0.3)


@pytest.fixture
def pigpiod(no_thread_is_left: None) -> Iterator[StandInPigpiod]:
    with StandInPigpiod() as pigpiod:
        yield pigpiod


@pytest.fixture
def servos(pigpiod: StandInPigpiod) -> Iterator[PigpioServos]:
    """Connected servos of the default dials."""
    servos = PigpioServos(PINS, "127.0.0.1", pigpiod.port)
    servos.connect()
    yield servos
    servos.close()


def strike(pigpiod: StandInPigpiod, outage: str) -> None:
    getattr(pigpiod, outage)()


def mend(pigpiod: StandInPigpiod, outage: str) -> None:
    {"drop": lambda: None, "kill": pigpiod.revive, "hang": pigpiod.resume}[outage]()


def assert_refused(call: Callable[[], None], limit: float = PATIENCE) -> ServoError:
    begun = time.monotonic()
    with pytest.raises(ServoError) as caught:
        call()
    assert time.monotonic() - begun < limit
    return caught.value


def assert_quick(call: Callable[[], None]) -> None:
    begun = time.monotonic()
    call()
    assert time.monotonic() - begun < QUICK


def test_every_pulse_lands_within_a_step(pigpiod: StandInPigpiod, servos: PigpioServos) -> None:
    for pulse_us in range(300, 3001, 7):
        servos.point(pulse_us % 2, pulse_us)
        assert abs(pigpiod.pulse_us(PINS[pulse_us % 2]) - pulse_us) < STEP_US


def test_a_pulse_of_whole_steps_is_sent_as_it_is(
    pigpiod: StandInPigpiod, servos: PigpioServos
) -> None:
    """Cut off by gpiozero to 2 us, by pigpiod to 5, every second step was sent as the one below."""
    for pulse_us in range(300, 3001, 5):
        servos.point(0, pulse_us)
        assert pigpiod.pulse_us(TWEETS) == pulse_us


def test_nothing_pulses_before_it_is_pointed(pigpiod: StandInPigpiod, servos: PigpioServos) -> None:
    servos.check()
    servos.rest(0)
    assert pigpiod.pulses == []
    servos.point(1, us(90))
    assert {change.gpio for change in pigpiod.pulses} == {TWEETERS}


def test_rest_ends_the_pulses_and_never_cuts_one() -> None:
    steps = itertools.count()

    def clock() -> float:
        return next(steps) * 0.00037

    with StandInPigpiod(clock=clock) as pigpiod:
        servos = PigpioServos(PINS, "127.0.0.1", pigpiod.port, monotonic=clock)
        servos.connect()
        for turn in range(100):
            servos.point(turn % 2, us(turn * 1.8))
            servos.rest(turn % 2)
            assert pigpiod.pulse_us(TWEETS) == pigpiod.pulse_us(TWEETERS) == 0
        assert len(pigpiod.pulses) == 200
        assert pigpiod.cuts == 0
        servos.close()


@pytest.mark.xdist_group("real time")
def test_rest_cuts_no_pulse_in_real_time_either(
    pigpiod: StandInPigpiod, servos: PigpioServos
) -> None:
    """Between two pulses there are 17 ms; in one of five tries a busy machine leaves us those."""

    def rests_in_time() -> bool:
        before = pigpiod.cuts
        for turn in range(25):
            servos.point(0, us(180 - turn))
            servos.rest(0)
        assert pigpiod.pulse_us(TWEETS) == 0
        return pigpiod.cuts == before

    assert any(rests_in_time() for _ in range(5))


def test_a_needle_at_rest_may_rest_again(pigpiod: StandInPigpiod, servos: PigpioServos) -> None:
    servos.point(0, us(90))
    servos.rest(0)
    before = pigpiod.commands
    servos.rest(0)
    assert pigpiod.commands == before


def test_a_needle_may_be_pointed_again_after_its_rest(
    pigpiod: StandInPigpiod, servos: PigpioServos
) -> None:
    for angle, pulse_us in ((90, 1500), (90, 1500), (45, 1250)):
        servos.point(0, us(angle))
        assert pigpiod.pulse_us(TWEETS) == pulse_us
        servos.rest(0)


def test_close_ends_the_pulses_and_both_connections(
    pigpiod: StandInPigpiod, servos: PigpioServos
) -> None:
    servos.point(0, us(90))
    servos.point(1, us(90))
    servos.close()
    assert pigpiod.pulse_us(TWEETS) == pigpiod.pulse_us(TWEETERS) == 0
    assert pigpiod.wait_until(lambda: pigpiod.clients == 0)
    servos.close()


def is_of_pigpio(thread: threading.Thread) -> bool:
    """Whether pigpio has begun a thread, and not another test."""
    return type(thread).__module__ == "pigpio"


def test_pigpio_has_a_thread_for_input_events(pigpiod: StandInPigpiod) -> None:
    """Else the next test would pass by looking for what never is."""
    connection = pigpio.pi("127.0.0.1", pigpiod.port)
    assert any(map(is_of_pigpio, threading.enumerate()))
    connection.stop()


def test_the_thread_for_input_events_ends_at_once(
    pigpiod: StandInPigpiod, servos: PigpioServos
) -> None:
    assert pigpiod.wait_until(lambda: pigpiod.clients == 1)
    assert comes_true(lambda: not any(map(is_of_pigpio, threading.enumerate())))


def test_servos_closed_before_they_were_connected_are_no_trouble() -> None:
    PigpioServos(PINS, "127.0.0.1", 20_000).close()


def test_a_port_where_nobody_listens_is_a_servo_error_without_a_banner(
    capfd: pytest.CaptureFixture[str],
) -> None:
    port = free_port()
    servos = PigpioServos(PINS, "127.0.0.1", port)
    for _ in range(3):
        error = assert_refused(servos.connect, QUICK)
        assert str(error) == f"no pigpiod answers at 127.0.0.1:{port}"
        assert_quick(servos.close)
    assert capfd.readouterr() == ("", "")


def test_a_host_without_an_address_is_a_servo_error() -> None:
    servos = PigpioServos(PINS, "no.such.host.invalid", 8888)
    assert "no.such.host.invalid:8888" in str(assert_refused(servos.connect, LIMIT))
    assert_quick(servos.close)


def test_a_daemon_that_does_not_let_us_in_is_a_servo_error() -> None:
    with StandInPigpiod(allowed={"192.0.2.1"}) as pigpiod:
        servos = PigpioServos(PINS, "127.0.0.1", pigpiod.port)
        assert_refused(servos.connect, QUICK)
        assert_quick(servos.close)


@pytest.mark.usefixtures("impatient")
def test_a_daemon_that_hangs_from_the_beginning_is_a_servo_error(pigpiod: StandInPigpiod) -> None:
    pigpiod.hang()
    servos = PigpioServos(PINS, "127.0.0.1", pigpiod.port)
    assert_refused(servos.connect)
    assert_quick(servos.close)
    pigpiod.resume()
    servos.connect()
    servos.close()
    assert pigpiod.wait_until(lambda: pigpiod.clients == 0)


def test_a_pin_that_pigpiod_does_not_give_out_is_a_servo_error() -> None:
    """It is a plain ValueError of gpiozero: TweetDock ended as if by a bug."""
    with StandInPigpiod(mask=1 << TWEETS) as pigpiod:
        servos = PigpioServos(PINS, "127.0.0.1", pigpiod.port)
        assert "no permission" in str(assert_refused(servos.connect, QUICK))
        servos.close()
        assert pigpiod.wait_until(lambda: pigpiod.clients == 0)


@pytest.mark.usefixtures("impatient")
@outages
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda servos: servos.point(0, us(45)), id="point"),
        pytest.param(lambda servos: servos.rest(0), id="rest"),
        pytest.param(lambda servos: servos.check(), id="check"),
    ],
)
def test_an_outage_is_a_servo_error_and_no_longer_than_it_lasts(
    pigpiod: StandInPigpiod,
    servos: PigpioServos,
    capfd: pytest.CaptureFixture[str],
    outage: str,
    call: Callable[[PigpioServos], None],
) -> None:
    servos.point(0, us(90))
    strike(pigpiod, outage)
    error = assert_refused(lambda: call(servos))
    assert str(error) == f"no pigpiod answers at 127.0.0.1:{pigpiod.port}"
    for _ in range(3):
        assert_refused(lambda: servos.point(0, us(45)), QUICK)
        assert_refused(lambda: servos.rest(0), QUICK)
        assert_refused(servos.check, QUICK)
    assert_quick(servos.close)
    mend(pigpiod, outage)
    servos.connect()
    servos.point(0, us(135))
    assert pigpiod.pulse_us(TWEETS) == 1750
    servos.close()
    assert pigpiod.wait_until(lambda: pigpiod.clients == 0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("impatient")
@outages
def test_an_outage_that_nobody_noticed_does_not_hinder_the_closing(
    pigpiod: StandInPigpiod, servos: PigpioServos, outage: str
) -> None:
    servos.point(0, us(90))
    servos.point(1, us(90))
    strike(pigpiod, outage)
    begun = time.monotonic()
    servos.close()
    assert time.monotonic() - begun < PATIENCE


@pytest.mark.usefixtures("impatient")
def test_late_answers_are_never_taken_for_the_next_ones(
    pigpiod: StandInPigpiod, servos: PigpioServos
) -> None:
    servos.point(0, us(90))
    pigpiod.hang()
    assert_refused(lambda: servos.point(0, us(45)))
    pigpiod.resume()
    assert_refused(lambda: servos.point(0, us(45)), QUICK)
    servos.close()
    servos.connect()
    servos.point(0, us(18))
    assert pigpiod.pulse_us(TWEETS) == 1100
    servos.rest(0)
    assert pigpiod.pulse_us(TWEETS) == 0


@pytest.mark.usefixtures("impatient")
def test_nothing_spins_while_the_daemon_is_away() -> None:
    with ExitStack() as stack:
        connected = []
        for outage in OUTAGES:
            pigpiod = stack.enter_context(StandInPigpiod())
            servos = PigpioServos(PINS, "127.0.0.1", pigpiod.port)
            servos.connect()
            servos.point(0, us(90))
            strike(pigpiod, outage)
            connected.append(servos)
        assert busy_share() < 0.2
        for servos in connected:
            assert_refused(servos.check)
            servos.close()
        assert busy_share() < 0.2


def test_fifty_outages_leave_nothing_behind(pigpiod: StandInPigpiod, servos: PigpioServos) -> None:
    threads = len(threading.enumerate())
    for _ in range(50):
        servos.point(0, us(90))
        pigpiod.drop()
        assert_refused(servos.check, QUICK)
        servos.close()
        servos.connect()
    assert pigpiod.wait_until(lambda: pigpiod.clients == 1)
    assert len(threading.enumerate()) <= threads


SCRIPT = """
import sys
from dials import PINS, us, dials
from tweetdock.core.errors import ServoError
from tweetdock.servos.pigpio import PigpioServos

both, ending = [], sys.argv[1]
for port in sys.argv[2:]:
    servos = PigpioServos(PINS, "127.0.0.1", int(port))
    servos.connect()
    servos.point(0, us(90))
    both.append(servos)
sys.stderr.write("pointed\\n")
sys.stderr.flush()
sys.stdin.readline()
for servos in both:
    if ending != "at once":
        try:
            servos.check()
        except ServoError:
            pass
    if ending == "closed":
        servos.close()
"""


# A socket that nobody has closed ends with its process.
WARNINGS = ("-W", "error", "-W", "ignore::ResourceWarning")


@pytest.mark.parametrize("ending", ["closed", "unclosed", "at once"])
def test_a_process_ends_without_a_complaint_whatever_became_of_its_daemons(ending: str) -> None:
    with ExitStack() as stack:
        pigpiods = {outage: stack.enter_context(StandInPigpiod()) for outage in ("none", *OUTAGES)}
        ports = [str(pigpiod.port) for pigpiod in pigpiods.values()]
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, *WARNINGS, "-c", SCRIPT, ending, *ports],
                env={"PYTHONPATH": ":".join(sys.path)},
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        assert process.stderr
        assert process.stderr.readline() == "pointed\n"
        for outage in OUTAGES:
            strike(pigpiods[outage], outage)
        assert process.communicate("\n", timeout=LIMIT) == ("", "")
        assert process.returncode == 0
