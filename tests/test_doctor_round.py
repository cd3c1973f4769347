"""The doctor's round with its time limit, and the lines and the JSON of its report."""

import json
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.commands.doctor import as_json, lines, sum_up, worst
from tweetdock.core.finding import Check, Finding, Verdict
from tweetdock.doctor.round import run as run_checks

PASS, WARN, FAIL = Verdict
WELL = Finding("state", PASS, "all there")
words = st.lists(st.text("abcµ:/#-", min_size=1, max_size=12), min_size=1, max_size=30)
findings = st.builds(
    Finding, st.just("x reach"), st.sampled_from(Verdict), words.map(" ".join), words.map(" ".join)
)


def check(thing: str, *found: Finding) -> Check:
    return Check(thing, lambda: iter(found))


@given(findings, st.integers(50, 120))
def test_no_word_is_lost_and_no_line_is_too_long(finding: Finding, width: int) -> None:
    shown = lines(finding, width)
    told = f"{finding.verdict} x reach {finding.says} -> {finding.cure}"
    assert " ".join(shown).split() == told.split()
    assert all(len(line) <= width for line in shown)


@given(st.lists(findings, max_size=5))
def test_the_worst_finding_is_the_verdict_and_json_has_them_all(found: list[Finding]) -> None:
    said = json.loads(as_json(found))
    assert [Finding(**one) for one in said["checks"]] == found
    verdicts = {finding.verdict for finding in found}
    expected = FAIL if FAIL in verdicts else WARN if WARN in verdicts else PASS
    assert said["verdict"] == worst(found) == expected


def test_sentences_and_cures_stand_in_columns() -> None:
    finding = Finding("page", FAIL, "another program is there " * 2, "choose another address " * 2)
    assert lines(finding, 60) == [
        "fail  page            another program is there another",
        "                      program is there",
        "                      -> choose another address choose",
        "                         another address",
    ]


def test_a_path_is_never_broken() -> None:
    path = "/home/pi/" + "very-long-" * 12 + "/state.db"
    shown = lines(Finding("state", PASS, f"saved at {path} now"), 60)
    assert any(path in line for line in shown)


def test_colours_are_codes_around_the_verdict_alone() -> None:
    (plain,), (coloured,) = (lines(WELL, 60, coloured=coloured) for coloured in (False, True))
    assert coloured == "\x1b[32mpass\x1b[0m" + plain.removeprefix("pass")


def test_foreign_words_cannot_tear_a_line() -> None:
    finding = Finding("page", WARN, "it calls itself \x1b[2J\nroot")
    assert lines(finding, 80) == ["warn  page            it calls itself [2J root"]
    assert json.loads(as_json([finding]))["checks"][0]["says"] == "it calls itself  [2J root"


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ([PASS], "All is well."),
        ([PASS, WARN], "Problems: 0, warnings: 1."),
        ([WARN, WARN], "Problems: 0, warnings: 2."),
        ([PASS, FAIL], "Problems: 1, warnings: 0."),
        ([FAIL, FAIL, WARN], "Problems: 2, warnings: 1."),
    ],
)
def test_the_last_line_sums_up(verdicts: list[Verdict], words: str) -> None:
    found = [Finding("state", verdict, "") for verdict in verdicts]
    assert sum_up(found) == words


def test_findings_come_in_the_order_of_the_checks_whichever_is_first() -> None:
    second_is_done = threading.Event()

    def slow() -> Iterator[Finding]:
        assert second_is_done.wait(10)
        yield Finding("slow", PASS, "at last")

    def quick() -> Iterator[Finding]:
        yield Finding("quick", PASS, "at once")
        second_is_done.set()

    running = run_checks([Check("slow", slow), Check("quick", quick)])
    assert [finding.thing for finding in running] == ["slow", "quick"]


def test_a_finding_is_told_while_others_are_still_under_way() -> None:
    may_go_on = threading.Event()

    def first() -> Iterator[Finding]:
        yield WELL
        assert may_go_on.wait(10)
        yield Finding("state", WARN, "late")

    found = run_checks([Check("state", first)])
    assert next(found) == WELL
    may_go_on.set()
    assert [finding.says for finding in found] == ["late"]


def test_a_check_that_hangs_has_failed_and_hides_nothing() -> None:
    for_ever = threading.Event()

    def hang() -> Iterator[Finding]:
        yield Finding("page", PASS, "so far")
        for_ever.wait()

    try:
        found = list(run_checks([Check("page", hang), check("state", WELL)], limit=0.2))
    finally:
        for_ever.set()
    assert [(f.thing, f.verdict) for f in found] == [
        ("page", PASS),
        ("page", FAIL),
        ("state", PASS),
    ]
    assert found[1].says == "no answer within 0.2 s"
    assert found[1].cure


def test_a_check_that_breaks_has_failed_and_does_not_say_what_may_be_secret() -> None:
    def broken() -> Iterator[Finding]:
        yield from ()
        raise ValueError("the token is hunter2")

    first, second = run_checks([Check("x", broken), check("state", WELL)])
    assert (first.verdict, first.says) == (FAIL, "the check failed: ValueError")
    assert "bug" in first.cure
    assert second == WELL
