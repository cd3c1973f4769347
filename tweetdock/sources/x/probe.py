"""Asks X for what no post has: so it checks credentials, query and limits, and buys nothing."""

import secrets
import string
import time
from collections.abc import Callable, Iterator

from tweetdock.core.clock import Clock
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.finding import Finding
from tweetdock.settings.gauge import Settings
from tweetdock.settings.networks import XSettings
from tweetdock.settings.x_query import LONGEST_QUERY, LONGEST_QUERY_OF_ANY_PLAN, build_queries
from tweetdock.sources.endpoint import ANSWERS, Endpoint, compared, reached, refused
from tweetdock.sources.http import left_of
from tweetdock.sources.x.budget import BUDGET, Budget
from tweetdock.sources.x.client import CONSOLE, SETTING, XClient
from tweetdock.sources.x.plan import SearchRequest
from tweetdock.sources.x.posts import PostPage
from tweetdock.sources.x.rules import TAG, reconcile

ANSWER_SECONDS = 4.0  # for each of three questions at most
MAY_STREAM = ANSWERS - {Kind.CREDENTIALS}
SOON_SPENT = 240  # posts a day: ten an hour


def probe(
    settings: Settings,
    *,
    wall: Callable[[], float] = time.time,
    answer_seconds: float = ANSWER_SECONDS,
) -> Iterator[Finding]:
    """All about X, from the way there to the price.

    The stream is not opened: X allows only one, and a running gauge would lose it.
    """
    clock = Clock(wall, time.monotonic)
    client = XClient(
        settings.x,
        clock=clock,
        whole_seconds=answer_seconds,
        # With a limited budget the client first asks for the smallest page.
        budget=Budget(1.0, 1_000.0, counting_share=0.0),
    )
    keys = "the bearer token" if settings.x.bearer_token else "the OAuth 1.0a keys"
    query = _query_of(settings)
    asked = _with_random_word(query)
    failed, server_ms = None, None
    try:
        found = _search(client, clock, asked)
        server_ms = found.server_ms
    except SourceError as error:
        failed, server_ms = error, error.server_ms
    if failed is None or failed.kind in ANSWERS:
        yield reached("x", Endpoint(settings.x.api_url, SETTING), client.connect_seconds)
        if server_ms is not None:
            yield compared("x", "X's", server_ms, round(wall() * 1000))
    if failed is None:
        posts = len(found.ids) + len(found.unreadable)
        yield _accepted(keys, posts * settings.x.usd_per_post, posts)
        says = "X accepts" if query in asked else "not tried, as it has no room for one more word:"
        yield Finding.well("x query", f"{says} {query if len(query) <= 80 else f'{query[:79]}…'}")
        wanted = settings.poll_seconds if "x" in settings.sources else 60.0
        now_ms = clock.now_ms()
        yield left_of("x", client.limit, now_ms, wanted_seconds=wanted, what="searches")
    else:
        if failed.kind in (Kind.QUERY, Kind.LIMIT):
            yield Finding.well("x credentials", f"X accepts {keys}")
        yield refused("x", failed)
    if "x-stream" in settings.sources and (failed is None or failed.kind in MAY_STREAM):
        yield _rules(settings, client)
    yield _price(settings.x)


def _search(client: XClient, clock: Clock, query: str) -> PostPage:
    request = SearchRequest(since_ms=0)
    try:
        return client.search(query, request, None)
    except SourceError as error:
        if error.server_ms is None or error.kind in ANSWERS:
            raise
        # X refused because our clock is wrong.
        clock.set(error.server_ms)
        return client.search(query, request, None)


def _accepted(keys: str, cost: float, posts: int) -> Finding:
    if not posts:
        says = f"X accepts {keys}; the test search is for a word that no post has: it costs nothing"
        return Finding.well("x credentials", says)
    says = f"X accepts {keys}, but sent {posts} posts for a word that no post has: ${cost:.3f}"
    return Finding.warning("x credentials", says, f"check {SETTING}: is that really X?")


def _rules(settings: Settings, client: XClient) -> Finding:
    accounts = [account.name for account in settings.x.follow if not account.is_list]
    try:
        there = client.rules()
        reconcile(there, build_queries(settings.hashtags, accounts, settings.x.query).rules)
    except SourceError as error:
        return refused("x-stream", error)
    ours = sum(rule.tag.startswith(TAG) for rule in there)
    others = len(there) - ours
    says = f"X has {_counted(ours)} of TweetDock"
    closed = "the stream was not opened, as X allows only one and a running gauge would lose it"
    if not others:
        return Finding.well("x-stream rules", f"{says}; {closed}")
    return Finding.warning(
        "x-stream rules",
        f"{says} and {_counted(others)} of other programs, whose posts are sent too, and cost; "
        f"{closed}",
        f"give TweetDock an app of its own in {CONSOLE}, or delete the rules that nobody needs",
    )


def _price(x: XSettings) -> Finding:
    if not x.usd_per_post:
        return Finding.well("x price", "the price of a post is set to 0")
    rate = f"a post costs ${x.usd_per_post:g}, a thousand ${x.usd_per_post * 1000:,g}"
    if x.daily_usd is None:
        cure = f"set {BUDGET}, and a spending limit under Billing in {CONSOLE}"
        return Finding.warning("x price", f"{rate}, and a day has no limit", cure)
    number = int(x.daily_usd / x.usd_per_post)
    says = f"{rate}; the limit of a day is ${x.daily_usd:,g}, which is {number:,} posts"
    if number >= SOON_SPENT:
        return Finding.well("x price", says)
    cure = f"raise {BUDGET}, or expect posts to be counted without their authors"
    return Finding.warning("x price", f"{says}: soon used up", cure)


def _query_of(settings: Settings) -> str:
    if settings.x.query or settings.hashtags:
        return settings.x.query_for(settings.hashtags)
    return build_queries((), [settings.x.follow[0].name]).searches[0]


def _with_random_word(query: str) -> str:
    """The query and a word that no post has; only the word if both are too long for X.

    Letters only, which X reads as one word, and another word each time.
    """
    word = "tweetdock" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(20))
    most = LONGEST_QUERY if len(query) <= LONGEST_QUERY else LONGEST_QUERY_OF_ANY_PLAN
    both = f"({query}) {word}"
    return both if len(both) <= most else word


def _counted(rules: int) -> str:
    return f"{rules or 'no'} rule{'' if rules == 1 else 's'}"
