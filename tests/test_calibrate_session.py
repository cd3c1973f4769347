"""A calibration as a maker has it: keys, needles, the screen and `.env`, by a clock of its own."""

from __future__ import annotations

import os
import pty
import re
import termios
import threading
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import pytest
from dials import LIMIT, PINS, STEP_US, TWEETERS, TWEETS, comes_true
from virtual_time import NotingServos, VirtualTime

from tweetdock.commands.calibrate import CalibrationSession
from tweetdock.commands.calibrate_terminal import Keyboard, Keys, Screen
from tweetdock.core.dial import DIALS
from tweetdock.core.motion import SPEED
from tweetdock.servos.calibration import Calibration
from tweetdock.servos.needles import FIRST_SPEED, Needles
from tweetdock.settings.env_file import read_env_file
from tweetdock.settings.gauge import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

LEFT, RIGHT = "\x1b[D", "\x1b[C"
NOTHING: Mapping[str, str] = {}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
US_A_DEGREE = 1 / 0.09
FRAME_SECONDS = 0.02


class TypedKeys(Keyboard):
    """Keys as a test types them, waited for in its time."""

    def __init__(self, time: VirtualTime) -> None:
        super().__init__(-1)
        self._time = time
        self._typed = deque[str]()
        self._has_typed = threading.Event()

    def type(self, *keys: str) -> None:
        self._typed += keys
        self._has_typed.set()

    def wait(self, seconds: float) -> list[str]:
        self._time.wait(self._has_typed, seconds)
        self._has_typed.clear()
        parser, keys = Keys(), list[str]()
        while self._typed:
            keys += parser.feed(self._typed.popleft().encode())
        return keys + parser.flush()


class Sitting:
    """A session whose owner types keys and reads the screen, and what it has saved."""

    def __init__(
        self,
        folder: Path,
        dial: str = "tweets",
        *,
        settings: Mapping[str, str] = NOTHING,
        env: Mapping[str, str] = NOTHING,
        prints: bool = False,
    ) -> None:
        self.path = folder / ".env"
        given = Settings.from_env({**read_env_file(self.path), **settings}, demo=True)
        calibrations = [Calibration(name, one) for name, one in given.dials.items()]
        self.time = VirtualTime()
        self.servos = NotingServos(PINS, self.time.monotonic)
        self._needles = Needles(
            self.servos,
            [one.needle for one in calibrations],
            self.time.monotonic,
            self.time.sleep,
        )
        self.session = CalibrationSession(
            calibrations, self._needles, "mock", None if prints else self.path, DIALS.index(dial)
        )
        self.keyboard = TypedKeys(self.time)
        self._terminal, theirs = pty.openpty()
        os.set_blocking(self._terminal, False)
        termios.tcsetwinsize(self._terminal, (24, 80))
        self._stream = os.fdopen(theirs, "w", encoding="utf-8")
        self._screen = Screen(self._stream, env)
        self._written = b""
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.keyboard.type("q", "q", "q")
        self.time.let_go()
        self._thread.join(LIMIT)
        self._stream.close()
        os.close(self._terminal)
        assert kind or not self._errors, self._errors

    @property
    def written(self) -> str:
        """All that came to the terminal, with its escapes."""
        try:
            while data := os.read(self._terminal, 65_536):
                self._written += data
        except BlockingIOError:
            pass
        return self._written.decode("utf-8", "replace")

    @property
    def screen(self) -> str:
        """What is to be seen now."""
        whole = [frame for frame in self.written.split("\x1b[H") if "\x1b[J" in frame]
        return ESCAPES.sub("", whole[-1]) if whole else ""

    def press(self, *keys: str) -> None:
        self.keyboard.type(*keys)

    def shows(self, words: str) -> bool:
        """Let time pass until the screen has the words."""
        return self.until(lambda: words in self.screen)

    def until(self, condition: Callable[[], bool]) -> bool:
        return self.time.run_until(condition)

    def quit(self, *keys: str) -> None:
        """End it, by `q` if not by other keys; its time runs freely."""
        self.press(*(keys or "q"))
        self.time.let_go()
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()

    def rests_at(self, pulse_us: float, pin: int = TWEETS) -> bool:
        stands_us = self.servos.stands_at_us(pin)
        return stands_us is not None and abs(stands_us - pulse_us) < STEP_US

    def _run(self) -> None:
        try:
            self._needles.connect()
            with self._screen as screen:
                self.session.run(self.keyboard, screen, self.time.monotonic)
        except BaseException as error:  # noqa: BLE001 - for the thread of the test
            self._errors.append(error)
        finally:
            self._needles.close()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert comes_true(lambda: set(threading.enumerate()) <= before), threading.enumerate()


