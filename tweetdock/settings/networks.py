"""The settings of the networks, and which of them do not go together."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tweetdock.core.address import is_loopback
from tweetdock.core.errors import Problem, plain
from tweetdock.settings import parse
from tweetdock.settings.setting import secret_by, set_by
from tweetdock.settings.x_query import (
    LONGEST_QUERY,
    LONGEST_QUERY_OF_ANY_PLAN,
    Account,
    build_query,
    length,
)

X_API_URL = "https://api.x.com"
USD_PER_POST = "0.005"  # https://docs.x.com/x-api/getting-started/pricing
REPLAY = "replay:"
AVAILABLE_SOURCES = ("x", "x-stream", "bluesky", "mastodon", "demo", f"{REPLAY}FILE")
JETSTREAM_SECONDS = 36 * 3600  # how far back a Jetstream host can go
JETSTREAM_HOSTS = " ".join(
    f"wss://jetstream{number}.us-{coast}.bsky.network/subscribe"
    for number in (1, 2)
    for coast in ("east", "west")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class XSettings:
    """X: search and stream."""

    query: str = set_by("a full X query instead of the hashtags", parse.query)
    bearer_token: str = secret_by("X_BEARER_TOKEN", "X's app-only token")
    consumer_key: str = secret_by("X_CONSUMER_KEY", "OAuth 1.0a: the app's key")
    consumer_secret: str = secret_by("X_CONSUMER_SECRET", "OAuth 1.0a: the app's secret")
    access_token: str = secret_by("X_ACCESS_TOKEN", "OAuth 1.0a: the user's token")
    access_token_secret: str = secret_by("X_ACCESS_TOKEN_SECRET", "OAuth 1.0a: the user's secret")
    api_url: str = set_by("the server that speaks X's API", parse.url, X_API_URL, name="X_API_URL")
    look_back_seconds: float = set_by(
        "how many seconds late X may show a post; if it is measured to be later, that goes",
        parse.number(90, 3600),
        "120",
    )
    follow: tuple[Account, ...] = set_by(
        "accounts on X whose posts count too, by x-stream; @me:following: all that @me follows",
        parse.accounts,
        name="TWEETDOCK_FOLLOW",
    )
    usd_per_post: float = set_by(
        "what X charges for a post, in USD",
        parse.number(0, 100),
        USD_PER_POST,
        name="TWEETDOCK_X_PRICE_PER_POST",
    )
    daily_usd: float | None = set_by(
        "what a UTC day may cost at X; reading stops before it costs more",
        parse.optional(parse.number(0.1, 1_000_000)),
        name="TWEETDOCK_X_DAILY_BUDGET_USD",
    )

    def query_for(self, hashtags: tuple[str, ...]) -> str:
        """What X's search is asked: the owner's own query, or one for the hashtags."""
        return self.query or build_query(hashtags)

    def lacks(self, hashtags: tuple[str, ...], sources: tuple[str, ...]) -> Iterator[Problem]:
        """Without what X cannot be asked, be it alone or as one of the sources."""
        characters = length(self.query_for(hashtags))
        limit = LONGEST_QUERY_OF_ANY_PLAN if self.query else LONGEST_QUERY
        if characters > limit:
            name = "TWEETDOCK_X_QUERY" if self.query else "TWEETDOCK_HASHTAGS"
            yield Problem(
                name, f"{characters} characters as a query for X, which takes at most {limit}"
            )
        yield from self._lacking_credentials(sources)

    def problems(self, sources: tuple[str, ...]) -> Iterator[Problem]:
        """What of it does not go together, for the sources asked."""
        # A demo replaces the sources, and ignores the other settings.
        if self.follow and not {"x-stream", "demo"} & set(sources):
            yield Problem("TWEETDOCK_FOLLOW", "only the source x-stream follows accounts")
        if not asks_x(sources):
            return
        if self.follow and self.query:
            yield Problem(
                "TWEETDOCK_FOLLOW", "cannot be joined to TWEETDOCK_X_QUERY; write from:name in that"
            )
        if self.daily_usd is not None and not self.usd_per_post:
            yield Problem(
                "TWEETDOCK_X_DAILY_BUDGET_USD",
                "would never be reached, as TWEETDOCK_X_PRICE_PER_POST is 0",
                f"{self.daily_usd:g}",
            )

    def _lacking_credentials(self, sources: tuple[str, ...]) -> Iterator[Problem]:
        if self.bearer_token:
            return
        if "x-stream" in sources:
            yield Problem("X_BEARER_TOKEN", "not set; X's stream accepts no other credentials")
            return
        user = "consumer_key", "consumer_secret", "access_token", "access_token_secret"
        missing = [f"X_{name.upper()}" for name in user if not getattr(self, name)]
        if missing:
            yield Problem(
                "X_BEARER_TOKEN",
                f"not set, and without it X needs {', '.join(missing)}; to try TweetDock without "
                "credentials: python -m tweetdock --demo",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """The networks that are free, and files that are played again."""

    jetstream: tuple[str, ...] = set_by(
        "Bluesky: Jetstream hosts, wss://host/subscribe; if one fails, the next (four public ones)",
        parse.web_sockets,
        JETSTREAM_HOSTS,
    )
    mastodon: tuple[str, ...] = set_by("Mastodon: the servers to ask", parse.servers)
    mastodon_tokens: Mapping[str, str] = set_by(
        "Mastodon: host=token for each server where you have an account", parse.tokens, secret=True
    )
    speed: float = set_by("how many times as fast a replay runs", parse.number(0.1, 10_000), "1")
    loop: bool = set_by("1: a replay starts over at its end", parse.switch, "0")

    def quiet_seconds(self, sources: tuple[str, ...]) -> float:
        """For how long a working source may send nothing."""
        # X's stream keeps alive every 20 s; a timeline beside a stream is read once a minute.
        streams = {"x-stream": 25.0, "mastodon": 75.0 if self.mastodon_tokens else 0.0}
        return max((streams.get(source, 0.0) for source in sources), default=0.0)

    def problems(self, sources: tuple[str, ...], window_seconds: float) -> Iterator[Problem]:
        """What of it does not go together, for the sources asked."""
        yield from self._server_problems()
        if "bluesky" in sources and window_seconds > JETSTREAM_SECONDS:
            yield Problem(
                "TWEETDOCK_WINDOW_SECONDS",
                f"Bluesky's hosts go back {JETSTREAM_SECONDS} seconds only",
                f"{window_seconds:g}",
            )
        if self.speed != 1 and not is_only_replay(sources):
            rest = "a demo runs" if "demo" in sources else "the networks run"
            yield Problem(
                "TWEETDOCK_SPEED", f"{rest} at 1; only a replay can be faster", f"{self.speed:g}"
            )
        if self.loop and not any(source.startswith(REPLAY) for source in sources):
            yield Problem("TWEETDOCK_LOOP", "only a replay can start over", "1")

    def _server_problems(self) -> Iterator[Problem]:
        hosts = [host_of(server) for server in self.mastodon]
        # Not by name: what stands before a '=' may be half a token.
        if set(self.mastodon_tokens) - set(hosts):
            yield Problem(
                "TWEETDOCK_MASTODON_TOKENS", "names a host that is not in TWEETDOCK_MASTODON"
            )
        # Feeds go by the host alone.
        bare = [re.sub(r":(80|443)\Z", "", host) for host in hosts]
        for host in sorted(host for host in set(bare) if bare.count(host) > 1):
            yield Problem(
                "TWEETDOCK_MASTODON", f"names {host} more than once; one address of it is enough"
            )
        for server, host in zip(self.mastodon, hosts, strict=True):
            if host in self.mastodon_tokens and not _hides_tokens(server):
                yield Problem(
                    "TWEETDOCK_MASTODON_TOKENS",
                    f"no token is sent to {server}, as without https anybody could read it",
                )


def wants_hashtags(source: str, x: XSettings) -> bool:
    """Whether a source has nothing to look for without a hashtag."""
    if source == "x-stream":
        return not (x.query or x.follow)
    return source in ("bluesky", "mastodon") or (source == "x" and not x.query)


def asks_x(sources: tuple[str, ...]) -> bool:
    """Whether one of the sources is X."""
    return not {"x", "x-stream"}.isdisjoint(sources)


def is_only_replay(sources: tuple[str, ...]) -> bool:
    """Whether recordings are played and nothing else is there."""
    return bool(sources) and all(source.startswith(REPLAY) for source in sources)


def source_problems(sources: tuple[str, ...]) -> Iterator[Problem]:
    """Which sources do not exist, or do not go together."""
    known = f"a comma list of {', '.join(AVAILABLE_SOURCES)}"
    if not sources:
        yield Problem("TWEETDOCK_SOURCES", f"no source is named; {known}")
    for source in sources:
        if source == REPLAY:
            yield Problem("TWEETDOCK_SOURCES", f"the file to play is missing: {REPLAY}FILE", source)
        elif source not in AVAILABLE_SOURCES and not source.startswith(REPLAY):
            yield Problem("TWEETDOCK_SOURCES", known, source)
    if "demo" in sources and len(sources) > 1:
        yield Problem(
            "TWEETDOCK_SOURCES", "made-up posts cannot be mixed with real ones; demo stands alone"
        )


def called(sources: tuple[str, ...]) -> dict[str, str]:
    """The public name of each source: of a recording only the file's name."""
    names: dict[str, str] = {}
    for source in sources:
        name = source
        if source.startswith(REPLAY):
            name = REPLAY + plain(replayed_file(source).name)
        while name in names.values():
            name = f"{name} (2)"
        names[source] = name
    return names


def replayed_file(source: str) -> Path:
    """The file of a source `replay:FILE`."""
    return Path(source.removeprefix(REPLAY)).expanduser()


def host_of(server: str) -> str:
    """The host, with its port if it has one, of an address."""
    return server.partition("://")[2]


def _hides_tokens(server: str) -> bool:
    parts = urlsplit(server)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")
