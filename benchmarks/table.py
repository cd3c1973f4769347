"""Taking times, and the table they are printed in."""

import time
from collections.abc import Callable, Iterator, Mapping

Work = Callable[[], object]

HEAD = "| | TweetDock | beside it | | ratio |\n|---|--:|---|--:|--:|"


def race(contenders: Mapping[str, Callable[[], Work]], rounds: int = 5) -> dict[str, float]:
    """Return each one's best time in seconds; what makes its work is not timed."""
    best = dict.fromkeys(contenders, float("inf"))
    # In turns, so that a busy moment of the machine does not hit one contender only.
    for _ in range(rounds):
        for name, make_work in contenders.items():
            work = make_work()
            begun = time.perf_counter()
            work()
            best[name] = min(best[name], time.perf_counter() - begun)
    return best


def lines(what: str, unit: str, ours: float, others: Mapping[str, float]) -> Iterator[str]:
    """Return a row for each of the others, or one without if there is none."""
    first = f"| {what} | {_number(ours)} {unit} |"
    if not others:
        yield f"{first} | | |"
    for name, theirs in others.items():
        yield f"{first} {name} | {_number(theirs)} {unit} | {_number(ours / theirs)} |"
        first = "| | |"


def _number(value: float) -> str:
    """Return it with three significant digits, or all before the point."""
    decimals = next(
        (n for n, least in enumerate((100, 10, 1, 0.1, 0.01, 0.001)) if value >= least), 6
    )
    return f"{value:,.{decimals}f}"
