"""What fails is tried again: how long to wait before that, and what to log of it."""

import logging
import random
from collections.abc import Iterator

from tweetdock.core.times import duration, from_now

REMIND_SECONDS = 1800.0


def backoff(first: float, cap: float) -> Iterator[float]:
    """Seconds after each failure in a row: doubling from `first` up to `cap`.

    Each is drawn between half and the whole, so that many gauges do not come back at once.
    """
    seconds = first
    while True:
        yield seconds * random.uniform(0.5, 1.0)  # noqa: S311 - no secret hangs on it
        seconds = min(cap, seconds * 2)


class TroubleLog:
    """The trouble of one thing that is tried again and again."""

    def __init__(self, log: logging.Logger, thing: str) -> None:
        self._log = log
        self._thing = thing
        self._waited = 0.0
        self._logged: dict[str, float] = {}  # each sentence, and how long was waited before it

    def failed(self, sentence: str, next_try: float, *, needs_owner: bool = False) -> None:
        """A try failed; the next one is in `next_try` seconds."""
        last = self._logged.get(sentence)
        if last is None or self._waited - last >= REMIND_SECONDS:
            level = logging.ERROR if needs_owner else logging.WARNING
            again = from_now(next_try)
            self._log.log(level, "%s: %s; next try %s", self._thing, sentence, again)
            self._logged[sentence] = self._waited
        self._waited += next_try

    def worked(self) -> None:
        """A try worked."""
        if self._logged:
            self._log.info("%s: back after about %s", self._thing, duration(self._waited))
        self._waited = 0.0
        self._logged.clear()
