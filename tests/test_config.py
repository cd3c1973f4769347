"""Where settings come from: flags, environment and a .env file with all its traps."""

import re
from argparse import Namespace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.commands.output import flags_of
from tweetdock.core.errors import SettingsError
from tweetdock.settings.env_file import load, read_env_file
from tweetdock.settings.gauge import SETTINGS, Settings

EXAMPLE = Path(__file__).parent.parent / ".env.example"
LEAST = {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": "token"}


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / ".env"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path: Path) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refusal:
        read_env_file(path)
    return tuple(map(str, refusal.value.problems))


def assert_has_two_meanings(folder: Path, name: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load({}, {}, folder)
    (problem,) = refusal.value.problems
    assert problem.name == name
    assert "in single quotes" in problem.why


def docker_env_file(text: str) -> dict[str, str]:
    """What `docker run --env-file` makes of a file: no quotes, no comments behind a value."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        "X_BEARER_TOKEN=file\nTWEETDOCK_HASHTAGS=file\nPIGPIO_ADDR=file\nTWEETDOCK_POLL_SECONDS=7\n",
    )
    environment = {"TWEETDOCK_HASHTAGS": "environment", "PIGPIO_ADDR": "environment"}
    settings = load({"TWEETDOCK_HASHTAGS": "flag"}, environment, tmp_path)
    assert settings.hashtags == ("flag",)
    assert settings.pigpio_addr == "environment"
    assert settings.x.bearer_token == "file"
    assert settings.poll_seconds == 7.0


def test_set_to_nothing_hides_what_the_file_says(tmp_path: Path) -> None:
    write(tmp_path, "PIGPIO_ADDR=pi.local\n")
    assert load({}, LEAST, tmp_path).pigpio_addr == "pi.local"
    assert load({}, {**LEAST, "PIGPIO_ADDR": ""}, tmp_path).pigpio_addr == ""


def test_without_a_file_the_environment_is_enough(tmp_path: Path) -> None:
    assert read_env_file(tmp_path / ".env") == {}
    assert load({}, LEAST, tmp_path) == Settings.from_env(LEAST)


def test_the_demo_is_a_word_of_its_own(tmp_path: Path) -> None:
    assert load({}, {}, tmp_path, demo=True).demo


def test_unknown_names_in_the_file_are_found(tmp_path: Path) -> None:
    write(tmp_path, "TWEETDOCK_HASHTAG=docker\n")
    with pytest.raises(SettingsError, match="did you mean TWEETDOCK_HASHTAGS"):
        load({}, LEAST, tmp_path)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("TWEETDOCK_HASHTAGS=docker", "docker"),
        ("export TWEETDOCK_HASHTAGS=docker", "docker"),
        ("TWEETDOCK_HASHTAGS = docker  ", "docker"),
        ("TWEETDOCK_HASHTAGS='#docker #moby'", "#docker #moby"),
        ('TWEETDOCK_HASHTAGS="#docker #moby" # two', "#docker #moby"),
        ("TWEETDOCK_HASHTAGS=#docker,#moby", "#docker,#moby"),
        ("TWEETDOCK_HASHTAGS=docker # the conference", "docker"),
        ("TWEETDOCK_HASHTAGS=#docker # the conference", "#docker"),
        ("TWEETDOCK_HASHTAGS=Füße,東京", "Füße,東京"),
        ("TWEETDOCK_HASHTAGS=", ""),
        ("TWEETDOCK_HASHTAGS", ""),
        ("# a comment\n\n   # another\nTWEETDOCK_HASHTAGS=docker", "docker"),
        ("TWEETDOCK_HASHTAGS=docker\r\n", "docker"),
        ("TWEETDOCK_HASHTAGS=one\nTWEETDOCK_HASHTAGS=two", "two"),
    ],
)
def test_a_line_is_read_as_it_is_meant(tmp_path: Path, line: str, value: str) -> None:
    assert read_env_file(write(tmp_path, line)) == {"TWEETDOCK_HASHTAGS": value}


def test_tokens_are_read_as_they_stand(tmp_path: Path) -> None:
    """Nothing is interpolated, and a # in the midst of a word begins no comment."""
    path = write(tmp_path, "X_BEARER_TOKEN=AAA%2Fb$HOME${X}c#d=\n")
    assert read_env_file(path) == {"X_BEARER_TOKEN": "AAA%2Fb$HOME${X}c#d="}


def test_a_byte_order_mark_does_not_hide_the_first_line(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbfTWEETDOCK_HASHTAGS=docker\r\n")
    assert read_env_file(path) == {"TWEETDOCK_HASHTAGS": "docker"}


@pytest.mark.parametrize(
    "line",
    [
        "TWEETDOCK_HASHTAGS=#one #two",
        "TWEETDOCK_HASHTAGS=one #two",
        "TWEETDOCK_HASHTAGS= #one",
        "TWEETDOCK_HASHTAGS=#one,#two #three",
        'TWEETDOCK_HASHTAGS="#one" #two',
        "export TWEETDOCK_HASHTAGS=#one #東京",
    ],
)
def test_a_hashtag_that_would_be_a_comment_does_not_go_unseen(tmp_path: Path, line: str) -> None:
    """`#one #two` without quotes counted the first alone, and nobody was told."""
    write(tmp_path, f"{line}\nX_BEARER_TOKEN=token\n")
    assert_has_two_meanings(tmp_path, "TWEETDOCK_HASHTAGS")


@pytest.mark.parametrize(
    ("written", "query"),
    [
        ("docker lang:en", "docker lang:en"),
        ("'docker swarm'", "docker swarm"),
        ("""'"docker swarm"'""", '"docker swarm"'),
        ("""'("docker swarm")'""", '("docker swarm")'),
        ("""("docker swarm")""", '("docker swarm")'),
        ("""docker "in a swarm" lang:en""", 'docker "in a swarm" lang:en'),
        ("'docker #swarm'", "docker #swarm"),
        ("#docker", "#docker"),
        ("docker # the conference", "docker"),
        ("'docker swarm' # two words", "docker swarm"),
        ("docker # it is 'one' #word", "docker"),
    ],
)
def test_a_query_in_the_file_is_asked_as_it_is_meant(
    tmp_path: Path, written: str, query: str
) -> None:
    write(tmp_path, f"X_BEARER_TOKEN=token\nTWEETDOCK_X_QUERY={written}\n")
    assert load({}, {}, tmp_path).x.query == query


@pytest.mark.parametrize(
    "written",
    ['"docker swarm"', '"docker swarm" # a phrase', "docker #swarm", "'docker' #swarm", " #docker"],
)
def test_a_query_in_the_file_that_may_mean_two_is_refused(tmp_path: Path, written: str) -> None:
    """To dotenv the marks are none of it, and the tag a comment; to `docker run` both are of it."""
    write(tmp_path, f"X_BEARER_TOKEN=token\nTWEETDOCK_X_QUERY={written}\n")
    assert_has_two_meanings(tmp_path, "TWEETDOCK_X_QUERY")


PIECES = ["docker", "swarm", " ", " ", "#", "# ", '"', "'", "(", ")", "OR", "\\", "-is:retweet"]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map("".join))
def test_x_is_asked_for_what_stands_in_the_file_or_for_nothing(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """Whoever reads the file: TweetDock itself, or Docker, which hands on what stands there."""
    folder = tmp_path_factory.mktemp("query")
    token = {"X_BEARER_TOKEN": "token"}
    write(folder, f"TWEETDOCK_X_QUERY={text}\n")
    asked = set()
    for environment in ({}, {"TWEETDOCK_X_QUERY": text}):
        try:
            asked.add(load({}, environment | token, folder).x.query)
        except SettingsError:
            continue
    assert len(asked) < 2
    bare = text.split(" # ", maxsplit=1)[0].removesuffix(" #").strip()
    assert all(query in (bare, bare.removeprefix("'").removesuffix("'").strip()) for query in asked)


def test_a_flag_is_taken_letter_for_letter(tmp_path: Path) -> None:
    write(tmp_path, 'TWEETDOCK_X_QUERY="docker"\n')
    for query in ('"docker swarm"', "docker #swarm", '("a")'):
        flags = flags_of(Namespace(TWEETDOCK_X_QUERY=query))
        assert load(flags, {"X_BEARER_TOKEN": "token"}, tmp_path).x.query == query


def test_every_other_setting_may_stand_in_any_quotes_and_have_a_comment(tmp_path: Path) -> None:
    """Only where both may be part of the value it is unclear what they are."""
    file = "TWEETDOCK_STATE_DIR=/tmp/st # the state\nX_BEARER_TOKEN=t #mine\n"
    file += "TWEETDOCK_POLL_SECONDS='7' #often\n"
    file += 'TWEETDOCK_HASHTAGS="#one #two"\nTWEETDOCK_ARCHIVE="my tweets.gz"\n'
    write(tmp_path, file)
    settings = load({}, {}, tmp_path)
    assert (settings.hashtags, settings.poll_seconds) == (("one", "two"), 7.0)
    assert (settings.keep.state_dir, settings.keep.archive) == (
        Path("/tmp/st"),
        Path("my tweets.gz"),
    )
    assert settings.x.bearer_token == "t"


@pytest.mark.parametrize("line", ["two words", "=value", "A='open", 'A="x"y', "A: b"])
def test_a_line_that_is_none_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, f"\n\nTWEETDOCK_HASHTAGS=docker\n\n{line}\n")
    assert refused(path) == (".env line 5: not of the form NAME=value",)


def test_all_bad_lines_are_named_at_once_and_no_token_in_them(tmp_path: Path) -> None:
    path = write(tmp_path, "X_BEARER_TOKEN='s3cret\n\nTWEETDOCK_HASHTAGS=a\0\ns3cret words\n")
    problems = refused(path)
    assert [re.match(r"\.env line (\d)", problem) is not None for problem in problems] == [True] * 3
    assert "s3cret" not in "".join(problems)


def test_a_file_that_is_not_utf_8_is_refused_with_its_path(tmp_path: Path) -> None:
    path = write(tmp_path, "# feet\nTWEETDOCK_HASHTAGS=Füße\n".encode("latin-1"))
    (problem,) = refused(path)
    assert problem.startswith(f"{path}: cannot be read: ")
    assert "line 2 is not UTF-8" in problem


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_file_of_windows_own_encoding_is_told_by_its_name(tmp_path: Path, encoding: str) -> None:
    """It was a `byte 0xff` that nobody could make anything of."""
    path = write(tmp_path, ("\ufeff" * (encoding != "utf-16") + "A=1\r\n").encode(encoding))
    (problem,) = refused(path)
    assert problem.endswith("it is UTF-16: save it as UTF-8")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("TWEETDOCK_STATE_DIR=/tmp/st\0\0\0", "TWEETDOCK_STATE_DIR"),
        ("\0\0TWEETDOCK_POLL_SECONDS=5", "TWEETDOCK_POLL_SECONDS"),
        ("\0\0\0\0", "it"),
        ("# a com\0\0ment", "it"),
    ],
)
def test_a_file_that_a_power_cut_has_damaged_is_refused(
    tmp_path: Path, text: str, named: str
) -> None:
    """A NUL in the state's folder ended in a traceback; a line of nothing else went unseen."""
    (problem,) = refused(write(tmp_path, f"A=1\n\n{text}\n"))
    assert problem.startswith(f".env line 3: {named} holds NUL characters: the file is damaged")


