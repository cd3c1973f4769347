"""A machine on which the stand-in is the program `pigpiod`, and a pigpiod of our own there."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dials import LIMIT, PINS
from standins.pigpiod import free_port, install, read_log

import tweetdock.servos.pigpiod
from tweetdock.servos.pigpio import PigpioServos
from tweetdock.servos.pigpiod import Pigpiod

QUICK = 1.5  # a few milliseconds' work, without waiting for an answer


class Machine:
    """A machine with the program installed: its log, its lock and our pigpiod on it."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.log, self.lock = folder / "bin", folder / "log", folder / "pigpio.pid"
        self.bin.mkdir()
        install(self.bin)
        self.port = free_port()
        self.pigpiod = Pigpiod(self.port)

    def entries(self, event: str) -> list[dict[str, object]]:
        return [entry for entry in read_log(self.log) if entry.get("event") == event]

    @property
    def pids(self) -> list[int]:
        """Every pigpiod that was started here so far, by its pid."""
        return [int(str(entry["pid"])) for entry in self.entries("start")]

    def servos(self) -> PigpioServos:
        """Servos that start this machine's pigpiod themselves."""
        servos = PigpioServos(PINS, "", self.port)
        servos._daemon = self.pigpiod  # the one that is looked at
        return servos

    def program(self, script: str) -> None:
        """Put a shell script in the place of pigpiod."""
        (self.bin / "pigpiod").write_text(f"#!/bin/sh\n{script}\n")


@contextlib.contextmanager
def machine_in(folder: Path) -> Iterator[Machine]:
    """A machine in our environment; nothing that was started there outlives it."""
    with pytest.MonkeyPatch.context() as patch:
        machine = Machine(folder)
        patch.setattr(tweetdock.servos.pigpiod, "LOCK", machine.lock)
        patch.setenv("PATH", str(machine.bin), prepend=os.pathsep)
        patch.setenv("STANDIN_PIGPIOD_LOG", str(machine.log))
        patch.setenv("STANDIN_PIGPIOD_LOCK", str(machine.lock))
        for name in ("PIGPIO_PORT", "PIGPIO_ADDR", "STANDIN_PIGPIOD_REFUSE"):
            patch.delenv(name, raising=False)
        yield machine
        child = machine.pigpiod._child
        if child is not None:
            child.kill()
            child.wait(LIMIT)


def stop_in_its_tracks(pid: int) -> None:
    """SIGSTOP, and wait until it has taken hold."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)


def in_time(limit: float, call: Callable[[], None]) -> None:
    """Call, and be back within so many seconds."""
    begun = time.monotonic()
    call()
    assert time.monotonic() - begun < limit
