"""Where the page is: its address, what the log says of it, and what is said if it cannot be had."""

import http.client
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import with_ipv6
from serving import LIMIT, Serving, make_reading

import tweetdock.show.web.web
from tweetdock.core.errors import UnavailableError
from tweetdock.show.web.web import is_contained


@pytest.fixture
def serving() -> Iterator[Serving]:
    with Serving() as serving:
        serving.board.publish(make_reading())
        yield serving


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
        (said,) = [message for message in caplog.messages if message.startswith("page: http://")]
        assert said.endswith(f":{serving.port}")
        assert "0.0.0.0" not in said
        assert "[::]" not in said


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
