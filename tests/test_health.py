"""The word `health`: what Docker asks once a minute, of a real gauge and of whoever is not one."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Running, run
from standins.loopback import Loopback

import tweetdock.show.checkup
from tweetdock.show.checkup import ailment_at


def free_port() -> int:
    """A port of the system's choice."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def gauge(tmp_path: Path) -> Iterator[tuple[Running, dict[str, str]]]:
    """A gauge at work, and the environment that it was started with."""
    env = {"TWEETDOCK_WEB": f"127.0.0.1:{free_port()}"}
    with Running("--demo", folder=tmp_path, env=env) as running:
        running.wait_for("tweets (")
        yield running, env


def health(folder: Path, *words: str, **env: str) -> tuple[int, str, str]:
    done = run("health", *words, folder=folder, env=env)
    return done.returncode, done.stdout, done.stderr


def test_a_gauge_at_work_is_well_by_its_own_setting_or_by_a_flag(
    gauge: tuple[Running, dict[str, str]], tmp_path: Path
) -> None:
    _, env = gauge
    assert health(tmp_path, **env) == (0, "well\n", "")
    web = env["TWEETDOCK_WEB"]
    assert health(tmp_path, "--web", web) == (0, "well\n", "")
    (tmp_path / ".env").write_text(f"TWEETDOCK_WEB={web}\n")
    without = {name: value for name, value in os.environ.items() if name == "PATH"}
    assert run("health", folder=tmp_path, env=without | {"TWEETDOCK_WEB": ""}).returncode == 1
    assert health(tmp_path, "--web", web.replace("127.0.0.1", "0.0.0.0")) == (0, "well\n", "")


def test_a_gauge_that_hangs_is_not_well(
    gauge: tuple[Running, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, env = gauge
    monkeypatch.setattr(tweetdock.show.checkup, "ANSWER_SECONDS", 0.3)
    host, _, port = env["TWEETDOCK_WEB"].rpartition(":")
    assert ailment_at(host, int(port)) == ""
    running.process.send_signal(signal.SIGSTOP)
    assert ailment_at(host, int(port)) == f"no TweetDock answers at port {port}"
    running.process.send_signal(signal.SIGCONT)


def test_no_gauge_is_not_well(tmp_path: Path) -> None:
    port = free_port()
    said = f"no TweetDock answers at port {port}\n"
    assert health(tmp_path, TWEETDOCK_WEB=f"127.0.0.1:{port}") == (1, said, "")


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, b"<html>another's page", "<html>another's page"),
        (200, b"", "an answer that is none of TweetDock's"),
        (503, b"no reading for 12 seconds\n", "no reading for 12 seconds"),
    ],
)
def test_what_an_ailing_one_says_is_handed_on(status: int, body: bytes, says: str) -> None:
    def speak(connection: socket.socket) -> None:
        connection.recv(65536)
        head = f"HTTP/1.1 {status} So\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    server = Loopback(speak)
    server.up()
    try:
        assert ailment_at("127.0.0.1", server.port) == says
    finally:
        server.close()


def test_without_a_page_nobody_is_asked_and_that_is_no_ailment(tmp_path: Path) -> None:
    assert health(tmp_path, TWEETDOCK_WEB="off") == (
        0,
        "TWEETDOCK_WEB=off: nobody can be asked\n",
        "",
    )


@pytest.mark.parametrize("web", ["127.0.0.1:0", "dials.example", "0.0.0.0:70000"])
def test_an_address_that_tells_nothing_is_a_wrong_setting(tmp_path: Path, web: str) -> None:
    code, _, said = health(tmp_path, TWEETDOCK_WEB=web)
    assert code == 2
    assert f"TWEETDOCK_WEB={web}:" in said
