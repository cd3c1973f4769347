"""Bluesky by Jetstream: the real WebSocket library over real sockets against stand-in hosts."""

import json
import socket
import ssl
import threading
import time as real_time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import trustme
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from profiles import examples
from simulation import START, Time
from standins.jetstream import DAY_US, Jetstream, Network
from standins.jetstream_events import delete_post, make_post, tid
from standins.jetstream_listening import (
    LIMIT_SECONDS,
    TAG,
    Fate,
    JetstreamListening,
)
from standins.loopback import Loopback

from tweetdock.core.clock import MOST_STEPS, Clock
from tweetdock.core.coverage import Grade, Spans
from tweetdock.core.errors import SourceError
from tweetdock.settings.gauge import Settings
from tweetdock.settings.networks import JETSTREAM_HOSTS
from tweetdock.sources.bluesky import websocket
from tweetdock.sources.bluesky.progress import FUTURE
from tweetdock.sources.bluesky.source import Bluesky
from tweetdock.sources.bluesky.websocket import WebSocket
from tweetdock.sources.choice import subjects_of


@pytest.fixture
def time() -> Time:
    return Time(START - 3600)


@pytest.fixture
def network(time: Time) -> Iterator[Network]:
    network = Network(time)
    with Jetstream(network), Jetstream(network):
        yield network


@pytest.fixture
def posts(network: Network, time: Time) -> None:
    """A quarter of an hour has passed with thirty posts."""
    for number in range(30):
        time.seconds += 30
        network.add(make_post(number, TAG, author=number % 7))


@pytest.fixture
def listening(posts: None, network: Network, time: Time) -> Iterator[JetstreamListening]:
    listening = JetstreamListening(network, time)
    yield listening
    listening.leave()


@pytest.fixture
def impatient(posts: None, network: Network, time: Time) -> Iterator[JetstreamListening]:
    """One that takes a short silence for a dead connection, as it does not matter when it errs."""
    listening = JetstreamListening(network, time, silence_seconds=0.15)
    yield listening
    listening.leave()


def test_the_window_is_replayed_at_start_and_then_followed(
    listening: JetstreamListening, network: Network
) -> None:
    assert listening.read().grade is not Grade.EXACT
    assert listening.follow()
    listening.assert_true()
    network.add(make_post(100, "\uff24\uff4f\uff43kerCON", author=100))
    network.add(make_post(101, hidden=("dockercon",), author=101))
    network.add(make_post(102, "docker", "con"))
    assert listening.follow()
    assert listening.read().posts == 20 + 2
    listening.assert_true()
    (asked,) = network.hosts[0].asked
    assert asked.collections == ("app.bsky.feed.post",)
    assert not network.hosts[1].asked
    assert not listening.troubles


def test_a_post_is_delivered_with_the_frame_that_brings_it(
    listening: JetstreamListening, network: Network, time: Time
) -> None:
    listening.follow()
    time.seconds += 0.2
    network.hosts[0].receive(make_post(500, TAG), network.now_us)
    (batch,) = listening.source.poll(listening.seen("bluesky"))
    assert [post.key for post in batch.posts] == ["bluesky:did:plc:0/3k500"]
    assert batch.posts[0].created_ms == time.ms
    (raw,) = batch.raw
    assert raw.version == "bluesky:did:plc:0/3k500@bafy500create"
    assert json.loads(raw.text)["time_us"] == network.now_us


def test_what_is_deleted_or_loses_the_hashtag_counts_no_more(
    listening: JetstreamListening, network: Network
) -> None:
    listening.follow()
    before = listening.read().posts
    network.add(delete_post(29, author=29 % 7))
    network.add(make_post(28, "other", author=28 % 7, operation="update"))
    network.add(make_post(27, TAG, "more", author=27 % 7, operation="update"))
    network.add(delete_post(9_999))
    listening.follow()
    assert listening.read().posts == before - 2
    listening.assert_true()


