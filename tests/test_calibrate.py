"""`tweetdock calibrate` as a maker has it: a real terminal, keys, needles and a `.env` file."""

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
from dials import STEP_US, TWEETERS, TWEETS
from needs import command_with_lock
from running import command, environment, run
from standins.pigpiod import PulseChange, StandInPigpiod, free_port, install, read_log

from tweetdock.core.errors import UnavailableError
from tweetdock.keep.files import Lock

LIMIT = 15.0
LEFT, RIGHT, UP = "\x1b[D", "\x1b[C", "\x1b[A"
MOCK = {"TWEETDOCK_SERVO_BACKEND": "mock", "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
NOTHING: Mapping[str, str] = {}
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
    """Nothing else is set yet: a maker calibrates before he has credentials."""
    path = tmp_path / ".env"
    path.write_text("# mine\n\nTWEETDOCK_TWEETERS_PIN=19  # at the back\nTWEETDOCK_HASHTAGS=\n")
    path.chmod(0o600)
    with Sitting("tweeters", folder=tmp_path) as sitting:
        sitting.wait_for("not moved yet")
        assert "tweeters  GPIO 19, mock" in sitting.screen
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
        "TWEETDOCK_TWEETERS_MIN_PULSE_US=1031\nTWEETDOCK_TWEETERS_MAX_PULSE_US=1121\n"
        "TWEETDOCK_TWEETERS_REVERSED=1\n"
    )
    assert path.stat().st_mode & 0o777 == 0o600


def test_lines_can_be_printed_instead_of_saved(tmp_path: Path) -> None:
    with Sitting("--print", folder=tmp_path) as sitting:
        sitting.wait_for("not moved yet")
        sitting.press(RIGHT)
        sitting.wait_for("1010 µs  at rest")
        sitting.press("l", "s", "q")
        assert sitting.end() == 0
        assert sitting.process.stdout is not None
        assert sitting.process.stdout.read() == (
            "TWEETDOCK_TWEETS_MIN_PULSE_US=1010\nTWEETDOCK_TWEETS_MAX_PULSE_US=2000\n"
        )
    assert not (tmp_path / ".env").exists()


@pytest.mark.parametrize("out", [">/dev/full", ">&-", "| true"])
def test_lines_that_cannot_be_printed_are_said(tmp_path: Path, out: str) -> None:
    """The marks of a whole sitting were lost without a word."""
    line = f"{shlex.join(command('calibrate', '--print'))} {out}; exit ${{PIPESTATUS[0]}}"
    with Sitting(folder=tmp_path, argv=("bash", "-c", line)) as sitting:
        sitting.wait_for("not moved yet")
        sitting.press("x", "s", "q")
        assert sitting.end() == 69
        last = sitting.said.rpartition("\x1b[?1049l")[2]
        assert "the lines cannot be printed to standard output" in last
        assert "TWEETDOCK_TWEETS_REVERSED=1\r\n" in last
        assert "Error" not in last
        assert "Exception" not in last
        assert sitting.has_its_mode


def test_a_middle_that_was_nearly_halfway_does_not_keep_the_gauge_from_starting(
    tmp_path: Path,
) -> None:
    (tmp_path / ".env").write_text(
        "TWEETDOCK_TWEETS_MIN_PULSE_US=1000\nTWEETDOCK_TWEETS_MAX_PULSE_US=1100\n"
        "TWEETDOCK_TWEETS_MID_PULSE_US=1053 # by eye\n"
    )
    with Sitting(folder=tmp_path) as sitting:
        sitting.wait_for("not moved yet")
        sitting.press("2")
        sitting.wait_for("1053 µs  at rest")
        sitting.press("m", *[RIGHT] * 5)
        sitting.wait_for("1103 µs  at rest")
        sitting.press("l", *[RIGHT] * 6)
        sitting.wait_for("1163 µs  at rest")
        sitting.press("r", "s")
        sitting.wait_for("Saved in .env")
        sitting.press("q")
        assert sitting.end() == 0
    assert (tmp_path / ".env").read_text() == (
        "TWEETDOCK_TWEETS_MIN_PULSE_US=1103\nTWEETDOCK_TWEETS_MAX_PULSE_US=1163\n"
        "TWEETDOCK_TWEETS_MID_PULSE_US= # by eye\n"
    )
    assert run("face", "--full-scale", "500", folder=tmp_path).returncode == 0


