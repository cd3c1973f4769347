"""systemd is told how the gauge is, over a real socket: ready, alive, its reading, its end."""

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import standins.pigpiod as standin
from hypothesis import given
from hypothesis import strategies as st
from needs import command_with_lock
from running import Running, command, run, run_here
from standins.systemd import LIMIT, NotifySocket
from test_journal import reading

from tweetdock.show.journal import sentence
from tweetdock.show.systemd import STATUS_SIGNS, Systemd, ping_seconds, status

DEMO = {"TWEETDOCK_SOURCES": "demo"}
EACH_TURN = {"WATCHDOG_USEC": "1000"}  # so impatient that it hears of each turn of the loop
PING_SECONDS = 0.1


@pytest.fixture
def notify_socket(tmp_path: Path) -> Iterator[NotifySocket]:
    with NotifySocket(tmp_path / "notify") as one:
        yield one


def told(notify_socket: NotifySocket, **more: str) -> dict[str, str]:
    return DEMO | {"NOTIFY_SOCKET": notify_socket.name} | more


def test_it_is_ready_with_its_first_reading_alive_at_each_turn_and_says_when_it_ends(
    notify_socket: NotifySocket, tmp_path: Path
) -> None:
    # As systemd does it: the pid is that of the program which is started.
    argv = ["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh", *command()]
    with Running(folder=tmp_path, env=told(notify_socket, **EACH_TURN), argv=argv) as daemon:
        ready, _, status = f"{notify_socket.receive()}".partition("\n")
        assert ready == "READY=1"
        assert status.startswith("STATUS=DEMO, made-up posts: ")
        daemon.wait_for(status.removeprefix("STATUS="))
        notify_socket.receive_until(lambda: notify_socket.count("WATCHDOG=1") >= 2)
        assert notify_socket.count("STOPPING=1") == 0
        assert daemon.stop() == 0
        notify_socket.receive_all()
    assert notify_socket.count("READY=1") == 1
    assert notify_socket.received[-2:] == [
        "STOPPING=1\nSTATUS=stopping, the needles go to rest",
        "STATUS=stopped",
    ]


def test_a_single_reading_and_other_commands_are_no_service(
    notify_socket: NotifySocket, tmp_path: Path
) -> None:
    assert run("--once", folder=tmp_path, env=told(notify_socket, **EACH_TURN)).returncode == 0
    for words in (("--version",), ("face", "--help")):
        assert (
            run_here(*words, folder=tmp_path, env=told(notify_socket, **EACH_TURN)).returncode == 0
        )
    done = run_here("--once", folder=tmp_path, env=told(notify_socket, TWEETDOCK_WEB="nowhere"))
    assert done.returncode == 2
    notify_socket.receive_all()
    assert notify_socket.received == []


def test_wrong_settings_are_told_without_secrets(
    notify_socket: NotifySocket, tmp_path: Path
) -> None:
    env = told(
        notify_socket, TWEETDOCK_WEB="nowhere", TWEETDOCK_POLL="1", X_BEARER_TOKEN="a secret"
    )
    assert run_here(folder=tmp_path, env=env).returncode == 2
    notify_socket.receive_all()
    (words,) = notify_socket.received
    assert words.startswith("STATUS=cannot start with these settings: TWEETDOCK_")
    assert "TWEETDOCK_WEB=nowhere: an IP address and a port" in words
    assert "TWEETDOCK_POLL" in words
    assert "secret" not in words


