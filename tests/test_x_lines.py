"""Lines of X's stream: what is a post, what ends it, what is left out and admitted."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standins.x_posts import Post, make_post

from tweetdock.core.errors import SourceError
from tweetdock.sources.x.posts import Entry, Wanted, parse_line, parse_page

NOW_MS = 1_790_000_000_000
WANTED = Wanted(frozenset({"1"}), frozenset({"2"}), frozenset({"dockercon"}))


def line_of(post: Any, *, rules: Any = ({"id": "1", "tag": None},), **more: Any) -> bytes:
    whole = {"data": post, **more, "matching_rules": rules}
    return json.dumps(whole, separators=(",", ":")).encode()


def quote(tag: str = "other") -> Post:
    post = make_post(NOW_MS, 7, tag=tag)
    post["referenced_tweets"] = [{"type": "quoted", "id": "5"}]
    return post


def counted(line: bytes, wanted: Wanted = WANTED) -> bool:
    return parse_line(line, NOW_MS, wanted).post is not None


def test_a_post_is_what_the_search_makes_of_it() -> None:
    post = make_post(NOW_MS, 7)
    page = parse_page(json.dumps({"data": [post], "meta": {}}).encode(), NOW_MS, keeps_raw=True)
    line = parse_line(line_of(post), NOW_MS, WANTED, keeps_raw=True)
    assert (line.post, line.raw, line.snowflake) == (page.posts[0], page.raw[0], int(post["id"]))


def test_a_blank_line_says_nothing() -> None:
    assert parse_line(b"", NOW_MS, WANTED) == Entry()


@pytest.mark.parametrize("spaces", [None, (", ", ": ")])
@pytest.mark.parametrize("order", [["data", "matching_rules"], ["matching_rules", "data"]])
def test_however_the_json_is_laid_out(order: list[str], spaces: tuple[str, str] | None) -> None:
    whole = {"data": make_post(NOW_MS, 7), "matching_rules": [{"id": "1"}]}
    line = json.dumps({name: whole[name] for name in order}, separators=spaces).encode()
    assert counted(line)
    assert not counted(line.replace(b'[{"id": "1"}]', b'[{"id":"3"}]').replace(b'"1"', b'"3"'))


@pytest.mark.parametrize(
    ("rules", "is_ours"),
    [
        ([{"id": "1", "tag": None}], True),
        ([{"id": 1}], True),
        ([{"id": "2"}], True),
        ([{"id": "3", "tag": "tweetdock"}], False),
        ([{"id": "3"}, {"id": 1}], True),
        ([], True),
        (None, True),
        ("odd", True),
        ([None, {"id": None}, {"id": []}], True),
    ],
)
def test_a_post_counts_that_one_of_our_rules_has_matched(rules: Any, *, is_ours: bool) -> None:
    assert counted(line_of(make_post(NOW_MS, 7), rules=rules)) == is_ours


def test_a_post_without_word_of_rules_counts() -> None:
    assert counted(json.dumps({"data": make_post(NOW_MS, 7)}).encode())


def test_a_quote_counts_by_its_own_tag_or_its_author_only() -> None:
    """X's stream finds the tag in the quoted post, too; its search does not."""
    assert not counted(line_of(quote()))
    assert counted(line_of(quote("DockerCon")))
    assert counted(line_of(quote(), rules=[{"id": "1"}, {"id": "2"}]))
    assert counted(line_of(quote()), Wanted(frozenset("1")))
    long = quote()
    long["note_tweet"] = {"text": "", "entities": {"hashtags": [{"tag": "dockercon"}]}}
    assert counted(line_of(long))
    newer = quote()
    newer["referenced_posts"] = newer.pop("referenced_tweets")
    newer["edit_history_post_ids"] = newer.pop("edit_history_tweet_ids")
    assert not counted(line_of(newer))
    del newer["entities"]
    assert not counted(line_of(newer))


@pytest.mark.parametrize(
    "odd", [None, 5, "x", [], {}, [None], [{"tag": 5}], {"hashtags": 5}, {"hashtags": [5, {}]}]
)
@pytest.mark.parametrize("name", ["entities", "note_tweet", "referenced_tweets"])
def test_odd_entities_break_nothing(name: str, odd: Any) -> None:
    parse_line(line_of(quote() | {name: odd}), NOW_MS, WANTED)


def test_all_versions_of_a_post_have_the_first_ones_key() -> None:
    first = make_post(NOW_MS - 5000, 7)
    second = make_post(NOW_MS, 7, edits_of=first)
    lines = [parse_line(line_of(post), NOW_MS, WANTED, keeps_raw=True) for post in (first, second)]
    assert len({line.post for line in lines}) == 1
    assert len({line.raw.version for line in lines if line.raw}) == 2


