"""X's stream and the search that fills its gaps, put together as two voices of one feed."""

import time
from collections.abc import Callable, Sequence

from tweetdock.core.clock import Clock
from tweetdock.core.memory import Bookmark
from tweetdock.core.post import Feed
from tweetdock.sources.http import WHOLE_SECONDS
from tweetdock.sources.x.budget import Budget
from tweetdock.sources.x.client import Credentials, XClient
from tweetdock.sources.x.connection import XConnection
from tweetdock.sources.x.fill import XFill
from tweetdock.sources.x.follow import FollowLists, parse_follow
from tweetdock.sources.x.stream import LAG_MS, SILENCE_SECONDS, XStream
from tweetdock.sources.x.stream_client import XStreamClient
from tweetdock.sources.x.stream_state import Ledger


def make_x_stream(
    hashtags: Sequence[str],
    credentials: Credentials,
    *,
    clock: Clock,
    api_url: str,
    window_seconds: float,
    look_back_seconds: float,
    query: str = "",
    follow: Sequence[str] = (),
    keeps_raw: bool = False,
    bookmark: Bookmark = Bookmark(),  # noqa: B008 - it cannot change
    budget: Budget | None = None,
    silence_seconds: float = SILENCE_SECONDS,
    whole_seconds: float = WHOLE_SECONDS,
    monotonic: Callable[[], float] = time.monotonic,
) -> tuple[XStream, XFill]:
    """The two sources of `x-stream`, each for a thread of its own; nothing is asked yet.

    query: in X's own language, instead of the hashtags. follow: `@name` for an account,
    `@name:following` for all whom it follows. credentials: the stream takes the bearer token only.
    SourceError for what X would never take.
    """
    feed = Feed("x-stream", LAG_MS)
    wishes = parse_follow(follow)
    budget = budget or Budget()
    ledger = Ledger(
        clock,
        hashtags=hashtags,
        query=query,
        accounts=wishes.accounts,
        lists=wishes.lists,
        window_ms=round(window_seconds * 1000),
        look_back_ms=round(look_back_seconds * 1000),
        bookmark=bookmark,
    )
    client = XClient(
        credentials,
        clock=clock,
        api_url=api_url,
        whole_seconds=whole_seconds,
        keeps_raw=keeps_raw,
        moved=ledger.clock_moved,
        budget=budget,
    )
    stream_client = XStreamClient(
        credentials.bearer_token,
        api_url=api_url,
        silence_seconds=silence_seconds,
        whole_seconds=whole_seconds,
        keeps_raw=keeps_raw,
    )
    connection = XConnection(
        ledger,
        stream_client,
        FollowLists(stream_client, budget, ledger.owe),
        tags=() if query else hashtags,
        monotonic=monotonic,
    )
    stream = XStream(feed, ledger, connection, keeps_raw=keeps_raw, budget=budget)
    return stream, XFill(feed, ledger, client, stream_client, budget)
