"""Minding a pigpiod of our own: the stand-in as the program `pigpiod` on PATH."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dials import LIMIT, TWEETS, comes_true, dials
from standins.pigpiod import StandInPigpiod, free_port, install, read_log

import tweetdock.servos.pigpiod
from tweetdock.errors import ServoError
from tweetdock.servos.pigpio import PigpioServos
from tweetdock.servos.pigpiod import END_SECONDS, Pigpiod, is_answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = 0.5
REFUSAL = "Sorry, this system does not appear to be a raspberry pi"


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
    in_time(LIMIT, place.pigpiod.end)
    assert comes_true(lambda: bool(place.entries("stop")))
    assert [entry["name"] for entry in place.entries("signal")] == ["SIGTERM"]
    assert not place.lock.exists()
    place.pigpiod.end()


def test_end_before_any_start_is_no_trouble(place: Place) -> None:
    place.pigpiod.end()


def test_end_does_not_wait_for_a_pigpiod_that_hangs(place: Place) -> None:
    place.pigpiod.start()
    stop_in_its_tracks(place.pids[0])
    in_time(END_SECONDS + 0.3, place.pigpiod.end)


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


def test_the_lock_of_a_living_pigpiod_is_kept(place: Place, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    sleep = shutil.which("sleep")
    assert sleep
    # Under its own name, as the kernel has it; a script would go by that of its interpreter.
    other = shutil.copy(os.path.realpath(sleep), elsewhere / "pigpiod")
    with subprocess.Popen([other, "60"]) as process:
        try:
            comm = Path(f"/proc/{process.pid}/comm")
            assert comes_true(lambda: comm.read_text() == "pigpiod\n")  # set late in exec
            place.lock.write_text(f"{process.pid}\n")
            with pytest.raises(ServoError, match=f"Can't lock {place.lock}"):
                place.pigpiod.start()
            assert place.lock.read_text() == f"{process.pid}\n"
        finally:
            process.kill()


def test_what_pigpiod_says_when_it_refuses_is_handed_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_PIGPIOD_REFUSE", f"{REFUSAL}\nCan't initialise pigpio library")
    begun = time.monotonic()
    with pytest.raises(ServoError) as caught:
        place.pigpiod.start()
    assert time.monotonic() - begun < 3.0
    assert str(caught.value) == (
        f"pigpiod ended at once: {REFUSAL} Can't initialise pigpio library"
    )
    monkeypatch.delenv("STANDIN_PIGPIOD_REFUSE")
    place.pigpiod.start()
    assert is_answering("127.0.0.1", place.port)


def test_a_pigpiod_that_ends_without_a_word_is_told_of(place: Place) -> None:
    program(place, "exit 1")
    with pytest.raises(ServoError, match="ended at once: it did not say why"):
        place.pigpiod.start()


def test_a_pigpiod_that_never_answers_is_ended_again(place: Place, impatient: None) -> None:
    program(place, "exec sleep 60")
    with pytest.raises(ServoError, match=f"does not answer at 127.0.0.1:{place.port}"):
        place.pigpiod.start()
    assert place.pigpiod._child is None


def test_a_port_that_is_taken_is_told_of(place: Place, impatient: None) -> None:
    complaint = r"bind to port .* failed \(Address already in use\)"
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
    servos.end()
    assert comes_true(lambda: bool(place.entries("stop")))
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