TYPES = [
    *("OperationalDisconnect", "UpstreamOperationalDisconnect", "ForceDisconnect"),
    *("UpstreamUncleanDisconnect", "SlowReader", "InternalError"),
    *("ClientApplicationStateDegraded", "InvalidRules"),
]


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_of_disconnect_ends_the_stream(kind: str) -> None:
    error = {
        "title": "operational-disconnect",
        "disconnect_type": kind,
        "detail": "This stream has been disconnected.",
        "type": "https://api.x.com/2/problems/operational-disconnect",
    }
    for whole in ({"errors": [error]}, error):
        with pytest.raises(SourceError, match=r"X has ended the stream.*disconnected"):
            parse_line(json.dumps(whole).encode(), NOW_MS, WANTED)


def test_another_program_on_the_stream_is_said() -> None:
    error = {"title": "ConnectionException", "connection_issue": "TooManyConnections"}
    with pytest.raises(SourceError, match="TooManyConnections"):
        parse_line(json.dumps({"errors": [error]}).encode(), NOW_MS, WANTED)


@pytest.mark.parametrize("errors", [None, [], [5], 5, [{}], [{"detail": 5}]])
def test_an_error_alone_ends_the_stream_whatever_it_looks_like(errors: Any) -> None:
    with pytest.raises(SourceError, match="X has ended the stream"):
        parse_line(json.dumps({"errors": errors}).encode(), NOW_MS, WANTED)


def test_errors_beside_a_post_are_none() -> None:
    assert counted(line_of(make_post(NOW_MS, 7), errors=[{"title": "Not Found Error"}]))


@pytest.mark.parametrize(
    "line",
    [
        b"x",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"data":' + b"[" * 100_000,
        b'{"data":{"id":' + b"9" * 5000 + b"}}",
        b'{"data":{"id":"1"}}',
        b'{"data":{}}',
        b'{"data":[]}',
        b"null",
        b"5",
        b"[]",
        b"{}",
        b'{"data":null}',
        b'{"data":{"delete":{"tweet":{"id":"6"}}}}',
        b'{"data":{"id":"1","author_id":"1"},"matching_rules":[{"id":"1"}]} more',
    ],
)
def test_what_is_no_post_is_unreadable_and_no_more(line: bytes) -> None:
    assert parse_line(line, NOW_MS, WANTED, keeps_raw=True).lacks


@given(cut=st.integers(0, 10_000), includes=st.booleans())
def test_a_line_cut_off_anywhere_is_never_a_post(cut: int, *, includes: bool) -> None:
    more = (
        {"includes": {"users": [{"id": "1", "name": '"matching_rules":[]}'}]}} if includes else {}
    )
    line = line_of(make_post(NOW_MS, 7), **more)
    part = line[: cut % len(line)]
    assert parse_line(part, NOW_MS, WANTED).post is None
    assert counted(line)
    if part:
        assert parse_line(part + line, NOW_MS, WANTED).post is None
        assert parse_line(line + part, NOW_MS, WANTED).post is None


def test_a_post_is_kept_as_it_came() -> None:
    post = json.dumps(make_post(NOW_MS, 7)).replace(" is on", "\\u00e9\\u2028")
    for line in ('{"data":%s}', '{"x":1,"data":%s}'):
        read = parse_line((line % post).encode(), NOW_MS, WANTED, keeps_raw=True)
        assert read.raw
        assert read.post == read.raw.post
        assert json.loads(read.raw.text) == json.loads(post)
        assert "\n" not in read.raw.text


def test_half_a_surrogate_pair_is_kept_as_it_came() -> None:
    line = line_of(make_post(NOW_MS, 7) | {"text": "\ud83d"})
    raw = parse_line(line, NOW_MS, WANTED, keeps_raw=True).raw
    assert raw
    assert "\\ud83d" in raw.text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["id"]), inner),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(["data", "delete", "matching_rules", "includes", "meta"]), json_values
    )
)
def test_no_json_breaks_it(whole: dict[str, Any]) -> None:
    parse_line(json.dumps(whole).encode("utf-8", "surrogatepass"), NOW_MS, WANTED)


def test_the_recorded_stream_is_read_to_its_cut_off_end() -> None:
    folder = os.environ.get("TWEETDOCK_RECORDINGS")
    if not folder:
        pytest.skip("recorded traffic is not at hand: set TWEETDOCK_RECORDINGS")
    lines = (Path(folder) / "x-stream.jsonl").read_bytes().splitlines()
    wanted = Wanted(frozenset({"1377649934414049282"}))
    read = [parse_line(line, NOW_MS, wanted) for line in lines]
    assert [line.lacks for line in read] == [""] * 7 + ["no JSON"]
    whole = [json.loads(line) for line in lines[:7]]
    for line, answer in zip(read, whole, strict=False):
        ids = {rule["id"] for rule in answer["matching_rules"]}
        assert (line.post is not None) == (1377649934414049282 in ids)
        assert line.snowflake == int(answer["data"]["id"])
