"""Docker's HEALTHCHECK, deploy/healthcheck: what it makes of a real gauge and of who is not one."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import with_ipv6
from running import Running
from standins.loopback import Loopback

SCRIPT = Path(__file__).parents[1] / "deploy" / "healthcheck"


def free_port() -> int:
    """A port of the system's choice."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def health(web: str, limit: float = 10) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", str(SCRIPT)],
        env={"TWEETDOCK_WEB": web, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.removesuffix("\n")


@pytest.fixture
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """The port of a gauge at work, at the host of the parameter."""
    port = free_port()
    web = f"{getattr(request, 'param', '127.0.0.1')}:{port}"
    with Running("--demo", folder=tmp_path, env={"TWEETDOCK_WEB": web}) as running:
        running.wait_for("tweets (")
        yield port


@pytest.mark.parametrize("port", ["0.0.0.0"], indirect=True)
def test_a_gauge_at_work_is_well_however_its_address_is_written(port: int) -> None:
    for web in ("0.0.0.0:{}", "127.0.0.1:{}", "localhost:{}", '"0.0.0.0:{}"', " 0.0.0.0:{} "):
        assert health(web.format(port)) == (0, "ok")


@with_ipv6
@pytest.mark.parametrize("port", ["[::1]"], indirect=True)
def test_a_gauge_at_an_address_of_version_6_is_well(port: int) -> None:
    assert health(f"[::1]:{port}") == health(f"[::]:{port}") == (0, "ok")


def test_an_address_that_is_not_set_is_the_usual_one() -> None:
    # Whether somebody is there or not: what counts is where it asks.
    assert health("") == health("127.0.0.1:8080")


def test_nobody_there_is_not_well() -> None:
    port = free_port()
    assert health(f"0.0.0.0:{port}") == (1, f"nobody answers at port {port}")


def test_a_gauge_that_hangs_keeps_docker_waiting_until_that_gives_up(tmp_path: Path) -> None:
    web = f"127.0.0.1:{free_port()}"
    with Running("--demo", folder=tmp_path, env={"TWEETDOCK_WEB": web}) as running:
        running.wait_for("tweets (")
        assert health(web) == (0, "ok")
        running.process.send_signal(signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            health(web, limit=0.5)
        running.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, b"<html>another's page", "<html>another's page"),
        (200, b"", "no TweetDock, but it answers"),
        (503, b"no reading for 12 seconds\n", "no reading for 12 seconds"),
        (503, b"ok\n", "ok"),
    ],
)
def test_what_an_ailing_one_says_is_handed_on(status: int, body: bytes, says: str) -> None:
    def speak(connection: socket.socket) -> None:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += connection.recv(65536)
        head = f"HTTP/1.1 {status} So\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    server = Loopback(speak)
    server.up()
    try:
        assert health(f"127.0.0.1:{server.port}") == (1, says)
    finally:
        server.close()


@pytest.mark.parametrize("web", ["off", "OFF", "'off'"])
def test_without_a_page_nobody_is_asked_and_that_is_no_ailment(web: str) -> None:
    assert health(web) == (0, "TWEETDOCK_WEB=off: nobody can be asked")
