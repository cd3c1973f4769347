"""Mastodon's posts: what counts, under which names, what their ids tell, and what is unreadable."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples
from standins.mastodon_index import Entry, Index, Note, as_status

from tweetdock.core.errors import PostError, SourceError
from tweetdock.core.post import Post, Span
from tweetdock.sources.mastodon.posts import (
    SLACK_MS,
    has_tag,
    ids_of,
    moment_of,
    parse_page,
    parse_status,
    plain,
    read_status,
)

NOW_MS = 1_790_000_000_000
HOST = "fosstodon.org"


def entry(created_ms: int = NOW_MS - 5_000, **more: Any) -> Entry:
    uri = "https://a.example/users/ada/statuses/1"
    note = Note(uri, "https://a.example/@ada", created_ms, ("x",), **more)
    return Index("snowflakes").add(note, created_ms, is_own=True)


def status(**more: Any) -> dict[str, Any]:
    return as_status(entry()) | more


def page(*entries: Any, keeps_raw: bool = False) -> Any:
    return parse_page(json.dumps(entries).encode(), NOW_MS, HOST, keeps_raw=keeps_raw)


def test_a_post_is_known_by_its_uri_and_its_author_by_their_page() -> None:
    assert parse_status(status(), NOW_MS) == Post(
        "mastodon:https://a.example/users/ada/statuses/1",
        "mastodon:https://a.example/@ada",
        NOW_MS - 5_000,
    )


def test_a_post_that_a_bridge_brought_from_bluesky_has_the_names_of_bluesky() -> None:
    """It was two posts by two people, the one on Bluesky and the one on Mastodon."""
    bridge = "https://bsky.brid.gy"
    bridged = status(
        uri=f"{bridge}/convert/ap/at://did:plc:ab12/app.bsky.feed.post/3lx",
        url="https://fed.brid.gy/r/https://bsky.app/profile/did:plc:ab12/post/3lx",
        account={"url": f"{bridge}/r/https://bsky.app/profile/ada.example"},
    )
    post = parse_status(bridged, NOW_MS)
    assert post == Post("bluesky:did:plc:ab12/3lx", "bluesky:did:plc:ab12", NOW_MS - 5_000)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://a.example/@ada/42", "mastodon:https://a.example/users/ada/statuses/42"),
        ("https://a.example/@ada/43", "mastodon:https://a.example/ap/users/7/statuses/42"),
        ("https://b.example/@ada/42", "mastodon:https://a.example/ap/users/7/statuses/42"),
    ],
)
def test_a_post_whose_uri_has_its_author_as_a_number_is_known_by_its_page(
    url: str, key: str
) -> None:
    """A bridge to Bluesky names it by its page; and nobody is taken at their word for another."""
    post = parse_status(status(uri="https://a.example/ap/users/7/statuses/42", url=url), NOW_MS)
    assert post
    assert post.key == key


def test_a_boost_is_no_post_and_no_trouble() -> None:
    found = page(as_status(entry(boost=True)), status())
    assert len(found.statuses) == 1
    assert found.unreadable == ()
    assert found.size == len(found.ids) == 2


def test_what_is_dated_in_the_future_was_created_when_it_came() -> None:
    ahead = status(created_at="2036-01-01T00:00:00.000Z")
    post = parse_status(ahead, NOW_MS)
    assert post
    assert post.created_ms == NOW_MS - 5_000  # by its id
    post = parse_status(ahead | {"id": "A1"}, NOW_MS)
    assert post
    assert post.created_ms == NOW_MS


@pytest.mark.parametrize(
    ("more", "lack"),
    [
        ({"uri": None}, "no uri"),
        ({"uri": ""}, "no uri"),
        ({"uri": 7}, "no uri"),
        ({"uri": "\ud800"}, "no uri"),
        ({"uri": "x" * 5000}, "no uri"),
        ({"account": None}, "no account"),
        ({"account": []}, "no account"),
        ({"account": {}}, "no account"),
        ({"account": {"url": ["https://a.example"]}}, "no account"),
        ({"account": {"url": "\udfff"}}, "no account"),
        ({"created_at": None}, "no created_at"),
        ({"created_at": 1_790_000_000}, "no created_at"),
        ({"created_at": "yesterday"}, "no created_at"),
        ({"created_at": "9" * 300}, "no created_at"),
    ],
)
def test_what_lacks_a_name_or_a_date_is_unreadable(more: dict[str, Any], lack: str) -> None:
    with pytest.raises(PostError, match=lack):
        parse_status(status(**more), NOW_MS)
    found = page(status(**more), status(), keeps_raw=True)
    (odd,) = found.unreadable
    assert (odd.lacks, len(found.statuses)) == (lack, 1)
    assert abs(odd.at_ms - (NOW_MS - 5_000)) < 1000  # by its id
    # However often it is read, it is the same.
    assert page(status(**more)).unreadable[0].name == odd.name


@pytest.mark.parametrize("odd", [None, 7, "x", [], [[]], True, {}, {"id": {}}])
def test_what_is_no_status_at_all_is_unreadable(odd: Any) -> None:
    found = page(odd, status())
    assert (len(found.statuses), len(found.unreadable)) == (1, 1)
    assert found.unreadable[0].at_ms <= NOW_MS


NO_PAGES = [
    b"",
    b"<html>",
    b"{}",
    b'{"error":"x"}',
    b"[1",
    b"7",
    b"null",
    b"[" + b"9" * 9999 + b"]",
]


@pytest.mark.parametrize("body", [*NO_PAGES, b"[" * 100_000])
def test_what_is_no_page_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(SourceError, match=r"fosstodon\.org .*no Mastodon server"):
        parse_page(body, NOW_MS, HOST)


def test_each_edit_is_archived_under_a_name_of_its_own_as_one_line() -> None:
    first = read_status(status(content="a\nb"), NOW_MS, NOW_MS, keeps_raw=True)
    edit = status(content="c", edited_at="2026-09-21T15:00:00.000Z")
    second = read_status(edit, NOW_MS, NOW_MS, keeps_raw=True)
    assert first
    assert second
    assert first.raw
    assert second.raw
    key = "mastodon:https://a.example/users/ada/statuses/1"
    assert (first.raw.version, second.raw.version) == (key, f"{key}@2026-09-21T15:00:00.000Z")
    assert first.post == second.post == second.raw.post
    assert "\n" not in first.raw.text
    assert json.loads(first.raw.text)["content"] == "a\nb"


def test_half_a_surrogate_pair_is_archived_as_json_and_utf_8() -> None:
    found = page(status(content="\ud83d"), keeps_raw=True)
    raw = found.statuses[0].raw
    assert json.loads(raw.text.encode())["content"] == "\ud83d"


def test_what_is_not_archived_is_not_kept() -> None:
    assert page(status()).statuses[0].raw is None


@pytest.mark.parametrize(
    "odd", ["5", "0", "-5", "A1b2", "9" * 19, "1" * 400, "٣" * 18, "\ud800", "a/b", 7, None, {}]
)
def test_an_odd_id_tells_no_time(odd: Any) -> None:
    found = page(status(id=odd))
    assert len(found.statuses) == 1
    assert found.snowflakes == ()
    assert not found.is_by_time


@pytest.mark.parametrize("scheme", ["letters", "small numbers"])
def test_other_software_s_ids_tell_no_time(scheme: Any) -> None:
    index = Index(scheme)
    entries = [index.add(entry().note, NOW_MS - 5_000, is_own=True) for _ in range(3)]
    found = page(*map(as_status, entries))
    assert len(found.ids) == 3
    assert not found.is_by_time


@given(
    since=st.integers(-600_000, -1),
    later=st.integers(0, 120_000),
    seed=st.integers(0, 2**32),
    is_own=st.booleans(),
)
def test_the_made_up_ids_let_through_every_post_between(
    since: int, later: int, seed: int, *, is_own: bool
) -> None:
    """A post from elsewhere has a random millisecond of its second in its id."""
    dice = random.Random(seed)
    created_ms = NOW_MS + since + 1 + later
    note = Note("uri", "author", created_ms, ("x",))
    # A server's transaction begins a little before or after.
    shows_ms = created_ms + (dice.randrange(-500, 500) if is_own else dice.randrange(10**6))
    made = Index("snowflakes", seed).add(note, shows_ms, is_own=is_own)
    since_id, max_id = ids_of(Span(NOW_MS + since, created_ms))
    assert since_id < int(made.id) < max_id
    assert abs(moment_of(int(made.id)) - created_ms) < 1000


def test_the_made_up_ids_are_near() -> None:
    since_id, max_id = ids_of(Span(NOW_MS, NOW_MS))
    assert moment_of(since_id) >= NOW_MS - SLACK_MS - 1000
    assert moment_of(max_id) <= NOW_MS + SLACK_MS + 1000


TEXT = st.text(st.characters(exclude_categories=()))  # half surrogate pairs, too
NAME = st.sampled_from(["id", "uri", "account", "url", "created_at", "reblog", "edited_at"])
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner),
    max_leaves=12,
)


@settings(max_examples=examples(40))
@given(st.lists(JSON | st.fixed_dictionaries(dict.fromkeys(status(), JSON)), max_size=4))
def test_no_json_breaks_the_parser(entries: list[Any]) -> None:
    found = page(*entries, keeps_raw=True)
    assert found.size == len(entries)
    assert len(found.statuses) + len(found.unreadable) <= len(entries)
    for one in found.statuses:
        one.post.key.encode()


@given(
    st.sampled_from(list(status())),
    JSON,
)
def test_one_odd_field_costs_one_post_at_the_most(name: str, odd: Any) -> None:
    found = page(status(), status() | {name: odd})
    assert 1 <= len(found.statuses) <= 2


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("DockerCon", "dockercon"),
        ("Füße", "FUSSE"),
        ("東京", "東京"),
        ("\uff57ide", "wide"),
        ("é", "E"),
    ],
)
def test_a_hashtag_is_compared_as_servers_do(ours: str, theirs: str) -> None:
    assert has_tag(status(tags=[{"name": "other"}, {"name": theirs}]), {plain(ours)})
    assert not has_tag(status(tags=[{"name": "other"}]), {plain(ours)})


@pytest.mark.parametrize("odd", [[], [None, 7, {}, {"name": 7}]])
def test_a_status_without_a_readable_hashtag_has_none(odd: Any) -> None:
    assert not has_tag(status(tags=odd), {"x"})


@pytest.mark.parametrize("odd", [{}, {"tags": None}, {"tags": 7}, None, []])
def test_what_says_nothing_of_its_hashtags_is_not_taken_to_have_lost_them(odd: Any) -> None:
    assert has_tag(odd, {"x"})
