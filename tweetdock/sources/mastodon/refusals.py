"""What a Mastodon server means when it refuses, in words for the owner of the gauge."""

from typing import Any

from tweetdock.core.errors import RefusedError, SourceError
from tweetdock.core.times import clock_time
from tweetdock.sources.mastodon.posts import decode
from tweetdock.sources.rate_limit import RateLimit

TOKENS = "TWEETDOCK_MASTODON_TOKENS"


def explain(refusal: RefusedError, host: str, token: str, now_ms: int) -> SourceError:
    """The refusal as a sentence and a time to wait.

    token: the one that went with the request, or none; it is in no sentence. now_ms: by the
    server's clock. https://docs.joinmastodon.org/entities/Error/
    """
    said = _said(refusal.body)
    because = f": {said.replace(token, '...') if token else said}" if said else ""
    match refusal.status:
        case 401 | 403 | 422 if not token and said:
            return wants_token(host)
        case 401 if token:
            return owner(f"{host} does not accept its token (401): check {TOKENS}")
        case 403 if token:
            return owner(
                f"{host} does not let the token read hashtags (403){because}; it needs the scope "
                "read:statuses"
            )
        case 401 | 403 | 422 as status:
            return owner(f"{host} refuses to be read ({status}){because}")
        case 404 | 410 as status:
            return owner(f"{host} knows no hashtags ({status}): is it a Mastodon server?")
        case 429:
            return _too_many(refusal, host, now_ms)
        case status if 300 <= status < 400:
            return SourceError(
                f"{host} leads elsewhere ({status}): is that the server's own name, is the login "
                "page of a Wi-Fi in the way?",
                first=5.0,
                cap=320.0,
            )
        case status if status >= 500:
            return SourceError(f"{host} is out of order ({status})", first=5.0, cap=320.0)
        case status:
            return SourceError(
                f"{host} answers by an unknown status ({status}){because}", first=60.0, cap=900.0
            )


def wants_token(host: str) -> SourceError:
    """The server shows nothing to strangers."""
    return owner(f"{host} shows hashtags only to its users: set {TOKENS}={host}=...")


def closed(host: str) -> SourceError:
    """The server shows nothing to anybody."""
    return owner(f"{host} has closed its hashtag feed: take it out of TWEETDOCK_MASTODON")


def owner(sentence: str) -> SourceError:
    """What will not mend itself."""
    return SourceError(sentence, first=60.0, cap=900.0, needs_owner=True)


def _too_many(refusal: RefusedError, host: str, now_ms: int) -> SourceError:
    # A 429 by another part of the server, or by one before it, may tell of another limit.
    limit = RateLimit.from_headers({"x-ratelimit-remaining": "0", **_reset(refusal)})
    if limit is None or not limit.is_spent(now_ms):
        return SourceError(f"{host}'s rate limit is used up (429)", first=60.0, cap=900.0)
    return SourceError(
        f"{host}'s rate limit is used up until {clock_time(limit.reset_ms)} (429)",
        retry_after=limit.pause_seconds(now_ms, 0.0),
    )


def _reset(refusal: RefusedError) -> dict[str, str]:
    name = "x-ratelimit-reset"
    return {name: refusal.headers[name]} if name in refusal.headers else {}


def _said(body: bytes) -> str:
    problem: Any = decode(body)
    said = problem.get("error") if isinstance(problem, dict) else None
    return " ".join(said.split())[:300] if isinstance(said, str) else ""
