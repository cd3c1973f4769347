"""The probe of the page's address: free, ours, or somebody else's."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checking import only
from running import Running
from standins.loopback import Loopback

import tweetdock.show.web.probe
from tweetdock.core.finding import Finding, Verdict
from tweetdock.settings.gauge import Settings
from tweetdock.show.web.probe import probe

PASS, WARN, FAIL = Verdict
LEAST = {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": "token"}
NO_READING = b'{"error": "There is no reading yet."}\n'
READING = {"grade": "exact", "posts": 412, "authors": 287, "dials": {}}


def check(web: str) -> list[Finding]:
    settings = Settings.from_env({**LEAST, "TWEETDOCK_WEB": web})
    return list(probe(settings))


def free_port() -> int:
    """A port of the system's choice: tests that run beside us draw the same dice."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, tuple[int, bytes]]], int]]:
    """A small web server with an answer for each path; the port it is at."""
    servers = []

    def make(answers: dict[str, tuple[int, bytes]]) -> int:
        def speak(connection: socket.socket) -> None:
            asked = connection.recv(65536)
            if not asked:  # somebody has only knocked
                return
            status, body = answers.get(asked.split(b" ")[1].decode(), (404, b"nothing here"))
            head = f"HTTP/1.1 {status} It is so\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)

        server = Loopback(speak)
        server.up()
        servers.append(server)
        return server.port

    yield make
    for server in servers:
        server.close()


def reading(**changes: object) -> bytes:
    return json.dumps({**READING, **changes}).encode()


def test_an_address_that_is_free_passes_and_stays_free() -> None:
    port = free_port()
    assert only(check(f"127.0.0.1:{port}")) == Finding(
        "page", PASS, f"http://127.0.0.1:{port} is free"
    )
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_no_page_is_nothing_to_check() -> None:
    assert only(check("off")) == Finding("page", PASS, "off")
    assert "any port" in only(check("127.0.0.1:0")).says


def test_a_gauge_at_work_is_asked_for_its_grade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tweetdock.show.web.probe, "ANSWER_SECONDS", 30.0)  # on a busy machine
    with Running("--demo", folder=tmp_path, env={"TWEETDOCK_WEB": "127.0.0.1:0"}) as gauge:
        gauge.wait_for("page: http://")
        address = gauge.log.partition("page: http://")[2].split()[0]
        gauge.wait_for("exact")
        finding = only(check(address))
        assert gauge.stop() == 0
    says = f"a TweetDock runs at http://{address}, and its reading is exact"
    assert finding == Finding("page", PASS, says)


def test_a_gauge_that_has_just_begun_is_no_stranger(
    serve: Callable[[dict[str, tuple[int, bytes]]], int],
) -> None:
    answers = {"/api/reading": (503, NO_READING), "/healthz": (200, b"ok\n")}
    port = serve(answers)
    finding = only(check(f"127.0.0.1:{port}"))
    assert finding.verdict is PASS
    assert "just started" in finding.says


def test_a_gauge_whose_loop_hangs_is_no_stranger(
    serve: Callable[[dict[str, tuple[int, bytes]]], int],
) -> None:
    """It has no reading that holds, and was called another program."""
    sick = (503, b"no reading for 40 seconds\n")
    port = serve({"/api/reading": (503, NO_READING), "/healthz": sick})
    finding = only(check(f"127.0.0.1:{port}"))
    assert finding.verdict is FAIL
    assert finding.says.endswith("but it has a problem: no reading for 40 seconds")
    assert "restart it" in finding.cure


def test_a_gauge_that_hears_nothing_is_told(
    serve: Callable[[dict[str, tuple[int, bytes]]], int],
) -> None:
    answers = {"/api/reading": (200, reading(grade="stale")), "/healthz": (200, b"ok\n")}
    finding = only(check(f"127.0.0.1:{serve(answers)}"))
    assert finding.verdict is WARN
    assert "its reading is stale" in finding.says


def test_a_gauge_that_is_not_well_is_told_with_its_own_words(
    serve: Callable[[dict[str, tuple[int, bytes]]], int],
) -> None:
    answers = {"/api/reading": (200, reading()), "/healthz": (503, b"not running: bluesky\n")}
    finding = only(check(f"127.0.0.1:{serve(answers)}"))
    assert finding.verdict is FAIL
    assert finding.says.endswith("but it has a problem: not running: bluesky")
    assert finding.cure


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"\xff", b"[" * 100_000, reading(grade="fine"), b'{"grade": 1}']
)
def test_another_program_on_the_address_is_told(
    serve: Callable[[dict[str, tuple[int, bytes]]], int], body: bytes
) -> None:
    port = serve({"/api/reading": (200, body), "/healthz": (200, b"ok")})
    finding = only(check(f"127.0.0.1:{port}"))
    assert finding.verdict is FAIL
    assert "another program" in finding.says
    assert f"TWEETDOCK_WEB=127.0.0.1:{port + 1}" in finding.cure


def test_a_program_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tweetdock.show.web.probe, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        finding = only(check(f"127.0.0.1:{silent.getsockname()[1]}"))
    assert finding.verdict is FAIL
    assert "another program" in finding.says


def test_the_usual_address_is_not_counted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(tweetdock.show.web.probe, "ANSWER_SECONDS", 0.2)
        usual = f"127.0.0.1:{other.getsockname()[1]}"
        monkeypatch.setattr("tweetdock.settings.gauge.USUAL_PAGE", usual)
        finding = only(check(usual))
    assert finding.verdict is WARN
    assert "TweetDock would run without a page" in finding.says


def test_an_address_of_another_machine_is_told() -> None:
    first, second = check("192.0.2.1:8080")
    assert first.verdict is FAIL
    assert "this machine does not have that address" in first.says
    assert second.verdict is WARN


def test_a_port_that_is_taken_without_anybody_listening_is_told() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        finding = only(check(f"127.0.0.1:{holder.getsockname()[1]}"))
    assert finding.verdict is FAIL
    assert "another program" in finding.says


@pytest.mark.parametrize(
    ("is_contained", "cure"),
    [(False, "TWEETDOCK_WEB=127.0.0.1:{0}"), (True, "docker run -p 127.0.0.1:{0}:{0}")],
)
def test_it_is_told_who_can_see_a_page_on_all_addresses(
    is_contained: bool,  # noqa: FBT001 - a case of the table
    cure: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tweetdock.show.web.probe, "is_contained", lambda: is_contained)
    port = free_port()
    first, second = check(f"0.0.0.0:{port}")
    assert first.verdict is PASS
    assert (second.verdict, second.says) == (WARN, "everybody in your network can see it")
    assert cure.format(port) in second.cure


def test_a_gauge_on_all_addresses_is_asked_on_its_own_machine(
    serve: Callable[[dict[str, tuple[int, bytes]]], int],
) -> None:
    port = serve({"/api/reading": (200, reading()), "/healthz": (200, b"ok\n")})
    first, _ = check(f"0.0.0.0:{port}")
    assert first.verdict is PASS
    assert "its reading is exact" in first.says
