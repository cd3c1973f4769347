"""Mastodon's sources, put together: for each server its timeline, and by a token its streams."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tweetdock.core.clock import Clock
from tweetdock.core.memory import Bookmark
from tweetdock.core.post import feed_name
from tweetdock.settings.networks import host_of
from tweetdock.sources.http import WHOLE_SECONDS
from tweetdock.sources.mastodon.access import Access
from tweetdock.sources.mastodon.client import MastodonClient
from tweetdock.sources.mastodon.statuses import Statuses
from tweetdock.sources.mastodon.stream import SILENCE_SECONDS, TagStream
from tweetdock.sources.mastodon.timeline import SOURCE, TagTimeline
from tweetdock.sources.polling import Source


def make_mastodon(
    hashtags: Sequence[str],
    *,
    servers: Sequence[str],
    tokens: Mapping[str, str],
    make_clock: Callable[[], Clock],
    window_seconds: float,
    poll_seconds: float,
    keeps_raw: bool,
    bookmark_of: Callable[[str], Bookmark],
    whole_seconds: float = WHOLE_SECONDS,
    silence_seconds: float = SILENCE_SECONDS,
) -> list[Source]:
    """The sources for some hashtags (without `#`) on some servers (`https://fosstodon.org`).

    tokens: of users, by the server's host; a server with one is streamed from, too.
    bookmark_of: where a feed left off, by its name. silence_seconds: after which a stream is dead.
    """
    sources: list[Source] = []
    window_ms = round(window_seconds * 1000)
    for server in servers:
        host = host_of(server)
        token, statuses = tokens.get(host, ""), Statuses(window_ms)
        make_client = partial(
            MastodonClient,
            server,
            token,
            Access(),
            whole_seconds=whole_seconds,
            keeps_raw=keeps_raw,
        )
        clock = make_clock()
        timeline = TagTimeline(
            hashtags,
            make_client(clock=clock),
            statuses,
            clock=clock,
            is_streamed=bool(token),
            window_ms=window_ms,
            poll_seconds=poll_seconds,
            bookmark=bookmark_of(feed_name(SOURCE, host)),
        )
        sources.append(timeline)
        for tag in hashtags if token else ():
            clock = make_clock()
            sources.append(
                TagStream(
                    timeline.feed,
                    tag,
                    make_client(clock=clock),
                    statuses,
                    clock=clock,
                    keeps_raw=keeps_raw,
                    silence_seconds=silence_seconds,
                )
            )
    return sources
