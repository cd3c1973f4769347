"""README, CONTRIBUTING and docs/: their links, names and facts, and their commands as printed."""

import csv
import gzip
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from buckets import S3
from listeners import Chunk, line, write
from running import Running, environment, restored_process
from serving import Serving, make_reading
from standins.jetstream import Jetstream, Network
from standins.jetstream_events import make_post as make_bluesky_post
from standins.x_api import XApi, make_post

from tweetdock import __version__
from tweetdock.cli import main
from tweetdock.core.coverage import Grade
from tweetdock.core.post import Span, Trouble
from tweetdock.settings.gauge import SETTINGS

REPOSITORY = Path(__file__).parents[1]
PAGES = {
    path.relative_to(REPOSITORY).as_posix(): path.read_text(encoding="utf-8")
    for path in (
        REPOSITORY / "README.md",
        REPOSITORY / "CONTRIBUTING.md",
        *sorted((REPOSITORY / "docs").glob("*.md")),
    )
}
README, PI, API = PAGES["README.md"], PAGES["docs/pi.md"], PAGES["docs/api.md"]
TWEETDOCK = (".venv/bin/tweetdock", ".venv/bin/python -m tweetdock")
TOKEN = "a-bearer-token"
LIMIT_SECONDS = 60.0


def commands_in(text: str) -> list[list[str]]:
    """The words of each line of each ```sh block."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", "").splitlines()
    return [words for one in lines if (words := shlex.split(one, comments=True))]


COMMANDS = list(
    dict.fromkeys(" ".join(words) for text in PAGES.values() for words in commands_in(text))
)

# The calls below that run a command, and how it begins.
RUN = r'(?:flags_of|call|watch|shell)\(\s*"([^"]+)"'
NOT_RUN = {
    "python3 -m venv": "the packages are installed already; .ci/run does it from a clean checkout",
    ".venv/bin/pip install": "the packages are installed already",
    "sudo": "it would change this machine",
    "cd /etc/tweetdock": "nothing is installed there; what follows it begins with sudo",
    "docker": "it needs a Docker engine; test_image.py runs what is in the image",
    "docker-compose": "it needs a Docker engine; compose.yaml is compared with docker run below",
    ".venv/bin/coverage": "the thorough profile takes twenty minutes",
    ".venv/bin/ruff": ".ci/run does it",
    ".venv/bin/mypy": ".ci/run does it",
    ".venv/bin/python -m benchmarks": "it takes minutes",
    ".ci/image": "it builds an image, as root; .ci/run does it",
}


def begins_with(start: str, command: str) -> bool:
    return f"{command} ".startswith(f"{start} ")


def printed(start: str) -> str:
    """The one command that is this, or begins with these words."""
    found = [one for one in COMMANDS if one == start]
    found = found or [one for one in COMMANDS if begins_with(start, one)]
    (command,) = found
    return command


def flags_of(start: str) -> list[str]:
    """What a command of TweetDock's has after the program."""
    command = printed(start)
    (program,) = [one for one in TWEETDOCK if begins_with(one, command)]
    return shlex.split(command.removeprefix(program))


def test_every_command_is_run_here_or_is_named_with_the_reason_why_not() -> None:
    starts = re.findall(RUN, Path(__file__).read_text("utf-8"))
    run = {printed(start) for start in starts}
    for command in COMMANDS:
        reasons = [start for start in NOT_RUN if begins_with(start, command)]
        assert (command in run) is not bool(reasons), command
    needless = [s for s in NOT_RUN if not any(begins_with(s, one) for one in COMMANDS)]
    assert needless == []
    assert {"README.md", "docs/pi.md"} <= {page for page in PAGES if commands_in(PAGES[page])}


# --- Commands of TweetDock, in this process ---


@dataclass(frozen=True)
class Done:
    """How a command ended, and all that it wrote."""

    code: int
    out: str
    err: str