def test_an_old_post_that_is_changed_now_is_not_new(
    listening: JetstreamListening, network: Network, time: Time
) -> None:
    listening.follow()
    before = listening.read().posts
    for age_ms in (7_200_000, 30_000):
        event = make_post(60, TAG, author=60, operation="update")
        event["commit"]["rkey"] = tid(time.ms - age_ms)
        network.hosts[0].receive(event, network.now_us)
    listening.follow()
    assert listening.read().posts == before + 1


def test_a_hashtag_taken_off_and_put_back_counts_again(
    listening: JetstreamListening, network: Network
) -> None:
    """The removal was for ever."""
    listening.follow()
    for tags in ((), (TAG,), (), (TAG,)):
        network.add(make_post(28, *tags, author=28 % 7, operation="update"))
        listening.follow()
        listening.assert_true()
    listening.restart()
    listening.follow()
    listening.assert_true()


def test_a_bridged_post_has_the_names_of_its_original_until_its_copy_is_deleted(
    listening: JetstreamListening, network: Network
) -> None:
    """It counted once a network, by two authors."""
    listening.follow()
    before = listening.read().posts
    for number in (70, 71):
        event = make_post(number, TAG, author=number)
        event["commit"]["record"]["bridgyOriginalUrl"] = f"https://fosstodon.org/@amy/{number}"
        network.hosts[0].receive(event, network.now_us)
    listening.follow()
    keys = {post.key for batch in listening.batches for post in batch.posts}
    assert "mastodon:https://fosstodon.org/users/amy/statuses/70" in keys
    assert listening.read().posts == before + 2
    network.hosts[0].receive(delete_post(70, author=70), network.now_us)
    listening.follow()
    assert listening.read().posts == before + 1
    listening.restart()
    network.hosts[0].receive(delete_post(71, author=71), network.now_us)
    listening.follow()
    assert listening.read().posts == before


def test_a_post_of_before_a_restart_is_deleted_all_the_same(
    listening: JetstreamListening, network: Network, time: Time
) -> None:
    listening.follow()
    before = listening.read().posts
    listening.restart()
    network.add(delete_post(29, author=29 % 7))
    listening.follow()
    assert listening.read().posts == before - 1
    listening.assert_true()
    # Once the window has left behind what others may have brought, only our own matter.
    for _ in range(7):
        listening.follow(100)
    network.add(delete_post(9_998))
    count = sum(len(batch.removals) for batch in listening.batches)
    listening.follow()
    assert sum(len(batch.removals) for batch in listening.batches) == count


def test_a_restart_asks_for_what_is_missing_only(
    listening: JetstreamListening, network: Network, time: Time
) -> None:
    listening.follow()
    reached = listening.reached_ms
    time.seconds += 60
    network.add(make_post(200, TAG))
    listening.restart()
    listening.follow()
    listening.assert_true()
    asked = network.hosts[0].asked[-1].cursor_us
    assert asked is not None
    assert 5_000 <= reached - asked // 1000 <= 30_000


def test_a_broken_connection_is_replaced_by_another_host(
    listening: JetstreamListening, network: Network
) -> None:
    listening.follow()
    reached = listening.reached_ms
    network.hosts[0].down()
    network.add(make_post(300, TAG))
    assert listening.follow()
    assert sum(listening.waits) <= 1
    asked = network.hosts[1].asked[0].cursor_us
    assert asked is not None
    assert 5_000 <= reached - asked // 1000 <= 30_000
    listening.assert_true()


@pytest.mark.parametrize("after", [0, 1, 60, 129, 130, 131, 200, 1000, 5000, 20_000, 70_000])
def test_a_connection_may_be_cut_after_any_byte(
    listening: JetstreamListening, network: Network, after: int
) -> None:
    for host in network.hosts:
        host.faults.cuts = [after, after + 7]
    assert listening.follow()
    for _ in range(3):
        network.add(make_post(400 + len(listening.messages), TAG))
        assert listening.follow()
    listening.assert_true()


