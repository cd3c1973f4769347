"""pigpiod's lock: what a dead one left is removed, and beside a living one none is started."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from dials import LIMIT, comes_true
from minding import Machine, machine_in
from standins.pigpiod import free_port

from tweetdock.core.errors import ServoError
from tweetdock.servos.pigpiod import Pigpiod, is_answering

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with machine_in(tmp_path) as machine:
        yield machine


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
