"""The servos on lgpio: gpiozero's own code over a stand-in, and the real package without a chip."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import gpiozero.pins
import gpiozero.pins.local
import pytest
from dials import PINS, TWEETERS, TWEETS, us
from standins.lgpio import Pwm, StandInLgpio

import tweetdock.servos.lgpio
from tweetdock.core.errors import ServoError
from tweetdock.servos.choice import read_model
from tweetdock.servos.lgpio import INSTALLING, LgpioServos

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PI_5 = 0xD04170
FRAME_SECONDS = 0.02
CURE = "may this user open /dev/gpiochip*?"


@pytest.fixture
def chip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandInLgpio]:
    """A Pi 5's chip; gpiozero is loaded anew on it, and as it was afterwards."""
    chip = StandInLgpio()
    monkeypatch.setenv("LG_WD", str(tmp_path))
    monkeypatch.setattr(gpiozero.pins.local, "get_pi_revision", lambda: PI_5)
    before = {name: sys.modules.pop(name, None) for name in ("lgpio", "gpiozero.pins.lgpio")}
    sys.modules["lgpio"] = chip.module()
    yield chip
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


@pytest.fixture
def servos(chip: StandInLgpio) -> Iterator[LgpioServos]:
    servos = LgpioServos(PINS)
    servos.connect()
    yield servos
    servos.close()


def pulse_us(pwm: Pwm) -> float:
    return pwm.percent / 100 / pwm.hertz * 1e6 if pwm.hertz else 0.0


def calls(chip: StandInLgpio, gpio: int) -> list[Pwm]:
    return [pwm for pwm in chip.pwms if pwm.gpio == gpio]


def test_every_degree_has_a_place_of_its_own(chip: StandInLgpio, servos: LgpioServos) -> None:
    """A pin of gpiozero's own sends whole per cents: 11 places on a dial."""
    sent = []
    for angle in range(181):
        servos.point(0, us(angle))
        sent.append(chip.pwms[-1])
    lengths = [pulse_us(pwm) for pwm in sent]
    assert len({round(length) for length in lengths}) == 181
    for angle, length in enumerate(lengths):
        assert abs(length - us(angle)) <= 1.0
    assert {(pwm.gpio, pwm.hertz) for pwm in sent} == {(TWEETS, 50)}


def test_nothing_pulses_before_it_is_pointed(chip: StandInLgpio, servos: LgpioServos) -> None:
    servos.check()
    servos.rest(0)
    assert all(pulse_us(pwm) == 0 for pwm in chip.pwms)


def test_pulses_end_by_an_empty_one_first(chip: StandInLgpio, servos: LgpioServos) -> None:
    """Ended amid a pulse the line would stay high: lg drops its record at once."""
    begun = time.monotonic()
    for angle in (0, 90, 180):
        servos.point(0, us(angle))
        servos.rest(0)
        assert calls(chip, TWEETS)[-1].hertz == 0
    lives = [pwm for pwm in calls(chip, TWEETS) if pwm.at > begun]
    ends = [pair for pair in pairwise(lives) if pair[1].hertz == 0]
    assert len(ends) == 3
    for before, after in ends:
        assert (before.hertz, before.percent) == (50, 0)
        assert after.at - before.at >= 2 * FRAME_SECONDS + 0.005


def test_a_needle_at_rest_may_rest_again_at_once(
    chip: StandInLgpio, servos: LgpioServos, monkeypatch: pytest.MonkeyPatch
) -> None:
    servos.point(1, us(90))
    servos.rest(1)
    before = list(chip.pwms)
    monkeypatch.setattr(tweetdock.servos.lgpio, "TWO_FRAMES_SECONDS", 5.0)
    begun = time.monotonic()
    servos.rest(1)
    assert time.monotonic() - begun < 5.0
    assert chip.pwms == before


def test_close_ends_the_pulses_and_gives_the_chip_back(
    chip: StandInLgpio, servos: LgpioServos
) -> None:
    servos.point(0, us(90))
    servos.close()
    assert calls(chip, TWEETS)[-1].hertz == 0
    assert chip.chips == []
    servos.close()
    servos.connect()
    servos.point(0, us(90))
    assert pulse_us(chip.pwms[-1]) == pytest.approx(1500, abs=1)


def test_a_line_of_somebody_else_is_a_servo_error_until_it_is_free(chip: StandInLgpio) -> None:
    """The error of lgpio is a plain Exception: TweetDock ended as if by a bug."""
    chip.busy.add(TWEETERS)
    servos = LgpioServos(PINS)
    for _ in range(3):
        with pytest.raises(ServoError, match="GPIO busy"):
            servos.connect()
        servos.close()
        assert chip.chips == []
    chip.busy.clear()
    servos.connect()
    servos.point(1, us(90))
    assert pulse_us(chip.pwms[-1]) == pytest.approx(1500, abs=1)
    servos.close()


def test_a_line_lost_on_the_way_is_a_servo_error(chip: StandInLgpio, servos: LgpioServos) -> None:
    servos.point(0, us(90))
    chip.outputs.clear()
    with pytest.raises(ServoError, match="GPIO not set as an output"):
        servos.point(0, us(45))
    with pytest.raises(ServoError):
        servos.rest(0)
    chip.outputs.add(TWEETS)
    servos.close()
    assert chip.chips == []


def test_a_chip_that_cannot_be_opened_is_a_servo_error_with_the_cure(chip: StandInLgpio) -> None:
    chip.refused = "can not open gpiochip"
    servos = LgpioServos(PINS)
    with pytest.raises(ServoError) as caught:
        servos.connect()
    assert "can not open gpiochip" in str(caught.value)
    assert CURE in str(caught.value)
    servos.close()


def test_a_missing_package_is_a_servo_error_that_says_how_it_is_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LG_WD", str(tmp_path))
    monkeypatch.setitem(sys.modules, "lgpio", None)
    servos = LgpioServos(PINS)
    with pytest.raises(ServoError) as caught:
        servos.connect()
    assert str(caught.value) == f"lgpio: the package is not installed; {INSTALLING}"
    servos.close()


SCRIPT = """
import os
from dials import PINS, us, dials
import tweetdock.servos.lgpio
from tweetdock.core.errors import ServoError
from tweetdock.servos.lgpio import LgpioServos

before = os.getcwd()
servos = LgpioServos(PINS)
for _ in range(2):
    try:
        servos.connect()
    except ServoError as error:
        print(error)
    servos.close()
assert os.getcwd() == before, "the working folder has changed"
"""
needs_lgpio = pytest.mark.skipif(
    importlib.util.find_spec("lgpio") is None, reason="lgpio has no wheel for this Python"
)
needs_no_pi = pytest.mark.skipif(bool(read_model()), reason="on a board it would get the pins")


@needs_lgpio
@needs_no_pi
@pytest.mark.parametrize("is_writable", [True, False], ids=["writable", "read-only"])
def test_the_real_package_without_a_chip_is_a_servo_error_and_leaves_nothing_behind(
    tmp_path: Path, *, is_writable: bool
) -> None:
    """At import it changed to LG_WD for good: every relative path led elsewhere from then on."""
    work, pipes = tmp_path / "work", tmp_path / "pipes"
    work.mkdir(0o777 if is_writable else 0o555)
    pipes.mkdir()
    environ = {name: value for name, value in os.environ.items() if name != "LG_WD"}
    environ |= {"PYTHONPATH": ":".join(sys.path), "TMPDIR": str(pipes)}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        cwd=work,
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert len(run.stdout.splitlines()) == 2
    assert all(CURE in line for line in run.stdout.splitlines())
    assert list(work.iterdir()) == []