def test_silence_is_taken_for_a_dead_connection(
    impatient: JetstreamListening, network: Network
) -> None:
    impatient.follow()
    network.hosts[0].faults.mute = True
    network.add(make_post(300, TAG))
    assert impatient.follow()
    assert "has said nothing for" in impatient.troubles[0]
    assert network.hosts[1].asked
    impatient.assert_true()


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 429, 500, 503])
def test_a_host_that_refuses_is_passed_over(
    listening: JetstreamListening, network: Network, status: int
) -> None:
    host = network.hosts[0]
    host.faults.refuses = status
    host.faults.redirects = network.hosts[1].url if status == 301 else ""
    assert listening.follow()
    assert f" refuses (HTTP {status})" in listening.troubles[0]
    listening.assert_true()


def test_hosts_that_accept_and_close_are_not_hammered(
    listening: JetstreamListening, network: Network, time: Time
) -> None:
    for host in network.hosts:
        host.faults.closes_at_once = True
    begun = time.seconds
    listening.follow(most_errors=40)
    assert time.seconds - begun > 300
    assert all(seconds > 0.4 for seconds in listening.waits)
    assert listening.read().grade is not Grade.EXACT
    for host in network.hosts:
        host.heal()
    assert listening.follow()
    listening.assert_true()


def test_hosts_that_send_a_little_and_break_are_not_hammered_either(
    listening: JetstreamListening, network: Network
) -> None:
    for host in network.hosts:
        host.faults.cuts = [3_000] * 30
    listening.follow(most_errors=30)
    errors = [seconds for seconds in listening.waits if seconds]
    assert max(errors) > 10
    listening.follow()
    listening.assert_true()


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1008, "ConsumerTooSlow"), (1012, "\n")])
def test_a_close_with_any_code_is_a_break(
    listening: JetstreamListening, network: Network, code: int, reason: str
) -> None:
    listening.follow()
    network.hosts[0].close_all(code, reason)
    assert listening.follow()
    assert f" has closed the connection: {code}" in listening.troubles[0]
    assert reason.strip() in listening.troubles[0]
    listening.assert_true()


def test_repeated_and_fragmented_frames_are_as_good_as_whole_ones(
    listening: JetstreamListening, network: Network
) -> None:
    for host in network.hosts:
        host.faults.repeats = host.faults.fragments = True
    assert listening.follow()
    assert not listening.troubles
    listening.assert_true()


def test_a_gap_that_one_host_has_lost_is_filled_by_another_once(
    listening: JetstreamListening, network: Network, time: Time
) -> None:
    us = network.now_us
    network.hosts[0].lose(us - 300_000_000, us - 200_000_000)
    assert listening.follow()
    assert [len(host.asked) for host in network.hosts] == [1, 1]
    listening.assert_true()
    for _ in range(5):
        assert listening.follow(30)
    # Once more for the seam.
    assert [len(host.asked) for host in network.hosts] == [1, 2]


@pytest.mark.parametrize("seconds", [8, 20, 28])
def test_a_host_that_has_lost_some_seconds_makes_no_exact_count(time: Time, seconds: int) -> None:
    """Less than thirty seconds went unseen: posts were missing, and the count said exact."""
    network = Network(time, rate=5.0)
    with Jetstream(network) as host:
        for number in range(150):
            time.seconds += 5
            network.add(make_post(number, TAG, author=number % 7))
        host.lose(network.now_us - (100 + seconds) * 1_000_000, network.now_us - 100_000_000)
        listening = JetstreamListening(network, time)
        assert listening.follow(0)
        reading = listening.read()
        assert reading.grade is Grade.PARTIAL
        assert "no Jetstream host has all posts from" in reading.sources["bluesky"].detail
        listening.leave()


def test_a_gap_that_no_host_has_is_admitted_and_not_asked_for_again(
    listening: JetstreamListening, network: Network
) -> None:
    us = network.now_us
    for host in network.hosts:
        host.lose(us - 300_000_000, us - 200_000_000)
    for _ in range(5):
        assert listening.follow(20)
    reading = listening.read()
    assert reading.grade is Grade.PARTIAL
    assert "no Jetstream host has all posts from" in reading.sources["bluesky"].detail
    asked = [len(host.asked) for host in network.hosts]
    assert sum(asked) == 4  # beside the first: each for the gap, and one for the seam
    for _ in range(20):
        assert listening.follow(30)
    assert [len(host.asked) for host in network.hosts] == asked
    assert not listening.batches[-1].lost
    listening.assert_true()


