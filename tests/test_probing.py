"""Which sources are probed, the probe of a recording, and what is left of a limit."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from checking import assert_well_said, check
from replaying import DAY_MS, x_post

from tweetdock.core.finding import Finding, Verdict
from tweetdock.keep.archive_reader import read_lines
from tweetdock.settings.gauge import Settings
from tweetdock.sources.choice import checks
from tweetdock.sources.http import RateLimit, left_of

PASS, WARN, FAIL = Verdict
ALL = {
    "TWEETDOCK_SOURCES": "x,x-stream,bluesky,mastodon,replay:/nowhere/a.jsonl,replay:b.jsonl",
    "TWEETDOCK_HASHTAGS": "dockercon",
    "TWEETDOCK_MASTODON": "fosstodon.org hachyderm.io",
    "X_BEARER_TOKEN": "a-bearer-token",
}


def test_every_source_and_every_server_has_a_check() -> None:
    found = checks(Settings.from_env(ALL), read_lines, dict)
    assert [check.thing for check in found] == [
        "x",
        "bluesky",
        "mastodon fosstodon.org",
        "mastodon hachyderm.io",
        "replay",
        "replay",
    ]


def test_spending_is_of_no_interest_where_the_state_is_nowhere() -> None:
    """Without a home folder its check failed by a bug of ours."""
    env = {"TWEETDOCK_HASHTAGS": "a", "X_BEARER_TOKEN": "token"}
    found = checks(Settings.from_env(env), read_lines, dict)
    (names,) = [check.settings for check in found if check.thing == "spending"]
    assert "TWEETDOCK_STATE_DIR" in names


def test_no_network_is_loaded_before_it_is_checked() -> None:
    script = (
        "import sys\n"
        "from tweetdock.settings.gauge import Settings\n"
        "from tweetdock.sources.choice import checks\n"
        f"assert len(list(checks(Settings.from_env({ALL!r}), print, dict))) == 6\n"
        "assert not {'requests', 'tweepy', 'websockets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


def test_a_demo_takes_nothing() -> None:
    (found,) = check({"TWEETDOCK_SOURCES": "demo", "TWEETDOCK_HASHTAGS": "a"})
    assert (found.thing, found.verdict) == ("demo", PASS)


def lines(number: int) -> bytes:
    posts = (x_post(n, n % 7 + 1, DAY_MS + n * 1000)[0] for n in range(1, number + 1))
    return b"".join(json.dumps(post).encode() + b"\n" for post in posts)


def replay(path: Path) -> Finding:
    findings = check({"TWEETDOCK_SOURCES": f"replay:{path}"})
    assert_well_said(findings)
    (found,) = findings
    return found


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_recording_is_read_packed_or_not(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "event.jsonl"
    path.write_bytes(pack(lines(40)))
    found = replay(path)
    assert (found.verdict, "first 40 entries 40 are posts" in found.says) == (PASS, True)


def test_of_a_long_recording_the_beginning_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "event.jsonl"
    path.write_bytes(lines(30_000))
    found = replay(path)
    assert (found.verdict, "of its first 5,000 entries" in found.says) == (PASS, True)


def test_what_is_strange_or_damaged_in_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "event.jsonl"
    path.write_bytes(lines(3) + b"hello\n" + lines(3))
    found = replay(path)
    assert (found.verdict, "cannot be read: 1 of 7" in found.says) == (WARN, True)
    path.write_bytes(gzip.compress(lines(3)) + gzip.compress(lines(3))[:-9])
    found = replay(path)
    assert (found.verdict, "damaged places: 1" in found.says) == (WARN, True)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "has no posts: it is empty"),
        (b"root:x:0:0\n", "cannot be read: 1 of 1"),
        (b'{"delete":{}}\n', "deletions"),
        (b"BZh91AY&SY\x17\x72", "cannot be read: 1 of 1"),
    ],
)
def test_a_file_without_posts_says_what_it_is(tmp_path: Path, body: bytes, says: str) -> None:
    path = tmp_path / "event.jsonl"
    path.write_bytes(body)
    found = replay(path)
    assert (found.verdict, says in found.says, "gzip" in found.cure) == (FAIL, True, True), found


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    found = replay(tmp_path / "none.jsonl")
    assert (found.verdict, "No such file" in found.says) == (FAIL, True)
    assert "none.jsonl" in found.cure
    assert "Is a directory" in replay(tmp_path).says
    os.mkfifo(tmp_path / "pipe")
    assert "no file, but a pipe" in replay(tmp_path / "pipe").says


def test_a_file_of_somebody_elses_says_what_to_do(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "event.jsonl"
    path.write_bytes(lines(1))
    path.chmod(0)
    request.getfixturevalue("somebody")
    found = replay(path)
    assert (found.verdict, "allowed to read it" in found.cure) == (FAIL, True)


@pytest.mark.parametrize("name", ["x-rate-limit", "x-ratelimit"])
@pytest.mark.parametrize(
    "reset",
    [
        "253402300799000",
        "-99999999999999",
        "253402300800",
        "9" * 99,
        "9" * 5000,
        "9999-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_a_limit_that_ends_when_no_calendar_goes_so_far_is_none(name: str, reset: str) -> None:
    """Such a date ended the whole check, and asked the owner to report a bug."""
    limit = RateLimit.from_headers({f"{name}-remaining": "3", f"{name}-reset": reset})
    found = left_of("x", limit, 1_790_000_000_000, wanted_seconds=5.0, what="searches")
    assert (limit, found.verdict) == (None, PASS)
