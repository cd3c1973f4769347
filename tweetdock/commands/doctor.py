"""The command `doctor`: checks everything that the gauge needs, and says how to fix it."""

import argparse
import io
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tweetdock import logs
from tweetdock.commands.output import EXIT_PROBLEMS, is_able, results
from tweetdock.core.errors import SettingsError
from tweetdock.doctor.checks import (
    Check,
    Finding,
    Report,
    Verdict,
    as_json,
    run_checks,
    worst,
)
from tweetdock.doctor.keeping import disk_check, keep_checks
from tweetdock.doctor.machine import Machine
from tweetdock.doctor.page import page_checks
from tweetdock.doctor.redactor import Redactor
from tweetdock.doctor.servos import servo_checks
from tweetdock.doctor.settings import (
    UsableSettings,
    WrittenSettings,
    check_settings,
    usable_settings,
)
from tweetdock.doctor.x import spending_checks
from tweetdock.keep.archive_reader import read_lines
from tweetdock.settings.gauge import SETTINGS, Settings

# How the names of its settings begin, for each thing.
_NAMES = {
    "x": ("X_", "TWEETDOCK_X_QUERY", "TWEETDOCK_FOLLOW"),
    "bluesky": ("TWEETDOCK_JETSTREAM",),
    "mastodon": ("TWEETDOCK_MASTODON",),
    "spending": ("TWEETDOCK_X_PRICE_PER_POST", "TWEETDOCK_X_DAILY_BUDGET_USD"),
    "servos": ("TWEETDOCK_SERVO_", "PIGPIO_"),
    "tweets dial": ("TWEETDOCK_TWEETS_",),
    "tweeters dial": ("TWEETDOCK_TWEETERS_",),
    "state": ("TWEETDOCK_STATE_DIR",),
    "disk": ("TWEETDOCK_STATE_DIR",),
    "archive": ("TWEETDOCK_ARCHIVE",),
    "bucket": ("TWEETDOCK_OFFLOAD", "AWS_"),
    "page": ("TWEETDOCK_WEB",),
}
WIDTH = 80  # without a terminal


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.usage = "tweetdock doctor [--demo] [--json] [settings]"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Check everything that the gauge needs, and say how to fix each problem.\n"
        "No servo moves, nothing is written, and a running gauge is not disturbed."
    )
    parser.epilog = (
        "Settings are those of the gauge: its own flags, such as --sources bluesky (all of them:\n"
        "tweetdock --help), the environment and .env.\n"
        "The exit code is 0 if nothing failed, 1 otherwise."
    )
    parser.add_argument("--demo", action="store_true", help="check only what a demo needs")
    parser.add_argument("--json", action="store_true", help="one JSON object, for machines")
    for setting in SETTINGS:
        if not setting.secret:
            parser.add_argument(setting.flag, dest=setting.name, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Check everything and report it; returns the exit code."""
    logs.configure("ERROR", "text")  # a client's warnings would only repeat the findings
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A hashtag that this terminal cannot show must not end the report.
        sys.stdout.reconfigure(errors="backslashreplace")
    flags = {s.name: v for s in SETTINGS if (v := getattr(arguments, s.name, None)) is not None}
    written = WrittenSettings.read(Path.cwd(), env, flags)
    usable = usable_settings(written, demo=arguments.demo)
    checks = [
        Check("settings", lambda: check_settings(written, usable)),
        *_checks(usable, written),
    ]
    found = map(Redactor(written.env).clean, run_checks(checks))
    return _tell_json(found) if arguments.json else _tell(found, [check.thing for check in checks])


def _checks(usable: UsableSettings, written: WrittenSettings) -> Iterator[Check]:
    """All checks that are possible with these settings, in the order of the lines."""
    machine = Machine()
    yield from machine.checks()
    settings = usable.settings
    if settings is None:
        with suppress(SettingsError):
            state = Settings.from_env(written.env, about=("TWEETDOCK_STATE_DIR",)).keep.state_dir
            yield disk_check(state)
        return
    for check in (
        *_source_checks(replace(settings, sources=usable.sources)),
        *servo_checks(settings, machine),
        *(keep_checks(settings.keep) if settings.is_live else [Check("state", _check_no_state)]),
        *page_checks(settings),
    ):
        # The default of a refused setting is of no interest, and the default server must not be
        # sent the token of another one.
        names = _NAMES.get(check.thing.partition(" ")[0], _NAMES.get(check.thing, ()))
        if not any(name.startswith(names) for name in usable.refused):
            yield check


def _source_checks(settings: Settings) -> Iterator[Check]:
    # Each network brings libraries of its own.
    from tweetdock.doctor.networks import source_checks  # noqa: PLC0415

    yield from source_checks(settings, read_lines)
    yield from spending_checks(settings)


def _check_no_state() -> Iterator[Finding]:
    yield Finding("state", Verdict.PASS, "a demo or a replay saves nothing")


def _tell(found: Iterable[Finding], things: Sequence[str]) -> int:
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    report = Report(things, width, coloured=is_coloured())
    findings: list[Finding] = []
    with results():
        for finding in found:
            findings.append(finding)
            print(*report.lines(finding), sep="\n", flush=True)  # noqa: T201 - what it is for
        print(f"\n{report.sum_up(findings)}")  # noqa: T201
    return _code(findings)


def _tell_json(found: Iterable[Finding]) -> int:
    findings = list(found)
    with results():
        print(json.dumps(as_json(findings), ensure_ascii=False))  # noqa: T201
    return _code(findings)


def _code(findings: Sequence[Finding]) -> int:
    return EXIT_PROBLEMS if worst(findings) is Verdict.FAIL else 0


def is_coloured() -> bool:
    """Whether the verdicts have colours: on a terminal that has them, unless NO_COLOR is set."""
    return is_able(sys.stdout, os.environ) and not os.environ.get("NO_COLOR")
