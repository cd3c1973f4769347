"""How long to wait after each failure in a row."""

import random
from collections.abc import Iterator


def backoff(first: float, cap: float) -> Iterator[float]:
    """Seconds after each failure in a row: doubling from `first` up to `cap`.

    Each is drawn between half and the whole, so that many gauges do not come back at once.
    """
    seconds = first
    while True:
        yield seconds * random.uniform(0.5, 1.0)  # noqa: S311 - no secret hangs on it
        seconds = min(cap, seconds * 2)