def test_a_host_that_goes_back_less_far_has_not_covered_the_window(
    listening: JetstreamListening, network: Network
) -> None:
    network.hosts[0].keeps_us = 60_000_000
    network.hosts[1].faults.refuses = 503
    assert listening.follow()
    assert listening.read().grade is not Grade.EXACT
    assert listening.follow()
    network.hosts[1].heal()
    assert listening.follow(301)
    assert listening.follow()
    listening.assert_true()


def test_a_host_that_knows_no_cursor_has_covered_nothing_of_the_past(
    impatient: JetstreamListening, network: Network
) -> None:
    for host in network.hosts:
        host.faults.ignores_cursor = True

    for _ in range(3):
        impatient.follow(most_errors=3)
        assert impatient.read().grade is not Grade.EXACT


@pytest.mark.parametrize(
    "time_us", [0, -5, 1, 32_503_680_000_000_000, 10**30, None, "x", 1.5, True]
)
def test_an_odd_time_neither_completes_the_past_nor_hides_the_future(
    listening: JetstreamListening, network: Network, time: Time, time_us: object
) -> None:
    listening.follow()
    odd = make_post(600, TAG) | {"time_us": time_us}
    network.hosts[0].insert(json.dumps(odd).encode(), network.now_us)
    network.add(make_post(601, TAG))
    assert listening.follow(30)
    assert listening.follow(30)
    assert listening.reached_ms <= time.ms
    reading = listening.read()
    assert reading.posts == network.truth.count(time.ms - 600_000, time.ms)[0]
    assert reading.grade is Grade.PARTIAL
    assert "1 post of this window could not be read" in reading.sources["bluesky"].detail
    assert sum(len(batch.unreadable) for batch in listening.batches) == 1


def test_events_of_the_future_are_passed_over_once_the_newest_agree_with_our_clock(
    listening: JetstreamListening, network: Network, time: Time
) -> None:
    """They were replayed, and the newest were asked for, again and again."""
    listening.follow()
    host = network.hosts[0]
    for number in range(600, 600 + 2 * FUTURE):
        odd = make_post(number) | {"time_us": network.now_us + 3_600_000_000}
        host.insert(json.dumps(odd).encode(), network.now_us)
    for number in range(3):
        network.add(make_post(700 + number, TAG))
        assert listening.follow(30)
        host.close_all(1001, "")
    listening.assert_true()
    assert sum(asked.cursor_us is None for asked in host.asked) == 1


BAD = [b"\xff\xfe", b"no JSON", b'{"did":"did:plc:a","time_us":1', b"[" * 99_999, b'{"a":' * 99_999]


@pytest.mark.parametrize("frame", BAD, ids=["bytes", "text", "cut off", "deep", "deeper"])
def test_a_frame_that_may_be_a_post_and_cannot_be_read_is_admitted(
    listening: JetstreamListening, network: Network, frame: bytes
) -> None:
    listening.follow()
    network.hosts[0].insert(frame, network.now_us)
    assert listening.follow()
    reading = listening.read()
    assert reading.grade is Grade.PARTIAL
    assert "1 post of this window could not be read" in reading.sources["bluesky"].detail
    assert not listening.troubles


