"""X's recent search through tweepy: the window read once, then what is new."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import requests
import tweepy

from tweetdock.clock import Clock
from tweetdock.errors import RefusedError, SourceError
from tweetdock.memory import Bookmark
from tweetdock.post import Batch
from tweetdock.sources.http import WHOLE_SECONDS, Session
from tweetdock.sources.polling import Pause
from tweetdock.sources.rate_limit import RateLimit
from tweetdock.sources.x_plan import INDEX_LAG_MS, LOOK_BACK_EVERY_MS, Ask, Search, SearchPlan
from tweetdock.sources.x_posts import Page, parse_page
from tweetdock.sources.x_refusals import explain
from tweetdock.timestamps import clock_time, duration, parse_ms

log = logging.getLogger(__name__)

TWEEPY_HOST = "https://api.twitter.com"  # fixed inside of tweepy
GRACE_MS = 10_000  # a poll may be this late before the lack of it counts as a gap
PAGE_SIZE = 100
# No expansions: what is sent along may be billed too.
FIELDS = ["author_id", "created_at"]
ARCHIVED_FIELDS = [
    *FIELDS,
    *("conversation_id", "edit_history_tweet_ids", "entities", "in_reply_to_user_id", "lang"),
    *("public_metrics", "referenced_tweets"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """X's app-only bearer token or an OAuth 1.0a user's four; the token goes first."""

    bearer_token: str = field(default="", repr=False)
    consumer_key: str = field(default="", repr=False)
    consumer_secret: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)
    access_token_secret: str = field(default="", repr=False)


class XSearch:
    """Recent search on X, as a source to be polled.

    Times in seconds. whole_seconds: how long one exchange may take before it is cut.
    keeps_raw: batches bring the posts as X sent them too. bookmark: where to go on from.
    """

    name = "x"

    def __init__(
        self,
        query: str,
        credentials: Credentials,
        *,
        clock: Clock,
        api_url: str,
        window_seconds: float,
        poll_seconds: float,
        look_back_seconds: float,
        whole_seconds: float = WHOLE_SECONDS,
        keeps_raw: bool = False,
        bookmark: Bookmark = Bookmark(),  # noqa: B008 - it cannot change
    ) -> None:
        poll_ms = round(poll_seconds * 1000)
        self.lag_ms = INDEX_LAG_MS + LOOK_BACK_EVERY_MS + poll_ms + GRACE_MS
        self._query = query
        self._keeps_raw = keeps_raw
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._session = Session(
            moved={TWEEPY_HOST: api_url}, now_ms=clock.now_ms, whole_seconds=whole_seconds
        )
        self._client = _client(credentials, self._session)
        self._user_auth = not credentials.bearer_token
        self._plan = SearchPlan(
            window_ms=round(window_seconds * 1000),
            poll_ms=poll_ms,
            look_back_ms=round(look_back_seconds * 1000),
            bookmark=bookmark,
        )
        self._limit: RateLimit | None = None
        self._polled_ms = 0
        self._has_server_time = False
        self._unreadable: Counter[str] = Counter()

    def poll(self) -> Iterator[Batch]:
        """One search, a Batch a page; SourceError when X does not deliver."""
        self._polled_ms = self._clock.now_ms()
        ask = self._plan.next(self._polled_ms)
        search, token = Search(ask), None
        while True:
            try:
                page, served_ms, was_moved = self._fetch(ask, token)
            except RefusedError as refusal:
                trouble = explain(refusal, self._clock.now_ms())
                if refusal.status == 400 and self._plan.refused(ask):
                    log.info("%s; going on by time instead of the last id", trouble)
                    return
                raise trouble from refusal
            span = search.take(page, served_ms)
            token = page.next_token
            self._plan.record(search, span, served_ms, is_done=token is None)
            self._note_unreadable(page)
            yield Batch(
                source=self.name,
                posts=page.posts,
                covers=span,
                unreadable=tuple(entry.at_ms for entry in page.unreadable),
                server_ms=self.server_ms(),
                raw=page.raw,
                has_more=token is not None and not was_moved,
                cursor=self._plan.cursor,
            )
            # With the time corrected, the stretch to ask for is another.
            if token is None or was_moved:
                return

    def pause(self) -> Pause:
        """Until the next poll is due, longer where the rate limit wants it."""
        now_ms = self._clock.now_ms()
        due = self._poll_seconds - max(0, now_ms - self._polled_ms) / 1000
        wanted = 0.0 if self._plan.is_behind(now_ms) else max(0.0, due)
        if self._limit is None:
            return Pause(wanted)
        seconds = self._limit.pause_seconds(now_ms, wanted)
        if seconds * 1000 < self._poll_seconds * 1000 + GRACE_MS:
            return Pause(seconds)
        return Pause(seconds, f"X's rate limit leaves one search every {duration(seconds)}")

    def server_ms(self) -> int | None:
        """X's time, once it has said so."""
        return self._clock.now_ms() if self._has_server_time else None

    def cut(self) -> None:
        """End the request under way."""
        self._session.cut()

    def _fetch(self, ask: Ask, token: str | None) -> tuple[Page, int, bool]:
        """A page, when X made it (unix ms), and whether our clock was corrected by it."""
        self._spare_limit()
        asked_ms = self._clock.now_ms()
        try:
            response = self._request(ask, token)
        except RefusedError as refusal:
            self._limit = RateLimit.from_headers(refusal.headers)
            # Of all refusals only these may come of a wrong clock; others may not be X's own.
            is_about_time = refusal.status in (400, 401)
            if is_about_time and self._correct(_date_ms(refusal.headers), asked_ms):
                sentence = f"X refuses ({refusal.status}) as this machine's clock was off"
                raise SourceError(sentence, retry_after=1.0) from refusal
            raise
        lasted_ms = self._clock.now_ms() - asked_ms
        # Whoever sends a page of posts is X, and not a portal with a clock of its own.
        server_ms = _date_ms(response.headers)
        at_ms = self._clock.now_ms() if server_ms is None else server_ms
        page = parse_page(response.content, at_ms, keeps_raw=self._keeps_raw)
        self._limit = RateLimit.from_headers(response.headers)
        was_moved = self._correct(server_ms, asked_ms)
        return page, self._clock.now_ms() - lasted_ms, was_moved

    def _request(self, ask: Ask, token: str | None) -> requests.Response:
        response = self._client.search_recent_tweets(
            self._query,
            user_auth=self._user_auth,
            max_results=PAGE_SIZE,
            tweet_fields=ARCHIVED_FIELDS if self._keeps_raw else FIELDS,
            since_id=ask.since_id,
            start_time=_moment(ask.start_ms),
            end_time=_moment(ask.end_ms),
            next_token=token,
        )
        return cast("requests.Response", response)

    def _spare_limit(self) -> None:
        limit, now_ms = self._limit, self._clock.now_ms()
        if limit and limit.is_spent(now_ms):
            raise SourceError(
                f"X's rate limit is used up until {clock_time(limit.reset_ms)}",
                retry_after=limit.pause_seconds(now_ms, 0.0),
            )

    def _correct(self, server_ms: int | None, asked_ms: int) -> bool:
        """Take X's word for the time, if it gave one; whether that moved our clock."""
        if server_ms is None:
            return False
        self._has_server_time = True
        before_ms = self._clock.now_ms()
        if not self._clock.correct(server_ms, asked_ms):
            return False
        log.warning(
            "this machine's clock is off by %s; going by X's",
            duration(abs(server_ms - before_ms) / 1000),
        )
        self._plan.clock_moved(self._clock.now_ms())
        return True

    def _note_unreadable(self, page: Page) -> None:
        for entry in page.unreadable:
            self._unreadable[entry.kind] += 1
            if self._unreadable[entry.kind] == 1:
                log.warning("x: an entry is left out, and all like it: %s", entry.kind)


def _client(credentials: Credentials, session: Session) -> tweepy.Client:
    client = tweepy.Client(
        credentials.bearer_token or None,
        credentials.consumer_key or None,
        credentials.consumer_secret or None,
        credentials.access_token or None,
        credentials.access_token_secret or None,
        return_type=requests.Response,  # headers kept, and the body decoded once, by us
        wait_on_rate_limit=False,
    )
    client.session = session
    return client


def _date_ms(headers: Mapping[str, str]) -> int | None:
    try:
        # It is cut to the second: its middle is the best guess.
        return parse_ms(headers["Date"]) + 500
    except (KeyError, ValueError):
        return None


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