def test_what_cannot_be_had_is_the_last_that_is_told(
    notify_socket: NotifySocket, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        web = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run(folder=tmp_path, env=told(notify_socket, TWEETDOCK_WEB=web))
    assert done.returncode == 69
    assert f"CRITICAL TWEETDOCK_WEB={web}: another program" in done.stderr
    notify_socket.receive_all()
    assert notify_socket.received[-1].startswith(f"STATUS=cannot go on: TWEETDOCK_WEB={web}: ")


def test_after_a_bug_no_old_reading_stays(notify_socket: NotifySocket, tmp_path: Path) -> None:
    broken = (
        "import sys, tweetdock.sources.demo as demo; demo.posts_in = None\n"
        "from tweetdock.cli import main; sys.exit(main([]))"
    )
    argv = [command()[0], "-c", broken]
    with Running(folder=tmp_path, env=told(notify_socket), argv=argv) as daemon:
        assert daemon.process.wait(LIMIT) == 1
    notify_socket.receive_all()
    assert notify_socket.received[-1] == "STATUS=ended by a bug in TweetDock, see its log"


def test_no_child_can_speak_in_our_name(notify_socket: NotifySocket, tmp_path: Path) -> None:
    log, programs = tmp_path / "log", tmp_path / "programs"
    programs.mkdir()
    standin.install(programs)
    env = told(
        notify_socket,
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
        PIGPIO_PORT=str(standin.free_port()),
        STANDIN_PIGPIOD_LOG=str(log),
        TWEETDOCK_SERVO_BACKEND="pigpio",
        **EACH_TURN,
    )
    argv = command_with_lock(tmp_path / "pigpio.pid")
    with Running(folder=tmp_path, env=env, argv=argv) as daemon:
        daemon.wait_for("started pigpiod")
        (pid,) = [entry["pid"] for entry in standin.read_log(log) if entry["event"] == "start"]
        names = {pair.partition("=")[0] for pair in environ_of(int(str(pid)))}
        assert daemon.stop() == 0
    assert "STANDIN_PIGPIOD_LOG" in names
    assert names.isdisjoint({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})


def environ_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_text().split("\0")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "tweetdock")
    return caplog


def hands(clock: list[float]) -> Callable[[], float]:
    return lambda: clock[0]