def test_a_clock_that_is_behind_is_put_right_by_the_newest_events(time: Time) -> None:
    """A Pi without a battery starts in the past; this Jetstream goes back an hour only."""
    network = Network(time)
    with Jetstream(network, keeps_us=DAY_US // 24) as host:
        for number in range(240):
            time.seconds += 20
            network.add(make_post(number, TAG))
        listening = JetstreamListening(network, time, off_by=-72_000.0)
        with network.going_on():
            assert listening.run(lambda: listening.reached_ms >= time.ms - 4_000)
        listening.assert_true()
        began, tip, replay = (asked.cursor_us for asked in host.asked)
        assert began is not None
        assert tip is None
        assert replay is not None
        assert 604_000_000 < network.now_us - replay < 631_000_000
        assert abs(listening.clock.now_ms() - time.ms) < 3_000
        listening.leave()


def test_a_machine_that_was_asleep_reads_what_it_has_missed(
    listening: JetstreamListening, network: Network, time: Time
) -> None:
    assert listening.follow()
    listening.asleep = 500.0
    for number in range(100, 125):
        time.seconds += 20
        network.add(make_post(number, TAG))
    with network.going_on():
        assert listening.run(lambda: listening.reached_ms >= time.ms - 4_000)
    listening.assert_true()


def test_hosts_that_date_events_otherwise_bring_the_same_posts(
    listening: JetstreamListening, network: Network
) -> None:
    network.hosts[1].skew_us = 1_500_000
    listening.follow()
    for number in range(6):
        network.add(make_post(100 + number, TAG))
        network.add(delete_post(100 + number - 1))
        network.hosts[number % 2].down()
        assert listening.follow()
        network.hosts[number % 2].up()
    assert sum(host.skew_us > 0 for host in network.hosts if len(host.asked) > 2)
    listening.assert_true()


def dated(seconds: float) -> str:
    return real_time.strftime("%a, %d %b %Y %H:%M:%S GMT", real_time.gmtime(seconds))


@pytest.mark.parametrize("number", [1, 2])
def test_a_host_that_falls_far_behind_is_left_for_another_but_not_again_and_again(
    listening: JetstreamListening, network: Network, time: Time, number: int
) -> None:
    assert listening.follow()
    for host in network.hosts[:number]:
        host.skew_us = -3_000_000_000
    begun = time.seconds

    def are_over() -> bool:
        time.seconds += 2
        return time.seconds > begun + 500

    with network.going_on():
        assert listening.run(are_over, most_errors=0)
    if number == 1:
        assert listening.follow()
        listening.assert_true()
    else:
        assert "min behind our clock" in listening.batches[-1].lost
    assert 2 <= sum(len(host.asked) for host in network.hosts) < 6


def test_a_clock_that_is_a_little_ahead_is_asked_about(network: Network, time: Time) -> None:
    """The window went on being read back for ever, and nobody said why."""
    for number in range(60):
        time.seconds += 20
        network.add(make_post(number, TAG))
    listening = JetstreamListening(network, time, off_by=300.0)
    begun = time.seconds
    question = "5 min behind our clock: is this machine's clock right?"

    def go_on() -> None:
        time.seconds += 15
        network.tick()
        # What is behind is told of in larger pieces.
        assert listening.run(lambda: listening.reached_ms >= time.ms - 14_000, most_errors=0)

    # Two minutes are enough; but what a busy machine brings late looks as if it came nearer.
    while time.seconds < begun + 120 or question not in listening.read().sources["bluesky"].detail:
        go_on()
        assert time.seconds < begun + 600
    for _ in range(20):  # other hosts are asked, too
        go_on()
        assert "behind our clock" in listening.read().sources["bluesky"].detail
    assert sum(len(host.asked) for host in network.hosts) > 1
    listening.leave()


def test_a_clock_is_put_right_however_often_if_it_is_seldom(time: Time) -> None:
    """After one correction no Date was believed, and after four in months nothing was read."""
    network = Network(time, rate=0.3)  # so that it is never silent for as long as a hole is
    with Jetstream(network) as host:
        time.seconds += 900
        network.tick()
        listening = JetstreamListening(network, time)
        assert listening.follow()
        for _ in range(MOST_STEPS + 2):
            listening.asleep += 300.0
            time.seconds += 300
            with network.going_on():
                assert listening.follow()
            listening.asleep -= 300.0  # ahead now: only a Date can show it
            host.faults.date = dated(time.seconds)
            host.close_all(1001, "")
            assert listening.run(lambda: abs(listening.clock.now_ms() - time.ms) < 3_000)
            host.faults.date = ""
            assert listening.follow(3_600)
        assert not any("do not agree" in trouble for trouble in listening.troubles)
        listening.leave()


def test_a_date_of_the_host_puts_a_clock_right_that_is_ahead(network: Network, time: Time) -> None:
    for number in range(60):
        time.seconds += 20
        network.add(make_post(number, TAG))
    network.hosts[0].faults.date = dated(time.seconds)
    listening = JetstreamListening(network, time, off_by=7200.0)
    assert listening.follow(1)
    listening.assert_true()
    listening.leave()


def blocking(source: Bluesky) -> tuple[threading.Thread, list[Exception]]:
    """A thread that polls once, and what that raises."""
    raised: list[Exception] = []

    def poll() -> None:
        try:
            while True:
                list(source.poll(Spans()))
        except SourceError as error:
            raised.append(error)

    thread = threading.Thread(target=poll)
    thread.start()
    return thread, raised


def source_at(url: str, time: Callable[[], float] = real_time.time) -> Bluesky:
    clock = Clock(wall=time, monotonic=time)
    return Bluesky(
        [TAG], clock=clock, hosts=[url], window_seconds=600, silence_seconds=LIMIT_SECONDS
    )


@pytest.fixture
def swallowing() -> Iterator[tuple[str, int]]:
    """An address where a connection neither comes about nor is refused."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.0)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()


@pytest.mark.xdist_group("real time")
@pytest.mark.parametrize("state", ["silent", "handshake", "tls", "connect", "not begun"])
def test_a_cut_ends_every_wait_at_once(
    network: Network, swallowing: tuple[str, int], state: str
) -> None:
    host = network.hosts[0]
    host.faults.mute, host.faults.hangs = True, state in ("handshake", "tls")
    url = host.url.replace("ws:", "wss:") if state == "tls" else host.url
    if state == "connect":
        url = f"ws://127.0.0.1:{swallowing[1]}/subscribe"
    source = source_at(url)
    if state == "not begun":
        source.cut()
    thread, raised = blocking(source)
    if state in ("silent", "handshake", "tls"):
        host.wait_until_asked(1)
    begun = real_time.monotonic()
    source.cut()
    thread.join(LIMIT_SECONDS)
    assert not thread.is_alive()
    assert real_time.monotonic() - begun < 5.0  # it takes 0.2 s at most, and else 10 s at least
    assert len(raised) == 1
    source.cut()


def test_an_address_that_swallows_all_is_passed_for_the_next(
    network: Network, time: Time, swallowing: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All ten seconds were spent on the first one, as where IPv6 leads nowhere."""
    good = ("127.0.0.1", int(network.hosts[0].url.rpartition(":")[2].partition("/")[0]))
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", at) for at in (swallowing, good)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(websocket, "ONE_ADDRESS_SECONDS", 0.2)
    source = source_at("ws://jetstream.example/subscribe", time)
    network.tick()
    list(source.poll(Spans()))
    assert network.hosts[0].asked
    source.cut()


def answer_with(data: bytes) -> Iterator[str]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)

    loopback = Loopback(serve)
    loopback.up()
    yield f"ws://127.0.0.1:{loopback.port}/subscribe"
    loopback.close()


