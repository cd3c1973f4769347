"""What X costs: the bill as X makes it, never above the owner's limit, and what is said of it."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from profiles import examples
from simulation import TOKEN, Time
from spending import DAY_MS, HOUR, MIDNIGHT_MS, NOON_MS, PRICE, Spender, posts_from, versions
from standins import x_faults as faults
from standins.x_api import XApi
from standins.x_counts import utc_day
from standins.x_posts import snowflake

from tweetdock.core.coverage import Grade, Spans
from tweetdock.core.errors import SourceError
from tweetdock.core.post import Span
from tweetdock.sources.x.budget import NANO, Allowance, Bill, Budget, BudgetError, usd

SLOWLY = {"TWEETDOCK_POLL_SECONDS": "300", "TWEETDOCK_STALE_SECONDS": "600"}


def hour_before(now_ms: int, number: int) -> list[str]:
    return [f"x:{snowflake(now_ms - n * 3_600_000 // number)}" for n in range(number)]


def bought(budget: Budget, now_ms: int = NOON_MS) -> Allowance:
    """What is set aside for a page whose answer came."""
    with budget.buy(lambda: now_ms) as allowance:
        return allowance


def lose(budget: Budget, now_ms: int = NOON_MS, since_ms: int | None = None) -> None:
    """A page is asked for, and the answer lost."""
    with suppress(SourceError), budget.buy(lambda: now_ms, since_ms=since_ms):
        raise SourceError("the connection broke", may_have_come=True)


def test_a_post_is_charged_once_a_day_and_anew_after_midnight() -> None:
    budget = Budget(PRICE)
    assert budget.charge(versions(5), NOON_MS) == 5
    assert budget.charge(versions(7), NOON_MS + 60_000) == 2
    assert budget.billed(NOON_MS) == Bill(7, 0)
    assert budget.charge(versions(7), NOON_MS + DAY_MS) == 7
    assert budget.billed(NOON_MS) == budget.billed(NOON_MS + DAY_MS) == Bill(7, 0)


def test_each_version_of_an_edited_post_is_charged() -> None:
    budget = Budget(PRICE)
    assert budget.charge(["x:1", "x:2", "x:1"], NOON_MS) == 2


def test_what_cannot_be_read_is_charged_once_too() -> None:
    budget = Budget(PRICE)
    for _ in range(2):
        budget.charge([*versions(3), "x:unreadable:5d1f", "x:unreadable:77a0"], NOON_MS)
    assert budget.billed(NOON_MS) == Bill(3 + 2, 0)


def test_without_a_limit_any_number_is_left() -> None:
    for budget in (Budget(), Budget(PRICE), Budget(0.0, 1.0)):
        budget.charge(versions(5000), NOON_MS)
        budget.check(NOON_MS)
        assert budget.posts_left(NOON_MS) is None
        assert not budget.is_limited
        assert bought(budget).size == 100


def test_a_page_is_never_larger_than_the_money() -> None:
    budget = Budget(PRICE, 1.0, counting_share=0.0)
    budget.charge(versions(165), NOON_MS, allowance=bought(budget))
    allowance = bought(budget)
    assert allowance.size == 35
    budget.charge(versions(20, 165), NOON_MS, allowance=allowance)
    assert bought(budget).size == 15


def test_when_less_than_the_least_page_is_left_it_says_so_and_when_it_goes_on() -> None:
    budget = Budget(PRICE, 1.0, counting_share=0.0)
    budget.charge(versions(190), NOON_MS)
    budget.check(NOON_MS)
    budget.charge(versions(198), NOON_MS)
    with pytest.raises(BudgetError) as caught:
        budget.check(NOON_MS)
    assert str(caught.value) == "X's budget for today is spent; it goes on at 00:00 UTC"
    assert budget.remark(NOON_MS) == "0.99 of 1.00 USD today"
    assert caught.value.by_choice
    assert not caught.value.needs_owner
    assert caught.value.retry_after == 900
    with pytest.raises(BudgetError) as caught:
        budget.check(MIDNIGHT_MS + DAY_MS - 60_000)
    assert 60 <= (caught.value.retry_after or 0) <= 70
    budget.check(MIDNIGHT_MS + DAY_MS + 10_000)


def test_a_budget_that_buys_no_page_at_all_says_so() -> None:
    with pytest.raises(BudgetError, match=r"of 0\.04 USD a day buys no page of 10 posts"):
        Budget(PRICE, 0.04).check(NOON_MS)


def test_a_tenth_is_kept_for_counting_and_the_day_stays_closed() -> None:
    budget = Budget(PRICE, 1.0)
    budget.charge(versions(175), NOON_MS)
    with pytest.raises(BudgetError, match=r"spent \(the rest is kept for counting\)"):
        budget.check(NOON_MS)
    assert budget.counts_left(NOON_MS) == 20
    for _ in range(20):
        budget.counted(NOON_MS)
    assert budget.counts_left(NOON_MS) == 0
    with pytest.raises(BudgetError):
        budget.check(MIDNIGHT_MS + DAY_MS - 120_000)


def test_what_was_spent_before_a_restart_is_spent() -> None:
    budget = Budget(PRICE, 1.0, {"2026-09-22": Bill(150, 4), "2026-09-21": Bill(9, 9)})
    assert budget.posts_left(NOON_MS) == 200 - 150 - 20
    assert budget.billed(NOON_MS) == Bill(150, 4)
    assert budget.billed(NOON_MS - DAY_MS) == Bill(9, 9)
    budget.charge(versions(3), NOON_MS)  # perhaps known before; never too little
    assert budget.billed(NOON_MS) == Bill(153, 4)


def test_what_falls_near_midnight_is_booked_to_both_days() -> None:
    """X's clock and ours differ by a second or two: it may live on the other day."""
    for second in (-3, 3):
        budget = Budget(PRICE, 1.0, counting_share=0.0)
        budget.charge(versions(150), MIDNIGHT_MS + second * 1000)
        assert budget.posts_left(MIDNIGHT_MS - 60_000) == 50
        assert budget.posts_left(MIDNIGHT_MS + 60_000) == 50
    budget = Budget(PRICE, 1.0, counting_share=0.0)
    budget.charge(versions(150), MIDNIGHT_MS + 20_000, lasted_ms=30_000)
    assert budget.posts_left(MIDNIGHT_MS - 60_000) == 50
    budget = Budget(PRICE, 1.0, counting_share=0.0)
    budget.charge(versions(200), MIDNIGHT_MS - 60_000)
    with pytest.raises(BudgetError):
        budget.check(MIDNIGHT_MS + 2000)
    budget.check(MIDNIGHT_MS + 6000)


