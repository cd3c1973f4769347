"""The doctor's checks of X: credentials, query, limits and costs, without buying a post."""

import secrets
import string
import time
from collections.abc import Callable, Iterator

from tweetdock.core.clock import Clock
from tweetdock.core.errors import Kind, RefusedError, SourceError
from tweetdock.doctor.checks import Check, Finding, Verdict
from tweetdock.doctor.connections import (
    AGAIN,
    SERVER_SECONDS,
    Endpoint,
    clock_finding,
    connect_to,
    limit_finding,
    unreachable,
)
from tweetdock.doctor.keeping import spent_of
from tweetdock.settings.gauge import Settings
from tweetdock.settings.networks import asks_x
from tweetdock.settings.x_query import (
    LONGEST_QUERY,
    LONGEST_QUERY_OF_ANY_PLAN,
    build_queries,
    length,
)
from tweetdock.sources.choice import make_budget
from tweetdock.sources.http import date_ms
from tweetdock.sources.x.budget import Budget, BudgetError
from tweetdock.sources.x.client import Credentials, SearchPage, XClient, XStreamClient, explain
from tweetdock.sources.x.plan import SearchRequest
from tweetdock.sources.x.rules import TAG, parse_rules, reconcile
from tweetdock.sources.x.stream import SILENCE_SECONDS

CONSOLE = "X's console (https://console.x.com)"
ANSWER_SECONDS = 4.0
SEARCHES = 2  # at most: one more by X's time, if it refused the first by a wrong clock
LEAST_SECONDS = 1.0
SOON_SPENT = 240  # posts a day: ten an hour
PARTS = {Kind.QUERY: "query", Kind.CREDENTIALS: "credentials", Kind.LIMIT: "limit"}
ACCEPTED = (400, 402, 429)  # refusals for other reasons than the credentials
BUDGET = "TWEETDOCK_X_DAILY_BUDGET_USD"


def is_of_the_connection(status: int) -> bool:
    """Whether a refusal is about how X is reached, and not about us."""
    return 300 <= status < 400 or status == 404 or status >= 500


def refused(source: str, trouble: SourceError) -> Finding:
    """What is wrong, and its cure. trouble: the refusal explained."""
    part = PARTS.get(trouble.kind, "account")
    verdict = Verdict.WARN if trouble.kind is Kind.LIMIT else Verdict.FAIL
    cure = (
        trouble.cure
        or "try again later, TweetDock waits by itself; does another program use the same "
        "credentials?"
    )
    return Finding(f"{source} {part}", verdict, trouble.what, cure)


def spending_checks(settings: Settings) -> list[Check]:
    """One check if X is asked, else none."""
    if not settings.is_live or not asks_x(settings.sources):
        return []
    return [Check("spending", lambda: _check_spending(settings))]


def _check_spending(settings: Settings) -> Iterator[Finding]:
    now_ms = round(time.time() * 1000)
    budget = make_budget(settings, spent_of(settings.keep.state_dir))
    posts = budget.billed(now_ms).posts
    # The forecast in the remark would need a longer time than the doctor has.
    cost = budget.remark(now_ms).partition(",")[0]
    says = "nothing so far today (UTC)"
    if cost:
        says = f"{cost}, {posts:,} post{'s' * (posts != 1)} (UTC, as last saved)"
    try:
        budget.check(now_ms)
    except BudgetError as error:
        cure = f"wait for that, or raise {BUDGET}"
        yield Finding("spending", Verdict.WARN, f"{says}; {error}", cure)
        return
    left = budget.posts_left(now_ms)
    more = "" if left is None else f"; {left:,} more posts may be read"
    yield Finding("spending", Verdict.PASS, says + more)