NO_ACCEPT = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (NO_ACCEPT, "does not speak WebSocket"),
        (b"x" * 999_999, "does not speak WebSocket"),
        (b"", "has closed the connection"),
    ],
)
def test_a_host_that_is_no_websocket_is_named_so(data: bytes, sentence: str) -> None:
    for url in answer_with(data):
        with pytest.raises(SourceError) as raised:
            list(source_at(url).poll(Spans()))
        assert sentence in str(raised.value)


def test_a_host_that_says_when_to_come_back_is_heeded() -> None:
    for url in answer_with(b"HTTP/1.1 503 No\r\nretry-after: 77\r\nContent-Length: 0\r\n\r\n"):
        with pytest.raises(SourceError, match="refuses") as raised:
            list(source_at(url).poll(Spans()))
        assert 76 <= (raised.value.retry_after or 0) <= 77


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def by_tls(network: Network, authority: trustme.CA) -> Iterator[str]:
    """The address of the first host by TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def serve(wire: socket.socket) -> None:
        with context.wrap_socket(wire, server_side=True, do_handshake_on_connect=False) as secure:
            secure.do_handshake()
            network.hosts[0]._serve(secure)

    loopback = Loopback(serve)
    loopback.up()
    yield f"wss://127.0.0.1:{loopback.port}/subscribe"
    network.hosts[0].close_all(1001, "")
    loopback.close()


def test_a_certificate_must_be_trusted(
    by_tls: str,
    network: Network,
    time: Time,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SourceError, match="certificate cannot be trusted"):
        list(source_at(by_tls).poll(Spans()))
    with authority.cert_pem.tempfile() as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        source = source_at(by_tls, time)
        network.tick()
        list(source.poll(Spans()))
    assert network.hosts[0].asked
    source.cut()


@pytest.mark.thorough
def test_no_connection_by_tls_hangs(
    by_tls: str, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of 250 did, as what TLS 1.3 sends after its handshake was read while we wrote."""

    def connect(_: int) -> bool:
        connection = WebSocket()
        headers = connection.open(by_tls)
        connection.cut()
        return "Upgrade" in headers

    with authority.cert_pem.tempfile() as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(connect, range(400))) == 400


