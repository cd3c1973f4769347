"""The client of X's API: one question, one answer, and the money for it."""

from collections.abc import Callable, Iterator

import pytest
from simulation import TOKEN, Time, x_settings
from spending import HOUR, MIDNIGHT_MS, PRICE, make_client, posts_from, versions
from standins import x_faults as faults
from standins.x_api import OAuth1Keys, XApi
from standins.x_posts import make_post, milliseconds

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import RefusedError, SourceError
from tweetdock.core.post import Span
from tweetdock.sources.http import WHOLE_SECONDS
from tweetdock.sources.x.budget import Bill, Budget, BudgetError
from tweetdock.sources.x.client import XClient, explain
from tweetdock.sources.x.plan import SearchRequest
from tweetdock.sources.x.posts import since_id_for

NOW_MS = MIDNIGHT_MS + 20 * 3_600_000
QUERY = "#dockercon -is:retweet"
ASK = SearchRequest(since_ms=NOW_MS - 3_600_000, since_id=since_id_for(NOW_MS - 3_600_000))


@pytest.fixture
def time() -> Time:
    return Time(NOW_MS / 1000)


@pytest.fixture
def api(time: Time) -> Iterator[XApi]:
    with XApi(now=time, bearer=TOKEN) as api:
        yield api


def pages(client: XClient) -> list[list[int]]:
    found: list[list[int]] = []
    token = None
    while token or not found:
        page = client.search(QUERY, ASK, token)
        found.append(list(page.ids))
        token = page.next_token
    return found


def test_without_a_limit_every_page_is_as_large_as_x_makes_them(api: XApi, time: Time) -> None:
    api.add(*posts_from(time.seconds - HOUR, HOUR, 250))
    client = make_client(api, time, Budget(PRICE))
    assert [len(page) for page in pages(client)] == [100, 100, 50]
    assert {request.params["max_results"] for request in api.requests} == {"100"}


def test_the_size_of_the_pages_may_change_within_a_search(api: XApi, time: Time) -> None:
    api.add(*posts_from(time.seconds - HOUR, HOUR, 250))
    budget = Budget(PRICE, 1.5, counting_share=0.0)
    budget.charge(versions(20), NOW_MS)
    client = make_client(api, time, budget)
    found = pages(client)
    assert [len(page) for page in found] == [10, 100, 100, 40]
    numbers = [number for page in found for number in page]
    assert numbers == sorted((int(post["id"]) for post in api.posts), reverse=True)
    assert budget.billed(NOW_MS) == Bill(270, 0)


def test_the_last_page_is_as_large_as_the_money_and_then_nothing_is_asked(
    api: XApi, time: Time
) -> None:
    api.add(*posts_from(time.seconds - HOUR, HOUR, 250))
    budget = Budget(PRICE, 0.8, counting_share=0.0)
    client = make_client(api, time, budget)
    with pytest.raises(BudgetError, match="is spent"):
        pages(client)
    sizes = [request.params["max_results"] for request in api.requests]
    assert sizes == ["10", "100", "50"]
    assert api.bill("2026-09-22") == (160, 0)


def test_it_says_what_is_billed_newly(api: XApi, time: Time) -> None:
    api.add(*posts_from(time.seconds - HOUR, HOUR - 1, 30))
    client = make_client(api, time, Budget(PRICE))
    assert client.search(QUERY, ASK, None).billed == 30
    api.add(make_post(NOW_MS - 500, 1))
    found = client.search(QUERY, ASK, None)
    assert (found.billed, len(found.ids)) == (1, 31)
    api.fail(faults.bad_posts())
    spoilt = client.search(QUERY, ASK, None)
    assert spoilt.billed == len(spoilt.unreadable) > 0


