"""The two dials in a terminal: what stands where, at any size, for any reading."""

import re
from dataclasses import replace
from io import StringIO
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from test_journal import START, reading

from tweetdock.core.coverage import Grade
from tweetdock.core.reading import DialReading, Reading, SourceReading
from tweetdock.core.times import MINUTE_MS
from tweetdock.settings.gauge import DialSettings, Settings
from tweetdock.show.board import Moment
from tweetdock.show.terminal.two_dials import COLOURS, LOG_ROWS, MARGIN, TwoDials
from tweetdock.show.words import WORDS

SETTINGS = Settings.from_env({}, demo=True)
DIALS = {"tweets": SETTINGS.tweets, "tweeters": SETTINGS.tweeters}
SIZES = [(64, 20), (80, 24), (80, 50), (120, 30), (300, 100)]
LONG = "X asks us to wait " * 20
RED = "#d6402b"


def rendered(
    one: Reading,
    size: tuple[int, int] = (80, 24),
    *,
    past: tuple[Moment, ...] = (),
    trouble: str = "",
    dials: dict[str, DialSettings] = DIALS,
    encoding: str = "utf-8",
) -> list[list[Segment]]:
    console = Console(
        file=StringIO(),
        width=size[0],
        height=size[1],
        force_terminal=True,
        color_system="truecolor",
    )
    options = console.options.update()
    options.encoding = encoding
    return console.render_lines(TwoDials(one, dials, past, trouble), options, pad=False)


def lines(one: Reading, size: tuple[int, int] = (80, 24), **more: object) -> list[str]:
    """The rows without colours."""
    rows = rendered(one, size, **more)  # type: ignore[arg-type]
    return ["".join(segment.text for segment in row) for row in rows]


def braille(text: str) -> str:
    return "".join(sign for sign in text if "\u2800" < sign <= "\u28ff")


def source(
    posts: int, grade: Grade, detail: str = "", heard_ms: int | None = START - 3000
) -> SourceReading:
    return SourceReading(
        posts=posts,
        authors=posts,
        grade=grade,
        covered=1.0,
        detail=detail,
        certain_ms=START,
        heard_ms=heard_ms,
    )


def of_three(grade: Grade = Grade.PARTIAL) -> Reading:
    sources = {
        "x": source(350, Grade.EXACT),
        "bluesky": source(40, Grade.FILLING, "reading back: 43% of it", START - 120_000),
        "mastodon": source(22, Grade.PARTIAL, "asks us to wait", None),
    }
    return replace(reading(412, grade=grade), sources=sources)


def of_dial(one: Reading, **changes: object) -> Reading:
    """The reading with another dial of tweets."""
    tweets: DialReading = replace(one.dials["tweets"], **changes)  # type: ignore[arg-type]
    return replace(one, dials={**one.dials, "tweets": tweets})


