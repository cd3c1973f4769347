"""The README's lines about what is kept, run as they are printed."""

import csv
import gzip
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from buckets import S3, serving
from listeners import Chunk, line, write
from running import Running, run
from standins.flaky_proxy import FlakyProxy
from standins.x_api import XApi, make_post

from tweetdock import __version__
from tweetdock.post import Span
from tweetdock.settings import SETTINGS

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(text, comments=True)
    for block in re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    for text in block.splitlines()
    if text.startswith(".venv/bin/tweetdock ")
]
TOKEN = "a-bearer-token"


def words_of(command: str) -> list[str]:
    """The words of the one command in the README that begins so."""
    (words,) = [words[1:] for words in COMMANDS if " ".join(words[1:]).startswith(command)]
    return words


def commands_of(program: str) -> list[list[str]]:
    """The words of each line of the README's blocks that starts a program, or does so by sudo."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", "")
    found = [shlex.split(line, comments=True) for line in lines.splitlines()]
    return [words for words in found if program in words[: 1 + (words[:1] == ["sudo"])]]


@pytest.fixture
def api() -> Iterator[XApi]:
    now_ms = round(time.time() * 1000)
    posts = [make_post(now_ms - 60_000 * minute, minute % 7) for minute in range(1, 50)]
    with XApi(posts, bearer=TOKEN) as api:
        yield api


def at_x(api: XApi) -> dict[str, str]:
    return {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": TOKEN, "X_API_URL": api.url}


def test_every_command_of_the_readme_is_tried_here() -> None:
    tried = ["--archive", "--sources replay", "offload", "merge", "export history", "export posts"]
    tried += ["doctor", "calibrate", "face tweets", "face --full-scale"]
    assert len(COMMANDS) == len([words_of(command) for command in tried])


def test_the_gauge_archives_and_the_history_is_exported(api: XApi, tmp_path: Path) -> None:
    with Running(*words_of("--archive"), folder=tmp_path, env=at_x(api)) as tweetdock:
        tweetdock.wait_for("49 tweets", "exact")
        assert tweetdock.stop() == 0
    with gzip.open(tmp_path / "tweets.jsonl.gz", "rt") as file:
        assert len(file.readlines()) == 49
    assert run(*words_of("export history"), folder=tmp_path).returncode == 0
    with (tmp_path / "history.csv").open(newline="") as file:
        assert next(csv.reader(file))[:5] == ["at", "per", "posts", "authors", "grade"]


def test_what_was_archived_is_played_again(api: XApi, tmp_path: Path) -> None:
    with Running(*words_of("--archive"), folder=tmp_path, env=at_x(api)) as tweetdock:
        tweetdock.wait_for("49 tweets", "exact")
        assert tweetdock.stop() == 0
    with Running(*words_of("--sources replay"), folder=tmp_path) as tweetdock:
        tweetdock.wait_for("49 posts by 7 authors")
        tweetdock.wait_for("REPLAY:", "exact", "60 times as fast")
        assert tweetdock.stop() == 0


def test_the_doctor_finds_nothing_wrong_with_a_gauge_that_works(api: XApi, tmp_path: Path) -> None:
    seen = run(*words_of("doctor"), folder=tmp_path, env=at_x(api))
    assert seen.returncode == 0, seen.stdout
    assert "fail" not in seen.stdout
    assert "x credentials" in seen.stdout


def test_calibrating_without_a_terminal_says_so(tmp_path: Path) -> None:
    refused = run(*words_of("calibrate"), folder=tmp_path)
    assert (refused.returncode, "terminal" in refused.stderr) == (2, True)


def test_faces_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("fpdf", reason="fpdf2 is not installed")
    for command, name in (("face tweets", "tweets.svg"), ("face --full-scale", "dials.pdf")):
        drawn = run(*words_of(command), folder=tmp_path)
        assert drawn.returncode == 0, drawn.stderr
        assert (tmp_path / name).is_file()


def test_listeners_are_merged_and_their_posts_exported(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    write(tmp_path / "berlin.jsonl.gz", [Chunk((line(1, at=1), line(2, at=2)))])
    write(
        tmp_path / "tokyo.jsonl.gz", [Chunk((line(2, at=2), line(3, at=3)), {"x": (Span(0, 9),)})]
    )
    merged = run(*words_of("merge"), folder=tmp_path)
    assert (merged.returncode, merged.stdout.splitlines()[0]) == (
        0,
        "both.jsonl.gz: 3 posts, each once and in order",
    )
    exported = run(*words_of("export posts"), folder=tmp_path)
    assert (exported.returncode, exported.stdout) == (0, "posts.parquet: 3 posts\n")


def test_closed_files_are_off_loaded(tmp_path: Path) -> None:
    write(tmp_path / "tweets.jsonl.gz", [Chunk((line(3, at=3),))])
    write(tmp_path / "tweets-20261121T065536Z.jsonl.gz", [Chunk((line(1, at=1), line(2, at=2)))])
    with serving() as port, FlakyProxy(port) as proxy, closing(S3(port, proxy)) as s3:
        s3.client.create_bucket(Bucket="my-bucket")
        sent = run(*words_of("offload"), folder=tmp_path, env=s3.env)
        assert sent.returncode == 0, sent.stderr
        found = s3.client.list_objects_v2(Bucket="my-bucket")["Contents"]
    assert [entry["Key"].startswith("tweets/tweets-20261121T") for entry in found] == [True, True]
    assert [path.name for path in tmp_path.iterdir()] == ["tweets.jsonl.gz"]


def test_every_setting_that_the_readme_names_is_one() -> None:
    named = set(re.findall(r"\b(?:TWEETDOCK|PIGPIO|X|AWS)_[A-Z_]*[A-Z]\b", README))
    assert len(named) > 10
    assert named - {setting.name for setting in SETTINGS} == set()


def test_every_file_that_the_readme_names_is_there() -> None:
    linked = set(re.findall(r"\]\(([^)#:]+)\)|src=\"([^\"]+)\"", README))
    named = {*map("".join, linked), *re.findall(r"\b(?:docs|deploy|tests)/[\w./-]*\w", README)}
    assert "docs/wiring.svg" in named
    assert [name for name in sorted(named) if not (REPOSITORY / name).exists()] == []


def test_every_section_that_the_readme_points_to_is_there() -> None:
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in headings}
    pointed = re.findall(r"\]\(#([^)]+)\)", README)
    assert pointed
    assert set(pointed) <= anchors


def test_compose_runs_the_gauge_as_the_readme_does() -> None:
    (run_line,) = [words for words in commands_of("docker") if words[1:3] == ["run", "-d"]]
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


def test_the_image_is_of_this_version() -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    assert f"\nARG VERSION={__version__}\n" in dockerfile
    assert f"--build-arg VERSION={__version__} " in README
    assert f"tweetdock:{__version__} " in README


def test_the_volume_and_the_port_are_those_of_the_image() -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    (folder,) = re.findall(r"^VOLUME (\S+)$", dockerfile, re.MULTILINE)
    (port,) = re.findall(r"^EXPOSE (\d+)$", dockerfile, re.MULTILINE)
    runs = [words for words in commands_of("docker") if words[1] == "run"]
    assert {words[words.index("-v") + 1] for words in runs if "-v" in words} == {
        f"tweetdock:{folder}"
    }
    assert {words[words.index("-p") + 1] for words in runs if "-p" in words} == {f"{port}:{port}"}


def test_the_unit_finds_what_the_readme_installs() -> None:
    unit = (REPOSITORY / "deploy" / "tweetdock.service").read_text(encoding="utf-8")
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line[1:])
    folders = [words[-1] for words in commands_of("python3") if words[2:4] == ["-m", "venv"]]
    assert {f"{folder}/bin/tweetdock" for folder in folders} == {settings["ExecStart"]}
    assert [words[-1] for words in commands_of("useradd")] == [settings["User"]]
    copied = {words[-1] for words in commands_of("install") if ".env.example" in words}
    assert copied == {".env", settings["EnvironmentFile"].removeprefix("-")}
