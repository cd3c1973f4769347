"""The command `calibrate`: finds the pulses of each servo's ends, with the keyboard."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from tweetdock.commands import calibrate_terminal as keys
from tweetdock.commands.calibrate_panel import View, help_text, panel
from tweetdock.commands.calibrate_terminal import Keyboard, Screen
from tweetdock.commands.output import (
    EXIT_INTERRUPTED,
    EXIT_SETTINGS,
    EXIT_UNAVAILABLE,
    complain,
    discard,
    is_able,
)
from tweetdock.core.dial import DIALS
from tweetdock.core.errors import ServoError, UnavailableError
from tweetdock.keep.lock import STATE_LOCK, Lock
from tweetdock.servos.calibration import Calibration, DialPoint, Marks
from tweetdock.servos.choice import make_servos, read_model
from tweetdock.servos.needle import CHECK_SECONDS, FRAME_SECONDS, STEP_US
from tweetdock.servos.needles import Bench
from tweetdock.settings.env_file import ENV_FILE, save
from tweetdock.settings.gauge import Settings

PANEL_SECONDS = 0.08  # over a slow line a needle on its way must not outrun its picture
NUDGES = {"right": 10, "left": -10, "up": 1, "down": -1, ".": 1, ",": -1}
POINTS = {point.letter.lower(): point for point in DialPoint}
REMARKS = {"pigpio": f", steps of {STEP_US:g} µs", "mock": ", no servo moves"}
GOALS = dict(zip("123", DialPoint, strict=True))
# What is wrong with the other settings is up to the gauge: there may be no credentials yet.
_READ = (
    "TWEETDOCK_TWEETS_",
    "TWEETDOCK_TWEETERS_",
    "TWEETDOCK_SERVO_",
    "TWEETDOCK_PIGPIOD_",
    "PIGPIO_",
    "TWEETDOCK_STATE_DIR",
    "XDG_STATE_HOME",
)


def describe(parser: argparse.ArgumentParser) -> None:
    """Add its arguments to a parser."""
    parser.description = (
        "Find the pulses of each servo's ends with the keyboard: arrows turn the needle, keys mark "
        "where the dial begins and ends. s saves the settings in .env, in this folder."
    )
    parser.epilog = "Stop the gauge first. The key ? tells how it is done."
    parser.add_argument(
        "dial", nargs="?", choices=DIALS, default=DIALS[0], help="the dial to begin with (tweets)"
    )
    parser.add_argument(
        "--print",
        dest="prints",
        action="store_true",
        help="print the lines at the end instead of saving them in .env",
    )


def run(arguments: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Calibrate until the owner leaves; returns the exit code, or raises SettingsError."""
    settings = Settings.from_env(env, about=_READ)
    if not (os.isatty(0) and is_able(sys.stderr, env)):
        complain("calibrate needs a terminal, for its keys; over ssh: ssh -t")
        return EXIT_SETTINGS
    calibrations = [Calibration(Marks.of(dial)) for dial in settings.dials.values()]
    servos = make_servos(settings, read_model())
    bench = Bench(servos, [calibration.target_us for calibration in calibrations])
    saver = Saver(None if arguments.prints else Path.cwd() / ENV_FILE, calibrations)
    session = CalibrationSession(
        settings, bench, calibrations, saver.save, DIALS.index(arguments.dial)
    )
    try:
        with _alone(settings.keep.state_dir), closing(bench):
            bench.connect()
            with Keyboard(0) as keyboard, Screen(sys.stderr, os.environ) as screen:
                session.run(keyboard, screen, time.monotonic)
                are_home = bench.go_back([calibration.home_us for calibration in calibrations])
    except (ServoError, UnavailableError) as error:
        complain(error)
        return EXIT_UNAVAILABLE
    try:
        if not are_home:
            complain(f"needles not at rest: {bench.trouble or 'there was not enough time'}")
        code = saver.report()
        sys.stderr.flush()
    except OSError:
        discard(sys.stdout, sys.stderr)  # the terminal is gone
        return EXIT_INTERRUPTED
    return code or (EXIT_INTERRUPTED if session.was_interrupted else 0)


