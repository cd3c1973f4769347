"""What X's posts cost: how much of a day's money is spent, and what is left of it for what."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from tweetdock.core.coverage import Spans
from tweetdock.core.errors import SourceError
from tweetdock.core.finding import Finding
from tweetdock.core.fingerprints import Fingerprints, fingerprint, salted
from tweetdock.core.post import Span
from tweetdock.core.times import DAY_MS, HOUR_MS, MINUTE_MS, clock_time, rfc3339
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

PIECES = 1000  # of a stream, the last ones, whose sizes are remembered
BUDGET = "TWEETDOCK_X_DAILY_BUDGET_USD"
_PLAIN = salted(b"")


def usd(nano: float) -> str:
    """Billionths of a dollar as dollars: `12.50`; less than a cent by two digits: `0.0042`."""
    dollars = nano / NANO
    if not 0 < dollars < 0.01:
        return f"{dollars:.2f}"
    return f"{dollars:.{1 - math.floor(math.log10(dollars))}f}".rstrip("0")


class Bill(NamedTuple):
    """What X takes money for in a day: posts, each once, and questions for counts."""

    posts: int = 0
    counts: int = 0


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
        self._amounts: dict[int, int] = {}  # by minute
        self._since_ms: int | None = None

    def note(self, amount: int, at_ms: int, now_ms: int) -> None:
        """So much was paid for what was written at `at_ms`."""
        at_ms = min(at_ms, now_ms)
        if now_ms - at_ms < HOUR_MS:
            minute = at_ms // MINUTE_MS
            self._amounts[minute] = self._amounts.get(minute, 0) + amount
        if self._since_ms is None or at_ms < self._since_ms:
            self._since_ms = at_ms
        self._forget(now_ms)

    def per_ms(self, now_ms: int) -> float | None:
        """The amount a millisecond, of the last hour as far as it is known; None at first."""
        self._forget(now_ms)
        known_ms = 0 if self._since_ms is None else now_ms - self._since_ms
        if known_ms < LEAST_MS:
            return None
        return sum(self._amounts.values()) / min(HOUR_MS, known_ms)

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

    def _forget(self, now_ms: int) -> None:
        # The clock may have been wrong: what is still to come is forgotten, too.
        minutes = range((now_ms - HOUR_MS) // MINUTE_MS + 1, now_ms // MINUTE_MS + 1)
        if self._amounts.keys() - minutes:
            self._amounts = {m: paid for m, paid in self._amounts.items() if m in minutes}


class _Day:
    """One UTC day's bill. is_closed: it was too little for another page, and stays so."""

    def __init__(self, number: int, bill: Bill) -> None:
        self.number = number
        self.posts, self.counts = bill
        self.versions = Fingerprints()
        self.is_closed = False


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
        self._spent = dict(spent)
        self._closed = closed
        self._days: dict[int, _Day] = {}
        self._allowances: list[Allowance] = []
        self._rate = SpendingRate()  # in billionths of a dollar
        self._piece_sizes: deque[int] = deque([0], maxlen=PIECES)
        self._stream_spent_until_ms = 0
        self._has_answered = False
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
            midnight_ms = _midnight_ms(now_ms)
            seconds = min(LONGEST_REST_SECONDS, (midnight_ms - now_ms) / 1000 + 1)
            if any(allowance.lost_ms is None for allowance in self._allowances):
                seconds = min(seconds, 5.0)  # what is under way may cost less than it could
            else:
                # Closed for good: what is kept for counting shrinks later, and would not stay so.
                for day in self._near(now_ms):
                    day.is_closed = day.is_closed or self._left(day, now_ms) < LEAST_PAGE
            raise BudgetError(self._sentence(now_ms), retry_after=seconds, by_choice=True)

    def check_stream(self, now_ms: int) -> None:
        """Raise BudgetError when what is left of the day's money is too little for a stream.

        A piece of it that has come is paid for, however large: so it ends while one as large as
        the largest of late could still be paid.
        """
        with self._lock:
            self.check(now_ms)
            midnight_ms = _midnight_ms(now_ms)
            left = self.posts_left(now_ms)
            if left is not None and left < max(self._piece_sizes):
                self._stream_spent_until_ms = midnight_ms
                # The next day is begun even if all its money is less than that.
                self._piece_sizes = deque([0], maxlen=PIECES)
            if now_ms < self._stream_spent_until_ms <= midnight_ms:
                raise BudgetError(
                    "X's budget for today is too far spent for its stream; it goes on at 00:00 UTC",
                    retry_after=min(LONGEST_REST_SECONDS, (midnight_ms - now_ms) / 1000 + 1),
                    by_choice=True,
                )

    def streamed(self, posts: int) -> None:
        """A piece of the stream has brought so many posts."""
        with self._lock:
            if posts:
                self._piece_sizes.append(posts)

    def posts_left(self, now_ms: int) -> int | None:
        """How many posts may be returned today; None: any number."""
        if not self.is_limited:
            return None
        if self._closed:
            return 0
        with self._lock:
            near = self._near(now_ms)
            return max(0, min(0 if day.is_closed else self._left(day, now_ms) for day in near))

    @contextmanager
    def buy(
        self, now_ms: Callable[[], int], most: int = LARGEST_PAGE, since_ms: int | None = None
    ) -> Iterator[Allowance]:
        """Set aside what an answer may cost, as by `allow`, while it is asked for.

        It is to be ended by `charge`. While none has come through little is asked for: a lost one
        may have to be paid. since_ms: from when on it tells of posts, if it does so at all.
        """
        is_safe = self._has_answered or not self.is_limited
        allowance = self.allow(now_ms(), most if is_safe else min(most, LEAST_PAGE))
        try:
            yield allowance
        except SourceError as error:
            if error.may_have_come:
                self._has_answered = False
                allowance.about = None if since_ms is None else Span(since_ms, now_ms())
                self.lose(allowance, now_ms())
            else:
                self.free(allowance)
            raise
        self._has_answered = True

    def settle(self, seen: Spans) -> None:
        """What was seen was read to its end: what lost answers brought of it is known now."""
        with self._lock:
            self._allowances = [
                each for each in self._allowances if each.about is None or seen.gaps(each.about)
            ]

    def allow(self, now_ms: int, most: int = LARGEST_PAGE) -> Allowance:
        """Set aside what a page may cost, up to `most` posts; BudgetError as by `check`.

        It is to be ended by `charge`, `lose` or `free`.
        """
        with self._lock:
            self.check(now_ms)
            left = self.posts_left(now_ms)
            allowance = Allowance(most if left is None else min(most, left), now_ms)
            near = [a for a in self._allowances if now_ms - (a.lost_ms or now_ms) < 2 * DAY_MS]
            self._allowances = [*near, allowance]
            return allowance

    def charge(
        self,
        versions: Iterable[str],
        now_ms: int,
        *,
        nameless: int = 0,
        lasted_ms: int = 0,
        allowance: Allowance | None = None,
    ) -> int:
        """Book the versions of posts (`x:<id>`) that X returned; how many it bills for today.

        nameless: how many more it returned that could not be told apart. lasted_ms: how long ago
        X may have booked them. allowance: what was set aside for them.
        """
        with self._lock:
            self._forget(allowance)
            today = _day(now_ms)
            billed = 0
            days = {d: self._day(d) for d in _days(now_ms - min(lasted_ms, HOUR_MS), now_ms)}
            for version in versions:
                mark = fingerprint(version, _PLAIN)
                new = [d for d, day in days.items() if day.versions.add(mark) > 0]
                for number in new:
                    days[number].posts += 1
                if today in new:
                    billed += 1
                    self._rate.note(self._price, _written_ms(version, now_ms), now_ms)
            for day in days.values():
                day.posts += nameless
            if nameless:
                self._rate.note(nameless * self._price, now_ms, now_ms)
            return billed + nameless

    def lose(self, allowance: Allowance, now_ms: int) -> None:
        """An answer was lost on its way: it may have cost all that was set aside for it."""
        with self._lock:
            allowance.lost_ms = now_ms
            if not self.is_limited:
                self._forget(allowance)

    def free(self, allowance: Allowance) -> None:
        """Nothing was returned, or it is known by now what was."""
        with self._lock:
            self._forget(allowance)

    def counted(self, now_ms: int) -> None:
        """Book a question for counts."""
        with self._lock:
            for day in self._near(now_ms):
                day.counts += 1
            self._rate.note(COUNTS_PRICE, now_ms, now_ms)

    def counts_left(self, now_ms: int) -> int:
        """How many questions for counts the day's money still buys; 0 if none is kept for it."""
        with self._lock:
            if self._limit is None or self._closed:
                return 0
            days = self._near(now_ms)
            kept = [self._counting - day.counts * COUNTS_PRICE for day in days]
            left = [self._limit - self._cost(day) - self._held(day) * self._price for day in days]
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
            number = _day(now_ms)
            day = self._days.get(number)
            return Bill(day.posts, day.counts) if day else self._spent.get(_name(number), Bill())

    def cost_usd(self, now_ms: int) -> float:
        """What the UTC day of that moment has cost."""
        posts, counts = self.billed(now_ms)
        return (posts * self._price + counts * COUNTS_PRICE) / NANO

    def cost(self, now_ms: int) -> str:
        """What today has cost, and of how much; empty while it has cost nothing."""
        with self._lock:
            return self._words(self._day(_day(now_ms)))

    def remark(self, now_ms: int) -> str:
        """What today has cost and will have cost by midnight; empty while it has cost nothing.

        The forecast goes by the posts written in the last hour, once enough of them is known.
        """
        with self._lock:
            day = self._day(_day(now_ms))
            cost, words = self._cost(day), self._words(day)
            if not words:
                return ""
            is_over = day.is_closed or (self._limit is not None and cost >= self._limit)
            forecast = "" if is_over else self._rate.forecast(cost, self._limit, now_ms)
            return f"{words}, {forecast}" if forecast else words

    def _words(self, day: "_Day") -> str:
        of = "" if self._limit is None else f"of {usd(self._limit)} "
        cost = self._cost(day)
        return f"{usd(cost)} {of}USD today" if cost else ""

    def _sentence(self, now_ms: int) -> str:
        day = min(self._near(now_ms), key=lambda day: self._left(day, now_ms))
        held = self._held(day)
        if day.posts == day.counts == held == 0:
            limit = usd(self._limit or 0)
            return f"X's budget of {limit} USD a day buys no page of {LEAST_PAGE} posts"
        # How much it was is in the remark.
        kept = ["counting"] if self._counting else []
        kept += ["answers that were lost"] if held else []
        rest = f" (the rest is kept for {' and '.join(kept)})" if kept else ""
        return f"X's budget for today is spent{rest}; it goes on at 00:00 UTC"

    def _left(self, day: _Day, now_ms: int) -> int:
        questions = (DAY_MS - now_ms % DAY_MS) // COUNTING_MS * COUNTS_PRICE
        kept = max(0, min(self._counting - day.counts * COUNTS_PRICE, questions))
        left = (self._limit or 0) - self._cost(day) - kept
        return left // self._price - self._held(day)

    def _cost(self, day: _Day) -> int:
        return day.posts * self._price + day.counts * COUNTS_PRICE

    def _held(self, day: _Day) -> int:
        return sum(
            each.size
            for each in self._allowances
            if each.lost_ms is None or day.number in _days(each.asked_ms, each.lost_ms)
        )

    def _forget(self, allowance: Allowance | None) -> None:
        self._allowances = [known for known in self._allowances if known is not allowance]

    def _near(self, now_ms: int) -> list[_Day]:
        return [self._day(number) for number in _days(now_ms, now_ms)]

    def _day(self, number: int) -> _Day:
        bill = self._spent.get(_name(number), Bill())
        day = self._days.pop(number, None) or _Day(number, bill)
        self._days[number] = day
        while len(self._days) > 2:  # the two that were asked for last
            number = next(iter(self._days))
            gone = self._days.pop(number)
            self._spent = self._spent | {_name(number): Bill(gone.posts, gone.counts)}
        return day


def spending(budget: Budget) -> Finding:
    """What X has cost today."""
    now_ms = round(time.time() * 1000)
    posts = budget.billed(now_ms).posts
    says = "nothing so far today (UTC)"
    if cost := budget.cost(now_ms):
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


def _midnight_ms(now_ms: int) -> int:
    """When the next day has begun for sure."""
    return (_day(now_ms - NEAR_MS) + 1) * DAY_MS + NEAR_MS


def _days(since_ms: int, until_ms: int) -> range:
    """The days on which something may have been booked that happened in that time."""
    return range(_day(since_ms - NEAR_MS), _day(until_ms + NEAR_MS) + 1)


def _name(day: int) -> str:
    return rfc3339(day * DAY_MS)[:10]


def _written_ms(version: str, now_ms: int) -> int:
    name = version.removeprefix("x:")
    return snowflake_ms(int(name)) if name.isdecimal() and len(name) <= 19 else now_ms