@pytest.mark.parametrize("status", [200, 407])
def test_a_proxy_of_the_environment_is_used_and_its_password_told_to_nobody(
    network: Network, time: Time, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    asked: list[bytes] = []

    def serve(wire: socket.socket) -> None:
        asked.append(wire.recv(65536))
        wire.sendall(f"HTTP/1.1 {status} So\r\n\r\n".encode())
        if status == 200:
            network.hosts[0]._serve(wire)

    proxy = Loopback(serve)
    proxy.up()
    monkeypatch.setenv("HTTP_PROXY", f"http://owner:pass-word@127.0.0.1:{proxy.port}")
    source = source_at("ws://jetstream.example/subscribe", time)
    network.tick()
    if status == 200:
        list(source.poll(Spans()))
        network.hosts[0].close_all(1001, "")
    else:
        with pytest.raises(SourceError, match=f"the proxy 127.0.0.1:{proxy.port}") as raised:
            list(source.poll(Spans()))
        assert "pass-word" not in str(raised.value)
    assert asked[0].startswith(b"CONNECT jetstream.example:80 HTTP/1.1\r\n")
    source.cut()
    proxy.close()


@pytest.mark.parametrize(
    ("hosts", "subject"),
    [
        (JETSTREAM_HOSTS, "cats"),
        (" ".join(reversed(JETSTREAM_HOSTS.split())), "cats"),
        ("wss://b.org/subscribe wss://a.org:81/subscribe", "cats at a.org:81 b.org"),
    ],
)
def test_another_jetstream_is_another_question(hosts: str, subject: str) -> None:
    """What one had seen was taken for what the next one has: 139 posts of 180 were exact."""
    env = {"TWEETDOCK_HASHTAGS": "cats", "TWEETDOCK_SOURCES": "bluesky"}
    asked = Settings.from_env({**env, "TWEETDOCK_JETSTREAM": hosts})
    assert subjects_of(asked) == {"bluesky": subject}


FATE = st.one_of(
    st.tuples(st.sampled_from(["post", "delete", "change"]), st.integers(0, 99)),
    st.tuples(st.just("wait"), st.integers(5, 150)),
    st.tuples(
        st.sampled_from(["down", "up", "mute", "repeat", "heal", "refuse", "lose", "restart"]),
        st.integers(0, 1),
    ),
    st.tuples(st.just("cut"), st.integers(0, 9000)),
)


@settings(max_examples=examples(25), deadline=None, phases=[Phase.generate, Phase.shrink])
@given(story=st.lists(FATE, max_size=14))
def test_whatever_the_faults_the_counts_are_the_truth_once_they_end(
    story: list[tuple[str, int]],
) -> None:
    time = Time(START)
    network = Network(time, rate=2.0)
    with Jetstream(network), Jetstream(network):
        listening = JetstreamListening(network, time, silence_seconds=0.08)
        fate = Fate(listening)
        for _ in range(20):
            time.seconds += 45
            fate.post()
        for action in story:
            fate.act(*action)
            listening.assert_honest()
        fate.end()
        listening.follow()
        # A host that broke down is asked for what only it has after five minutes at the latest.
        for _ in range(3):
            listening.follow(120)
        listening.follow()
        listening.assert_true()
        listening.leave()
