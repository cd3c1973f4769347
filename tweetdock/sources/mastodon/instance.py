"""What a Mastodon server says of itself: who may read its hashtags, and where they are streamed."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tweetdock.sources.mastodon.posts import decode

SECURE = {"wss": "https", "https": "https"}
PLAIN = {"ws": "http", "http": "http"}
LONGEST_VERSION = 60


@dataclass(frozen=True, slots=True)
class Instance:
    """A server's own words; the defaults are what one means that says nothing.

    local, remote: who may read hashtags in posts of its own and of other servers' users: `public`,
    `authenticated`, `disabled`. streaming_url: empty if it names none. version: of its software,
    in its own words; empty if it does not say.
    """

    local: str = "public"
    remote: str = "public"
    streaming_url: str = ""
    version: str = ""

    @property
    def is_closed(self) -> bool:
        """Whether nobody may read them."""
        return self.local == self.remote == "disabled"

    @property
    def wants_token(self) -> bool:
        """Whether strangers are not let in.

        It takes but one of the two that is not public: a request for both is refused then.
        """
        return "public" not in (self.local, self.remote) or self.local != self.remote

    @property
    def remark(self) -> str:
        """What does not show to anybody, for the owner."""
        if self.remote == "disabled":
            return "shows posts of its own users only"
        return "shows posts of other servers' users only" if self.local == "disabled" else ""


def parse_instance(body: bytes) -> Instance:
    """The answer of `/api/v2/instance`; whatever is missing or odd is as if nothing was said.

    https://docs.joinmastodon.org/entities/Instance/
    """
    whole = decode(body)
    configuration = _part(whole, "configuration")
    feeds = _part(_part(configuration, "timelines_access"), "hashtag_feeds")
    streaming = _part(configuration, "urls").get("streaming")
    return Instance(
        _access(feeds.get("local")),
        _access(feeds.get("remote")),
        streaming if isinstance(streaming, str) else "",
        _version(whole),
    )


def streaming_base(instance: Instance, server: str) -> str | None:
    """Where to stream from: its place over HTTP, or the server itself if it names none.

    None if it is no place that a token may be sent to: one without encryption, unless the server
    itself has none.
    """
    try:
        url = urlsplit(instance.streaming_url)
        is_place = bool(url.hostname) and (url.port or True) and url.scheme in {**SECURE, **PLAIN}
    except ValueError:
        is_place = False
    if not is_place or not instance.streaming_url.isascii():
        return server
    if url.scheme in PLAIN and not server.startswith("http://"):
        return None
    scheme = {**SECURE, **PLAIN}[url.scheme]
    host = url.netloc.rpartition("@")[2]
    return f"{scheme}://{host}{url.path}".rstrip("/")


def _part(whole: Any, name: str) -> dict[str, Any]:
    part = whole.get(name) if isinstance(whole, dict) else None
    return part if isinstance(part, dict) else {}


def _version(whole: Any) -> str:
    said = whole.get("version") if isinstance(whole, dict) else None
    return " ".join(said.split())[:LONGEST_VERSION] if isinstance(said, str) else ""


def _access(value: Any) -> str:
    return value if value in ("authenticated", "disabled") else "public"