def test_an_answer_that_was_lost_may_have_cost_a_page_until_it_is_known() -> None:
    budget = Budget(PRICE, 1.0, counting_share=0.0)
    budget.charge([], NOON_MS, allowance=bought(budget))
    lose(budget, since_ms=NOON_MS - 1000)
    assert budget.posts_left(NOON_MS) == 100
    assert budget.posts_left(NOON_MS + DAY_MS) == 200
    budget.charge(versions(95), NOON_MS)
    with pytest.raises(BudgetError, match="the rest is kept for answers that were lost"):
        budget.check(NOON_MS)
    budget.settle(Spans([Span(NOON_MS - 1000, NOON_MS)]))
    assert budget.posts_left(NOON_MS) == 105


def test_lost_answers_are_not_kept_for_ever() -> None:
    for budget in (Budget(PRICE), Budget(PRICE, 1000.0)):
        for hour in range(500):
            lose(budget, NOON_MS + hour * 3_600_000)
        assert len(budget._allowances) <= 49


def test_two_who_ask_at_once_cannot_spend_the_same_money() -> None:
    budget = Budget(PRICE, 1.0, counting_share=0.0)
    number, lock, sent = iter(range(10**6)), threading.Lock(), []

    def read() -> None:
        while True:
            try:
                with budget.buy(lambda: NOON_MS) as allowance, lock:
                    page = [f"x:{next(number)}" for _ in range(allowance.size)]
                    sent.extend(page)
            except BudgetError as error:
                if error.retry_after == 900:
                    return
                continue
            budget.charge(page, NOON_MS, allowance=allowance)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert 190 < len(sent) <= 200


def test_a_day_of_a_hundred_thousand_posts_is_small() -> None:
    budget = Budget(PRICE)
    budget.charge((f"x:{n}" for n in range(100_000)), NOON_MS)
    known = budget.billed(NOON_MS).versions
    octets = sum(getattr(known, name).__sizeof__() for name in ("_fingerprints", "_slots"))
    assert octets < 20 * 100_000


