"""Minding a pigpiod of our own: the stand-in as the program `pigpiod` on PATH."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from dials import LIMIT, TWEETS, comes_true, dials
from needs import with_ipv6
from standins.pigpiod import StandInPigpiod, free_port, install, read_log

import tweetdock.servos.pigpiod
from tweetdock.errors import ServoError
from tweetdock.servos.hand import Geometry
from tweetdock.servos.pigpio import PigpioServos
from tweetdock.servos.pigpiod import Pigpiod, is_answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUICK = 0.5
REFUSAL = """2026-11-21 16:51:28 initCheckPermitted:
+---------------------------------------------------------+
|Sorry, you don't have permission to run this program.    |
|Try running as root, e.g. precede the command with sudo. |
+---------------------------------------------------------+


Can't initialise pigpio library"""


class Place:
    """A machine with the program installed: its log, its lock and our pigpiod on it."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.log, self.lock = folder / "bin", folder / "log", folder / "pigpio.pid"
        self.bin.mkdir()
        install(self.bin)
        self.port = free_port()
        self.pigpiod = Pigpiod(self.port, self.lock)

    def entries(self, event: str) -> list[dict[str, object]]:
        return [entry for entry in read_log(self.log) if entry.get("event") == event]

    @property
    def pids(self) -> list[int]:
        """Every pigpiod that was started here so far, by its pid."""
        return [int(str(entry["pid"])) for entry in self.entries("start")]

    def servos(self) -> PigpioServos:
        """Servos that start this place's pigpiod themselves."""
        servos = PigpioServos(dials(), "", self.port)
        servos._daemon = self.pigpiod  # one that knows this place's lock
        return servos


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Nothing that was started here outlives the test."""
    place = Place(tmp_path)
    monkeypatch.setenv("PATH", str(place.bin), prepend=os.pathsep)
    monkeypatch.setenv("STANDIN_PIGPIOD_LOG", str(place.log))
    monkeypatch.setenv("STANDIN_PIGPIOD_LOCK", str(place.lock))
    for name in ("PIGPIO_PORT", "PIGPIO_ADDR", "STANDIN_PIGPIOD_REFUSE"):
        monkeypatch.delenv(name, raising=False)
    yield place
    child = place.pigpiod._child
    if child is not None:
        child.kill()
        child.wait(LIMIT)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits for what hangs, shortened."""
    monkeypatch.setattr(tweetdock.servos.pigpiod, "START_SECONDS", 0.3)
    monkeypatch.setattr(tweetdock.servos.pigpiod, "ANSWER_SECONDS", 0.2)
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


def program(place: Place, script: str) -> None:
    """Put a shell script in the place of pigpiod."""
    (place.bin / "pigpiod").write_text(f"#!/bin/sh\n{script}\n")


def stop_in_its_tracks(pid: int) -> None:
    """SIGSTOP, and wait until it has taken hold."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)


def in_time(limit: float, call: Callable[[], None]) -> None:
    begun = time.monotonic()
    call()
    assert time.monotonic() - begun < limit


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


def test_pigpiod_is_started_in_the_foreground_for_this_machine_only(place: Place) -> None:
    place.pigpiod.start()
    (start,) = place.entries("start")
    assert start["argv"] == ["-g", "-f", "-m", "-n", "127.0.0.1", "-p", str(place.port)]
    assert is_answering("127.0.0.1", place.port)


def test_a_port_in_the_environment_does_not_lead_pigpiod_astray(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To pigpiod its variable outranks -p, to TweetDock a flag outranks the variable."""
    monkeypatch.setenv("PIGPIO_PORT", str(free_port()))
    place.pigpiod.start()
    assert place.entries("start")[0]["port"] == place.port


def test_ctrl_c_does_not_reach_pigpiod(place: Place) -> None:
    place.pigpiod.start()
    assert os.getsid(place.pids[0]) != os.getsid(0)


def test_end_asks_pigpiod_to_end(place: Place) -> None:
    place.pigpiod.start()
    place.pigpiod.end(LIMIT)
    assert place.entries("stop")
    assert [entry["name"] for entry in place.entries("signal")] == ["SIGTERM"]
    assert not place.lock.exists()
    place.pigpiod.end(LIMIT)


