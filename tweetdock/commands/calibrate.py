"""The command `calibrate`: finds the pulses of each servo's ends, with the keyboard."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from tweetdock.commands.calibrate_panel import help_text, panel
from tweetdock.commands.calibrate_terminal import ESCAPE, INTERRUPT, Keyboard, Screen
from tweetdock.commands.output import (
    EXIT_INTERRUPTED,
    EXIT_SETTINGS,
    complain,
    discard,
    is_able,
    results,
)
from tweetdock.core.dial import DIALS
from tweetdock.core.errors import UnavailableError
from tweetdock.keep.files import Lock
from tweetdock.servos.calibration import Calibration, DialPoint
from tweetdock.servos.choice import make_servos, read_model
from tweetdock.servos.needles import CHECK_SECONDS, FRAME_SECONDS, STEP_US, Needles
from tweetdock.settings.env_file import ENV_FILE, save
from tweetdock.settings.gauge import Settings

PANEL_SECONDS = 0.08  # over a slow line a needle on its way must not outrun its picture
REMARKS = {"pigpio": f", steps of {STEP_US:g} µs", "mock": ", no servo moves"}
NUDGES = {"right": 10, "left": -10, "up": 1, "down": -1, ".": 1, ",": -1}
VERBS: Mapping[str, Callable[[Calibration], None]] = {
    "t": Calibration.sweep,
    "x": Calibration.reverse,
    "u": Calibration.undo,
    "space": Calibration.halt,
    ESCAPE: Calibration.halt,
    **{point.letter.lower(): partial(Calibration.mark, point=point) for point in DialPoint},
    **{
        key: partial(Calibration.go, point=point)
        for key, point in zip("123", DialPoint, strict=True)
    },
}
# What is wrong with the other settings is up to the gauge: there may be no credentials yet.
_DIALS = ("TWEETDOCK_TWEETS_", "TWEETDOCK_TWEETERS_")
_READ = (*_DIALS, "TWEETDOCK_SERVO_", "TWEETDOCK_PIGPIOD_", "PIGPIO_", "TWEETDOCK_STATE_DIR")


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
    servos = make_servos(settings, read_model())
    calibrations = [Calibration(name, dial) for name, dial in settings.dials.items()]
    needles = Needles(servos, [one.needle for one in calibrations])
    session = CalibrationSession(
        calibrations,
        needles,
        servos.name,
        None if arguments.prints else Path.cwd() / ENV_FILE,
        DIALS.index(arguments.dial),
    )
    with closing(_alone(settings.keep.state_dir)), closing(needles):
        needles.connect()
        with Keyboard(0) as keyboard, Screen(sys.stderr, os.environ) as screen:
            session.run(keyboard, screen, time.monotonic)
    if not sys.stderr.isatty():  # it is gone
        discard(sys.stderr)
    session.report()
    return EXIT_INTERRUPTED if session.was_interrupted else 0


class CalibrationSession:
    """Keys in, needles and panel out.

    servos: what moves the needles, by name. path: where what is marked is saved; None to print it
    at the end. number: of the dial to begin with.
    """

    def __init__(
        self,
        calibrations: Sequence[Calibration],
        needles: Needles,
        servos: str,
        path: Path | None,
        number: int,
    ) -> None:
        self._calibrations = calibrations
        self._needles = needles
        self._servos = servos + REMARKS.get(servos, "")
        self._path = path
        self._number = number
        self._kept: dict[str, str] = {}
        self._is_helping = False
        self._is_leaving = False
        self._is_over = False
        self._are_home = False
        self.was_interrupted = False

    def run(self, keyboard: Keyboard, screen: Screen, monotonic: Callable[[], float]) -> None:
        """Handle keys, move needles and show both until the owner leaves; then bring them home."""
        seconds, drawn_at = CHECK_SECONDS, monotonic()
        self._draw(screen)
        while not self._is_over:
            pressed = keyboard.wait(seconds)
            now = monotonic()
            for key in pressed:
                if not self._is_over:
                    self._press(key, now)
            seconds = self._needles.turn(now)
            if self._calibration.go_on():
                seconds = FRAME_SECONDS
            if pressed or seconds > FRAME_SECONDS or now - drawn_at >= PANEL_SECONDS:
                drawn_at = now
                self._draw(screen)
        self._calibration.note, self._is_helping = "The needles go to zero.", False
        self._draw(screen)
        homes = {
            number: one.home
            for number, one in enumerate(self._calibrations)
            if one.needle.was_moved or one.needle.wants_to_move
        }
        self._are_home = self._needles.bring_home(homes)

    def report(self) -> None:
        """Tell what is not saved, and print the lines that are to be printed.

        Raises UnavailableError if they cannot be printed.
        """
        if not self._are_home:
            complain(f"needles not at rest: {self._needles.trouble or 'there was not enough time'}")
        if unsaved := self._unsaved():
            complain("left without saving " + " ".join(f"{n}={v}" for n, v in unsaved.items()))
        text = "".join(f"{name}={value}\n" for name, value in self._kept.items())
        if not sys.stdout.isatty():
            sys.stderr.write(text)  # whatever becomes of the output, the marks are not lost
        with results():
            sys.stdout.write(text)

    @property
    def _calibration(self) -> Calibration:
        return self._calibrations[self._number]

    def _press(self, key: str, now: float) -> None:
        one, was_leaving = self._calibration, self._is_leaving
        if key == INTERRUPT:
            self.was_interrupted = self._is_over = True
            return
        if self._is_helping:
            self._is_helping = False
            return
        one.note, self._is_leaving = "", False
        if one.is_sweeping and key not in ("q", "s", "?"):
            one.halt()
        elif key in NUDGES:
            one.nudge(NUDGES[key], now)
        elif key in VERBS:
            VERBS[key](one)
        elif key == "s":
            one.note = self._save()
        elif key == "q":
            self._leave(is_asked=was_leaving)
        elif key == "tab":
            self._number = 1 - self._number
            self._calibration.note = ""
        elif key == "?":
            self._is_helping = True
        else:
            one.note = "This key does nothing; ? tells which do what."

    def _leave(self, *, is_asked: bool) -> None:
        self._is_over = is_asked or not self._unsaved()
        if not self._is_over:
            self._is_leaving = True
            self._calibration.note = "Not all is saved: s saves it, q again leaves without."

    def _unsaved(self) -> dict[str, str]:
        return {name: value for one in self._calibrations for name, value in one.unsaved.items()}

    def _save(self) -> str:
        """Save the marks of all dials; what to show the owner."""
        lines = self._unsaved()
        if not lines:
            return "There is nothing to save: all is as it was."
        for one in self._calibrations:
            if one.unsaved and one.trouble:
                return f"Not saved, {one.name}: {one.trouble}"
        said = "Kept. The lines are printed when you leave."
        if self._path is None:
            self._kept |= lines
        else:
            try:
                save(self._path, lines)
            except OSError as error:
                why = error.strerror or str(error)
                return f"{ENV_FILE} cannot be written: {why}. q tells the lines for it."
            said = f"Saved in {ENV_FILE}.{_overruled(lines)}"
        for one in self._calibrations:
            one.save()
        return said

    def _draw(self, screen: Screen) -> None:
        width, _ = screen.size()
        if self._is_helping:
            screen.show(help_text(width))
            return
        other = self._calibrations[1 - self._number]
        trouble = self._needles.trouble
        screen.show(panel(self._calibration, other, self._servos, trouble, width))


def _overruled(values: Mapping[str, str]) -> str:
    others = [name for name, value in values.items() if os.environ.get(name, value) != value]
    if not others:
        return ""
    return f" But the environment has {', '.join(others)} too, and it wins: change it there."


def _alone(folder: Path) -> Lock:
    """Let no TweetDock run on the same state until it is closed; UnavailableError if one does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Lock(folder)
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
