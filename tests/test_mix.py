"""Several networks at once: one count, and each by itself, with what is wrong at one of them."""

import gc
import json
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from running import run
from standins.jetstream import Jetstream, Network
from standins.jetstream_events import make_post as make_bluesky_post
from standins.mastodon import Mastodon
from standins.mastodon_index import Note
from standins.x_api import XApi, make_post

from tweetdock.core.times import parse_ms
from tweetdock.daemon import Daemon
from tweetdock.settings.gauge import Settings

TAG = "DockerCon"
WINDOW_SECONDS = 900


@dataclass
class Networks:
    """X, one Jetstream host and two Mastodon servers, and how to find them."""

    api: XApi
    network: Network
    jetstream: Jetstream
    servers: list[Mastodon]
    dice: random.Random = field(default_factory=lambda: random.Random(1))

    def fill(self, number: int) -> None:
        """So many posts on each network in the last ten minutes, by five authors each."""
        now_ms = round(time.time() * 1000)
        for place in range(number):
            at_ms = now_ms - 600_000 + place * 500_000 // number
            self._pass_time(at_ms / 1000)
            self.api.add(make_post(at_ms, place % 5 + 1, tag=TAG))
            self.network.add(make_bluesky_post(place, TAG, author=place % 5), at_ms * 1000)
            author = f"https://home.example/@{place % 5}"
            note = Note(f"https://home.example/{place}", author, at_ms, (TAG,))
            for server in self.servers:
                server.add(note)
        self._pass_time(time.time())
        self.network.now = time.time

    def env(self, **more: str) -> dict[str, str]:
        """The settings that lead to them."""
        return {
            "TWEETDOCK_HASHTAGS": TAG.lower(),
            "TWEETDOCK_SOURCES": "x-stream,bluesky,mastodon",
            "TWEETDOCK_WINDOW_SECONDS": str(WINDOW_SECONDS),
            "TWEETDOCK_STALE_SECONDS": "30",
            "TWEETDOCK_SAVE_SECONDS": "0",
            "TWEETDOCK_JETSTREAM": self.jetstream.url,
            "TWEETDOCK_MASTODON": " ".join(server.url for server in self.servers),
            "X_BEARER_TOKEN": self.api.bearer,
            "X_API_URL": self.api.url,
            **more,
        }

    def _pass_time(self, until: float) -> None:
        self.network.now = lambda: until
        self.network.tick()


@pytest.fixture
def networks() -> Iterator[Networks]:
    with ExitStack() as stack:
        began = time.time() - WINDOW_SECONDS * 1.2
        network = Network(lambda: began, rate=2.0)
        jetstream = stack.enter_context(Jetstream(network))
        servers = [stack.enter_context(Mastodon()) for _ in range(2)]
        yield Networks(stack.enter_context(XApi()), network, jetstream, servers)


def once(networks: Networks, folder: Path, **env: str) -> dict[str, Any]:
    """What `--once` prints, without its process."""
    return read_once(networks, folder, env)


def once_soon(networks: Networks, folder: Path) -> dict[str, Any]:
    """The same of the networks that are polled, which waits for less long than can be set."""
    env = {"TWEETDOCK_SOURCES": "x,bluesky,mastodon", "TWEETDOCK_POLL_SECONDS": "1"}
    return read_once(networks, folder, env, stale_seconds=4.0)


def read_once(
    networks: Networks, folder: Path, env: Mapping[str, str], **changes: Any
) -> dict[str, Any]:
    state = {"TWEETDOCK_STATE_DIR": str(folder / "state"), "TWEETDOCK_WEB": "off"}
    settings = replace(Settings.from_env(networks.env(**state, **env)), **changes)
    stopping = threading.Event()
    with (
        networks.network.going_on(0.2),
        Daemon(settings, stopping, stopping, is_guest=True) as daemon,
    ):
        reading = daemon.read_once()
    del daemon
    gc.collect()  # it tells of a connection that a source has left open
    assert reading is not None
    return reading.as_json()


def command_once(networks: Networks, folder: Path, code: int, **env: str) -> dict[str, Any]:
    """The same by the command as a user starts it."""
    with networks.network.going_on(0.2):
        done = run("--once", folder=folder, env=networks.env(**env), limit=100)
    assert done.returncode == code, done.stderr
    reading: dict[str, Any] = json.loads(done.stdout)
    return reading


def split(reading: dict[str, Any]) -> dict[str, tuple[int, int, str]]:
    return {
        name: (source["posts"], source["authors"], source["grade"])
        for name, source in reading["sources"].items()
    }


