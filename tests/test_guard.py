"""Who may ask the page, by which names, and how."""

import socket
from collections.abc import Iterator

import pytest
from serving import Serving, make_reading

from tweetdock.show.web.server import HOST, names_of


@pytest.fixture
def serving() -> Iterator[Serving]:
    with Serving() as serving:
        serving.board.publish(make_reading())
        yield serving


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_the_page_is_only_to_be_read(serving: Serving, method: str) -> None:
    found = serving.get("/api/reading", method)
    assert found.status_code == 405
    assert set(found.headers["allow"].split(", ")) == {"GET", "HEAD"}


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
    head, _, body = serving.ask(request).partition(b"\r\n\r\n")
    assert b" 421 " in head.partition(b"\r\n")[0]
    assert body == b"A request must name this TweetDock's host, by its name or address.\n"


def test_a_request_without_host_is_refused(serving: Serving) -> None:
    assert b" 421 " in serving.ask(b"GET / HTTP/1.0\r\n\r\n").partition(b"\r\n")[0]
    assert b" 400 " in serving.ask(b"GET / HTTP/1.1\r\n\r\n").partition(b"\r\n")[0]


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
