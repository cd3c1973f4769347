"""The doctor's report: findings in columns for people, as JSON for machines."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from tweetdock.core.errors import plain
from tweetdock.core.finding import Finding, Verdict

NARROWEST, WIDEST = 40, 100
WIDEST_THING = 14
_ARROW = "-> "
_COLOURS = {"pass": "32", "warn": "33", "fail": "1;31"}  # of verdicts, as ANSI codes


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
        verdict = finding.verdict
        margin = " " * (len("pass") + 2 + self._column + 2)
        first = f"{verdict}  {plain(finding.thing).ljust(self._column)}  "
        lines = self._wrap(finding.says, first, margin)
        if self._coloured:
            shown = f"\x1b[{_COLOURS[verdict]}m{verdict}\x1b[0m"
            lines[0] = shown + lines[0].removeprefix(verdict)
        if finding.cure:
            lines += self._wrap(finding.cure, margin + _ARROW, margin + " " * len(_ARROW))
        return lines

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


def sum_up(findings: Sequence[Finding]) -> str:
    """The last line of a report."""
    failed, warned = (
        sum(finding.verdict is verdict for finding in findings)
        for verdict in (Verdict.FAIL, Verdict.WARN)
    )
    if not failed and not warned:
        return "All is well."
    parts = [f"{failed or 'No'} problem{'s' * (failed != 1)}"]
    if warned:
        parts.append(f"{warned} warning{'s' * (warned != 1)}")
    return f"{', '.join(parts)}."


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
