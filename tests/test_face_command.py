"""The command that draws faces, as a maker gives it."""

from contextlib import closing
from pathlib import Path

import pytest
from drawings import Drawing, reader
from running import run, run_here

from tweetdock.core.gauge import Saved, ScaleState
from tweetdock.keep.database import State, Store

FIXED = {"TWEETDOCK_TWEETS_SCALE": "linear:500", "TWEETDOCK_TWEETERS_SCALE": "log:1000"}
ALL = "tweets", "tweeters"


def test_both_faces_are_drawn_from_what_is_set_for_the_dials_alone(tmp_path: Path) -> None:
    # Who builds a dial has no credentials yet, and perhaps other things wrong.
    env = FIXED | {
        "TWEETDOCK_TWEETS_MIN_ANGLE": "10",
        "TWEETDOCK_TWEETERS_REVERSED": "1",
        "TWEETDOCK_SOURCES": "nonsense",
    }
    done = run("face", folder=tmp_path, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == ["tweetdock-tweets.svg", "tweetdock-tweeters.svg"]
    tweets, tweeters = (
        Drawing((tmp_path / f"tweetdock-{name}.svg").read_text("utf-8")) for name in ALL
    )
    assert tweets.texts("title") == ["tweets", "in the last hour"]
    assert tweets.texts("numbers") == ["0", "100", "200", "300", "400", "500"]
    assert "0 at 10\u00b0 (1000 \u00b5s), 500 at 180\u00b0 (2000 \u00b5s)" in tweets.texts("check")
    assert tweeters.texts("numbers")[-1] == "1000"
    assert "0 at 0\u00b0 (2000 \u00b5s), 1000 at 180\u00b0 (1000 \u00b5s)" in tweeters.texts(
        "check"
    )


def test_a_pdf_has_both_dials_and_is_not_replaced_by_mistake(tmp_path: Path) -> None:
    pytest.importorskip("fpdf", reason="fpdf2 is not installed")
    words = ("face", "-o", "dials.PDF", "--paper", "letter")
    assert run_here(*words, folder=tmp_path, env=FIXED).returncode == 0
    content = (tmp_path / "dials.PDF").read_bytes()
    assert len(reader(content).pages) == 2
    again = run_here(*words, folder=tmp_path, env=FIXED)
    assert again.returncode == 69
    assert "--force" in again.stderr
    assert (tmp_path / "dials.PDF").read_bytes() == content
    assert run_here(*words, "--force", folder=tmp_path, env=FIXED).returncode == 0


def test_of_two_files_none_is_written_if_one_is_there(tmp_path: Path) -> None:
    (tmp_path / "my-tweeters.svg").write_text("mine")
    done = run_here("face", "-o", "my.svg", folder=tmp_path, env=FIXED)
    assert done.returncode == 69
    assert "my-tweeters.svg exists already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["my-tweeters.svg"]


def keep_scales(folder: Path, full_scale: int) -> None:
    folder.mkdir()
    saved = Saved(salt=bytes(16), scales={"tweets": ScaleState(full_scale, None)})
    with closing(Store(folder, {"x": "#one"}, 3_600_000)) as store:
        store.save(State(saved_ms=1_795_262_400_000, saved=saved, cursors={}))


def test_an_automatic_scale_is_printed_as_it_stands_with_a_word_of_warning(tmp_path: Path) -> None:
    keep_scales(tmp_path / "state", 2000)
    done = run_here("face", "tweets", "--title", "posts", folder=tmp_path)
    assert done.returncode == 0
    assert "put into .env: TWEETDOCK_TWEETS_SCALE=linear:2000" in done.stderr
    drawing = Drawing((tmp_path / "tweetdock-tweets.svg").read_text("utf-8"))
    assert drawing.texts("numbers")[-1] == "2000"
    assert drawing.texts("title")[0] == "posts"


def test_an_automatic_scale_that_stands_nowhere_yet_is_asked_for(tmp_path: Path) -> None:
    done = run_here("face", "tweeters", folder=tmp_path)
    assert done.returncode == 2
    assert "TWEETDOCK_TWEETERS_SCALE=linear:500" in done.stderr
    assert "--full-scale" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--full-scale", "800"), "TWEETDOCK_TWEETERS_SCALE=log:800"),
        (("--scale", "linear:70"), "TWEETDOCK_TWEETERS_SCALE=linear:70"),
        (("--scale", "log:999999999"), "TWEETDOCK_TWEETERS_SCALE=log:999999999"),
        (("--full-scale", "1000"), ""),
    ],
)
def test_a_scale_for_the_face_alone_is_warned_of(
    words: tuple[str, ...], line: str, tmp_path: Path
) -> None:
    env = FIXED | {"TWEETDOCK_TWEETERS_MIN_ANGLE": "-123.456"}
    done = run_here("face", "tweeters", *words, folder=tmp_path, env=env)
    assert done.returncode == 0
    assert done.stderr.strip().endswith(line)
    assert bool(done.stderr) == bool(line)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("-o", "face.png"), "must end in .svg or .pdf"),
        (("--title", "posts"), "name the dial"),
        (("tweets", "--font", "x.ttf"), "--font is for a PDF"),
        (("tweets", "--scale", "auto"), "one scale, linear:N or log:N"),
        (("tweets", "--radius", "150"), "does not fit on A4"),
        (("tweets", "--full-scale", "0"), "a whole number from 1"),
        (("tweets", "--hole", "wide"), "a number from 0 to 100 mm"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    words: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    done = run_here("face", *words, folder=tmp_path, env=FIXED)
    assert done.returncode == 2
    assert complaint in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_wrong_settings_of_a_dial_are_told(tmp_path: Path) -> None:
    env = FIXED | {"TWEETDOCK_TWEETS_MIN_ANGLE": "200"}
    done = run_here("face", folder=tmp_path, env=env)
    assert done.returncode == 2
    assert "TWEETDOCK_TWEETS_MIN_ANGLE=200: must be below" in done.stderr


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ("5400", "in the last 90 min"),
        ("86400", "in the last day"),
    ],
)
def test_the_window_is_told_as_people_say_it(seconds: str, words: str, tmp_path: Path) -> None:
    env = FIXED | {"TWEETDOCK_WINDOW_SECONDS": seconds}
    assert run_here("face", "tweets", folder=tmp_path, env=env).returncode == 0
    drawing = Drawing((tmp_path / "tweetdock-tweets.svg").read_text("utf-8"))
    assert drawing.texts("title")[1] == words


def test_a_window_that_is_none_is_not_printed(tmp_path: Path) -> None:
    env = FIXED | {"TWEETDOCK_WINDOW_SECONDS": "soon"}
    assert run_here("face", "tweets", folder=tmp_path, env=env).returncode == 2
    words = ("face", "tweets", "--subtitle", "")
    assert run_here(*words, folder=tmp_path, env=env).returncode == 0
    drawing = Drawing((tmp_path / "tweetdock-tweets.svg").read_text("utf-8"))
    assert drawing.texts("title") == ["tweets"]
