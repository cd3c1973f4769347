"""The metrics as Prometheus takes them: well-formed, and equal to what the board says."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from serving import Serving, make_reading

from tweetdock import __version__
from tweetdock.core.coverage import Grade
from tweetdock.core.post import Batch, Post, Span, Trouble
from tweetdock.show.board import BUCKETS, Board, Health, Past
from tweetdock.show.web.metrics import Metrics

if TYPE_CHECKING:
    from prometheus_client import Metric

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def serving() -> Iterator[Serving]:
    with Serving() as serving:
        yield serving


def scrape(serving: Serving) -> str:
    found = serving.get("/metrics", accept="text/plain")
    assert found.status_code == 200
    return found.text


def samples(text: str) -> Samples:
    return {
        (sample.name.removeprefix("tweetdock_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_what_the_reading_says_is_there(serving: Serving) -> None:
    source = make_reading().sources["x"]
    weak = replace(source, grade=Grade.PARTIAL, posts=3, authors=2, covered=0.25, heard_ms=None)
    reading = make_reading(
        grade=Grade.PARTIAL, covered=0.25, sources={"x": source, "bluesky": weak}, replay=True
    )
    serving.board.publish(reading)
    serving.seconds += 1.5
    found = samples(scrape(serving))
    assert value(found, "build_info", version=__version__) == 1
    assert value(found, "posts") == 412
    assert value(found, "authors") == 287
    assert value(found, "window_seconds") == 3600
    assert value(found, "reading_timestamp_seconds") == reading.at_ms / 1000
    assert value(found, "certain_timestamp_seconds") == reading.certain_ms / 1000
    assert value(found, "source_certain_timestamp_seconds", source="x") == (
        reading.sources["x"].certain_ms / 1000
    )
    assert value(found, "covered_ratio") == 0.25
    assert [value(found, "grade", grade=grade) for grade in Grade] == [0, 0, 1, 0]
    assert (value(found, "demo"), value(found, "replay")) == (0, 1)
    assert value(found, "source_posts", source="x") == 412
    assert value(found, "source_authors", source="bluesky") == 2
    assert value(found, "source_covered_ratio", source="bluesky") == 0.25
    assert value(found, "source_lag_seconds", source="x") == 2.5 + 1.5
    assert ("source_lag_seconds", frozenset({("source", "bluesky")})) not in found
    grades = [value(found, "source_grade", source="x", grade=grade) for grade in Grade]
    assert grades == [1, 0, 0, 0]
    for name, dial in reading.dials.items():
        assert value(found, "dial_position_ratio", dial=name) == dial.position
        assert value(found, "dial_angle_degrees", dial=name) == dial.angle
        assert value(found, "dial_full_scale", dial=name) == dial.full_scale
        assert value(found, "dial_pegged", dial=name) == 0
        assert value(found, "dial_known", dial=name) == 1
        assert value(found, "needle_angle_degrees", dial=name) == serving.needles[name]


def test_what_is_not_known_is_absent_and_not_zero(serving: Serving) -> None:
    serving.needles = {}
    found = samples(scrape(serving))
    assert {"posts", "authors", "grade", "cost_usd", "needle_angle_degrees"}.isdisjoint(
        name for name, _ in found
    )
    assert value(found, "servos_up") == 0


def test_what_each_feed_has_said_is_counted(serving: Serving) -> None:
    posts = tuple(Post(f"x:{number}", "x:1", number) for number in range(7))
    for _ in range(2):
        serving.board.count(Batch(source="x", posts=posts, covers=Span(0, 1)))
    serving.board.count(Trouble(source="x", detail="no answer"))
    serving.board.count(Trouble(source="x", detail="by budget", by_choice=True))
    serving.board.count(Trouble(source="mastodon", server="fosstodon.org", detail="no answer"))
    found = samples(scrape(serving))
    assert value(found, "answers_total", feed="x") == 2
    assert value(found, "faults_total", feed="x") == 1
    assert value(found, "posts_read_total", feed="x") == 14
    (other,) = set(serving.board.feeds) - {"x"}
    assert value(found, "bluesky_seam_posts_total") == 0
    serving.board.count(Batch(source="bluesky", channel="gaps", posts=posts), new=3)
    assert value(samples(scrape(serving)), "bluesky_seam_posts_total") == 3
    assert value(found, "faults_total", feed=other) == 1


def test_how_the_house_is(serving: Serving) -> None:
    serving.cost_usd = 0.24
    serving.threads = {"needles": True, "source x": False}
    serving.seconds += 3
    found = samples(scrape(serving))
    assert value(found, "cost_usd") == 0.24
    assert value(found, "servos_up") == 1
    assert value(found, "thread_up", thread="needles") == 1
    assert value(found, "thread_up", thread="source x") == 0
    assert value(found, "loop_silence_seconds") == 3
    assert value(found, "watchers") == 0
    serving.servo_trouble = "no pigpiod at localhost:8888"
    assert value(samples(scrape(serving)), "servos_up") == 0


@given(st.lists(st.floats(0, 20)))
def test_the_histogram_counts_every_delay_up_to_each_end(delays: list[float]) -> None:
    health = Health(threads=dict, needles=dict, servo_trouble=lambda: "", cost_usd=lambda: None)
    board = Board(Past(), health)
    for delay in delays:
        board.note_delay(delay)
    text, _ = Metrics(board, lambda: 0).scrape("")
    found = samples(text.decode())
    for end in BUCKETS:
        counted = sum(delay <= end for delay in delays)
        assert value(found, "loop_delay_seconds_bucket", le=str(end)) == counted
    assert value(found, "loop_delay_seconds_bucket", le="+Inf") == len(delays)
    assert value(found, "loop_delay_seconds_count") == len(delays)
    assert value(found, "loop_delay_seconds_sum") == pytest.approx(sum(delays))


def test_every_metric_is_ours_and_has_a_sentence_of_help(serving: Serving) -> None:
    serving.cost_usd = 1.0
    serving.board.publish(make_reading())
    families = list(text_string_to_metric_families(scrape(serving)))
    assert len(families) > 25
    for family in families:
        assert family.name.startswith("tweetdock_")
        assert family.documentation.endswith(".")
        assert family.samples or family.type == "counter"


def test_who_asks_for_openmetrics_gets_them(serving: Serving) -> None:
    serving.board.publish(make_reading())
    accept = "application/openmetrics-text; version=1.0.0"
    found = serving.get("/metrics", accept=accept)
    assert found.headers["content-type"].startswith("application/openmetrics-text")
    parse: Callable[[str], Iterable[Metric]] = openmetrics.text_string_to_metric_families
    names = {family.name for family in parse(found.text)}
    assert {"tweetdock_posts", "tweetdock_build", "tweetdock_loop_delay_seconds"} <= names


def test_while_the_loop_hangs_the_reading_is_absent(serving: Serving) -> None:
    serving.board.publish(make_reading())
    serving.seconds += 11
    found = samples(scrape(serving))
    assert {"posts", "grade", "source_posts", "dial_position_ratio"}.isdisjoint(n for n, _ in found)
    assert value(found, "loop_silence_seconds") == 11
    assert value(found, "thread_up", thread="needles") == 1


ODD = [
    "application/openmetrics-text; version=abc",
    "application/openmetrics-text;version=1.",
    "text/plain;escaping=values;version=1.x",
    "text/plain;version=1.0.0;escaping=other",
    "application/openmetrics-text;version=1.0.0;escaping=",
    "*/*;q=x, ;;,=",
]


@pytest.mark.parametrize("accept", ODD)
def test_who_asks_oddly_gets_metrics_all_the_same(serving: Serving, accept: str) -> None:
    """Each of them was a bug of TweetDock, with 500."""
    serving.board.publish(make_reading())
    found = serving.get("/metrics", accept=accept)
    assert found.status_code == 200
    assert "tweetdock_posts 412.0" in found.text


KINDS = st.sampled_from(["application/openmetrics-text", "text/plain", "*/*", ""])
NUMBERS = st.text("01.x -", max_size=5)
WAYS = st.sampled_from(["values", "dots", "underscores", "allow-utf-8", "", "x", "="])


@given(st.builds("{};version={};escaping={}".format, KINDS, NUMBERS, WAYS))
@example("application/openmetrics-text;version=10;escaping=values")
def test_no_wish_is_too_odd(accept: str) -> None:
    health = Health(threads=dict, needles=dict, servo_trouble=lambda: "", cost_usd=lambda: None)
    body, kind = Metrics(Board(Past(), health), lambda: 0).scrape(accept)
    # Names are escaped for whoever asks for that.
    assert re.search(rb"^(U__)?tweetdock__?watchers 0\.0$", body, re.MULTILINE)
    assert kind.startswith(("text/plain;", "application/openmetrics-text;"))


def test_foreign_names_do_not_break_the_text(serving: Serving) -> None:
    name = 'a"b\\c\nd #{}é'
    serving.threads = {name: True}
    serving.board.count(Trouble(source=name, detail=""))
    found = samples(scrape(serving))
    assert value(found, "thread_up", thread=name) == 1
    assert value(found, "faults_total", feed=name) == 1


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="no promtool; install the package prometheus"
)
def test_prometheus_own_tool_finds_nothing_to_mend(serving: Serving) -> None:
    serving.cost_usd = 1.0
    serving.board.publish(make_reading())
    serving.board.count(Trouble(source="x", detail="no answer"))
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=scrape(serving),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
