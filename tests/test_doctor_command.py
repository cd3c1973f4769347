"""The command `doctor` as a person runs it: lines, cures, JSON, and what it never says."""

import json
import os
import pty
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from running import Running, command, environment, run, run_here
from standins.loopback import Loopback
from standins.pigpiod import free_port

from tweetdock.commands import doctor
from tweetdock.settings.gauge import SETTINGS

SECRETS = [setting.name for setting in SETTINGS if setting.secret]
MARKER = "hUnter2-Must/Stay%Hidden"
LEAST = {"TWEETDOCK_SOURCES": "bluesky", "TWEETDOCK_HASHTAGS": "dockercon"}


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """A server that refuses everything, and says in its refusal all that it was sent."""

    def refuse(connection: socket.socket) -> None:
        asked = connection.recv(65536)
        head = f"HTTP/1.1 401 {asked[:40]!r}\r\nContent-Length: {len(asked)}\r\n"
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + asked)

    server = Loopback(refuse)
    server.up()
    yield server.port
    server.close()


def checks(folder: Path, *words: str, code: int, env: Mapping[str, str]) -> list[dict[str, Any]]:
    """What `doctor --json` says, once it is seen that it says nothing else."""
    done = run_here("doctor", "--json", *words, folder=folder, env=env)
    assert (done.returncode, done.stderr) == (code, "")
    said = json.loads(done.stdout)
    assert set(said) == {"verdict", "checks"}
    assert all(set(one) == {"thing", "verdict", "says", "cure"} for one in said["checks"])
    verdicts = [one["verdict"] for one in said["checks"]]
    assert said["verdict"] == max(verdicts, key=["pass", "warn", "fail"].index)
    assert (said["verdict"] == "fail") is (code == 1)
    assert all(one["cure"] for one in said["checks"] if one["verdict"] == "fail")
    return list(said["checks"])


def of(thing: str, said: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["verdict"], one["says"]) for one in said if one["thing"] == thing]


def deaf(port: int) -> dict[str, str]:
    """Bluesky, which nobody hears."""
    return {**LEAST, "TWEETDOCK_JETSTREAM": f"ws://127.0.0.1:{port}/subscribe"}


def test_a_demo_is_well_and_the_last_line_says_so(tmp_path: Path) -> None:
    done = run("doctor", "--demo", folder=tmp_path, env={"TERM": "xterm"})
    assert (done.returncode, done.stderr) == (0, "")
    *lines, empty, last = done.stdout.splitlines()
    assert (empty, last) == ("", "All is well.")
    assert all(line.startswith(("pass  ", "      ")) for line in lines)
    assert all(len(line) <= 80 for line in lines)
    assert not (tmp_path / "state").exists()


def test_each_line_has_its_place(tmp_path: Path) -> None:
    said = checks(tmp_path, env=deaf(free_port()), code=1)
    order = list(dict.fromkeys(one["thing"].partition(" ")[0] for one in said))
    local = ["servos", "tweets", "tweeters", "state", "disk", "page"]
    assert order[:2] == ["settings", "machine"]
    assert order[-len(local) :] == local
    assert "bluesky" in order


def test_each_wrong_setting_has_a_line_and_the_rest_is_checked(tmp_path: Path) -> None:
    env = {
        **deaf(free_port()),
        "TWEETDOCK_TWEETS_PIN": "99",
        "TWEETDOCK_WEBB": "8080",
        "TWEETDOCK_SERVO_BACKEND": "strings",
    }
    said = checks(tmp_path, env=env, code=1)
    wrong = [says for verdict, says in of("settings", said) if verdict == "fail"]
    assert [says.partition(":")[0] for says in wrong] == [
        "TWEETDOCK_WEBB",
        "TWEETDOCK_SERVO_BACKEND=strings",
        "TWEETDOCK_TWEETS_PIN=99",
    ]
    assert {"machine", "tweeters dial", "state", "disk", "page"} <= {one["thing"] for one in said}
    assert any(one["thing"].startswith("bluesky") for one in said)
    # How a default does that takes the place of something wrong is no news.
    assert not {"servos", "tweets dial"} & {one["thing"] for one in said}


