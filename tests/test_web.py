"""The page's server as clients meet it: every address, over real connections."""

import http.client
import json
import logging
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import with_ipv6
from serving import AT_MS, LIMIT, Serving, make_reading, wait_until

import tweetdock.show.web.web
from tweetdock.coverage import Grade
from tweetdock.errors import UnavailableError
from tweetdock.reading import Reading
from tweetdock.settings import DIALS
from tweetdock.show.container import is_contained
from tweetdock.show.past import Moment
from tweetdock.show.web import routes
from tweetdock.show.web.guard import HOST, SAFE_HEADERS, names_of
from tweetdock.show.web.histories import hours_of
from tweetdock.show.web.page import page
from tweetdock.show.web.wording import as_line

ADDRESSES = [
    "/",
    "/?kiosk",
    "/dial/tweets.svg",
    "/dial/tweeters.svg",
    "/api/reading",
    "/api/reading.txt",
    "/api/history",
    "/metrics",
    "/healthz",
]


@pytest.fixture
def serving() -> Iterator[Serving]:
    with Serving() as serving:
        serving.board.publish(make_reading())
        yield serving


def ask(serving: Serving, request: bytes) -> bytes:
    """Send these bytes, and return all that comes until the connection ends."""
    with socket.create_connection(("127.0.0.1", serving.port), LIMIT) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def sent(reading: Reading) -> Any:
    """The reading as who gets it understands it."""
    return json.loads(json.dumps(reading.as_json()))


class Events:
    """One who watches, by a connection of its own."""

    def __init__(self, serving: Serving) -> None:
        self._client = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=LIMIT)
        self._client.request("GET", "/api/events")
        self.answer = self._client.getresponse()

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_: object) -> None:
        self.answer.close()
        self._client.close()

    def block(self) -> list[str]:
        """The next lines up to an empty one; nothing at the stream's end."""
        lines = iter(lambda: self.answer.readline().decode().rstrip("\n"), "")
        return list(lines)

    def reading(self) -> Any:
        """The next event's reading."""
        (data,) = [line for line in self.block() if line.startswith("data: ")]
        return json.loads(data.removeprefix("data: "))


@pytest.mark.parametrize("address", ADDRESSES)
def test_each_address_answers_get_and_head_alike(serving: Serving, address: str) -> None:
    found, head = serving.get(address), serving.get(address, "HEAD")
    assert (found.status_code, head.status_code) == (200, 200)
    assert found.content
    assert not head.content
    alike = ("content-type", "cache-control")
    assert [found.headers[name] for name in alike] == [head.headers[name] for name in alike]
    if address != "/metrics":  # its figures have changed meanwhile
        assert found.headers["content-length"] == head.headers["content-length"]


@pytest.mark.parametrize(
    "address", [*ADDRESSES, "/nothing", "/api/nothing", "/static/nothing", "/api/history?hours=x"]
)
def test_every_answer_keeps_the_browser_safe_and_names_no_software(
    serving: Serving, address: str
) -> None:
    headers = serving.get(address).headers
    for name, value in SAFE_HEADERS:
        if not (address.startswith("/dial/") and name == b"cross-origin-resource-policy"):
            assert headers[name.decode()] == value.decode()
    assert {"server", "date", "access-control-allow-origin"}.isdisjoint(headers)


def test_the_dials_alone_may_be_shown_on_other_pages(serving: Serving) -> None:
    rule = "cross-origin-resource-policy"
    assert serving.get("/dial/tweets.svg").headers[rule] == "cross-origin"
    assert serving.get("/api/reading").headers[rule] == "same-origin"


def test_the_page_and_the_dials_are_those_of_the_reading(serving: Serving) -> None:
    reading = make_reading()
    dials = {name: getattr(serving.settings, name) for name in DIALS}
    assert serving.get("/").text == page(reading, dials, kiosk=False)
    assert serving.get("/?kiosk").text == page(reading, dials, kiosk=True)
    for name, count in {"tweets": 412, "tweeters": 287}.items():
        found = serving.get(f"/dial/{name}.svg")
        assert found.headers["content-type"] == "image/svg+xml"
        assert f'data-dial="{name}"' in found.text
        assert f">{count}</text>" in found.text


def test_the_reading_is_that_of_the_contract(serving: Serving) -> None:
    found = serving.get("/api/reading")
    assert found.headers["content-type"] == "application/json"
    assert found.headers["cache-control"] == "no-store"
    assert found.json() == sent(make_reading())


