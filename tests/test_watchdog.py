"""The watchdog is fed by the loop itself: not a word while it is stuck, whatever else goes on."""

import json
import os
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from running import command, environment
from standins.pigpiod import free_port
from standins.systemd import LIMIT, NotifySocket

import tweetdock.counting
from tweetdock.daemon import Daemon
from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board
from tweetdock.show.systemd import Systemd
from tweetdock.threads import Crash, WatchedThread

DEMO = {"TWEETDOCK_SOURCES": "demo"}
PING_SECONDS = 0.1
STUCK_SECONDS = 60.0  # by then the demo has long had a line for the log


@pytest.fixture
def notify_socket(tmp_path: Path) -> Iterator[NotifySocket]:
    with NotifySocket(tmp_path / "notify") as one:
        yield one


def another(end: int, way: int) -> int:
    """The same end of a pipe, not waiting: whoever has the first one waits as before."""
    return os.open(f"/proc/self/fd/{end}", way | os.O_NONBLOCK)


def fill(end: int) -> None:
    """Write into a pipe until nothing goes in any more."""
    mine = another(end, os.O_WRONLY)
    with closed(mine):
        for size in (4096, 1):
            with suppress(BlockingIOError):
                while True:
                    os.write(mine, b"\n" * size)


def empty(end: int) -> None:
    """Read from a pipe what is in it."""
    mine = another(end, os.O_RDONLY)
    with closed(mine), suppress(BlockingIOError):
        while True:
            os.read(mine, 65536)


@contextmanager
def closed(*ends: int) -> Iterator[None]:
    """Close them afterwards."""
    try:
        yield
    finally:
        for end in ends:
            os.close(end)


@contextmanager
def ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """End it afterwards, whatever it does."""
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.thorough
def test_a_loop_that_is_stuck_is_not_alive_though_all_else_is(
    notify_socket: NotifySocket, tmp_path: Path
) -> None:
    """As by a log that nobody reads any more: the page goes on as if all was well."""
    port = free_port()
    env = DEMO | {"TWEETDOCK_WEB": f"127.0.0.1:{port}"}
    env |= {"NOTIFY_SOCKET": notify_socket.name, "WATCHDOG_USEC": "1000"}
    ours, its = os.pipe()
    process = subprocess.Popen(command(), cwd=tmp_path, env=environment(tmp_path, env), stderr=its)
    with closed(ours, its), ended(process):
        notify_socket.receive_until(lambda: notify_socket.count("WATCHDOG=1") >= 1)
        fill(its)
        # It turns each second, until it has the next line for the log.
        notify_socket.receive_until_silent(3.0, limit=STUCK_SECONDS)
        assert process.poll() is None
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/reading", timeout=10) as page:
            assert json.load(page)["demo"]
        pings = notify_socket.count("WATCHDOG=1")
        empty(ours)
        notify_socket.receive_until(lambda: notify_socket.count("WATCHDOG=1") > pings)
        process.terminate()
        assert process.wait(LIMIT) == 0


class Gauge:
    """A gauge in this process, whose loop can be held up."""

    def __init__(self, folder: Path, systemd: Systemd) -> None:
        env = DEMO | {"TWEETDOCK_STATE_DIR": str(folder), "TWEETDOCK_WEB": "off"}
        self._settings = Settings.from_env(env)
        self._systemd = systemd
        self._stopping = threading.Event()
        self._free, self._held = threading.Event(), threading.Event()
        self._free.set()
        self.board: Board | None = None
        self._crashes: list[Crash] = []
        self._thread = WatchedThread("gauge", self._work, self._crashes.append)

    def _work(self) -> None:
        with Daemon(self._settings, self._stopping, threading.Event()) as daemon:
            daemon.run(self._look, self._systemd)

    def _look(self, board: Board) -> None:
        self.board = board
        if not self._free.is_set():
            self._held.set()
            assert self._free.wait(LIMIT)

    def hold(self) -> None:
        self._free.clear()
        assert self._held.wait(LIMIT)

    def let_go(self) -> None:
        self._free.set()

    def stop(self) -> None:
        self._free.set()
        self._stopping.set()
        assert self._thread.join(LIMIT)
        assert self._crashes == []


def test_a_loop_that_is_held_up_says_nothing_until_it_is_free(
    notify_socket: NotifySocket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tweetdock.counting, "READ_SECONDS", PING_SECONDS / 4)
    gauge = Gauge(tmp_path, Systemd(notify_socket.name, PING_SECONDS))
    try:
        notify_socket.receive_until(lambda: notify_socket.count("WATCHDOG=1") >= 3)
        gauge.hold()
        notify_socket.receive_all()
        assert notify_socket.receive(10 * PING_SECONDS) is None
        assert gauge.board is not None
        threads = gauge.board.health.threads()
        assert set(threads.values()) == {True}
        assert any("demo" in name for name in threads)
        pings = notify_socket.count("WATCHDOG=1")
        gauge.let_go()
        notify_socket.receive_until(lambda: notify_socket.count("WATCHDOG=1") >= pings + 3)
        assert notify_socket.count("READY=1") == 1
    finally:
        gauge.stop()
    notify_socket.receive_all()
    assert notify_socket.received[-1].startswith("STOPPING=1")
