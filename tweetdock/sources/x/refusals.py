"""What X means when it refuses, in words for the owner of the gauge."""

import json
from typing import Any

from tweetdock.core.errors import RefusedError, SourceError
from tweetdock.core.times import clock_time
from tweetdock.sources.rate_limit import RateLimit

PORTAL = "X's address leads elsewhere: is the login page of a Wi-Fi in the way?"


def explain(refusal: RefusedError, now_ms: int, what: str = "search") -> SourceError:
    """The refusal as a sentence and a time to wait.

    now_ms: by the server's clock. what: X was asked for, `search` or `stream`.

    429 has three meanings and 403 two, told apart by `title` and `type`, never by the number
    alone; all fields of the body are optional. https://docs.x.com/x-api/fundamentals/response-codes-and-errors
    """
    problem = _problem(refusal.body)
    words = f"{problem.get('title', '')} {problem.get('type', '')}".casefold()
    said = _said(problem) or "no reason given"
    match refusal.status:
        case 400:
            return _owner(f"X does not accept the {what} (400): {said}")
        case 401:
            return _owner(
                "X does not accept the credentials (401): check X_BEARER_TOKEN and its like"
            )
        case 402:
            return _owner("X's account is out of credits (402): add some in X's console")
        case 403 if "spendcap" in words:
            until = f" until {day}" if isinstance(day := problem.get("reset_date"), str) else ""
            return _owner(f"X's spending cap is reached{until} (403): raise it in X's console")
        case 403:
            return _owner(f"X does not let this app {what} (403): {said}")
        case 404:
            return _owner(f"X's address knows no {what} (404): check X_API_URL")
        case 429:
            return _too_many(refusal, words, now_ms)
        case status if 300 <= status < 400:
            return SourceError(PORTAL, first=5.0, cap=60.0)
        case status if status >= 500:
            return SourceError(f"X is out of order ({status})", first=5.0, cap=320.0)
        case status:
            return SourceError(f"X answers by an unknown status ({status})", first=60.0, cap=900.0)


def _too_many(refusal: RefusedError, words: str, now_ms: int) -> SourceError:
    if "usagecap" in words.replace("-", "") or "usage-cap" in words:
        return _owner("X says that the plan's posts for this month are used up (429)")
    if "connection" in words:
        return SourceError("X says that too many connections are open (429)", first=60.0, cap=900.0)
    limit = RateLimit.from_headers({"x-rate-limit-remaining": "0", **_reset(refusal)})
    if limit is None or not limit.is_spent(now_ms):
        return SourceError("X's rate limit is used up (429)", first=60.0, cap=900.0)
    return SourceError(
        f"X's rate limit is used up until {clock_time(limit.reset_ms)} (429)",
        retry_after=limit.pause_seconds(now_ms, 0.0),
    )


def _reset(refusal: RefusedError) -> dict[str, str]:
    name = "x-rate-limit-reset"
    return {name: refusal.headers[name]} if name in refusal.headers else {}


def _owner(sentence: str) -> SourceError:
    return SourceError(sentence, first=60.0, cap=900.0, needs_owner=True)


def _problem(body: bytes) -> dict[str, Any]:
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _said(problem: dict[str, Any]) -> str:
    # The first error's message is closest to the cause; detail is often only a kind.
    errors = problem.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    said = first.get("message") if isinstance(first, dict) else None
    said = said or problem.get("detail") or problem.get("title")
    return " ".join(said.split())[:300] if isinstance(said, str) else ""