def test_lines_that_cannot_be_saved_are_printed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("TWEETDOCK_TWEETS_PIN=18\n")
    (tmp_path / ".env").symlink_to("real")
    with Sitting(folder=tmp_path) as sitting:
        sitting.wait_for("GPIO 18")
        sitting.press("x", "s")
        sitting.wait_for("cannot be written")
        sitting.press("q", "q")
        assert sitting.end() == 69
        assert sitting.process.stdout is not None
        assert "TWEETDOCK_TWEETS_REVERSED=1\n" in sitting.process.stdout.read()
    assert (tmp_path / "real").read_text() == "TWEETDOCK_TWEETS_PIN=18\n"


def test_an_environment_that_overrules_the_file_is_told_of(tmp_path: Path) -> None:
    with Sitting(folder=tmp_path, env={"TWEETDOCK_TWEETS_REVERSED": "0"}) as sitting:
        sitting.wait_for("not moved yet")
        sitting.press("x", "s")
        sitting.wait_for("TWEETDOCK_TWEETS_REVERSED too")


def test_leaving_unsaved_marks_takes_a_second_q(tmp_path: Path) -> None:
    with Sitting(folder=tmp_path) as sitting:
        sitting.wait_for("not moved yet")
        sitting.press("x", "q")
        sitting.wait_for("Not all is saved")
        sitting.press("?")
        sitting.wait_for("any key goes back")
        sitting.press("q")
        sitting.wait_for("not moved yet")
        sitting.press("q", "q")
        assert sitting.end() == 0
        assert "left without saving" in sitting.said
        assert sitting.has_its_mode
    assert not (tmp_path / ".env").exists()


def test_no_needle_moves_by_itself_and_then_gently_and_home_at_the_end(
    pigpiod: StandInPigpiod, tmp_path: Path
) -> None:
    with Sitting(folder=tmp_path, env=at(pigpiod)) as sitting:
        sitting.wait_for("not moved yet")
        assert pigpiod.pulses == []
        sitting.press(*[RIGHT] * 10)
        sitting.wait_for("at rest")
        assert rests_at(pigpiod, 1100)
        sitting.press("2")
        sitting.wait_for("1500 µs  at rest")
        assert rests_at(pigpiod, 1500)
        sitting.press("q")
        assert sitting.end() == 0
    assert rests_at(pigpiod, 1000)
    assert changes(pigpiod, TWEETERS) == []
    assert pigpiod.clients == 0
    lengths = [change.pulse_us for change in changes(pigpiod) if change.pulse_us]
    assert lengths[0] == 1000
    # On the way to 1500 no frame is a jump, even if some came late.
    assert len(set(lengths)) > 20


def test_both_needles_go_home_if_both_were_moved(pigpiod: StandInPigpiod, tmp_path: Path) -> None:
    with Sitting("tweeters", folder=tmp_path, env=at(pigpiod)) as sitting:
        for pin in (TWEETERS, TWEETS):
            sitting.wait_for("not moved yet")
            sitting.press(*[RIGHT] * 5)
            sitting.wait_until(partial(rests_at, pigpiod, 1050, pin))
            sitting.press("\t")
        begun = time.monotonic()
        sitting.press("q")
        sitting.wait_until(lambda: rests_at(pigpiod, 1000) and rests_at(pigpiod, 1000, TWEETERS))
        assert sitting.end() == 0
    starts = {
        pin: next(c.at_monotonic for c in changes(pigpiod, pin) if c.at_monotonic > begun)
        for pin in (TWEETS, TWEETERS)
    }
    # Two servos that start together are too much for a Pi.
    assert abs(starts[TWEETS] - starts[TWEETERS]) > 0.05


