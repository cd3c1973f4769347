"""The doctor's round: looks at many things at once, each with a limit, and tells them in order."""

import threading
import time
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue

from tweetdock.doctor.findings import Check, Finding, Verdict

LIMIT_SECONDS = 15.0
_SLOW = "try again; if it stays so, look at the network and at what this line is about"
_BUG = "this is a bug of TweetDock; please report it"


class _Look:
    """One check at work in a thread of its own, which nobody waits for in the end."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._found: SimpleQueue[Finding | None] = SimpleQueue()
        name = f"look-{check.thing}"
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
            for finding in self._check.look():
                self._found.put(finding)
        except Exception as error:  # noqa: BLE001 - one check that breaks must not hide the others
            # The kind only: what the error says may be secret.
            says = f"looking at it failed: {type(error).__name__}"
            self._found.put(Finding(self._check.thing, Verdict.FAIL, says, _BUG))
        self._found.put(None)


def go_round(checks: Sequence[Check], limit: float = LIMIT_SECONDS) -> Iterator[Finding]:
    """All findings in the order of the checks, each as soon as those before it are there.

    limit: seconds after which a check that is still at it has failed; what it found counts.
    """
    looks = [_Look(check) for check in checks]
    end = time.monotonic() + limit
    for look in looks:
        yield from look.findings(end, limit)