def test_the_remark_says_what_today_costs_and_will_cost() -> None:
    budget = Budget(PRICE)
    assert budget.remark(NOON_MS) == ""
    budget.charge(hour_before(NOON_MS, 100), NOON_MS)
    # An hour is read at once: 100 posts an hour, not 100 a second.
    assert budget.remark(NOON_MS) == "0.50 USD today, about 6.50 USD by midnight UTC"
    budget.counted(NOON_MS)
    assert budget.remark(NOON_MS).startswith("0.51 USD today")
    assert Budget().remark(NOON_MS) == ""
    free = Budget(0.0)
    free.charge(hour_before(NOON_MS, 100), NOON_MS)
    assert free.remark(NOON_MS) == ""


def test_the_remark_shows_the_limit_and_when_it_will_be_reached() -> None:
    budget = Budget(PRICE, 20.0)
    budget.charge(hour_before(NOON_MS, 100), NOON_MS)
    assert budget.remark(NOON_MS) == "0.50 of 20.00 USD today, about 6.50 USD by midnight UTC"
    budget = Budget(PRICE, 2.0)
    budget.charge(hour_before(NOON_MS, 100), NOON_MS)
    remark = "0.50 of 2.00 USD today, at this pace spent at about 15:00 UTC"
    assert budget.remark(NOON_MS) == remark
    budget.charge(hour_before(NOON_MS - 1, 300), NOON_MS)
    assert budget.remark(NOON_MS) == "2.00 of 2.00 USD today"


def test_the_pace_after_a_restart_is_not_that_of_its_first_minutes() -> None:
    budget = Budget(PRICE, spent={"2026-09-22": Bill(1000, 0)})
    for minute in range(12):
        at_ms = NOON_MS + minute * 60_000
        budget.charge(versions(2, at_ms=at_ms), at_ms)
    words = "5.12 USD today, about 12.85 USD by midnight UTC"  # 24 posts in 11 minutes
    assert budget.remark(NOON_MS + 11 * 60_000) == words


def test_until_there_is_a_pace_there_is_no_forecast() -> None:
    """After a restart at noon half of the money was said to last until midnight."""
    budget = Budget(PRICE, 10.0, {"2026-09-22": Bill(1000, 0)})
    assert budget.remark(NOON_MS) == "5.00 of 10.00 USD today"
    budget.charge(versions(1), NOON_MS)
    assert budget.remark(NOON_MS + 599_999) == "5.00 of 10.00 USD today"
    assert "by midnight" in budget.remark(NOON_MS + 600_000)


@pytest.mark.parametrize(
    ("dollars", "words"),
    [
        *((0.0, "0.00"), (0.005, "0.005"), (0.0042, "0.0042"), (0.00999, "0.01"), (0.01, "0.01")),
        *((0.00042, "0.00042"), (1e-9, "0.000000001"), (1.5, "1.50"), (1234.567, "1234.57")),
    ],
)
def test_little_money_is_not_said_to_be_none(dollars: float, words: str) -> None:
    assert usd(dollars * NANO) == words


def test_the_first_post_of_a_day_costs_something() -> None:
    budget = Budget(PRICE, 0.0999, {"2026-09-22": Bill(1, 0)})
    assert budget.remark(NOON_MS) == "0.005 of 0.10 USD today"


def test_where_another_pays_nothing_is_bought_if_the_money_is_limited() -> None:
    why = "another TweetDock at work pays for today's posts"
    budget = Budget(PRICE, 1.0, closed=why)
    for ask in (lambda: budget.check(NOON_MS), lambda: bought(budget)):
        with pytest.raises(BudgetError) as caught:
            ask()
        assert str(caught.value) == why
        assert caught.value.by_choice
    assert (budget.posts_left(NOON_MS), budget.counts_left(NOON_MS)) == (0, 0)
    free = Budget(PRICE, closed=why)
    assert bought(free).size == 100
    assert free.posts_left(NOON_MS) is None