def saved(path: Path) -> Settings:
    return Settings.from_env(read_env_file(path), demo=True)


def test_no_needle_moves_by_itself_and_then_gently_and_home_at_the_end(tmp_path: Path) -> None:
    with Sitting(tmp_path) as sitting:
        assert sitting.shows("not moved yet")
        sitting.time.run(60.0)
        assert sitting.servos.changes == []
        sitting.press(*[RIGHT] * 10)
        assert sitting.shows("1100 µs  at rest")
        assert sitting.rests_at(1100)
        first = sitting.servos.changes_of(TWEETS)
        sitting.press("2")
        assert sitting.shows("1500 µs  at rest")
        assert sitting.rests_at(1500)
        then = sitting.servos.changes_of(TWEETS)[len(first) :]
        sitting.quit()
    assert sitting.rests_at(1000)
    assert sitting.servos.changes_of(TWEETERS) == []
    assert first[0].pulse_us == 1000
    for moves, speed in ((first, FIRST_SPEED), (then, SPEED)):
        for before, after in pairwise(change for change in moves if change.pulse_us):
            seconds = after.at_monotonic - before.at_monotonic
            most_us = speed * US_A_DEGREE * (seconds + FRAME_SECONDS)
            assert abs(after.pulse_us - before.pulse_us) <= most_us


def test_both_needles_go_home_if_both_were_moved(tmp_path: Path) -> None:
    with Sitting(tmp_path, "tweeters") as sitting:
        for pin in (TWEETERS, TWEETS):
            assert sitting.shows("not moved yet")
            sitting.press(*[RIGHT] * 5)
            assert sitting.until(lambda pin=pin: sitting.rests_at(1050, pin))  # type: ignore[misc]
            sitting.press("\t")
        begun = sitting.time.now
        sitting.quit()
    starts = []
    for pin in (TWEETS, TWEETERS):
        assert sitting.rests_at(1000, pin)
        changes = sitting.servos.changes_of(pin)
        starts.append(next(one.at_monotonic for one in changes if one.at_monotonic > begun))
    # Two servos that start together are too much for a Pi.
    assert abs(starts[0] - starts[1]) > 0.05


def test_a_needle_that_was_just_nudged_goes_home_too(tmp_path: Path) -> None:
    with Sitting(tmp_path) as sitting:
        sitting.press(RIGHT, "\t", RIGHT)  # the second one has to wait for the first
        sitting.quit()
    assert sitting.rests_at(1000, TWEETS)
    assert sitting.rests_at(1000, TWEETERS)


def test_a_sweep_visits_all_marks_and_any_key_ends_it(tmp_path: Path) -> None:
    bent = {"MIN_PULSE_US": "1200", "MID_PULSE_US": "1260", "MAX_PULSE_US": "1400"}
    settings = {f"TWEETDOCK_TWEETS_{name}": value for name, value in bent.items()}
    with Sitting(tmp_path, settings=settings) as sitting:
        sitting.press("t")
        assert sitting.until(lambda: sitting.servos.pulse_us(TWEETS) == 1400)
        assert sitting.shows("1200 µs  at rest")
        lengths = sitting.servos.pulses_us(TWEETS)
        stands = [before for before, after in pairwise(lengths) if after == 0]
        assert stands == [1200, 1260, 1400, 1200]
        sitting.press("t", "3")
        assert sitting.shows("at rest")
        sitting.time.run(5.0)
        assert "sweeping" not in sitting.screen
        assert sitting.servos.pulse_us(TWEETS) == 0