OWNER, SOON, SLOWLY = (60.0, 900.0), (5.0, 320.0), (60.0, 900.0)  # the first wait and the cap
PORTAL = (5.0, 60.0)
REFUSALS: list[tuple[faults.Status, str, tuple[float, float], bool]] = [
    (faults.status(400, {"title": "?"}), "does not accept the search (400)", OWNER, True),
    (faults.unauthorized(), "X_BEARER_TOKEN", OWNER, True),
    (faults.credits_depleted(), "(402): Your enrolled account", OWNER, True),
    (faults.credits_depleted("newer"), "(402): Your enrolled account", OWNER, True),
    (faults.client_forbidden(), "(403): This request must be made using an approved", OWNER, True),
    (faults.spend_cap_reached(), "search until 2026-12-13 (403): Your enrolled", OWNER, True),
    (faults.status(403, {"errors": None, "detail": 7}), "(403): no reason given", OWNER, True),
    (faults.not_found(), "check X_API_URL", OWNER, True),
    (faults.usage_capped(), "(429): Usage cap exceeded", OWNER, True),
    (faults.rate_limited(), "rate limit is used up", SLOWLY, False),
    (faults.rate_limited_by_code(), "rate limit is used up", SLOWLY, False),
    (faults.rate_limited(-500), "rate limit is used up", SLOWLY, False),
    (faults.status(429, [1, 2]), "rate limit is used up", SLOWLY, False),
    (faults.too_many_connections(), "too many connections", SLOWLY, False),
    (faults.service_unavailable(), "out of order (503)", SOON, False),
    (faults.html_503(), "out of order (503)", SOON, False),
    (faults.status(503, "[" * 100_000), "out of order (503)", SOON, False),
    (faults.redirect("http://127.0.0.1:1/login"), "login page", PORTAL, False),
    (faults.status(418, "tea"), "refuses the search (418)", SOON, False),
]


def refused(fault: faults.Status) -> RefusedError:
    headers = dict(fault.headers)
    if fault.reset_in is not None:
        headers["x-rate-limit-reset"] = str(round(NOW_MS / 1000 + fault.reset_in))
    return RefusedError(fault.code, headers, fault.body)


@pytest.mark.parametrize(("fault", "sentence", "waits", "needs_owner"), REFUSALS)
def test_every_refusal_says_what_it_is_and_how_long_to_wait(
    fault: faults.Status, sentence: str, waits: tuple[float, float], *, needs_owner: bool
) -> None:
    trouble = explain(refused(fault), NOW_MS)
    assert sentence in str(trouble)
    assert (trouble.first, trouble.cap) == waits
    assert trouble.retry_after is None
    assert trouble.needs_owner == needs_owner


@pytest.mark.parametrize("status", [400, 403, 404])
def test_it_says_what_x_was_asked_for(status: int) -> None:
    refusal = refused(faults.status(status, {"title": "?"}))
    assert "search" in str(explain(refusal, NOW_MS))
    assert "stream" in str(explain(refusal, NOW_MS, "stream"))
    assert "search" not in str(explain(refusal, NOW_MS, "stream"))


def test_a_rate_limit_that_says_until_when_is_waited_for_as_long() -> None:
    trouble = explain(refused(faults.rate_limited(200)), NOW_MS)
    assert "rate limit is used up until 20:03 UTC" in str(trouble)
    assert trouble.retry_after == 201
    assert not trouble.needs_owner


FREE: list[Callable[[], faults.Fault]] = [
    faults.unauthorized,
    faults.credits_depleted,
    faults.rate_limited_by_code,
    faults.service_unavailable,
    faults.html_503,
    faults.html_200,
    lambda: faults.redirect("http://127.0.0.1:1/login"),
]


@pytest.mark.parametrize("fault", FREE)
def test_what_is_no_answer_of_posts_costs_nothing(
    api: XApi, time: Time, fault: Callable[[], faults.Fault]
) -> None:
    budget = Budget(PRICE, 1.0, counting_share=0.0)
    client = make_client(api, time, budget)
    api.fail(fault())
    with pytest.raises(SourceError):
        client.search(QUERY, ASK, None)
    assert budget.posts_left(NOW_MS) == 200


LOST: list[Callable[[], faults.Fault]] = [
    lambda: faults.cut(20),
    faults.reset,
    faults.hang,
    faults.garbage,
    lambda: faults.drip(20),
]


@pytest.mark.parametrize("fault", LOST)
def test_a_lost_answer_is_paid_until_what_it_was_about_is_read(
    api: XApi, time: Time, fault: Callable[[], faults.Fault]
) -> None:
    api.add(*posts_from(time.seconds - HOUR, HOUR - 1, 30))
    budget = Budget(PRICE, 1.0, counting_share=0.0)
    client = make_client(api, time, budget, whole_seconds=0.6)
    api.fail(fault())
    with pytest.raises(SourceError):
        client.search(QUERY, ASK, None)
    assert budget.posts_left(NOW_MS) == 190
    api.heal()
    client._session._whole_seconds = WHOLE_SECONDS  # busy is not slow
    pages(client)
    assert budget.posts_left(NOW_MS) == 160
    budget.settle(Spans([Span(ASK.since_ms, NOW_MS - 30_000)]))
    assert budget.posts_left(NOW_MS) == 160
    budget.settle(Spans([Span(ASK.since_ms, NOW_MS)]))
    assert budget.posts_left(NOW_MS) == 170
    assert api.bill("2026-09-22") == (30, 0)


