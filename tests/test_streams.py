"""Standard output that is closed or full: one sentence at most, and an exit code that says it."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from running import NOTHING, command, environment

FACE = ("face", "tweets", "--full-scale", "500", "--force")
COMMANDS = {
    "doctor": ("doctor", "--demo"),
    "doctor for machines": ("doctor", "--demo", "--json"),
    "face": FACE,
    "once": ("--demo", "--once"),
}


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


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_closed_output_is_no_trouble(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = under(">&-", *words, folder=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_full_output_is_told_in_one_sentence(tmp_path: Path, words: tuple[str, ...]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("Linux alone has /dev/full")
    done = under(">/dev/full", *words, folder=tmp_path)
    assert done.returncode == 69
    *_, last = done.stderr.splitlines()
    assert last.endswith("standard output cannot be written: No space left on device")
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.parametrize("redirection", ["2>&-", "<&- >&- 2>&-"])
def test_nobody_needs_to_hear_what_is_wrong(tmp_path: Path, redirection: str) -> None:
    for words, code in ((("--demo", "--once"), 0), (("face", "tweets"), 2), (("--poll=no",), 2)):
        assert under(redirection, *words, folder=tmp_path).returncode == code
