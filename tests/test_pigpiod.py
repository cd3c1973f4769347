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
from tweetdock.servos.pigpiod import Pigpiod, explained, is_answering

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
    machine.pigpiod.end()
    assert not machine.entries("stop")
    in_time(LIMIT, lambda: machine.pigpiod.end(3 * LIMIT))
    assert machine.entries("stop")
    assert len(machine.entries("signal")) == 1


def test_end_before_any_start_is_no_trouble_and_the_last_word(machine: Machine) -> None:
    """A thread that is still looking for one must not start it when nobody is left to end it."""
    machine.pigpiod.end()
    with pytest.raises(ServoError, match="no pigpiod is started any more"):
        machine.pigpiod.start()
    assert machine.pids == []


def test_end_waits_only_so_long_and_once_for_a_pigpiod_that_hangs(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.pigpiod.start()
    stop_in_its_tracks(machine.pids[0])
    in_time(3.0, machine.pigpiod.end)
    assert not caplog.records
    in_time(3.0, lambda: machine.pigpiod.end(0.2))
    machine.pigpiod.end(3 * LIMIT)
    (record,) = caplog.records
    assert record.getMessage().startswith("pigpiod has not ended in 0.2 seconds; ")


def test_it_takes_no_disk_to_start_pigpiod(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a card that is full or read-only, it was told that no pigpiod answers."""
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    machine.pigpiod.start()
    assert is_answering("127.0.0.1", machine.port)
    monkeypatch.setenv("STANDIN_PIGPIOD_REFUSE", "a reason")
    with pytest.raises(ServoError, match=r"pigpiod ended at once: a reason$"):
        Pigpiod(free_port(), machine.lock.with_name("another")).start()


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
    machine.pigpiod = Pigpiod(machine.port, machine.lock, ("-t", "0", "-s", "10"))
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
        "pigpiod ended at once: Sorry, you don't have permission to run this program. Try running "
        "as root, e.g. precede the command with sudo; in a container it takes --privileged; "
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


def test_a_folder_in_the_place_of_the_lock_is_told_of(machine: Machine) -> None:
    """Docker makes a folder of a file that is to be mounted and is not there."""
    machine.lock.mkdir()
    with pytest.raises(ServoError) as caught:
        machine.pigpiod.start()
    assert str(caught.value).startswith(
        f"pigpiod is not started: {machine.lock} is a folder, where pigpiod needs a file: "
        f"remove it (sudo rmdir {machine.lock}), or do not mount it"
    )
    assert machine.pids == []
    machine.lock.rmdir()
    machine.pigpiod.start()


def test_a_lock_that_cannot_be_made_is_not_blamed_on_another_pigpiod_alone(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by docker run --read-only: nobody holds it, and pigpiod itself tells of it."""
    lock = machine.lock.parent / "nowhere" / "pigpio.pid"
    monkeypatch.setenv("STANDIN_PIGPIOD_LOCK", str(lock))
    complaint = f"pigpiod ended at once: Can't lock {lock}; nothing can be written there"
    with pytest.raises(ServoError, match=complaint):
        Pigpiod(machine.port, lock).start()


def test_beside_a_living_pigpiod_none_is_started(machine: Machine) -> None:
    """Its pid may be unknown here, if it runs in another container: pigpiod starts beside it."""
    other = Pigpiod(free_port(), machine.lock)
    other.start()
    try:
        machine.lock.write_text("999999999\n")
        with pytest.raises(ServoError, match=f"Can't lock {machine.lock}; another pigpiod holds"):
            machine.pigpiod.start()
        assert len(machine.pids) == 1
        assert machine.lock.read_text() == "999999999\n"
    finally:
        other.end(LIMIT)


LAST = "Can't initialise pigpio library\n"


def stamped(function: str, words: str, second: int = 0) -> str:
    """A line of pigpio's, as the macro DO_DBG in pigpio.c writes it."""
    return f"2026-11-21 16:51:{second:02} {function}: {words}\n"


def boxed(first: str, second: str) -> str:
    """As initCheckPermitted in pigpio.c draws it."""
    line = "+" + "-" * 57 + "+"
    return f"\n{line}\n|{first:57}|\n|{second:57}|\n{line}\n\n"


NO_PI = boxed("Sorry, this system does not appear to be a raspberry pi. ", "aborting.")
NO_ROOT = boxed(
    "Sorry, you don't have permission to run this program.",
    "Try running as root, e.g. precede the command with sudo.",
)
CASES: dict[str, tuple[str, str, str]] = {
    "a Pi 5": (
        stamped("gpioHardwareRevision", "unknown rev code (d04170)")
        + stamped("initCheckPermitted", NO_PI),
        (
            "unknown rev code (d04170); Sorry, this system does not appear to be a raspberry pi. "
            "aborting; pigpio knows the Pi Zero to 4 only"
        ),
        "on a Pi 5 set TWEETDOCK_SERVO_BACKEND=lgpio",
    ),
    "not root": (
        stamped("initCheckPermitted", NO_ROOT),
        (
            "Sorry, you don't have permission to run this program. Try running as root, e.g. "
            "precede the command with sudo; in a container it takes --privileged"
        ),
        "sudo systemctl enable --now pigpiod",
    ),
    "a lock that cannot be had": (
        stamped("initInitialise", "Can't lock /var/run/pigpio.pid"),
        "Can't lock /var/run/pigpio.pid; nothing can be written there (docker run --read-only",
        "another pigpiod was quicker",
    ),
    "no memory to lock": (
        stamped("initDMAblock", "mmap dma block 3 failed (Resource temporarily unavailable)"),
        "mmap dma block 3 failed (Resource temporarily unavailable); it may not lock as much",
        "--ulimit memlock=-1",
    ),
    "no such address": (
        stamped("initInitialise", "bind to port 8888 failed (Cannot assign requested address)"),
        "bind to port 8888 failed (Cannot assign requested address); it wants an address that",
        "`ip address show lo`",
    ),
    "a closed folder of devices": (
        "chmod /dev/pigerr failed (No such file or directory)\n",
        "chmod /dev/pigerr failed (No such file or directory); it makes a pipe there",
        "let /dev be writable",
    ),
    "a closed kernel": (
        stamped("initPeripherals", "mmap gpio failed (Operation not permitted)"),
        "mmap gpio failed (Operation not permitted); this kernel keeps the Pi's memory closed",
        "set TWEETDOCK_SERVO_BACKEND=lgpio",
    ),
    "a closed kernel, later on": (
        stamped("initPeripherals", "mmap dma failed (Operation not permitted)"),
        "mmap dma failed (Operation not permitted); this kernel keeps the Pi's memory closed",
        "iomem=relaxed",
    ),
    "no mailbox": (
        stamped("initAllocDMAMem", "mbox open failed(No such file or directory)"),
        "mbox open failed(No such file or directory); there is no /dev/vcio here",
        "--privileged",
    ),
    "no graphics memory": (
        stamped("initMboxBlock", "init mbox zaps failed"),
        "init mbox zaps failed; the graphics memory that it needs is used up",
        "restart the Pi",
    ),
    "no page map": (
        stamped("initZaps", "read pagemap failed (Operation not permitted)"),
        "read pagemap failed (Operation not permitted); leave -a 1",
        "TWEETDOCK_PIGPIOD_OPTIONS",
    ),
    "a port that is taken": (
        stamped("initInitialise", "bind to port 8888 failed (Address already in use)"),
        "bind to port 8888 failed (Address already in use); another program has this port",
        "set PIGPIO_PORT",
    ),
}


@pytest.mark.parametrize(("said", "begins", "names"), CASES.values(), ids=CASES)
def test_what_it_says_is_told_in_a_line_and_with_a_cure(said: str, begins: str, names: str) -> None:
    found = explained(said + LAST)
    assert found.startswith(begins)
    assert names in found
    assert "+--" not in found
    assert "|" not in found
    assert found.isprintable()
    assert LAST.strip() not in found


@pytest.mark.parametrize("said", [said for said, *_ in CASES.values()], ids=CASES)
def test_the_same_trouble_is_the_same_words_at_any_time(said: str) -> None:
    """Each try was another trouble to the log, by the second in it: one line every ten seconds."""
    assert explained(said) == explained(said.replace("16:51", "17:03"))


USAGE = "\npigpio V79\nUsage: sudo pigpiod [OPTION] ...\n" + "   -a value,   DMA mode\n" * 20


def test_an_option_that_it_does_not_take_is_told_by_the_setting() -> None:
    found = explained("invalid -e option (15)\n")
    assert found.startswith("invalid -e option (15); ")
    assert "TWEETDOCK_PIGPIOD_OPTIONS" in found
    assert "1024 to 32000" in explained("invalid -p option (40000)\n")
    found = explained(f"pigpiod: invalid option -- 'q'\n{USAGE}")
    setting = "this pigpiod does not know one of TWEETDOCK_PIGPIOD_OPTIONS"
    assert found == f"pigpiod: invalid option -- 'q'; {setting}"
    assert explained(USAGE) == setting


@pytest.mark.parametrize(
    "said", ["invalid -n option (127.0.0.1)\n", f"pigpiod: invalid option -- 'n'\n{USAGE}"]
)
def test_an_option_of_our_own_is_not_blamed_on_the_setting(said: str) -> None:
    found = explained(said)
    assert "; that is TweetDock's own word" in found
    assert "TWEETDOCK_PIGPIOD_OPTIONS" not in found


def test_of_a_long_story_both_ends_are_told() -> None:
    story = "; ".join(f"trouble {number}" for number in range(100))
    found = explained(story)
    assert found.startswith("trouble 0; trouble 1; ")
    assert found.endswith("; trouble 98; trouble 99")
    assert " ... " in found
    assert len(found) < 320


def test_other_words_are_told_as_they_are() -> None:
    words = "error while loading shared libraries: libpigpio.so.1: cannot open"
    assert explained(f"{words}\n") == words
    assert explained(f"\033[31m{words}\0\r\n") == f"[31m{words}"
    assert explained(LAST) == LAST.strip()


@pytest.mark.parametrize("said", ["", "\n\n", "+---+\n|  |\n+---+\n"])
def test_nothing_said_is_nothing_told(said: str) -> None:
    assert explained(said) == ""
