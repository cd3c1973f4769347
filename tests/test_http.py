"""The session under all HTTP sources: requests over real sockets and real TLS."""

import contextlib
import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from standins.loopback import Loopback

from tweetdock.errors import RefusedError, SourceError
from tweetdock.sources import http
from tweetdock.sources.http import Session

Serve = Callable[[socket.socket], object]
# Closed after each answer, and said so: a session must not try the connection once more.
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
WHOLE_SECONDS = 0.3


@dataclass
class Server:
    """One behaviour at https:// and http://; `ending` lets it stop waiting."""

    serve: Serve
    ending: threading.Event
    secure_url: str = ""
    plain_url: str = ""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    server = Server(lambda _: None, threading.Event())

    def plainly(connection: socket.socket) -> None:
        connection.recv(65536)
        server.serve(connection)

    def secretly(connection: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(connection, server_side=True) as wire,
        ):
            plainly(wire)

    secure, plain = Loopback(secretly), Loopback(plainly)
    for listener in (secure, plain):
        listener.up()
    server.secure_url = f"https://127.0.0.1:{secure.port}"
    server.plain_url = f"http://127.0.0.1:{plain.port}"
    yield server
    server.ending.set()
    for listener in (secure, plain):
        listener.close()


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(whole_seconds=WHOLE_SECONDS) as session:
        yield session


def urls(server: Server) -> list[str]:
    return [server.secure_url, server.plain_url]


def answer(body: bytes) -> Serve:
    return lambda wire: wire.sendall(OK % (len(body), body))


def drip(server: Server, raw: bytes) -> Serve:
    def serve(wire: socket.socket) -> None:
        for place in range(len(raw)):
            wire.sendall(raw[place : place + 1])
            if server.ending.wait(0.02):
                return

    return serve


def test_a_whole_answer_is_handed_on(server: Server, session: Session) -> None:
    server.serve = answer(b"posts")
    for url in urls(server):
        assert session.request("GET", url).content == b"posts"


def test_a_packed_answer_is_unpacked(server: Server, session: Session) -> None:
    packed = gzip.compress(b"posts")
    head = OK[:17] + b"Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    server.serve = lambda wire: wire.sendall(head % len(packed) + packed)
    for url in urls(server):
        assert session.request("GET", url).content == b"posts"


def test_an_address_is_moved_before_anything_else(server: Server) -> None:
    server.serve = answer(b"posts")
    with Session(moved={"https://elsewhere.test": server.secure_url}) as session:
        assert session.request("GET", "https://elsewhere.test/2/posts").content == b"posts"


def test_silence_and_drips_end_in_time(server: Server, session: Session) -> None:
    body = OK % (1000, b"." * 1000)

    def drip_the_body(wire: socket.socket) -> None:
        wire.sendall(body[:70])
        drip(server, body[70:])(wire)

    for behaviour in (lambda _: server.ending.wait(10), drip(server, body), drip_the_body):
        server.serve = behaviour
        for url in urls(server):
            with pytest.raises(SourceError, match="does not answer in time"):
                session.request("GET", url)
    server.serve = answer(b"posts")
    assert session.request("GET", server.secure_url).content == b"posts"


def test_another_thread_can_end_an_exchange(server: Server) -> None:
    asked = threading.Event()

    def hang(_: socket.socket) -> None:
        asked.set()
        server.ending.wait(10)

    server.serve = hang
    for url in urls(server):
        asked.clear()
        with Session() as session:

            def cut(session: Session = session) -> None:
                asked.wait(10)
                session.cut()

            cutter = threading.Thread(target=cut)
            cutter.start()
            with pytest.raises(SourceError, match="the connection broke"):
                session.request("GET", url)
            cutter.join()


def test_a_refusal_keeps_what_says_why(server: Server, session: Session) -> None:
    raw = b"HTTP/1.1 429 Too Many\r\nx-rate-limit-reset: 7\r\nContent-Length: 2\r\n\r\n{}"
    server.serve = lambda wire: wire.sendall(raw)
    with pytest.raises(RefusedError) as refused:
        session.request("GET", server.secure_url)
    refusal = refused.value
    assert (refusal.status, refusal.body, refusal.headers["X-Rate-Limit-Reset"]) == (
        429,
        b"{}",
        "7",
    )


def test_a_redirect_is_not_followed(server: Server, session: Session) -> None:
    head = f"HTTP/1.1 302 Found\r\nLocation: {server.plain_url}/login\r\nContent-Length: 0\r\n\r\n"
    server.serve = lambda wire: wire.sendall(head.encode())
    with pytest.raises(RefusedError, match="302"):
        session.request("GET", server.secure_url)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntoo short",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
def test_a_broken_answer_is_a_source_error(server: Server, session: Session, raw: bytes) -> None:
    server.serve = lambda wire: wire.sendall(raw)
    for url in urls(server):
        with pytest.raises(SourceError, match="cannot be reached"):
            session.request("GET", url)


def test_an_answer_without_end_is_left(
    server: Server, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "LARGEST_BODY", 100_000)

    def pour(wire: socket.socket) -> None:
        wire.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.ending.is_set():
            wire.sendall(b"." * 10_000)

    server.serve = pour
    for url in urls(server):
        with pytest.raises(SourceError, match="it sent more than 100000 bytes"):
            session.request("GET", url)


def test_a_certificate_that_nobody_vouches_for_is_told(
    server: Server, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(SourceError, match="certificate is not to be trusted"):
        session.request("GET", server.secure_url)


def test_a_proxy_is_watched_too(
    server: Server, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.plain_url)
    monkeypatch.setenv("NO_PROXY", "")
    server.serve = answer(b"by proxy")
    assert session.request("GET", "http://x.test/").content == b"by proxy"
    server.serve = drip(server, OK % (1000, b"." * 1000))
    with pytest.raises(SourceError, match="does not answer in time"):
        session.request("GET", "http://x.test/")
