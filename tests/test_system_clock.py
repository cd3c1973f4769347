"""What the operating system says of the time: how long it runs, and whether a server set it."""

import ctypes
import time

import pytest

from tweetdock.system_clock import boot_seconds, is_synchronised


class Libc:
    """A C library whose adjtimex(2) returns this; None: it has none."""

    def __init__(self, state: int | None) -> None:
        if state is not None:
            self.adjtimex = lambda _: state


def test_the_time_since_the_start_goes_on() -> None:
    monotonic = time.monotonic()
    first = boot_seconds()
    assert monotonic <= first <= boot_seconds()


@pytest.mark.parametrize(
    ("state", "is_set"), [(0, True), (1, True), (4, True), (5, False), (-1, False), (None, False)]
)
def test_the_kernel_says_whether_a_time_server_has_set_the_clock(
    monkeypatch: pytest.MonkeyPatch, state: int | None, *, is_set: bool
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Libc(state))
    assert is_synchronised() is is_set


def test_the_kernel_of_this_machine_can_be_asked() -> None:
    assert is_synchronised() in (True, False)
