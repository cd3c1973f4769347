"""Why a server cannot be reached: real connections that fail, each with its cure."""

import errno
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from requests.exceptions import InvalidSchema
from standins.loopback import Loopback

from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.finding import Verdict
from tweetdock.sources import endpoint
from tweetdock.sources.endpoint import Endpoint, reached
from tweetdock.sources.http import HttpSession

NOW = datetime.now(UTC)


def failure(url: str) -> SourceError:
    """Why nothing is had from an address."""
    with HttpSession(setting="X_API_URL") as session, pytest.raises(SourceError) as caught:
        session.get(url)
    return caught.value


@pytest.mark.parametrize(
    ("error", "says", "cure", "may_have_come"),
    [
        (OSError(errno.ENETUNREACH, "no"), "network is down", "cable or the Wi-Fi", False),
        (OSError(errno.EHOSTUNREACH, "no"), "network is down", "cable", False),
        (socket.gaierror(socket.EAI_AGAIN, "no"), "cannot be found", "hostname -I", False),
        (UnicodeError("label too long"), "cannot be found", "check X_API_URL", False),
        (ConnectionRefusedError(), "refuses the connection", "check X_API_URL", False),
        (TimeoutError(), "does not answer in time", "firewall", True),
        (ConnectionResetError(), "the connection broke", "", True),
    ],
)
def test_each_way_not_to_get_there_has_its_cure(
    error: OSError, says: str, cure: str, *, may_have_come: bool
) -> None:
    whole = RuntimeError("the library's own")
    whole.__cause__ = error
    found = Endpoint("https://api.x.com/2?secret", "X_API_URL").explain(whole)
    assert (says in found.what, cure in found.cure) == (True, True), found
    assert found.may_have_come == may_have_come
    assert "secret" not in str(found)


def test_who_has_no_name_is_told_apart_from_who_is_not_there() -> None:
    found = failure("https://no-such-host.invalid/2")
    assert found.what == "no-such-host.invalid cannot be found"
    assert "cannot be found" in failure(f"https://{'a' * 70}.example").what
    loopback = Loopback(lambda _: None)
    loopback.up()
    loopback.close()
    assert "nothing listens there" in failure(f"http://127.0.0.1:{loopback.port}").what


@contextmanager
def secure(authority: trustme.CA, name: str = "127.0.0.1", **said: Any) -> Iterator[str]:
    """A TLS server with a certificate, behind which nobody says anything."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name, **said).configure_cert(context)

    def serve(wire: socket.socket) -> None:
        with context.wrap_socket(wire, server_side=True):
            pass

    loopback = Loopback(serve)
    loopback.up()
    yield f"https://127.0.0.1:{loopback.port}"
    loopback.close()


def test_certificates_that_are_not_to_be_trusted_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    with secure(authority) as url:
        found = failure(url)
    assert "unable to get local issuer certificate" in found.what
    assert "REQUESTS_CA_BUNDLE" in found.cure
    assert not found.may_have_come
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    soon, later = NOW + timedelta(days=9), NOW + timedelta(days=99)
    with secure(authority, not_before=soon, not_after=later) as url:
        found = failure(url)
    assert "its clock says" in found.what
    assert "timedatectl set-ntp true" in found.cure
    with secure(authority, "elsewhere.example") as url:
        assert "mismatch" in failure(url).what
    with secure(authority, not_before=NOW - timedelta(days=99), not_after=NOW) as url:
        assert "expired" in failure(url).what


def test_a_proxy_that_leads_nowhere_is_not_the_servers_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(wire: socket.socket) -> None:
        wire.recv(65536)
        wire.sendall(b"HTTP/1.1 503 No way\r\nContent-Length: 0\r\n\r\n")

    loopback = Loopback(refuse)
    loopback.up()
    address = f"127.0.0.1:{loopback.port}"
    monkeypatch.setenv("HTTPS_PROXY", f"http://owner:pass-word-of-mine@{address}")
    found = failure("https://no-such-host.invalid")
    assert found.what == f"the proxy {address} does not reach no-such-host.invalid"
    assert "NO_PROXY" in found.cure
    loopback.close()
    found = failure("https://no-such-host.invalid")
    assert f"the proxy {address} refuses the connection" in found.what
    assert "check HTTPS_PROXY" in found.cure
    assert not found.may_have_come


@pytest.mark.parametrize("port", ["99999", "many"])
def test_a_proxy_with_a_port_that_is_none_is_told(
    monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://owner:pass-word-of-mine@127.0.0.1:{port}")
    found = failure("http://no-such-host.invalid")
    assert found.what == f"the proxy 127.0.0.1:{port} is not an address"
    assert "HTTPS_PROXY" in found.cure
    assert found.kind is Kind.ADDRESS


def test_a_proxy_that_speaks_socks_says_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:1080")
    for error in (InvalidSchema("no SOCKS"), ImportError("no SOCKS")):
        found = Endpoint("https://api.x.com").explain(error)
        assert "the proxy 127.0.0.1:1080 uses SOCKS" in found.what
        assert "pip install" in found.cure


def test_where_an_address_swallows_what_comes_the_other_is_used_and_that_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where IPv6 leads nowhere each new connection takes seconds, and nobody knows why."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.settimeout(0.0)
        filler.connect_ex(full.getsockname())

    def serve(wire: socket.socket) -> None:
        wire.recv(65536)
        wire.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nposts")

    good = Loopback(serve)
    good.up()
    addresses = [full.getsockname(), ("127.0.0.1", good.port)]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", at) for at in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(endpoint, "SLOW_SECONDS", 0.3)
    with HttpSession(whole_seconds=1.0) as session:
        assert session.get("http://api.x.test/").content == b"posts"
        way = reached("x", Endpoint("http://api.x.test"), session.connect_seconds)
    assert way.verdict is Verdict.WARN
    assert "IPv6" in way.cure
    good.close()
    for each in (*fillers, full):
        each.close()
