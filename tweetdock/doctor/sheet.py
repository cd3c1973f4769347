"""The doctor's findings as lines for a terminal, and as JSON."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from tweetdock.core.plain import plain
from tweetdock.doctor.findings import Finding, Verdict, worst

NARROWEST, WIDEST = 40, 100
WIDEST_THING = 14
_COLOURS = {Verdict.PASS: "32", Verdict.WARN: "33", Verdict.FAIL: "1;31"}
_ARROW = "-> "


class Sheet:
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
        ailing, odd = (
            sum(finding.verdict is verdict for finding in findings)
            for verdict in (Verdict.FAIL, Verdict.WARN)
        )
        mend = f"{ailing} thing{'s' * (ailing != 1)} to mend"
        if ailing:
            return f"{mend}, {odd} to know of." if odd else f"{mend}."
        return f"All works; {odd} thing{'s' * (odd != 1)} to know of." if odd else "All is well."

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