def test_without_credentials_the_house_is_checked_all_the_same(tmp_path: Path) -> None:
    said = checks(tmp_path, env={"TWEETDOCK_HASHTAGS": "dockercon"}, code=1)
    ((verdict, says),) = of("settings", said)
    assert verdict == "fail"
    assert says.startswith("X_BEARER_TOKEN: not set")
    cure = next(one["cure"] for one in said if one["thing"] == "settings")
    assert f"there is no {tmp_path}/.env" in cure
    assert {"servos", "state", "disk", "page"} <= {one["thing"] for one in said}
    assert "demo" not in {one["thing"] for one in said}
    ((_, says),) = of("state", said)
    assert "will be made at the first start" in says


@pytest.mark.parametrize(
    ("wrong", "unasked"),
    [
        ({"X_API_URL": "http://127.0.0.1:7777/2"}, {"x"}),
        ({"TWEETDOCK_SOURCES": "bluesk"}, {"x", "bluesky", "mastodon", "spending"}),
        ({"TWEETDOCK_JETSTREAM": "http://a.b"}, {"bluesky"}),
        ({"TWEETDOCK_MASTODON_TOKENS": "elsewhere.example=token"}, {"mastodon"}),
    ],
)
def test_no_other_server_is_asked_than_was_meant(
    tmp_path: Path, wrong: dict[str, str], unasked: set[str]
) -> None:
    """A refused address was replaced by its default, which then saw the token of another host."""
    asked: list[bytes] = []
    proxy = Loopback(lambda connection: asked.append(connection.recv(65536)))
    proxy.up()
    address = f"http://127.0.0.1:{proxy.port}"
    env = {
        **LEAST,
        "TWEETDOCK_SOURCES": "x,bluesky,mastodon",
        "X_BEARER_TOKEN": MARKER,
        "TWEETDOCK_MASTODON": "a.example",
        "HTTPS_PROXY": address,
        "HTTP_PROXY": address,
        **wrong,
    }
    try:
        said = checks(tmp_path, env=env, code=1)
    finally:
        proxy.close()
    networks = {one["thing"].partition(" ")[0] for one in said}
    assert not unasked & networks
    for network, host in (("x", b"api.x.com"), ("mastodon", b"a.example")):
        assert any(host in request for request in asked) is (network in networks)


def test_a_file_that_cannot_be_read_is_told_line_by_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TWEETDOCK_HASHTAGS=dockercon\nwhat is this\n")
    (tmp_path / ".env").chmod(0o600)
    said = checks(tmp_path, env={}, code=1)
    assert of("settings", said) == [("fail", ".env line 2: not of the form NAME=value")]
    assert {"machine", "disk"} <= {one["thing"] for one in said}


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"X_BEARER_TOKEN=\xff\xfe\n")
    (tmp_path / ".env").chmod(0o600)
    (first, *_) = checks(tmp_path, env={}, code=1)
    assert first["says"].startswith(f"{tmp_path}/.env: cannot be read: ")
    assert "UTF-8" in first["cure"]


def test_a_file_with_secrets_that_others_may_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(f"X_BEARER_TOKEN={MARKER}\n")
    env = {"TWEETDOCK_SOURCES": "demo"}
    for mode, verdicts in ((0o644, ["pass", "warn"]), (0o640, ["pass"])):
        path.chmod(mode)
        said = checks(tmp_path, env=env, code=0)
        assert [verdict for verdict, _ in of("settings", said)] == verdicts
    path.chmod(0o644)
    path.write_text("what is this\n")
    ((_, says),) = [
        one for one in of("settings", checks(tmp_path, env=env, code=1)) if one[0] == "warn"
    ]
    assert says == f"{path} may hold secrets, and other users may read it"
    path.write_text("TWEETDOCK_HASHTAGS=dockercon\n")
    assert [verdict for verdict, _ in of("settings", checks(tmp_path, env=env, code=0))] == ["pass"]


