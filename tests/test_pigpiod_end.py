"""The end of a pigpiod that TweetDock has started: it gets its SIGTERM, and time, in any case."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from dials import LIMIT, comes_true
from needs import command_with_lock
from running import Running, environment
from standins import pigpiod as standin

if TYPE_CHECKING:
    from pathlib import Path

STOP_SECONDS = 5  # what docker's ten leave to the others


class Installed:
    """A machine that has the program, and the settings of a gauge which starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, programs = folder, folder / "log", folder / "programs"
        self.lock = folder / "pigpio.pid"
        programs.mkdir()
        self.program = standin.install(programs)
        self.env = {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PIGPIO_PORT": str(standin.free_port()),
            "STANDIN_PIGPIOD_LOG": str(self.log),
            "STANDIN_PIGPIOD_LOCK": str(self.lock),
            "TWEETDOCK_SERVO_BACKEND": "pigpio",
            "TWEETDOCK_SOURCES": "demo",
        }

    def running(self, first: str = "", **more: str) -> Running:
        argv = command_with_lock(self.lock, first=first)
        return Running(folder=self.folder, env=self.env | more, argv=argv)

    def run(self, **more: str) -> subprocess.CompletedProcess[str]:
        """Run to the end."""
        return subprocess.run(
            command_with_lock(self.lock),
            cwd=self.folder,
            env=environment(self.folder, self.env | more),
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    @property
    def story(self) -> list[object]:
        """What pigpiod has lived through: its start, a signal, and its end."""
        entries = standin.read_log(self.log)
        events = [entry for entry in entries if "event" in entry]
        return [entry.get("name") or entry["event"] for entry in events]

    @property
    def pid(self) -> int:
        entries = standin.read_log(self.log)
        return next(int(str(entry["pid"])) for entry in entries if "pid" in entry)


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return Installed(tmp_path)


def is_gone(pid: int) -> bool:
    """Whether a process has ended and nobody keeps its remains."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_pigpiod_that_is_slow_to_end_is_waited_for(installed: Installed) -> None:
    """With TweetDock its container ends, and what is killed there keeps graphics memory."""
    with installed.running(STANDIN_PIGPIOD_END_SECONDS="0.5") as tweetdock:
        tweetdock.wait_for("started pigpiod")
        tweetdock.wait_for("exact")
        assert tweetdock.stop(limit=STOP_SECONDS) == 0
    assert installed.story == ["start", "SIGTERM", "stop"]
    assert is_gone(installed.pid)
    assert "needles at rest" in tweetdock.log
    pulses = [entry for entry in standin.read_log(installed.log) if "us" in entry]
    ended_at = next(
        float(str(entry["t"]))
        for entry in standin.read_log(installed.log)
        if entry.get("event") == "signal"
    )
    assert {entry["us"] for entry in pulses[-2:]} == {0}
    assert max(float(str(entry["t"])) for entry in pulses) <= ended_at


def test_a_pigpiod_that_hangs_is_left_after_a_while_and_told_of(installed: Installed) -> None:
    shorter = "import tweetdock.servos.pigpio as p; p.END_SECONDS = 0.3"
    with installed.running(shorter) as tweetdock:
        tweetdock.wait_for("started pigpiod")
        tweetdock.wait_for("exact")
        os.kill(installed.pid, signal.SIGSTOP)
        try:
            assert tweetdock.stop(limit=STOP_SECONDS) == 0
            assert not is_gone(installed.pid)
        finally:
            os.kill(installed.pid, signal.SIGCONT)
    assert "pigpiod has not ended in 0.3 seconds" in tweetdock.log
    assert comes_true(lambda: installed.story == ["start", "SIGTERM", "stop"])


def test_a_bug_of_ours_ends_pigpiod_in_good_order(installed: Installed) -> None:
    broken = "from tweetdock.servos.pigpio import PigpioServos; PigpioServos.point = None"
    with installed.running(broken, STANDIN_PIGPIOD_END_SECONDS="0.3") as tweetdock:
        assert tweetdock.process.wait(LIMIT) == 1
        tweetdock.wait_for("'NoneType' object is not callable")
    assert installed.story == ["start", "SIGTERM", "stop"]


def test_what_pigpiod_refuses_is_told_with_its_cure_at_the_end(installed: Installed) -> None:
    bind = "bind to port 8888 failed (Address already in use)"
    said = f"2026-11-21 16:51:28 initInitialise: {bind}"
    more = {"STANDIN_PIGPIOD_REFUSE": said, "TWEETDOCK_SERVO_START_SECONDS": "0"}
    done = installed.run(**more)
    assert done.returncode == 69
    assert done.stderr.splitlines()[-1].endswith(
        f"TWEETDOCK_SERVO_BACKEND=pigpio: pigpiod ended at once: {bind}; another program has this "
        "port: set PIGPIO_PORT to a free one, such as 8889"
    )
