"""The settings of the networks, and which of them do not go together."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from tweetdock.core.errors import SourceError, plain
from tweetdock.settings import parse
from tweetdock.settings.setting import set_by

LONGEST_QUERY = 512  # of a search on self-serve plans; a rule may be twice as long
NO_RETWEETS = "-is:retweet"

X_API_URL = "https://api.x.com"
X_QUERY_LENGTH = 4096  # X's own description of the search; a plan may allow fewer
X_SELF_SERVE_QUERY_LENGTH = 512
USD_PER_POST = "0.005"  # https://docs.x.com/x-api/getting-started/pricing
REPLAY = "replay:"
AVAILABLE_SOURCES = ("x", "x-stream", "bluesky", "mastodon", "demo", f"{REPLAY}FILE")

JETSTREAM_SECONDS = 36 * 3600  # how far back a Jetstream host can go


def build_query(hashtags: Sequence[str]) -> str:
    """An X query for posts with any of the hashtags (given without `#`), retweets left out.

    X's search no longer returns retweets by itself since 2026, its stream does: the operator
    keeps both counting the same. https://docs.x.com/x-api/posts/search/integrate/build-a-query
    """
    return _any_of([f"#{tag}" for tag in hashtags])


class Queries(NamedTuple):
    """The same posts as X's search and as rules of its stream are asked for them.

    tag_rules: they match by hashtag, and so what quotes a post with it, too. other_rules: the
    rest.
    """

    searches: tuple[str, ...]
    tag_rules: tuple[str, ...]
    other_rules: tuple[str, ...]

    @property
    def rules(self) -> tuple[str, ...]:
        """All rules."""
        return self.tag_rules + self.other_rules


def build_queries(
    hashtags: Sequence[str], accounts: Sequence[str] = (), query: str = ""
) -> Queries:
    """Queries for posts with any of the hashtags, or of any of the accounts (without `@`).

    query: one in X's own language instead of the hashtags. Each is short enough for a search;
    SourceError names a term that fits into none.
    """
    tags = [] if query else [f"#{tag}" for tag in hashtags]
    authors = [f"from:{name}" for name in accounts]
    own = (_without_retweets(query),) if query else ()
    return Queries(
        searches=(*own, *_split([*tags, *authors])),
        tag_rules=tuple(_split(tags)),
        other_rules=(*own, *_split(authors)),
    )


def normal(tag: str) -> str:
    """A hashtag as it is compared, whoever wrote it."""
    return unicodedata.normalize("NFKC", tag).casefold()


def _split(terms: Sequence[str]) -> Iterator[str]:
    taken: list[str] = []
    for term in terms:
        if _length(_any_of([term])) > LONGEST_QUERY:
            raise SourceError(f"X takes no term as long as {term:.60}…", cap=900, needs_owner=True)
        if _length(_any_of([*taken, term])) > LONGEST_QUERY:
            yield _any_of(taken)
            taken = []
        taken.append(term)
    if taken:
        yield _any_of(taken)


def _any_of(terms: Sequence[str]) -> str:
    either = " OR ".join(terms)
    return f"({either}) {NO_RETWEETS}" if len(terms) > 1 else f"{either} {NO_RETWEETS}"


def _without_retweets(query: str) -> str:
    longer = f"({query}) {NO_RETWEETS}"
    # A query that decides on retweets itself stays, and so does one that has no room for more.
    is_whole = "is:retweet" in query or _length(longer) > LONGEST_QUERY
    return query if is_whole else longer


def _length(query: str) -> int:
    # In UTF-16 units, where some characters count twice, to be on the safe side.
    return len(query.encode("utf-16-le", "surrogatepass")) // 2


JETSTREAM_HOSTS = " ".join(
    f"wss://jetstream{number}.us-{coast}.bsky.network/subscribe"
    for number in (1, 2)
    for coast in ("east", "west")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class XSettings:
    """X: search and stream."""

    query: str = set_by(
        "TWEETDOCK_X_QUERY", parse.text, "", "a full X query instead of the hashtags"
    )
    bearer_token: str = set_by(
        "X_BEARER_TOKEN", parse.secret, "", "X's app-only token", secret=True
    )
    consumer_key: str = set_by(
        "X_CONSUMER_KEY", parse.secret, "", "OAuth 1.0a: the app's key", secret=True
    )
    consumer_secret: str = set_by(
        "X_CONSUMER_SECRET", parse.secret, "", "OAuth 1.0a: the app's secret", secret=True
    )
    access_token: str = set_by(
        "X_ACCESS_TOKEN", parse.secret, "", "OAuth 1.0a: the user's token", secret=True
    )
    access_token_secret: str = set_by(
        "X_ACCESS_TOKEN_SECRET", parse.secret, "", "OAuth 1.0a: the user's secret", secret=True
    )
    api_url: str = set_by("X_API_URL", parse.url, X_API_URL, "the server that speaks X's API")
    look_back_seconds: float = set_by(
        "TWEETDOCK_X_LOOK_BACK_SECONDS",
        parse.number(90, 3600),
        "120",
        "how many seconds one search a minute looks back for posts that X indexed late",
    )
    follow: tuple[str, ...] = set_by(
        "TWEETDOCK_FOLLOW",
        parse.accounts,
        "",
        "accounts on X whose posts count too, by x-stream; @me:following: all that @me follows",
    )
    usd_per_post: float = set_by(
        "TWEETDOCK_X_PRICE_PER_POST",
        parse.number(0, 100),
        USD_PER_POST,
        "what X charges for a post, in USD",
    )
    daily_usd: float | None = set_by(
        "TWEETDOCK_X_DAILY_BUDGET_USD",
        parse.optional(parse.number(0.1, 1_000_000)),
        "",
        "what a UTC day may cost at X; reading stops before it costs more",
    )

    def problems(self, hashtags: tuple[str, ...], sources: tuple[str, ...]) -> Iterator[str]:
        """What of it does not go together, for the sources asked."""
        # A demo replaces the sources, and ignores the other settings.
        if self.follow and not {"x-stream", "demo"} & set(sources):
            yield "TWEETDOCK_FOLLOW: only the source x-stream follows accounts"
        if asks_x(sources):
            yield from self._problems_at_x(hashtags, sources)

    def _problems_at_x(self, hashtags: tuple[str, ...], sources: tuple[str, ...]) -> Iterator[str]:
        query = self.query or build_query(hashtags)
        limit = X_QUERY_LENGTH if self.query else X_SELF_SERVE_QUERY_LENGTH
        if len(query) > limit:
            name = "TWEETDOCK_X_QUERY" if self.query else "TWEETDOCK_HASHTAGS"
            yield f"{name}: {len(query)} characters as a query for X, which takes at most {limit}"
        if self.follow and self.query:
            yield "TWEETDOCK_FOLLOW: cannot be joined to TWEETDOCK_X_QUERY; write from:name in that"
        if self.daily_usd is not None and not self.usd_per_post:
            yield (
                f"TWEETDOCK_X_DAILY_BUDGET_USD={self.daily_usd:g}: would never be reached, as "
                "TWEETDOCK_X_PRICE_PER_POST is 0"
            )
        yield from self._credential_problems(sources)

    def _credential_problems(self, sources: tuple[str, ...]) -> Iterator[str]:
        if self.bearer_token:
            return
        if "x-stream" in sources:
            yield "X_BEARER_TOKEN: not set; X's stream accepts no other credentials"
            return
        user = {
            "X_CONSUMER_KEY": self.consumer_key,
            "X_CONSUMER_SECRET": self.consumer_secret,
            "X_ACCESS_TOKEN": self.access_token,
            "X_ACCESS_TOKEN_SECRET": self.access_token_secret,
        }
        missing = [name for name, value in user.items() if not value]
        if missing:
            yield (
                "X_BEARER_TOKEN: not set, and without it X needs "
                + ", ".join(missing)
                + "; to try TweetDock without credentials: python -m tweetdock --demo"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """The networks that are free, and files that are played again."""

    jetstream: tuple[str, ...] = set_by(
        "TWEETDOCK_JETSTREAM",
        parse.web_sockets,
        JETSTREAM_HOSTS,
        "Bluesky: Jetstream hosts, wss://host/subscribe; if one fails, the next is used",
        shown="four public ones",
    )
    mastodon: tuple[str, ...] = set_by(
        "TWEETDOCK_MASTODON", parse.servers, "", "Mastodon: the servers to ask"
    )
    mastodon_tokens: Mapping[str, str] = set_by(
        "TWEETDOCK_MASTODON_TOKENS",
        parse.tokens,
        "",
        "Mastodon: host=token for each server where you have an account",
        secret=True,
    )
    speed: float = set_by(
        "TWEETDOCK_SPEED", parse.number(0.1, 10_000), "1", "how many times as fast a replay runs"
    )
    loop: bool = set_by("TWEETDOCK_LOOP", parse.switch, "0", "1: a replay starts over at its end")

    def quiet_seconds(self, sources: tuple[str, ...]) -> float:
        """For how long a working source may send nothing."""
        # X's stream keeps alive every 20 s; a timeline beside a stream is read once a minute.
        streams = {"x-stream": 25.0, "mastodon": 75.0 if self.mastodon_tokens else 0.0}
        return max((streams.get(source, 0.0) for source in sources), default=0.0)

    def problems(self, sources: tuple[str, ...], window_seconds: float) -> Iterator[str]:
        """What of it does not go together, for the sources asked."""
        if "mastodon" in sources and not self.mastodon:
            yield "TWEETDOCK_MASTODON: not set; name at least one server, such as mastodon.social"
        yield from self._server_problems()
        if "bluesky" in sources and window_seconds > JETSTREAM_SECONDS:
            yield (
                f"TWEETDOCK_WINDOW_SECONDS={window_seconds:g}: Bluesky's hosts go back "
                f"{JETSTREAM_SECONDS} seconds only"
            )
        if self.speed != 1 and not is_only_replay(sources):
            rest = "a demo runs" if "demo" in sources else "the networks run"
            yield f"TWEETDOCK_SPEED={self.speed:g}: {rest} at 1; only a replay can be faster"
        if self.loop and not any(source.startswith(REPLAY) for source in sources):
            yield "TWEETDOCK_LOOP=1: only a replay can start over"

    def _server_problems(self) -> Iterator[str]:
        hosts = [host_of(server) for server in self.mastodon]
        # Not by name: what stands before a '=' may be half a token.
        if set(self.mastodon_tokens) - set(hosts):
            yield "TWEETDOCK_MASTODON_TOKENS: names a host that is not in TWEETDOCK_MASTODON"
        # Feeds go by the host alone.
        bare = [re.sub(r":(80|443)\Z", "", host) for host in hosts]
        for host in sorted(host for host in set(bare) if bare.count(host) > 1):
            yield f"TWEETDOCK_MASTODON: names {host} more than once; one address of it is enough"
        for server, host in zip(self.mastodon, hosts, strict=True):
            if host in self.mastodon_tokens and not _hides_tokens(server):
                yield (
                    f"TWEETDOCK_MASTODON_TOKENS: no token is sent to {server}, as without https "
                    "anybody could read it"
                )


def wants_hashtags(sources: tuple[str, ...], x: XSettings) -> bool:
    """Whether one of the sources has nothing to look for without a hashtag."""
    wants = {
        "x": not x.query,
        "x-stream": not (x.query or x.follow),
        "bluesky": True,
        "mastodon": True,
    }
    return any(wants.get(source, False) for source in sources)


def asks_x(sources: tuple[str, ...]) -> bool:
    """Whether one of the sources is X."""
    return not {"x", "x-stream"}.isdisjoint(sources)


def is_only_replay(sources: tuple[str, ...]) -> bool:
    """Whether recordings are played and nothing else is there."""
    return bool(sources) and all(source.startswith(REPLAY) for source in sources)


def source_problems(sources: tuple[str, ...]) -> Iterator[str]:
    """Which sources do not exist, or do not go together."""
    if not sources:
        yield "TWEETDOCK_SOURCES: no source is named; a comma list of " + ", ".join(
            AVAILABLE_SOURCES
        )
    for source in sources:
        if source == REPLAY:
            yield f"TWEETDOCK_SOURCES={source}: the file to play is missing: {REPLAY}FILE"
        elif source not in AVAILABLE_SOURCES and not source.startswith(REPLAY):
            yield f"TWEETDOCK_SOURCES={source}: a comma list of " + ", ".join(AVAILABLE_SOURCES)
    if "demo" in sources and len(sources) > 1:
        yield "TWEETDOCK_SOURCES: made-up posts cannot be mixed with real ones; demo stands alone"


def called(sources: tuple[str, ...]) -> dict[str, str]:
    """The public name of each source: of a recording only the file's name."""
    names: dict[str, str] = {}
    for source in sources:
        plainly = source
        if source.startswith(REPLAY):
            plainly = REPLAY + plain(replayed_file(source).name)
        numbers = (f"{plainly} ({number})" for number in count(2))
        taken = set(names.values())
        names[source] = next(name for name in chain([plainly], numbers) if name not in taken)
    return names


def replayed_file(source: str) -> Path:
    """The file of a source `replay:FILE`."""
    return Path(source.removeprefix(REPLAY)).expanduser()


def host_of(server: str) -> str:
    """The host, with its port if it has one, of an address."""
    return server.partition("://")[2]


def _hides_tokens(server: str) -> bool:
    parts = urlsplit(server)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
