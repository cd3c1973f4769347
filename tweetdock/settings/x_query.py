"""Queries in X's language for what is counted, each short enough for X to take it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tweetdock.core.errors import Kind, SourceError

LONGEST_QUERY = 512  # of a search on self-serve plans; a rule may be twice as long
LONGEST_QUERY_OF_ANY_PLAN = 4096  # X's own description of the search
_NO_RETWEETS = "-is:retweet"


def build_query(hashtags: Sequence[str]) -> str:
    """An X query for posts with any of the hashtags (given without `#`), retweets left out.

    X's search no longer returns retweets by itself since 2026, its stream does: the operator
    keeps both counting the same. https://docs.x.com/x-api/posts/search/integrate/build-a-query
    """
    return _any_of([f"#{tag}" for tag in hashtags])


class Account(NamedTuple):
    """An account on X that is followed; is_list: not itself, but all whom it follows."""

    name: str
    is_list: bool = False

    def __str__(self) -> str:
        return f"@{self.name}{':following' * self.is_list}"


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
    hashtags: Sequence[str], accounts: Iterable[str] = (), query: str = ""
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


def _split(terms: Sequence[str]) -> Iterator[str]:
    taken: list[str] = []
    for term in terms:
        if length(_any_of([term])) > LONGEST_QUERY:
            what = f"X takes no term as long as {term:.60}…"
            raise SourceError(what, "shorten it", kind=Kind.QUERY)
        if length(_any_of([*taken, term])) > LONGEST_QUERY:
            yield _any_of(taken)
            taken = []
        taken.append(term)
    if taken:
        yield _any_of(taken)


def _any_of(terms: Sequence[str]) -> str:
    either = " OR ".join(terms)
    return f"({either}) {_NO_RETWEETS}" if len(terms) > 1 else f"{either} {_NO_RETWEETS}"


def _without_retweets(query: str) -> str:
    longer = f"({query}) {_NO_RETWEETS}"
    # A query that decides on retweets itself stays, and so does one that has no room for more.
    is_whole = "is:retweet" in query or length(longer) > LONGEST_QUERY
    return query if is_whole else longer


def length(query: str) -> int:
    """A query's length as X may count it, in UTF-16 units: the longest of all ways."""
    return len(query.encode("utf-16-le", "surrogatepass")) // 2