def test_a_tiny_client_gets_one_line_of_words_at_fixed_places(serving: Serving) -> None:
    found = serving.get("/api/reading.txt")
    assert found.content == b"412 287 exact 0.4120 0.2870 1.000 1790000000 live\n"
    serving.board.publish(make_reading(1, grade=Grade.FILLING, covered=0.99999, demo=True))
    line = serving.get("/api/reading.txt").content
    assert line == b"413 287 filling 0.4130 0.2870 0.999 1790000001 demo\n"


@given(st.floats(0, 1), st.sampled_from(Grade), st.tuples(st.booleans(), st.booleans()))
def test_the_line_never_says_more_than_is_known(
    covered: float, grade: Grade, kinds: tuple[bool, bool]
) -> None:
    reading = make_reading(covered=covered, grade=grade, demo=kinds[0], replay=kinds[1])
    words = as_line(reading).decode().removesuffix("\n").split(" ")
    assert len(words) == 8
    assert words[2] == grade
    assert float(words[5]) <= covered < float(words[5]) + 0.001000001


def test_before_the_first_reading_there_is_a_page_and_else_a_word_when_to_come_back() -> None:
    with Serving() as serving:
        assert serving.get("/").status_code == 200
        assert serving.get("/healthz").status_code == 200
        assert b"tweetdock_posts " not in serving.get("/metrics").content
        for address in ("/api/reading", "/api/reading.txt", "/dial/tweets.svg"):
            found = serving.get(address)
            assert found.status_code == 503
            assert found.headers["retry-after"] == "1"
            assert "no reading yet" in found.text
        assert serving.get("/api/reading").json() == {"error": "There is no reading yet."}


def test_the_history_is_what_the_past_keeps_oldest_first() -> None:
    hour = 3_600_000
    kept = [Moment(AT_MS - n * hour // 2, 10 * n, n, Grade.PARTIAL) for n in range(6, 0, -1)]
    with Serving(kept=kept) as serving:
        serving.board.publish(make_reading())
        found = serving.get("/api/history?hours=2").json()
        assert found == {
            "hours": 2.0,
            "window_seconds": 3600.0,
            "at": [AT_MS // 1000 - 1800 * n for n in (3, 2, 1, 0)],
            "posts": [30, 20, 10, 412],
            "authors": [3, 2, 1, 287],
            "grade": ["partial", "partial", "partial", "exact"],
        }
        assert len(serving.get("/api/history").json()["at"]) == 7
        assert serving.get("/api/history").json()["hours"] == 24
        assert serving.get("/api/history?hours=0.1").json()["posts"] == [412]


def test_the_history_grows_with_the_readings(serving: Serving) -> None:
    assert serving.get("/api/history?hours=1").json()["posts"] == [412]
    serving.board.publish(make_reading(20))
    assert serving.get("/api/history?hours=1").json()["posts"] == [412, 432]
    for tenth in range(1, 9):  # more spans than are remembered
        found = serving.get(f"/api/history?hours={tenth / 10}").json()
        assert (found["hours"], found["posts"]) == (tenth / 10, [412, 432])


def test_the_kept_history_is_there_before_the_first_reading() -> None:
    with Serving(kept=[Moment(AT_MS, 5, 4, Grade.EXACT)]) as serving:
        assert serving.get("/api/history?hours=8784").status_code == 200


@pytest.mark.parametrize(
    "hours", ["", "x", "0", "0.09", "-1", "8785", "nan", "inf", "1e999", "1,5"]
)
def test_hours_that_make_no_sense_are_refused_with_what_is_accepted(
    serving: Serving, hours: str
) -> None:
    found = serving.get(f"/api/history?hours={hours}")
    assert found.status_code == 400
    assert found.json() == {"error": "hours must be a number from 0.1 to 8784."}


@given(st.floats() | st.integers())
def test_hours_are_taken_within_their_bounds_only(number: float) -> None:
    assert hours_of(str(number)) == (number if 0.1 <= number <= 8784 else None)


def test_files_of_the_page_are_sent_once_and_nothing_else_is_to_be_had(serving: Serving) -> None:
    names = [path.name for path in routes.STATIC.iterdir() if path.is_file()]
    assert names
    for name in names:
        found = serving.get(f"/static/{name}")
        assert found.content == (routes.STATIC / name).read_bytes()
        tag = found.headers["etag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            again = serving.get(f"/static/{name}", if_none_match=known)
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
        assert serving.get(f"/static/{name}", if_none_match='"other"').status_code == 200
    for name in ("", "..", "../page.py", "%2e%2e/page.py", "..%2fpage.py", "/etc/passwd", "%00"):
        answer = ask(serving, f"GET /static/{name} HTTP/1.1\r\nHost: [::1]\r\n\r\n".encode())
        assert b" 404 " in answer.partition(b"\r\n")[0]


def test_files_have_the_types_that_browsers_insist_on(serving: Serving) -> None:
    kinds = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
    for path in routes.STATIC.iterdir():
        if path.suffix in kinds:
            found = serving.get(f"/static/{path.name}")
            assert found.headers["content-type"] == kinds[path.suffix]


def test_what_is_not_there_is_said_plainly(serving: Serving) -> None:
    found = serving.get("/nothing")
    assert (found.status_code, found.text) == (404, "There is nothing at this address.\n")
    assert found.headers["content-type"] == "text/plain; charset=utf-8"
    found = serving.get("/api/nothing")
    assert (found.status_code, found.json()["error"]) == (404, "There is nothing at this address.")
    for address in ("/dial/other.svg", "/api/reading/", "/dial/tweets.svg/", "//"):
        assert serving.get(address).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_the_page_is_only_to_be_read(serving: Serving, method: str) -> None:
    found = serving.get("/api/reading", method)
    assert found.status_code == 405
    assert found.headers["allow"] == "GET, HEAD"
    assert "GET or HEAD" in found.json()["error"]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "192.168.1.7:8080", "[::1]:8080", "[fe80::1]", "localhost", "LocalHost:99"),
        *("dials", "DIALS:80", "dials.museum.example", "Dials.Museum.Example.:443"),
    ],
)
def test_the_page_answers_to_addresses_and_to_its_names(host: str) -> None:
    with Serving({"TWEETDOCK_WEB_HOSTS": "dials dials.museum.example"}) as serving:
        assert serving.get("/healthz", host=host).status_code == 200


def test_a_machine_is_known_by_its_name_alone_and_on_its_network() -> None:
    assert names_of("Pi.fritz.box", ("dials",)) == {
        *("localhost", "pi", "pi.local", "pi.fritz.box", "dials")
    }
    assert names_of("", ()) == {"localhost"}


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "1.2.3", "pi.evil"]
)
def test_a_foreign_name_is_refused_and_the_owner_told_what_to_set(
    serving: Serving, host: str
) -> None:
    for asked in (host, f"{host}:8080", host.upper(), f"{host}."):
        found = serving.get("/api/reading.txt", host=asked)
        assert found.status_code == 421
        assert f"TWEETDOCK_WEB_HOSTS={host}" in found.text