class CalibrationSession:
    """Keys in, needles and panel out; `save` saves all dials' marks and returns what to show."""

    def __init__(
        self,
        settings: Settings,
        bench: Bench,
        calibrations: Sequence[Calibration],
        save: Callable[[], str],
        number: int,
    ) -> None:
        self._dials = (settings.tweets, settings.tweeters)
        self._bench = bench
        self._calibrations = calibrations
        self._save = save
        self._number = number
        self._is_helping = False
        self._is_leaving = False
        self._is_over = False
        self._drawn_at = float("-inf")
        self.was_interrupted = False

    def run(self, keyboard: Keyboard, screen: Screen, monotonic: Callable[[], float]) -> None:
        """Handle keys, move needles and show both until the owner leaves or somebody ends it."""
        seconds = CHECK_SECONDS
        self._draw(screen)
        while not self._is_over:
            pressed = keyboard.wait(seconds)
            now = monotonic()
            for key in pressed:
                if not self._is_over:
                    self._handle(key, now, keyboard, screen)
            seconds = self._bench.turn(now)
            if self._goes_on():
                seconds = FRAME_SECONDS
            if pressed or seconds > FRAME_SECONDS or now - self._drawn_at >= PANEL_SECONDS:
                self._drawn_at = now
                self._draw(screen)
        self._calibration.note, self._is_helping = "The needles go to zero.", False
        self._draw(screen)

    @property
    def _calibration(self) -> Calibration:
        return self._calibrations[self._number]

    def _handle(self, key: str, now: float, keyboard: Keyboard, screen: Screen) -> None:
        if key in (keys.INTERRUPT, keys.HANG_UP):
            self.was_interrupted = self._is_over = True
        elif key == keys.SUSPEND:
            self._bench.pause()
            screen.close()
            keyboard.sleep()
            screen.open()
        elif key == keys.RESUME:
            keyboard.set_raw()
            screen.open()
        elif key == keys.RESIZE:
            screen.forget()
        elif self._is_helping:
            self._is_helping = False
        else:
            self._press(key, now)

    def _press(self, key: str, now: float) -> None:
        calibration, number, is_asked = self._calibration, self._number, self._is_leaving
        calibration.note, self._is_leaving = "", False
        needle = self._bench.needles[number]
        at_us = round(needle.pulse_us)
        was_at = calibration.target_us
        if calibration.is_sweeping and key not in ("q", "s", "?"):
            calibration.halt(at_us)
        elif key in NUDGES:
            calibration.nudge(NUDGES[key], at_us, now)
        elif key in POINTS:
            calibration.mark(POINTS[key], at_us if needle.was_moved else None)
        elif key in GOALS:
            calibration.go(GOALS[key])
        elif key in ("space", keys.ESCAPE):
            calibration.halt(at_us)
        elif key == "q":
            self._leave(is_asked=is_asked)
        else:
            self._command(key)
        moves = key in NUDGES or key in GOALS or key == "t"
        if moves or calibration.target_us != was_at:
            self._bench.send(number, calibration.target_us)

    def _command(self, key: str) -> None:
        calibration = self._calibration
        if key == "t":
            calibration.sweep()
        elif key == "x":
            calibration.reverse()
        elif key == "u":
            calibration.undo()
        elif key == "s":
            calibration.note = self._saved()
        elif key == "tab":
            self._number = 1 - self._number
            self._calibration.note = ""
        elif key == "?":
            self._is_helping = True
        else:
            calibration.note = "This key does nothing; ? tells which do what."

    def _saved(self) -> str:
        for dial, calibration in zip(DIALS, self._calibrations, strict=True):
            if calibration.unsaved and calibration.marks.trouble:
                return f"Not saved, {dial}: {calibration.marks.trouble}"
        return self._save()

    def _leave(self, *, is_asked: bool) -> None:
        self._is_over = is_asked or not any(
            calibration.unsaved for calibration in self._calibrations
        )
        self._is_leaving = True
        if not self._is_over:
            self._calibration.note = "Not all is saved: s saves it, q again leaves without."

    def _goes_on(self) -> bool:
        """Whether a sweep goes on now, from the mark that it has reached to the next one."""
        if not (self._calibration.is_sweeping and self._bench.needles[self._number].is_still):
            return False
        self._calibration.arrive()
        self._bench.send(self._number, self._calibration.target_us)
        return self._calibration.is_sweeping

    def _draw(self, screen: Screen) -> None:
        width, _ = screen.size()
        if self._is_helping:
            screen.show(help_text(width))
            return
        number, other = self._number, 1 - self._number
        needle, moves_by = self._bench.needles[number], self._bench.name
        view = View(
            name=DIALS[number],
            other=DIALS[other],
            servos=moves_by + REMARKS.get(moves_by, ""),
            dial=self._dials[number],
            calibration=self._calibration,
            at_us=round(needle.pulse_us) if needle.was_moved else None,
            is_resting=needle.is_still,
            trouble=self._bench.trouble,
            other_is_unsaved=bool(self._calibrations[other].unsaved),
        )
        screen.show(panel(view, width))


