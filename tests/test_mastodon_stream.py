"""Mastodon's streams: posts as they come, what they cannot say, and every way in which they end."""

import json
import logging
import threading
import time as machine
from collections.abc import Iterator
from typing import Any

import pytest
from simulation import Time
from standins.mastodon import INSTANCE, STREAM, TAGS, Fault, Mastodon, refusal
from standins.mastodon_index import Note, as_status
from standins.mastodon_simulation import MastodonSimulation, end, fill

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Known
from tweetdock.core.errors import SourceError
from tweetdock.core.post import Batch, Post, Trouble
from tweetdock.sources.http import HttpSession
from tweetdock.sources.mastodon.client import Instance, streaming_base
from tweetdock.sources.mastodon.timeline import make_mastodon
from tweetdock.sources.polling import Source

MINUTE = 60.0


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def server(time: Time) -> Iterator[Mastodon]:
    with Mastodon(now=time) as server:
        yield server


@pytest.fixture
def simulation(server: Mastodon, time: Time) -> Iterator[MastodonSimulation]:
    simulation = MastodonSimulation(time, server, tokens=True)
    yield simulation
    simulation.close()


def make_stream(server: Mastodon, time: Time, silence_seconds: float = 10.0) -> Source:
    """A stream alone, and what it knows."""
    _, stream = make_mastodon(
        ["dockercon"],
        servers=[server.url],
        tokens={server.host: server.token},
        clock=Clock(time, time),
        window_seconds=3600,
        poll_seconds=5,
        keeps_raw=True,
        silence_seconds=silence_seconds,
    )
    return stream


def hear(stream: Source) -> Batch:
    while True:  # a piece may complete nothing
        for batch in stream.poll(Known()):
            return batch


def hear_posts(stream: Source) -> tuple[Post, ...]:
    """The next posts."""
    while True:
        if posts := hear(stream).posts:
            return posts


def note(number: int = 1, time: Time | None = None, **more: Any) -> Note:
    created_ms = (time or Time()).ms
    uri = f"https://b.example/users/ada/statuses/{number}"
    return Note(uri, "https://b.example/@ada", created_ms, ("dockercon",), **more)


def test_a_streamed_post_counts_at_once(simulation: MastodonSimulation) -> None:
    simulation.run(2)
    simulation.fediverse.post(1, "DockerCon")
    simulation.fediverse.post(2, "another")
    simulation.tick()
    assert simulation.read().posts == 1
    assert [word.channel for word in simulation.messages[-1:]] == ["#dockercon"]
    simulation.run(70)
    simulation.assert_true()


def test_while_streams_are_up_the_timeline_is_asked_once_a_minute(
    simulation: MastodonSimulation, server: Mastodon
) -> None:
    simulation.run(10)
    before = len(server.asked(TAGS))
    simulation.run(10 * MINUTE, simulation.assert_honest)
    assert 10 <= len(server.asked(TAGS)) - before <= 30
    simulation.assert_true()
    server.end_streams()
    server.fail_always(refusal(503))
    simulation.run(20)
    server.heal()


def test_a_stream_for_each_tag_and_one_feed(server: Mastodon, time: Time) -> None:
    simulation = MastodonSimulation(time, server, tags="one two", tokens=True)
    assert [source.channel for source in simulation.sources] == ["timeline", "#one", "#two"]
    assert len({source.feed for source in simulation.sources}) == 1
    simulation.run(2)
    simulation.fediverse.post(1, "one", "two")
    simulation.fediverse.post(1, "two")
    simulation.tick()
    assert simulation.read().posts == 2
    assert {request.get("tag") for request in server.asked(STREAM)} == {"one", "two"}
    simulation.close()


def test_a_deleted_post_counts_no_more(simulation: MastodonSimulation, server: Mastodon) -> None:
    fill(simulation, 100)
    simulation.run(5)
    simulation.assert_true()
    streamed = simulation.fediverse.post(1, "dockercon")
    simulation.tick()
    read_by_timeline = min(server.truth(simulation.time.ms - 3_000_000, simulation.time.ms),
                           key=lambda note: note.created_ms)  # fmt: skip
    for gone in (streamed, read_by_timeline):
        server.delete(gone.uri)
    simulation.tick()
    simulation.run(2)
    assert (simulation.read().posts, simulation.read().authors) == simulation.truth()


