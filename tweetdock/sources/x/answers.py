"""X's answers as JSON, read with care: whatever answers in its place is told apart."""

import json
from typing import Any

from tweetdock.core.errors import LOG_IN, Kind, SourceError


def decode(body: bytes, what: str) -> dict[str, Any]:
    """An answer as an object; SourceError if it is none, and so is not with `what`."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SourceError(
            "X's address answers, but not with JSON, as the login page of a Wi-Fi does",
            LOG_IN,
            kind=Kind.STRANGER,
        ) from error
    if not isinstance(answer, dict):
        raise not_with(what)
    return answer


def not_with(what: str) -> SourceError:
    """That the answer, which X may have billed, is not with what it was asked for."""
    sentence = f"X's address answers, but not with {what}"
    return SourceError(sentence, kind=Kind.STRANGER, may_have_come=True)


def objects(thing: Any) -> list[dict[str, Any]]:
    """The objects of a list; none if it is no list."""
    return [one for one in thing if isinstance(one, dict)] if isinstance(thing, list) else []


def said(*words: Any) -> str:
    """The first of these that is text, in one line of 300 signs at the most."""
    lines = (" ".join(text.split())[:300] for text in words if isinstance(text, str))
    return next(filter(None, lines), "no reason given")
