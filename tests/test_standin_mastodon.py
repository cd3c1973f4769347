"""The stand-in Mastodon itself: its pages, its headers, its stream, as a plain client sees them."""

import http.client
import json
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import pytest
from simulation import Time
from standins.mastodon import INSTANCE, STREAM, TAGS, Fault, Fediverse, Mastodon, refusal
from standins.mastodon_index import Note

LIMIT = 5.0


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def server(time: Time) -> Iterator[Mastodon]:
    with Mastodon(now=time) as server:
        yield server


def ask(server: Mastodon, target: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """One question; header names in lower case."""
    connection = http.client.HTTPConnection(server.host, timeout=LIMIT)
    try:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        answer = {name.lower(): value for name, value in response.getheaders()}
        return response.status, json.loads(response.read() or b"null"), answer
    finally:
        connection.close()


def numbers(server: Mastodon, query: str, tag: str = "x") -> list[int]:
    """The numbers of the posts on a page."""
    status, page, _ = ask(server, f"{TAGS}{quote(tag)}?{query}")
    assert status == 200
    return [int(post["uri"].rpartition("/")[2]) for post in page]


def notes(time: Time, number: int, *tags: str) -> list[Note]:
    """Posts of the seconds past, the oldest first, numbered from 0."""
    return [
        Note(
            f"https://a.example/{n}", "https://a.example/@ada", time.ms - (number - n) * 1000, tags
        )
        for n in range(number)
    ]


def test_a_page_is_cut_out_as_mastodon_does(server: Mastodon, time: Time) -> None:
    server.add(*notes(time, 100, "X"))
    _, page, _ = ask(server, f"{TAGS}x?limit=40")
    ids = [post["id"] for post in page]
    assert numbers(server, "limit=40") == list(range(99, 59, -1))
    assert len(numbers(server, "")) == 20
    assert len(numbers(server, "limit=500")) == 40
    assert numbers(server, f"max_id={ids[-1]}&limit=2") == [59, 58]
    assert numbers(server, f"since_id={ids[9]}&limit=3") == [99, 98, 97]
    assert numbers(server, f"min_id={ids[9]}&limit=3") == [93, 92, 91]
    assert numbers(server, f"min_id={ids[0]}") == []
    assert numbers(server, f"min_id={ids[9]}&max_id={ids[7]}") == [91]
    assert [int(post_id) >> 16 for post_id in ids[:2]] == [time.ms - 1000, time.ms - 2000]


def test_the_link_header_leads_both_ways(server: Mastodon, time: Time) -> None:
    server.add(*notes(time, 50, "x"))
    _, page, headers = ask(server, f"{TAGS}x?limit=7&local=0")
    older, newer = headers["link"].split(", ")
    assert f"max_id={page[-1]['id']}" in older
    assert 'rel="next"' in older
    assert f"min_id={page[0]['id']}" in newer
    assert "local=0" in newer


def test_a_post_shows_from_its_moment_until_it_is_deleted(server: Mastodon, time: Time) -> None:
    note = notes(time, 1, "x")[0]
    server.add(note, shows_ms=time.ms + 5_000, is_own=False)
    assert numbers(server, "") == []
    assert server.truth(0, time.ms) == set()
    time.seconds += 5
    assert numbers(server, "") == [0]
    assert server.truth(0, time.ms) == {note}
    _, page, _ = ask(server, f"{TAGS}x")
    # Late, it has an id in the second of its creation.
    assert int(page[0]["id"]) // 65536 // 1000 == note.created_ms // 1000
    server.delete(note.uri)
    assert numbers(server, "") == []
    assert server.truth(0, time.ms) == set()


def test_servers_know_what_reaches_them(time: Time) -> None:
    with Mastodon(now=time) as one, Mastodon(now=time) as two:
        fediverse = Fediverse([one, two])
        fediverse.post(1, "x", delays_ms={1: 2_000})
        fediverse.post(1, "x")
        assert (len(numbers(one, "")), len(numbers(two, ""))) == (2, 0)
        time.seconds += 2
        assert (len(numbers(one, "")), len(numbers(two, ""))) == (2, 1)
        assert len(fediverse.truth(0, time.ms)) == 2


def test_its_limit_is_told_by_iso_dates_and_kept(time: Time) -> None:
    with Mastodon(now=time, limit=2) as server:
        _, _, headers = ask(server, INSTANCE)
        assert headers["x-ratelimit-remaining"] == "1"
        assert headers["x-ratelimit-reset"] == "2026-09-21T14:18:20.000000Z"
        assert ask(server, INSTANCE)[0] == 200
        assert ask(server, INSTANCE)[0] == 429
        time.seconds += 300
        assert ask(server, INSTANCE)[0] == 200


def test_it_has_a_clock_of_its_own(server: Mastodon, time: Time) -> None:
    server.skew_seconds = 3600
    _, _, headers = ask(server, INSTANCE)
    assert parsedate_to_datetime(headers["date"]).timestamp() == time.seconds + 3600


def test_it_lets_in_whom_it_says(server: Mastodon, time: Time) -> None:
    server.access = ("authenticated", "public")
    server.add(*notes(time, 1, "x"))
    _, said, _ = ask(server, INSTANCE)
    access = said["configuration"]["timelines_access"]["hashtag_feeds"]
    assert access == {"local": "authenticated", "remote": "public"}
    assert ask(server, f"{TAGS}x")[0] == 401
    assert ask(server, f"{TAGS}x", Authorization="Bearer wrong")[0] == 401
    assert len(ask(server, f"{TAGS}x", Authorization=f"Bearer {server.token}")[1]) == 1
    server.access = ("disabled", "disabled")
    assert ask(server, f"{TAGS}x", Authorization=f"Bearer {server.token}")[1] == []
    assert ask(server, "/api/v1/other")[0] == 404


def test_its_faults(server: Mastodon) -> None:
    server.fail(refusal(503, "down"), Fault(200, b"[7]"), None)
    assert ask(server, INSTANCE)[:2] == (503, {"error": "down"})
    assert ask(server, INSTANCE)[1] == [7]
    assert ask(server, INSTANCE)[0] == 200
    server.fail(Fault(change=lambda said: said | {"domain": "x"}), Fault(cut=10))
    assert ask(server, INSTANCE)[1]["domain"] == "x"
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        ask(server, INSTANCE)
    server.down()
    with pytest.raises(ConnectionError):
        ask(server, INSTANCE)
    server.up()
    assert ask(server, INSTANCE)[0] == 200
    assert [request.status for request in server.asked(INSTANCE)][:3] == [503, 200, 200]


def test_its_stream_wants_a_token_and_speaks_in_events(server: Mastodon, time: Time) -> None:
    assert ask(server, f"{STREAM}?tag=x")[0] == 401
    assert ask(server, STREAM, Authorization=f"Bearer {server.token}")[0] == 400
    connection = http.client.HTTPConnection(server.host, timeout=LIMIT)
    try:
        headers = {"Authorization": f"Bearer {server.token}"}
        connection.request("GET", f"{STREAM}?tag=X", headers=headers)
        response = connection.getresponse()
        assert response.getheader("Content-Type") == "text/event-stream"
        assert response.readline() == b":)\n"
        first, second = notes(time, 1, "x")[0], Note("https://a.example/9", "@a", time.ms, ("y",))
        server.add(first, second)
        server.tick()
        assert response.readline() == b"event: update\n"
        status = json.loads(response.readline().removeprefix(b"data: "))
        assert status["uri"] == first.uri
        assert [response.readline(), response.readline()] == [b"\n", b":thump\n"]
        server.edit(first.uri, "more")
        server.delete(first.uri)
        server.tick()
        said = [response.readline() for _ in range(7)]
        assert said[0] == b"event: status.update\n"
        assert said[3:] == [
            b"event: delete\n",
            b"data: %b\n" % status["id"].encode(),
            b"\n",
            b":thump\n",
        ]
        server.beat()
        assert response.readline() == b":thump\n"
        server.end_streams()
        assert response.readline() == b""
    finally:
        connection.close()
