"""A pigpiod of our own, with the stand-in as the program on PATH: start, end, lock and errors."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import threading
import time
from typing import TYPE_CHECKING

import pytest
from dials import LIMIT, comes_true
from pigpiod_machine import QUICK, Machine, in_time, machine_in, stop_in_its_tracks
from standins.pigpiod import StandInPigpiod, free_port

import tweetdock.servos.pigpiod
from tweetdock.core.errors import ServoError
from tweetdock.servos.pigpiod import Pigpiod, is_answering, last_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REFUSAL = """2026-11-21 16:51:28 initCheckPermitted:
+---------------------------------------------------------+
|Sorry, you don't have permission to run this program.    |
|Try running as root, e.g. precede the command with sudo. |
+---------------------------------------------------------+


Can't initialise pigpio library"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with machine_in(tmp_path) as machine:
        yield machine


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits for what hangs, shortened."""
    monkeypatch.setattr(tweetdock.servos.pigpiod, "START_SECONDS", 0.3)
    monkeypatch.setattr(tweetdock.servos.pigpiod, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(tweetdock.servos.pigpiod, "HUNG_SECONDS", 0.2)


@contextlib.contextmanager
def server(answer: bytes | None) -> Iterator[int]:
    """A port that takes one connection and gives it an answer, or never one; yields its number."""
    done = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as client:
            if answer is not None:
                client.recv(16)
                client.sendall(answer)
            done.wait(LIMIT)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            done.set()
            thread.join(LIMIT)


def test_a_pigpiod_that_answers_is_answering() -> None:
    with StandInPigpiod() as pigpiod:
        assert is_answering("127.0.0.1", pigpiod.port)
        assert is_answering("localhost", pigpiod.port)
        assert pigpiod.wait_until(lambda: pigpiod.clients == 0)


def test_a_port_where_nobody_listens_is_not_answering() -> None:
    begun = time.monotonic()
    assert not is_answering("127.0.0.1", free_port())
    assert time.monotonic() - begun < QUICK


def test_a_host_without_an_address_is_not_answering() -> None:
    assert not is_answering("no.such.host.invalid", 8888)


def test_an_open_port_that_never_speaks_is_not_answering(impatient: None) -> None:
    begun = time.monotonic()
    with server(None) as port:
        assert not is_answering("127.0.0.1", port)
    assert time.monotonic() - begun < QUICK


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="another language"),
        pytest.param(bytes(16), id="zeros"),
    ],
)
def test_a_server_of_another_kind_is_no_pigpiod(impatient: None, answer: bytes) -> None:
    """8888 is Jupyter's port as well: sixteen bytes of whatever were taken for an answer."""
    with server(answer) as port:
        assert not is_answering("127.0.0.1", port)


def test_pigpiod_is_started_in_the_foreground_for_this_machine_only(machine: Machine) -> None:
    machine.pigpiod.start()
    (start,) = machine.entries("start")
    assert start["argv"] == ["-g", "-f", "-m", "-n", "127.0.0.1", "-p", str(machine.port)]
    assert is_answering("127.0.0.1", machine.port)