def test_a_limit_is_asked_about(tmp_path: Path) -> None:
    with Sitting(tmp_path, settings={"TWEETDOCK_TWEETS_MIN_PULSE_US": "510"}) as sitting:
        assert sitting.shows("Most servos go here, not all")
        sitting.press(*[LEFT] * 20)
        assert sitting.shows("press it again to go on")
        assert sitting.shows("500 µs  at rest")
        assert sitting.rests_at(500)
        sitting.time.run(1.0)
        sitting.press(LEFT)
        assert sitting.shows("490 µs  at rest")
        assert "Few servos go here" in sitting.screen
        sitting.quit()
    assert min(filter(None, sitting.servos.pulses_us(TWEETS))) == 490


def test_servos_that_fail_are_told_of_and_connected_again(tmp_path: Path) -> None:
    with Sitting(tmp_path) as sitting:
        assert sitting.shows("not moved yet")
        sitting.press("x", RIGHT)
        sitting.servos.is_out_of_reach = True
        assert sitting.shows("out of reach; trying again")
        sitting.servos.is_out_of_reach = False
        assert sitting.until(lambda: "trying again" not in sitting.screen)
        sitting.press("3")
        assert sitting.shows("at rest")
        assert sitting.rests_at(1000)
        assert sitting.shows("not saved")
        sitting.quit("q", "q")


def test_servos_that_fail_while_the_needle_rests_are_told_of_too(tmp_path: Path) -> None:
    with Sitting(tmp_path) as sitting:
        assert sitting.shows("not moved yet")
        sitting.servos.is_out_of_reach = True
        assert sitting.shows("out of reach; trying again")


def test_leaving_unsaved_marks_takes_a_second_q(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Sitting(tmp_path) as sitting:
        sitting.press("x", "q")
        assert sitting.shows("Not all is saved")
        sitting.press("?")
        assert sitting.shows("any key goes back")
        sitting.press("q")
        assert sitting.shows("not moved yet")
        sitting.press("q")
        assert sitting.shows("Not all is saved")
        sitting.quit("q")
    sitting.session.report()
    assert "left without saving TWEETDOCK_TWEETS_" in capsys.readouterr().err
    assert not sitting.path.exists()


def test_lines_can_be_printed_instead_of_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Sitting(tmp_path, prints=True) as sitting:
        sitting.press(RIGHT)
        assert sitting.shows("1010 µs  at rest")
        sitting.press("l", "s")
        assert sitting.shows("printed when you leave")
        sitting.quit()
    sitting.session.report()
    lines = (
        "TWEETDOCK_TWEETS_MIN_PULSE_US=1010\nTWEETDOCK_TWEETS_MID_PULSE_US=\n"
        "TWEETDOCK_TWEETS_MAX_PULSE_US=2000\nTWEETDOCK_TWEETS_REVERSED=0\n"
    )
    # Standard output is no terminal here, and may go nowhere.
    assert capsys.readouterr() == (lines, lines)
    assert not sitting.path.exists()


def test_lines_that_cannot_be_saved_are_told_or_saved_by_the_next_try(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "real").write_text("TWEETDOCK_TWEETS_PIN=18\n")
    (tmp_path / ".env").symlink_to("real")
    with Sitting(tmp_path) as sitting:
        assert sitting.shows("GPIO 18")
        sitting.press("x", "s")
        assert sitting.shows("cannot be written")
        sitting.press("q")
        assert sitting.shows("Not all is saved")
        sitting.session.report()
        assert "TWEETDOCK_TWEETS_REVERSED=1\n" in capsys.readouterr().err
        (tmp_path / ".env").unlink()
        sitting.press("s")
        assert sitting.shows("Saved in .env")
        sitting.quit()
    assert "TWEETDOCK_TWEETS_REVERSED=1\n" in sitting.path.read_text()
    assert (tmp_path / "real").read_text() == "TWEETDOCK_TWEETS_PIN=18\n"


def test_an_environment_that_overrules_the_file_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWEETDOCK_TWEETS_REVERSED", "0")
    with Sitting(tmp_path) as sitting:
        sitting.press("x", "s")
        assert sitting.shows("TWEETDOCK_TWEETS_REVERSED too")


@pytest.mark.parametrize(
    ("env", "has_colours"), [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)]
)
def test_no_colour_is_shown_to_who_wants_none(
    tmp_path: Path, env: dict[str, str], *, has_colours: bool
) -> None:
    with Sitting(tmp_path, env=env) as sitting:
        assert sitting.shows("q quit")
        assert bool(re.search(r"\x1b\[[0-9;]+m", sitting.written)) == has_colours
