"""The doctor's round: what is checked, all of it at once, with a time limit, told in order."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue

from tweetdock.core.finding import Check, Finding
from tweetdock.doctor.machine import Machine, disk
from tweetdock.doctor.settings import WrittenSettings
from tweetdock.keep.archive_reader import read_lines
from tweetdock.settings.gauge import Settings
from tweetdock.threads import Crash, WatchedThread

LIMIT_SECONDS = 15.0
_SLOW = "try again; if it happens again, check the network and what this line names"
_BUG = "this is a bug in TweetDock; please report it"


def checks_of(written: WrittenSettings) -> Iterator[Check]:
    """All checks that are possible with these settings, in the order of the lines."""
    machine = Machine()
    yield from machine.checks()
    settings = written.settings
    if settings is None:
        state_dir = Settings.read(written.env)[0].keep.state_dir
        yield Check("disk", lambda: disk([state_dir]))
        return
    for check in _checks(replace(settings, sources=written.sources), machine):
        # The default of a refused setting is of no interest, and the default server must not be
        # sent the token of another one.
        if not any(name.startswith(check.settings) for name in written.refused):
            yield check


def _checks(settings: Settings, machine: Machine) -> Iterator[Check]:
    # Each brings libraries of its own: the help of the command does without.
    from tweetdock.keep.probe import checks as keep_checks  # noqa: PLC0415
    from tweetdock.keep.probe import spent_of  # noqa: PLC0415
    from tweetdock.servos.probe import checks as servo_checks  # noqa: PLC0415
    from tweetdock.show.web.probe import probe as page  # noqa: PLC0415
    from tweetdock.sources.choice import checks as source_checks  # noqa: PLC0415

    keep = settings.keep
    yield from source_checks(settings, read_lines, lambda: spent_of(keep.state_dir))
    yield from servo_checks(settings, machine.model, machine.program)
    if settings.is_live:
        yield from keep_checks(keep)
        folders = [keep.state_dir, *([keep.archive.absolute().parent] if keep.archive else [])]
        yield Check("disk", lambda: disk(folders), ("TWEETDOCK_STATE_DIR", "TWEETDOCK_ARCHIVE"))
    else:
        saves = Finding.well("state", "a demo or a replay saves nothing")
        yield Check("state", lambda: iter([saves]))
    yield Check("page", lambda: page(settings), ("TWEETDOCK_WEB",))


def run(checks: Sequence[Check], limit: float = LIMIT_SECONDS) -> Iterator[Finding]:
    """All findings in the order of the checks, each as soon as those before it are there.

    limit: seconds after which a check that has not ended has failed; what it found so far counts.
    """
    end = time.monotonic() + limit
    under_way = [(check, _begin(check)) for check in checks]
    for check, found in under_way:
        try:
            while (finding := found.get(timeout=max(0.0, end - time.monotonic()))) is not None:
                yield finding
        except Empty:
            yield Finding.trouble(check.thing, f"no answer within {limit:g} s", _SLOW)


def _begin(check: Check) -> "SimpleQueue[Finding | None]":
    """Its findings as they come, and None at the end; from a thread that may outlive the limit."""
    found: SimpleQueue[Finding | None] = SimpleQueue()

    def work() -> None:
        for finding in check.run():
            found.put(finding)
        found.put(None)

    def fail(crash: Crash) -> None:
        # The kind only: what the error says may be secret.
        says = f"the check failed: {type(crash.error).__name__}"
        found.put(Finding.trouble(check.thing, says, _BUG))
        found.put(None)

    WatchedThread(f"check-{check.thing}", work, fail)
    return found