def test_a_port_in_the_environment_does_not_lead_pigpiod_astray(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To pigpiod its variable outranks -p, to TweetDock a flag outranks the variable."""
    monkeypatch.setenv("PIGPIO_PORT", str(free_port()))
    machine.pigpiod.start()
    assert machine.entries("start")[0]["port"] == machine.port


def test_ctrl_c_does_not_reach_pigpiod(machine: Machine) -> None:
    machine.pigpiod.start()
    assert os.getsid(machine.pids[0]) != os.getsid(0)


def test_end_asks_pigpiod_to_end(machine: Machine) -> None:
    machine.pigpiod.start()
    machine.pigpiod.end(LIMIT)
    assert machine.entries("stop")
    assert [entry["name"] for entry in machine.entries("signal")] == ["SIGTERM"]
    assert not machine.lock.exists()
    machine.pigpiod.end(LIMIT)


def test_end_waits_no_longer_than_pigpiod_takes(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed by the end of its container it would leave graphics memory lost until a restart."""
    monkeypatch.setenv("STANDIN_PIGPIOD_END_SECONDS", "0.5")
    machine.pigpiod.start()
    in_time(LIMIT, lambda: machine.pigpiod.end(3 * LIMIT))
    assert machine.entries("stop")
    assert len(machine.entries("signal")) == 1


def test_end_before_any_start_is_no_trouble_and_the_last_word(machine: Machine) -> None:
    """A thread that is still looking for one must not start it when nobody is left to end it."""
    machine.pigpiod.end(LIMIT)
    with pytest.raises(ServoError, match="no pigpiod is started any more"):
        machine.pigpiod.start()
    assert machine.pids == []


def test_end_waits_only_so_long_and_once_for_a_pigpiod_that_hangs(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.pigpiod.start()
    stop_in_its_tracks(machine.pids[0])
    in_time(3.0, lambda: machine.pigpiod.end(0.2))
    in_time(3.0, lambda: machine.pigpiod.end(3 * LIMIT))
    (record,) = caplog.records
    assert record.getMessage().startswith("pigpiod has not ended in 0.2 seconds; ")


def test_it_takes_no_disk_to_start_pigpiod(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a card that is full or read-only, it was told that no pigpiod answers."""
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    machine.pigpiod.start()
    assert is_answering("127.0.0.1", machine.port)
    machine.pigpiod.end(LIMIT)
    monkeypatch.setenv("STANDIN_PIGPIOD_REFUSE", "a reason")
    with pytest.raises(ServoError, match=r"pigpiod ended at once: a reason$"):
        Pigpiod(free_port()).start()


def test_nothing_of_ours_is_handed_to_pigpiod(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = ("X_BEARER_TOKEN", "TWEETDOCK_WEB", "NOTIFY_SOCKET", "WATCHDOG_USEC", "AWS_PROFILE")
    for name in ours:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TZ", "UTC")
    machine.pigpiod.start()
    names = machine.entries("start")[0]["env"]
    assert isinstance(names, list)
    assert not set(ours) & set(names)
    assert {"PATH", "TZ", "PIGPIO_PORT"} <= set(names)


def test_more_options_are_given_to_pigpiod_last(machine: Machine) -> None:
    machine.pigpiod = Pigpiod(machine.port, ("-t", "0", "-s", "10"))
    machine.pigpiod.start()
    argv = machine.entries("start")[0]["argv"]
    assert isinstance(argv, list)
    assert argv[-6:] == ["-p", str(machine.port), "-t", "0", "-s", "10"]


def test_what_pigpiod_says_when_it_refuses_is_handed_on_with_a_cure(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_PIGPIOD_REFUSE", REFUSAL)
    begun = time.monotonic()
    with pytest.raises(ServoError) as caught:
        machine.pigpiod.start()
    assert time.monotonic() - begun < 3.0
    assert str(caught.value).startswith(
        "pigpiod ended at once: Sorry, you don't have permission to run this program; in a "
        "container it takes --privileged; "
    )
    monkeypatch.delenv("STANDIN_PIGPIOD_REFUSE")
    machine.pigpiod.start()
    assert is_answering("127.0.0.1", machine.port)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 1", "it did not say why"),
        ("kill -SEGV $$", "it did not say why; signal 11, Segmentation fault"),
    ],
)
def test_a_pigpiod_that_ends_without_a_word_is_told_of(
    machine: Machine, script: str, reason: str
) -> None:
    machine.program(script)
    with pytest.raises(ServoError) as caught:
        machine.pigpiod.start()
    assert str(caught.value) == f"pigpiod ended at once: {reason}"


def test_a_pigpiod_made_for_another_machine_is_told_of(machine: Machine) -> None:
    (machine.bin / "pigpiod").write_bytes(b"\x7fELF of another kind")
    servos = machine.servos()
    with pytest.raises(ServoError, match="bin/pigpiod cannot be run: Exec format error"):
        servos.connect()


def test_a_pigpiod_that_never_answers_is_ended_again(machine: Machine, impatient: None) -> None:
    machine.program("exec sleep 60")
    with pytest.raises(ServoError, match=f"does not answer at 127.0.0.1:{machine.port}"):
        machine.pigpiod.start()
    assert machine.pigpiod._child is None


def test_a_port_that_is_taken_is_told_of(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tweetdock.servos.pigpiod, "PROBE_SECONDS", 0.2)
    complaint = r"failed \(Address already in use\); another program has this port: set PIGPIO_PORT"
    with (
        socket.create_server(("127.0.0.1", machine.port)),
        pytest.raises(ServoError, match=complaint),
    ):
        machine.servos().connect()


def test_a_missing_program_is_told_of_with_a_way_out(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine.bin / "pigpiod").unlink()
    monkeypatch.setenv("PATH", str(machine.bin))
    servos = machine.servos()
    with pytest.raises(ServoError) as caught:
        servos.connect()
    assert "not installed" in str(caught.value)
    assert "TWEETDOCK_SERVO_BACKEND=lgpio" in str(caught.value)
    servos.close()
    servos.end()


@pytest.mark.parametrize("text", ["", "rubbish", "-1", "999999999", "4194304\n"])
def test_a_lock_that_a_dead_pigpiod_left_is_removed(machine: Machine, text: str) -> None:
    machine.lock.write_text(text)
    machine.pigpiod.start()
    assert machine.lock.read_text() == f"{machine.pids[0]}\n"


def test_a_lock_with_the_pid_of_another_program_is_removed(machine: Machine) -> None:
    """In a container the pid of a killed pigpiod is soon taken, even by TweetDock itself."""
    machine.lock.write_text(f"{os.getpid()}\n")
    machine.pigpiod.start()
    assert machine.lock.read_text() == f"{machine.pids[0]}\n"


def test_a_lock_with_the_number_of_a_thread_is_removed(machine: Machine) -> None:
    """To pigpiod, which asks by a signal 0, it is a program that lives."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait, args=(LIMIT,))
    thread.start()
    try:
        machine.lock.write_text(f"{thread.native_id}\n")
        machine.pigpiod.start()
        assert machine.lock.read_text() == f"{machine.pids[0]}\n"
    finally:
        done.set()
        thread.join(LIMIT)


def test_the_lock_of_a_killed_pigpiod_is_removed(machine: Machine) -> None:
    machine.pigpiod.start()
    os.kill(machine.pids[0], signal.SIGKILL)
    assert comes_true(lambda: not is_answering("127.0.0.1", machine.port))
    assert machine.lock.exists()
    machine.pigpiod.start()
    assert machine.lock.read_text() == f"{machine.pids[1]}\n"


def test_a_lock_that_cannot_be_made_is_not_blamed_on_another_pigpiod_alone(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by docker run --read-only: nobody holds it, and pigpiod itself tells of it."""
    lock = machine.lock.parent / "nowhere" / "pigpio.pid"
    monkeypatch.setenv("STANDIN_PIGPIOD_LOCK", str(lock))
    monkeypatch.setattr(tweetdock.servos.pigpiod, "LOCK", lock)
    complaint = f"pigpiod ended at once: Can't lock {lock}; nothing can be written there"
    with pytest.raises(ServoError, match=complaint):
        machine.pigpiod.start()


def test_beside_a_living_pigpiod_none_is_started(machine: Machine) -> None:
    """Its pid may be unknown here, if it runs in another container: pigpiod starts beside it."""
    other = Pigpiod(free_port())
    other.start()
    try:
        machine.lock.write_text("999999999\n")
        with pytest.raises(ServoError, match="another pigpiod holds the pins"):
            machine.pigpiod.start()
        assert len(machine.pids) == 1
        assert machine.lock.read_text() == "999999999\n"
    finally:
        other.end(LIMIT)


def stamped(function: str, words: str) -> str:
    """What pigpio says at its end, as the macro DO_DBG in pigpio.c writes it."""
    return f"2026-11-21 16:51:28 {function}: {words}\nCan't initialise pigpio library\n"


NO_PI = REFUSAL.replace(
    "you don't have permission to run this program.    ",
    "this system does not appear to be a raspberry pi. ",
)
BIND = "bind to port 8888 failed (Address already in use)"
USAGE = "\npigpio V79\nUsage: sudo pigpiod [OPTION] ...\n" + "   -a value,   DMA mode\n" * 20


@pytest.mark.parametrize(
    ("said", "begins", "names"),
    [
        (NO_PI, "Sorry, this system does not appear to be a raspberry pi; ", "BACKEND=lgpio"),
        (REFUSAL, "Sorry, you don't have permission to run this program; ", "systemctl enable"),
        (
            stamped("initInitialise", "Can't lock /var/run/pigpio.pid"),
            "Can't lock /var/run/pigpio.pid; nothing can be written there (docker run --read-only",
            "another pigpiod was quicker",
        ),
        (stamped("initInitialise", BIND), f"{BIND}; another program has", "set PIGPIO_PORT"),
    ],
    ids=["a Pi 5", "not root", "a lock that cannot be had", "a port that is taken"],
)
def test_what_has_a_cure_is_told_with_it(said: str, begins: str, names: str) -> None:
    what, cure = last_words(said)
    assert f"{what}; {cure}".startswith(begins)
    assert names in cure
    assert what.isprintable()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("a first line\nthe last\n\n", "the last"),
        (stamped("initMboxBlock", "init mbox zaps failed"), "init mbox zaps failed"),
        (f"pigpiod: invalid option -- 'q'\n{USAGE}", "pigpiod: invalid option -- 'q'"),
        ("invalid -e option (15)\n", "invalid -e option (15)"),
        ("\033[31mred\0\r\n", "[31mred"),
        ("", ""),
        ("\n\n", ""),
        ("+---+\n|  |\n+---+\n", ""),
    ],
)
def test_else_its_last_line_is_told_as_it_is_whatever_time_is_stamped_on_it(
    said: str, told: str
) -> None:
    """Each try was another trouble to the log, by the second in it: one line every ten seconds."""
    assert last_words(said) == (told, "")
