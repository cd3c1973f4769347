"""What a look at one thing of the house found: whether it works, and what to do if not."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """How a thing is, best first."""

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's: the thing, how it is, a sentence on it, and the cure if it ails.

    It may repeat a stranger's words, which the censor has yet to look at.
    """

    thing: str
    verdict: Verdict
    says: str
    cure: str = ""


class Check(NamedTuple):
    """One thing to look at; `look` may take its time, and raises nothing for what is foreign."""

    thing: str
    look: Callable[[], Iterator[Finding]]


def worst(findings: Iterable[Finding]) -> Verdict:
    """The verdict on all of them: that of the worst; a pass if there is none."""
    order = list(Verdict)
    return max((finding.verdict for finding in findings), key=order.index, default=Verdict.PASS)