def test_a_post_that_is_deleted_in_the_moment_in_which_it_comes_does_not_count(
    simulation: MastodonSimulation, server: Mastodon
) -> None:
    simulation.run(2)
    uris = [simulation.fediverse.post(n, "dockercon", ago_ms=900).uri for n in range(2)]
    status = json.dumps(as_status(server.entry(uris[0])))
    server.send(b"event: update\ndata: %b\n\nevent: delete\ndata: %b\n\n"
                % (status.encode(), server.entry(uris[0]).id.encode()))  # fmt: skip
    server.delete(uris[0])
    simulation.tick()
    simulation.tick()
    assert simulation.read().posts == 1


def test_an_edit_that_drops_the_tag_is_heard(
    simulation: MastodonSimulation, server: Mastodon
) -> None:
    simulation.run(2)
    edited = simulation.fediverse.post(1, "dockercon", "other")
    simulation.tick()
    simulation.time.seconds += 3
    server.edit(edited.uri, "without it", "other")
    simulation.tick()
    assert (simulation.read().posts, simulation.read().authors) == simulation.truth() == (0, 0)
    simulation.time.seconds += 3
    server.edit(edited.uri, "with it", "dockercon")
    simulation.run(70)
    simulation.assert_true()
    assert simulation.read().posts == 1


def test_what_a_stream_brings_late_is_late(server: Mastodon, time: Time) -> None:
    """Only what the timeline brings first was measured, and a stream brings nearly all first."""
    with Mastodon(now=time) as other:
        simulation = MastodonSimulation(time, server, tokens=True)
        simulation.fediverse.servers.append(other)
        late_ms = 2_000_000
        for number in range(30):
            simulation.fediverse.post(number, "dockercon", home=1, delays_ms={0: late_ms})
            simulation.run(20)
        simulation.run(late_ms / 1000)
        assert simulation.seen(simulation.sources[0].feed.name).late_ms >= late_ms
        simulation.close()


def test_after_a_restart_a_deletion_is_understood_again(
    simulation: MastodonSimulation, server: Mastodon
) -> None:
    """The server names what is gone by an id of its own, which was forgotten."""
    old = simulation.fediverse.post(1, "dockercon", ago_ms=3_000_000)
    simulation.run(5)
    simulation.restart()
    simulation.run(5)
    assert simulation.read().posts == 1
    server.delete(old.uri)
    simulation.tick()
    simulation.run(1)
    assert simulation.read().posts == 0


def test_a_deletion_may_overtake_its_post(server: Mastodon, time: Time) -> None:
    simulation = MastodonSimulation(time, server, tokens=True)
    simulation.run(2)
    gone = simulation.fediverse.post(1, "dockercon")
    page: list[Any] = []

    def keep(answer: Any) -> Any:
        # A page that was made just before the deletion, and comes just after it.
        if isinstance(answer, list):
            page.extend(answer)
            server.delete(gone.uri)
            simulation.tick()
        return answer

    server.fail(Fault(change=keep))
    list(map(simulation.deliver, simulation.sources[0].poll(Known())))
    assert len(page) == 1
    assert simulation.read().posts == 0
    simulation.close()


def test_an_edit_is_the_same_post_and_another_version(
    simulation: MastodonSimulation, server: Mastodon
) -> None:
    simulation.run(2)
    edited = simulation.fediverse.post(1, "dockercon")
    simulation.tick()
    simulation.time.seconds += 3
    server.edit(edited.uri, "second thoughts")
    simulation.tick()
    simulation.run(70)
    simulation.assert_true()
    assert simulation.read().posts == 1
    assert len(simulation.archived) == 2
    assert simulation.archived[1].startswith(f"mastodon:{edited.uri}@20")


def test_boosts_and_unknown_deletions_and_events_are_passed_over(
    server: Mastodon, time: Time
) -> None:
    stream = make_stream(server, time)
    hear(stream)
    for raw in (
        b"event: delete\ndata: 42\n\n",
        b"event: delete\ndata: \xff\n\n",
        b"event: delete\ndata: " + b"4" * 500 + b"\n\n",
        b"event: filters_changed\ndata: undefined\n\n",
        b"event: announcement\ndata: {}\n\n",
        b"data: {}\n\n",
    ):
        server.send(raw)
        batch = hear(stream)
        assert (batch.posts, batch.removals) == ((), ())
    server.add(note(1, time, boost=True))
    server.tick()
    assert hear(stream).posts == ()
    end(stream)


ODD = [b"", b"7", b"null", b"[]", b"{}", b"{", b"[" * 100_000, b'{"uri":"\\ud800"}', b"9" * 5000]


