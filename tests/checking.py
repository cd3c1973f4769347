"""Checks sources as the doctor does, and what is found by name."""

from tweetdock.core.finding import Finding, Verdict
from tweetdock.doctor.redactor import Redactor
from tweetdock.keep.archive_reader import read_lines
from tweetdock.settings.gauge import Settings
from tweetdock.sources.choice import checks


def check(env: dict[str, str]) -> list[Finding]:
    """All that is found with these settings, in order."""
    found = [check.run() for check in checks(Settings.from_env(env), read_lines, dict)]
    return [Redactor(env).clean(finding) for findings in found for finding in findings]


def only(findings: list[Finding], thing: str = "") -> Finding:
    """The one finding on a thing, or on all."""
    (found,) = [finding for finding in findings if thing in ("", finding.thing)]
    return found


def failed(findings: list[Finding]) -> list[str]:
    """What failed, by name."""
    return [finding.thing for finding in findings if finding.verdict is Verdict.FAIL]


def assert_well_said(findings: list[Finding]) -> None:
    """Each is one printable line, and what ails has a cure, which nothing else needs."""
    for finding in findings:
        assert finding.says
        assert (finding.says + finding.cure).isprintable()
        assert bool(finding.cure) == (finding.verdict is not Verdict.PASS), finding
