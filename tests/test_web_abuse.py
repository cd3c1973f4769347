"""Those who mean no good, or do not read, hold up neither the page nor the needles."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

import pytest
from crowd import NOISE, Crowd, Flood, asking, connect, delays, quantile, since
from replaying import DAY_MS, as_line, x_post
from running import Running
from serving import AT_MS, LIMIT, Serving, make_reading, wait_until

from tweetdock.core.coverage import Grade
from tweetdock.show.board import Moment
from tweetdock.show.web.routes import AT_ONCE

PATIENCE = 0.3  # of servers that are to lose it soon
TURNS = 12  # of the loop; a replay has it turn twice a second


@pytest.fixture
def serving() -> Iterator[Serving]:
    with Serving() as serving:
        serving.board.publish(make_reading())
        yield serving


def rest(connection: socket.socket) -> bytes:
    """All that comes until the connection ends, in whatever manner."""
    found = b""
    try:
        while piece := connection.recv(65_536):
            found += piece
    except ConnectionError:
        return found
    return found


def status_of(answer: bytes) -> int:
    return int(answer.split()[1])


def metric(serving: Serving, name: str) -> float:
    return float(serving.get("/metrics").text.partition(f"\n{name} ")[2].split()[0])


@pytest.mark.parametrize("noise", NOISE)
def test_what_is_no_question_for_us_is_refused_and_hung_up_on_where_it_matters(
    serving: Serving, noise: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(serving.port, noise) as connection:
        connection.shutdown(socket.SHUT_WR)
        answer = rest(connection)
    assert 400 <= status_of(answer) < 500
    assert b"x-content-type-options: nosniff" in answer
    assert serving.get("/healthz").status_code == 200
    assert not caplog.records


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 3\r\n\r\nabc", 413),
        (b"GET /api/events HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 9\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 0\r\n\r\n", 200),
        (b"GET /?" + b"a" * 3000 + b" HTTP/1.1\r\nHost: [::1]\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: [::1]\r\nCookie: " + b"a" * 15_000 + b"\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: [::1]\r\nCookie: " + b"a" * 300_000 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: [::1]\r\nHost: [::1]\r\n\r\n", 400),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: [::1]\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\nHost: [::1]\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 200),
    ],
)
def test_questions_are_small_and_have_no_body(
    serving: Serving, request_: bytes, status: int
) -> None:
    with connect(serving.port, request_) as connection:
        if status in (400, 413):  # the end of the connection too, without ours
            assert status_of(rest(connection)) == status
        else:
            connection.shutdown(socket.SHUT_WR)
            assert status_of(rest(connection)) == status


def test_a_head_that_comes_in_small_pieces_has_the_same_limit(serving: Serving) -> None:
    with connect(serving.port, b"GET / HTTP/1.1\r\nHost: [::1]\r\n") as connection:
        try:
            for number in range(100):
                connection.sendall(f"X-{number}: {'a' * 1000}\r\n".encode())
        except ConnectionError:
            return  # hung up already
        assert status_of(rest(connection)) == 400


def test_questions_in_a_row_are_answered_in_their_order(serving: Serving) -> None:
    with connect(serving.port, asking("/healthz") + asking("/api/reading.txt")) as connection:
        connection.shutdown(socket.SHUT_WR)
        found = rest(connection)
    assert found.index(b"\r\n\r\nok\n") < found.index(b"412 287 exact")


def test_more_watchers_than_there_is_room_for_are_told_politely() -> None:
    with Serving(watchers=3) as serving, Crowd(serving.port, 3) as crowd:
        serving.board.publish(make_reading())
        wait_until(lambda: set(crowd.events.values()) == {1})
        found = serving.get("/api/events")
        assert found.status_code == 503
        assert found.headers["retry-after"] == "30"
        assert "/api/reading" in found.json()["error"]
        assert serving.get("/api/reading").status_code == 200
        serving.board.publish(make_reading(1))
        wait_until(lambda: set(crowd.events.values()) == {2})


def test_more_connections_than_there_is_room_for_are_told_politely() -> None:
    with Serving(connections=4) as serving, ExitStack() as open_ones:
        serving.board.publish(make_reading())
        for _ in range(4):
            watcher = open_ones.enter_context(connect(serving.port, asking("/api/events")))
            watcher.recv(10)
        answer = rest(open_ones.enter_context(connect(serving.port)))
        assert status_of(answer) == 503
        assert b"retry-after: 5\r\n" in answer
        open_ones.close()
        wait_until(lambda: serving_answers(serving))


def serving_answers(serving: Serving) -> bool:
    try:
        return serving.get("/healthz").status_code == 200
    except OSError:
        return False


def test_a_watcher_who_does_not_read_is_dropped_and_the_others_see_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        Serving(patience_seconds=PATIENCE, pause_seconds=0.001) as serving,
        connect(serving.port, asking("/api/events"), receive_bytes=1024) as slow,
        Crowd(serving.port, 2) as crowd,
    ):
        wait_until(lambda: metric(serving, "tweetdock_watchers") == 3)
        numbers = count(1)

        def is_dropped() -> bool:
            for _ in range(20):
                serving.board.publish(make_reading(next(numbers), hashtags=("a" * 4000,)))
            return metric(serving, "tweetdock_watchers") == 2

        wait_until(is_dropped)
        assert not caplog.records
        assert crowd.ended == 0
        newest = f"id: {make_reading(last := next(numbers)).at_ms}\n".encode()
        serving.board.publish(make_reading(last))
        wait_until(lambda: all(newest in seen for seen in crowd.newest.values()))
        assert rest(slow).count(b"\ndata: ") < last


def test_a_watcher_who_was_behind_gets_the_newest_and_no_queue() -> None:
    with (
        Serving(pause_seconds=0.001) as serving,
        connect(serving.port, asking("/api/events"), receive_bytes=1024) as behind,
        Crowd(serving.port, 1) as crowd,
    ):
        wait_until(lambda: metric(serving, "tweetdock_watchers") == 2)
        rounds = 120
        for number in range(1, rounds + 1):
            serving.board.publish(make_reading(number, hashtags=("a" * 8000,)))
            wait_until(lambda: set(crowd.events.values()) == {number})  # noqa: B023 - at once
        found, newest = b"", f"id: {make_reading(rounds).at_ms}\n".encode()
        while newest not in found:
            found += behind.recv(65_536)
        assert found.count(b"id: ") < rounds / 2


def test_who_leaves_an_answer_unread_is_dropped_and_only_so_many_may_have_a_long_one() -> None:
    year = [Moment(AT_MS - n * 3_600_000, 10**6, 10**6, Grade.EXACT) for n in range(8784, 0, -1)]
    path = "/api/history?hours=8784"
    with Serving(kept=year, patience_seconds=1.0) as serving, ExitStack() as slow_ones:
        serving.board.publish(make_reading())
        slow = [
            slow_ones.enter_context(connect(serving.port, asking(path), receive_bytes=1024))
            for _ in range(AT_ONCE)
        ]
        for one in slow:
            one.recv(10)  # it is under way
        found = serving.get(path)
        assert found.status_code == 503
        assert found.headers["retry-after"] == "2"
        wait_until(lambda: serving.get(path).status_code == 200)
        assert len(rest(slow[0])) < len(serving.get(path).content)


def test_who_asks_slowly_on_purpose_is_dropped() -> None:
    with Serving(patience_seconds=PATIENCE) as serving:
        begins = (b"", b"G", b"GET / HTTP/1.1\r\nHost: [::1]\r\nX-Slow: ")
        for begin in begins:
            with connect(serving.port, begin) as connection:
                assert rest(connection) == b""
        # A second question on a connection is no different.
        with connect(serving.port, asking("/healthz")) as connection:
            while b"ok\n" not in connection.recv(65_536):
                pass
            connection.sendall(b"GET / HT")
            assert rest(connection) == b""


def test_a_connection_that_asks_no_more_is_closed() -> None:
    with (
        Serving(patience_seconds=PATIENCE) as serving,
        connect(serving.port, asking("/healthz")) as connection,
    ):
        assert rest(connection).endswith(b"ok\n")


def test_who_asks_on_and_on_without_reading_is_not_listened_to(serving: Serving) -> None:
    taken = 0
    with connect(serving.port, asking("/api/events")) as connection:
        connection.recv(10)
        connection.settimeout(PATIENCE)
        with suppress(OSError):  # hung up, or nobody takes any more
            while taken < 50_000_000:
                taken += connection.send(asking("/") * 100)
    assert taken < 50_000_000
    numbers = count(1)

    def is_forgotten() -> bool:  # at the latest with the next readings
        serving.board.publish(make_reading(next(numbers)))
        return metric(serving, "tweetdock_watchers") == 0

    wait_until(is_forgotten)


@pytest.mark.parametrize("watchers", [0, 40])
def test_the_end_comes_at_once_whoever_watches_asks_or_does_not_read(watchers: int) -> None:
    with Serving() as serving, Crowd(serving.port, watchers) as crowd, ExitStack() as others:
        serving.board.publish(make_reading(hashtags=("a" * 3_000_000,)))
        wait_until(lambda: all(crowd.events.values()))
        others.enter_context(connect(serving.port, b"GET / HT"))
        others.enter_context(connect(serving.port, asking("/api/events"), receive_bytes=1024))
        unread = others.enter_context(
            connect(serving.port, asking("/api/reading"), receive_bytes=1024)
        )
        unread.recv(1)
        serving.web.stop()
        assert serving.thread.join(LIMIT)
        wait_until(lambda: crowd.ended == watchers)
        with pytest.raises(OSError, match="refused"):
            connect(serving.port)


def page_of(daemon: Running) -> int:
    """The port at which a TweetDock says that its page is."""
    daemon.wait_for("page: http://")
    (line,) = [line for line in daemon.lines if "page: http://" in line]
    return int(line.rpartition(":")[2])


def scrape(port: int) -> str:
    with connect(port, b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n") as connection:
        return rest(connection).decode()


def memory_mb(daemon: Running) -> float:
    """What it takes of the machine's memory."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return float(status.partition("VmRSS:")[2].split()[0]) / 1024