def made(
    count: int, grade: Grade, detail: str, tags: tuple[str, ...], shape: tuple[bool, bool, bool]
) -> Reading:
    """A reading; shape: whether it is of several sources, with known authors, a demo."""
    several, known, demo = shape
    one = reading(count, grade=grade, detail=detail, hashtags=tags, demo=demo)
    if several:
        one = replace(one, sources=of_three().sources)
    return of_dial(one, known=known, pegged=count > 100, full_scale=max(100, count // 2))


readings = st.builds(
    made,
    st.integers(0, 9_999_999_999),
    st.sampled_from(list(Grade)),
    st.sampled_from(["", "short", LONG, "x" * 300, "two\nlines\x1b[2J", "日本語" * 40]),
    st.sampled_from(
        [(), ("dockercon",), ("日本語のとても長いタグ",) * 9, ("हिन्दी", "عربى", "ñandú")]
    ),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)


@settings(max_examples=examples(60), deadline=None)
@given(readings, st.integers(1, 200), st.integers(1, 60), st.floats(60, 360))
def test_no_row_ever_reaches_the_edge_or_leaves_no_room_for_the_log(
    one: Reading, width: int, height: int, sweep: float
) -> None:
    dials = {name: replace(dial, max_angle=sweep) for name, dial in DIALS.items()}
    past = tuple(Moment(START - n * MINUTE_MS, n, n, Grade.EXACT) for n in range(70, 0, -1))
    found = lines(one, (width, height), past=past, trouble="no pigpiod", dials=dials)
    assert max(map(cell_len, found)) <= max(1, width - MARGIN)
    assert len(found) == 2 or len(found) <= height - LOG_ROWS
    assert not any("\x1b" in line or "\n" in line for line in found)


@pytest.mark.parametrize("size", SIZES)
@settings(max_examples=examples(20), deadline=None)
@given(st.lists(readings, min_size=2, max_size=2))
def test_nothing_moves_while_the_terminal_stays_as_it_is(
    size: tuple[int, int], two: list[Reading]
) -> None:
    before, after = (replace(one, sources=of_three().sources) for one in two)
    assert len(lines(before, size)) == len(lines(after, size)) > 12


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("grade", Grade)
def test_numbers_grade_and_ends_show_at_every_size(size: tuple[int, int], grade: Grade) -> None:
    text = "\n".join(lines(reading(37, grade=grade), size))
    for words in ("last hour of #dockercon ──", "tweets", "tweeters", f"\n{WORDS[grade]}  "):
        assert words in text
    assert {"37", "18"} <= set(text.split())
    numbers = re.findall(r"(?<![\w.])\d+(?! %)", text)
    assert numbers.count("0") == numbers.count("100") == 2
    assert braille(text)
    assert ("  at least" in text) is (grade is not Grade.EXACT)


@pytest.mark.parametrize("size", [(63, 40), (200, 19), (40, 10)])
def test_in_too_little_room_there_are_two_lines(size: tuple[int, int]) -> None:
    found = lines(reading(), size)
    assert len(found) == 2
    assert "━" in found[0]


def test_where_there_is_no_braille_there_are_two_lines() -> None:
    found = lines(reading(), encoding="ascii")
    assert len(found) == 2
    assert "".join(found).isascii()


def needle_of(rows: list[list[Segment]], **style: object) -> list[str]:
    """What is drawn as the needles, row by row."""
    return [
        segment.text
        for row in rows
        for segment in row
        if segment.style
        and braille(segment.text)
        and all(getattr(segment.style, name) == value for name, value in style.items())
    ]


def test_the_needle_is_red_and_nothing_else_is() -> None:
    rows = rendered(reading(50))
    red = [
        segment.text
        for row in rows
        for segment in row
        if segment.style and segment.style.color and segment.style.color.name == RED
    ]
    assert red == needle_of(rows, bold=True)
    assert len(red) >= 12  # both needles, some rows each
    assert all(braille(text) for text in red)


@pytest.mark.parametrize("colours", ["standard", "256"])
def test_with_few_colours_the_needle_has_the_terminals_own_red(
    colours: Literal["standard", "256"],
) -> None:
    """The nearest of 256 colours to the needle's red is an orange."""
    console = Console(
        file=StringIO(), width=80, height=24, force_terminal=True, color_system=colours
    )
    console.print(TwoDials(reading(50), DIALS))
    assert isinstance(console.file, StringIO)
    red = re.findall(r"\x1b\[1;31m([^\x1b]*)", console.file.getvalue())
    assert red == needle_of(rendered(reading(50)), bold=True)


def test_without_colours_the_needle_is_bold() -> None:
    console = Console(file=StringIO(), width=80, height=24, force_terminal=True, no_color=True)
    console.print(TwoDials(reading(50), DIALS))
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    styles = set(re.findall(r"\x1b\[([0-9;]*)m", text))
    assert styles == {"0", "1", "2"}  # plain, bold, dim
    bold = [word for word in re.findall(r"\x1b\[1m([^\x1b]*)", text) if braille(word)]
    assert bold == needle_of(rendered(reading(50)), bold=True)


def test_the_needle_moves_with_the_count_and_not_with_the_time() -> None:
    assert needle_of(rendered(reading(40)), bold=True) != needle_of(
        rendered(reading(60)), bold=True
    )
    later = replace(reading(40), at_ms=START + 5000)
    assert needle_of(rendered(later), bold=True) == needle_of(rendered(reading(40)), bold=True)


@pytest.mark.parametrize("grade", Grade)
def test_a_grade_has_its_colour_and_its_word(grade: Grade) -> None:
    (styles,) = [
        segment.style
        for row in rendered(reading(grade=grade))
        for segment in row
        if segment.text == WORDS[grade]
    ] or [None]
    assert styles
    assert styles.color
    assert styles.color.name == COLOURS[grade]


def test_what_ails_goes_on_in_the_next_row() -> None:
    detail = (
        "X asks us to wait 4 min, until 12:05 UTC, as it has been asked more often than it wants"
    )
    found = lines(reading(grade=Grade.PARTIAL, detail=detail))
    word = WORDS["partial"]
    at = next(number for number, line in enumerate(found) if line.startswith(word))
    assert f"{found[at].removeprefix(word).strip()} {found[at + 1]}" == detail


def test_servos_that_cannot_be_moved_are_told() -> None:
    found = lines(reading(), trouble="pigpiod does not answer")
    said = "Every post of the last hour up to 14:13 UTC is counted. Servos: pigpiod does not answer"
    assert said in " ".join(found)


def test_each_source_has_a_row() -> None:
    found = [" ".join(line.split()) for line in lines(of_three(), (100, 30))]
    assert "X 350 tweets exact up to 14:13 UTC 3 s ago" in found
    assert "Bluesky 40 tweets incomplete 2 min ago reading back: 43% of it" in found
    assert "Mastodon 22 tweets at least no data yet asks us to wait" in found
    assert "X 40 tweets exact no data yet" in [" ".join(line.split()) for line in lines(reading())]


def test_a_pegged_dial_and_a_needle_at_rest_say_so() -> None:
    """In the page's own words, for each dial by itself."""
    for one, words in [
        (reading(101, pegged=True), ["above the scale"]),
        (of_dial(reading(), known=False, position=0.0, angle=0.0), ["at least · needle at rest"]),
        (reading(grade=Grade.STALE), ["at least · needle at rest"] * 2),
    ]:
        assert any(re.split(r"\s{2,}", line.strip()) == words for line in lines(one))


@pytest.mark.parametrize(
    ("demo", "replay", "word"), [(True, False, "DEMO"), (False, True, "REPLAY")]
)
def test_what_is_not_of_now_says_so(demo: bool, replay: bool, word: str) -> None:  # noqa: FBT001
    assert lines(replace(reading(), demo=demo, replay=replay))[0].startswith(f"── {word} last")


def test_the_bars_show_the_last_hour_and_leave_open_what_is_not_known() -> None:
    def moment(minutes: int, posts: int, grade: Grade = Grade.EXACT) -> Moment:
        return Moment(START - minutes * MINUTE_MS, posts, posts, grade)

    past = (moment(5, 20), moment(4, 80), moment(2, 70, Grade.STALE))
    *_, upper, lower = lines(reading(40), past=past)
    assert (upper, lower) == (" " * 55 + "█      last 60 min", " " * 54 + "▄█   █  peak 80")
    assert lines(reading(40), (64, 20), past=past)[-1].endswith("▄█   █  peak 80")


def test_a_lower_bound_is_a_dim_bar() -> None:
    past = (Moment(START - MINUTE_MS, 40, 20, Grade.FILLING),)
    *_, last = rendered(reading(40), past=past)
    dims = [segment.style.dim for segment in last if segment.style and "█" in segment.text]
    assert dims == [True, None]


def test_foreign_words_cannot_send_escapes() -> None:
    one = reading(grade=Grade.PARTIAL, detail="a\x1b[2Jb\nc")
    assert f"{WORDS['partial']}  A [2Jb c" in lines(one)
