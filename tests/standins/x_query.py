"""The part of X's query language that hashtags need, and how X refuses a parameter."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from standins.x_posts import Post

QUERY_LIMIT = 512  # what self-serve apps get
RULE_LIMIT = 1024
TAG = r"#[^\s()#]+"
FROM = r"from:[A-Za-z0-9_]+"
TERM = rf"(?:{TAG}|{FROM})"
# A word long enough to be nobody's hashtag is looked for in the text, alone or beside a query.
WORD_QUERY = re.compile(r"(?:\((?P<query>.+)\)\s+)?(?P<word>[a-z]{20,})")
TERMS_QUERY = re.compile(rf"\(\s*{TERM}(\s+OR\s+{TERM})*\s*\)|{TERM}(\s+OR\s+{TERM})*")


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
    """The part of X's query language that is understood; no terms match everything."""

    tags: frozenset[str]
    without_retweets: bool
    authors: frozenset[str] = frozenset()
    word: str = ""

    def matches(self, post: Post, *, streamed: bool = False) -> bool:
        """Whether the search finds this post, or the stream, which looks at what it quotes too."""
        references = post.get("referenced_tweets", ())
        if self.without_retweets and any(one["type"] == "retweeted" for one in references):
            return False
        if self.word and self.word not in post["text"].casefold().split():
            return False
        if not self.tags and not self.authors:
            return True
        if username(post["author_id"]).casefold() in self.authors:
            return True
        quoted = (tag.casefold() for tag in post.get("_quoted_tags", ()) if streamed)
        return not self.tags.isdisjoint([*hashtags(post), *quoted])


def username(author_id: str) -> str:
    """Name an account as it can be asked for; it has no other name here."""
    return f"u{author_id}"


def hashtags(post: Post) -> Iterator[str]:
    """List the post's hashtags, casefolded; from its text if X found no entities."""
    entities = post.get("entities", {}).get("hashtags")
    if entities is None:
        return (found[1:].casefold() for found in re.findall(r"#\w+", post["text"]))
    return (entity["tag"].casefold() for entity in entities)


def parse_query(text: str, limit: int = QUERY_LIMIT) -> Query:
    """Read hashtags, `from:` and `-is:retweet`; other words match all, a lone negation is refused.

    limit: how many characters it may have.
    """
    if not text:
        raise RefusedError("query", text, "The `query` query parameter can not be empty")
    if len(text) > limit:
        message = f"The `query` query parameter is longer than {limit} characters"
        raise RefusedError("query", text, message)
    if found := WORD_QUERY.fullmatch(text):
        anything = Query(frozenset(), without_retweets=False)
        others = parse_query(found["query"], limit) if found["query"] else anything
        return replace(others, word=found["word"])
    words = text.split()
    rest = " ".join(word for word in words if word != "-is:retweet")
    if not rest:
        message = (
            "There were errors processing your request: "
            "Rules must contain at least one positive, non-stopword clause (at position 1)"
        )
        raise RefusedError("query", text, message)
    is_known = TERMS_QUERY.fullmatch(rest)
    tags = re.findall(TAG, rest) if is_known else []
    authors = re.findall(FROM, rest) if is_known else []
    return Query(
        tags=frozenset(tag[1:].casefold() for tag in tags),
        without_retweets="-is:retweet" in words,
        authors=frozenset(author.removeprefix("from:").casefold() for author in authors),
    )
