"""Lines of recordings: every form that a network ever wrote, all mixed, and what is none."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replaying import (
    DAY_MS,
    FORMS,
    JSON,
    Form,
    archive_line,
    as_line,
    jetstream_event,
    mastodon_status,
    twitter_status,
    x_post,
)
from standins.jetstream_events import tid
from standins.x_posts import make_post, snowflake

from tweetdock.core.errors import PostError, TornError
from tweetdock.core.post import Post, Raw
from tweetdock.keep.archive_format import ArchiveLine
from tweetdock.sources.recordings import Entry, Recording, entries, post_of

NOON_MS = DAY_MS + 12 * 3_600_000 + 345


def read(*lines: bytes | TornError) -> list[Entry]:
    return list(entries(lines))


def kinds(found: list[Entry]) -> list[str]:
    """What is wrong with each of those that are no posts."""
    return [str(entry) for entry in found if isinstance(entry, Exception)]


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_post_that_it_means(form: Form) -> None:
    entry, post = form(7, 42, NOON_MS)
    assert post_of(entry) == post
    assert read(as_line(entry)) == [post]


@given(st.lists(st.tuples(st.sampled_from(FORMS), st.integers(1, 99), st.integers(0, 10**9))))
def test_forms_may_be_mixed_line_by_line(chosen: list[tuple[Form, int, int]]) -> None:
    made = [form(number, 42, DAY_MS + ms) for form, number, ms in chosen]
    assert read(*(as_line(entry) for entry, _ in made)) == [post for _, post in made]


def test_a_snowflake_knows_the_millisecond_in_both_of_xs_versions() -> None:
    ms, id_ = NOON_MS, str(snowflake(NOON_MS, 3))
    v2 = make_post(ms, 42) | {"id": id_, "edit_history_tweet_ids": [id_]}
    v1 = twitter_status(int(id_), 42, ms)[0]
    assert post_of(v2) == post_of(v1) == Post(f"x:{id_}", "x:42", ms)


@pytest.mark.parametrize(("later_ms", "is_believed"), [(0, True), (999, True), (1000, False)])
def test_an_id_is_believed_within_the_second_of_its_date(
    later_ms: int, *, is_believed: bool
) -> None:
    ms = DAY_MS + later_ms
    post = post_of(x_post(snowflake(ms, 3), 42, DAY_MS)[0])
    assert post == Post(f"x:{snowflake(ms, 3)}", "x:42", ms if is_believed else DAY_MS)


def test_an_edit_has_the_first_versions_key_and_moment_in_both_vocabularies() -> None:
    first = make_post(NOON_MS - 60_001, 42)
    second = make_post(NOON_MS, 42, edits_of=first)
    renamed = dict(second)
    renamed["edit_history_post_ids"] = renamed.pop("edit_history_tweet_ids")
    wanted = Post(f"x:{first['id']}", "x:42", NOON_MS - 60_001)
    assert post_of(second) == post_of(renamed) == wanted


def test_a_date_of_2008_is_read_and_its_small_id_tells_no_time() -> None:
    status = {
        "created_at": "Wed Aug 27 13:08:45 +0000 2008",
        "id": 900_000_001,
        "user": {"id": 42},
        "full_text": "an extended one",
        "display_text_range": [0, 15],
    }
    assert post_of(status) == Post("x:900000001", "x:42", 1_219_842_525_000)


@given(st.datetimes(datetime(2006, 3, 21), datetime(2023, 6, 30)), st.integers(-11, 13))  # noqa: DTZ001 - the zone is drawn beside it
def test_dates_of_twitter_are_read_whatever_their_offset(moment: datetime, hours: int) -> None:
    date = f"{moment:%a %b %d %H:%M:%S} {hours * 100:+05d} {moment:%Y}"
    found = post_of(twitter_status(1, 2, NOON_MS)[0] | {"created_at": date})
    in_utc = moment.replace(microsecond=0, tzinfo=UTC) - timedelta(hours=hours)
    assert found == Post("x:1", "x:2", round(in_utc.timestamp() * 1000))


@pytest.mark.parametrize(
    "date", ["Wed Aug 32 13:08:45 +0000 2008", "Wed Abc 27 13:08:45 +0000 2008"]
)
def test_a_date_of_twitter_that_never_was_is_none(date: str) -> None:
    with pytest.raises(PostError, match="no created_at"):
        post_of(twitter_status(1, 2, NOON_MS)[0] | {"created_at": date})


REPOSTS: list[JSON] = [
    x_post(1, 2, NOON_MS)[0] | {"referenced_tweets": [{"type": "retweeted", "id": "5"}]},
    x_post(1, 2, NOON_MS)[0]
    | {"referenced_posts": [{"type": "quoted", "id": "4"}, {"type": "retweeted", "id": "5"}]},
    twitter_status(1, 2, NOON_MS)[0] | {"retweeted_status": twitter_status(3, 4, NOON_MS)[0]},
    mastodon_status(1, 2, NOON_MS)[0] | {"reblog": mastodon_status(3, 4, NOON_MS)[0]},
]


@pytest.mark.parametrize("entry", REPOSTS)
def test_a_repost_is_passed_over(entry: JSON) -> None:
    assert read(as_line(entry)) == [None]


def test_a_quote_and_a_reply_count() -> None:
    entry, post = x_post(1, 2, NOON_MS)
    for kind in ("quoted", "replied_to"):
        assert post_of(entry | {"referenced_tweets": [{"type": kind, "id": "5"}]}) == post
    old, same = twitter_status(1, 2, NOON_MS)
    assert post_of(old | {"quoted_status": old, "retweeted_status": None}) == same


def commit(**changes: Any) -> JSON:
    """An event whose commit is changed."""
    event, _ = jetstream_event(1, 2, NOON_MS)
    return event | {"commit": event["commit"] | changes}


def test_a_changed_post_is_of_the_time_when_it_was_new() -> None:
    """It was passed over, though it may be all that a recording has of its post."""
    changed = commit(operation="update", rkey=tid(NOON_MS - 5_000))
    (post,) = read(as_line(changed))
    assert isinstance(post, Post)
    assert post.created_ms == NOON_MS - 5_000
    (odd,) = read(as_line(commit(operation="update", rkey="odd")))
    assert isinstance(odd, Post)
    assert odd.created_ms == NOON_MS


PASSED_OVER: list[JSON] = [
    commit(operation="delete"),
    commit(collection="app.bsky.feed.like"),
    {"did": "did:plc:2", "time_us": 5, "kind": "identity", "identity": {}},
    {"did": "did:plc:2", "time_us": 5, "kind": "account", "account": {}},
    {"did": "did:plc:2", "time_us": 5, "kind": "commit"},
    {"delete": {"status": {"id": 1, "id_str": "1", "user_id": 2}}},
    {"limit": {"track": 5}},
    {"errors": [{"title": "operational-disconnect"}]},
    {"meta": {"result_count": 0}},
    {},
    {**archive_line(1, 2, NOON_MS)[0], "key": None, "author": None, "created": None},
]


@pytest.mark.parametrize("entry", PASSED_OVER)
def test_what_a_stream_sends_beside_new_posts_is_passed_over(entry: JSON) -> None:
    assert read(as_line(entry)) == [None]


def test_pages_and_stream_objects_give_the_posts_in_them() -> None:
    (one, first), (two, second), (old, third) = (
        x_post(1, 2, NOON_MS),
        x_post(3, 4, NOON_MS),
        twitter_status(5, 6, NOON_MS),
    )
    page = {"data": [one, two], "includes": {"tweets": [x_post(9, 9, NOON_MS)[0]]}, "meta": {}}
    streamed = {"data": one, "matching_rules": [{"id": 5, "tag": None}]}
    found = {"statuses": [old], "search_metadata": {}}
    lines = [as_line(thing) for thing in (page, streamed, found)]
    assert read(*lines) == [first, second, first, third]


def test_an_archive_line_is_taken_as_it_stands() -> None:
    post = Post("any key", "any author", NOON_MS)
    text = ArchiveLine(NOON_MS, "x", Raw("v", json.dumps(REPOSTS[0]), post)).as_bytes()
    assert read(text) == [post]


def test_bad_entries_are_told_beside_good_ones() -> None:
    entry, post = x_post(1, 2, NOON_MS)
    page = as_line({"data": [entry, 5, entry | {"id": "x"}, entry]})
    assert read(page)[::3] == [post, post]
    assert kinds(read(page)) == ["no object", "no id"]


NO_LINES: list[tuple[bytes, str]] = [
    (b"soon\n", "no JSON"),
    (b'{"a"\n', "no JSON"),
    (b"\xff\xfe\xfd\n", "no JSON"),
    (b"[" * 100_000 + b"\n", "no JSON"),
    (b'{"id":' + b"9" * 5000 + b"}\n", "no JSON"),
    (b"5\n", "no object"),
    (b"null\n", "no object"),
    (b"[]\n", "no object"),
]


@pytest.mark.parametrize(("line", "kind"), NO_LINES)
def test_a_line_that_is_none_is_told_and_the_next_one_read(line: bytes, kind: str) -> None:
    entry, post = x_post(1, 2, NOON_MS)
    assert kinds(read(line, as_line(entry))) == [kind]
    assert read(as_line(entry), line, as_line(entry))[::2] == [post, post]
    assert kinds(read(as_line(entry), line)) == [kind]


ODD: list[Any] = [None, True, -5, 0, 1.5, 1 << 64, "", "x", "-5", "1" * 20, [], [None], {}]
FIELDS: list[tuple[Form, str, str]] = [
    (x_post, "id", "id"),
    (x_post, "author_id", "author_id"),
    (x_post, "created_at", "created_at"),
    (twitter_status, "id_str", "id"),
    (twitter_status, "user", "user|author_id"),
    (twitter_status, "created_at", "created_at"),
    (jetstream_event, "did", "did"),
    (jetstream_event, "time_us", "time_us"),
    (mastodon_status, "uri", "uri"),
    (mastodon_status, "account", "account|url"),
    (mastodon_status, "created_at", "created_at"),
    (archive_line, "author", "author"),
    (archive_line, "created", "created"),
]


@pytest.mark.parametrize(("form", "field", "lacks"), FIELDS)
def test_an_odd_field_makes_an_entry_none(form: Form, field: str, lacks: str) -> None:
    entry, _ = form(1, 2, NOON_MS)
    names = {"did", "uri", "author"}  # may be any text
    for odd in ODD:
        if not (field in names and isinstance(odd, str) and odd):
            with pytest.raises(
                PostError, match=rf"^no (sensible date|sensible created_at|edit history|{lacks})$"
            ):
                post_of(entry | {field: odd})


@pytest.mark.parametrize("form", [x_post, mastodon_status, archive_line])
@pytest.mark.parametrize(
    "date", ["0001-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "2026-11"]
)
def test_a_date_far_from_any_network_is_none(form: Form, date: str) -> None:
    entry, _ = form(1, 2, NOON_MS)
    field = "created" if form is archive_line else "created_at"
    with pytest.raises(PostError, match=r"created|date"):
        post_of(entry | {field: date})


@pytest.mark.parametrize("history", [["9" * 19], ["9" * 18], [None], "5", {"a": 1}, 5])
def test_an_odd_edit_history_makes_an_entry_none(history: Any) -> None:
    entry, _ = x_post(1, 2, NOON_MS)
    with pytest.raises(PostError, match="no edit history"):
        post_of(entry | {"edit_history_tweet_ids": history})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
names = st.sampled_from(
    [
        *("id", "author_id", "created_at", "user", "id_str", "uri", "account", "url", "did"),
        *("kind", "time_us", "commit", "rkey", "received", "version", "key", "author", "created"),
        *("data", "referenced_tweets", "edit_history_tweet_ids", "meta", "statuses", "reblog"),
    ]
)


@given(st.sampled_from(FORMS), st.dictionaries(names, anything), st.sets(names))
def test_whatever_an_entry_holds_nothing_but_an_error_is_told(
    form: Form, changes: JSON, missing: set[str]
) -> None:
    entry = form(1, 2, NOON_MS)[0] | changes
    entry = {name: value for name, value in entry.items() if name not in missing}
    for found in read(as_line(entry)):
        assert found is None or isinstance(found, Post | PostError)


@given(st.lists(st.binary(), max_size=5))
def test_whatever_bytes_there_are_nothing_but_an_error_is_told(lines: list[bytes]) -> None:
    assert all(entry is None or isinstance(entry, PostError | Post) for entry in read(*lines))


def test_what_is_wrong_with_a_file_is_told_by_number_and_kind() -> None:
    post = x_post(1, 2, NOON_MS)[1]
    recording = Recording()
    for entry in [post, None, *[PostError("no id")] * 2, PostError("no JSON"), TornError("there")]:
        recording.add(entry)
    assert recording.troubles == (
        "entries that cannot be read: 3 of 5 (2 no id, 1 no JSON); damaged places: 1 (there)"
    )
    assert recording.contents.endswith("; reposts, deletions and other entries: 1")


def test_of_a_good_file_there_is_nothing_to_tell() -> None:
    recording = Recording()
    recording.add(x_post(1, 2, NOON_MS)[1])
    assert recording.troubles == ""
