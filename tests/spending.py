"""X's posts and what they cost: a day of them, and a simulation that pays from a budget."""

import random
from typing import Any

from simulation import Simulation, Time, x_settings
from standins import in_memory
from standins.x_api import OAuth1Keys, XApi
from standins.x_posts import Post, make_post, snowflake

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Grade
from tweetdock.sources.x.budget import Budget
from tweetdock.sources.x.client import XClient

DAY_MS = 86_400_000
HOUR = 3600.0
MIDNIGHT_MS = 20_718 * DAY_MS  # 2026-09-22T00:00Z
NOON_MS = MIDNIGHT_MS + DAY_MS // 2
PRICE = 0.005


def versions(number: int, first: int = 0, at_ms: int = NOON_MS) -> list[str]:
    """So many versions of posts, all of one millisecond."""
    return [f"x:{snowflake(at_ms, first + n)}" for n in range(number)]


def posts_from(since: float, seconds: float, number: int, seed: int = 1) -> list[Post]:
    """So many posts spread over the seconds after `since`, in Unix seconds."""
    dice = random.Random(seed)
    moments = sorted(dice.sample(range(round(seconds * 1000)), number))
    return [make_post(round(since * 1000) + ms, dice.randrange(number)) for ms in moments]


def make_client(
    api: XApi,
    time: Time,
    budget: Budget | None = None,
    *,
    keys: OAuth1Keys | None = None,
    **said: Any,
) -> XClient:
    """The client of an API, by a time that is told."""
    clock = Clock(wall=time, monotonic=time)
    client = XClient(x_settings(api.url, keys), clock=clock, budget=budget or Budget(), **said)
    in_memory.mount(client._session, api.url, api.answer)
    return client


class Spender(Simulation):
    """A simulation that pays for what it reads; `budget` outlives its restarts."""

    def __init__(
        self, api: XApi, time: Time, daily_usd: float | None, *, share: float = 0.1, **said: Any
    ) -> None:
        budget = Budget(PRICE, daily_usd, counting_share=share)
        super().__init__(api, time, budget=budget, **said)

    def assert_honest(self) -> None:
        """A number that was counted is of the past, and may be above the truth of now."""
        telling = [batch for batch in self.batches if batch.tally or batch.covers]
        if not any(batch.tally for batch in telling[-1:]):
            super().assert_honest()
            return
        reading = self.read()
        assert reading.sources["x"].detail
        if reading.grade is Grade.EXACT:  # but for the usual lag, still
            until_ms = self.time.ms - self.source.feed.lag_ms
            assert reading.posts >= self._truth.count(reading.at_ms - self.window_ms, until_ms)[0]
