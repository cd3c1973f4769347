"""`tweetdock calibrate` from outside: a real terminal, signals, pigpiod and a `.env` file."""

import argparse
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from dials import STEP_US, TWEETS
from needs import command_with_lock
from running import command, environment
from standins.pigpiod import PulseChange, StandInPigpiod, free_port, install, read_log

from tweetdock.commands import calibrate
from tweetdock.core.errors import SettingsError, UnavailableError
from tweetdock.keep.files import Lock

LIMIT = 15.0
RIGHT, UP = "\x1b[C", "\x1b[A"
MOCK = {"TWEETDOCK_SERVO_BACKEND": "mock", "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
NOTHING: Mapping[str, str] = {}
ARGUMENTS = argparse.Namespace(dial="tweets", prints=False)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Sitting:
    """The command in a terminal of its own, whose owner presses keys and reads the screen."""

    def __init__(
        self,
        *words: str,
        folder: Path,
        env: Mapping[str, str] = NOTHING,
        argv: tuple[str, ...] = (),
    ) -> None:
        self.terminal, theirs = pty.openpty()
        termios.tcsetwinsize(self.terminal, (24, 80))
        self._name = os.ttyname(theirs)
        self.mode: list[Any] = termios.tcgetattr(self.terminal)
        self._said = b""
        # The shell of a terminal makes it its own: only then Ctrl-C and Ctrl-Z are signals.
        script = (
            "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            "os.execvp(sys.argv[1], sys.argv[1:])"
        )
        self.process = subprocess.Popen(
            [*command()[:1], "-c", script, *(argv or command("calibrate", *words))],
            cwd=folder,
            env=environment(folder, MOCK | dict(env)),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self.terminal)

    @property
    def said(self) -> str:
        """All that came to the terminal, with its escapes."""
        return self._said.decode("utf-8", "replace")

    @property
    def screen(self) -> str:
        """What is to be seen now."""
        whole = [frame for frame in self.said.split("\x1b[H") if "\x1b[J" in frame]
        return ESCAPES.sub("", whole[-1]) if whole else ""

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            os.write(self.terminal, key.encode())

    def clog(self) -> None:
        """Fill the terminal, so that nothing more can be written until it is read."""
        theirs = os.open(self._name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with suppress(BlockingIOError):
            while True:
                os.write(theirs, b"." * 1000)
        os.close(theirs)

    def wait_for(self, words: str, limit: float = LIMIT) -> None:
        """Read on until the screen has the words."""
        self.wait_until(lambda: words in self.screen, limit)

    def wait_until(self, condition: Callable[[], bool], limit: float = LIMIT) -> None:
        """Read on until a condition holds."""
        end = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < end, self.said[-3000:]
            self._read(0.02)

    def read_for(self, seconds: float, words: str) -> None:
        """Read on so long, or until the screen has the words."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and words not in self.screen:
            self._read(0.02)

    def end(self, limit: float = LIMIT) -> int:
        """Read on until it has ended; its exit code."""
        self.wait_until(lambda: self.process.poll() is not None, limit)
        self._read(0.0)
        return self.process.returncode

    @property
    def has_its_mode(self) -> bool:
        """Whether the terminal is set as before."""
        return termios.tcgetattr(self.terminal) == self.mode

    def _read(self, seconds: float) -> None:
        ready, _, _ = select.select([self.terminal], [], [], seconds)
        if ready:
            try:
                self._said += os.read(self.terminal, 65_536)
            except OSError:  # the other side is closed
                self.process.poll()


@pytest.fixture
def pigpiod() -> Iterator[StandInPigpiod]:
    with StandInPigpiod() as pigpiod:
        yield pigpiod


def at(pigpiod: StandInPigpiod, **more: str) -> dict[str, str]:
    where = {"PIGPIO_ADDR": "127.0.0.1", "PIGPIO_PORT": str(pigpiod.port)}
    return {"TWEETDOCK_SERVO_BACKEND": "pigpio", **where, **more}


def changes(pigpiod: StandInPigpiod, pin: int = TWEETS) -> list[PulseChange]:
    return [change for change in pigpiod.pulses if change.gpio == pin]


def rests_at(pigpiod: StandInPigpiod, pulse_us: float, pin: int = TWEETS) -> bool:
    lengths = [change.pulse_us for change in changes(pigpiod, pin)]
    return lengths[-1:] == [0] and abs(lengths[-2] - pulse_us) < STEP_US


def test_marks_are_saved_and_all_else_in_the_file_stays(tmp_path: Path) -> None:
    """Nothing else is set yet: a maker calibrates before he has credentials.

    No gauge begins meanwhile, and no colour is shown to who wants none.
    """
    path = tmp_path / ".env"
    path.write_text("# mine\n\nTWEETDOCK_TWEETERS_PIN=19  # at the back\nTWEETDOCK_HASHTAGS=\n")
    path.chmod(0o600)
    with Sitting("tweeters", folder=tmp_path, env={"NO_COLOR": "1"}) as sitting:
        sitting.wait_for("not moved yet")
        assert "tweeters  GPIO 19, mock" in sitting.screen
        assert not re.search(r"\x1b\[[0-9;]*m", sitting.said)
        with pytest.raises(UnavailableError):
            Lock(tmp_path / "state")
        sitting.press(*[RIGHT] * 3, UP)
        sitting.wait_for("1031 µs  at rest")
        sitting.press("r")
        sitting.wait_for("Right stop: 1031")
        sitting.press(*[RIGHT] * 9)
        sitting.wait_for("1121 µs  at rest")
        sitting.press("l", "s")
        sitting.wait_for("Saved in .env")
        sitting.press("q")
        assert sitting.end() == 0
    assert path.read_text() == (
        "# mine\n\nTWEETDOCK_TWEETERS_PIN=19  # at the back\nTWEETDOCK_HASHTAGS=\n"
        "TWEETDOCK_TWEETERS_MIN_PULSE_US=1031\nTWEETDOCK_TWEETERS_MID_PULSE_US=\n"
        "TWEETDOCK_TWEETERS_MAX_PULSE_US=1121\nTWEETDOCK_TWEETERS_REVERSED=1\n"
    )
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("out", "code"),
    [(">/dev/full", 69), (">&-", 0), pytest.param("| true", 0, marks=pytest.mark.thorough)],
)
def test_lines_that_cannot_be_printed_are_said(tmp_path: Path, out: str, code: int) -> None:
    """The marks of a whole sitting were lost without a word."""
    line = f"{shlex.join(command('calibrate', '--print'))} {out}; exit ${{PIPESTATUS[0]}}"
    with Sitting(folder=tmp_path, argv=("bash", "-c", line)) as sitting:
        sitting.wait_for("not moved yet")
        sitting.press("x", "s", "q")
        assert sitting.end() == code
        last = sitting.said.rpartition("\x1b[?1049l")[2]
        assert "TWEETDOCK_TWEETS_REVERSED=1\r\n" in last
        assert "Error" not in last
        assert "Exception" not in last
        assert sitting.has_its_mode


# That each signal comes as a key stands in test_calibrate_terminal.py.
@pytest.mark.parametrize(
    "cause",
    [
        pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.thorough),
        pytest.param("\x03", id="Ctrl-C"),
        pytest.param(signal.SIGHUP, id="SIGHUP", marks=pytest.mark.thorough),
        pytest.param("\x1c", id="Ctrl-backslash", marks=pytest.mark.thorough),
    ],
)
def test_whatever_ends_it_the_needle_goes_home_and_the_terminal_is_given_back(
    pigpiod: StandInPigpiod, tmp_path: Path, cause: signal.Signals | str
) -> None:
    with Sitting(folder=tmp_path, env=at(pigpiod)) as sitting:
        sitting.wait_for("not moved yet")
        assert not sitting.has_its_mode
        sitting.press("x", "1")
        assert pigpiod.wait_until(lambda: pigpiod.pulse_us(TWEETS) > 1050, LIMIT)
        if isinstance(cause, signal.Signals):
            sitting.process.send_signal(cause)
        else:
            sitting.press(cause)
        # It takes 1.5 seconds at most; a busy machine gets ten times that.
        assert sitting.end() == 130
        assert sitting.has_its_mode
        assert sitting.said.count("\x1b[?1049h") == sitting.said.count("\x1b[?1049l") == 1
        assert "left without saving" in sitting.said
    # The zero that is set, since the turn was not saved.
    assert rests_at(pigpiod, 1000)


def test_a_terminal_that_is_gone_leaves_no_pulses_behind(
    pigpiod: StandInPigpiod, tmp_path: Path
) -> None:
    """After a lost ssh connection the servo went on to be held by pigpiod, and hot."""
    sitting = Sitting(folder=tmp_path, env=at(pigpiod))
    try:
        sitting.wait_for("not moved yet")
        sitting.press("3")
        assert pigpiod.wait_until(lambda: pigpiod.pulse_us(TWEETS) > 1020, LIMIT)
        os.close(sitting.terminal)
        assert sitting.process.wait(LIMIT) == 130
    finally:
        sitting.process.kill()
        sitting.process.communicate()
    assert rests_at(pigpiod, 1000)


def test_a_line_that_is_stuck_does_not_hold_up_the_needle(
    pigpiod: StandInPigpiod, tmp_path: Path
) -> None:
    """Amid a move it waited for its terminal, and the servo for the next frame."""
    with Sitting(folder=tmp_path, env=at(pigpiod, TWEETDOCK_TWEETS_MAX_PULSE_US="1200")) as sitting:
        sitting.wait_for("not moved yet")
        sitting.clog()
        sitting.press("3")
        assert pigpiod.wait_until(partial(rests_at, pigpiod, 1200), LIMIT)
        sitting.wait_for("1200 µs  at rest")
        sitting.clog()
        sitting.process.terminate()
        assert sitting.process.wait(LIMIT) == 130
    assert rests_at(pigpiod, 1000)


def test_a_pigpiod_of_its_own_that_is_slow_to_end_is_waited_for_once_and_behind_the_screen(
    tmp_path: Path,
) -> None:
    """It was waited for twice, and told of twice, on a screen that stood still."""
    programs, log, lock = tmp_path / "programs", tmp_path / "log", tmp_path / "pigpio.pid"
    programs.mkdir()
    install(programs)
    env = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PIGPIO_PORT": str(free_port()),
        "STANDIN_PIGPIOD_END_SECONDS": "60",
        "STANDIN_PIGPIOD_LOCK": str(lock),
        "STANDIN_PIGPIOD_LOG": str(log),
        "TWEETDOCK_SERVO_BACKEND": "pigpio",
    }
    shorter = "import tweetdock.servos.pigpio as p; p.END_SECONDS = 0.3"
    argv = tuple(command_with_lock(lock, "calibrate", first=shorter))
    try:
        with Sitting(folder=tmp_path, env=env, argv=argv) as sitting:
            sitting.wait_for("not moved yet")
            sitting.press("q")
            assert sitting.end() == 0
            assert sitting.has_its_mode
        told = "pigpiod has not ended in 0.3 seconds"
        assert sitting.said.count(told) == 1
        assert sitting.said.index("\x1b[?1049l") < sitting.said.index(told)
        assert [entry["name"] for entry in read_log(log) if "name" in entry] == ["SIGTERM"]
    finally:
        for entry in read_log(log):
            if "pid" in entry:
                os.kill(int(str(entry["pid"])), signal.SIGKILL)


def test_beside_a_gauge_it_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    lock = Lock(tmp_path / "state")
    with Sitting(folder=tmp_path) as sitting:
        assert sitting.end() == 69
        assert "stop it first" in " ".join(sitting.said.split())
        assert sitting.has_its_mode
    lock.close()


def test_servos_out_of_reach_end_it_with_their_own_words(tmp_path: Path) -> None:
    port = str(free_port())
    env = {"TWEETDOCK_SERVO_BACKEND": "pigpio", "PIGPIO_ADDR": "127.0.0.1", "PIGPIO_PORT": port}
    with Sitting(folder=tmp_path, env=env) as sitting:
        assert sitting.end() == 69
        assert f"no pigpiod answers at 127.0.0.1:{port}" in sitting.said
        assert sitting.has_its_mode


def test_wrong_settings_of_a_dial_are_named_and_those_of_others_are_not() -> None:
    env = {"TWEETDOCK_TWEETS_MIN_PULSE_US": "2500", "TWEETDOCK_POLL_SECONDS": "never"}
    with pytest.raises(SettingsError) as caught:
        calibrate.run(ARGUMENTS, env)
    (problem,) = caught.value.problems
    assert "TWEETDOCK_TWEETS_MIN_PULSE_US=2500" in str(problem)


def test_without_a_terminal_it_says_that_it_needs_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate.run(ARGUMENTS, MOCK) == 2
    error = capsys.readouterr().err
    assert "needs a terminal" in error
    assert "\x1b" not in error