@pytest.mark.parametrize(
    "host", ["", "a b", "a,b", "<script>", "[::1", "[zz]", "a:b:c", "é", "a@b"]
)
def test_what_is_no_host_is_refused_without_echo(serving: Serving, host: str) -> None:
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1")
    head, _, body = ask(serving, request).partition(b"\r\n\r\n")
    assert b" 421 " in head.partition(b"\r\n")[0]
    assert body == b"A request must name this TweetDock's host, by its name or address.\n"


def test_a_request_without_host_is_refused(serving: Serving) -> None:
    assert b" 421 " in ask(serving, b"GET / HTTP/1.0\r\n\r\n").partition(b"\r\n")[0]
    assert b" 400 " in ask(serving, b"GET / HTTP/1.1\r\n\r\n").partition(b"\r\n")[0]


def test_this_machine_s_own_name_needs_no_setting(serving: Serving) -> None:
    name = socket.gethostname()
    for host in (name, name.partition(".")[0] + ".local"):
        if HOST.fullmatch(host.lower()):
            assert serving.get("/healthz", host=host).status_code == 200


def test_names_of_the_settings_are_taken() -> None:
    with Serving({"TWEETDOCK_WEB_HOSTS": "dials.museum.example"}) as serving:
        assert serving.get("/healthz", host="dials.museum.example").status_code == 200
        assert serving.get("/healthz", host="museum.example").status_code == 421


@pytest.mark.parametrize("host", ["raspberrypi", "raspberrypi.local:8080", "Other-Pi.local."])
def test_a_page_for_the_whole_network_answers_to_every_name_that_only_the_network_gives(
    host: str,
) -> None:
    # In a container nobody knows what the machine around it is called.
    with Serving({"TWEETDOCK_WEB": "0.0.0.0:0"}) as serving:
        assert serving.get("/healthz", host=host).status_code == 200
        for foreign in ("evil.example", "local.evil.example", "pi.localdomain", "pi.local.evil"):
            assert serving.get("/healthz", host=foreign).status_code == 421
    with Serving() as serving:
        assert serving.get("/healthz", host=host).status_code == 421


