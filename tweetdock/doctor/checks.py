"""The doctor's checks: all run at once, with a time limit, and are reported in order."""

import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from tweetdock.core.errors import plain

NARROWEST, WIDEST = 40, 100
WIDEST_THING = 14
_ARROW = "-> "
_COLOURS = {"pass": "32", "warn": "33", "fail": "1;31"}  # of verdicts, as ANSI codes

LIMIT_SECONDS = 15.0
_SLOW = "try again; if it happens again, check the network and what this line names"
_BUG = "this is a bug in TweetDock; please report it"


class Verdict(StrEnum):
    """The result of a check, best first."""

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: the thing, the verdict, a sentence, and the cure if it has a problem.

    It may repeat what a server sent: secrets are taken out of it by Redactor.
    """

    thing: str
    verdict: Verdict
    says: str
    cure: str = ""


class Check(NamedTuple):
    """One thing to check; `run` may take long, and raises nothing for errors of other programs."""

    thing: str
    run: Callable[[], Iterator[Finding]]


def worst(findings: Iterable[Finding]) -> Verdict:
    """The worst verdict of all; a pass if there are no findings."""
    order = list(Verdict)
    return max((finding.verdict for finding in findings), key=order.index, default=Verdict.PASS)


class Report:
    """Lays findings out in columns: verdict, thing, sentence, and the cure below it.

    things: the names that the second column is made wide enough for, unless they are very long.
    width: of the whole, in characters. coloured: the verdicts, by ANSI codes.
    """

    def __init__(self, things: Iterable[str], width: int, *, coloured: bool = False) -> None:
        self._column = min(max(map(len, things), default=0), WIDEST_THING)
        self._width = min(max(width, NARROWEST), WIDEST)
        self._coloured = coloured

    def lines(self, finding: Finding) -> list[str]:
        """The lines of one finding."""
        thing = plain(finding.thing).ljust(self._column)
        margin = " " * (len("pass") + 2 + self._column + 2)
        first = f"{finding.verdict}  {thing}  "
        lines = self._wrap(finding.says, first, margin)
        lines[0] = self._verdict(finding.verdict) + lines[0].removeprefix(finding.verdict)
        if finding.cure:
            lines += self._wrap(finding.cure, margin + _ARROW, margin + " " * len(_ARROW))
        return lines

    def sum_up(self, findings: Sequence[Finding]) -> str:
        """The last line."""
        problems, warnings = (
            _counted(sum(finding.verdict is verdict for finding in findings), noun)
            for verdict, noun in ((Verdict.FAIL, "problem"), (Verdict.WARN, "warning"))
        )
        match worst(findings):
            case Verdict.PASS:
                return "All is well."
            case Verdict.WARN:
                return f"No problems, {warnings}."
            case Verdict.FAIL:
                has_both = any(finding.verdict is Verdict.WARN for finding in findings)
                return f"{problems}, {warnings}." if has_both else f"{problems}."

    def _verdict(self, verdict: Verdict) -> str:
        return f"\x1b[{_COLOURS[verdict]}m{verdict}\x1b[0m" if self._coloured else str(verdict)

    def _wrap(self, text: str, first: str, margin: str) -> list[str]:
        # A path or a command in two pieces can neither be read nor copied.
        return textwrap.wrap(
            " ".join(plain(text).split()),
            self._width,
            initial_indent=first,
            subsequent_indent=margin,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [first.rstrip()]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """All of it for a machine."""
    return {
        "verdict": worst(findings),
        "checks": [
            {
                "thing": plain(finding.thing),
                "verdict": finding.verdict,
                "says": plain(finding.says),
                "cure": plain(finding.cure),
            }
            for finding in findings
        ],
    }


class _RunningCheck:
    """One check, running in a thread of its own that may outlive the time limit."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._found: SimpleQueue[Finding | None] = SimpleQueue()
        name = f"check-{check.thing}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def findings(self, end: float, limit: float) -> Iterator[Finding]:
        """Each as soon as it is there, until the moment `end` of the monotonic clock."""
        while True:
            try:
                finding = self._found.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                says = f"no answer within {limit:g} s"
                yield Finding(self._check.thing, Verdict.FAIL, says, _SLOW)
                return
            if finding is None:
                return
            yield finding

    def _work(self) -> None:
        try:
            for finding in self._check.run():
                self._found.put(finding)
        except Exception as error:  # noqa: BLE001 - one check that breaks must not hide the others
            # The kind only: what the error says may be secret.
            says = f"the check failed: {type(error).__name__}"
            self._found.put(Finding(self._check.thing, Verdict.FAIL, says, _BUG))
        self._found.put(None)


def run_checks(checks: Sequence[Check], limit: float = LIMIT_SECONDS) -> Iterator[Finding]:
    """All findings in the order of the checks, each as soon as those before it are there.

    limit: seconds after which a check that has not ended has failed; what it found so far counts.
    """
    running = [_RunningCheck(check) for check in checks]
    end = time.monotonic() + limit
    for check in running:
        yield from check.findings(end, limit)