def test_end_waits_no_longer_than_pigpiod_takes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed by the end of its container it would leave graphics memory lost until a restart."""
    monkeypatch.setenv("STANDIN_PIGPIOD_END_SECONDS", "0.5")
    place.pigpiod.start()
    place.pigpiod.end()
    assert not place.entries("stop")
    in_time(LIMIT, lambda: place.pigpiod.end(3 * LIMIT))
    assert place.entries("stop")
    assert len(place.entries("signal")) == 1


def test_end_before_any_start_is_no_trouble_and_the_last_word(place: Place) -> None:
    """A thread that is still looking for one must not start it when nobody is left to end it."""
    place.pigpiod.end()
    with pytest.raises(ServoError, match="no pigpiod is started any more"):
        place.pigpiod.start()
    assert place.pids == []


def test_end_waits_only_so_long_for_a_pigpiod_that_hangs(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.pigpiod.start()
    stop_in_its_tracks(place.pids[0])
    in_time(0.3, place.pigpiod.end)
    assert not caplog.records
    in_time(0.6, lambda: place.pigpiod.end(0.2))
    (record,) = caplog.records
    assert record.getMessage().startswith("pigpiod has not ended in 0.2 seconds; ")


def test_nothing_of_ours_is_handed_to_pigpiod(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = ("X_BEARER_TOKEN", "TWEETDOCK_WEB", "NOTIFY_SOCKET", "WATCHDOG_USEC", "AWS_PROFILE")
    for name in ours:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TZ", "UTC")
    place.pigpiod.start()
    names = place.entries("start")[0]["env"]
    assert isinstance(names, list)
    assert not set(ours) & set(names)
    assert {"PATH", "TZ", "PIGPIO_PORT"} <= set(names)


def test_more_options_are_given_to_pigpiod_last(place: Place) -> None:
    place.pigpiod = Pigpiod(place.port, place.lock, ("-t", "0", "-s", "10"))
    place.pigpiod.start()
    argv = place.entries("start")[0]["argv"]
    assert isinstance(argv, list)
    assert argv[-6:] == ["-p", str(place.port), "-t", "0", "-s", "10"]


@pytest.mark.parametrize("text", ["", "rubbish", "-1", "999999999", "4194304\n"])
def test_a_lock_that_a_dead_pigpiod_left_is_removed(place: Place, text: str) -> None:
    place.lock.write_text(text)
    place.pigpiod.start()
    assert place.lock.read_text() == f"{place.pids[0]}\n"


def test_a_lock_with_the_pid_of_another_program_is_removed(place: Place) -> None:
    """In a container the pid of a killed pigpiod is soon taken, even by TweetDock itself."""
    place.lock.write_text(f"{os.getpid()}\n")
    place.pigpiod.start()
    assert place.lock.read_text() == f"{place.pids[0]}\n"


def test_a_lock_with_the_number_of_a_thread_is_removed(place: Place) -> None:
    """To pigpiod, which asks by a signal 0, it is a program that lives."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait, args=(LIMIT,))
    thread.start()
    try:
        place.lock.write_text(f"{thread.native_id}\n")
        place.pigpiod.start()
        assert place.lock.read_text() == f"{place.pids[0]}\n"
    finally:
        done.set()
        thread.join(LIMIT)


def test_the_lock_of_a_killed_pigpiod_is_removed(place: Place) -> None:
    place.pigpiod.start()
    os.kill(place.pids[0], signal.SIGKILL)
    assert comes_true(lambda: not is_answering("127.0.0.1", place.port))
    assert place.lock.exists()
    place.pigpiod.start()
    assert place.lock.read_text() == f"{place.pids[1]}\n"


def test_what_stands_in_the_place_of_the_lock_is_told_of(place: Place) -> None:
    """Docker makes a folder of a file that is to be mounted and is not there."""
    place.lock.mkdir()
    with pytest.raises(ServoError, match=f"Can't lock {place.lock}; another pigpiod"):
        place.pigpiod.start()