def test_three_networks_make_one_count(networks: Networks, tmp_path: Path) -> None:
    networks.fill(60)
    reading = command_once(networks, tmp_path, code=0)
    assert split(reading) == dict.fromkeys(("x-stream", "bluesky", "mastodon"), (60, 5, "exact"))
    assert (reading["posts"], reading["authors"], reading["grade"]) == (180, 15, "exact")
    assert reading["sources"]["x-stream"]["detail"].startswith("0.30 USD today")


def test_what_search_and_stream_both_bring_counts_once(networks: Networks, tmp_path: Path) -> None:
    networks.fill(60)
    reading = once(networks, tmp_path, TWEETDOCK_SOURCES="x,x-stream")
    assert split(reading) == dict.fromkeys(("x", "x-stream"), (60, 5, "exact"))
    assert (reading["posts"], reading["authors"]) == (60, 5)
    assert reading["sources"]["x"]["detail"].startswith("0.30 USD today")


def test_a_network_that_is_down_makes_it_partial_and_is_named(
    networks: Networks, tmp_path: Path
) -> None:
    networks.fill(20)
    networks.servers[1].down()
    reading = once_soon(networks, tmp_path)
    assert (reading["posts"], reading["grade"]) == (60, "partial")
    assert reading["sources"]["mastodon"]["grade"] == "partial"
    assert f"{networks.servers[1].host} refuses" in reading["sources"]["mastodon"]["detail"]


def test_a_closed_server_needs_the_owner_and_is_not_waited_for(
    networks: Networks, tmp_path: Path
) -> None:
    networks.fill(20)
    networks.servers[1].access = ("disabled", "disabled")
    began = time.monotonic()
    reading = command_once(networks, tmp_path, code=69, TWEETDOCK_STALE_SECONDS="300")
    assert time.monotonic() - began < 60  # it takes a second or two
    assert reading["posts"] == 60
    assert "closed" in reading["sources"]["mastodon"]["detail"]


def test_a_server_with_a_wrong_clock_does_not_move_the_gauge(
    networks: Networks, tmp_path: Path
) -> None:
    networks.fill(20)
    networks.servers[0].skew_seconds = -3600
    reading = once_soon(networks, tmp_path)
    source = reading["sources"]["x"]
    names = ("posts", "authors", "grade", "covered")
    assert [source[name] for name in names] == [20, 5, "exact", 1.0]
    assert reading["posts"] == 60


def test_a_wrong_clock_is_outvoted_whoever_speaks_last(networks: Networks, tmp_path: Path) -> None:
    networks.fill(20)
    networks.api.skew_seconds = 3600
    other = networks.servers[1]
    networks.api.takes = lambda: other.wait_for(lambda: bool(other.asked("/api/v1/timelines")))
    reading = once_soon(networks, tmp_path)
    assert abs(parse_ms(reading["at"]) / 1000 - time.time()) < 60


def test_other_servers_are_another_question(networks: Networks, tmp_path: Path) -> None:
    networks.fill(20)
    alone = {"TWEETDOCK_SOURCES": "mastodon"}
    assert once(networks, tmp_path, **alone)["posts"] == 20
    now_ms = round(time.time() * 1000)
    only = Note("https://other.example/1", "https://other.example/@a", now_ms - 60_000, (TAG,))
    networks.servers[1].add(only)
    assert once(networks, tmp_path, **alone)["posts"] == 21
    first = {**alone, "TWEETDOCK_MASTODON": networks.servers[0].url}
    assert once(networks, tmp_path, **first)["posts"] == 20


def test_a_restart_of_a_mix_reads_no_post_of_x_again(networks: Networks, tmp_path: Path) -> None:
    networks.fill(60)
    first = once(networks, tmp_path)
    read = networks.api.posts_read
    again = once(networks, tmp_path)
    assert split(again) == split(first)
    assert networks.api.posts_read == read


def test_a_spent_budget_stops_reading_and_is_kept_over_a_restart(
    networks: Networks, tmp_path: Path
) -> None:
    networks.fill(450)
    little = {"TWEETDOCK_SOURCES": "x", "TWEETDOCK_X_DAILY_BUDGET_USD": "2"}
    little["TWEETDOCK_WINDOW_SECONDS"] = "3600"
    for _ in range(2):
        reading = once(networks, tmp_path, **little)
        assert reading["grade"] == "partial"
        assert "X's budget for today is spent" in reading["sources"]["x"]["detail"]
        # What was kept back buys a count: how many, but not by whom.
        assert reading["dials"]["tweets"]["count"] == 450
        assert reading["dials"]["tweeters"]["known"] is False
        assert reading["dials"]["tweeters"]["position"] == 0
        assert networks.api.bill(time.strftime("%Y-%m-%d", time.gmtime())).usd <= 2
