"""The money that X's stream keeps back: what it brings next is billed before it can be counted."""

from collections import deque

from tweetdock.sources.x.budget import LONGEST_SECONDS, NEAR_MS, Budget, BudgetError
from tweetdock.sources.x.pace import DAY_MS

PIECES = 1000


class Purse:
    """Says when a stream is to be closed, or not to be opened, for want of money.

    A piece of it that has come is paid for, however large: so it ends while one as large as the
    largest of late could still be paid.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._sizes: deque[int] = deque([0], maxlen=PIECES)
        self._spent_until_ms = 0

    def came(self, posts: int) -> None:
        """A piece has brought so many posts."""
        if posts:
            self._sizes.append(posts)

    def check(self, now_ms: int) -> None:
        """Raise BudgetError when what is left of the day's money is too little for a stream."""
        self._budget.check(now_ms)
        midnight_ms = (now_ms - NEAR_MS) // DAY_MS * DAY_MS + DAY_MS + NEAR_MS
        left = self._budget.posts_left(now_ms)
        if left is not None and left < max(self._sizes):
            self._spent_until_ms = midnight_ms
            # The next day is begun even if all its money is less than that.
            self._sizes = deque([0], maxlen=PIECES)
        if now_ms < self._spent_until_ms <= midnight_ms:
            raise BudgetError(
                "X's budget for today is too far spent for its stream; it goes on at 00:00 UTC",
                retry_after=min(LONGEST_SECONDS, (midnight_ms - now_ms) / 1000 + 1),
                by_choice=True,
            )