def test_a_socket_that_is_full_is_not_waited_for_and_told_what_it_has_missed(
    notify_socket: NotifySocket, log: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, suppress(BlockingIOError):
        while True:
            other.sendto(b"BUSY=1", socket.MSG_DONTWAIT, notify_socket.name)
    clock = [0.0]
    systemd = Systemd(notify_socket.name, PING_SECONDS, hands(clock))
    for count in range(100):
        clock[0] += 1.0
        systemd.note(reading(count))
    assert log.text.count("systemd cannot be told") == 1
    notify_socket.receive_all()
    notify_socket.received.clear()
    systemd.note(reading(100))
    assert notify_socket.receive() == f"READY=1\nSTATUS={sentence(reading(100))}"
    clock[0] += 1.0
    systemd.note(reading(101))
    assert notify_socket.receive() == f"STATUS={sentence(reading(101))}\nWATCHDOG=1"
    assert log.text.count("systemd can be told again") == 1


@pytest.mark.parametrize(("ping", "pings"), [(None, 0), (PING_SECONDS, 20), (10.0, 2)])
def test_a_flood_of_readings_is_told_by_the_second_and_the_watchdog_in_time(
    notify_socket: NotifySocket, ping: float | None, pings: int
) -> None:
    clock = [0.0]
    systemd = Systemd(notify_socket.name, ping, hands(clock))
    for turn in range(2001):
        clock[0] = turn / 1000
        systemd.note(reading(min(1, turn)))
        notify_socket.receive_all()
    assert notify_socket.count("READY=1") == 1
    assert [line for line in notify_socket.lines if line.startswith("STATUS=")] == [
        f"STATUS={sentence(reading(count))}" for count in (0, 1)
    ]
    assert notify_socket.count("WATCHDOG=1") == pytest.approx(pings, abs=1)


def test_a_socket_that_vanishes_and_comes_back_is_told_on(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    name, clock = tmp_path / "notify", [0.0]
    systemd = Systemd(str(name), PING_SECONDS, hands(clock))
    for _ in range(2):
        log.clear()
        with NotifySocket(name) as notify_socket:
            clock[0] += 1.0
            systemd.note(reading())
            notify_socket.receive_all()
        assert notify_socket.received
        for _ in range(3):
            clock[0] += 1.0
            systemd.note(reading())
        assert log.text.count("systemd cannot be told how the gauge is: ") == 1
    assert notify_socket.received == ["WATCHDOG=1"]
    assert log.text.count("systemd can be told again how the gauge is") == 1


@pytest.mark.parametrize(("process", "pings"), [(os.getpid, 1), (os.getppid, 0)])
def test_the_watchdog_of_another_is_not_fed(
    notify_socket: NotifySocket, process: Callable[[], int], pings: int
) -> None:
    env = {
        "NOTIFY_SOCKET": notify_socket.name,
        "WATCHDOG_USEC": "4",
        "WATCHDOG_PID": str(process()),
    }
    systemd = Systemd.from_env(env)
    for _ in range(2):
        systemd.note(reading())
    notify_socket.receive_all()
    assert notify_socket.lines == [
        "READY=1",
        f"STATUS={sentence(reading())}",
        *["WATCHDOG=1"] * pings,
    ]


def test_a_socket_may_be_in_the_abstract() -> None:
    with NotifySocket(f"@tweetdock/{os.getpid()}") as notify_socket:
        Systemd(notify_socket.name).leave("one\nline\x1b")
        assert notify_socket.receive() == "STATUS=one line"


def test_without_a_service_manager_nothing_is_said(log: pytest.LogCaptureFixture) -> None:
    env = {"WATCHDOG_USEC": "1000", "HOME": "/"}
    systemd = Systemd.from_env(env)
    systemd.note(reading())
    systemd.stopping()
    systemd.leave("stopped")
    assert env == {"HOME": "/"}
    assert log.records == []


@pytest.mark.parametrize("where", ["vsock:2:9999", "/" + "long" * 50, "/no/such", "@no\udcff one"])
def test_a_socket_that_cannot_be_spoken_to_is_told_of_once(
    log: pytest.LogCaptureFixture, where: str
) -> None:
    systemd = Systemd.from_env({"NOTIFY_SOCKET": where})
    for count in range(3):
        systemd.note(reading(count))
    (record,) = log.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("systemd cannot be told how the gauge is: ")
    assert "Errno" not in record.getMessage()


@pytest.mark.parametrize(
    ("env", "seconds"),
    [
        ({"WATCHDOG_USEC": "40000000"}, 10.0),
        ({"WATCHDOG_USEC": "40000000", "WATCHDOG_PID": "7"}, 10.0),
        ({"WATCHDOG_USEC": "40000000", "WATCHDOG_PID": ""}, 10.0),
        ({"WATCHDOG_USEC": "40000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "-4"}, None),
        ({"WATCHDOG_USEC": "4e6"}, None),
        ({"WATCHDOG_USEC": "٤٠"}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
        ({"WATCHDOG_PID": "7"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_if_there_is_one_and_it_is_ours(
    env: dict[str, str], seconds: float | None
) -> None:
    assert ping_seconds(env, 7) == seconds


@given(st.text(st.characters(codec=None), max_size=3 * STATUS_SIGNS))
def test_a_status_is_one_line_that_systemd_takes_whatever_others_write(text: str) -> None:
    line = status(text)
    assert line.startswith("STATUS=")
    assert line.isprintable()
    words = f"READY=1\n{line}\nWATCHDOG=1".encode(errors="replace")
    assert len(words) <= 4096
    assert len(words.splitlines()) == 3


def test_of_a_long_status_both_ends_are_kept() -> None:
    """What is counted stands at the beginning, the grade at the end."""
    line = status("#dockercon 412 tweets, " + "x" * 5000 + ", exact")
    assert line.startswith("STATUS=#dockercon 412 tweets, xxx")
    assert line.endswith("xxx, exact")
