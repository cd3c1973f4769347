"""The probe of Bluesky: real WebSockets to stand-in hosts, each trouble with its cure."""

import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest
from checking import assert_well_said, failed, only
from standins.jetstream import Jetstream, Network
from standins.jetstream_events import make_post
from standins.loopback import Loopback

from tweetdock.core.finding import Finding, Verdict
from tweetdock.sources.bluesky import websocket
from tweetdock.sources.bluesky.probe import probe

PASS, WARN, FAIL = Verdict


@pytest.fixture
def network() -> Iterator[Network]:
    """Two hosts, to which something happens again and again."""
    network, over = Network(time.time), threading.Event()

    def live() -> None:
        while not over.wait(0.05):
            network.add(make_post(1, "other"))

    with Jetstream(network), Jetstream(network):
        living = threading.Thread(target=live)
        living.start()
        yield network
        over.set()
        living.join()


def ask(network: Network, *more: str, off_by: float = 0.0) -> list[Finding]:
    hosts = [*(host.url for host in network.hosts), *more]
    wall = lambda: time.time() + off_by  # noqa: E731
    findings = list(probe(hosts, wall=wall, event_seconds=0.5))
    assert_well_said(findings)
    return findings


def test_every_host_has_its_line(network: Network) -> None:
    findings = ask(network)
    assert [(finding.thing, finding.verdict) for finding in findings] == [
        ("bluesky reach", PASS),
        ("bluesky reach", PASS),
    ]
    assert "its newest event is 0." in findings[0].says
    assert [asked.collections for asked in network.hosts[0].asked] == [("app.bsky.feed.post",)]


def test_one_dead_host_is_a_warning_and_all_of_them_a_failure(network: Network) -> None:
    network.hosts[1].down()
    alive, dead = ask(network)
    assert (alive.verdict, dead.verdict) == (PASS, WARN)
    assert "refuses the connection" in dead.says
    assert "another host is used" in dead.cure
    network.hosts[0].faults.refuses = 503
    first, second = ask(network)
    assert (first.verdict, second.verdict) == (FAIL, FAIL)
    assert "refuses (HTTP 503)" in first.says
    assert "TWEETDOCK_JETSTREAM" in second.cure


@pytest.mark.parametrize(
    ("status", "says", "cure"),
    [
        (302, "refuses (HTTP 302)", "in a browser on this network and log in"),
        (401, "refuses (HTTP 401)", "check TWEETDOCK_JETSTREAM"),
        (404, "refuses (HTTP 404)", "check TWEETDOCK_JETSTREAM"),
        (429, "refuses (HTTP 429)", "try again in a minute"),
        (503, "refuses (HTTP 503)", "try again in a minute"),
        (200, "refuses (HTTP 200)", "check TWEETDOCK_JETSTREAM"),
        (0, "does not speak WebSocket", "check TWEETDOCK_JETSTREAM"),
    ],
)
def test_a_wrong_address_is_not_a_matter_of_patience(status: int, says: str, cure: str) -> None:
    """It was said that TweetDock keeps trying, which would be for ever."""
    line = f"HTTP/1.1 {status} So" if status else "SSH-2.0-OpenSSH_9.2"

    def serve(wire: socket.socket) -> None:
        wire.recv(65536)
        wire.sendall(f"{line}\r\nContent-Length: 0\r\n\r\n".encode())

    loopback = Loopback(serve)
    loopback.up()
    (found,) = probe([f"ws://127.0.0.1:{loopback.port}/subscribe"])
    loopback.close()
    assert_well_said([found])
    assert (found.verdict, says in found.says, cure in found.cure) == (FAIL, True, True), found


def test_hosts_that_fail_alike_are_told_of_in_one_line() -> None:
    names = [f"{name}.invalid" for name in ("one", "two", "three")]
    hosts = [f"wss://{name}/subscribe" for name in names]
    (found,) = probe(hosts)
    assert found.verdict is FAIL
    assert found.says == ("one.invalid cannot be found (the same: two.invalid, three.invalid)")
    assert_well_said([found])


def test_hosts_that_fail_in_other_ways_or_work_keep_their_lines(network: Network) -> None:
    network.hosts[1].down()
    more = ["ws://one.invalid/subscribe", "ws://two.invalid/subscribe"]
    alive, refusing, missing = ask(network, *more)
    assert [found.verdict for found in (alive, refusing, missing)] == [PASS, WARN, WARN]
    assert "(the same: two.invalid)" in missing.says
    network.hosts[0].down()
    refusing, missing = ask(network, *more)
    assert "refuses the connection: nothing listens there (the same: " in refusing.says
    assert refusing.verdict is missing.verdict is FAIL


def test_a_host_that_is_mute_or_hangs_does_not_keep_us(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "OPEN_SECONDS", 0.6)
    network.hosts[0].faults.mute = True
    network.hosts[1].faults.hangs = True
    hosts = [host.url for host in network.hosts]
    mute, hanging = probe(hosts, event_seconds=0.2)
    assert "has said nothing for 0 s" in mute.says
    assert "does not answer in time" in hanging.says
    for host in network.hosts:
        host.heal()


def test_what_sends_no_times_is_no_jetstream_host() -> None:
    network = Network(time.time)
    with Jetstream(network) as odd:
        odd.insert(b'{"text":"hello"}', network.now_us)
        url = f"{odd.url}?cursor=1"
        (found,) = probe([url], event_seconds=0.3)
    assert found.verdict is FAIL
    assert "sends nothing with a time, so it may be no Jetstream host" in found.says


def test_a_host_that_is_behind_is_told_by_how_much(network: Network) -> None:
    network.hosts[0].skew_us = -90_000_000
    late, prompt = ask(network)
    assert (late.verdict, prompt.verdict) == (WARN, PASS)
    assert "90 s behind" in late.says


def test_a_wrong_clock_shows_by_the_hosts_date_or_by_events_to_come(network: Network) -> None:
    clock = only(ask(network, off_by=-3_600.0), "bluesky clock")
    assert (clock.verdict, "60 min behind" in clock.says) == (WARN, True)
    for host in network.hosts:
        host.faults.date = formatdate(time.time(), usegmt=True)
    findings = ask(network, off_by=3_600.0)
    clock = only(findings, "bluesky clock")
    assert (clock.verdict, "60 min ahead" in clock.says) == (WARN, True)
    assert "timedatectl set-ntp true" in clock.cure
    assert not failed(findings)
    assert findings[0].verdict is PASS
    assert only(ask(network), "bluesky clock").verdict is PASS


def test_a_name_that_is_none_and_a_proxy_that_is_not_there_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts = ["wss://no-such-host.invalid/subscribe"]
    (found,) = probe(hosts)
    assert found.verdict is FAIL
    assert found.says.startswith("no-such-host.invalid cannot be found")
    monkeypatch.setenv("HTTPS_PROXY", "http://owner:pass-word@127.0.0.1:1")
    (found,) = probe(hosts)
    assert "the proxy 127.0.0.1:1 refuses the connection" in found.says
    assert "check HTTPS_PROXY" in found.cure
