"""The keys of a terminal: whatever way its bytes come."""

import os
import pty
import signal
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.commands.calibrate_terminal import ESCAPE, INTERRUPT, SIGNALS, Keyboard, Keys

KNOWN = {
    b"\x1b[A": ["up"],
    b"\x1b[D": ["left"],
    b"\x1bOC": ["right"],
    b"\x1b[1;5B": ["down"],
    b"\x1b[3~": [],
    b"\x1b[Z": [],
    b"l": ["l"],
    b"\t": ["tab"],
    b" ": ["space"],
    b"\x03": ["interrupt"],
}


@given(st.lists(st.sampled_from(list(KNOWN)), max_size=12), st.data())
def test_keys_are_the_same_however_their_bytes_are_cut(
    sent: list[bytes], data: st.DataObject
) -> None:
    stream, keys, found = b"".join(sent), Keys(), list[str]()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += keys.feed(stream[:size])
        stream = stream[size:]
    assert found == [name for key in sent for name in KNOWN[key]]
    assert keys.flush() == []


def test_an_escape_alone_is_a_key_when_nothing_follows() -> None:
    keys = Keys()
    assert keys.feed(b"\x1b") == []
    assert keys.flush() == [ESCAPE]
    assert keys.flush() == []


@pytest.mark.parametrize("sent", [b"\xff", "é".encode(), b"\x00", b"\x1b\x1b[A"])
def test_foreign_bytes_are_keys_that_nobody_knows(sent: bytes) -> None:
    keys = Keys()
    found = keys.feed(sent)
    assert found
    assert not {"s", "q", "l", "r", "m"} & set(found)


@given(st.binary(max_size=30))
def test_no_bytes_break_it(sent: bytes) -> None:
    keys = Keys()
    assert all(isinstance(key, str) for key in [*keys.feed(sent), *keys.flush()])


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_comes_as_a_key_and_the_terminal_is_given_back(number: signal.Signals) -> None:
    terminal, theirs = pty.openpty()
    before = termios.tcgetattr(theirs), [signal.getsignal(number) for number in SIGNALS]
    with Keyboard(theirs) as keyboard:
        assert termios.tcgetattr(theirs) != before[0]
        os.write(terminal, b"l")
        assert keyboard.wait(10.0) == ["l"]
        os.kill(os.getpid(), number)
        assert keyboard.wait(10.0) == [INTERRUPT]
    assert (termios.tcgetattr(theirs), [signal.getsignal(number) for number in SIGNALS]) == before
    os.close(terminal)
    os.close(theirs)
