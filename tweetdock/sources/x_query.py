"""The question that is put to X: a query built from hashtags."""

from collections.abc import Sequence


def build_query(hashtags: Sequence[str]) -> str:
    """An X query for posts with any of the hashtags (given without `#`), retweets left out.

    X's search no longer returns retweets by itself since 2026, its stream does: the operator
    keeps both counting the same. https://docs.x.com/x-api/posts/search/integrate/build-a-query
    """
    tags = " OR ".join(f"#{tag}" for tag in hashtags)
    return f"({tags}) -is:retweet" if len(hashtags) > 1 else f"{tags} -is:retweet"