def test_it_can_ask_for_the_time_and_pays_nothing(api: XApi, time: Time) -> None:
    api.add(*posts_from(time.seconds - HOUR, HOUR, 30))
    clock = Clock(wall=lambda: time() - 86_400, monotonic=time)
    budget = Budget(PRICE, 1.0)
    client = XClient(x_settings(api.url), clock=clock, budget=budget)
    assert abs((client.ask_time(QUERY) or 0) - time.ms) < 1000
    assert api.bill("2026-09-22") == (0, 0)
    assert budget.billed(NOW_MS) == Bill()


def test_a_refusal_tells_the_time_as_well(api: XApi, time: Time) -> None:
    for title in ("Invalid Request", "since_id is too large"):
        client = make_client(api, time)
        api.fail(faults.status(400, {"title": title}))
        assert client.ask_time(QUERY) is not None
    api.fail(faults.unauthorized())
    with pytest.raises(SourceError, match="401"):
        make_client(api, time).ask_time(QUERY)
    api.fail(faults.html_200())
    client = make_client(api, time)
    with pytest.raises(SourceError):
        client.ask_time(QUERY)


def test_whatever_x_is_asked_tells_its_time(api: XApi, time: Time) -> None:
    """Only a search did, and what the stream brought was booked by our clock."""
    api.skew_seconds = 7200
    client = make_client(api, time)
    client.add_rules(["#dockercon"])
    assert abs(client.now_ms - time.ms - 7_200_000) < 1000
    client = make_client(api, time)
    stream, server_ms = client.open()
    stream.close()
    assert client.now_ms == server_ms
    assert abs(client.now_ms - time.ms - 7_200_000) < 1000


def test_searches_and_counts_have_limits_of_their_own(api: XApi, time: Time) -> None:
    api.rate.limit = 1
    client = make_client(api, time)
    assert client.limit is None
    client.search(QUERY, ASK, None)
    assert client.limit is not None
    assert client.limit.remaining == 0
    for question in (lambda: client.search(QUERY, ASK, None), lambda: client.ask_time(QUERY)):
        with pytest.raises(SourceError, match="rate limit is used up until"):
            question()
    client.count(QUERY, Span(NOW_MS - 3_600_000, NOW_MS - 60_000))
    assert client.limit.remaining == 0


def test_a_count_is_the_number_of_posts_in_the_stretch(api: XApi, time: Time) -> None:
    api.add(*posts_from(time.seconds - HOUR, HOUR, 500))
    budget = Budget(PRICE, 1.0)
    client = make_client(api, time, budget)
    window = Span(NOW_MS - 1_800_000, NOW_MS - 60_000)
    written = [milliseconds(post["id"]) for post in api.posts]
    truth = sum(window.since_ms <= ms < window.until_ms for ms in written)
    for vocabulary in ("legacy", "post"):
        api.vocabulary = vocabulary
        assert client.count(QUERY, window)[0] == truth
    assert budget.billed(NOW_MS) == Bill(0, 2)
    assert api.bill("2026-09-22") == (0, 2)
    # A window need not begin with a minute: of that it gets a share.
    assert abs(client.count(QUERY, Span(NOW_MS - 1_830_000, NOW_MS - 60_000))[0] - truth) < 20


def test_no_secret_is_shown(api: XApi, time: Time) -> None:
    keys = OAuth1Keys("hidden-2", "hidden-3", "hidden-4", "hidden-5")
    x = x_settings(api.url, keys, X_BEARER_TOKEN="hidden-1")
    assert "hidden" not in repr(x)
    api.fail_always(faults.reset())
    client = XClient(x, clock=Clock(wall=time, monotonic=time), budget=Budget())
    with pytest.raises(SourceError) as caught:
        client.search(QUERY, ASK, None)
    assert "hidden" not in str(caught.value)
