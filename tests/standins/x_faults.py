"""What can go wrong between a client and X: refusals, broken answers, broken connections."""

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from standins.x_search import MAX_ID, page_token

Payload = dict[str, Any]
JSON_TYPE = "application/json; charset=utf-8"
PROBLEMS = "https://api.x.com/2/problems"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request instead of, or to, its answer."""


@dataclass(frozen=True, slots=True)
class Status(Fault):
    """An answer that no search stands behind; `reset_in` adds a spent limit's headers."""

    code: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    reset_in: float | None = None


@dataclass(frozen=True, slots=True)
class Changed(Fault):
    """A valid answer, altered."""

    change: Callable[[Payload], Payload]


@dataclass(frozen=True, slots=True)
class Hang(Fault):
    """No byte until the API is healed or closed."""


@dataclass(frozen=True, slots=True)
class Drip(Fault):
    """A valid answer, one part of it slowly."""

    bytes_per_second: float
    part: Literal["headers", "body"]


@dataclass(frozen=True, slots=True)
class Reset(Fault):
    """The connection is reset before any byte."""


@dataclass(frozen=True, slots=True)
class Cut(Fault):
    """The connection is reset in the middle of a valid answer's body."""

    after_bytes: int


def status(
    code: int,
    body: dict[str, Any] | list[Any] | str | bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Status:
    """Any answer; what is neither text nor bytes goes out as JSON."""
    given = {name.lower(): value for name, value in (headers or {}).items()}
    if isinstance(body, dict | list):
        given = {"content-type": JSON_TYPE} | given
        body = json.dumps(body)
    raw = body.encode() if isinstance(body, str) else body or b""
    return Status(code, raw, tuple(given.items()))


def _about_blank(code: int, title: str) -> Payload:
    return {"title": title, "detail": title, "type": "about:blank", "status": code}


def rate_limited(reset_in: float | None = None) -> Status:
    """Say that the requests are used up; without `reset_in` no header says until when."""
    answer = status(429, _about_blank(429, "Too Many Requests"))
    return Status(answer.code, answer.body, answer.headers, reset_in)


def rate_limited_by_code() -> Status:
    """Say the same in the form that X's guides still show."""
    return status(429, {"errors": [{"code": 88, "message": "Rate limit exceeded"}]})


def usage_capped() -> Status:
    """Say that a legacy tier's posts of the month are used up."""
    body = {
        "title": "UsageCapExceeded",
        "detail": "Usage cap exceeded: Monthly product cap",
        "period": "Monthly",
        "scope": "Product",
        "type": f"{PROBLEMS}/usage-capped",
    }
    return status(429, body)


def too_many_connections() -> Status:
    """Refuse a second stream where one is allowed."""
    body = {
        "title": "ConnectionException",
        "detail": "This stream is currently at the maximum allowed connection limit.",
        "connection_issue": "TooManyConnections",
        "type": f"{PROBLEMS}/streaming-connection",
    }
    return status(429, body)


def credits_depleted(form: Literal["older", "newer"] = "older") -> Status:
    """Say that the prepaid money is spent, in either form of the message."""
    detail = "does not have any credits to fulfill this request."
    body: Payload = {
        "account_id": 1234567890,
        "title": "CreditsDepleted",
        "detail": f"Your enrolled account [1234567890] {detail}",
        "type": "https://api.twitter.com/2/problems/credits",
    }
    if form == "newer":
        body |= {"title": "Payment Required", "type": f"{PROBLEMS}/credits-depleted"}
    return status(402, body)


def client_forbidden() -> Status:
    """Refuse an app outside any project."""
    body = {
        "title": "Client Forbidden",
        "detail": "This request must be made using an approved developer account.",
        "reason": "client-not-enrolled",
        "registration_url": "https://developer.x.com/en/docs/projects/overview",
        "required_enrollment": "Appropriate Level of API Access",
        "client_id": "12345678",
        "type": f"{PROBLEMS}/client-forbidden",
    }
    return status(403, body)


def spend_cap_reached(reset_date: str = "2026-12-13") -> Status:
    """Say that the owner's own spending limit is reached."""
    body = {
        "title": "SpendCapReached",
        "detail": "Your enrolled account has reached its billing cycle spend cap.",
        "reset_date": reset_date,
        "type": f"{PROBLEMS}/credits",
    }
    return status(403, body)


def unauthorized() -> Status:
    """Refuse credentials, as wrong or withdrawn."""
    return status(401, _about_blank(401, "Unauthorized"))


def not_found() -> Status:
    """Know no such path."""
    return status(404, _about_blank(404, "Not Found"))


def service_unavailable() -> Status:
    """Be down, in X's own words."""
    return status(503, _about_blank(503, "Service Unavailable"))


def html_503() -> Status:
    """Be down, in the words of X's edge."""
    page = "<html><body><h1>503 Service Unavailable</h1></body></html>"
    return status(503, page, {"content-type": "text/html"})


def html_200() -> Status:
    """Answer in X's place, as a captive portal does."""
    page = "<html><body><h1>Welcome to the hotel's network</h1></body></html>"
    return status(200, page, {"content-type": "text/html"})


def redirect(location: str) -> Status:
    """Send the client elsewhere."""
    return status(302, None, {"location": location})


def garbage() -> Status:
    """JSON, but not an object."""
    return status(200, ["neither", "data", "nor", "meta"])


def hang() -> Hang:
    """Accept and never answer, unless healed."""
    return Hang()


def drip(bytes_per_second: float, part: Literal["headers", "body"] = "body") -> Drip:
    """Drip a valid answer; after healing the rest comes at once."""
    return Drip(bytes_per_second, part)


def reset() -> Reset:
    """Reset the connection before any byte."""
    return Reset()


def cut(after_bytes: int) -> Cut:
    """Reset the connection when so much of the body is sent."""
    return Cut(after_bytes)


def partial_errors() -> Changed:
    """Put beside valid posts a word of what X could not find."""
    error = {
        "value": "leeseunggi",
        "detail": "Could not find user with entities.mentions.username: [leeseunggi].",
        "title": "Not Found Error",
        "resource_type": "user",
        "parameter": "entities.mentions.username",
        "resource_id": "leeseunggi",
        "type": f"{PROBLEMS}/resource-not-found",
    }
    return Changed(lambda payload: payload | {"errors": [error]})


def bad_posts() -> Changed:
    """Put between the good posts, all of which stay, four that are none."""

    def change(payload: Payload) -> Payload:
        data = list(payload.get("data", ()))
        model = data[0] if data else {"id": "1", "text": "", "author_id": "1"}
        # One above the newest, so that no good post is meant by it.
        other_id = str(int(model["id"]) + 1)
        bad: list[Any] = [
            {name: value for name, value in model.items() if name != "id"},
            model | {"id": other_id, "author_id": None},
            model | {"id": "not-a-number"},
            "a post",
        ]
        for place, entry in enumerate(bad):
            data.insert(min(2 * place, len(data)), entry)
        meta = payload["meta"] | {"result_count": len(data)}
        return payload | {"data": data, "meta": meta}

    return Changed(change)


def endless_tokens(*, empty: bool = False) -> Changed:
    """Show always the first page, or an empty one, and always a new token."""
    positions = itertools.count(MAX_ID, -1)

    def change(payload: Payload) -> Payload:
        meta = payload["meta"] | {"next_token": page_token(next(positions))}
        if empty:
            return {"meta": {"result_count": 0, "next_token": meta["next_token"]}}
        return payload | {"meta": meta}

    return Changed(change)
