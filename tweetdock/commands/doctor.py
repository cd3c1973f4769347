"""The command `doctor`: checks everything that the gauge needs, and says how to fix it."""

import argparse
import io
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tweetdock import logs
from tweetdock.commands.output import EXIT_PROBLEMS, add_settings, flags_of, is_able, results
from tweetdock.core.errors import plain
from tweetdock.core.finding import Check, Finding, Verdict
from tweetdock.doctor.redactor import Redactor
from tweetdock.doctor.round import checks_of
from tweetdock.doctor.round import run as run_checks
from tweetdock.doctor.settings import WrittenSettings, check_settings

WIDTH = 80  # without a terminal
NARROWEST, WIDEST = 40, 100
THING = 14  # columns of what a finding is about
_COLOURS = {"pass": "32", "warn": "33", "fail": "1;31"}  # of verdicts, as ANSI codes


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
    add_settings(parser, is_hidden=True)


def run(arguments: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Check everything and report it; returns the exit code."""
    logs.configure("ERROR", "text")  # a client's warnings would only repeat the findings
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A hashtag that this terminal cannot show must not end the report.
        sys.stdout.reconfigure(errors="backslashreplace")
    flags = flags_of(arguments)
    written = WrittenSettings.read(Path.cwd(), env, flags, demo=arguments.demo)
    checks = [Check("settings", lambda: check_settings(written)), *checks_of(written)]
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    findings: list[Finding] = []
    with results():
        for finding in map(Redactor(written.env).clean, run_checks(checks)):
            findings.append(finding)
            if not arguments.json:
                told = lines(finding, width, coloured=is_coloured())
                print(*told, sep="\n", flush=True)  # noqa: T201 - what it is for
        said = as_json(findings) if arguments.json else f"\n{sum_up(findings)}"
        print(said)  # noqa: T201
    return EXIT_PROBLEMS if worst(findings) is Verdict.FAIL else 0


def is_coloured() -> bool:
    """Whether the verdicts have colours: on a terminal that has them, unless NO_COLOR is set."""
    return is_able(sys.stdout, os.environ) and not os.environ.get("NO_COLOR")


def worst(findings: Iterable[Finding]) -> Verdict:
    """The worst verdict of all; a pass if there are no findings."""
    order = list(Verdict)
    return max((finding.verdict for finding in findings), key=order.index, default=Verdict.PASS)


def lines(finding: Finding, width: int, *, coloured: bool = False) -> list[str]:
    """The lines of a finding in columns: verdict, thing, sentence, and the cure below it.

    width: of the whole, in characters. coloured: the verdict, by ANSI codes.
    """
    width = min(max(width, NARROWEST), WIDEST)
    verdict, margin = finding.verdict, " " * (len("pass") + 2 + THING + 2)
    told = _wrap(finding.says, f"{verdict}  {plain(finding.thing):<{THING}}  ", margin, width)
    if coloured:
        told[0] = f"\x1b[{_COLOURS[verdict]}m{verdict}\x1b[0m" + told[0].removeprefix(verdict)
    if finding.cure:
        told += _wrap(finding.cure, f"{margin}-> ", f"{margin}   ", width)
    return told


def _wrap(text: str, first: str, margin: str, width: int) -> list[str]:
    # A path or a command in two pieces can neither be read nor copied.
    return textwrap.wrap(
        " ".join(plain(text).split()),
        width,
        initial_indent=first,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def sum_up(findings: Sequence[Finding]) -> str:
    """The last line of a report."""
    verdicts = [finding.verdict for finding in findings]
    failed, warned = verdicts.count(Verdict.FAIL), verdicts.count(Verdict.WARN)
    return f"Problems: {failed}, warnings: {warned}." if failed or warned else "All is well."


def as_json(findings: Sequence[Finding]) -> str:
    """All of it for a machine."""
    checks = [
        {name: plain(value) for name, value in asdict(finding).items()} for finding in findings
    ]
    return json.dumps({"verdict": worst(findings), "checks": checks}, ensure_ascii=False)