class Books:
    """The bill by brute force."""

    def __init__(self) -> None:
        self.days: dict[int, set[str]] = {}

    def take(self, names: list[str], now_ms: int) -> int:
        day = self.days.setdefault(now_ms // DAY_MS, set())
        before = len(day)
        day.update(names)
        return len(day) - before


@given(
    moves=st.lists(
        st.tuples(st.integers(10_000, DAY_MS // 2), st.lists(st.integers(1, 60), max_size=40)),
        max_size=30,
    )
)
def test_the_bill_is_that_of_brute_force_away_from_midnight(
    moves: list[tuple[int, list[int]]],
) -> None:
    budget, books, now_ms = Budget(PRICE), Books(), NOON_MS
    for wait_ms, numbers in moves:
        now_ms += wait_ms
        if not 5000 <= now_ms % DAY_MS < DAY_MS - 5000:
            now_ms += 10_000
        names = [f"x:{n}" for n in numbers]
        assert budget.charge(names, now_ms) == books.take(names, now_ms)
        assert budget.billed(now_ms).posts == len(books.days[now_ms // DAY_MS])


@given(
    moves=st.lists(
        st.tuples(
            st.one_of(st.integers(0, DAY_MS // 3), st.integers(-2500, 2500)),
            st.integers(-2500, 2500),
            st.floats(0, 1),
            st.sampled_from(["come", "come", "lost", "refused", "count"]),
        ),
        max_size=60,
    ),
    daily_usd=st.floats(0, 2),
    share=st.sampled_from([0.0, 0.1]),
)
def test_no_day_of_x_costs_more_than_the_budget_whatever_its_clock_says(
    moves: list[tuple[int, int, float, str]], daily_usd: float, share: float
) -> None:
    budget, bills = Budget(PRICE, daily_usd, counting_share=share), Counter[int]()
    now_ms, number = NOON_MS, 0
    for wait_ms, skew_ms, part, fate in moves:
        # Some at once after the one before, or about midnight, where it is dangerous.
        midnight_ms = (now_ms // DAY_MS + 1) * DAY_MS
        now_ms = max(now_ms, now_ms + wait_ms if wait_ms >= 0 else midnight_ms + wait_ms + 1250)
        x_day = (now_ms + skew_ms) // DAY_MS
        if fate == "count":
            if budget.counts_left(now_ms):
                budget.counted(now_ms)
                bills[x_day] += 1
            continue
        with suppress(SourceError), budget.buy(partial(int, now_ms)) as allowance:
            if fate == "refused":
                raise SourceError("refused")
            page = [f"x:{n}" for n in range(number, number + round(allowance.size * part))]
            number += len(page)
            bills[x_day] += len(page)
            if fate == "lost":
                raise SourceError("lost", may_have_come=True)
            budget.charge(page, now_ms, allowance=allowance)
    assert all(bill * PRICE <= daily_usd + 1e-9 for bill in bills.values())


@pytest.fixture
def time() -> Time:
    return Time(MIDNIGHT_MS / 1000 + 20 * HOUR)


@pytest.fixture
def api(time: Time) -> Iterator[XApi]:
    with XApi(now=time, bearer=TOKEN) as api:
        yield api


def test_reading_stops_before_the_budget_is_passed_and_goes_on_after_midnight(
    api: XApi, time: Time
) -> None:
    api.add(*posts_from(time.seconds - HOUR, 12 * HOUR, 1200))
    spender = Spender(api, time, 1.0, share=0.0, TWEETDOCK_POLL_SECONDS="30")
    spender.run(time.seconds + 3 * HOUR, spender.assert_honest)
    reading = spender.read()
    assert reading.grade is Grade.PARTIAL
    cost = api.bill("2026-09-22").posts / 200
    assert reading.sources["x"].detail == (
        f"X's budget for today is spent; it goes on at 00:00 UTC; {cost:.2f} of 1.00 USD today"
    )
    assert 190 < api.bill("2026-09-22").posts <= 200
    assert api.bill("2026-09-22").posts == spender.budget.billed(NOON_MS).posts
    spender.run(MIDNIGHT_MS / 1000 + 24 * HOUR + 30 * 60, spender.assert_honest)
    # What was written since 23:00 is read now, as far as it is in the window.
    spender.assert_true()
    assert api.bill("2026-09-22").usd <= 1.0
    assert api.bill("2026-09-23").usd <= 1.0


def test_where_another_pays_x_is_asked_for_nothing_that_costs(api: XApi, time: Time) -> None:
    """A guest beside a gauge at work bought the hour anew, from a budget of its own."""
    api.add(*posts_from(time.seconds - HOUR, 2 * HOUR, 150))
    spender = Spender(api, time, 1.0)
    spender.budget = Budget(PRICE, 1.0, {"2026-09-22": Bill(30, 0)}, closed="another pays")
    spender.restart()
    spender.run(time.seconds + 0.5 * HOUR, spender.assert_honest)
    assert api.bill("2026-09-22") == (0, 0)
    reading = spender.read()
    assert (reading.posts, reading.grade) == (0, Grade.PARTIAL)
    assert reading.sources["x"].detail == "another pays; 0.15 of 1.00 USD today"


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_an_outage_while_the_money_is_spent_becomes_stale_and_heals(
    api: XApi, time: Time, share: float
) -> None:
    """With the budget spent silence was always by choice: the needles stood for hours."""
    api.add(*posts_from(time.seconds - HOUR, HOUR - 60, 500))
    spender = Spender(api, time, 1.0, share=share)
    spender.run(time.seconds + 1000)
    assert spender.read().grade is Grade.PARTIAL
    api.fail(faults.reset())
    grades = set[Grade]()
    spender.run(time.seconds + 1000, lambda: grades.add(spender.read().grade))
    assert grades == {Grade.PARTIAL}  # one answer that was lost is no outage
    api.down()
    spender.run(time.seconds + 1500)
    reading = spender.read()
    assert reading.grade is Grade.STALE
    assert "no data for" in reading.sources["x"].detail
    assert "X's budget for today is spent" in reading.sources["x"].detail
    assert spender.waits[-1] <= 30


def test_every_batch_says_what_it_has_cost(api: XApi, time: Time) -> None:
    api.add(*posts_from(time.seconds - HOUR, HOUR, 150))
    spender = Spender(api, time, None)
    spender.run(time.seconds + 600)
    assert sum(batch.billed or 0 for batch in spender.batches) == api.bill("2026-09-22").posts
    assert spender.batches[-1].remark.startswith("0.75 USD today, about 3.")
    assert "0.75 USD today" in spender.read().sources["x"].detail
    assert spender.read().grade is Grade.EXACT


def test_what_is_read_again_on_the_same_day_costs_nothing(api: XApi, time: Time) -> None:
    api.add(*posts_from(time.seconds - HOUR, HOUR, 150))
    spender = Spender(api, time, None)
    spender.poll()
    spender.restart()  # with nothing saved
    spender.poll()
    assert api.posts_read == 300
    assert api.bill("2026-09-22").posts == spender.budget.billed(NOON_MS).posts == 150
    assert spender.batches[-1].billed == 0


def test_a_search_that_the_budget_has_ended_leaves_a_gap(api: XApi, time: Time) -> None:
    api.add(*posts_from(time.seconds - HOUR, HOUR - 60, 500))
    spender = Spender(api, time, 1.0, share=0.0)
    spender.poll()
    assert sum(batch.billed or 0 for batch in spender.batches) == 200
    reading = spender.read()
    assert (reading.grade, reading.posts) == (Grade.PARTIAL, 200)
    assert 0.3 < reading.covered < 0.5


def test_while_the_clock_is_not_known_no_day_is_charged(time: Time) -> None:
    """A Pi without a battery starts on another day: its budget is not that of the day at X."""
    for hours in (-24, 24):
        with XApi(posts_from(time.seconds - HOUR, HOUR, 300), now=time, bearer=TOKEN) as api:
            spender = Spender(api, time, 1.0, machine_is_off_by=hours * HOUR)
            spender.budget.charge(versions(185), time.ms)
            spender.run(time.seconds + 120)
            assert api.bill("2026-09-22").posts == 0
            assert api.requests[0].params["since_id"] == str((1 << 63) - 1)


def test_a_clock_that_slept_finds_the_new_day_by_itself(api: XApi, time: Time) -> None:
    api.add(*posts_from(time.seconds - HOUR, 30 * HOUR, 600))
    spender = Spender(api, time, 0.1, share=0.0)
    spender.poll()
    assert spender.troubles
    time.seconds += 10 * HOUR
    spender.clock.set(time.ms - round(10 * HOUR * 1000))  # its hours stood still
    spender.run(time.seconds + 16 * 60, lambda: None)
    assert api.bill("2026-09-23").posts > 0


LOSSES = [faults.cut(400), faults.cut(3), faults.reset()]


def test_lost_answers_are_paid_and_asked_for_in_small_pages(api: XApi, time: Time) -> None:
    api.add(*posts_from(time.seconds - HOUR, HOUR - 60, 150))
    spender = Spender(api, time, 1.0, share=0.0)
    api.fail(faults.Changed(lambda payload: payload), *[faults.cut(400)] * 3)
    spender.run(time.seconds + 10)
    sizes = [request.params["max_results"] for request in api.requests[1:]]
    assert sizes[:5] == ["10", "10", "10", "10", "100"]
    assert api.bill("2026-09-22").posts <= 200


def test_nobody_there_costs_nothing(api: XApi, time: Time) -> None:
    spender = Spender(api, time, 1.0)
    spender.poll()
    api.down()
    spender.run(time.seconds + HOUR)
    assert spender.budget.posts_left(time.ms) == 180


@settings(max_examples=examples(5), deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    seed=st.integers(0, 2**32),
    daily_usd=st.sampled_from([0.3, 1.0, 2.5]),
    share=st.sampled_from([0.0, 0.1]),
    skew_seconds=st.sampled_from([0.0, 0.0, -1.5, 1.5]),
)
def test_no_day_costs_more_than_the_budget_and_no_reading_lies(
    seed: int, daily_usd: float, share: float, skew_seconds: float
) -> None:
    dice = random.Random(seed)
    time = Time(MIDNIGHT_MS / 1000 + dice.uniform(0, 24) * HOUR)
    begin = time.seconds
    with XApi(now=time, bearer=TOKEN, skew_seconds=skew_seconds) as api:
        for part in range(36):
            since, number = begin + (part - 1) * HOUR, dice.choice([0, 3, 40, 40, 400])
            api.add(*posts_from(since, HOUR, number, part))
        spender = Spender(api, time, daily_usd, share=share, **SLOWLY)
        lossy = dice.random() < 0.5

        def happen() -> None:
            spender.assert_honest()
            if lossy and dice.random() < 0.02:
                api.fail(*(dice.choice(LOSSES) for _ in range(dice.randrange(4))))

        spender.run(begin + 34 * HOUR, happen)
        for day in {utc_day(begin + hour * HOUR) for hour in range(36)}:
            assert api.bill(day).usd <= daily_usd + 1e-9
            middle = datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC).timestamp()
            ours = spender.budget.billed(round(middle * 1000))
            if not lossy and not skew_seconds:
                assert ours.posts >= api.bill(day).posts
        days = {(word.server_ms or 0) // DAY_MS for word in spender.batches if word.posts}
        assert len(days) >= 2


def test_an_answer_that_came_over_midnight_is_booked_to_the_day_of_x(api: XApi, time: Time) -> None:
    time.seconds = MIDNIGHT_MS / 1000 + 24 * HOUR - 20
    api.add(*posts_from(time.seconds - HOUR, HOUR, 50))
    spender = Spender(api, time, None, answer_seconds=60.0)
    api.takes = pauses(time, [10, 50])
    spender.poll()
    assert api.bill("2026-09-22").posts == 50
    assert spender.budget.billed(NOON_MS).posts == 50


def pauses(time: Time, seconds: list[float]) -> Callable[[], None]:
    left = iter(seconds)

    def pause() -> None:
        time.seconds += next(left, 0)

    return pause


def test_once_it_is_read_what_a_lost_answer_was_about_it_is_not_paid_twice(
    api: XApi, time: Time
) -> None:
    api.add(*posts_from(time.seconds - HOUR, 2 * HOUR, 100))
    spender = Spender(api, time, 1.0, share=0.0)
    spender.run(time.seconds + 60)
    api.fail(faults.cut(3))
    spender.poll()
    assert 45 <= (spender.budget.posts_left(time.ms) or 0) <= 55
    spender.run(time.seconds + 4 * 60)
    assert spender.budget.posts_left(time.ms) == 200 - api.bill("2026-09-22").posts


def test_nothing_is_counted_when_others_have_spent_what_was_kept_for_it() -> None:
    budget = Budget(PRICE, 1.0)
    budget.charge(versions(197), NOON_MS)
    assert budget.counts_left(NOON_MS) == 3
    budget.charge(versions(205), NOON_MS)
    assert budget.counts_left(NOON_MS) == 0
