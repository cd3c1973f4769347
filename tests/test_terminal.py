"""The live view: two lines at any width, and the real command in a real terminal."""

import fcntl
import logging
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Self

import pytest
from rich.cells import cell_len
from rich.console import Console
from running import Running, command, environment
from test_journal import START, reading

from tweetdock import logs
from tweetdock.core.coverage import Grade
from tweetdock.core.reading import Reading
from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board, Health, Past
from tweetdock.show.terminal.two_dials import COLOURS, TwoLines
from tweetdock.show.terminal.view import LiveView

WIDTHS = (40, 80, 200)
LONG = "X asks us to wait " * 20
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"
HOME = "\x1b[H"
SETTINGS = Settings.from_env({}, demo=True)
DIALS = {"tweets": SETTINGS.tweets, "tweeters": SETTINGS.tweeters}
ARC = "⠤⢤⠤"  # at the top of a dial


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests are started in."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def console(width: int = 80, height: int = 25) -> Console:
    """A terminal that writes into memory."""
    return Console(
        file=StringIO(), width=width, height=height, force_terminal=True, color_system="standard"
    )


def board(one: Reading) -> Board:
    nothing = Health(threads=dict, needles=dict, servo_trouble=str, cost_usd=lambda: None)
    made = Board(Past(), nothing)
    made.publish(one)
    return made


def lines(one: Reading, width: int = 80) -> list[str]:
    """The lines of a reading, without colours."""
    rows = console(width).render_lines(TwoLines(one), pad=False)
    return ["".join(segment.text for segment in row) for row in rows]


def written(terminal: Console) -> str:
    assert isinstance(terminal.file, StringIO)
    return terminal.file.getvalue()


@pytest.mark.parametrize("grade", Grade)
@pytest.mark.parametrize("count", [0, 40, 1_234_567])
def test_no_line_ever_reaches_the_edge(grade: Grade, count: int) -> None:
    tags = ("日本語のとても長いタグ", "another")
    for detail in ("", "short", LONG, "two\nlines\x1b[2J"):
        one = reading(
            count, grade=grade, detail=detail, pegged=count > 100, demo=True, hashtags=tags
        )
        for width in (*range(1, 60), *WIDTHS):
            found = lines(one, width)
            assert len(found) == 2
            assert max(map(cell_len, found)) <= max(1, width - 2)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("grade", Grade)
def test_counts_scales_and_grade_show_at_every_width(width: int, grade: Grade) -> None:
    tweets, tweeters = lines(reading(40, grade=grade), width)
    assert "tweets " in tweets
    assert "40 / 100" in tweets
    assert f"100  {grade}" in tweets
    assert "tweeters " in tweeters
    assert "20 / 100" in tweeters


@pytest.mark.parametrize("grade", Grade)
def test_a_grade_has_its_colour(grade: Grade) -> None:
    segments = console().render(TwoLines(reading(grade=grade)))
    (style,) = [style for text, style, _ in segments if text == str(grade)]
    assert style is not None
    assert style.color is not None
    assert style.color.name == COLOURS[grade]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_bar_is_as_long_as_the_needle_is_far(width: int) -> None:
    for count, share in ((0, 0.0), (50, 0.5), (100, 1.0)):
        tweets, _ = lines(reading(count), width)
        bar = [sign for sign in tweets if sign in "━╸─"]
        assert 5 <= len(bar) <= 40
        length = bar.count("━") + bar.count("╸") / 2
        assert length == pytest.approx(share * len(bar), abs=0.5)


def test_what_is_counted_shows_where_there_is_room() -> None:
    assert lines(reading(), 120)[0].endswith("exact  #dockercon, last hour up to 14:13 UTC")
    one = replace(reading(hashtags=()), subject="from:\nnasa")
    assert lines(one, 120)[0].endswith("exact  from: nasa, last hour up to 14:13 UTC")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_demo_says_so_at_every_width(width: int) -> None:
    assert "DEMO" in lines(reading(demo=True), width)[0]
    assert "DEMO" not in "".join(lines(reading(), width))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_pegged_dial_says_so_at_every_width(width: int) -> None:
    tweets, tweeters = lines(reading(101, pegged=True, demo=True, grade=Grade.PARTIAL), width)
    assert "101 > 100" in tweets
    assert "50 / 100" in tweeters


