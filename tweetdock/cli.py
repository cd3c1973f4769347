"""The command line: its commands, signals and exit codes."""

import argparse
import importlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tweetdock import __version__
from tweetdock.commands.output import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_SETTINGS,
    EXIT_UNAVAILABLE,
    add_settings,
    complain,
    flags_of,
    is_able,
    open_streams,
    results,
)
from tweetdock.core.errors import Problem, SettingsError, UnavailableError
from tweetdock.settings.env_file import ENV_FILE, load, read_env_file
from tweetdock.settings.gauge import Settings

if TYPE_CHECKING:
    from tweetdock.show.systemd import Systemd

log = logging.getLogger("tweetdock")


# What the first argument may be instead of flags; each is a file in commands/, with `describe`,
# which adds its arguments to a parser, and `run`, which returns the exit code.
COMMANDS = {
    "doctor": "check everything that the gauge needs, and say how to fix each problem",
    "calibrate": "find the pulses for both ends of each dial, with the keyboard",
    "face": "print a dial's face, to scale",
    "offload": "send closed archive files to an S3 bucket, and verify them there",
    "export": "write the history as CSV, or archived posts as Parquet",
    "merge": "make one archive of several",
}


def main(words: Sequence[str] | None = None) -> int:
    """Run TweetDock; returns the exit code."""
    words = sys.argv[1:] if words is None else words
    open_streams()
    if words and words[0] in COMMANDS:
        return _do(words[0], words[1:])
    arguments = _parser().parse_args(words)
    try:
        settings = _load(arguments)
    except SettingsError as error:
        _print_problems(error)
        _systemd(arguments).leave(f"cannot start with these settings: {error}")
        return EXIT_SETTINGS
    # Heavy imports from here on: `--help` and wrong settings are answered at once.
    from tweetdock import logs  # noqa: PLC0415

    logs.configure(settings.log_level, settings.log_format)
    stopping, reopening = threading.Event(), threading.Event()
    _listen(stopping, reopening)
    systemd = _systemd(arguments)
    try:
        if arguments.once:
            return _read_once(settings, stopping, reopening)
        return _run(settings, stopping, reopening, systemd)
    except UnavailableError as error:
        log.critical("%s", error)
        systemd.leave(f"cannot go on: {error}")
        return EXIT_UNAVAILABLE
    except Exception:
        log.critical("this is a bug in TweetDock; please report it", exc_info=True)
        systemd.leave("ended by a bug in TweetDock, see its log")
        return EXIT_BUG


def _systemd(arguments: argparse.Namespace) -> "Systemd":
    from tweetdock.show.systemd import Systemd  # noqa: PLC0415

    # A single reading is no service.
    return Systemd() if arguments.once else Systemd.from_env(os.environ)


def _listen(stopping: threading.Event, reopening: threading.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    # SIGHUP comes from logrotate, unless there was a terminal and it is gone.
    has_terminal = sys.stderr.isatty()

    def hang_up(*_: object) -> None:
        if not has_terminal or sys.stderr.isatty():
            reopening.set()
            return
        # Nobody reads the log any more, but writing it must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        stopping.set()

    signal.signal(signal.SIGHUP, hang_up)


def _load(arguments: argparse.Namespace) -> Settings:
    settings = load(flags_of(arguments), os.environ, Path.cwd(), demo=arguments.demo)
    if arguments.once and settings.is_only_replay:
        why = "not for a replay, which begins with a single post"
        raise SettingsError([Problem("--once", why)])
    return settings


def _do(name: str, words: Sequence[str]) -> int:
    # Each needs libraries of its own: only the one that runs is imported.
    command = importlib.import_module(f"tweetdock.commands.{name}")
    parser = argparse.ArgumentParser(
        prog=f"tweetdock {name}", description=f"{command.__doc__}", allow_abbrev=False
    )
    command.describe(parser)
    arguments = parser.parse_args(words)
    # As Ctrl-C: what is half made is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # The doctor reads it itself, and reports what is wrong with it.
        file = {} if name == "doctor" else read_env_file(Path.cwd() / ENV_FILE)
        return int(command.run(arguments, {**file, **os.environ}))
    except SettingsError as error:
        _print_problems(error)
        return EXIT_SETTINGS
    except OSError as error:  # what cannot be had, read or written
        complain(error)
        return EXIT_UNAVAILABLE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _run(
    settings: Settings,
    stopping: threading.Event,
    reopening: threading.Event,
    systemd: "Systemd",
) -> int:
    from tweetdock import logs  # noqa: PLC0415
    from tweetdock.daemon import Daemon  # noqa: PLC0415

    with ExitStack() as screen:
        show = None
        if _has_live_view(settings):
            # Tens of modules, for a terminal only: a Pi Zero's memory is small.
            from tweetdock.show.terminal.view import LiveView  # noqa: PLC0415

            view = screen.enter_context(LiveView(settings.dials))
            logs.configure(settings.log_level, settings.log_format, view.handler)
            show = view.show
        log.info("TweetDock %s, %s", __version__, settings.summary)
        with Daemon(settings, stopping, reopening) as daemon:
            daemon.run(show, systemd)
    log.info("stopped")
    systemd.leave("stopped")
    return 0


def _has_live_view(settings: Settings) -> bool:
    return settings.log_format == "text" and is_able(sys.stderr, os.environ)


def _read_once(settings: Settings, stopping: threading.Event, reopening: threading.Event) -> int:
    from tweetdock.core.errors import plain  # noqa: PLC0415
    from tweetdock.daemon import Daemon  # noqa: PLC0415

    with Daemon(settings, stopping, reopening, is_guest=True) as daemon:
        reading = daemon.read_once()
    if reading is None:
        return 0
    with results():
        print(json.dumps(reading.as_json(), ensure_ascii=False))  # noqa: T201 - what it is for
    if reading.covered < 1.0:
        details = "; ".join(f"{n}: {s.detail}" for n, s in reading.sources.items() if s.detail)
        raise UnavailableError(f"this reading is {reading.grade}: {plain(details)}")
    return 0


def _print_problems(error: SettingsError) -> None:
    print("TweetDock cannot start with these settings:", file=sys.stderr)  # noqa: T201
    for problem in error.problems:
        print(f"  {problem}", file=sys.stderr)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tweetdock",
        usage=f"tweetdock [--demo] [--once] [settings]\n       tweetdock {'|'.join(COMMANDS)} ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="A hashtag's pulse on two dials: tweets and tweeters of the last hour.",
        epilog="Settings come from flags, the environment and .env; the first that has one wins.\n"
        "Credentials come from the last two only. See .env.example.\n\n"
        "other commands, each with a --help of its own:\n"
        + "".join(f"  tweetdock {name:8} {meaning}\n" for name, meaning in COMMANDS.items()),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"TweetDock {__version__}")
    parser.add_argument(
        "--demo", action="store_true", help="made-up posts, no credentials, no servos"
    )
    parser.add_argument("--once", action="store_true", help="print one reading as JSON and exit")
    add_settings(parser.add_argument_group("settings"))
    return parser
