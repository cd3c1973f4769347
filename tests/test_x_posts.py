"""Posts as X writes them, and what is none."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standins.x_posts import created_at, make_post, snowflake

from tweetdock.core.errors import PostError, SourceError
from tweetdock.core.post import Post
from tweetdock.sources.x.posts import (
    PostPage,
    parse_page,
    parse_post,
    read_entry,
    since_id_for,
    snowflake_ms,
)

NOW_MS = 1_790_000_000_123


def page_of(data: list[Any]) -> PostPage:
    """A page with all of these."""
    body = json.dumps({"data": data, "meta": {"result_count": len(data)}})
    return parse_page(body.encode(), NOW_MS)


def entry(**changes: Any) -> dict[str, Any]:
    """A post of two seconds ago, changed."""
    return make_post(NOW_MS - 2000, 42) | changes


@given(st.integers(1_288_834_974_658, NOW_MS), st.integers(0, 2**22 - 1))
def test_an_id_tells_its_millisecond_and_bounds_are_exact(at_ms: int, sequence: int) -> None:
    made = snowflake(at_ms, sequence)
    assert snowflake_ms(made) == at_ms
    assert since_id_for(at_ms) < made
    assert since_id_for(at_ms + 1) >= made


def test_a_post_has_the_first_versions_key_and_moment() -> None:
    first = make_post(NOW_MS - 60_001, 42)
    second = make_post(NOW_MS - 2000, 42, edits_of=first)
    post, version = parse_post(second, NOW_MS)
    assert post == Post(f"x:{first['id']}", "x:42", NOW_MS - 60_001)
    assert version == int(second["id"])


def test_both_vocabularies_and_none_at_all_give_the_same_post() -> None:
    legacy = entry()
    renamed = {n: v for n, v in legacy.items() if n != "edit_history_tweet_ids"}
    bare = dict(renamed)
    renamed["edit_history_post_ids"] = legacy["edit_history_tweet_ids"]
    assert parse_post(legacy, NOW_MS) == parse_post(renamed, NOW_MS) == parse_post(bare, NOW_MS)


def test_a_date_that_contradicts_the_id_is_right() -> None:
    post, _ = parse_post(entry(created_at=created_at(NOW_MS - 600_000)), NOW_MS)
    assert post.created_ms == (NOW_MS - 600_000) // 1000 * 1000


@pytest.mark.parametrize("name", ["edit_history_tweet_ids", "edit_history_post_ids"])
def test_an_empty_edit_history_is_none(name: str) -> None:
    """One in the newer vocabulary was an IndexError, which ended the process."""
    bare = {n: v for n, v in entry().items() if n != "edit_history_tweet_ids"}
    assert parse_post(bare | {name: []}, NOW_MS) == parse_post(bare, NOW_MS)


def test_an_entry_just_shallow_enough_to_be_read_is_one_line_of_the_archive() -> None:
    """To write it down again was a RecursionError, which ended the process."""
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    raws = [read_entry({"id": odd}, NOW_MS, keeps_raw=True).raw for odd in (deep, "\ud800")]
    assert [json.loads(raw.text) for raw in raws if raw] == [{}, {"id": "\ud800"}]


NO_IDS: list[Any] = [None, 5, True, "", "-5", "x", "1_0", "1" * 20, "9" * 19, "\u0663", []]
NO_DATES: list[Any] = [None, 5, "", "soon", "2026-11", []]
ODD: list[tuple[str, Any, str]] = [
    *(("id", odd, "no id") for odd in NO_IDS),
    *(("author_id", odd, "no author_id") for odd in NO_IDS if odd != "9" * 19),
    *(("created_at", odd, "no created_at") for odd in NO_DATES),
    *(
        ("created_at", odd, "no sensible created_at")
        for odd in ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
    ),
    *(
        ("edit_history_tweet_ids", odd, "no edit history")
        for odd in ("123", {"a": 1}, [7], [""], ["-5"], ["1" * 30], ["0"], ["9" * 19], [None])
    ),
]


@pytest.mark.parametrize(("name", "value", "kind"), ODD)
def test_what_is_no_post_is_said_by_what_it_lacks(name: str, value: Any, kind: str) -> None:
    with pytest.raises(PostError, match=f"^{kind}$"):
        parse_post(entry(**{name: value}), NOW_MS)


@pytest.mark.parametrize(("name", "value", "kind"), ODD)
def test_the_rest_of_the_page_counts(name: str, value: Any, kind: str) -> None:
    good = [make_post(NOW_MS - number * 1000, number) for number in range(1, 4)]
    data = [good[0], good[1] | {name: value}, good[2]]
    page = page_of(data)
    assert [post.author for post in page.posts] == ["x:1", "x:3"]
    assert [(odd.at_ms, odd.lacks) for odd in page.unreadable] == [(NOW_MS - 1000, kind)]


def test_entries_that_were_announced_and_not_sent_are_missed() -> None:
    body = json.dumps({"data": [entry()], "meta": {"result_count": 90}}).encode()
    page = parse_page(body, NOW_MS)
    assert [odd.lacks for odd in page.unreadable] == ["announced, not sent"]
    assert page.versions == (f"x:{page.ids[0]}",)  # nothing else was returned, which is billed


def test_what_cannot_be_read_has_one_name_whatever_is_beside_it() -> None:
    """The same entry was charged, and told of, by each page that had it."""
    beside = [make_post(NOW_MS - number * 1000, number) for number in range(1, 4)]
    spoilt = entry(author_id=None)
    for before in range(4):
        (odd,) = page_of([*beside[:before], spoilt, *beside[before:]]).unreadable
        assert odd.name == f"x:{spoilt['id']}"


@pytest.mark.parametrize("odd", [{"text": "no id"}, "a post", None, 7])
def test_what_has_no_id_is_named_by_what_it_is(odd: Any) -> None:
    first, again, other = (page_of([each]).unreadable[0] for each in (odd, odd, {"id": "none"}))
    assert first.name == again.name != other.name


def test_an_edited_neighbour_does_not_make_it_older() -> None:
    """It was dated by the neighbour's first version, and left the window half an hour early."""
    first = make_post(NOW_MS - 1_700_000, 1)
    edited = make_post(NOW_MS - 1000, 1, edits_of=first)
    (odd,) = page_of([edited, entry(author_id=None)]).unreadable
    assert odd.at_ms == NOW_MS - 1000


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"<html>", "login page"),
        (b"[" * 100_000, "login page"),
        (b'["neither", "data"]', "not with a page"),
        (b'{"data":{"id":"1"},"meta":{}}', "not with a page"),
        (b'{"meta":{"next_token":77}}', "not with a page"),
    ],
)
def test_what_is_no_page_is_said_and_asked_for_soon_again(body: bytes, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence) as caught:
        parse_page(body, NOW_MS)
    assert (caught.value.first, caught.value.cap, caught.value.needs_owner) == (5, 60, False)


