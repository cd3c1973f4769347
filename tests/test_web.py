"""The page's server as clients meet it: every address, over real connections."""

import http.client
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import AT_MS, LIMIT, Serving, make_reading, wait_until

from tweetdock.core.coverage import Grade
from tweetdock.core.dial import DIALS
from tweetdock.core.reading import Reading
from tweetdock.show.board import Moment
from tweetdock.show.web import routes
from tweetdock.show.web.page import page
from tweetdock.show.web.routes import as_line, hours_of
from tweetdock.show.web.server import SAFE_HEADERS

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
    assert {name: headers[name] for name, _ in SAFE_HEADERS} == dict(SAFE_HEADERS)
    assert {"cache-control", "cross-origin-resource-policy"} <= set(headers)
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
        for known in (tag, f'"other", W/{tag}'):
            again = serving.get(f"/static/{name}", if_none_match=known)
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
        assert serving.get(f"/static/{name}", if_none_match='"other"').status_code == 200
    for name in ("", "..", "../page.py", "%2e%2e/page.py", "..%2fpage.py", "/etc/passwd", "%00"):
        answer = serving.ask(f"GET /static/{name} HTTP/1.1\r\nHost: [::1]\r\n\r\n".encode())
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
    for address in ("/dial/other.svg", "/api/readings", "/dial/tweets.svgz", "//"):
        assert serving.get(address).status_code == 404


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
    serving.board.publish(broken)  # no page can be made of it, and no JSON
    why = "This is a bug of TweetDock; its log has more."
    for _ in range(3):
        found = serving.get("/")
        assert (found.status_code, found.text) == (500, f"{why}\n")
        found = serving.get("/api/reading")
        assert (found.status_code, found.json()) == (500, {"error": why})
    told = [record.getMessage() for record in caplog.records if record.exc_info]
    assert told == [
        f"page: a bug of TweetDock at {at!r}; please report it" for at in ("/", "/api/reading")
    ]
    assert len(caplog.records) == 2
    assert serving.get("/api/reading.txt").status_code == 200
    serving.board.publish(make_reading(2))
    assert serving.get("/").status_code == 200


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


def test_who_watches_is_told_of_the_end() -> None:
    """On a busy machine its socket was closed under it: it failed, and cut no connection."""
    with Serving() as serving, Events(serving) as events:
        assert events.block() == ["retry: 2000"]
        serving.web.stop()
        assert events.answer.read() == b""


def test_a_reading_that_comes_after_the_end_is_no_trouble() -> None:
    with Serving() as serving:
        serving.board.publish(make_reading())
        assert serving.get("/healthz").status_code == 200
    serving.board.publish(make_reading(1))