class Saver:
    """Saves what is marked in `.env`, and keeps the lines that are not to be, or cannot be saved.

    path: None to print all of them.
    """

    def __init__(self, path: Path | None, calibrations: list[Calibration]) -> None:
        self._path = path
        self._calibrations = calibrations
        self._lines: dict[str, str] = {}

    def save(self) -> str:
        """Save the marks of all dials; what to show the owner."""
        self._lines |= self._unsaved()
        if not self._lines:
            return "There is nothing to save: all is as it was."
        for calibration in self._calibrations:
            calibration.save()
        if self._path is None:
            return "Kept. The lines are printed when you leave."
        try:
            save(self._path, self._lines)
        except OSError as error:
            why = error.strerror or str(error)
            return f"{ENV_FILE} cannot be written: {why}. The lines are printed when you leave."
        message = f"Saved in {ENV_FILE}.{_overruled(self._lines)}"
        self._lines.clear()
        return message

    def report(self) -> int:
        """Print the lines that are not saved; the exit code for that.

        Raises OSError if the terminal is gone.
        """
        text = "".join(f"{name}={value}\n" for name, value in self._lines.items())
        is_printed = not text or _is_printed(text)
        if not is_printed:
            complain("the lines cannot be printed to standard output; they are")
            sys.stderr.write(text)
        has_failed = bool(text) and self._path is not None
        if has_failed:
            complain(f"{ENV_FILE} cannot be written; put these lines into it yourself")
        if unsaved := self._unsaved():
            complain("left without saving " + " ".join(f"{n}={v}" for n, v in unsaved.items()))
        return EXIT_UNAVAILABLE if has_failed or not is_printed else 0

    def _unsaved(self) -> dict[str, str]:
        return {
            f"TWEETDOCK_{dial.upper()}_{name}": value
            for dial, calibration in zip(DIALS, self._calibrations, strict=True)
            for name, value in calibration.unsaved.items()
        }


def _is_printed(text: str) -> bool:
    """Whether standard output accepted it; else the marks would be lost unseen."""
    if sys.__stdout__ is None:  # closed before the start
        return False
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        discard(sys.stdout)
        return False
    return True


def _overruled(values: Mapping[str, str]) -> str:
    others = [name for name, value in values.items() if os.environ.get(name, value) != value]
    if not others:
        return ""
    return f" But the environment has {', '.join(others)} too, and it wins: change it there."


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let no TweetDock run on the same state meanwhile; UnavailableError if one does."""
    lock = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder / STATE_LOCK)
    except UnavailableError as error:
        raise UnavailableError(
            f"a TweetDock is at work with these servos (its state is in {folder}): stop it first, "
            "by systemctl stop tweetdock or docker stop"
        ) from error
    except PermissionError as error:
        raise UnavailableError(
            f"{error.filename} is another user's, whose TweetDock may be at work with these "
            "servos: calibrate as that user, or set TWEETDOCK_STATE_DIR"
        ) from error
    except OSError:
        pass  # no gauge can hold what cannot be made
    try:
        yield
    finally:
        if lock is not None:
            lock.close()
