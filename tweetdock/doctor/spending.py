"""The doctor's look at what X has cost today, and at what is left of the day's money."""

import time
from collections.abc import Iterator

from tweetdock.doctor.findings import Check, Finding, Verdict
from tweetdock.doctor.keeping import spent_of
from tweetdock.settings.gauge import Settings
from tweetdock.settings.networks import asks_x
from tweetdock.sources.choice import make_budget
from tweetdock.sources.x.budget import BudgetError

_NAME = "TWEETDOCK_X_DAILY_BUDGET_USD"


def spending_checks(settings: Settings) -> list[Check]:
    """Nothing where nobody asks X."""
    if not settings.is_live or not asks_x(settings.sources):
        return []
    return [Check("spending", lambda: _look(settings))]


def _look(settings: Settings) -> Iterator[Finding]:
    now_ms = round(time.time() * 1000)
    budget = make_budget(settings, spent_of(settings.keep.state_dir))
    posts = budget.billed(now_ms).posts
    # Told by the remark alone; what it foresees takes more than a look.
    cost = budget.remark(now_ms).partition(",")[0]
    says = "nothing so far today (UTC)"
    if cost:
        says = f"{cost}, {posts:,} post{'s' * (posts != 1)} (UTC, as last saved)"
    try:
        budget.check(now_ms)
    except BudgetError as error:
        cure = f"wait for that, or raise {_NAME}"
        yield Finding("spending", Verdict.WARN, f"{says}; {error}", cure)
        return
    left = budget.posts_left(now_ms)
    more = "" if left is None else f"; {left:,} posts more may be read"
    yield Finding("spending", Verdict.PASS, says + more)