def test_beside_a_living_pigpiod_none_is_started(place: Place) -> None:
    """Its pid may be unknown here, if it runs in another container: pigpiod starts beside it."""
    other = Pigpiod(free_port(), place.lock)
    other.start()
    try:
        place.lock.write_text("999999999\n")
        with pytest.raises(ServoError, match=f"Can't lock {place.lock}; another pigpiod holds"):
            place.pigpiod.start()
        assert len(place.pids) == 1
        assert place.lock.read_text() == "999999999\n"
    finally:
        other.end(LIMIT)


def test_what_pigpiod_says_when_it_refuses_is_handed_on_with_a_cure(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_PIGPIOD_REFUSE", REFUSAL)
    begun = time.monotonic()
    with pytest.raises(ServoError) as caught:
        place.pigpiod.start()
    assert time.monotonic() - begun < 3.0
    assert str(caught.value).startswith(
        "pigpiod ended at once: Sorry, you don't have permission to run this program. Try running "
        "as root, e.g. precede the command with sudo; in a container it takes --privileged; "
    )
    monkeypatch.delenv("STANDIN_PIGPIOD_REFUSE")
    place.pigpiod.start()
    assert is_answering("127.0.0.1", place.port)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 1", "it did not say why"),
        ("kill -SEGV $$", "it did not say why; signal 11, Segmentation fault"),
    ],
)
def test_a_pigpiod_that_ends_without_a_word_is_told_of(
    place: Place, script: str, reason: str
) -> None:
    program(place, script)
    with pytest.raises(ServoError) as caught:
        place.pigpiod.start()
    assert str(caught.value) == f"pigpiod ended at once: {reason}"


def test_a_pigpiod_made_for_another_machine_is_told_of(place: Place) -> None:
    (place.bin / "pigpiod").write_bytes(b"\x7fELF of another kind")
    servos = place.servos()
    with pytest.raises(ServoError, match="bin/pigpiod cannot be run: Exec format error"):
        servos.connect()


def test_a_pigpiod_that_never_answers_is_ended_again(place: Place, impatient: None) -> None:
    program(place, "exec sleep 60")
    with pytest.raises(ServoError, match=f"does not answer at 127.0.0.1:{place.port}"):
        place.pigpiod.start()
    assert place.pigpiod._child is None


def test_a_port_that_is_taken_is_told_of(place: Place, impatient: None) -> None:
    complaint = r"failed \(Address already in use\); another program has this port: set PIGPIO_PORT"
    with (
        socket.create_server(("127.0.0.1", place.port)),
        pytest.raises(ServoError, match=complaint),
    ):
        place.servos().connect()


def test_a_missing_program_is_told_of_with_a_way_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.bin / "pigpiod").unlink()
    monkeypatch.setenv("PATH", str(place.bin))
    servos = place.servos()
    with pytest.raises(ServoError) as caught:
        servos.connect()
    assert "not installed" in str(caught.value)
    assert "TWEETDOCK_SERVO_BACKEND=lgpio" in str(caught.value)
    servos.close()
    servos.end()


def test_servos_start_a_pigpiod_and_end_it(place: Place) -> None:
    servos = place.servos()
    servos.connect()
    servos.point(0, 90)
    servos.rest(0)
    servos.close()
    servos.end(LIMIT)
    assert place.entries("stop")
    assert len(place.pids) == 1
    pulses = [(entry["gpio"], entry["us"]) for entry in read_log(place.log) if "us" in entry]
    assert pulses == [(TWEETS, 1500.0), (TWEETS, 0.0)]


def test_servos_use_a_pigpiod_that_runs_already(place: Place) -> None:
    with StandInPigpiod(place.port) as running:
        servos = place.servos()
        servos.connect()
        servos.point(0, 90)
        assert running.pulse_us(TWEETS) == 1500
        servos.close()
        servos.end()
    assert place.pids == []