def test_in_a_container_the_log_claims_no_address_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mark = tmp_path / ".dockerenv"
    marks = tmp_path / "no", mark
    monkeypatch.setattr(tweetdock.show.web.web, "is_contained", lambda: is_contained(marks))
    caplog.set_level("INFO")
    for web, outside, inside in [
        ("0.0.0.0:0", "page: http://", "page: at port {}; if this container has a network of"),
        ("127.0.0.1:0", "page: http://127.0.0.1:{}", "TWEETDOCK_WEB=0.0.0.0:{} opens it"),
    ]:
        caplog.clear()
        mark.unlink(missing_ok=True)
        with Serving({"TWEETDOCK_WEB": web}) as serving:
            assert outside.format(serving.port) in caplog.text
            assert inside.format(serving.port) not in caplog.text
        mark.touch()
        with Serving({"TWEETDOCK_WEB": web}) as serving:
            assert inside.format(serving.port) in caplog.text


def test_health_is_well_while_every_thread_lives_and_the_loop_turns(serving: Serving) -> None:
    found = serving.get("/healthz")
    assert (found.status_code, found.text) == (200, "ok\n")
    serving.seconds += 9.9
    assert serving.get("/healthz").status_code == 200
    serving.seconds += 0.2
    found = serving.get("/healthz")
    assert (found.status_code, found.text) == (503, "no reading for 10 seconds\n")
    serving.board.publish(make_reading(1))
    assert serving.get("/healthz").status_code == 200
    serving.threads = {"source x": False, "needles": True, "archive": False}
    found = serving.get("/healthz")
    assert (found.status_code, found.text) == (503, "not running: archive, source x\n")


ADDRESSES_OF_NOW = ["/", "/?kiosk", "/dial/tweets.svg", "/api/reading", "/api/reading.txt"]


@pytest.mark.parametrize("address", ADDRESSES_OF_NOW)
def test_while_the_loop_hangs_its_last_reading_is_not_shown_as_that_of_now(
    serving: Serving, address: str
) -> None:
    """Health said 503, and at the same time the reading was exact with 200."""
    serving.seconds += 10
    assert serving.get(address).status_code == 200
    serving.seconds += 6
    found = serving.get(address)
    assert found.status_code == 503
    assert found.headers["retry-after"] == "1"
    assert "TweetDock hangs: its last reading is 16 seconds old." in found.text
    assert "412" not in found.text
    # A screen on a wall comes back by itself.
    assert ("refresh" in found.headers) is (address in ("/", "/?kiosk"))
    serving.board.publish(make_reading(1))
    assert serving.get(address).status_code == 200


def test_who_begins_to_watch_while_the_loop_hangs_is_sent_nothing_old(serving: Serving) -> None:
    """The page opened a new line every 15 s, was sent the old reading, and called it exact."""
    with Events(serving) as early:
        early.block()
        assert early.reading() == sent(make_reading())
        serving.seconds += 16
        with Events(serving) as late:
            assert late.block() == ["retry: 2000"]
            serving.board.publish(make_reading(16))
            assert late.reading() == early.reading() == sent(make_reading(16))


def test_a_watcher_gets_the_reading_at_once_and_each_new_one(serving: Serving) -> None:
    with Events(serving) as events:
        assert events.answer.headers["content-type"] == "text/event-stream"
        assert events.answer.headers["cache-control"] == "no-store"
        assert events.answer.headers["x-accel-buffering"] == "no"
        assert events.block() == ["retry: 2000"]
        assert events.reading() == sent(make_reading())
        serving.board.publish(make_reading(1))
        first, second = events.block()
        assert first == f"id: {AT_MS + 1000}"
        assert json.loads(second.removeprefix("data: ")) == sent(make_reading(1))


def test_half_a_surrogate_pair_in_a_network_s_word_does_not_stop_the_api(serving: Serving) -> None:
    """JSON can say it, and no UTF-8: a refusal that had one was a bug of ours at each address."""
    source = replace(make_reading().sources["x"], detail="X says: \ud800")
    serving.board.publish(make_reading(1, sources={"x": source}))
    for address in ADDRESSES:
        assert serving.get(address).status_code == 200
    assert serving.get("/api/reading").json()["sources"]["x"]["detail"] == "X says: ?"
    with Events(serving) as events:
        events.block()
        assert events.reading()["sources"]["x"]["detail"] == "X says: ?"


def test_who_watches_before_the_first_reading_gets_it_when_it_comes() -> None:
    with Serving() as serving, Events(serving) as events:
        assert events.block() == ["retry: 2000"]
        serving.board.publish(make_reading())
        assert events.reading() == sent(make_reading())


