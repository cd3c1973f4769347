"""Servos on a pigpiod that is found or started, dies, hangs, and is started again."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from dials import LIMIT, PINS, TWEETS, comes_true, dials, us
from needs import with_ipv6
from pigpiod_machine import QUICK, Machine, in_time, machine_in, stop_in_its_tracks
from standins.pigpiod import StandInPigpiod, read_log

import tweetdock.servos.pigpio
import tweetdock.servos.pigpiod
from tweetdock.core.errors import ServoError
from tweetdock.servos.needles import NeedleThread
from tweetdock.servos.pigpio import PigpioServos
from tweetdock.servos.pigpiod import Pigpiod, is_answering

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tweetdock.threads import Crash


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with machine_in(tmp_path) as machine:
        yield machine


def test_servos_start_a_pigpiod_and_end_it(machine: Machine) -> None:
    servos = machine.servos()
    servos.connect()
    servos.point(0, us(90))
    servos.rest(0)
    servos.close()
    servos.end()
    assert machine.entries("stop")
    assert len(machine.pids) == 1
    pulses = [(entry["gpio"], entry["us"]) for entry in read_log(machine.log) if "us" in entry]
    assert pulses == [(TWEETS, 1500.0), (TWEETS, 0.0)]


def test_servos_use_a_pigpiod_that_runs_already(machine: Machine) -> None:
    with StandInPigpiod(machine.port) as running:
        servos = machine.servos()
        servos.connect()
        servos.point(0, us(90))
        assert running.pulse_us(TWEETS) == 1500
        servos.close()
        servos.end()
    assert machine.pids == []


@with_ipv6
def test_servos_use_the_pigpiod_of_the_system_which_listens_at_ipv6_only(machine: Machine) -> None:
    """Raspberry Pi OS runs `pigpiod -l`: a second one met "Can't lock /var/run/pigpio.pid"."""
    with StandInPigpiod(machine.port, address="::1") as running:
        servos = machine.servos()
        servos.connect()
        servos.point(0, us(90))
        assert running.pulse_us(TWEETS) == 1500
        running.drop()
        with pytest.raises(ServoError, match=rf"no pigpiod answers at \[::1\]:{machine.port}$"):
            servos.check()
        servos.close()
        servos.connect()
        servos.point(0, us(45))
        assert running.pulse_us(TWEETS) == 1250
        servos.close()
    assert machine.pids == []
    servos.connect()
    servos.point(0, us(45))
    assert len(machine.pids) == 1
    servos.close()
    servos.end()


@with_ipv6
def test_a_pigpiod_that_was_started_with_l_is_found(machine: Machine) -> None:
    words = [str(machine.bin / "pigpiod"), "-g", "-l", "-p", str(machine.port)]
    with subprocess.Popen(words) as process:
        try:
            assert comes_true(lambda: is_answering("::1", machine.port))
            assert not is_answering("127.0.0.1", machine.port)
            servos = machine.servos()
            servos.connect()
            servos.close()
            servos.end()
            assert machine.pids == [process.pid]
        finally:
            process.kill()


def test_a_pigpiod_elsewhere_is_never_started_here(machine: Machine) -> None:
    servos = PigpioServos(PINS, "127.0.0.1", machine.port)
    with pytest.raises(ServoError, match="no pigpiod answers"):
        servos.connect()
    servos.close()
    servos.end()
    assert machine.pids == []


def test_a_killed_pigpiod_is_started_again_by_the_next_connect(machine: Machine) -> None:
    servos = machine.servos()
    servos.connect()
    for turn in range(1, 3):
        servos.point(0, us(90))
        os.kill(machine.pids[-1], signal.SIGKILL)
        os.waitid(os.P_PID, machine.pids[-1], os.WEXITED | os.WNOWAIT)
        with pytest.raises(ServoError):
            servos.check()
        servos.close()
        assert len(machine.pids) == turn
        servos.connect()
        assert len(machine.pids) == turn + 1
        servos.point(0, us(45))
    servos.close()
    servos.end()
    assert comes_true(lambda: bool(machine.entries("stop")))


def test_a_pigpiod_that_hangs_is_killed_and_started_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tweetdock.servos.pigpio, "COMMAND_SECONDS", 0.3)
    monkeypatch.setattr(tweetdock.servos.pigpiod, "PROBE_SECONDS", 0.5)
    monkeypatch.setattr(tweetdock.servos.pigpiod, "HUNG_SECONDS", 0.2)
    servos = machine.servos()
    servos.connect()
    stop_in_its_tracks(machine.pids[0])
    with pytest.raises(ServoError):
        servos.check()
    in_time(QUICK, servos.close)
    in_time(LIMIT, servos.connect)
    servos.point(0, us(45))
    assert len(machine.pids) == 2
    with pytest.raises(ProcessLookupError):
        os.kill(machine.pids[0], 0)
    servos.close()
    servos.end()


def needles_on(servos: PigpioServos) -> NeedleThread:
    def raise_it(crash: Crash) -> None:
        raise crash.error

    return NeedleThread(servos, dials(), raise_it)


def test_a_pigpiod_that_is_still_starting_does_not_outlive_the_needles(
    machine: Machine, tmp_path: Path
) -> None:
    begun = tmp_path / "pid"
    machine.program(f"echo $$ >{begun}.new\nmv {begun}.new {begun}\nexec sleep 60")
    needles = needles_on(machine.servos())
    assert comes_true(begun.exists)
    assert not needles.stop(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)
    assert needles.stop(LIMIT)


def test_servos_that_cannot_be_had_end_pigpiod_in_good_order(machine: Machine) -> None:
    """Here a pin that pigpiod may not touch, by an option of the owner's."""
    machine.pigpiod = Pigpiod(machine.port, ("-x", "0x1"))
    needles = needles_on(machine.servos())
    assert comes_true(lambda: "no permission to update GPIO" in needles.trouble)
    assert needles.stop(LIMIT)
    assert [entry["name"] for entry in machine.entries("signal")] == ["SIGTERM"]
    assert machine.entries("stop")
