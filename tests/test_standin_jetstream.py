"""The stand-in Jetstream hosts, met by the library's own client, speak as the real ones do."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from simulation import Time
from standins.jetstream import DAY_US, Jetstream, Network
from standins.jetstream_events import make_identity, make_like, make_post
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

LIMIT_SECONDS = 10.0
POSTS = "wantedCollections=app.bsky.feed.post"


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def network(time: Time) -> Network:
    return Network(time, disorder_ms=0)


@pytest.fixture
def host(network: Network) -> Iterator[Jetstream]:
    with Jetstream(network) as host:
        yield host


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    with ExitStack() as clients:
        yield clients


def ask(host: Jetstream, clients: ExitStack, query: str = "") -> ClientConnection:
    client = connect(f"{host.url}?{query}", open_timeout=LIMIT_SECONDS, close_timeout=0.1)
    clients.enter_context(client)
    return client


def read(client: ClientConnection, number: int) -> list[dict[str, Any]]:
    return [json.loads(client.recv(LIMIT_SECONDS)) for _ in range(number)]


def test_a_replay_begins_at_the_cursor_and_goes_on_live(
    network: Network, host: Jetstream, time: Time, clients: ExitStack
) -> None:
    times = []
    for number in range(3):
        times.append(network.add(make_post(number, "dockercon")))
        time.seconds += 1
    client = ask(host, clients, f"{POSTS}&cursor={times[1]}")
    assert read(client, 1)[0]["time_us"] == times[1]
    live = network.add(make_post(9))
    while read(client, 1)[0]["time_us"] != live:
        pass


def test_collections_are_filtered_and_identities_always_come(
    network: Network, host: Jetstream, clients: ExitStack
) -> None:
    client = ask(host, clients, f"{POSTS}&cursor={network.now_us}")
    network.add(make_like(1))
    network.add(make_identity(2))
    network.add(make_post(3))
    assert [event["kind"] for event in read(client, 2)] == ["identity", "commit"]
    assert host.asked[0].collections == ("app.bsky.feed.post",)


@pytest.mark.parametrize("cursor", [None, 1])
def test_without_a_cursor_or_with_one_of_the_future_only_what_is_new_comes(
    network: Network, host: Jetstream, clients: ExitStack, cursor: int | None
) -> None:
    network.add(make_post(1))
    query = "" if cursor is None else f"cursor={network.now_us + 1_000_000}"
    client = ask(host, clients, query)
    host.wait_until_asked(1)
    network.add(make_identity(2))
    network.add(make_identity(3))
    assert read(client, 1)[0]["kind"] == "identity"


def test_a_cursor_that_is_too_old_is_moved_without_a_word(
    network: Network, host: Jetstream, time: Time, clients: ExitStack
) -> None:
    network.add(make_post(1), network.now_us - 2 * DAY_US)
    recent = network.add(make_post(2), network.now_us - DAY_US)
    client = ask(host, clients, f"cursor={network.now_us - 3 * DAY_US}")
    assert read(client, 1)[0]["time_us"] == recent


@pytest.mark.parametrize("query", ["cursor=yesterday", "cursor=-1"])
def test_a_cursor_that_is_none_is_refused(host: Jetstream, clients: ExitStack, query: str) -> None:
    with pytest.raises(InvalidStatus, match="400"):
        ask(host, clients, query)


def test_a_host_dates_events_by_its_own_clock_and_loses_what_it_is_told_to(
    network: Network, time: Time, clients: ExitStack
) -> None:
    with Jetstream(network, skew_us=500) as host:
        times = []
        for number in range(3):
            times.append(network.add(make_identity(number)))
            time.seconds += 0.1
        host.lose(times[0] + 500, times[1] + 500)
        client = ask(host, clients, f"cursor={times[0]}")
        assert [event["time_us"] - 500 for event in read(client, 2)] == [times[0], times[2]]


def test_the_truth_knows_what_was_deleted_and_changed(network: Network) -> None:
    network.add(make_post(1, "DockerCon", author=1))
    network.add(make_post(2, hidden=("dockercon",), author=1))
    network.add(make_post(3, "dockercon", author=2))
    network.add(make_post(3, author=2, operation="update"))
    now_ms = network.now_us // 1000
    assert network.truth.count(now_ms - 1, now_ms) == (2, 1)
    assert network.truth.count(now_ms, now_ms + 1) == (0, 0)
