"""The whole: `python -m tweetdock` as a user starts it, against stand-ins on loopback."""

import json
import os
import pty
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from dials import comes_true
from replaying import DAY_MS, as_line, x_post
from running import Running, command, environment, run, run_here
from simulation import Truth
from standins import pigpiod as standin
from standins import x_faults as faults
from standins.pigpiod import StandInPigpiod
from standins.x_api import XApi, make_post, shifted
from standins.x_posts import Post

import tweetdock
from tweetdock.core.times import parse_ms
from tweetdock.daemon import Daemon
from tweetdock.settings.gauge import SETTINGS, Settings
from tweetdock.threads import Crash, WatchedThread

TOKEN = "a-bearer-token-of-32-characters!"
STEP_US = 5.0


@pytest.fixture
def api() -> Iterator[XApi]:
    with XApi(bearer=TOKEN) as api:
        yield api


@pytest.fixture
def pigpiod() -> Iterator[StandInPigpiod]:
    with StandInPigpiod() as pigpiod:
        yield pigpiod


def at_x(api: XApi, **env: str) -> dict[str, str]:
    given = {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": TOKEN, "X_API_URL": api.url}
    return given | env


def at_pigpiod(pigpiod: StandInPigpiod, **env: str) -> dict[str, str]:
    given = {"TWEETDOCK_SERVO_BACKEND": "pigpio", "PIGPIO_ADDR": "127.0.0.1"}
    return given | {"PIGPIO_PORT": str(pigpiod.port), "TWEETDOCK_POLL_SECONDS": "1"} | env


def last_hour(number: int) -> list[Post]:
    """So many posts between 59 and 2 minutes ago, of 40 authors."""
    dice, now_ms = random.Random(number), round(time.time() * 1000)
    moments = dice.sample(range(now_ms - 59 * 60_000, now_ms - 2 * 60_000), number)
    return [make_post(at_ms, dice.randrange(40)) for at_ms in moments]


def pulses(posts: int, authors: int, full_scale: int = 500) -> tuple[float, float]:
    """The pulses of both dials, in microseconds, for linear scales."""
    return 1000 + 1000 * posts / full_scale, 1000 + 1000 * authors / full_scale


def stand_at(pigpiod: StandInPigpiod, wanted: tuple[float, float]) -> bool:
    """Whether the last pulses of both needles were within a step of what is wanted."""
    last = {change.gpio: change.pulse_us for change in pigpiod.pulses if change.pulse_us}
    return all(
        abs(last.get(gpio, 0) - us) <= STEP_US for gpio, us in zip((12, 13), wanted, strict=True)
    )


def is_at_rest(pigpiod: StandInPigpiod) -> bool:
    return pigpiod.pulse_us(12) == pigpiod.pulse_us(13) == 0


LINEAR = {"TWEETDOCK_TWEETS_SCALE": "linear:500", "TWEETDOCK_TWEETERS_SCALE": "linear:500"}


def test_version_and_help_tell_what_there_is(tmp_path: Path) -> None:
    assert run("--version", folder=tmp_path).stdout == f"TweetDock {tweetdock.__version__}\n"
    told = run_here("--help", folder=tmp_path).stdout
    for setting in SETTINGS:
        assert (f"{setting.flag} " in told) is not setting.secret


def test_the_help_tells_a_long_default_in_few_words(tmp_path: Path) -> None:
    """The default of --jetstream was five lines of addresses."""
    told = run_here("--help", folder=tmp_path).stdout
    assert "bsky.network" not in told
    assert "(four public ones)" in " ".join(told.split())


def recording(folder: Path) -> Path:
    """A file with two posts."""
    path = folder / "day.jsonl"
    path.write_bytes(b"".join(as_line(x_post(n, n, DAY_MS + n * 60_000)[0]) for n in (1, 2)))
    return path


def test_a_replay_is_named_at_its_start(tmp_path: Path) -> None:
    """The line began `TweetDock 0.1.0, a replay:/home/pi/day.jsonl`."""
    with Running(f"--sources=replay:{recording(tmp_path)}", folder=tmp_path) as daemon:
        daemon.wait_for(f"TweetDock {tweetdock.__version__}, a replay of day.jsonl\n")
        daemon.wait_for("posts: 2, authors: 2")
        assert daemon.stop() == 0


def test_a_replay_has_no_single_reading(tmp_path: Path) -> None:
    """It printed the first post of the file, as if that were the hour."""
    done = run_here("--once", f"--sources=replay:{recording(tmp_path)}", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--once: not for a replay, which begins with a single post" in done.stderr


def test_a_pipe_to_replay_ends_it_instead_of_holding_it_up(tmp_path: Path) -> None:
    """It hung for ever, and SIGTERM could not end it."""
    os.mkfifo(tmp_path / "pipe")
    done = run(f"--sources=replay:{tmp_path / 'pipe'}", folder=tmp_path)
    assert done.returncode == 69
    assert "pipe cannot be read: no file, but a pipe or a device" in done.stderr


def test_wrong_settings_are_all_named_at_once_and_nothing_starts(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TWEETDOCK_TWEETS_PIN=99\nX_BEARER_TOKEN=hush hush\n")
    done = run_here("--poll-seconds", "0", folder=tmp_path, env={"TWEETDOCK_HASHTAG": "dockercon"})
    assert done.returncode == 2
    assert done.stdout == ""
    for words in (
        "TWEETDOCK_TWEETS_PIN=99",
        "TWEETDOCK_POLL_SECONDS=0",
        "did you mean",
        "X_BEARER_TOKEN:",
    ):
        assert words in done.stderr
    assert "hush" not in done.stderr


def test_the_demo_needs_nothing_and_says_that_it_is_one(tmp_path: Path) -> None:
    done = run("--demo", "--once", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    reading = json.loads(done.stdout)
    assert reading["demo"] is True
    assert reading["grade"] == "exact"
    assert reading["posts"] > reading["authors"] > 50
    assert not list(tmp_path.iterdir())


def test_the_demo_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with Running("--demo", folder=tmp_path) as daemon:
            daemon.wait_for("DEMO, made-up posts:", "exact")
            assert daemon.stop(number) == 0
            daemon.wait_for("needles at rest")


def test_once_prints_the_truth_of_that_moment(api: XApi, tmp_path: Path) -> None:
    api.add(*last_hour(432))
    done = run("--once", folder=tmp_path, env=at_x(api))
    assert done.returncode == 0, done.stderr
    reading = json.loads(done.stdout)
    assert (reading["posts"], reading["authors"], reading["grade"]) == (432, 40, "exact")
    assert len(api.requests) == 5


@pytest.mark.parametrize("compress", [1, 20])
def test_once_is_right_about_a_real_day(api: XApi, tmp_path: Path, compress: int) -> None:
    folder = os.environ.get("TWEETDOCK_RECORDINGS", "")
    day = Path(folder) / "x-day.jsonl"
    if not folder or not day.is_file():
        pytest.skip("no recorded day at hand: set TWEETDOCK_RECORDINGS to its folder")
    recorded = [json.loads(line) for line in day.read_text().splitlines()]
    # Ends in a minute, so that posts come in while the gauge reads.
    api.add(*shifted(recorded, round(time.time() * 1000) + 60_000, compress))
    done = run("--once", folder=tmp_path, env=at_x(api))
    reading = json.loads(done.stdout)
    at_ms = parse_ms(reading["at"])
    served_ms = round(api.requests[0].time * 1000)
    truth = Truth(api)
    least = truth.count(at_ms - 3_600_000, served_ms)
    assert (reading["posts"], reading["authors"], reading["grade"]) == (*least, "exact")
    read = truth.count((served_ms - 3_600_000) // 1000 * 1000 - 1, served_ms)[0]
    assert len(api.requests) == -(-read // 100)
    assert reading["posts"] > 100 * (compress > 1)


def test_once_says_why_a_reading_is_not_complete(api: XApi, tmp_path: Path) -> None:
    api.fail_always(faults.credits_depleted())
    done = run_here("--once", folder=tmp_path, env=at_x(api))
    assert done.returncode == 69
    reading = json.loads(done.stdout)
    assert (reading["grade"], reading["posts"]) == ("partial", 0)
    assert "any credits" in reading["sources"]["x"]["detail"]
    assert "any credits" in done.stderr


def few_posts() -> list[Post]:
    """60 posts of 40 authors: the needles' first move, which is slow, is a short one."""
    now_ms = round(time.time() * 1000)
    return [make_post(now_ms - 60_000 * (n % 50 + 2), n % 40, sequence=n) for n in range(60)]


def test_the_needles_follow_x_to_within_a_step(
    api: XApi, pigpiod: StandInPigpiod, tmp_path: Path
) -> None:
    api.add(*few_posts())
    with Running(folder=tmp_path, env=at_x(api) | at_pigpiod(pigpiod) | LINEAR) as daemon:
        assert pigpiod.wait_until(lambda: stand_at(pigpiod, pulses(60, 40)), 15)
        assert pigpiod.wait_until(lambda: is_at_rest(pigpiod), 5)
        now_ms = round(time.time() * 1000)
        api.add(*(make_post(now_ms, 1000 + n, sequence=n) for n in range(50)))
        assert pigpiod.wait_until(lambda: stand_at(pigpiod, pulses(110, 90)), 15)
        assert pigpiod.wait_until(lambda: is_at_rest(pigpiod), 5)
        assert pigpiod.rash_cuts == 0
        assert daemon.stop() == 0
    assert is_at_rest(pigpiod)
    assert stand_at(pigpiod, pulses(0, 0))
    assert pigpiod.clients == 0


@pytest.mark.xdist_group("real time")
@pytest.mark.parametrize(
    "fault",
    [
        faults.drip(10),
        *(
            pytest.param(fault, marks=pytest.mark.thorough)
            for fault in (faults.hang(), faults.drip(10, "headers"))
        ),
    ],
    ids=["answer", "nothing", "headers"],
)
def test_it_stops_in_two_seconds_though_x_hangs(
    api: XApi, pigpiod: StandInPigpiod, tmp_path: Path, fault: faults.Fault
) -> None:
    api.add(*last_hour(450))
    with Running(folder=tmp_path, env=at_x(api) | at_pigpiod(pigpiod) | LINEAR) as daemon:
        # At its end: the longest way home.
        assert pigpiod.wait_until(lambda: stand_at(pigpiod, pulses(450, 40)), 60)
        api.fail_always(fault)
        assert api.wait_for_requests(len(api.requests) + 1, 60)
        assert daemon.stop_within(2) == 0
        assert is_at_rest(pigpiod)
    assert pigpiod.rash_cuts == 0


@pytest.mark.xdist_group("real time")
def test_it_stops_in_two_seconds_though_pigpiod_hangs(
    api: XApi, pigpiod: StandInPigpiod, tmp_path: Path
) -> None:
    api.add(*last_hour(450))
    with Running(folder=tmp_path, env=at_x(api) | at_pigpiod(pigpiod) | LINEAR) as daemon:
        assert pigpiod.wait_until(lambda: pigpiod.pulse_us(12) > 1100, 60)
        pigpiod.hang()
        assert daemon.stop_within(2) == 0


def test_a_pigpiod_that_dies_and_comes_back_is_survived_idly(
    api: XApi, pigpiod: StandInPigpiod, tmp_path: Path
) -> None:
    api.add(*few_posts())
    with Running(folder=tmp_path, env=at_x(api) | at_pigpiod(pigpiod) | LINEAR) as daemon:
        assert pigpiod.wait_until(lambda: stand_at(pigpiod, pulses(60, 40)), 15)
        pigpiod.kill()
        daemon.wait_for("servos:", "next try")
        process = psutil.Process(daemon.process.pid)
        began, used = time.monotonic(), sum(process.cpu_times()[:2])
        now_ms = round(time.time() * 1000)
        api.add(*(make_post(now_ms, 2000, sequence=n) for n in range(100)))
        assert api.wait_for_requests(len(api.requests) + 2, 15)
        share = (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - began)
        assert share < 0.1
        pigpiod.revive()
        daemon.wait_for("servos: back after")
        assert pigpiod.wait_until(lambda: stand_at(pigpiod, pulses(160, 41)), 15)
        assert daemon.stop() == 0
    assert is_at_rest(pigpiod)


def test_an_outage_of_x_is_told_lived_through_and_mended(
    api: XApi, pigpiod: StandInPigpiod, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api.add(*last_hour(50))
    env = at_x(api, TWEETDOCK_STATE_DIR=str(tmp_path), TWEETDOCK_WEB="off")
    # No owner may set as little, and no test has to wait for more.
    settings = replace(Settings.from_env(env | at_pigpiod(pigpiod) | LINEAR), stale_seconds=3)
    stopping, crashes = threading.Event(), list[Crash]()
    caplog.set_level("INFO", "tweetdock")

    def live() -> None:
        with Daemon(settings, stopping, threading.Event()) as daemon:
            daemon.run()

    def is_logged(*words: str) -> bool:
        return any(all(word in line for word in words) for line in caplog.messages)

    daemon = WatchedThread("daemon", live, crashes.append)
    assert pigpiod.wait_until(lambda: stand_at(pigpiod, pulses(50, 29)), 15)
    api.down()
    assert pigpiod.wait_until(lambda: stand_at(pigpiod, pulses(0, 0)), 20)
    assert is_logged("stale", "nothing listens there")
    caplog.clear()
    api.up()
    assert pigpiod.wait_until(lambda: stand_at(pigpiod, pulses(50, 29)), 40)
    assert comes_true(lambda: is_logged("50 tweets", "exact"), 10)
    stopping.set()
    assert daemon.join(10)
    assert not crashes
    assert not any("nothing listens there" in line for line in caplog.messages[-2:])


def test_a_backend_that_was_asked_for_and_cannot_be_had_ends_it(tmp_path: Path) -> None:
    env = {
        "TWEETDOCK_SERVO_BACKEND": "pigpio",
        "PIGPIO_ADDR": "127.0.0.1",
        "PIGPIO_PORT": str(standin.free_port()),
        "TWEETDOCK_SERVO_START_SECONDS": "0",
        "TWEETDOCK_SOURCES": "demo",
    }
    done = run_here(folder=tmp_path, env=env)
    assert done.returncode == 69
    assert "TWEETDOCK_SERVO_BACKEND=pigpio: no pigpiod answers at 127.0.0.1" in done.stderr


@pytest.mark.xdist_group("real time")
def test_it_starts_and_ends_a_pigpiod_of_its_own(tmp_path: Path) -> None:
    log, programs = tmp_path / "log", tmp_path / "programs"
    programs.mkdir()
    standin.install(programs)
    env = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PIGPIO_PORT": str(standin.free_port()),
        "STANDIN_PIGPIOD_LOG": str(log),
        "TWEETDOCK_SERVO_BACKEND": "pigpio",
        "TWEETDOCK_SOURCES": "demo",
    }
    with Running(folder=tmp_path, env=env) as daemon:
        daemon.wait_for("started pigpiod")
        daemon.wait_for("exact")
        assert daemon.stop_within(2) == 0
    entries = standin.read_log(log)
    assert [e.get("name") for e in entries if e.get("event") == "signal"] == ["SIGTERM"]
    last = {entry["gpio"]: entry["us"] for entry in entries if "gpio" in entry}
    assert last
    assert set(last.values()) == {0}


def test_a_bug_of_ours_ends_it_with_a_traceback(tmp_path: Path) -> None:
    broken = (
        "import sys, tweetdock.sources.demo as demo; demo.posts_in = None\n"
        "from tweetdock.cli import main; sys.exit(main(['--demo']))"
    )
    with Running(folder=tmp_path, argv=[sys.executable, "-c", broken]) as daemon:
        assert daemon.process.wait(10) == 1
        daemon.wait_for("'NoneType' object is not callable")
        assert "the thread source demo has failed" in daemon.log
        assert "INFO     stopped" not in daemon.log


def test_no_secret_is_ever_said(api: XApi, tmp_path: Path) -> None:
    api.fail_always(faults.unauthorized())
    env = at_x(api, TWEETDOCK_LOG_LEVEL="DEBUG", TWEETDOCK_LOG_FORMAT="json")
    with Running(folder=tmp_path, env=env) as daemon:
        daemon.wait_for("X_BEARER_TOKEN")
        assert daemon.stop() == 0
    assert TOKEN not in daemon.log
    for line in daemon.log.splitlines():
        assert {"at", "level", "logger", "message"} <= json.loads(line).keys()


def test_a_hang_up_ends_it_only_if_its_terminal_is_gone(tmp_path: Path) -> None:
    """In a container with a terminal, logrotate's word ended the gauge."""
    ours, its = pty.openpty()
    with open(ours, "rb", buffering=0) as screen:  # noqa: PTH123 - a descriptor
        process = subprocess.Popen(
            command("--demo"),
            cwd=tmp_path,
            env=environment(tmp_path, {"TERM": "dumb"}),
            stderr=its,
        )
        os.close(its)
        said = b""
        while b"tweeters" not in said:
            said += screen.read(1000)
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
    process.send_signal(signal.SIGHUP)
    assert process.wait(10) == 0