def test_what_ails_is_named_and_comes_before_all_that_is_always_the_same() -> None:
    """At 80 columns all that could be read of the reason was `mastodon: mastodon…`."""
    detail = "mastodon.social does not answer in time; fosstodon.org asks us to wait"
    one = reading(grade=Grade.PARTIAL, detail=detail)
    tweets, tweeters = lines(replace(one, sources={"mastodon": one.sources["x"]}))
    assert tweets.endswith("/ 100  partial  Mastodon.social does not")
    assert tweeters.endswith("/ 100  answer in time; fosstodon.org asks us…")
    worse = replace(one.sources["x"], detail="reading back", grade=Grade.STALE)
    both = replace(one, sources={"x": one.sources["x"], "bluesky": worse})
    assert lines(both, 120)[0].endswith("partial  Bluesky: reading back, #dockercon, last hour")


def test_foreign_words_cannot_send_escapes() -> None:
    text = "".join(lines(reading(grade=Grade.PARTIAL, detail="a\x1b[2Jb\nc"), 200))
    assert "  A [2Jb c, " in text


def test_a_terminal_without_unicode_gets_bars_too() -> None:
    terminal = console()
    options = terminal.options.update()
    options.encoding = "ascii"
    one = reading(grade=Grade.PARTIAL, detail=LONG)
    text = "".join(segment.text for segment in terminal.render(TwoLines(one), options))
    assert "==" in text
    assert text.isascii()


def test_it_is_drawn_four_times_a_second_at_most() -> None:
    terminal, now = console(), [0.0]
    with LiveView(DIALS, terminal, monotonic=lambda: now[0]) as view:
        for number in range(100):
            now[0] = number / 100
            view.show(board(reading(number)))
        assert written(terminal).count("tweeters") == 4


def test_the_log_goes_on_above_and_nothing_stays_behind() -> None:
    terminal = console()
    record = logging.LogRecord("tweetdock", logging.WARNING, "", 0, "[red]%s", ("x" * 100,), None)
    with LiveView(DIALS, terminal) as view:
        view.handler.setFormatter(logging.Formatter(logs.TEXT))
        view.show(board(reading()))
        view.handler.handle(record)
    before, _, after = written(terminal).partition("[red]" + "x" * 100)
    assert "WARNING " in before
    assert "#dockercon" in after  # drawn again below
    assert after.endswith("\x1b[2K")  # and wiped at the end
    assert HIDE_CURSOR in before
    assert SHOW_CURSOR in after