def test_it_is_told_where_settings_come_from(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TWEETDOCK_SOURCES=demo\nTWEETDOCK_POLL_SECONDS=7\n")
    said = checks(tmp_path, "--window-seconds", "600", env={"TWEETDOCK_POLL_SECONDS": "8"}, code=0)
    (_, says), (verdict, hidden) = of("settings", said)
    # Two more of the environment are the test's own.
    assert says.endswith("set: 1 in .env, 3 in the environment, 1 on the command line")
    assert verdict == "warn"
    assert hidden == "the environment wins over .env in TWEETDOCK_POLL_SECONDS"


def test_a_gauge_at_work_is_seen_and_left_in_peace(tmp_path: Path) -> None:
    env = {**deaf(free_port()), "TWEETDOCK_WEB": "127.0.0.1:0"}
    with Running(folder=tmp_path, env=env) as gauge:
        env["TWEETDOCK_WEB"] = page_of(gauge)
        gauge.wait_for("bluesky", "WARNING")
        gauge.forget()
        said = checks(tmp_path, env=env, code=1)
        assert "Traceback" not in gauge.log
        assert gauge.stop() == 0
    ((verdict, says),) = of("state", said)
    assert verdict == "pass"
    assert says.endswith("a running TweetDock uses it")
    ((_, says),) = of("page", said)
    assert "a TweetDock" in says


def page_of(gauge: Running) -> str:
    """The address of a gauge's page, as its log has it."""
    gauge.wait_for("page: http://")
    return gauge.log.partition("page: http://")[2].split()[0]


def secret_settings(port: int) -> dict[str, str]:
    """Every secret is the marker, and everything is asked of the server that repeats it."""
    env = dict.fromkeys(SECRETS, MARKER)
    env |= {
        "TWEETDOCK_HASHTAGS": "dockercon",
        "TWEETDOCK_SOURCES": "x,x-stream,mastodon,bluesky",
        "X_API_URL": f"http://127.0.0.1:{port}",
        "TWEETDOCK_MASTODON": f"http://127.0.0.1:{port}",
        "TWEETDOCK_MASTODON_TOKENS": f"127.0.0.1:{port}={MARKER}",
        "TWEETDOCK_JETSTREAM": f"ws://127.0.0.1:{port}/subscribe",
        "TWEETDOCK_ARCHIVE": "tweets.jsonl.gz",
        "TWEETDOCK_OFFLOAD": "s3://posts/raw",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    return env


IN_ADDRESS = f"http://me:{MARKER.replace('/', '%2F')}@127.0.0.1:9"
MISTAKES: dict[str, dict[str, str]] = {
    "none": {},
    "a token of two words": dict.fromkeys(SECRETS, f"{MARKER} {MARKER}"),
    "a password in X's address": {"X_API_URL": IN_ADDRESS},
    "a password in Mastodon's address": {"TWEETDOCK_MASTODON": IN_ADDRESS},
    "a password in S3's address": {"AWS_ENDPOINT_URL": IN_ADDRESS},
    "a password in the page's address": {"TWEETDOCK_WEB": IN_ADDRESS},
    "a password in a Jetstream's address": {
        "TWEETDOCK_JETSTREAM": IN_ADDRESS.replace("http", "ws")
    },
    "a token for the wrong host": {"TWEETDOCK_MASTODON_TOKENS": f"elsewhere={MARKER}"},
    "a token in place of hosts": {"TWEETDOCK_MASTODON": MARKER},
    "a token as the name of a bucket": {"TWEETDOCK_OFFLOAD": f"s3://{MARKER}"},
    "a token as a pigpiod's host": {"PIGPIO_ADDR": MARKER, "TWEETDOCK_SERVO_BACKEND": "pigpio"},
    "a token as a setting that there is not": {"TWEETDOCK_BEARER_TOKEN": MARKER},
    "a proxy with a password": {
        "HTTP_PROXY": IN_ADDRESS,
        "HTTPS_PROXY": IN_ADDRESS,
        "NO_PROXY": "",
    },
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_no_secret_is_ever_said(tmp_path: Path, echo: int, mistake: str) -> None:
    assert_discreet(
        run_here("doctor", folder=tmp_path, env=secret_settings(echo) | MISTAKES[mistake])
    )


@pytest.mark.parametrize("mistake", ["none", "a password in S3's address"])
def test_no_secret_is_ever_said_to_a_machine(tmp_path: Path, echo: int, mistake: str) -> None:
    env = secret_settings(echo) | MISTAKES[mistake]
    assert_discreet(run_here("doctor", "--json", folder=tmp_path, env=env))


def assert_discreet(done: "subprocess.CompletedProcess[str]") -> None:
    told = done.stdout + done.stderr
    assert done.returncode == 1, told
    assert "Traceback" not in told
    for form_of_it in (MARKER, MARKER.replace("/", "%2F"), "hUnter2", "Hidden"):
        assert form_of_it not in "".join(told.split())


def test_no_secret_is_said_of_a_file_that_is_wrong(tmp_path: Path) -> None:
    text = f"X_BEARER_TOKEN={MARKER}\n{MARKER} {MARKER}\nX_CONSUMER_KEY={MARKER}\n"
    (tmp_path / ".env").write_text(text)
    done = run_here("doctor", folder=tmp_path)
    assert done.returncode == 1
    assert ".env line 2" in done.stdout
    assert "hUnter2" not in done.stdout + done.stderr


def on_a_terminal(folder: Path, env: Mapping[str, str]) -> str:
    """What is seen of a demo's doctor by who sits in front of it."""
    master, slave = pty.openpty()
    words = [*command("doctor"), "--demo"]
    with subprocess.Popen(
        words, cwd=folder, env=environment(folder, env), stdout=slave, stdin=slave, stderr=slave
    ) as process:
        os.close(slave)
        seen = b""
        while select.select([master], [], [], 20)[0]:
            try:
                seen += os.read(master, 4096)
            except OSError:  # the other end is closed
                break
        os.close(master)
        assert process.wait(10) == 0
    return seen.decode()


def test_verdicts_have_colours_on_a_terminal_that_wants_them(tmp_path: Path) -> None:
    assert "\x1b[32mpass\x1b[0m  settings" in on_a_terminal(tmp_path, {"TERM": "xterm"})


def test_colours_are_for_terminals_of_a_known_kind_and_those_who_want_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, its = pty.openpty()
    with open(ours, "rb"), open(its, "w") as terminal:  # noqa: PTH123 - descriptors
        monkeypatch.setattr(sys, "stdout", terminal)
        for env, has_colours in (
            ({"TERM": "xterm"}, True),
            ({"TERM": "xterm", "NO_COLOR": "1"}, False),
            ({"TERM": "dumb"}, False),
            ({"TERM": "unknown"}, False),
            ({"TERM": ""}, False),
        ):
            monkeypatch.delenv("NO_COLOR", raising=False)
            for name, value in env.items():
                monkeypatch.setenv(name, value)
            assert doctor.is_coloured() is has_colours


def test_a_reader_that_leaves_early_is_no_trouble(tmp_path: Path) -> None:
    with subprocess.Popen(
        command("doctor", "--demo"),
        cwd=tmp_path,
        env=environment(tmp_path, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == 0


def test_a_terminal_without_the_letters_of_a_hashtag_sees_the_rest(tmp_path: Path) -> None:
    env = {**deaf(free_port()), "TWEETDOCK_HASHTAGS": "京都"}
    done = run_here("doctor", folder=tmp_path, env=env, encoding="ascii")
    assert done.stderr == ""
    assert "on bluesky" in done.stdout
