"""The journal: which readings get a line in the log, and how it reads."""

import logging
from dataclasses import replace

import pytest

from tweetdock.core.coverage import Grade, worst
from tweetdock.core.reading import DialReading, Reading, SourceReading
from tweetdock.show.journal import Journal, sentence

START = 1_790_000_000_000


def reading(
    count: int = 40,
    *,
    at: int = START,
    grade: Grade = Grade.EXACT,
    detail: str = "",
    pegged: bool = False,
    demo: bool = False,
    hashtags: tuple[str, ...] = ("dockercon",),
) -> Reading:
    """A reading with so many posts by half as many authors, on scales up to 100."""
    authors = count // 2
    source = SourceReading(
        posts=count, authors=authors, grade=grade, covered=1.0, detail=detail, certain_ms=at
    )
    return Reading(
        at_ms=at,
        hashtags=hashtags,
        window_seconds=3600.0,
        posts=count,
        authors=authors,
        grade=grade,
        covered=1.0,
        certain_ms=at,
        sources={"x": source},
        dials={
            "tweets": dial(count, pegged=pegged),
            "tweeters": dial(count // 2, pegged=False),
        },
        demo=demo,
    )


def dial(count: int, *, pegged: bool) -> DialReading:
    position = min(1.0, count / 100)
    return DialReading(
        count=count, position=position, full_scale=100, angle=position * 180, pegged=pegged
    )


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "tweetdock")
    return caplog


def lines_for(
    log: pytest.LogCaptureFixture, *readings: Reading, is_watched: bool = False
) -> list[int]:
    """The numbers of the readings that got a line."""
    journal, found = Journal(is_watched=is_watched), []
    for number, one in enumerate(readings):
        log.clear()
        journal.note(one)
        assert len(log.records) <= 1
        if log.records:
            found.append(number)
    return found


def test_the_first_reading_has_a_line(log: pytest.LogCaptureFixture) -> None:
    assert lines_for(log, reading(), reading(41)) == [0]


def test_every_change_of_grade_has_a_line_at_once(log: pytest.LogCaptureFixture) -> None:
    grades = [Grade.FILLING, Grade.EXACT, Grade.EXACT, Grade.PARTIAL, Grade.STALE, Grade.EXACT]
    assert lines_for(log, *[reading(grade=grade) for grade in grades]) == [0, 1, 3, 4, 5]


def test_pegging_has_a_line_at_once_but_not_while_it_wavers(log: pytest.LogCaptureFixture) -> None:
    waver = [reading(101, pegged=True), reading(100)] * 50
    assert lines_for(log, reading(100), *waver) == [0, 1]


def test_changed_counts_have_a_line_every_ten_minutes(log: pytest.LogCaptureFixture) -> None:
    history = [reading(40 + second, at=START + second * 1000) for second in range(1300)]
    assert lines_for(log, *history) == [0, 600, 1200]


def test_counts_that_stand_still_have_none(log: pytest.LogCaptureFixture) -> None:
    history = [reading(at=START + second * 1000) for second in range(600)]
    assert lines_for(log, *history) == [0]


def test_a_change_after_a_long_quiet_has_a_line_at_once(log: pytest.LogCaptureFixture) -> None:
    history = [reading(), reading(at=START + 900_000), reading(41, at=START + 901_000)]
    assert lines_for(log, *history) == [0, 2]


def test_who_watches_gets_a_line_every_five_seconds(log: pytest.LogCaptureFixture) -> None:
    history = [reading(second, at=START + second * 1000) for second in range(12)]
    assert lines_for(log, *history, is_watched=True) == [0, 5, 10]


def test_a_clock_set_back_does_not_silence_the_journal(log: pytest.LogCaptureFixture) -> None:
    history = [reading(), reading(41, at=START - 10_000_000), reading(42, at=START - 9_999_000)]
    assert lines_for(log, *history) == [0, 1]


