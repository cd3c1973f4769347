"""The sources by the names that the settings use."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tweetdock.core.clock import Clock
from tweetdock.core.gauge import Bookmark
from tweetdock.core.post import COUNTS, feed_name
from tweetdock.settings.gauge import Settings
from tweetdock.settings.networks import (
    REPLAY,
    X_API_URL,
    build_query,
    called,
    host_of,
    replayed_file,
)
from tweetdock.sources.polling import Source
from tweetdock.sources.recordings import Text
from tweetdock.sources.x.budget import COUNTING_SHARE, Bill, Budget

if TYPE_CHECKING:
    from tweetdock.sources.x.client import Credentials


def subjects_of(settings: Settings) -> dict[str, str]:
    """What each feed is asked for, in its network's own language, by the feed's name."""
    names = called(settings.sources)
    return {feed: what for name in names for feed, what in _subjects(name, names[name], settings)}


def _subjects(name: str, feed: str, settings: Settings) -> Iterator[tuple[str, str]]:
    tags = " ".join(settings.hashtags)
    if name == "mastodon":
        # One server less is another question: which posts only that one has nobody can tell.
        servers = " ".join(settings.networks.mastodon)
        for server in settings.networks.mastodon:
            yield feed_name(name, host_of(server)), f"{tags} at {servers}"
        return
    query = settings.x.query or build_query(settings.hashtags)
    followed = " ".join(settings.x.follow)
    queries = {"x": query, "x-stream": f"{query} {followed}".strip()}
    yield feed, _at(settings, queries[name]) if name in queries else tags


def _at(settings: Settings, subject: str) -> str:
    # What a server of one's own has to tell is not what X has.
    url = settings.x.api_url
    return subject if url == X_API_URL else f"{subject} at {url}"


class Spending(Protocol):
    """What was asked of a source in a day."""

    @property
    def requests(self) -> int:
        """How many answers it gave."""
        ...

    @property
    def posts(self) -> int:
        """How many posts were in them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What sources stand on: the gauge's clock, where they left off, how recordings are read.

    clock: for those without a server to go by; the others get one each. not_before_ms: a time
    known to have passed. budget: of all that ask X. lines: of a file, whole or packed.
    """

    clock: Clock
    not_before_ms: int
    bookmark: Callable[[str], Bookmark]
    budget: Budget
    lines: Callable[[Path], Iterator[Text]]

    def own_clock(self) -> Clock:
        """A clock to be corrected by one server alone."""
        return Clock(time.time, time.monotonic, self.not_before_ms)


def make_budget(
    settings: Settings, spent: Mapping[str, Mapping[str, Spending]], *, is_guest: bool = False
) -> Budget:
    """The budget of all that ask X.

    spent: by UTC day and source, what was asked before. is_guest: another TweetDock pays.
    """
    bills = {
        day: Bill(
            posts=sum(each.posts for source, each in of.items() if source in ("x", "x-stream")),
            counts=sum(each.requests for source, each in of.items() if source == COUNTS),
        )
        for day, of in spent.items()
    }
    # What is kept back for counting is lost where nobody counts: it takes the app's own token.
    counts = "x" in settings.sources and settings.x.bearer_token != ""
    share = COUNTING_SHARE if counts else 0.0
    closed = "another TweetDock at work pays for today's posts" if is_guest else ""
    price, daily = settings.x.usd_per_post, settings.x.daily_usd
    return Budget(price, daily, bills, counting_share=share, closed=closed)


def make_sources(settings: Settings, ground: Ground) -> list[Source]:
    """All sources, each for a thread of its own; nothing is asked yet."""
    return [source for name in settings.sources for source in _make(name, settings, ground)]


def _make(name: str, settings: Settings, ground: Ground) -> list[Source]:
    if name.startswith(REPLAY):
        return [_make_replay(name, settings, ground)]
    makers: dict[str, Callable[[Settings, Ground], list[Source]]] = {
        "x": _make_x,
        "x-stream": _make_x_stream,
        "bluesky": _make_bluesky,
        "mastodon": _make_mastodon,
        "demo": _make_demo,
    }
    return makers[name](settings, ground)


# Each network brings libraries of its own: only those in use are imported.


def _make_x(settings: Settings, ground: Ground) -> list[Source]:
    from tweetdock.sources.x.search import XSearch  # noqa: PLC0415

    return [
        XSearch(
            settings.x.query or build_query(settings.hashtags),
            credentials_of(settings),
            clock=ground.own_clock(),
            api_url=settings.x.api_url,
            window_seconds=settings.window_seconds,
            poll_seconds=settings.poll_seconds,
            look_back_seconds=settings.x.look_back_seconds,
            keeps_raw=settings.keep.archive is not None,
            bookmark=ground.bookmark("x"),
            budget=ground.budget,
        )
    ]


def _make_x_stream(settings: Settings, ground: Ground) -> list[Source]:
    from tweetdock.sources.x.stream import make_x_stream  # noqa: PLC0415

    return list(
        make_x_stream(
            settings.hashtags,
            credentials_of(settings),
            clock=ground.own_clock(),
            api_url=settings.x.api_url,
            window_seconds=settings.window_seconds,
            look_back_seconds=settings.x.look_back_seconds,
            query=settings.x.query,
            follow=settings.x.follow,
            keeps_raw=settings.keep.archive is not None,
            bookmark=ground.bookmark("x-stream"),
            budget=ground.budget,
        )
    )


def _make_bluesky(settings: Settings, ground: Ground) -> list[Source]:
    from tweetdock.sources.bluesky.source import Bluesky  # noqa: PLC0415

    return [
        Bluesky(
            settings.hashtags,
            clock=ground.own_clock(),
            hosts=settings.networks.jetstream,
            window_seconds=settings.window_seconds,
            keeps_raw=settings.keep.archive is not None,
            bookmark=ground.bookmark("bluesky"),
        )
    ]


def _make_mastodon(settings: Settings, ground: Ground) -> list[Source]:
    from tweetdock.sources.mastodon.timeline import make_mastodon  # noqa: PLC0415

    return make_mastodon(
        settings.hashtags,
        servers=settings.networks.mastodon,
        tokens=settings.networks.mastodon_tokens,
        make_clock=ground.own_clock,
        window_seconds=settings.window_seconds,
        poll_seconds=settings.poll_seconds,
        keeps_raw=settings.keep.archive is not None,
        bookmark_of=ground.bookmark,
    )


def _make_demo(settings: Settings, ground: Ground) -> list[Source]:
    from tweetdock.sources.demo import Demo  # noqa: PLC0415

    return [
        Demo(
            clock=ground.clock,
            window_seconds=settings.window_seconds,
            poll_seconds=settings.poll_seconds,
        )
    ]


def _make_replay(name: str, settings: Settings, ground: Ground) -> Source:
    from tweetdock.sources.replay import Replay  # noqa: PLC0415

    return Replay(
        called(settings.sources)[name],
        replayed_file(name),
        clock=ground.clock,
        window_seconds=settings.window_seconds,
        lines=ground.lines,
        speed=settings.networks.speed,
        loops=settings.networks.loop,
    )


def credentials_of(settings: Settings) -> "Credentials":
    """What X is asked with."""
    from tweetdock.sources.x.client import Credentials  # noqa: PLC0415

    return Credentials(
        bearer_token=settings.x.bearer_token,
        consumer_key=settings.x.consumer_key,
        consumer_secret=settings.x.consumer_secret,
        access_token=settings.x.access_token,
        access_token_secret=settings.x.access_token_secret,
    )
