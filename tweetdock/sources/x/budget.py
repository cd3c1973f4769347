"""What X's posts cost: how much of a day's money is spent, and what is left of it for what."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

from tweetdock.core.coverage import Spans
from tweetdock.core.errors import SourceError
from tweetdock.core.finding import Finding
from tweetdock.core.fingerprints import Fingerprints, fingerprint, salted
from tweetdock.core.post import Span
from tweetdock.core.times import DAY_MS, HOUR_MS, MINUTE_MS, clock_time, parse_ms
from tweetdock.sources.x.posts import snowflake_ms

NANO = 1_000_000_000  # money is whole billionths of a dollar: sums must come out even
LEAST_MS = 600_000  # what is known of less time tells no rate

# https://docs.x.com/x-api/getting-started/pricing
COUNTS_PRICE = round(0.005 * NANO)  # of a question for counts, whatever the answer
LARGEST_PAGE = 100
LEAST_PAGE = 10  # X takes no smaller one
COUNTING_SHARE = 0.1
COUNTING_MS = 60_000  # more often than once in that time nobody counts

NEAR_MS = 5_000  # so close to midnight X may already, or still, live on the other day
LONGEST_REST_SECONDS = 900.0  # the clock may be found wrong meanwhile

BUDGET = "TWEETDOCK_X_DAILY_BUDGET_USD"
_PLAIN = salted(b"")


def usd(nano: float) -> str:
    """Billionths of a dollar as dollars: `12.50`; less than a cent by two digits: `0.0042`."""
    dollars = nano / NANO
    if not 0 < dollars < 0.01:
        return f"{dollars:.2f}"
    return f"{dollars:.{1 - math.floor(math.log10(dollars))}f}".rstrip("0")


@dataclass(slots=True)
class Bill:
    """What X takes money for in a UTC day: posts, each once, and questions for counts.

    versions: which posts, as far as that is known.
    """

    posts: int = 0
    counts: int = 0
    versions: Fingerprints = field(default_factory=Fingerprints, repr=False, compare=False)


class BudgetError(SourceError):
    """The day's money is spent; `str()` says when it goes on."""


@dataclass(slots=True, eq=False)
class Allowance:
    """So many posts may be returned; set aside until it is known how many were.

    lost_ms: when the answer got lost, which may have cost as much; None: it is under way.
    about: what a lost answer would have told of.
    """

    size: int
    asked_ms: int
    lost_ms: int | None = None
    about: Span | None = None