# It bounds how late the loop takes up what is due while many watch and others make noise.
@pytest.mark.xdist_group("real time")
@pytest.mark.parametrize("watchers", [50, pytest.param(200, marks=pytest.mark.thorough)])
def test_many_watchers_and_a_flood_do_not_hold_up_the_needles(
    watchers: int, tmp_path: Path
) -> None:
    tape = tmp_path / "tape.jsonl"
    posts = (x_post(number, 1 + number % 700, DAY_MS + 40 * number)[0] for number in range(1, 2000))
    tape.write_bytes(b"".join(map(as_line, posts)))
    env = {"TWEETDOCK_WEB": "127.0.0.1:0", "TWEETDOCK_SOURCES": f"replay:{tape}"}
    with Running(folder=tmp_path, env=env | {"TWEETDOCK_SERVO_BACKEND": "mock"}) as daemon:
        port = page_of(daemon)
        with (
            Crowd(port, watchers) as crowd,
            connect(port, asking("/api/events"), receive_bytes=1024),
            Flood(port) as flood,
        ):
            wait_until(lambda: all(crowd.events.values()))
            before = delays(scrape(port))
            wait_until(lambda: max(since(before, delays(scrape(port))).values()) > TURNS)
            wait_until(lambda: min(crowd.events.values()) > 5)
            found = since(before, delays(scrape(port)))
            # Ten times what is promised, for a busy machine; the benchmark has the figure itself.
            assert quantile(found, 0.5) <= 0.02
            assert quantile(found, 0.99) <= 0.2
            assert memory_mb(daemon) < 80
            assert flood.sent > TURNS
            assert crowd.ended == 0
            assert daemon.stop_within(2) == 0
        assert "ERROR" not in daemon.log
        assert "WARNING" not in daemon.log
        assert len(daemon.lines) < 20


def test_the_usual_port_taken_by_another_is_no_reason_to_end(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # somebody has it already, which is as good
            other.bind(("127.0.0.1", 8080))
            other.listen()
        with Running("--demo", folder=tmp_path, env={"TWEETDOCK_WEB": ""}) as daemon:
            daemon.wait_for("WARNING", "page: none: TWEETDOCK_WEB=127.0.0.1:8080: another")
            daemon.wait_for("DEMO")
            assert daemon.stop() == 0
