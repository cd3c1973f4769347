"""X's recent search without its network: parameters and posts in, a page or a refusal out."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from standins.x_posts import Post, snowflake
from standins.x_query import Query, RefusedError, parse_query

Vocabulary = Literal["legacy", "post", "as asked"]

PATH = "/2/tweets/search/recent"
PARAMETERS = frozenset(
    {
        "query",
        "max_results",
        "next_token",
        "pagination_token",
        "start_time",
        "end_time",
        "since_id",
        "until_id",
        "sort_order",
        "expansions",
        "tweet.fields",
        "post.fields",
        "user.fields",
        "media.fields",
        "place.fields",
        "poll.fields",
    }
)
# X renamed its fields in 2026; the spelling of the question decides that of the answer.
RENAMED = {
    "edit_history_tweet_ids": "edit_history_post_ids",
    "referenced_tweets": "referenced_posts",
    "note_tweet": "note_post",
}
LEGACY = {new: old for old, new in RENAMED.items()}
POST_FIELDS = frozenset(
    {
        "article",
        "attachments",
        "author_id",
        "card_uri",
        "community_id",
        "context_annotations",
        "conversation_id",
        "created_at",
        "display_text_range",
        "edit_controls",
        "edit_history_post_ids",
        "entities",
        "geo",
        "id",
        "in_reply_to_user_id",
        "lang",
        "media_metadata",
        "non_public_metrics",
        "note_post",
        "organic_metrics",
        "possibly_sensitive",
        "promoted_metrics",
        "public_metrics",
        "referenced_posts",
        "reply_settings",
        "scopes",
        "source",
        "text",
        "withheld",
    }
)
RECENT_SECONDS = 7 * 24 * 3600
INDEX_LAG_SECONDS = 30
MAX_ID = (1 << 63) - 1
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def page_token(before: int) -> str:
    """Name the page that starts below an id, and so stays in place while posts arrive."""
    return base64.b32hexencode(f"b26:{before}".encode()).decode().rstrip("=").lower()


def token_position(name: str, token: str) -> int:
    """Find the id below which the token's page starts."""
    padded = token.upper() + "=" * (-len(token) % 8)
    try:
        mark, _, before = base64.b32hexdecode(padded).decode().partition(":")
        if mark == "b26":
            return int(before)
    except (binascii.Error, ValueError):
        pass
    raise RefusedError(name, token, f"Invalid '{name}':['{token}']")


def brief(seconds: float) -> str:
    """Write a time as X's messages do, to the minute."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%MZ}"


@dataclass(frozen=True, slots=True)
class Search:
    """A checked request: ids from `first` to before `before`, newest first."""

    query: Query
    first: int
    before: int
    max_results: int
    fields: frozenset[str]
    users: bool
    spelling: Literal["legacy", "post"]

    @classmethod
    def parse(cls, params: Mapping[str, str], now: float, vocabulary: Vocabulary) -> "Search":
        """Check the parameters as X does at `now`, in Unix seconds of X's clock."""
        for name in params:
            if name not in PARAMETERS:
                allowed = ",".join(sorted(PARAMETERS))
                message = f"The query parameter [{name}] is not one of [{allowed}]"
                raise RefusedError(name, params[name], message)
        first, before = _bounds(params, now)
        fields = _fields(params)
        users = "author_id" in params.get("expansions", "").split(",")
        asked: Literal["legacy", "post"] = "post" if "post.fields" in params else "legacy"
        return cls(
            query=parse_query(params.get("query", "")),
            first=first,
            before=before,
            max_results=_max_results(params),
            fields=fields | {"author_id"} if users else fields,
            users=users,
            spelling=asked if vocabulary == "as asked" else vocabulary,
        )

    def answer(self, found: list[Post], *, empty_data_list: bool) -> dict[str, Any]:
        """X's JSON for what was found, which is one more than a page if there is another."""
        page = found[: self.max_results]
        meta: dict[str, Any] = {"result_count": len(page)}
        if not page:
            return {"data": [], "meta": meta} if empty_data_list else {"meta": meta}
        meta |= {"newest_id": page[0]["id"], "oldest_id": page[-1]["id"]}
        if len(found) > len(page):
            meta["next_token"] = page_token(int(page[-1]["id"]))
        answer: dict[str, Any] = {"data": [self._shown(post) for post in page], "meta": meta}
        if self.users:
            authors = dict.fromkeys(post["author_id"] for post in page)
            users = [{"id": one, "name": one, "username": f"u{one}"} for one in authors]
            answer["includes"] = {"users": users}
        return answer

    def _shown(self, post: Post) -> Post:
        shown = {name: value for name, value in post.items() if name in self.fields}
        if self.spelling == "legacy":
            return shown
        return {RENAMED.get(name, name): value for name, value in shown.items()}


