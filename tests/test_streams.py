"""Standard output that is closed or full: one sentence at most, and an exit code that says it."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from running import NOTHING, command, environment, run_here

FACE = ("face", "tweets", "--full-scale", "500", "--force")
COMMANDS = {
    "doctor": ("doctor", "--demo"),
    "face": FACE,
    "once": ("--demo", "--once"),
    "doctor for machines": ("doctor", "--demo", "--json"),
}
every_command = pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, id=name, marks=[pytest.mark.thorough] * name.endswith("machines"))
        for name, words in COMMANDS.items()
    ],
)


def under(
    redirection: str, *words: str, folder: Path, env: Mapping[str, str] = NOTHING
) -> "subprocess.CompletedProcess[str]":
    """Run to the end by a shell, which closes or redirects a stream."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *command(*words)],
        cwd=folder,
        env=environment(folder, env),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@every_command
def test_a_closed_output_is_no_trouble(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = under(">&-", *words, folder=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr


@every_command
def test_a_full_output_is_told_in_one_sentence(tmp_path: Path, words: tuple[str, ...]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("Linux alone has /dev/full")
    done = under(">/dev/full", *words, folder=tmp_path)
    assert done.returncode == 69
    *_, last = done.stderr.splitlines()
    assert last.endswith("standard output cannot be written: No space left on device")
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_a_full_output_is_told_of_json_too(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("Linux alone has /dev/full")
    with Path("/dev/full").open("w") as full:
        done = run_here("doctor", "--demo", "--json", folder=tmp_path, output=full)
    assert done.returncode == 69
    assert "standard output cannot be written: No space left on device" in done.stderr


@pytest.mark.parametrize(
    ("redirection", "words", "code"),
    [
        ("2>&-", ("face", "tweets"), 2),
        ("<&- >&- 2>&-", ("--demo", "--once"), 0),
        ("<&- >&- 2>&-", ("--poll=no",), 2),
        pytest.param("<&- >&- 2>&-", ("face", "tweets"), 2, marks=pytest.mark.thorough),
        pytest.param("2>&-", ("--demo", "--once"), 0, marks=pytest.mark.thorough),
        pytest.param("2>&-", ("--poll=no",), 2, marks=pytest.mark.thorough),
    ],
)
def test_nobody_needs_to_hear_what_is_wrong(
    tmp_path: Path, redirection: str, words: tuple[str, ...], code: int
) -> None:
    assert under(redirection, *words, folder=tmp_path).returncode == code
