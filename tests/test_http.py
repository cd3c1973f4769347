"""The session under all HTTP sources: requests over real sockets and real TLS."""

import contextlib
import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from profiles import examples
from standins.loopback import Loopback

from tweetdock.core.errors import RefusedError, SourceError
from tweetdock.sources import http
from tweetdock.sources.http import HttpSession

Serve = Callable[[socket.socket], object]
# Closed after each answer, and said so: a session must not try the connection once more.
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
SHORT_SECONDS = 0.3  # for what does not answer, whatever the machine is busy with


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
def session() -> Iterator[HttpSession]:
    with HttpSession() as session:
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


def test_a_whole_answer_is_handed_on(server: Server, session: HttpSession) -> None:
    server.serve = answer(b"posts")
    for url in urls(server):
        assert session.request("GET", url).content == b"posts"


def test_a_packed_answer_is_unpacked(server: Server, session: HttpSession) -> None:
    packed = gzip.compress(b"posts")
    head = OK[:17] + b"Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    server.serve = lambda wire: wire.sendall(head % len(packed) + packed)
    for url in urls(server):
        assert session.request("GET", url).content == b"posts"


def test_an_address_is_moved_before_anything_else(server: Server) -> None:
    server.serve = answer(b"posts")
    with HttpSession(moved={"https://elsewhere.test": server.secure_url}) as session:
        assert session.request("GET", "https://elsewhere.test/2/posts").content == b"posts"


def test_silence_and_drips_end_in_time(server: Server, session: HttpSession) -> None:
    body = OK % (1000, b"." * 1000)

    def drip_the_body(wire: socket.socket) -> None:
        wire.sendall(body[:70])
        drip(server, body[70:])(wire)

    session._whole_seconds = SHORT_SECONDS
    for behaviour in (lambda _: server.ending.wait(10), drip(server, body), drip_the_body):
        server.serve = behaviour
        for url in urls(server):
            with pytest.raises(SourceError, match="does not answer in time"):
                session.request("GET", url)
    session._whole_seconds = http.WHOLE_SECONDS
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
        with HttpSession() as session:

            def cut(session: HttpSession = session) -> None:
                asked.wait(10)
                session.cut()

            cutter = threading.Thread(target=cut)
            cutter.start()
            with pytest.raises(SourceError, match="the connection broke"):
                session.request("GET", url)
            cutter.join()


def test_a_refusal_keeps_what_says_why(server: Server, session: HttpSession) -> None:
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


@pytest.mark.parametrize(
    ("word", "seconds"),
    [("77", 77), ("3600", 900), ("9" * 5000, 900), ("0", None), ("-1", None), ("\xb2", None)],
)
def test_a_refusal_may_name_the_time_to_wait(word: str, seconds: float | None) -> None:
    assert RefusedError(503, {"Retry-After": word}, b"").retry_after == seconds
    assert RefusedError(503, {}, b"").retry_after is None


def test_a_redirect_is_not_followed(server: Server, session: HttpSession) -> None:
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
def test_a_broken_answer_is_a_source_error(
    server: Server, session: HttpSession, raw: bytes
) -> None:
    server.serve = lambda wire: wire.sendall(raw)
    for url in urls(server):
        with pytest.raises(SourceError, match="cannot be reached"):
            session.request("GET", url)


def test_an_answer_without_end_is_left(
    server: Server, session: HttpSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "LARGEST_BODY", 100_000)

    def pour(wire: socket.socket) -> None:
        wire.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.ending.is_set():
            wire.sendall(b"." * 10_000)

    server.serve = pour
    for url in urls(server):
        with pytest.raises(SourceError, match="sent more than 100000 bytes"):
            session.request("GET", url)


