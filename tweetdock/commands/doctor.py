"""The command `doctor`: checks everything that the gauge needs, and says how to fix it."""

import argparse
import io
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tweetdock import logs
from tweetdock.commands.output import EXIT_PROBLEMS, is_able, results
from tweetdock.core.finding import Check, Finding, Verdict
from tweetdock.doctor.redactor import Redactor
from tweetdock.doctor.report import Report, as_json, sum_up, worst
from tweetdock.doctor.round import checks_of
from tweetdock.doctor.round import run as run_checks
from tweetdock.doctor.settings import WrittenSettings, check_settings
from tweetdock.settings.gauge import SETTINGS

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
    written = WrittenSettings.read(Path.cwd(), env, flags, demo=arguments.demo)
    checks = [Check("settings", lambda: check_settings(written)), *checks_of(written)]
    found = map(Redactor(written.env).clean, run_checks(checks))
    return _tell_json(found) if arguments.json else _tell(found, [check.thing for check in checks])


def _tell(found: Iterable[Finding], things: Sequence[str]) -> int:
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    report = Report(things, width, coloured=is_coloured())
    findings: list[Finding] = []
    with results():
        for finding in found:
            findings.append(finding)
            print(*report.lines(finding), sep="\n", flush=True)  # noqa: T201 - what it is for
        print(f"\n{sum_up(findings)}")  # noqa: T201
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
