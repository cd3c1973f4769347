"""What the doctor makes of settings that are wrong: the rest is used, and nothing is swapped."""

from pathlib import Path

import pytest

from tweetdock.doctor.settings import WrittenSettings, check_settings

TAGS = {"TWEETDOCK_HASHTAGS": "dockercon"}
TOKEN = {"X_BEARER_TOKEN": "token"}
LONG = " ".join(f"tag{number:03}andmore" for number in range(60))


def used(env: dict[str, str]) -> WrittenSettings:
    return WrittenSettings.read(Path("/nowhere"), env, {})


def sources_of(env: dict[str, str]) -> tuple[str, ...]:
    """The sources that are still checked; the settings must be of use in any case."""
    written = used(env)
    assert written.problems
    assert written.settings is not None
    assert not written.settings.demo
    return written.sources


@pytest.mark.parametrize(
    ("env", "left"),
    [
        ({**TAGS, "TWEETDOCK_SOURCES": "bluesky,x"}, ("bluesky",)),
        ({**TAGS, "TWEETDOCK_SOURCES": "x,mastodon,bluesky"}, ("bluesky",)),
        ({**TAGS, "TWEETDOCK_SOURCES": "'bluesky, x'"}, ("bluesky",)),
        ({**TAGS}, ()),
        ({**TOKEN, "TWEETDOCK_SOURCES": "bluesky,x"}, ()),
        ({**TOKEN, "TWEETDOCK_X_QUERY": "cats", "TWEETDOCK_SOURCES": "bluesky,x"}, ("x",)),
        ({**TOKEN, "TWEETDOCK_HASHTAGS": LONG, "TWEETDOCK_SOURCES": "x,bluesky"}, ("bluesky",)),
    ],
)
def test_a_source_that_lacks_something_does_not_hide_the_others(
    env: dict[str, str], left: tuple[str, ...]
) -> None:
    assert sources_of(env) == left


@pytest.mark.parametrize("sources", ["bluesk", "bluesky,twitter", "x,demo", ","])
def test_where_the_sources_are_wrong_none_is_asked(sources: str) -> None:
    """The default stood in for them: X was asked though nobody had named it."""
    env = {**TAGS, **TOKEN, "TWEETDOCK_SOURCES": sources}
    assert sources_of(env) == ()
    assert "TWEETDOCK_SOURCES" in used(env).refused


@pytest.mark.parametrize(
    "wrong",
    [
        {"TWEETDOCK_POLL_SECONDS": "400"},
        {"TWEETDOCK_TWEETS_PIN": "13"},
        {"TWEETDOCK_TWEETERS_MAX_ANGLE": "-5"},
        {"TWEETDOCK_TWEETERS_MAX_PULSE_US": "900"},
    ],
)
def test_what_does_not_go_with_a_default_is_left_out(wrong: dict[str, str]) -> None:
    """Nothing at all was checked where the name of the problem was not set."""
    env = {**TAGS, "TWEETDOCK_SOURCES": "bluesky", **wrong}
    assert sources_of(env) == ("bluesky",)
    assert len(used(env).refused) == 1


def cures(written: WrittenSettings) -> list[str]:
    return [found.cure for found in check_settings(written) if found.cure]


@pytest.mark.parametrize("name", ["a=b", "a: b", "TWEETDOCK_WEB=1"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    """A name with `=` or `:` was taken for that of a setting, and got a setting's cure."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / ".env").write_bytes(b"X_BEARER_TOKEN=\xff\n")
    (folder / ".env").chmod(0o600)
    (cure,) = cures(WrittenSettings.read(folder, {}, {}))
    assert cure.startswith("make it UTF-8 text that this user may read: `ls -l ")
    (folder / ".env").write_text("what is this\n")
    (cure,) = cures(WrittenSettings.read(folder, {}, {}))
    assert cure.startswith("correct that line of ")


def test_a_setting_that_there_is_not_may_have_any_name() -> None:
    (cure, *_) = cures(used({**TAGS, "TWEETDOCK_A:B": "1"}))
    assert cure == "it is set in the environment: correct its name, or remove it"


def test_what_docker_or_systemd_reads_in_another_way_is_told_by_its_lines(tmp_path: Path) -> None:
    """`export` and comments behind values passed, and did not under systemd or in Docker."""
    path = tmp_path / ".env"
    lines = ["export TWEETDOCK_HASHTAGS=docker", "# a comment", "X_BEARER_TOKEN=t # mine"]
    path.write_text("\n".join([*lines, "TWEETDOCK_X_QUERY='a #b'", 'TWEETDOCK_WEB="off"']))
    path.chmod(0o600)
    written = WrittenSettings.read(tmp_path, {}, {})
    warned = [found for found in check_settings(written) if found.cure]
    assert [found.says.partition(":")[0] for found in warned] == [".env line 1, 3"]
    assert not written.problems
