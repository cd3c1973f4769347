"""The part of X's query language that hashtags need, and how X refuses a parameter."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from standins.x_posts import Post

QUERY_LIMIT = 512  # what self-serve apps get
TAG = r"#[^\s()#]+"
TAGS_QUERY = re.compile(rf"\(\s*{TAG}(\s+OR\s+{TAG})*\s*\)|{TAG}(\s+OR\s+{TAG})*")


class RefusedError(ValueError):
    """A parameter that X would answer with 400."""

    def __init__(self, name: str, value: str | None, message: str) -> None:
        super().__init__(message)
        error: dict[str, Any] = {"message": message}
        if value is not None:
            error["parameters"] = {name: [value]}
        self.body = {
            "errors": [error],
            "title": "Invalid Request",
            "detail": "One or more parameters to your request was invalid.",
            "type": "https://api.x.com/2/problems/invalid-request",
        }


@dataclass(frozen=True, slots=True)
class Query:
    """The part of X's query language that is understood; no tags match everything."""

    tags: frozenset[str]
    without_retweets: bool

    def matches(self, post: Post) -> bool:
        """Whether the search finds this post."""
        references = post.get("referenced_tweets", ())
        if self.without_retweets and any(one["type"] == "retweeted" for one in references):
            return False
        return not self.tags or not self.tags.isdisjoint(hashtags(post))


def hashtags(post: Post) -> Iterator[str]:
    """List the post's hashtags, casefolded; from its text if X found no entities."""
    entities = post.get("entities", {}).get("hashtags")
    if entities is None:
        return (found[1:].casefold() for found in re.findall(r"#\w+", post["text"]))
    return (entity["tag"].casefold() for entity in entities)


def parse_query(text: str) -> Query:
    """Read hashtags and `-is:retweet`; other words match all, a lone negation is refused."""
    if not text:
        raise RefusedError("query", text, "The `query` query parameter can not be empty")
    if len(text) > QUERY_LIMIT:
        message = f"The `query` query parameter is longer than {QUERY_LIMIT} characters"
        raise RefusedError("query", text, message)
    words = text.split()
    rest = " ".join(word for word in words if word != "-is:retweet")
    if not rest:
        message = (
            "There were errors processing your request: "
            "Rules must contain at least one positive, non-stopword clause (at position 1)"
        )
        raise RefusedError("query", text, message)
    tags = re.findall(TAG, rest) if TAGS_QUERY.fullmatch(rest) else []
    return Query(frozenset(tag[1:].casefold() for tag in tags), "-is:retweet" in words)