def test_what_cannot_be_read_is_left_to_the_timeline_and_logged_once(
    server: Mastodon, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    stream = make_stream(server, time)
    hear(stream)
    for data in ODD * 2:
        server.send(b"event: update\ndata: %b\n\n" % data)
        assert hear(stream).unreadable == ()
    server.add(note(1, time))
    server.tick()
    assert len(hear_posts(stream)) == 1
    assert caplog.text.count("no object") == 1
    end(stream)


def test_several_events_in_one_piece_and_one_in_many(server: Mastodon, time: Time) -> None:
    stream = make_stream(server, time)
    hear(stream)
    for number in range(5):
        server.add(note(number, time))
    server.tick()
    assert len(hear(stream).posts) == 5
    server.add(note(9, time))
    whole = b'event: update\r\ndata: {"id":"1",\r\ndata: "created_at":"2026-09-21T14:13:00Z",'
    whole += b'"uri":"https://c.example/1","account":{"url":"https://c.example/@c"}}\r\n\r\n'
    for start in range(0, len(whole), 7):
        server.send(whole[start : start + 7])
    assert hear_posts(stream)[0].key == "mastodon:https://c.example/1"
    end(stream)


def test_a_heartbeat_is_word_that_all_is_well(server: Mastodon, time: Time) -> None:
    stream = make_stream(server, time)
    assert hear(stream).covers is None
    server.beat()
    batch = hear(stream)
    assert (batch.posts, batch.covers, batch.channel) == ((), None, "#dockercon")
    end(stream)


def test_a_silent_connection_is_dead(server: Mastodon, time: Time) -> None:
    stream = make_stream(server, time, silence_seconds=0.3)
    hear(stream)
    with pytest.raises(SourceError, match="has said nothing for"):
        hear(stream)
    assert hear(stream).source == "mastodon"  # another one
    assert len(server.asked(STREAM)) == 2
    end(stream)


# A heartbeat may come ten times as late as it is due before it is taken for silence.
@pytest.mark.xdist_group("real time")
def test_real_heartbeats_keep_it_alive(time: Time) -> None:
    with Mastodon(now=time, heartbeat_seconds=0.07) as server:
        stream = make_stream(server, time, silence_seconds=0.7)
        begun = machine.monotonic()
        while machine.monotonic() < begun + 1.0:
            hear(stream)
        assert len(server.asked(STREAM)) == 1
        end(stream)


@pytest.mark.parametrize("after_bytes", [0, 1, 40, 200, 500, 900])
def test_a_stream_cut_at_any_byte_is_filled_by_the_timeline(
    server: Mastodon, time: Time, after_bytes: int
) -> None:
    # One of them over real sockets: what breaks there breaks there otherwise.
    make_session = HttpSession if after_bytes == 200 else None
    simulation = MastodonSimulation(time, server, tokens=True, make_session=make_session)
    server.cut_streams_after = after_bytes
    for number in range(10):
        simulation.fediverse.post(number, "dockercon")
        simulation.run(20, simulation.assert_honest)
    server.heal()
    simulation.run(3 * MINUTE, simulation.assert_honest)
    simulation.assert_true()
    simulation.close()


def test_a_server_that_closes_at_once_is_not_asked_at_once(
    server: Mastodon, simulation: MastodonSimulation
) -> None:
    server.cut_streams_after = 0
    simulation.run(20 * MINUTE)
    assert len(server.asked(STREAM)) < 80
    assert any("broke" in trouble or "closed" in trouble for trouble in simulation.troubles)
    simulation.assert_true()


REFUSALS = [
    (refusal(401, "The access token is invalid"), "does not accept its token (401)", True),
    (refusal(403, "outside of scope"), "read:statuses", True),
    (refusal(404), "no Mastodon server", True),
    (Fault(302, b"", (("Location", "https://elsewhere.example"),)), "leads elsewhere", False),
    (refusal(429), "rate limit is used up", False),
    (Fault(502, b"<html>"), "out of order (502)", False),
]


@pytest.mark.parametrize(("fault", "sentence", "needs_owner"), REFUSALS)
def test_every_refusal_has_a_sentence(
    server: Mastodon, time: Time, fault: Fault, sentence: str, *, needs_owner: bool
) -> None:
    stream = make_stream(server, time)
    server.fail(None, fault)
    with pytest.raises(SourceError) as caught:
        hear(stream)
    assert sentence in str(caught.value)
    assert caught.value.needs_owner == needs_owner
    assert server.token not in str(caught.value)
    hear(stream)
    end(stream)


def test_a_wait_is_ended_from_outside(server: Mastodon, time: Time) -> None:
    stream = make_stream(server, time, silence_seconds=30.0)
    hear(stream)
    raised: list[SourceError] = []

    def listen() -> None:
        try:
            hear(stream)
        except SourceError as error:
            raised.append(error)

    thread = threading.Thread(target=listen)
    thread.start()
    stream.cut()
    thread.join(5)
    assert len(raised) == 1


def test_a_trouble_of_the_stream_does_not_hide_that_the_timeline_is_whole(
    server: Mastodon, simulation: MastodonSimulation
) -> None:
    simulation.run(5)
    server.cut_streams_after = 0
    server.end_streams()
    simulation.run(5 * MINUTE, simulation.assert_honest)
    channels = {word.channel for word in simulation.messages if isinstance(word, Trouble)}
    assert channels == {"#dockercon"}
    simulation.assert_true()


# --- where it streams from ------------------------------------------------------------------------

HOME = "https://a.example"
PLACES: list[tuple[str, str, str | None]] = [
    ("wss://stream.a.example", HOME, "https://stream.a.example"),
    ("wss://stream.a.example:444/x/", HOME, "https://stream.a.example:444/x"),
    ("https://stream.a.example", HOME, "https://stream.a.example"),
    ("wss://user:word@stream.a.example", HOME, "https://stream.a.example"),
    ("", HOME, HOME),
    ("/streaming", HOME, HOME),
    ("ftp://a.example", HOME, HOME),
    ("wss://", HOME, HOME),
    ("wss://a.example:99999", HOME, HOME),
    ("wss://[::1", HOME, HOME),
    ("wss://\ud800", HOME, HOME),
    ("ws://stream.a.example", HOME, None),
    ("http://stream.a.example", HOME, None),
    ("ws://127.0.0.1:4000", "http://127.0.0.1:3000", "http://127.0.0.1:4000"),
]


@pytest.mark.parametrize(("said", "server_url", "place"), PLACES)
def test_a_token_goes_to_no_place_without_encryption(
    said: str, server_url: str, place: str | None
) -> None:
    assert streaming_base(Instance(streaming_url=said), server_url) == place


def test_the_stream_may_be_on_another_host(server: Mastodon, time: Time) -> None:
    with Mastodon(now=time, token=server.token) as streaming:
        server.streaming_url = streaming.url.replace("http://", "ws://")
        stream = make_stream(server, time)
        hear(stream)
        streaming.add(note(1, time))
        streaming.tick()
        assert len(hear(stream).posts) == 1
        assert [request.path for request in server.requests] == [INSTANCE]
        assert [request.path for request in streaming.requests] == [STREAM]
        end(stream)


def test_another_host_that_is_sent_the_token_is_named_once(
    server: Mastodon, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    """The place is the server's word alone: its owner was not told that the token goes there."""
    caplog.set_level(logging.INFO)
    with Mastodon(now=time, token=server.token) as streaming:
        server.streaming_url = streaming.url.replace("http://", "ws://")
        stream = make_stream(server, time)
        hear(stream)
        streaming.end_streams()
        with pytest.raises(SourceError):
            hear(stream)
        hear(stream)
        assert len(streaming.asked(STREAM)) == 2
        sentence = f"{server.host} streams from {streaming.host}, which is sent its token too"
        assert caplog.text.count(sentence) == 1
        end(stream)


def test_a_server_s_own_host_is_not_named(
    server: Mastodon, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.streaming_url = server.url.replace("http://", "ws://")
    stream = make_stream(server, time)
    hear(stream)
    assert "streams from" not in caplog.text
    end(stream)


def test_what_a_server_says_of_itself_is_asked_once_for_all_its_streams(
    server: Mastodon, time: Time
) -> None:
    """Each connect of each tag's stream asked it anew: 127 times in five minutes for ten tags."""
    simulation = MastodonSimulation(time, server, tags="a b c d", tokens=True)
    server.cut_streams_after = 3
    simulation.run(9 * MINUTE)
    assert len(server.asked(STREAM)) > 20
    assert len(server.asked(INSTANCE)) == 1
    simulation.run(12 * MINUTE)
    # It may say something else one day.
    assert 2 <= len(server.asked(INSTANCE)) <= 5
    simulation.close()


def test_the_token_is_in_no_log(
    server: Mastodon, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stream = make_stream(server, time)
    hear(stream)
    end(stream)
    assert server.token not in caplog.text + repr(stream) + repr(vars(stream))


def test_a_streamed_status_is_archived_as_the_timeline_s(
    server: Mastodon, simulation: MastodonSimulation
) -> None:
    simulation.run(2)
    simulation.fediverse.post(1, "dockercon")
    simulation.tick()
    simulation.run(70)
    words = [word for word in simulation.messages if isinstance(word, Batch)]
    raws = {raw for word in words for raw in word.raw}
    assert len(raws) == 1
    assert json.loads(raws.pop().text)["reblog"] is None
