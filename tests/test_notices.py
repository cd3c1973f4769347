"""What the service manager is told, and when."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.show.systemd import (
    STATUS_SECONDS,
    STATUS_SIGNS,
    Notified,
    address,
    next_notice,
    ping_seconds,
    status,
)

START = 1000.0

turns = st.lists(st.tuples(st.floats(0.0, 3.0), st.sampled_from("abc")), max_size=60)
pings = st.none() | st.floats(0.01, 10.0)


@given(turns, pings)
def test_at_every_turn_what_is_due_is_said_and_nothing_else(
    turns: list[tuple[float, str]], ping: float | None
) -> None:
    told: Notified | None = None
    said: list[tuple[float, list[str]]] = []
    asked: list[float] = []
    now = START

    def describe(text: str) -> str:
        asked.append(now)
        return text

    for gap, text in turns:
        now += gap
        notice, told = next_notice(told, partial(describe, text), now, ping)
        said.append((now, notice.split("\n") if notice else []))
    # The same by looking at all that was said before.
    looks: list[float] = []
    for number, ((at, words), (_, text)) in enumerate(zip(said, turns, strict=True)):
        before = said[:number]
        statuses = [w for _, ws in before for w in ws if w.startswith("STATUS=")]
        alive = [t for t, ws in before if "READY=1" in ws or "WATCHDOG=1" in ws]
        due = [] if before else ["READY=1"]
        if not looks or at - looks[-1] >= STATUS_SECONDS:
            looks.append(at)
            if not before or statuses[-1] != f"STATUS={text}":
                due.append(f"STATUS={text}")
        if before and ping is not None and at - alive[-1] >= ping:
            due.append("WATCHDOG=1")
        assert words == due
    assert asked == looks


@pytest.mark.parametrize("news", ["", "a new reading "])
def test_a_status_that_nobody_is_to_see_is_not_made(news: str) -> None:
    """Under a flood there is a reading for each post, mostly the same as the last one."""
    made: list[int] = []

    def describe() -> str:
        made.append(1)
        return f"{news and news + str(len(made))}"

    _, told = next_notice(None, describe, START, None)
    for number in range(3000):
        _, told = next_notice(told, describe, START + number * STATUS_SECONDS / 1000, None)
    assert len(made) == 3


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


def test_a_socket_is_a_path_or_a_name_in_the_abstract() -> None:
    assert address("/run/systemd/notify") == "/run/systemd/notify"
    assert address("@/org/systemd") == "\0/org/systemd"
    for other in ("vsock:2:1234", "notify", "-"):
        with pytest.raises(ValueError, match="not a socket of this machine"):
            address(other)