def test_a_sweep_visits_all_marks_and_any_key_ends_it(
    pigpiod: StandInPigpiod, tmp_path: Path
) -> None:
    more = {"TWEETDOCK_TWEETS_MIN_PULSE_US": "1200", "TWEETDOCK_TWEETS_MAX_PULSE_US": "1400"}
    bent = more | {"TWEETDOCK_TWEETS_MID_PULSE_US": "1260"}
    with Sitting(folder=tmp_path, env=at(pigpiod, **bent)) as sitting:
        sitting.wait_for("not moved yet")
        sitting.press("t")
        sitting.wait_until(lambda: pigpiod.pulse_us(TWEETS) == 1400)
        sitting.wait_for("1200 µs  at rest")
        stands = [
            before.pulse_us
            for before, after in zip(changes(pigpiod), changes(pigpiod)[1:], strict=False)
            if after.pulse_us == 0
        ]
        assert stands == [1200, 1260, 1400, 1200]
        sitting.press("t", "3")
        sitting.wait_for("at rest")
        assert "sweeping" not in sitting.screen


@pytest.mark.parametrize("cause", [signal.SIGTERM, signal.SIGHUP, "\x03", "\x1c"], ids=repr)
def test_whatever_ends_it_the_needle_goes_home_and_the_terminal_is_given_back(
    pigpiod: StandInPigpiod, tmp_path: Path, cause: signal.Signals | str
) -> None:
    with Sitting(folder=tmp_path, env=at(pigpiod)) as sitting:
        sitting.wait_for("not moved yet")
        assert not sitting.has_its_mode
        sitting.press("x", "1")
        assert pigpiod.wait_until(lambda: pigpiod.pulse_us(TWEETS) > 1050, LIMIT)
        begun = time.monotonic()
        if isinstance(cause, signal.Signals):
            sitting.process.send_signal(cause)
        else:
            sitting.press(cause)
        assert sitting.end() == 130
        assert time.monotonic() - begun < 5
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


def test_ctrl_z_ends_the_pulses_and_fg_goes_on(pigpiod: StandInPigpiod, tmp_path: Path) -> None:
    # Nobody but a shell wakes who was stopped: without one the kernel stops nobody.
    shell = ("bash", "--norc", "--noprofile", "-i")
    env = at(pigpiod, TWEETDOCK_TWEETS_MAX_PULSE_US="1200")
    with Sitting(folder=tmp_path, env=env, argv=shell) as sitting:
        sitting.press(shlex.join(command("calibrate")) + "\n")
        sitting.wait_for("not moved yet")
        sitting.press("3")
        assert pigpiod.wait_until(lambda: pigpiod.pulse_us(TWEETS) > 1020, LIMIT)
        sitting.press("\x1a")
        sitting.wait_until(lambda: "Stopped" in sitting.said)
        assert pigpiod.pulse_us(TWEETS) == 0
        assert sitting.said.count("\x1b[?1049l") == 1
        sitting.press("fg\n")
        sitting.wait_for("1200 µs  at rest")
        assert rests_at(pigpiod, 1200)
        sitting.press("q")
        sitting.wait_until(lambda: sitting.said.count("\x1b[?1049l") == 2)


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


def test_a_limit_is_asked_about(pigpiod: StandInPigpiod, tmp_path: Path) -> None:
    env = at(pigpiod, TWEETDOCK_TWEETS_MIN_PULSE_US="510")
    with Sitting(folder=tmp_path, env=env) as sitting:
        sitting.wait_for("Most servos go here, not all")
        sitting.press(*[LEFT] * 20)
        sitting.wait_for("press it again to go on")
        sitting.wait_for("500 µs  at rest")
        assert rests_at(pigpiod, 500)
        # At the second press at the latest a second has passed since the one before.
        for _ in range(2):
            if "490 µs" not in sitting.screen:
                sitting.press(LEFT)
                sitting.read_for(1.2, "490 µs")
        sitting.wait_for("490 µs  at rest")
        assert "Few servos go here" in sitting.screen
        sitting.press("q")
        assert sitting.end() == 0
    assert min(change.pulse_us for change in changes(pigpiod) if change.pulse_us) == 490


