"""What a probe finds: a line for the owner of the gauge, with its cure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Self


class Verdict(StrEnum):
    """The result of a check, best first."""

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: the thing, the verdict, a sentence, and the cure if it has a problem.

    It may repeat what a server sent: secrets are to be taken out of it before it is told.
    """

    thing: str
    verdict: Verdict
    says: str
    cure: str = ""

    @classmethod
    def well(cls, thing: str, says: str) -> Self:
        """Nothing is to be done."""
        return cls(thing, Verdict.PASS, says)

    @classmethod
    def warning(cls, thing: str, says: str, cure: str) -> Self:
        """The gauge works, though not as well as it could."""
        return cls(thing, Verdict.WARN, says, cure)

    @classmethod
    def trouble(cls, thing: str, says: str, cure: str) -> Self:
        """The gauge does not work."""
        return cls(thing, Verdict.FAIL, says, cure)


class Check(NamedTuple):
    """One thing to check; `run` may take long, and raises nothing for errors of other programs.

    settings: how the names of its settings begin; where one is refused it cannot be checked.
    """

    thing: str
    run: Callable[[], Iterator[Finding]]
    settings: tuple[str, ...] = ()
