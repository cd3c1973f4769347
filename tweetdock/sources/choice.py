"""The sources by the names that the settings use."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tweetdock.core.clock import Clock
from tweetdock.core.finding import Check, Finding
from tweetdock.core.post import COUNTS, Spent, feed_name
from tweetdock.settings.gauge import Settings
from tweetdock.settings.networks import (
    JETSTREAM_HOSTS,
    REPLAY,
    X_API_URL,
    asks_x,
    called,
    host_of,
    replayed_file,
)
from tweetdock.sources.polling import Source
from tweetdock.sources.recordings import Text
from tweetdock.sources.x.budget import COUNTING_SHARE, Bill, Budget, spending

# How the names of the settings begin without which nothing is checked.
X_NAMES = ("X_", "TWEETDOCK_X_QUERY", "TWEETDOCK_FOLLOW")
PRICE_NAMES = ("TWEETDOCK_X_PRICE_PER_POST", "TWEETDOCK_X_DAILY_BUDGET_USD")


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
    query = settings.x.query_for(settings.hashtags)
    followed = " ".join(map(str, settings.x.follow))
    x, jetstream = settings.x.api_url, _hosts(settings.networks.jetstream)
    subjects = {
        "x": _at(query, x, X_API_URL),
        "x-stream": _at(f"{query} {followed}".strip(), x, X_API_URL),
        "bluesky": _at(tags, jetstream, _hosts(JETSTREAM_HOSTS.split())),
    }
    yield feed, subjects.get(name, tags)


def _at(subject: str, servers: str, public: str) -> str:
    # What a server of one's own has to tell is not what the network has.
    return subject if servers == public else f"{subject} at {servers}"


def _hosts(urls: Iterable[str]) -> str:
    return " ".join(sorted(urlsplit(url).netloc for url in urls))


def make_budget(
    settings: Settings, spent: Mapping[str, Mapping[str, Spent]], *, is_guest: bool = False
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


def make_sources(
    settings: Settings,
    *,
    clock: Clock,
    cursor: Callable[[str], str],
    budget: Budget,
    lines: Callable[[Path], Iterator[Text]],
) -> list[Source]:
    """All sources, each for a thread of its own; nothing is asked yet.

    clock: shared by all. cursor: where a feed left off, by its name.
    budget: of all that ask X. lines: of a recording, whole or packed.
    """
    keeps_raw, seconds = settings.keep.archive is not None, settings.window_seconds

    def make(name: str) -> Iterator[Source]:
        # Each network brings libraries of its own: only those in use are imported.
        match name:
            case "x":
                from tweetdock.sources.x.search import XSearch  # noqa: PLC0415

                query = settings.x.query_for(settings.hashtags)
                yield XSearch(
                    lambda: (query,),
                    settings.x,
                    clock=clock,
                    window_seconds=seconds,
                    poll_seconds=settings.poll_seconds,
                    keeps_raw=keeps_raw,
                    cursor=cursor(name),
                    budget=budget,
                )
            case "x-stream":
                from tweetdock.sources.x.stream import XStream  # noqa: PLC0415

                stream = XStream(
                    settings.hashtags,
                    settings.x,
                    clock=clock,
                    window_seconds=seconds,
                    keeps_raw=keeps_raw,
                    cursor=cursor(name),
                    budget=budget,
                )
                yield from (stream, stream.search)
            case "bluesky":
                from tweetdock.sources.bluesky.source import Bluesky  # noqa: PLC0415

                listen = partial(
                    Bluesky,
                    settings.hashtags,
                    clock=clock,
                    hosts=settings.networks.jetstream,
                    window_seconds=seconds,
                    keeps_raw=keeps_raw,
                    cursor=cursor(name),
                )
                yield (first := listen())
                yield listen(beside=first)
            case "mastodon":
                from tweetdock.sources.mastodon.timeline import make_mastodon  # noqa: PLC0415

                yield from make_mastodon(
                    settings.hashtags,
                    servers=settings.networks.mastodon,
                    tokens=settings.networks.mastodon_tokens,
                    clock=clock,
                    window_seconds=seconds,
                    poll_seconds=settings.poll_seconds,
                    keeps_raw=keeps_raw,
                )
            case "demo":
                from tweetdock.sources.demo import Demo  # noqa: PLC0415

                yield Demo(clock=clock, window_seconds=seconds, poll_seconds=settings.poll_seconds)
            case _:
                from tweetdock.sources.replay import Replay  # noqa: PLC0415

                yield Replay(
                    called(settings.sources)[name],
                    replayed_file(name),
                    clock=clock,
                    window_seconds=seconds,
                    lines=lines,
                    speed=settings.networks.speed,
                    loops=settings.networks.loop,
                )

    return [source for name in settings.sources for source in make(name)]


def checks(
    settings: Settings,
    lines: Callable[[Path], Iterator[Text]],
    spent: Callable[[], Mapping[str, Mapping[str, Spent]]],
) -> Iterator[Check]:
    """The checks of the sources, each for a thread of its own; each ends within 15 seconds.

    lines: as of `make_sources`. spent: as of `make_budget`; asked in the check's thread.
    """
    sources = settings.sources
    if asks_x(sources):
        yield Check("x", partial(_probe_x, settings), X_NAMES)
    if "bluesky" in sources:
        yield Check("bluesky", partial(_probe_bluesky, settings), ("TWEETDOCK_JETSTREAM",))
    if "mastodon" in sources:
        for server in settings.networks.mastodon:
            probe = partial(_probe_mastodon, server, settings)
            yield Check(feed_name("mastodon", host_of(server)), probe, ("TWEETDOCK_MASTODON",))
    if "demo" in sources:
        made_up = Finding.well("demo", "the posts are made up, so no network is needed")
        yield Check("demo", lambda: iter([made_up]))
    for source in sources:
        if source.startswith(REPLAY):
            from tweetdock.sources.replay import probe as probe_file  # noqa: PLC0415

            yield Check("replay", partial(probe_file, source, replayed_file(source), lines))
    if asks_x(sources) and settings.is_live:
        names = (*PRICE_NAMES, "TWEETDOCK_STATE_DIR")  # where it is kept what was spent
        yield Check("spending", lambda: iter([spending(make_budget(settings, spent()))]), names)


# Only in the check's own thread are the libraries of a network loaded.


def _probe_x(settings: Settings) -> Iterator[Finding]:
    from tweetdock.sources.x.probe import probe  # noqa: PLC0415

    return probe(settings)


def _probe_bluesky(settings: Settings) -> Iterator[Finding]:
    from tweetdock.sources.bluesky.probe import probe  # noqa: PLC0415

    return probe(settings.networks.jetstream)


def _probe_mastodon(server: str, settings: Settings) -> Iterator[Finding]:
    from tweetdock.sources.mastodon.probe import probe  # noqa: PLC0415

    token = settings.networks.mastodon_tokens.get(host_of(server), "")
    return probe(server, token, settings.hashtags[0], poll_seconds=settings.poll_seconds)