def test_an_error_gives_the_cursor_back() -> None:
    terminal = console()

    def fail() -> None:
        with LiveView(DIALS, terminal) as view:
            view.show(board(reading()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert written(terminal).rindex(SHOW_CURSOR) > written(terminal).rindex(HIDE_CURSOR)


def test_a_terminal_that_was_closed_ends_nothing() -> None:
    class Closed(StringIO):
        def write(self, _: str) -> int:
            raise OSError(5, "Input/output error")

    terminal, now = console(), [0.0]
    with LiveView(DIALS, terminal, monotonic=lambda: now[0]) as view:
        view.show(board(reading()))
        terminal.file = Closed()
        now[0] = 1.0
        view.show(board(reading(41)))


def test_dials_are_drawn_where_there_is_room_and_braille(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(terminal: Console) -> str:
        with LiveView(DIALS, terminal) as view:
            view.show(board(reading()))
        return written(terminal)

    assert ARC in drawn(console())
    assert ARC not in drawn(console(height=19))
    for term in ("linux", "linux-16color", "vt220"):
        monkeypatch.setenv("TERM", term)
        assert ARC not in drawn(console())
        assert "━" in drawn(console())


def test_what_was_before_shows_as_bars() -> None:
    terminal, one = console(), board(reading(20))
    one.publish(reading(40, at=START + 60_000))
    with LiveView(DIALS, terminal) as view:
        view.show(one)
    assert "██  peak 40" in "".join(re.split(r"\x1b\[[0-9;]*m", written(terminal)))


def test_a_view_that_became_narrower_is_drawn_on_an_empty_screen() -> None:
    """Terminals break or cut the lines that they have: half an old dial stayed behind."""
    terminal, now = console(100), [0.0]
    with LiveView(DIALS, terminal, monotonic=lambda: now[0]) as view:
        for number, width in enumerate((100, 120, 90)):
            now[0] = number
            terminal.width = width
            before = len(written(terminal))
            view.show(board(reading()))
            assert (HOME in written(terminal)[before:]) is (width == 90)
    # The log is scrolled away, not wiped out.
    assert "\n" * 25 + HOME in written(terminal)
    assert "\x1b[2J" not in written(terminal)


class Screen:
    """The command in a pseudo-terminal; all that it writes there."""

    def __init__(self, *words: str, folder: Path, size: tuple[int, int], **env: str) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(*size)
        self.process = subprocess.Popen(
            command(*words),
            cwd=folder,
            env=environment(folder, env),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._bytes = b""

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def forget(self) -> None:
        """Read on as if nothing had been there yet."""
        self._bytes = b""

    @property
    def text(self) -> str:
        """All so far."""
        return self._bytes.decode(errors="replace")

    def wait_for(self, *words: str, limit: float = 20) -> Self:
        """Read until all the words were there."""
        deadline = time.monotonic() + limit
        while not all(word in self.text for word in words):
            assert self._read(deadline - time.monotonic()), self.text
        return self

    def end(self, number: int) -> int:
        """Send a signal and read to the end; the exit code."""
        self.process.send_signal(number)
        deadline = time.monotonic() + 10
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(10)

    def close(self) -> None:
        """End it whatever it does."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _read(self, limit: float) -> bool:
        if not select.select([self._ours], [], [], max(0.0, limit))[0]:
            return False
        chunk = b""
        with suppress(OSError):  # EIO: nobody holds the other end any more
            chunk = os.read(self._ours, 65536)
        self._bytes += chunk
        return chunk != b""


@contextmanager
def screen(
    *words: str, folder: Path, size: tuple[int, int] = (80, 25), **env: str
) -> Iterator[Screen]:
    one = Screen(*words, folder=folder, size=size, **env)
    try:
        yield one
    finally:
        one.close()


def test_a_terminal_has_a_live_view_below_the_log_until_it_ends(tmp_path: Path) -> None:
    with screen("--demo", folder=tmp_path, TERM="xterm-256color") as terminal:
        terminal.wait_for(HIDE_CURSOR, "INFO     TweetDock", "DEMO", "Exact", "last hour", ARC)
        terminal.forget()
        terminal.resize(50, 30)  # as its owner draws the window smaller
        terminal.wait_for(HOME, "━")
        assert ARC not in terminal.text.partition(HOME)[2]
        assert terminal.end(signal.SIGINT) == 0
        assert SHOW_CURSOR in terminal.text
        assert HIDE_CURSOR not in terminal.text.partition(SHOW_CURSOR)[2]
        assert terminal.text.index("needles at rest") < terminal.text.rindex(SHOW_CURSOR)
        assert terminal.text.rstrip().endswith("stopped")


@pytest.mark.thorough
def test_the_view_grows_with_the_terminal(tmp_path: Path) -> None:
    with screen("--demo", folder=tmp_path, size=(60, 25), TERM="xterm-256color") as terminal:
        terminal.wait_for("━", "DEMO", "exact")
        assert ARC not in terminal.text
        terminal.resize(100, 30)
        terminal.wait_for(ARC, "Every post")
        assert terminal.end(signal.SIGTERM) == 0


@pytest.mark.thorough
def test_the_console_of_a_pi_has_two_lines(tmp_path: Path) -> None:
    with screen("--demo", folder=tmp_path, TERM="linux") as terminal:
        terminal.wait_for("━", "DEMO", "exact", "last hour")
        assert terminal.end(signal.SIGTERM) == 0
        assert ARC not in terminal.text


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    def styles(text: str) -> set[str]:
        found = re.findall(r"\x1b\[([0-9;]*)m", text)
        return {style for styles in found for style in styles.split(";")}

    def drawn() -> str:
        terminal = console()
        with LiveView(DIALS, terminal) as view:
            view.show(board(reading()))
        return written(terminal)

    assert "31" in styles(drawn())  # the needles' red
    monkeypatch.setenv("NO_COLOR", "1")
    assert ARC in drawn()
    assert styles(drawn()) <= {"", "0", "1", "2"}  # plain, bold, dim


@pytest.mark.parametrize(
    "env",
    [
        {"TERM": "xterm", "TWEETDOCK_LOG_FORMAT": "json"},
        pytest.param({"TERM": "dumb"}, marks=pytest.mark.thorough),
    ],
    ids=["json", "dumb"],
)
def test_a_terminal_that_wants_none_has_plain_logs(tmp_path: Path, env: dict[str, str]) -> None:
    with screen("--demo", folder=tmp_path, size=(80, 25), **env) as terminal:
        terminal.wait_for("DEMO, made-up posts:")
        assert terminal.end(signal.SIGINT) == 0
        assert "\x1b" not in terminal.text


def test_a_pipe_has_plain_logs_and_no_escapes(tmp_path: Path) -> None:
    with Running("--demo", folder=tmp_path, env={"TERM": "xterm-256color"}) as daemon:
        daemon.wait_for("DEMO, made-up posts:", "exact")
        assert daemon.stop(signal.SIGINT) == 0
        daemon.wait_for("stopped")
        assert "\x1b" not in daemon.log
