"""The word `calibrate`: finds the pulses of each servo's ends, with the keyboard."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tweetdock.commands.calibrate_screen import Screen
from tweetdock.commands.exits import EXIT_INTERRUPTED, EXIT_SETTINGS, EXIT_UNAVAILABLE
from tweetdock.commands.keyboard import Keyboard
from tweetdock.commands.output import complain, is_able
from tweetdock.core.errors import ServoError, UnavailableError
from tweetdock.keep.lock import Lock
from tweetdock.servos.calibration import Calibration, Marks
from tweetdock.settings.config import ENV_FILE
from tweetdock.settings.gauge import DIALS, Settings

if TYPE_CHECKING:
    from tweetdock.commands.calibrate_session import Session
    from tweetdock.servos.bench import Bench

# What is wrong with the other settings is the gauge's concern: there may be no credentials yet.
_READ = (
    *("TWEETDOCK_TWEETS_", "TWEETDOCK_TWEETERS_", "TWEETDOCK_SERVO_", "PIGPIO_"),
    "TWEETDOCK_PIGPIOD_",
    *("TWEETDOCK_STATE_DIR", "XDG_STATE_HOME"),
)


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the words to a parser."""
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
    settings = _settings(env)
    if not (os.isatty(0) and is_able(sys.stderr, env)):
        complain("calibrate needs a terminal, for its keys; over ssh: ssh -t")
        return EXIT_SETTINGS
    # They bring the libraries of all servos along: only for who begins.
    from tweetdock.commands.calibrate_session import Session  # noqa: PLC0415
    from tweetdock.servos.bench import make_bench  # noqa: PLC0415
    from tweetdock.servos.choice import read_model  # noqa: PLC0415

    works = [Calibration(Marks.of(dial)) for dial in (settings.tweets, settings.tweeters)]
    bench = make_bench(settings, read_model(), [work.target_us for work in works])
    saver = Saver(None if arguments.prints else Path.cwd() / ENV_FILE, works)
    session = Session(settings, bench, works, saver.save, DIALS.index(arguments.dial))
    try:
        with _alone(settings.keep.state_dir), _connected(bench):
            are_home, was_interrupted = _calibrate(session, bench, works)
    except (ServoError, UnavailableError) as error:
        complain(error)
        return EXIT_UNAVAILABLE
    try:
        if not are_home:
            complain(f"needles not brought home: {bench.trouble or 'there was no time'}")
        code = saver.report()
        sys.stderr.flush()
    except OSError:
        _forget(sys.stdout, sys.stderr)  # the terminal is gone
        return EXIT_INTERRUPTED
    return code or (EXIT_INTERRUPTED if was_interrupted else 0)


class Saver:
    """Saves what is marked in `.env`, or keeps the lines to be printed; path: None to print."""

    def __init__(self, path: Path | None, works: list[Calibration]) -> None:
        self._path = path
        self._works = works
        self._lines: dict[str, str] = {}
        self._has_failed = False

    def save(self) -> str:
        """Save the marks of all dials; what to tell the owner."""
        values = self._unsaved()
        if self._path is None:
            self._lines |= values
            news = "Kept. The lines are printed when you leave."
        else:
            # Only for who saves.
            from tweetdock.settings.env_file import save  # noqa: PLC0415

            try:
                save(self._path, values)
            except OSError as error:
                self._has_failed = True
                why = error.strerror or str(error)
                return f"{ENV_FILE} cannot be written: {why}. The lines are printed when you leave."
            self._has_failed = False
            news = f"Saved in {ENV_FILE}.{_overruled(values)}"
        for work in self._works:
            work.save()
        return news

    def report(self) -> int:
        """Print the lines that could not be, or should not be saved; the exit code for that.

        Raises OSError if the terminal is gone.
        """
        unsaved = self._unsaved()
        lines = self._lines | (unsaved if self._has_failed else {})
        text = "".join(f"{name}={value}\n" for name, value in lines.items())
        is_printed = not text or _is_printed(text)
        if not is_printed:
            complain("the lines cannot be printed to standard output; they are")
            sys.stderr.write(text)
        if self._has_failed:
            complain(f"{ENV_FILE} cannot be written; put these lines into it yourself")
        elif unsaved:
            complain("left without saving " + " ".join(f"{n}={v}" for n, v in unsaved.items()))
        return EXIT_UNAVAILABLE if self._has_failed or not is_printed else 0

    def _unsaved(self) -> dict[str, str]:
        return {
            f"TWEETDOCK_{dial.upper()}_{name}": value
            for dial, work in zip(DIALS, self._works, strict=True)
            for name, value in work.unsaved.items()
        }


def _is_printed(text: str) -> bool:
    """Whether standard output took it; a sitting's marks must not go where nobody sees them."""
    if sys.__stdout__ is None:  # closed before the start
        return False
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        _forget(sys.stdout)
        return False
    return True


def _forget(*streams: TextIO) -> None:
    # Python, which writes what is left when it ends, must not stumble over what is gone.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _settings(env: Mapping[str, str]) -> Settings:
    ours = {name: value for name, value in env.items() if name.startswith(_READ)}
    # Nothing is counted here, but settings are only whole with something to count.
    return Settings.from_env(
        ours | {"TWEETDOCK_SOURCES": "demo", "TWEETDOCK_HASHTAGS": "tweetdock"}
    )


def _overruled(values: Mapping[str, str]) -> str:
    others = [name for name, value in values.items() if os.environ.get(name, value) != value]
    if not others:
        return ""
    return f" But the environment has {', '.join(others)} too, and it wins: change it there."


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While no TweetDock can run on the same state; raises UnavailableError if one does."""
    lock = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder / "lock")
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


@contextmanager
def _connected(bench: "Bench") -> Iterator[None]:
    try:
        bench.connect()
        yield
    finally:
        bench.close()


def _calibrate(session: "Session", bench: "Bench", works: list[Calibration]) -> tuple[bool, bool]:
    """Have the owner at it; whether the needles came home, and whether it was broken off."""
    with ExitStack() as stack:
        keyboard = stack.enter_context(Keyboard(0))
        screen = Screen(sys.stderr, os.environ)
        stack.callback(screen.end)
        screen.open()
        session.run(keyboard, screen, time.monotonic)
        are_home = bench.leave([work.home_us for work in works])
    return are_home, session.was_interrupted