class Here:
    """A folder in which commands are run by this process, with settings of the test's own."""

    def __init__(
        self, folder: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self._patch, self._capture = patch, capture
        patch.chdir(folder)
        for setting in SETTINGS:
            patch.delenv(setting.name, raising=False)
        self.set(environment(folder, {}))

    def set(self, env: Mapping[str, str]) -> None:
        """Add to the environment."""
        for name, value in env.items():
            self._patch.setenv(name, value)

    def call(self, start: str) -> Done:
        """Run a command of TweetDock's to its end."""
        self._capture.readouterr()
        with restored_process():
            code = main(flags_of(start))
        return Done(code, *self._capture.readouterr())

    def watch(self, start: str, *words: str) -> Done:
        """Run the gauge until a line of its log has all the words, then ask it to stop."""
        log = Log(words)
        timer = threading.Timer(LIMIT_SECONDS, ask_to_stop)
        with restored_process(), self._patch.context() as patch:
            patch.setattr(sys, "stderr", log)
            timer.start()
            try:
                code = main(flags_of(start))
            finally:
                timer.cancel()
                timer.join()
        assert log.has_all, log.getvalue()
        return Done(code, "", log.getvalue())

    def shell(self, start: str) -> Done:
        """Run a command of the system's."""
        done = subprocess.run(
            ["bash", "-c", printed(start)],
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)


class Log(io.StringIO):
    """A log that asks this process to stop when one of its lines has all the words."""

    def __init__(self, words: tuple[str, ...]) -> None:
        super().__init__()
        self._words = words
        self.has_all = False

    def write(self, text: str) -> int:
        """Keep it, and look for the words."""
        written = super().write(text)
        if not self.has_all and all(word in text for word in self._words):
            self.has_all = True
            ask_to_stop()
        return written


def ask_to_stop() -> None:
    # Not to the whole process: only a signal to the main thread ends its wait.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    # What the tests themselves are told is none of the gauge's settings.
    for name in [name for name in os.environ if name.startswith(("TWEETDOCK_", "X_", "PIGPIO_"))]:
        monkeypatch.delenv(name)
    return Here(tmp_path, monkeypatch, capsys)


@pytest.fixture
def api() -> Iterator[XApi]:
    now_ms = round(time.time() * 1000)
    posts = [make_post(now_ms - 60_000 * minute, minute % 7) for minute in range(1, 50)]
    with XApi(posts, bearer=TOKEN) as api:
        yield api


def at_x(api: XApi) -> dict[str, str]:
    return {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": TOKEN, "X_API_URL": api.url}


# Two are processes of their own, as a user starts them: that the program begins and ends as this
# one calls it.


def test_the_demo_runs(tmp_path: Path) -> None:
    with Running(*flags_of(".venv/bin/python -m tweetdock --demo"), folder=tmp_path) as tweetdock:
        tweetdock.wait_for("DEMO", "exact")
        assert tweetdock.stop() == 0


def test_the_gauge_archives_and_the_history_is_exported(here: Here, api: XApi) -> None:
    with Running(
        *flags_of(".venv/bin/tweetdock --archive"), folder=here.folder, env=at_x(api)
    ) as tweetdock:
        tweetdock.wait_for("49 tweets", "exact")
        assert tweetdock.stop() == 0
    with gzip.open(here.folder / "tweets.jsonl.gz", "rt") as file:
        lines = file.readlines()
    assert len(lines) == 49
    assert json.loads(here.shell("zcat").out) == json.loads(lines[-1])
    assert here.call(".venv/bin/tweetdock export history").code == 0
    with (here.folder / "history.csv").open(newline="") as file:
        assert next(csv.reader(file))[:5] == ["at", "per", "posts", "authors", "grade"]


def test_a_hashtag_is_shown_without_an_account(here: Here) -> None:
    now = time.time()
    times = [now - 5000, *(now - 10 - 60 * minute for minute in range(49, 0, -1)), now]
    network = Network(lambda: times[0], "cats")
    with Jetstream(network) as host:
        while len(times) > 1:
            times.pop(0)
            network.tick()
            network.add(make_bluesky_post(len(times), "cats", author=len(times) % 7))
        network.now = time.time
        here.set({"TWEETDOCK_JETSTREAM": host.url})
        with network.going_on(0.2):
            seen = here.watch(
                ".venv/bin/tweetdock --sources bluesky", "#cats 50 tweets", "7 tweeters", "exact"
            )
    assert seen.code == 0


def test_x_is_set_up_checked_read_once_and_shown(here: Here, api: XApi) -> None:
    """Nothing but the two lines of the file is filled in, as the README says."""
    shutil.copy(REPOSITORY / ".env.example", here.folder)
    assert here.shell("install -m 600 .env.example .env").code == 0
    path = here.folder / ".env"
    assert path.stat().st_mode & 0o777 == 0o600
    filled = {
        "TWEETDOCK_HASHTAGS=\n": "TWEETDOCK_HASHTAGS=dockercon\n",
        "X_BEARER_TOKEN=\n": f"X_BEARER_TOKEN={TOKEN}\n",
    }
    text = path.read_text("utf-8")
    for empty, full in filled.items():
        assert text.count(f"\n{empty}") == 1
        text = text.replace(f"\n{empty}", f"\n{full}")
    path.write_text(text, "utf-8")
    here.set({"X_API_URL": api.url})
    checked = here.call(".venv/bin/tweetdock doctor")
    assert checked.code == 0, checked.out
    assert "fail" not in checked.out
    assert "x credentials" in checked.out
    assert api.posts_read == 0
    once = here.call(".venv/bin/tweetdock --once")
    assert once.code == 0, once.err
    assert (json.loads(once.out)["posts"], json.loads(once.out)["grade"]) == (49, "exact")
    assert here.watch(".venv/bin/tweetdock", "49 tweets", "exact").code == 0


def test_a_recording_is_played(here: Here) -> None:
    lines = [line(number, at=number * 60_000) for number in range(30)]
    write(here.folder / "tweets.jsonl.gz", [Chunk(tuple(lines))])
    seen = here.watch(
        ".venv/bin/tweetdock --sources replay:tweets.jsonl.gz",
        "REPLAY:",
        "exact",
        "60 times as fast",
    )
    assert seen.code == 0
    assert "posts: 30, authors: 1" in seen.err


def test_calibrating_without_a_terminal_is_refused(here: Here) -> None:
    refused = here.call(".venv/bin/tweetdock calibrate")
    assert (refused.code, "terminal" in refused.err) == (2, True)


def test_faces_are_drawn(here: Here) -> None:
    assert here.call(".venv/bin/tweetdock face tweets").code == 0
    assert (here.folder / "tweets.svg").is_file()
    pytest.importorskip("fpdf", reason="fpdf2 is not installed")
    assert here.call(".venv/bin/tweetdock face --full-scale").code == 0
    assert (here.folder / "dials.pdf").is_file()


def test_listeners_are_merged_and_their_posts_exported(here: Here) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    write(here.folder / "berlin.jsonl.gz", [Chunk((line(1, at=1), line(2, at=2)))])
    write(
        here.folder / "tokyo.jsonl.gz",
        [Chunk((line(2, at=2), line(3, at=3)), {"x": (Span(0, 9),)})],
    )
    merged = here.call(".venv/bin/tweetdock merge")
    assert merged.code == 0, merged.err
    assert "both.jsonl.gz: 3 posts" in merged.out.splitlines()[0]
    exported = here.call(".venv/bin/tweetdock export posts")
    assert (exported.code, exported.out) == (0, "posts.parquet: 3 posts\n")


@pytest.mark.xdist_group("bucket")
def test_closed_files_are_off_loaded(here: Here, s3: S3) -> None:
    write(here.folder / "tweets.jsonl.gz", [Chunk((line(3, at=3),))])
    write(
        here.folder / "tweets-20261121T065536Z.jsonl.gz",
        [Chunk((line(1, at=1), line(2, at=2)))],
    )
    s3.client.create_bucket(Bucket="my-bucket")
    here.set(s3.env)
    sent = here.call(".venv/bin/tweetdock offload")
    assert sent.code == 0, sent.err
    found = s3.client.list_objects_v2(Bucket="my-bucket")["Contents"]
    assert [entry["Key"].startswith("tweets/tweets-20261121T") for entry in found] == [True, True]
    assert [path.name for path in here.folder.iterdir()] == ["tweets.jsonl.gz"]


# --- Links and names ---


def test_the_readme_is_short() -> None:
    assert len(README.encode()) <= 7000


def test_the_commands_for_a_beginner_are_plain_lines() -> None:
    """Continuous integration takes them out of the README by these marks."""
    blocks = dict(re.findall(r"<!-- (\w+) command -->\n```sh\n(.*?)^```", README, re.S | re.M))
    assert {name: len(block.splitlines()) for name, block in blocks.items()} == {
        "demo": 2,
        "test": 1,
    }
    assert blocks["test"].endswith(" && .venv/bin/pytest\n")


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub gives to headings."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", PAGES[page])
    for link in map("".join, links):
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        path = (REPOSITORY / page).parent / target if target else REPOSITORY / page
        assert path.exists(), link
        if anchor:
            assert anchor in anchors_of(path.read_text(encoding="utf-8")), link


def test_every_document_can_be_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(([^)\s#]+)\)", README))
    assert set(PAGES) - {"README.md"} <= linked


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_is_there(page: str) -> None:
    named = re.findall(r"(?<![\w/.])(?:docs|deploy|tests|\.ci)/[\w./-]*\w", PAGES[page])
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_is_named_is_one(page: str) -> None:
    named = set(re.findall(r"\b(?:TWEETDOCK|PIGPIO|X|AWS)_[A-Z_]*[A-Z]\b", PAGES[page]))
    assert named - {setting.name for setting in SETTINGS} == set()
    assert named or page in ("docs/benchmarks.md", "CONTRIBUTING.md")


def test_the_grades_and_exit_codes_are_described() -> None:
    for grade in Grade:
        assert f"| `{grade}` |" in README
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", API, re.MULTILINE)}
    assert codes == {0, 1, 2, 69, 130}


# --- The API ---


def examples_of(page: str) -> list[Any]:
    blocks = re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return [json.loads(block) for block in blocks]


def shape_of(found: Any) -> Any:
    """The names in a JSON value, without the values."""
    return (
        {name: shape_of(value) for name, value in found.items()} if isinstance(found, dict) else 0
    )


@pytest.fixture
def serving() -> Iterator[Serving]:
    with Serving() as serving:
        serving.cost_usd = 1.0
        serving.board.publish(make_reading())
        serving.board.count(Trouble(source="x", detail="no answer"))
        yield serving


def test_the_examples_are_shaped_as_the_answers(serving: Serving) -> None:
    reading, history = examples_of(API)
    assert shape_of(reading) == shape_of(serving.get("/api/reading").json())
    assert shape_of(history) == shape_of(serving.get("/api/history?hours=24").json())
    (text,) = re.findall(r"^```text\n(.*?)^```", API, re.DOTALL | re.MULTILINE)
    words, answer = text.split(), serving.get("/api/reading.txt").text.split()
    assert len(words) == len(answer) == 8
    dials = reading["dials"]
    assert words[:6] == [
        str(reading["posts"]),
        str(reading["authors"]),
        reading["grade"],
        *(f"{dials[name]['position']:.4f}" for name in ("tweets", "tweeters")),
        f"{reading['covered']:.3f}",
    ]


def test_every_field_of_a_reading_is_described() -> None:
    reading, _ = examples_of(API)
    named = set(re.findall(r"`(\w+)`", API))
    assert {*reading, *reading["sources"]["x"], *reading["dials"]["tweets"]} <= named


def test_every_address_that_is_described_answers(serving: Serving) -> None:
    table = API.partition("## Addresses")[2].partition("## The reading")[0]
    rows = re.findall(r"^\| (`/.*?) \|", table, re.MULTILINE)
    addresses = [address for row in rows for address in re.findall(r"`([^`]+)`", row)]
    assert len(addresses) > 8
    for address in addresses:
        method = "HEAD" if address == "/api/events" else "GET"
        assert serving.get(address, method).status_code == 200, address


def test_the_metrics_are_those_that_are_described(serving: Serving) -> None:
    samples = set(re.findall(r"^(\w+)", serving.get("/metrics").text, re.MULTILINE))
    names = {re.sub(r"(loop_delay_seconds)_\w+", r"\1", name) for name in samples}
    assert set(re.findall(r"`(tweetdock_\w+)`", API)) == names


# --- What is installed ---


def with_program(program: str) -> list[list[str]]:
    """The words of each command in docs/pi.md that starts a program, or does so by sudo."""
    found = commands_in(PI)
    return [words for words in found if program in words[: 1 + (words[:1] == ["sudo"])]]


def test_compose_runs_the_gauge_as_the_docs_do() -> None:
    (run_line,) = [words for words in with_program("docker") if words[1:3] == ["run", "-d"]]
    given = dict(pairwise(run_line))
    compose = yaml.safe_load((REPOSITORY / "compose.yaml").read_text(encoding="utf-8"))
    (service,) = compose["services"].values()
    assert service["privileged"] is ("--privileged" in run_line)
    assert service["container_name"] == given["--name"]
    assert service["env_file"] == given["--env-file"]
    assert service["restart"] == given["--restart"]
    assert service["ports"] == [given["-p"]]
    assert service["volumes"] == [given["-v"]]
    assert service["image"] == run_line[-1]
    options = [word for before, word in pairwise(run_line) if before == "--log-opt"]
    assert service["logging"]["options"] == dict(option.split("=") for option in options)
    # Else it would be compose's own, and the state be lost to who goes from one to the other.
    volume = given["-v"].partition(":")[0]
    assert compose["volumes"][volume]["name"] == volume
    assert f"docker logs -f {given['--name']}\n" in README


def test_the_image_is_of_this_version() -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    assert f"\nARG VERSION={__version__}\n" in dockerfile
    assert f"--build-arg VERSION={__version__} " in PI
    assert f"tweetdock:{__version__} " in PI


def test_the_volume_and_the_port_are_those_of_the_image() -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    (folder,) = re.findall(r"^VOLUME (\S+)$", dockerfile, re.MULTILINE)
    (port,) = re.findall(r"^EXPOSE (\d+)$", dockerfile, re.MULTILINE)
    runs = [words for words in with_program("docker") if words[1] == "run"]
    assert {words[words.index("-v") + 1] for words in runs if "-v" in words} == {
        f"tweetdock:{folder}"
    }
    assert {words[words.index("-p") + 1] for words in runs if "-p" in words} == {f"{port}:{port}"}


def test_the_unit_finds_what_the_docs_install() -> None:
    unit = (REPOSITORY / "deploy" / "tweetdock.service").read_text(encoding="utf-8")
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line[1:])
    folders = [words[-1] for words in with_program("python3") if words[2:4] == ["-m", "venv"]]
    assert {f"{folder}/bin/tweetdock" for folder in folders} == {settings["ExecStart"]}
    assert [words[-1] for words in with_program("useradd")] == [settings["User"]]
    copied = {words[-1] for words in with_program("install") if ".env.example" in words}
    assert copied == {".env", settings["EnvironmentFile"].removeprefix("-")}