def test_a_certificate_that_nobody_vouches_for_is_told(
    server: Server, session: HttpSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(SourceError, match="certificate cannot be trusted"):
        session.request("GET", server.secure_url)


def test_a_proxy_is_watched_too(
    server: Server, session: HttpSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.plain_url)
    monkeypatch.setenv("NO_PROXY", "")
    server.serve = answer(b"by proxy")
    assert session.request("GET", "http://x.test/").content == b"by proxy"
    server.serve = drip(server, OK % (1000, b"." * 1000))
    session._whole_seconds = SHORT_SECONDS
    with pytest.raises(SourceError, match="does not answer in time"):
        session.request("GET", "http://x.test/")


HEAD = b"HTTP/1.1 200 OK\r\n%b\r\n"
TO_THE_END = b"Connection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n" + TO_THE_END


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def heard(session: HttpSession, url: str, *, silence_seconds: float = 5) -> list[bytes]:
    """All lines of an answer, up to its end."""
    lines: list[bytes] = []
    stream = session.open("GET", url, silence_seconds=silence_seconds)
    with contextlib.suppress(SourceError):
        while True:
            lines += stream.read()
    stream.close()
    return lines


@given(
    st.lists(st.binary(max_size=12).filter(lambda line: not set(line) & set(b"\r\n"))),
    st.lists(st.integers(1, 9), min_size=1),
    st.sampled_from([b"\n", b"\r\n"]),
)
@settings(
    max_examples=examples(40),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
def test_an_answer_that_goes_on_is_heard_line_by_line_however_it_is_cut(
    server: Server, session: HttpSession, lines: list[bytes], cuts: list[int], end: bytes
) -> None:
    text = b"".join(line + end for line in lines)
    places = list(accumulate(cuts, initial=0))
    pieces = [text[a:b] for a, b in pairwise([*places, len(text)])]
    server.serve = lambda wire: wire.sendall(
        HEAD % CHUNKED + b"".join(chunk(piece) for piece in pieces if piece) + b"0\r\n\r\n"
    )
    assert heard(session, server.plain_url) == lines
    server.serve = lambda wire: wire.sendall(HEAD % TO_THE_END + text)
    assert heard(session, server.plain_url) == lines


def test_a_line_is_heard_as_it_comes(server: Server, session: HttpSession) -> None:
    def serve(wire: socket.socket) -> None:
        wire.sendall(HEAD % CHUNKED + chunk(b"one\r\ntw"))
        server.ending.wait(5)
        wire.sendall(chunk(b"o\r\n"))

    for url in urls(server):
        server.serve = serve
        server.ending.clear()
        stream = session.open("GET", url, silence_seconds=5)
        assert stream.read() == [b"one"]
        server.ending.set()
        assert stream.read() == [b"two"]
        stream.close()


def test_a_silent_answer_is_dead(server: Server, session: HttpSession) -> None:
    def serve(wire: socket.socket) -> None:
        wire.sendall(HEAD % CHUNKED + chunk(b"one\r\n"))
        server.ending.wait(5)

    server.serve = serve
    for url in urls(server):
        stream = session.open("GET", url, silence_seconds=0.1)
        assert stream.read() == [b"one"]
        with pytest.raises(SourceError, match="has said nothing for 0 s"):
            stream.read()


def test_an_answer_that_ends_says_so(server: Server, session: HttpSession) -> None:
    for body in (HEAD % TO_THE_END + b"one\n", HEAD % CHUNKED + chunk(b"one\n") + b"0\r\n\r\n"):
        server.serve = lambda wire, body=body: wire.sendall(body)  # type: ignore[misc]
        stream = session.open("GET", server.plain_url, silence_seconds=5)
        assert stream.read() == [b"one"]
        with pytest.raises(SourceError, match="has closed the connection"):
            stream.read()


def test_an_answer_that_breaks_amid_a_chunk_says_so(server: Server, session: HttpSession) -> None:
    server.serve = lambda wire: wire.sendall(HEAD % CHUNKED + b"ff\r\none\r\ntwo")
    stream = session.open("GET", server.plain_url, silence_seconds=5)
    assert stream.read() == [b"one"]
    with pytest.raises(SourceError, match="the connection broke"):
        stream.read()


def test_a_line_without_end_is_left(server: Server, session: HttpSession) -> None:
    def serve(wire: socket.socket) -> None:
        with contextlib.suppress(OSError):
            wire.sendall(HEAD % TO_THE_END + b"x" * (3 * http.LARGEST_LINE))

    server.serve = serve
    stream = session.open("GET", server.plain_url, silence_seconds=5)
    with pytest.raises(SourceError, match="a line of more than"):
        list(iter(stream.read, None))


def test_a_packed_stream_is_unpacked(server: Server, session: HttpSession) -> None:
    """It is not asked for, but a proxy may pack all the same."""
    packed = gzip.compress(b"one\ntwo\n")
    head = HEAD % (TO_THE_END + b"Content-Encoding: gzip\r\n")
    server.serve = lambda wire: wire.sendall(head + packed)
    assert heard(session, server.plain_url) == [b"one", b"two"]


def test_a_refused_stream_says_all(server: Server, session: HttpSession) -> None:
    refusal = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\nX-Why: me\r\n\r\nwait"
    server.serve = lambda wire: wire.sendall(refusal)
    with pytest.raises(RefusedError) as caught:
        session.open("GET", server.plain_url, silence_seconds=5)
    assert (caught.value.status, caught.value.body) == (429, b"wait")
    assert caught.value.headers["X-Why"] == "me"


def test_whoever_waits_in_a_stream_is_woken_by_a_cut(server: Server) -> None:
    def serve(wire: socket.socket) -> None:
        wire.sendall(HEAD % CHUNKED + chunk(b"one\r\n"))
        server.ending.wait(10)

    server.serve = serve
    for url in urls(server):
        with HttpSession() as session:
            stream = session.open("GET", url, silence_seconds=10)
            assert stream.read() == [b"one"]
            cutter = threading.Timer(0.05, session.cut)
            cutter.start()
            with pytest.raises(SourceError):
                stream.read()
            cutter.join()


def test_nothing_is_begun_after_a_cut(server: Server, session: HttpSession) -> None:
    """A connect that was under way went through, and was listened to when all was to end."""
    server.serve = lambda wire: wire.sendall(HEAD % CHUNKED + chunk(b"one\r\n"))
    session.cut()
    for url in urls(server):
        with pytest.raises(SourceError):
            session.open("GET", url, silence_seconds=5).read()
        with pytest.raises(SourceError):
            session.request("GET", url)


@pytest.mark.parametrize("location", [b"http://[::1", b"http://\xff\xfe/", b"//\xf0"])
def test_a_redirect_to_nowhere_ends_nothing(
    server: Server, session: HttpSession, location: bytes
) -> None:
    """A redirect is looked at by requests, also if nobody follows: a Wi-Fi's ended the gauge."""
    head = b"HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: "
    server.serve = lambda wire: wire.sendall(head + location + b"\r\n\r\n")
    with pytest.raises((SourceError, RefusedError)):
        session.request("GET", server.plain_url)
    with pytest.raises((SourceError, RefusedError)):
        session.open("GET", server.plain_url, silence_seconds=5)


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 0001 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "9999-12-31", "?"]
)
def test_a_date_that_nobody_lives_in_is_none(date: str) -> None:
    """A proxy said year 1, the clock believed it, and the next question could not be written."""
    assert http.date_ms({"Date": date}) is None
    assert http.date_ms({}) is None
    for written in ("Sat, 21 Nov 2026 11:00:00 GMT", "2026-11-21T11:00:00Z"):
        assert http.date_ms({"Date": written}) == 1_795_258_800_500