def test_a_folder_in_place_of_the_file_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.mkdir()
    (problem,) = refused(path)
    assert problem.startswith(f"{path}: cannot be read: ")


def test_the_example_names_every_setting_with_its_default() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    lines = re.findall(r"^#?(\w+)=(.*)$", text, re.MULTILINE)
    assert len(dict(lines)) == len(lines)
    # The state folder is left empty: written out it would win over XDG_STATE_HOME.
    defaults = {s.name: "" if s.default.startswith("~") else s.default for s in SETTINGS}
    assert dict(lines) == defaults


def test_the_example_sets_nothing_but_what_everybody_has_to_fill_in() -> None:
    """Written out, a default would win over what the image and the systemd unit set."""
    assert read_env_file(EXAMPLE) == dict.fromkeys(LEAST, "")


def test_each_line_of_the_example_is_a_sentence_or_a_setting_to_be_opened() -> None:
    """Behind the # of a sentence is a blank: neither is to be taken for the other."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert re.fullmatch(r"|#|# (?![A-Z0-9_]+=).+|#?[A-Z0-9_]+=.*", line), line


def test_every_line_of_the_example_can_be_opened(tmp_path: Path) -> None:
    text = re.sub(r"^#(?=\w+=)", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    opened = {**read_env_file(write(tmp_path, text)), **LEAST}
    assert opened == {**docker_env_file(text), **LEAST}
    assert len(opened) == len(SETTINGS)
    assert Settings.from_env(opened) == Settings.from_env(LEAST)


def test_the_example_tells_the_default_that_its_line_cannot() -> None:
    (home,) = (setting.default for setting in SETTINGS if setting.default.startswith("~"))
    assert home in EXAMPLE.read_text(encoding="utf-8")


def test_docker_reads_the_example_as_we_do() -> None:
    assert docker_env_file(EXAMPLE.read_text(encoding="utf-8")) == read_env_file(EXAMPLE)


def test_the_example_runs_with_two_lines_filled_in(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    for name, value in LEAST.items():
        assert text.count(f"\n{name}=\n") == 1
        text = text.replace(f"\n{name}=\n", f"\n{name}={value}\n")
    write(tmp_path, text)
    assert load({}, {}, tmp_path) == Settings.from_env(LEAST)
    assert Settings.from_env(docker_env_file(text)) == Settings.from_env(LEAST)


def test_the_example_as_it_is_says_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path, EXAMPLE.read_bytes())
    with pytest.raises(SettingsError) as refusal:
        load({}, {}, tmp_path)
    assert [problem.name for problem in refusal.value.problems] == [
        "TWEETDOCK_HASHTAGS",
        "X_BEARER_TOKEN",
    ]
    assert load({}, {}, tmp_path, demo=True).demo