class XCheckup:
    """Asks X for posts that match the owner's query and have a word that no post has.

    So X checks the credentials and the query, and sends no post that it would charge for.
    The stream is not opened: X allows only one, and a running gauge would lose it.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        *,
        wall: Callable[[], float] = time.time,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._wall = wall
        self._clock = Clock(wall, time.monotonic)
        self._answer_seconds = answer_seconds
        self._endpoint = Endpoint.through_proxy("x", settings.x.api_url, "X_API_URL")
        self._query = _query_of(settings)
        self._asked = _with_random_word(self._query)

    def check(self) -> Iterator[Finding]:
        """All findings, from the connection to the price."""
        until = time.monotonic() + SERVER_SECONDS
        reached = connect_to(self._endpoint)
        if reached.verdict is Verdict.FAIL:
            yield reached
        else:
            yield from self._ask(reached, until)
        yield self._price()

    def _ask(self, reached: Finding, until: float) -> Iterator[Finding]:
        # With a limited budget the client first asks for the smallest page.
        budget = Budget(1.0, 1_000.0, counting_share=0.0)
        client = XClient(
            self._credentials,
            clock=self._clock,
            api_url=self._settings.x.api_url,
            whole_seconds=self._share(until, SEARCHES),
            budget=budget,
        )
        try:
            found = self._search(client)
        except RefusedError as refusal:
            if is_of_the_connection(refusal.status):
                yield self._unreached(refusal)
                return
            yield reached
            yield from self._refused(refusal)
            if refusal.status == 401:
                return
        except SourceError as error:
            yield unreachable(self._endpoint, error)
            return
        else:
            yield reached
            yield from self._answered(found, client)
        if "x-stream" in self._settings.sources:
            yield self._rules(self._share(until, 1))

    def _share(self, until: float, requests: int) -> float:
        """Seconds for each of the next requests, out of those that are left."""
        left = (until - time.monotonic()) / requests
        return min(self._answer_seconds, max(LEAST_SECONDS, left))

    def _search(self, client: XClient) -> SearchPage:
        ask = SearchRequest(since_ms=0)
        try:
            return client.search(self._asked, ask, None)
        except SourceError as error:
            if not isinstance(error.__cause__, RefusedError):
                raise
            # X refused because our clock is wrong; from now on the client uses X's.
            return client.search(self._asked, ask, None)

    def _answered(self, found: SearchPage, client: XClient) -> Iterator[Finding]:
        if (server_ms := client.server_ms()) is not None:
            yield clock_finding("x", "X's", server_ms, round(self._wall() * 1000))
        yield self._accepted(len(found.page.ids) + len(found.page.unreadable))
        if self._query in self._asked:
            yield Finding("x query", Verdict.PASS, f"X accepts {_short(self._query)}")
        else:
            says = f"not tried, as it has no room for one more word: {_short(self._query)}"
            yield Finding("x query", Verdict.PASS, says)
        wanted = self._settings.poll_seconds if "x" in self._settings.sources else 60.0
        now_ms = self._clock.now_ms()
        yield limit_finding("x", client.limit, now_ms, wanted_seconds=wanted, what="searches")

    def _accepted(self, posts: int) -> Finding:
        what = f"X accepts {self._credentials_by_name}"
        if not posts:
            says = f"{what}; the test search is for a word that no post has, which costs nothing"
            return Finding("x credentials", Verdict.PASS, says)
        cost = posts * self._settings.x.usd_per_post
        says = f"{what}, but sent {posts} posts for a word that no post has: ${cost:.3f}"
        cure = f"check X_API_URL: is {self._endpoint.host} really X?"
        return Finding("x credentials", Verdict.WARN, says, cure)

    @property
    def _credentials_by_name(self) -> str:
        return "the bearer token" if self._credentials.bearer_token else "the OAuth 1.0a keys"

    def _unreached(self, refusal: RefusedError) -> Finding:
        return unreachable(self._endpoint, explain(refusal, self._clock.now_ms()))

    def _refused(self, refusal: RefusedError) -> Iterator[Finding]:
        if (server_ms := date_ms(refusal.headers)) is not None:
            yield clock_finding("x", "X's", server_ms, round(self._wall() * 1000))
        if refusal.status in ACCEPTED:
            says = f"X accepts {self._credentials_by_name}"
            yield Finding("x credentials", Verdict.PASS, says)
        yield self._refusal("x", refusal, "search")

    def _refusal(self, source: str, refusal: RefusedError, what: str) -> Finding:
        trouble = explain(refusal, self._clock.now_ms(), what)
        return refused(source, trouble)

    def _rules(self, seconds: float) -> Finding:
        x, thing = self._settings.x, "x-stream rules"
        client = XStreamClient(
            self._credentials.bearer_token,
            api_url=x.api_url,
            silence_seconds=SILENCE_SECONDS,
            whole_seconds=seconds,
        )
        try:
            wanted = build_queries(
                self._settings.hashtags,
                [account.name for account in x.follow if not account.is_list],
                x.query,
            ).rules
            there = parse_rules(client.rules()[0])
            reconcile(there, wanted)
        except RefusedError as refusal:
            return self._refusal("x-stream", refusal, "stream")
        except SourceError as error:
            return Finding(thing, Verdict.FAIL, error.what, error.cure or AGAIN)
        ours = sum(rule.tag.startswith(TAG) for rule in there)
        says = f"X has {_counted(ours)} of TweetDock"
        closed = "the stream was not opened, as X allows only one and a running gauge would lose it"
        others = len(there) - ours
        if not others:
            return Finding(thing, Verdict.PASS, f"{says}; {closed}")
        says = (
            f"{says} and {_counted(others)} of other programs, whose posts are sent too, and cost"
        )
        cure = (
            f"give TweetDock an app of its own in {CONSOLE}, or delete the rules that nobody needs"
        )
        return Finding(thing, Verdict.WARN, f"{says}; {closed}", cure)

    def _price(self) -> Finding:
        price, daily = self._settings.x.usd_per_post, self._settings.x.daily_usd
        if not price:
            return Finding("x price", Verdict.PASS, "the price of a post is set to 0")
        rate = f"a post costs ${price:g}, a thousand ${price * 1000:,g}"
        if daily is None:
            says = f"{rate}, and a day has no limit"
            cure = f"set {BUDGET}, and a spending limit under Billing in {CONSOLE}"
            return Finding("x price", Verdict.WARN, says, cure)
        number = int(daily / price)
        says = f"{rate}; the limit of a day is ${daily:,g}, which is {number:,} posts"
        if number >= SOON_SPENT:
            return Finding("x price", Verdict.PASS, says)
        cure = f"raise {BUDGET}, or expect posts to be counted without their authors"
        return Finding("x price", Verdict.WARN, f"{says}: soon used up", cure)


def _query_of(settings: Settings) -> str:
    if settings.x.query or settings.hashtags:
        return settings.x.query_for(settings.hashtags)
    return build_queries((), [settings.x.follow[0].name]).searches[0]


def _with_random_word(query: str) -> str:
    """The query and a word that no post has; only the word if both are too long for X.

    Letters only, which X reads as one word, and another word each time.
    """
    word = "tweetdock" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(20))
    most = LONGEST_QUERY if length(query) <= LONGEST_QUERY else LONGEST_QUERY_OF_ANY_PLAN
    both = f"({query}) {word}"
    return both if length(both) <= most else word


def _counted(rules: int) -> str:
    return f"{rules or 'no'} rule{'' if rules == 1 else 's'}"


def _short(query: str) -> str:
    return query if len(query) <= 80 else f"{query[:79]}…"
