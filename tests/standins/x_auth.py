"""Who may ask X: an app by its bearer token, a user by an OAuth 1.0a signature."""

import hmac
from dataclasses import dataclass
from types import SimpleNamespace
from urllib.parse import urlsplit

from oauthlib.oauth1.rfc5849 import signature

CLOCK_TOLERANCE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class OAuth1Keys:
    """The four keys of a user's access."""

    consumer_key: str
    consumer_secret: str
    access_token: str
    access_token_secret: str


def signed_by(keys: OAuth1Keys, method: str, url: str, authorization: str, now: float) -> bool:
    """Whether these keys signed a request to this very URL, by a clock that is about right."""
    try:
        params = signature.collect_parameters(
            uri_query=urlsplit(url).query,
            headers={"Authorization": authorization},
            exclude_oauth_signature=False,
        )
    except ValueError:
        return False
    given = dict(params)
    try:
        skew = abs(int(given["oauth_timestamp"]) - now)
    except (KeyError, ValueError):
        return False
    if skew > CLOCK_TOLERANCE_SECONDS:
        return False
    if (given.get("oauth_consumer_key"), given.get("oauth_token")) != (
        keys.consumer_key,
        keys.access_token,
    ):
        return False
    request = SimpleNamespace(
        http_method=method,
        uri=url,
        params=[(name, value) for name, value in params if name != "oauth_signature"],
        signature=given.get("oauth_signature", ""),
    )
    return given.get("oauth_signature_method") == "HMAC-SHA1" and bool(
        signature.verify_hmac_sha1(request, keys.consumer_secret, keys.access_token_secret)
    )


def carries_bearer(bearer: str, authorization: str) -> bool:
    """Whether the header names this bearer token."""
    return hmac.compare_digest(authorization.encode(), f"Bearer {bearer}".encode())
