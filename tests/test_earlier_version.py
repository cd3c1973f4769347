"""What an earlier TweetDock has left behind: its hour goes on, and its archive is readable.

The files in `data/earlier_version` were written by commit f452051, which was killed after posts
x:101 to x:105 were archived and before they were saved; the reading is what it showed after that.
"""

import gzip
import json
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from archiving import Watch

from tweetdock.core.gauge import Gauge
from tweetdock.core.post import Batch, Feed, Post, Raw, Span, Spent
from tweetdock.keep.archive import Archive
from tweetdock.keep.archive_reader import opened
from tweetdock.keep.database import HistoryRow
from tweetdock.keep.keeper import Keeper
from tweetdock.settings.gauge import Settings
from tweetdock.settings.keeping import Rotation

WRITTEN = Path(__file__).parent / "data" / "earlier_version"
NOON_MS = 1_790_000_000_000
NOW_MS = NOON_MS + 120_000
SEEN = Span(NOON_MS - 3_537_900, NOON_MS + 62_000)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Its archive has a relative path, which the state names.
    monkeypatch.chdir(tmp_path)
    shutil.copytree(WRITTEN, tmp_path, dirs_exist_ok=True)
    return tmp_path


def go_on() -> tuple[Keeper, Gauge]:
    env = {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": "a-token"}
    kept = {"TWEETDOCK_STATE_DIR": ".", "TWEETDOCK_ARCHIVE": "tweets.jsonl.gz"}
    settings = Settings.from_env(env | kept)
    archive = partial(Archive, Path("tweets.jsonl.gz"), Rotation(), lambda: None, Watch())
    keeper = Keeper(settings, {"x": "#dockercon -is:retweet"}, archive)
    gauge = Gauge(settings.gauge, [Feed("x", 105_000)], NOW_MS, keeper.recall())
    keeper.recall_archive(gauge, NOW_MS)
    return keeper, gauge


def test_its_hour_goes_on(folder: Path) -> None:
    keeper, gauge = go_on()
    shown = json.loads(json.dumps(gauge.read(NOW_MS).as_json()))
    for one in (shown, *shown["sources"].values()):
        del one["certain_until"]  # which it did not tell
    assert shown == json.loads((folder / "reading.json").read_text())
    assert keeper.cursor("x") == "100"
    assert tuple(gauge.known("x", NOW_MS)) == (SEEN,)
    assert keeper.spent == {"2026-09-21": {"x": Spent(2, 100)}}
    assert keeper.state is not None
    assert keeper.state.angles == (120.0, 30.5)
    assert keeper.state.saved.seen["x"].late_ms == 0
    minute = HistoryRow("minute", NOON_MS + 40_000, 80, 17, "exact", 3600.0, "#dockercon")
    assert keeper.past() == [minute]
    keeper.close(NOW_MS)


def test_what_it_has_archived_is_not_archived_again(folder: Path) -> None:
    keeper, gauge = go_on()
    # All that came after the last save comes again, and five more.
    numbers = range(91, 111)
    posts = [Post(f"x:{n}", f"x:{n % 17}", NOON_MS + 2000 + n) for n in numbers]
    batch = Batch(
        source="x",
        posts=tuple(posts),
        covers=Span(NOON_MS + 62_000, NOW_MS),
        raw=tuple(Raw(post.key, "{}", post) for post in posts),
    )
    keeper.keep(batch, gauge.deliver(batch, NOW_MS), NOW_MS)
    keeper.save(gauge, NOW_MS, (1.0, 2.0), is_confirmed=True)
    keeper.close(NOW_MS)
    assert gauge.read(NOW_MS).posts == 110
    lines = gzip.decompress(Path("tweets.jsonl.gz").read_bytes()).splitlines()
    versions = Counter(json.loads(line)["version"] for line in lines)
    assert versions == Counter(f"x:{n}" for n in range(1, 111))


def test_its_archive_is_readable(folder: Path) -> None:
    with opened(folder / "tweets.jsonl.gz") as reader:
        lines = list(reader)
        assert [line.raw.version for _, line in lines] == [f"x:{n}" for n in range(1, 106)]
        assert all(found.is_sound for found, _ in lines)
        assert (reader.damaged, reader.foreign) == (0, 0)
    raw = json.loads(lines[0][0].text)
    assert list(raw) == ["received", "source", "version", "key", "author", "created", "post"]
    assert raw["post"] == {"id": "1", "text": "pöst x:1"}
