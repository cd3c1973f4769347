"""What pigpiod says when it ends at once, word for word, and what its owner reads of it."""

import pytest

from tweetdock.servos.pigpiod import explained

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
