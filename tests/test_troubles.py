"""A lasting trouble in the log: its beginning, its end, and a reminder now and then."""

import logging

import pytest

from tweetdock.retry import REMIND_SECONDS, TroubleLog


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "a.thing")
    return caplog


@pytest.fixture
def troubles() -> TroubleLog:
    return TroubleLog(logging.getLogger("a.thing"), "x")


def test_a_trouble_is_told_when_it_begins(
    log: pytest.LogCaptureFixture, troubles: TroubleLog
) -> None:
    troubles.failed("no route to X", 40.0)
    assert log.record_tuples == [("a.thing", logging.WARNING, "x: no route to X; next try in 40 s")]


def test_what_somebody_must_mend_is_an_error(
    log: pytest.LogCaptureFixture, troubles: TroubleLog
) -> None:
    troubles.failed("X does not accept the credentials", 900.0, needs_owner=True)
    assert log.records[0].levelno == logging.ERROR
    assert log.messages == ["x: X does not accept the credentials; next try in 15 min"]


def test_the_same_trouble_again_is_not_told_again(
    log: pytest.LogCaptureFixture, troubles: TroubleLog
) -> None:
    for _ in range(100):
        troubles.failed("no route to X", 10.0)
    assert len(log.records) == 1


def test_a_lasting_trouble_is_told_every_half_hour(
    log: pytest.LogCaptureFixture, troubles: TroubleLog
) -> None:
    for _ in range(361):  # an hour of tries
        troubles.failed("no route to X", 10.0)
    assert len(log.records) == 1 + 3600 // REMIND_SECONDS


def test_another_trouble_is_told_at_once_but_not_each_time_that_they_take_turns(
    log: pytest.LogCaptureFixture, troubles: TroubleLog
) -> None:
    for _ in range(50):
        troubles.failed("no route to X", 10.0)
        troubles.failed("X is over capacity", 10.0)
    assert len(log.records) == 2


def test_the_end_of_a_trouble_is_told_with_its_length(
    log: pytest.LogCaptureFixture, troubles: TroubleLog
) -> None:
    for _ in range(30):
        troubles.failed("no route to X", 10.0)
    troubles.worked()
    troubles.worked()
    assert log.record_tuples[1:] == [("a.thing", logging.INFO, "x: back after about 5 min")]


def test_what_works_all_the_time_is_not_told(
    log: pytest.LogCaptureFixture, troubles: TroubleLog
) -> None:
    troubles.worked()
    troubles.worked()
    assert log.records == []


def test_a_trouble_that_returns_begins_anew(
    log: pytest.LogCaptureFixture, troubles: TroubleLog
) -> None:
    for _ in range(2):
        troubles.failed("no route to X", 100.0)
        troubles.worked()
    assert (
        log.messages
        == [
            "x: no route to X; next try in 2 min",
            "x: back after about 2 min",
        ]
        * 2
    )