class SpendingRate:
    """Amounts by when that was written which they paid for, not by when it was read.

    An hour that is read at once after the start is an hour's, not a minute's.
    """

    def __init__(self) -> None:
        self._amounts = Counter[int]()  # by minute
        self._since_ms: int | None = None

    def note(self, amount: int, at_ms: int, now_ms: int) -> None:
        """So much was paid for what was written at `at_ms`."""
        at_ms = min(at_ms, now_ms)
        self._amounts[at_ms // MINUTE_MS] += amount
        self._since_ms = at_ms if self._since_ms is None else min(self._since_ms, at_ms)

    def per_ms(self, now_ms: int) -> float | None:
        """The amount a millisecond, of the last hour as far as it is known; None at first."""
        # The clock may have been wrong: what is still to come is forgotten, too.
        hour = range((now_ms - HOUR_MS) // MINUTE_MS + 1, now_ms // MINUTE_MS + 1)
        self._amounts = Counter({m: paid for m, paid in self._amounts.items() if m in hour})
        known_ms = 0 if self._since_ms is None else now_ms - self._since_ms
        return self._amounts.total() / min(HOUR_MS, known_ms) if known_ms >= LEAST_MS else None

    def forecast(self, cost: int, limit: int | None, now_ms: int) -> str:
        """Where `cost` will be by midnight, or when at `limit`; empty while no rate is known."""
        rate = self.per_ms(now_ms)
        if rate is None:
            return ""
        by_midnight = cost + rate * (DAY_MS - now_ms % DAY_MS)
        if limit is not None and by_midnight > limit:
            end_ms = now_ms + (limit - cost) / rate
            return f"at this pace spent at about {clock_time(round(end_ms))}"
        return f"about {usd(by_midnight)} USD by midnight UTC"


class Budget:
    """Keeps X's bill for each UTC day as X does, and below what the owner wants to pay.

    X charges for a post once in a UTC day, however often it returns it, and anew from 00:00 UTC:
    https://docs.x.com/x-api/fundamentals/post-cap. A second that X may count to either of two
    days is booked to both. Safe to be shared by threads; times are Unix ms by X's clock.

    price_usd: of a post; 0 if it is paid otherwise. daily_usd: the most that a day may cost.
    spent: by day (as 2026-11-21), what was billed before. Which posts that were is not known:
    those that are read again count again, so that it is never too little.
    counting_share: of daily_usd, what is kept back from posts for counting; 0 if nobody counts.
    closed: why nothing may be bought here, if the money of a day is limited; else empty.
    """

    def __init__(
        self,
        price_usd: float = 0.0,
        daily_usd: float | None = None,
        spent: Mapping[str, Bill] = MappingProxyType({}),
        *,
        counting_share: float = COUNTING_SHARE,
        closed: str = "",
    ) -> None:
        self._price = round(price_usd * NANO)
        self._limit = None if daily_usd is None else round(daily_usd * NANO)
        self._counting = 0 if self._limit is None else round(self._limit * counting_share)
        self._bills = {_day(parse_ms(day)): spent[day] for day in sorted(spent)}
        self._closed = closed
        self._allowances: list[Allowance] = []
        self._rate = SpendingRate()  # in billionths of a dollar
        self._has_answered = False
        self._untold = 0
        self._lock = threading.RLock()

    @property
    def is_limited(self) -> bool:
        """Whether the posts of a day are limited."""
        return self._limit is not None and self._price > 0

    def check(self, now_ms: int) -> None:
        """Raise BudgetError when fewer posts are left than the least page has."""
        if self._closed and self.is_limited:
            raise BudgetError(self._closed, retry_after=LONGEST_REST_SECONDS, by_choice=True)
        with self._lock:
            left = self.posts_left(now_ms)
            if left is None or left >= LEAST_PAGE:
                return
            seconds = _rest_seconds(now_ms)
            if any(allowance.lost_ms is None for allowance in self._allowances):
                seconds = min(seconds, 5.0)  # what is under way may cost less than it could
            raise BudgetError(self._sentence(now_ms), retry_after=seconds, by_choice=True)

    def check_stream(self, now_ms: int) -> None:
        """Raise BudgetError when what is left of the day's money is too little for a stream.

        A piece of it that has come is paid for, and may have as many posts as a page.
        """
        self.check(now_ms)
        left = self.posts_left(now_ms)
        if left is not None and left < LARGEST_PAGE:
            raise BudgetError(
                f"X's budget for today buys fewer than {LARGEST_PAGE} more posts: these are left "
                "to its search",
                retry_after=_rest_seconds(now_ms),
                by_choice=True,
            )

    def posts_left(self, now_ms: int) -> int | None:
        """How many posts may be returned today; None: any number."""
        if not self.is_limited:
            return None
        if self._closed:
            return 0
        with self._lock:
            return max(0, min(map(self._left, _near(now_ms))))

    @contextmanager
    def buy(
        self, now_ms: Callable[[], int], most: int = LARGEST_PAGE, since_ms: int | None = None
    ) -> Iterator[Allowance]:
        """Set aside what an answer of up to `most` posts may cost, while it is asked for.

        BudgetError as by `check`. `charge` ends it. While no answer has come through little is
        asked for: a lost one may have to be paid. since_ms: from when on it tells of posts, if it
        does so at all.
        """
        with self._lock:
            asked_ms = now_ms()
            self.check(asked_ms)
            left = self.posts_left(asked_ms)
            if left is not None:
                most = min(most, left if self._has_answered else LEAST_PAGE)
            allowance = Allowance(most, asked_ms)
            near = [a for a in self._allowances if asked_ms - (a.lost_ms or asked_ms) < 2 * DAY_MS]
            self._allowances = [*near, allowance]
        try:
            yield allowance
        except SourceError as error:
            with self._lock:
                if error.may_have_come and self.is_limited:
                    self._has_answered = False
                    allowance.lost_ms = now_ms()
                    if since_ms is not None:
                        allowance.about = Span(since_ms, allowance.lost_ms)
                else:
                    self._forget(allowance)
            raise
        self._has_answered = True

    def settle(self, seen: Spans) -> None:
        """What was seen was read to its end: what lost answers brought of it is known now."""
        with self._lock:
            self._allowances = [
                each for each in self._allowances if each.about is None or seen.gaps(each.about)
            ]

    def charge(
        self,
        versions: Iterable[str],
        now_ms: int,
        *,
        lasted_ms: int = 0,
        allowance: Allowance | None = None,
    ) -> int:
        """Book what X returned, posts by their versions (`x:<id>`); how many it bills for today.

        lasted_ms: how long ago X may have booked them. allowance: what was set aside for them.
        """
        with self._lock:
            self._forget(allowance)
            today = _day(now_ms)
            billed = 0
            days = _days(now_ms - min(lasted_ms, HOUR_MS), now_ms)
            bills = {day: self._bill(day) for day in days}
            for version in versions:
                mark = fingerprint(version, _PLAIN)
                new = [day for day, bill in bills.items() if bill.versions.add(mark) > 0]
                for day in new:
                    bills[day].posts += 1
                if today in new:
                    billed += 1
                    self._rate.note(self._price, _written_ms(version, now_ms), now_ms)
            return billed

    def counted(self, now_ms: int) -> None:
        """Book a question for counts."""
        with self._lock:
            for day in _near(now_ms):
                self._bill(day).counts += 1
            self._rate.note(COUNTS_PRICE, now_ms, now_ms)
            self._untold += 1

    def pop_untold(self) -> int:
        """How many questions for counts were booked and not told yet; they are told now."""
        with self._lock:
            untold, self._untold = self._untold, 0
            return untold

    def counts_left(self, now_ms: int) -> int:
        """How many questions for counts the day's money still buys; 0 if none is kept for it."""
        with self._lock:
            if self._limit is None or self._closed:
                return 0
            limit, days = self._limit, _near(now_ms)
            kept = [self._counting - self._bill(day).counts * COUNTS_PRICE for day in days]
            left = [limit - self._cost(day) - self._held(day) * self._price for day in days]
            return max(0, min(kept + left) // COUNTS_PRICE)

    def counting_due(self, now_ms: int, last_ms: int | None, window_ms: int) -> float | None:
        """In how many seconds to ask for counts; None if that has no use today, as things are.

        The money kept for it goes round for the rest of the day: less of it makes counting
        slower, and slower than the window it is of no use. last_ms: when they were asked for.
        """
        rounds = self.counts_left(now_ms)
        if not rounds or window_ms < MINUTE_MS:
            return None
        every_ms = max(COUNTING_MS, (DAY_MS - now_ms % DAY_MS) / rounds)
        if every_ms > window_ms:
            return None
        if last_ms is None or last_ms > now_ms:
            return 0.0
        return max(0.0, (last_ms + every_ms - now_ms) / 1000)

    def billed(self, now_ms: int) -> Bill:
        """The bill for the UTC day of that moment: today or yesterday."""
        with self._lock:
            return self._bills.get(_day(now_ms), Bill())

    def cost_usd(self, now_ms: int) -> float:
        """What the UTC day of that moment has cost."""
        with self._lock:
            return self._cost(_day(now_ms)) / NANO

    def remark(self, now_ms: int) -> str:
        """What today has cost and will have cost by midnight; empty while it has cost nothing.

        The forecast goes by the posts written in the last hour, once enough of them is known.
        """
        with self._lock:
            cost, left = self._cost(_day(now_ms)), self.posts_left(now_ms)
            if not cost:
                return ""
            of = "" if self._limit is None else f"of {usd(self._limit)} "
            words = f"{usd(cost)} {of}USD today"
            is_spent = left is not None and left < LEAST_PAGE
            forecast = "" if is_spent else self._rate.forecast(cost, self._limit, now_ms)
            return f"{words}, {forecast}" if forecast else words

    def _sentence(self, now_ms: int) -> str:
        day = min(_near(now_ms), key=self._left)
        held = self._held(day)
        if self._bill(day) == Bill() and not held:
            limit = usd(self._limit or 0)
            return f"X's budget of {limit} USD a day buys no page of {LEAST_PAGE} posts"
        # How much it was is in the remark.
        kept = ["counting"] if self._counting else []
        kept += ["answers that were lost"] if held else []
        rest = f" (the rest is kept for {' and '.join(kept)})" if kept else ""
        return f"X's budget for today is spent{rest}; it goes on at 00:00 UTC"

    def _left(self, day: int) -> int:
        """How many posts the money of a day still buys, less than none if it was passed."""
        bill = self._bill(day)
        kept = max(self._counting, bill.counts * COUNTS_PRICE)
        return ((self._limit or 0) - kept) // self._price - bill.posts - self._held(day)

    def _cost(self, day: int) -> int:
        bill = self._bill(day)
        return bill.posts * self._price + bill.counts * COUNTS_PRICE

    def _held(self, day: int) -> int:
        return sum(
            each.size
            for each in self._allowances
            if each.lost_ms is None or day in _days(each.asked_ms, each.lost_ms)
        )

    def _forget(self, allowance: Allowance | None) -> None:
        self._allowances = [known for known in self._allowances if known is not allowance]

    def _bill(self, day: int) -> Bill:
        if day not in self._bills:
            for other, bill in self._bills.items():
                if abs(other - day) > 1:  # nobody asks any more which posts it were
                    bill.versions = Fingerprints()
            self._bills[day] = Bill()
        return self._bills[day]


def spending(budget: Budget) -> Finding:
    """What X has cost today."""
    now_ms = round(time.time() * 1000)
    posts = budget.billed(now_ms).posts
    says = "nothing so far today (UTC)"
    if cost := budget.remark(now_ms):
        says = f"{cost}, {posts:,} post{'s' * (posts != 1)} (UTC, as last saved)"
    try:
        budget.check(now_ms)
    except BudgetError as error:
        return Finding.warning("spending", f"{says}; {error}", f"wait for that, or raise {BUDGET}")
    left = budget.posts_left(now_ms)
    more = "" if left is None else f"; {left:,} more posts may be read"
    return Finding.well("spending", says + more)


def _day(ms: int) -> int:
    return ms // DAY_MS


def _rest_seconds(now_ms: int) -> float:
    """In how many seconds the next day has begun for sure, or the clock may be another one."""
    midnight_ms = (_day(now_ms - NEAR_MS) + 1) * DAY_MS + NEAR_MS
    return min(LONGEST_REST_SECONDS, (midnight_ms - now_ms) / 1000 + 1)


def _days(since_ms: int, until_ms: int) -> range:
    """The days on which something may have been booked that happened in that time."""
    return range(_day(since_ms - NEAR_MS), _day(until_ms + NEAR_MS) + 1)


def _near(now_ms: int) -> range:
    """The days on which X may live at that moment."""
    return _days(now_ms, now_ms)


def _written_ms(version: str, now_ms: int) -> int:
    name = version.removeprefix("x:")
    return snowflake_ms(int(name)) if name.isdecimal() and len(name) <= 19 else now_ms