@with_ipv6
def test_servos_use_the_pigpiod_of_the_system_which_listens_at_ipv6_only(place: Place) -> None:
    """Raspberry Pi OS runs `pigpiod -l`: a second one met "Can't lock /var/run/pigpio.pid"."""
    with StandInPigpiod(place.port, address="::1") as running:
        servos = place.servos()
        servos.connect()
        servos.point(0, 90)
        assert running.pulse_us(TWEETS) == 1500
        running.drop()
        with pytest.raises(ServoError, match=rf"no pigpiod answers at \[::1\]:{place.port}$"):
            servos.check()
        servos.close()
        servos.connect()
        servos.point(0, 45)
        assert running.pulse_us(TWEETS) == 1250
        servos.close()
    assert place.pids == []
    servos.connect()
    servos.point(0, 45)
    assert len(place.pids) == 1
    servos.close()
    servos.end(LIMIT)


@with_ipv6
def test_a_pigpiod_that_was_started_with_l_is_found(place: Place) -> None:
    words = [str(place.bin / "pigpiod"), "-g", "-l", "-p", str(place.port)]
    with subprocess.Popen(words) as process:
        try:
            assert comes_true(lambda: is_answering("::1", place.port))
            assert not is_answering("127.0.0.1", place.port)
            servos = place.servos()
            servos.connect()
            servos.close()
            servos.end()
            assert place.pids == [process.pid]
        finally:
            process.kill()


@pytest.mark.parametrize("step", [1, 2, 4, 5, 8, 10])
def test_needles_are_told_whole_steps_of_the_pigpiod_that_was_started(
    place: Place, step: int
) -> None:
    options = ("-s", str(step))
    servos = PigpioServos(dials(), "", place.port, options)
    place.pigpiod = servos._daemon = Pigpiod(place.port, place.lock, options)
    servos.connect()
    geometry = replace(Geometry.of(dials()[0]), step_us=servos.step_us)
    asked = [geometry.snap(share * 1.8) for share in range(0, 101, 4)]
    for angle in asked:
        servos.point(0, angle)
    servos.close()
    servos.end(LIMIT)
    sent = [float(str(entry["us"])) for entry in read_log(place.log) if entry.get("us")]
    wanted = [geometry.pulse_us(angle) for angle in asked]
    assert len(sent) == len(wanted)
    missed = [abs(one - other) for one, other in zip(sent, wanted, strict=True)]
    # Where the step is finer than a needle shows, pigpiod's own may be the next one.
    assert max(missed) < (step if step < 5 else 0.1)


def test_a_pigpiod_elsewhere_is_never_started_here(place: Place) -> None:
    servos = PigpioServos(dials(), "127.0.0.1", place.port)
    with pytest.raises(ServoError, match="no pigpiod answers"):
        servos.connect()
    servos.close()
    servos.end()
    assert place.pids == []


def test_a_killed_pigpiod_is_started_again_by_the_next_connect(place: Place) -> None:
    servos = place.servos()
    servos.connect()
    for turn in range(1, 3):
        servos.point(0, 90)
        os.kill(place.pids[-1], signal.SIGKILL)
        os.waitid(os.P_PID, place.pids[-1], os.WEXITED | os.WNOWAIT)
        with pytest.raises(ServoError):
            servos.check()
        servos.close()
        assert len(place.pids) == turn
        servos.connect()
        assert len(place.pids) == turn + 1
        servos.point(0, 45)
    servos.close()
    servos.end()
    assert comes_true(lambda: bool(place.entries("stop")))


def test_a_pigpiod_that_hangs_is_killed_and_started_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tweetdock.servos.pigpiod, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(tweetdock.servos.pigpiod, "HUNG_SECONDS", 0.2)
    servos = place.servos()
    servos.connect()
    stop_in_its_tracks(place.pids[0])
    with pytest.raises(ServoError):
        servos.check()
    in_time(QUICK, servos.close)
    in_time(LIMIT, servos.connect)
    servos.point(0, 45)
    assert len(place.pids) == 2
    with pytest.raises(ProcessLookupError):
        os.kill(place.pids[0], 0)
    servos.close()
    servos.end()