def test_readings_faster_than_people_see_are_passed_over_but_never_the_last() -> None:
    with Serving(pause_seconds=0.05) as serving, Events(serving) as events:
        for number in range(1, 501):
            serving.board.publish(make_reading(number))
        events.block()
        shown = [events.reading()["posts"]]
        while shown[-1] != 412 + 500:
            shown.append(events.reading()["posts"])
        assert shown == sorted(set(shown))
        assert len(shown) < 100


def test_at_the_end_a_watcher_is_told_so_and_not_cut_off(serving: Serving) -> None:
    with Events(serving) as events:
        assert events.block() == ["retry: 2000"]
        assert events.reading() == sent(make_reading())
        serving.web.stop()
        assert events.answer.read() == b""  # a stream that is cut off raises here


def test_head_of_the_events_ends(serving: Serving) -> None:
    found = serving.get("/api/events", "HEAD")
    assert found.headers["content-type"] == "text/event-stream"
    assert serving.get("/healthz").status_code == 200


def test_a_watcher_who_leaves_makes_room(serving: Serving) -> None:
    def watchers() -> float:
        line = serving.get("/metrics").text.partition("\ntweetdock_watchers ")[2]
        return float(line.split()[0])

    with Events(serving) as one, Events(serving) as other:
        one.block()
        other.block()
        assert watchers() == 2
    wait_until(lambda: watchers() == 0)


def test_a_bug_ends_its_request_only_and_is_told_once(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    broken = make_reading(1, hashtags=object())
    serving.board.publish(broken)  # no page can be made of it
    for _ in range(3):
        found = serving.get("/")
        assert (found.status_code, found.text) == (
            500,
            "This is a bug of TweetDock; its log has more.\n",
        )
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len([record for record in told if record.name == "tweetdock.show.web.guard"]) == 1
    assert serving.get("/api/reading.txt").status_code == 200
    serving.board.publish(make_reading(2))
    assert serving.get("/").status_code == 200


def test_the_log_says_where_the_page_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tweetdock")
    with Serving() as serving:
        assert f"page: http://127.0.0.1:{serving.port}" in caplog.messages


@pytest.mark.parametrize(
    "address",
    [
        *("localhost:0", "0.0.0.0:0"),
        pytest.param("[::1]:0", marks=with_ipv6),
        pytest.param("[::]:0", marks=with_ipv6),
    ],
)
def test_the_page_can_be_at_any_address_of_this_machine(
    address: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Should the tests be in one.
    monkeypatch.setattr(tweetdock.show.web.web, "is_contained", lambda: False)
    caplog.set_level(logging.INFO, "tweetdock")
    with Serving({"TWEETDOCK_WEB": address}) as serving:
        host = "::1" if address.startswith("[") else "127.0.0.1"
        client = http.client.HTTPConnection(host, serving.port, timeout=LIMIT)
        client.request("GET", "/healthz")
        assert client.getresponse().status == 200
        client.close()
        if address.startswith("[::]"):
            assert serving.get("/healthz").status_code == 200  # by version 4 as well
        url = serving.web.url
        assert any(message.startswith(f"page: {url}") for message in caplog.messages)
        assert "0.0.0.0" not in url
        assert "[::]" not in url


def test_a_taken_port_is_said_at_once_with_what_to_set(serving: Serving) -> None:
    with pytest.raises(UnavailableError) as caught:
        Serving({"TWEETDOCK_WEB": f"127.0.0.1:{serving.port}"})
    assert str(caught.value) == (
        f"TWEETDOCK_WEB=127.0.0.1:{serving.port}: another program, or another TweetDock, listens "
        f"there; choose another port such as TWEETDOCK_WEB=127.0.0.1:{serving.port + 1}, or "
        "TWEETDOCK_WEB=off"
    )


def test_a_foreign_address_is_said_at_once_with_what_to_set() -> None:
    with pytest.raises(UnavailableError, match=r"TWEETDOCK_WEB=192\.0\.2\.1:8099: this machine"):
        Serving({"TWEETDOCK_WEB": "192.0.2.1:8099"})


def test_the_port_is_free_again_when_it_has_stopped() -> None:
    with Serving() as first:
        assert first.get("/healthz").status_code == 200
        port = first.port
    with Serving({"TWEETDOCK_WEB": f"127.0.0.1:{port}"}) as second:
        assert second.get("/healthz").status_code == 200


def test_it_can_be_stopped_before_it_has_begun_and_twice() -> None:
    with Serving() as serving:
        serving.web.stop()
        serving.web.stop()


def test_a_reading_that_comes_after_the_end_is_no_trouble() -> None:
    with Serving() as serving:
        serving.board.publish(make_reading())
        assert serving.get("/healthz").status_code == 200
    serving.board.publish(make_reading(1))
