"""What is exported of a post: both vocabularies of X, and whatever else may be in its place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.keep.export import FIELDS, export_fields

TWEET = {
    "id": "1",
    "text": "Hallo #Welt",
    "author_id": "7",
    "lang": "de",
    "conversation_id": "9",
    "referenced_tweets": [
        {"type": "replied_to", "id": "2"},
        {"type": "retweeted", "id": "3"},
        {"type": "quoted", "id": "4"},
    ],
    "entities": {"hashtags": [{"start": 6, "end": 11, "tag": "Welt"}, {"tag": "été"}]},
    "public_metrics": {"like_count": 1, "retweet_count": 2, "reply_count": 3, "quote_count": 0},
}
NOTHING = dict.fromkeys(FIELDS)
FULL = {
    "text": "Hallo #Welt",
    "lang": "de",
    "conversation": "9",
    "reply_to": "2",
    "repost_of": "3",
    "quote_of": "4",
    "hashtags": ["Welt", "été"],
    "likes": 1,
    "reposts": 2,
    "replies": 3,
    "quotes": 0,
}
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
metrics = st.dictionaries(
    st.sampled_from(["like_count", "retweet_count", "repost_count"]), anything
)
entries = st.dictionaries(st.sampled_from(["type", "id", "tag"]), anything | st.just("quoted"))
posts = st.dictionaries(
    st.sampled_from([*TWEET, "referenced_posts", "edit_history_post_ids"]),
    anything | metrics | st.lists(entries) | st.fixed_dictionaries({"hashtags": st.lists(entries)}),
)


def test_a_tweet_fills_all_columns() -> None:
    assert export_fields("x", TWEET) == FULL


def test_a_post_in_the_newer_vocabulary_fills_the_same_columns() -> None:
    words = {
        "referenced_tweets": "referenced_posts",
        "retweet_count": "repost_count",
        "retweeted": "reposted",
    }
    text = json.dumps(TWEET)
    for old, new in words.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    assert export_fields("x", json.loads(text)) == FULL


def test_what_was_not_sent_is_none_and_not_zero() -> None:
    assert export_fields("x", {"id": "1", "author_id": "7"}) == NOTHING


def test_no_hashtags_are_not_the_same_as_none_sent() -> None:
    assert export_fields("x", {"entities": {"hashtags": []}})["hashtags"] == []
    assert export_fields("x", {"entities": {}})["hashtags"] is None


def test_a_network_that_is_not_known_has_no_answers() -> None:
    assert export_fields("elsewhere", TWEET) == NOTHING


def test_a_post_of_bluesky_fills_what_it_can() -> None:
    tag = {"$type": "app.bsky.richtext.facet#tag", "tag": "Welt"}
    link = {"$type": "app.bsky.richtext.facet#link", "uri": "https://example.org"}
    root, parent = {"uri": "at://a/1", "cid": "c"}, {"uri": "at://a/2", "cid": "c"}
    record = {
        "text": "Hallo #Welt",
        "langs": ["de", "en"],
        "reply": {"root": root, "parent": parent},
        "facets": [{"features": [tag, link]}],
        "tags": ["hidden"],
        "embed": {"$type": "app.bsky.embed.record", "record": {"uri": "at://a/3", "cid": "c"}},
    }
    found = NOTHING | {
        "text": "Hallo #Welt",
        "lang": "de",
        "conversation": "at://a/1",
        "reply_to": "at://a/2",
        "quote_of": "at://a/3",
        "hashtags": ["Welt", "hidden"],
    }
    assert export_fields("bluesky", {"commit": {"record": record}}) == found
    with_media = {"record": {"record": {"uri": "at://a/3"}}, "media": {}}
    assert (
        export_fields("bluesky", {"commit": {"record": {**record, "embed": with_media}}}) == found
    )


def test_a_status_of_mastodon_fills_what_it_can() -> None:
    status = {
        "content": "<p>Hallo</p>",
        "language": "de",
        "in_reply_to_id": "2",
        "reblog": None,
        "quote": {"quoted_status": {"uri": "https://a/3"}},
        "tags": [{"name": "welt", "url": "https://a/tags/welt"}],
        "favourites_count": 1,
        "reblogs_count": 2,
        "replies_count": 3,
    }
    assert export_fields("mastodon", status) == NOTHING | {
        "text": "<p>Hallo</p>",
        "lang": "de",
        "reply_to": "2",
        "quote_of": "https://a/3",
        "hashtags": ["welt"],
        "likes": 1,
        "reposts": 2,
        "replies": 3,
    }


@pytest.mark.parametrize("number", [True, "5", 1.5, 2**63, -(2**64), None])
def test_what_is_no_count_is_none(number: object) -> None:
    assert export_fields("x", {"public_metrics": {"like_count": number}})["likes"] is None


names = st.sampled_from(
    [
        *("commit", "record", "reply", "root", "facets", "features", "tags", "tag", "langs"),
        *("embed", "uri", "content", "language", "reblog", "quote", "quoted_status", "name"),
    ]
)
records = st.recursive(
    anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(posts | anything | records, st.sampled_from(["x", "bluesky", "mastodon"]))
def test_foreign_types_never_stop_it_and_never_get_through(post: object, source: str) -> None:
    found = export_fields(source, post)
    tags = found.pop("hashtags")
    assert tags is None or all(isinstance(tag, str) for tag in tags)
    for name, value in found.items():
        kind = int if name in ("likes", "reposts", "replies", "quotes") else str
        assert value is None or type(value) is kind
