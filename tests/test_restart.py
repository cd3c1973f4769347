"""A restart: the hour is back at once, and only the time in between is asked for."""

import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from running import LIMIT, Running, run_here
from standins.pigpiod import PulseChange, StandInPigpiod
from standins.x_api import XApi, make_post

TOKEN = "a-bearer-token-of-32-characters!"
POSTS = 500


@pytest.fixture
def api() -> Iterator[XApi]:
    dice, now_ms = random.Random(7), round(time.time() * 1000)
    moments = dice.sample(range(now_ms - 58 * 60_000, now_ms - 3 * 60_000), POSTS)
    with XApi((make_post(ms, dice.randrange(700)) for ms in moments), bearer=TOKEN) as api:
        api.add(*(make_post(ms, n, tag="other", sequence=1) for n, ms in enumerate(moments[:50])))
        yield api


def at_x(api: XApi, **env: str) -> dict[str, str]:
    given = {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": TOKEN, "X_API_URL": api.url}
    return given | {"TWEETDOCK_POLL_SECONDS": "1", "TWEETDOCK_SAVE_SECONDS": "0"} | env


def once(api: XApi, folder: Path, **env: str) -> dict[str, Any]:
    done = run_here("--once", folder=folder, env=at_x(api, **env))
    assert done.returncode == 0, done.stderr
    reading: dict[str, Any] = json.loads(done.stdout)
    for source in reading["sources"].values():
        # What today has cost stays; what it will have cost depends on the hour.
        source["detail"] = source["detail"].partition(",")[0]
        assert source.pop("heard_at") is not None  # it has spoken again since
    for one in (reading, *reading["sources"].values()):
        del one["certain_until"]
    return {name: value for name, value in reading.items() if name != "at"}


def test_the_first_reading_is_the_one_before_and_nothing_is_read_again(
    api: XApi, tmp_path: Path
) -> None:
    before = once(api, tmp_path)
    assert (before["posts"], before["grade"]) == (POSTS, "exact")
    assert api.posts_read == POSTS
    assert before["sources"]["x"]["detail"] == f"{POSTS * 0.005:.2f} USD today"
    asked = len(api.requests)
    assert once(api, tmp_path) == before
    assert len(api.requests) == asked + 1
    assert api.posts_read == POSTS


def test_another_hashtag_is_counted_from_its_own_posts_only(api: XApi, tmp_path: Path) -> None:
    assert once(api, tmp_path)["posts"] == POSTS
    assert once(api, tmp_path, TWEETDOCK_HASHTAGS="other")["posts"] == 50
    assert once(api, tmp_path, TWEETDOCK_HASHTAGS="other")["posts"] == 50
    assert api.posts_read == POSTS + 50
    assert once(api, tmp_path)["posts"] == POSTS


def test_a_longer_window_asks_for_what_it_lacks(api: XApi, tmp_path: Path) -> None:
    now_ms = round(time.time() * 1000)
    api.add(*(make_post(now_ms - 5_400_000 - n, n) for n in range(30)))
    assert once(api, tmp_path)["posts"] == POSTS
    longer = once(api, tmp_path, TWEETDOCK_WINDOW_SECONDS="7200")
    assert (longer["posts"], longer["grade"]) == (POSTS + 30, "exact")


def test_one_reading_can_be_had_beside_a_gauge_at_work(api: XApi, tmp_path: Path) -> None:
    archive = {"TWEETDOCK_ARCHIVE": str(tmp_path / "tweets.jsonl.gz")}
    with Running(folder=tmp_path, env=at_x(api, **archive)) as tweetdock:
        tweetdock.wait_for(f"{POSTS} tweets", "exact")
        # It is saved after it is logged, and before the next request.
        assert api.wait_for_requests(len(api.requests) + 1, LIMIT)
        assert once(api, tmp_path, **archive)["posts"] == POSTS
        assert api.posts_read == POSTS
        assert tweetdock.stop() == 0


def test_after_a_kill_the_hour_and_the_needles_are_where_they_were_though_x_is_down(
    api: XApi, tmp_path: Path
) -> None:
    with StandInPigpiod() as pigpiod:
        servos = {"TWEETDOCK_SERVO_BACKEND": "pigpio", "PIGPIO_ADDR": "127.0.0.1"}
        env = at_x(api, **servos, PIGPIO_PORT=str(pigpiod.port))
        with Running(folder=tmp_path, env=env) as tweetdock:
            tweetdock.wait_for(f"{POSTS} tweets", "exact")
            assert pigpiod.wait_until(lambda: has_arrived(pigpiod.pulses), LIMIT)
            api.wait_for_requests(len(api.requests) + 2, LIMIT)
            tweetdock.process.kill()
            tweetdock.process.wait()
        api.down()
        seen = len(pigpiod.pulses)
        with Running(folder=tmp_path, env=env) as tweetdock:
            tweetdock.wait_for(f"{POSTS} tweets (180° of 0..{POSTS})")
            assert pigpiod.wait_until(lambda: len(pigpiod.pulses) > seen + 2, LIMIT)
            first = next(c for c in pigpiod.pulses[seen:] if c.gpio == 12 and c.pulse_us)
            assert tweetdock.stop() == 0
    assert first.pulse_us == pytest.approx(2000, abs=5)


def has_arrived(pulses: Sequence[PulseChange]) -> bool:
    return any(change.gpio == 12 and change.pulse_us >= 1999 for change in pulses)
