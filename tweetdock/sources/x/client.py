"""X's API through tweepy: one question, one answer, what it costs, and what time it is there."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import requests
import tweepy

from tweetdock.core.clock import Clock, is_off
from tweetdock.core.errors import LOG_IN, Kind, RefusedError, SourceError
from tweetdock.core.post import Span
from tweetdock.core.times import MINUTE_MS, duration
from tweetdock.settings.networks import X_API_URL, XSettings
from tweetdock.sources.http import (
    WHOLE_SECONDS,
    A,
    HttpSession,
    LineStream,
    RateLimit,
    RateLimited,
    used_up,
)
from tweetdock.sources.polling import GRACE_MS, Pause
from tweetdock.sources.x.budget import LEAST_PAGE, Budget
from tweetdock.sources.x.plan import SearchRequest
from tweetdock.sources.x.posts import (
    LARGEST_ID,
    PostPage,
    decode,
    objects,
    parse_page,
    posts_in,
    said,
)
from tweetdock.sources.x.rules import TAG, Rule, parse_added, parse_rules

PORTAL = "X's address leads elsewhere, as to the login page of a Wi-Fi"
CONSOLE = "X's console (https://console.x.com)"
NEW_KEYS = (
    f"make new ones under Keys and tokens of the app in {CONSOLE}, and set X_BEARER_TOKEN, or "
    "X_CONSUMER_KEY, X_CONSUMER_SECRET, X_ACCESS_TOKEN and X_ACCESS_TOKEN_SECRET, to them"
)
TWEEPY_HOST = "https://api.twitter.com"  # fixed inside of tweepy
STREAM_PATH = "/2/tweets/search/stream"
RULES_PATH = f"{STREAM_PATH}/rules"
SILENCE_SECONDS = 21.0  # X says something every 20 s
SETTING = "X_API_URL"
# No expansions: what is sent along may be billed too.
FIELDS = ["author_id", "created_at"]
# The entities say whose a hashtag is: the post's own or that of one that it quotes.
STREAM_FIELDS = [*FIELDS, "edit_history_tweet_ids", "entities", "note_tweet", "referenced_tweets"]
ALL_FIELDS = [*STREAM_FIELDS, "conversation_id", "in_reply_to_user_id", "lang", "public_metrics"]


def explain(refusal: RefusedError, now_ms: int, what: str = "search") -> SourceError:
    """The refusal as what it means, what to do, and a time to wait.

    now_ms: by the server's clock. what: X was asked for, `search` or `stream`.

    429 has three meanings and 403 two, told apart by `title` and `type`, never by the number
    alone; all fields of the body are optional. https://docs.x.com/x-api/fundamentals/response-codes-and-errors
    """
    problem: dict[str, Any] = {}
    with suppress(SourceError):  # it may be no JSON
        problem = decode(refusal.body, what)
    words = f"{problem.get('title', '')} {problem.get('type', '')}".casefold()
    match refusal.status:
        case 400:
            return SourceError(
                f"X does not accept the {what} (400): {_why(problem)}",
                "change TWEETDOCK_X_QUERY or the hashtags",
                kind=Kind.QUERY,
            )
        case 401:
            return SourceError(
                "X does not accept the credentials (401)", NEW_KEYS, kind=Kind.CREDENTIALS
            )
        case 402 | 403:
            return _account_refusal(refusal.status, problem, what)
        case 404:
            return SourceError(
                f"X's address knows no {what} (404)",
                f"check X_API_URL; X's own is {X_API_URL}",
                kind=Kind.ADDRESS,
            )
        case 429 if "usagecap" in words.replace("-", ""):
            return _account_refusal(refusal.status, problem, what)
        case 429 if "connection" in words:
            return SourceError(
                "another program holds the stream of this app on X: too many connections (429)",
                f"end that program, or give TweetDock an app of its own in {CONSOLE}",
                kind=Kind.LIMIT,
            )
        case 429:
            return used_up(RateLimit.from_headers(refusal.headers, is_refused=True), "X's", now_ms)
        case status if 300 <= status < 400:
            return SourceError(PORTAL, LOG_IN, kind=Kind.STRANGER)
        case status if status >= 500:
            return SourceError(f"X is out of order ({status})", kind=Kind.SERVER)
        case status:
            refused = f"X refuses the {what} ({status}): {_why(problem)}"
            return SourceError(refused, kind=Kind.SERVER)


def _account_refusal(status: int, problem: dict[str, Any], what: str) -> SourceError:
    until = f" until {day}" if isinstance(day := problem.get("reset_date"), str) else ""
    return SourceError(
        f"X does not let this app {what}{until} ({status}): {_why(problem)}",
        f"see in {CONSOLE} under Billing if there are credits and no limit is reached, and under "
        "Apps if the app belongs to a project whose plan includes this",
        kind=Kind.ACCOUNT,
    )


def _why(problem: dict[str, Any]) -> str:
    # The first error's message is closest to the cause; detail is often only a kind.
    messages = [error.get("message") for error in objects(problem.get("errors"))[:1]]
    return said(*messages, problem.get("detail"), problem.get("title"))


class XClient:
    """Asks X: its search for pages, its counts for numbers, its stream and what belongs to that.

    For one thread; `cut` is for any. Every trouble is a SourceError.

    x: its address and the credentials, of which the app-only bearer token goes first.
    budget: what is searched and counted is kept below it, and booked there. whole_seconds: how
    long any exchange but the stream may take before it is cut. keeps_raw: posts come as X sent
    them too.
    """

    def __init__(
        self,
        x: XSettings,
        *,
        clock: Clock,
        budget: Budget,
        whole_seconds: float = WHOLE_SECONDS,
        keeps_raw: bool = False,
    ) -> None:
        self._clock = clock
        self._keeps_raw = keeps_raw
        self._budget = budget
        make_session = partial(
            HttpSession,
            moved={TWEEPY_HOST: x.api_url},
            now_ms=clock.now_ms,
            whole_seconds=whole_seconds,
            setting=SETTING,
        )
        self._session = make_session()
        self._client = _client(x, self._session)
        # On a connection of its own, so that no other exchange's late end cuts it.
        self._stream_session = make_session()
        self._token = x.bearer_token
        self._user_auth = not x.bearer_token
        self._searches, self._counts = RateLimited(clock, "X's"), RateLimited(clock, "X's")
        self._ahead_ms = 0

    @property
    def now_ms(self) -> int:
        """What time it is at X by its last word: it bills by that, whoever else believes it."""
        return self._clock.now_ms() + self._ahead_ms

    @property
    def can_count(self) -> bool:
        """Whether X answers these credentials by counts: it does not answer an OAuth 1.0a user."""
        return not self._user_auth

    def pause(self, wanted: float, usual: float, requests: int = 1) -> Pause:
        """Until the next search, longer than `wanted` where the rate limit wants it.

        usual: the seconds in which nobody misses a search. requests: how many of them it takes.
        """
        if self.limit is None:
            return Pause(wanted)
        seconds = self.limit.pause_seconds(self._clock.now_ms(), wanted, requests)
        is_long = seconds * 1000 >= usual * 1000 + GRACE_MS
        why = f"X's rate limit leaves one search every {duration(seconds)}" if is_long else ""
        return Pause(seconds, why)

    @property
    def limit(self) -> RateLimit | None:
        """How many searches are left, by X's last answer."""
        return self._searches.limit

    @property
    def connect_seconds(self) -> float:
        """How long the slowest connection has taken to come about."""
        return self._session.connect_seconds

    def cut(self) -> None:
        """End whatever is under way."""
        self._session.cut()
        self._stream_session.cut()

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()
        self._stream_session.close()

    def search(self, query: str, request: SearchRequest, token: str | None) -> PostPage:
        """A page; SourceError if X refuses or does not answer.

        BudgetError if the day's money does not buy a page; one is never larger than it buys.
        """
        with self._budget.buy(lambda: self.now_ms, since_ms=request.since_ms) as allowance:
            search = partial(self._search, query, request, token, allowance.size)
            response, lasted_ms, server_ms = self._exchange(search, self._searches)
            now_ms = self.now_ms
            page = parse_page(response.content, now_ms, keeps_raw=self._keeps_raw)
        billed = self._budget.charge(
            page.versions, now_ms, lasted_ms=lasted_ms, allowance=allowance
        )
        return replace(page, served_ms=now_ms - lasted_ms, server_ms=server_ms, billed=billed)

    def count(self, query: str, span: Span) -> tuple[int, int | None]:
        """How many posts there were by X's counts, and what time it is at X; errors as by `search`.

        What it has cost is in the budget's `pop_untold`.
        """
        # Whole minutes only: X would give a part of one as if that were its minute.
        count = partial(
            self._client.get_recent_tweets_count,
            query,
            granularity="minute",
            start_time=_moment(span.since_ms // MINUTE_MS * MINUTE_MS),
            end_time=_moment(span.until_ms),
        )
        try:
            response, _, server_ms = self._exchange(count, self._counts)
        except SourceError as error:
            if error.may_have_come:
                self._budget.counted(self.now_ms)
            raise
        self._budget.counted(self.now_ms)
        return posts_in(response.content, span), server_ms

    def ask_time(self, query: str) -> int | None:
        """What time it is at X, by a search that can find nothing: that costs nothing."""
        request = SearchRequest(since_ms=0, since_id=LARGEST_ID)
        search = partial(self._search, query, request, None, LEAST_PAGE)
        try:
            response, _, server_ms = self._exchange(search, self._searches)
        except SourceError as error:
            if error.kind is not Kind.QUERY:  # it may not like such an id, but has said the time
                raise
            return error.server_ms
        parse_page(response.content, self.now_ms)
        return server_ms

    def open(self) -> tuple[LineStream, int | None]:
        """Begin the stream; what time it is at X."""
        fields = ALL_FIELDS if self._keeps_raw else STREAM_FIELDS
        # tweepy would loop and sleep here, without a limit.
        connect = partial(
            self._stream_session.open,
            "GET",
            f"{TWEEPY_HOST}{STREAM_PATH}",
            params={"tweet.fields": ",".join(fields)},
            headers={
                "User-Agent": self._client.user_agent,
                "Authorization": f"Bearer {self._token}",
            },
            silence_seconds=SILENCE_SECONDS,
        )
        stream, _, server_ms = self._exchange(connect)
        if "html" in stream.headers.get("Content-Type", ""):
            stream.close()
            raise SourceError(PORTAL, LOG_IN, kind=Kind.STRANGER)
        return stream, server_ms

    def rules(self) -> tuple[Rule, ...]:
        """The rules that there are."""
        return parse_rules(self._ask(self._client.request, "GET", RULES_PATH))

    def add_rules(self, values: Sequence[str]) -> dict[str, str]:
        """Add rules as ours; their ids by the `rule_key` of each."""
        rules = [{"value": value, "tag": TAG} for value in values]
        return parse_added(self._ask(self._client.request, "POST", RULES_PATH, json={"add": rules}))

    def delete_rules(self, ids: Sequence[str]) -> None:
        """Delete rules."""
        self._ask(self._client.request, "POST", RULES_PATH, json={"delete": {"ids": list(ids)}})

    def user(self, name: str) -> bytes:
        """The account of that name."""
        return self._ask(self._client.get_user, username=name)

    def following(self, identity: str, token: str | None, most: int) -> bytes:
        """A page of the accounts that one follows, of so many at the most."""
        ask = self._client.get_users_following
        return self._ask(ask, identity, max_results=most, pagination_token=token)

    def _ask(self, send: Callable[..., requests.Response], *words: Any, **named: Any) -> bytes:
        response, *_ = self._exchange(partial(send, *words, **named))
        return response.content

    def _exchange(
        self, send: Callable[[], A], limited: RateLimited | None = None
    ) -> tuple[A, int, int | None]:
        """As `RateLimited.ask`; the last word of a good answer is X's time from now on.

        limited: None: what belongs to the stream, whose limits only a refusal tells.
        """
        kind = limited or RateLimited(self._clock, "X's")
        try:
            answer, lasted_ms, server_ms = kind.ask(send)
        except RefusedError as refusal:
            raise self._explain(refusal, "search" if limited else "stream") from refusal
        self._ahead_ms = 0 if server_ms is None else server_ms - self._clock.now_ms()
        return answer, lasted_ms, server_ms

    def _explain(self, refusal: RefusedError, what: str) -> SourceError:
        now_ms, server_ms = self._clock.now_ms(), refusal.server_ms
        trouble = explain(refusal, server_ms or now_ms, what)
        # Of all refusals only these may come of a wrong clock; others may not be X's own.
        if trouble.kind in (Kind.QUERY, Kind.CREDENTIALS):
            if server_ms and is_off(server_ms, now_ms):
                refused = f"X refuses ({refusal.status}) as this machine's clock was off"
                return SourceError(refused, retry_after=1.0, server_ms=server_ms)
            trouble.server_ms = server_ms
        return trouble

    def _search(
        self, query: str, request: SearchRequest, token: str | None, size: int
    ) -> requests.Response:
        by_time = request.since_id is None
        response = self._client.search_recent_tweets(
            query,
            user_auth=self._user_auth,
            max_results=size,
            tweet_fields=ALL_FIELDS if self._keeps_raw else FIELDS,
            since_id=request.since_id,
            # By whole seconds, the start inclusive, the end not.
            start_time=_moment(request.since_ms) if by_time else None,
            end_time=_moment(request.until_ms + 1000) if by_time and request.until_ms else None,
            next_token=token,
        )
        return cast("requests.Response", response)


def _client(x: XSettings, session: HttpSession) -> tweepy.Client:
    client = tweepy.Client(
        x.bearer_token or None,
        x.consumer_key or None,
        x.consumer_secret or None,
        x.access_token or None,
        x.access_token_secret or None,
        return_type=requests.Response,  # headers kept, and the body decoded once, by us
        wait_on_rate_limit=False,
    )
    client.session = session
    return client


def _moment(ms: int) -> datetime | None:
    return datetime.fromtimestamp(ms // 1000, UTC) if ms else None