def _max_results(params: Mapping[str, str]) -> int:
    text = params.get("max_results", "10")
    if not re.fullmatch(r"[0-9]{2,3}", text) or not 10 <= int(text) <= 100:
        message = f"The `max_results` query parameter value [{text}] is not between 10 and 100"
        raise RefusedError("max_results", text, message)
    return int(text)


def _fields(params: Mapping[str, str]) -> frozenset[str]:
    """Name what is shown, in the older vocabulary in which posts are kept."""
    shown = {"id", "text", "edit_history_tweet_ids"}
    legacy = frozenset(LEGACY.get(name, name) for name in POST_FIELDS)
    for parameter, allowed in (("tweet.fields", legacy), ("post.fields", POST_FIELDS)):
        if parameter not in params:
            continue
        for name in params[parameter].split(","):
            if name not in allowed:
                message = (
                    f"The `{parameter}` query parameter value [{name}]"
                    f" is not one of [{','.join(sorted(allowed))}]"
                )
                raise RefusedError(parameter, name, message)
            shown.add(LEGACY.get(name, name))
    return frozenset(shown)


def _bounds(params: Mapping[str, str], now: float) -> tuple[int, int]:
    """Find the first id that may be shown, and the id before which all are."""
    by_id = [name for name in ("since_id", "until_id") if name in params]
    by_time = [name for name in ("start_time", "end_time") if name in params]
    if by_id and by_time:
        message = (
            "Invalid use of 'since_id' or 'until_id' "
            "in conjunction with 'start_time' or 'end_time'."
        )
        raise RefusedError(by_id[0], params[by_id[0]], message)
    if params.get("sort_order", "recency") not in ("recency", "relevancy"):
        order = params["sort_order"]
        message = f"The `sort_order` query parameter value [{order}] is not one of"
        raise RefusedError("sort_order", order, f"{message} [recency,relevancy]")

    first = snowflake(int((now - RECENT_SECONDS) * 1000))
    before = MAX_ID
    if "since_id" in params:
        first = _since(_post_id("since_id", params), first, now) + 1
    if "until_id" in params:
        before = _post_id("until_id", params)
    if "start_time" in params:
        first = snowflake(_whole_second("start_time", params, now) * 1000)
    if "end_time" in params:
        before = snowflake(_whole_second("end_time", params, now) * 1000)
    if not by_time and "since_id" not in params:
        before = min(before, snowflake(int((now - INDEX_LAG_SECONDS) * 1000)))
    if len(by_time) == 2 and first >= before:
        message = "Invalid 'end_time': 'end_time' must be after 'start_time'."
        raise RefusedError("end_time", params["end_time"], message)
    return first, min(before, _token(params))


def _token(params: Mapping[str, str]) -> int:
    names = [name for name in ("next_token", "pagination_token") if name in params]
    if len(names) == 2:
        message = "At most one of 'next_token' and 'pagination_token' may be given."
        raise RefusedError(names[0], params[names[0]], message)
    return token_position(names[0], params[names[0]]) if names else MAX_ID


def _post_id(name: str, params: Mapping[str, str]) -> int:
    text = params[name]
    if not re.fullmatch(r"[0-9]{1,19}", text):
        message = f"The `{name}` query parameter value [{text}] does not match ^[0-9]{{1,19}}$"
        raise RefusedError(name, text, message)
    return int(text)


def _since(since_id: int, oldest: int, now: float) -> int:
    if since_id < oldest:
        message = (
            f"'since_id' must be a tweet id created after {brief(now - RECENT_SECONDS)}."
            f" Please use a 'since_id' that is larger than {oldest}"
        )
        raise RefusedError("since_id", str(since_id), message)
    return since_id


def _whole_second(name: str, params: Mapping[str, str], now: float) -> int:
    text = params[name]
    try:
        moment = datetime.fromisoformat(text) if TIME.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None:
        message = f"The `{name}` query parameter value [{text}] is not a valid RFC3339 timestamp"
        raise RefusedError(name, text, message)
    seconds = int(moment.timestamp())
    prefix = f"Invalid '{name}':'{text}'. '{name}' must be"
    if seconds > now - 10:
        message = f"{prefix} a minimum of 10 seconds prior to the request time."
        raise RefusedError(name, text, message)
    if seconds < now - RECENT_SECONDS:
        raise RefusedError(name, text, f"{prefix} on or after {brief(now - RECENT_SECONDS)}")
    return seconds