@pytest.mark.parametrize(
    ("grade", "level"),
    [
        (Grade.EXACT, logging.INFO),
        (Grade.FILLING, logging.INFO),
        (Grade.PARTIAL, logging.WARNING),
        (Grade.STALE, logging.WARNING),
    ],
)
def test_becoming_less_than_it_should_be_is_a_warning(
    log: pytest.LogCaptureFixture, grade: Grade, level: int
) -> None:
    journal = Journal(is_watched=True)
    journal.note(reading(grade=grade))
    assert log.records[0].levelno == level
    journal.note(reading(50, at=START + 10_000, grade=grade))
    assert log.records[1].levelno == logging.INFO


def test_a_line_says_counts_places_and_grade() -> None:
    assert sentence(reading()) == (
        "#dockercon 40 tweets (72° of 0..100), 20 tweeters (36° of 0..100) "
        "in the last 60 min, exact up to 14:13 UTC"
    )


def test_a_line_says_what_ails_and_what_pegs() -> None:
    one = reading(101, pegged=True, grade=Grade.PARTIAL, detail="X asks us to wait")
    assert sentence(one) == (
        "#dockercon 101 tweets (180° of 0..100, pegged), 50 tweeters (90° of 0..100) "
        "in the last 60 min, partial (x: X asks us to wait)"
    )


def test_a_line_says_that_it_is_made_up() -> None:
    one = reading(demo=True, hashtags=("one", "two"))
    assert sentence(one).startswith("DEMO, made-up posts: #one #two 40 tweets (")


def test_a_line_without_hashtags_says_what_is_counted_instead() -> None:
    one = replace(reading(hashtags=()), subject="from:nasa\nlang:en")
    assert sentence(one).startswith("from:nasa lang:en 40 tweets (")
    assert sentence(reading(hashtags=())).startswith("40 tweets (")


def test_a_percent_sign_in_a_detail_is_a_percent_sign(log: pytest.LogCaptureFixture) -> None:
    Journal(is_watched=False).note(reading(detail="reading back: 5% of the window seen"))
    assert "5% of the window" in log.messages[0]


def of_two(x: Grade, bluesky: Grade, *, at: int = START) -> Reading:
    """A reading of two sources."""
    one = reading(at=at, grade=worst((x, bluesky)))
    source = one.sources["x"]
    grades = {"x": x, "bluesky": bluesky}
    return replace(one, sources={name: replace(source, grade=g) for name, g in grades.items()})


def test_a_second_source_that_fails_has_a_line_though_the_whole_is_no_worse(
    log: pytest.LogCaptureFixture,
) -> None:
    """With Bluesky down for a day, X failed too, and the log had nothing to tell of it."""
    journal = Journal(is_watched=False)
    for x in (Grade.EXACT, Grade.EXACT, Grade.PARTIAL, Grade.PARTIAL):
        journal.note(of_two(x, Grade.PARTIAL))
    assert [record.levelno for record in log.records] == [logging.WARNING] * 2


def test_a_source_that_wavers_does_not_fill_the_log(log: pytest.LogCaptureFixture) -> None:
    history = [
        of_two([Grade.EXACT, Grade.FILLING][n % 2], Grade.PARTIAL, at=START + n * 1000)
        for n in range(1200)
    ]
    assert lines_for(log, *history) == [0, 1, 602, 603]


def test_a_source_that_recovers_has_a_line_with_the_next(log: pytest.LogCaptureFixture) -> None:
    grades = [Grade.PARTIAL] * 2 + [Grade.EXACT] * 1300
    history = [of_two(x, Grade.PARTIAL, at=START + n * 1000) for n, x in enumerate(grades)]
    assert lines_for(log, *history) == [0, 600]
    assert lines_for(log, history[0], of_two(Grade.EXACT, Grade.EXACT)) == [0, 1]


def test_foreign_words_cannot_tear_a_line() -> None:
    """A server's refusal with a line break in it forged a line of the log."""
    one = reading(grade=Grade.PARTIAL, detail="a\x1b[2Jb\nc\u2028d\ud800")
    assert sentence(one).endswith("partial (x: a [2Jb c d )")