@pytest.mark.parametrize("more", [{}, {"meta": {"result_count": 0}}, {"data": [], "meta": {}}])
def test_nothing_but_an_error_is_no_empty_page(more: dict[str, Any]) -> None:
    """It made the stretch that was asked for complete, without a post."""
    body = json.dumps({"errors": [{"title": "Over capacity"}]} | more).encode()
    with pytest.raises(SourceError, match="nothing but an error: Over capacity") as caught:
        parse_page(body, NOW_MS)
    assert caught.value.may_have_come


@pytest.mark.parametrize(("kind", "number"), [("tweet", 1), ("post", 1), ("user", 0)])
def test_an_error_about_a_post_beside_others_is_one_that_cannot_be_read(
    kind: str, number: int
) -> None:
    error = {"resource_type": kind, "resource_id": "7", "title": "Not Found Error"}
    body = {"data": [entry()], "errors": [error], "meta": {"result_count": 1}}
    page = parse_page(json.dumps(body).encode(), NOW_MS)
    assert len(page.posts) == 1
    assert [(odd.name, odd.at_ms) for odd in page.unreadable] == [("x:7", NOW_MS)] * number


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
fields = st.sampled_from(["id", "author_id", "created_at", "edit_history_tweet_ids", "text"])


@given(st.lists(st.dictionaries(fields, json_values) | json_values), json_values, json_values)
def test_no_page_whatever_it_holds_is_more_than_a_source_error(
    data: list[Any], token: Any, count: Any
) -> None:
    body = json.dumps({"data": data, "meta": {"next_token": token, "result_count": count}})
    try:
        page = parse_page(body.encode(), NOW_MS)
    except SourceError:
        return
    assert len(page.posts) + len(page.unreadable) >= len(data)