def test_a_pigpiod_that_dies_is_told_of_and_asked_for_again(
    pigpiod: StandInPigpiod, tmp_path: Path
) -> None:
    with Sitting(folder=tmp_path, env=at(pigpiod)) as sitting:
        sitting.wait_for("not moved yet")
        sitting.press("x", RIGHT)
        pigpiod.kill()
        sitting.wait_for("trying again")
        pigpiod.revive()
        sitting.wait_until(lambda: "trying again" not in sitting.screen)
        sitting.press("3")
        sitting.wait_for("at rest")
        sitting.wait_for("not saved")
        sitting.press("q", "q")
        assert sitting.end() == 0


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
    argv = tuple(command_with_lock(lock, "calibrate"))
    try:
        with Sitting(folder=tmp_path, env=env, argv=argv) as sitting:
            sitting.wait_for("not moved yet")
            sitting.press("q")
            assert sitting.end() == 0
            assert sitting.has_its_mode
        told = "pigpiod has not ended in 2.2 seconds"
        assert sitting.said.count(told) == 1
        assert sitting.said.index("\x1b[?1049l") < sitting.said.index(told)
        assert [entry["name"] for entry in read_log(log) if "name" in entry] == ["SIGTERM"]
    finally:
        for entry in read_log(log):
            if "pid" in entry:
                os.kill(int(str(entry["pid"])), signal.SIGKILL)


def test_beside_a_gauge_it_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    lock = Lock(tmp_path / "state" / "lock")
    with Sitting(folder=tmp_path) as sitting:
        assert sitting.end() == 69
        assert "stop it first" in " ".join(sitting.said.split())
        assert sitting.has_its_mode
    lock.close()


def test_no_gauge_begins_beside_it(tmp_path: Path) -> None:
    with Sitting(folder=tmp_path) as sitting:
        sitting.wait_for("not moved yet")
        with pytest.raises(UnavailableError):
            Lock(tmp_path / "state" / "lock")
        sitting.press("q")
        assert sitting.end() == 0


def test_servos_out_of_reach_end_it_with_their_own_words(tmp_path: Path) -> None:
    port = str(free_port())
    env = {"TWEETDOCK_SERVO_BACKEND": "pigpio", "PIGPIO_ADDR": "127.0.0.1", "PIGPIO_PORT": port}
    with Sitting(folder=tmp_path, env=env) as sitting:
        assert sitting.end() == 69
        assert f"no pigpiod answers at 127.0.0.1:{port}" in sitting.said
        assert sitting.has_its_mode


def test_wrong_settings_of_a_dial_are_named_and_those_of_others_are_not(tmp_path: Path) -> None:
    env = {"TWEETDOCK_TWEETS_MIN_PULSE_US": "2500", "TWEETDOCK_POLL_SECONDS": "never"}
    done = run("calibrate", folder=tmp_path, env=env)
    assert done.returncode == 2
    assert "TWEETDOCK_TWEETS_MIN_PULSE_US=2500" in done.stderr
    assert "POLL" not in done.stderr


def test_without_a_terminal_it_says_that_it_needs_one(tmp_path: Path) -> None:
    done = run("calibrate", folder=tmp_path, env=MOCK)
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr
    assert "\x1b" not in done.stderr


def test_no_colour_is_shown_to_who_wants_none(tmp_path: Path) -> None:
    with Sitting(folder=tmp_path, env={"NO_COLOR": "1"}) as sitting:
        sitting.wait_for("q quit")
        assert not re.search(r"\x1b\[[0-9;]*m", sitting.said)
        sitting.press("q")
        assert sitting.end() == 0
    with Sitting(folder=tmp_path) as sitting:
        sitting.wait_for("q quit")
        assert "\x1b[1m" in sitting.said


def test_a_terminal_of_plain_characters_gets_no_others(tmp_path: Path) -> None:
    with Sitting(folder=tmp_path, env={"PYTHONIOENCODING": "ascii"}) as sitting:
        sitting.wait_for("1000 us")
        sitting.press("?")
        sitting.wait_for("any key goes back")
        assert sitting.said.isascii()
        assert "\\u" not in sitting.said
