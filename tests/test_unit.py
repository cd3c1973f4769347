"""deploy/tweetdock.service, as systemd itself reads it."""

import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from tweetdock.daemon import READ_SECONDS, STOP_SECONDS
from tweetdock.exits import EXIT_SETTINGS

UNIT = Path(__file__).parents[1] / "deploy" / "tweetdock.service"
PROGRAM = "/opt/tweetdock/bin/tweetdock"
# Of ten: what is left is the network, the GPIO, /proc/cpuinfo and a root of its own.
EXPOSURE = 1.5

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="no systemd here; install the package systemd"
)


class Words(RawConfigParser):
    """A unit file: names keep their case, and one that comes again counts."""

    def __init__(self) -> None:
        super().__init__(strict=False, interpolation=None, delimiters=("=",))
        self.read_string(UNIT.read_text())

    def optionxform(self, optionstr: str) -> str:
        return optionstr


SERVICE = Words()["Service"]


def analyze(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=30, check=False
    )


def copied(folder: Path, old: str = "", new: str = "") -> str:
    """The path of a copy whose programs are here: systemd rightly says so if they are missing."""
    text = UNIT.read_text().replace(PROGRAM, "/bin/true").replace("/bin/kill", "/bin/true")
    copy = folder / UNIT.name
    copy.write_text(text.replace(old, new))
    return str(copy)


@needs_systemd
def test_systemd_has_nothing_to_say_against_it(tmp_path: Path) -> None:
    done = analyze("verify", "--man=no", copied(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_systemd_says_of_a_word_that_it_does_not_know(tmp_path: Path) -> None:
    """Lest the other test be glad of a systemd that says nothing whatever it is given."""
    unit = copied(tmp_path, "NoNewPrivileges=", "NoOldPrivileges=")
    assert "NoOldPrivileges" in analyze("verify", "--man=no", unit).stderr


@needs_systemd
def test_it_may_do_little_that_it_need_not() -> None:
    limit = str(round(EXPOSURE * 10))
    done = analyze("security", "--offline=true", f"--threshold={limit}", str(UNIT))
    found = re.search(r"exposure level for tweetdock.service: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE, done.stdout
    assert done.returncode == 0


def test_it_starts_the_program_that_tells_it_of_itself() -> None:
    assert SERVICE["ExecStart"] == PROGRAM
    assert (SERVICE["Type"], SERVICE["NotifyAccess"]) == ("notify", "main")


def test_a_loop_that_turns_is_not_taken_for_one_that_is_stuck() -> None:
    """A quarter of it passes between two words, and at most a turn more."""
    allowed = int(SERVICE["WatchdogSec"])
    assert allowed / 4 + 10 * READ_SECONDS < allowed


def test_there_is_time_for_the_needles_to_come_home() -> None:
    # And for a pigpiod of our own to end after that.
    assert int(SERVICE["TimeoutStopSec"]) > 3 * STOP_SECONDS
    assert SERVICE["KillMode"] == "mixed"


def test_only_wrong_settings_are_not_tried_again() -> None:
    assert (SERVICE["Restart"], int(SERVICE["RestartSec"])) == ("always", 2)
    assert SERVICE["RestartPreventExitStatus"] == str(EXIT_SETTINGS)
    assert Words()["Unit"]["StartLimitIntervalSec"] == "0"


def test_what_it_writes_it_may_write() -> None:
    for setting, folder in (("StateDirectory", "/var/lib"), ("RuntimeDirectory", "/run")):
        assert SERVICE[setting] == "tweetdock"
        assert f"={folder}/tweetdock\n" in UNIT.read_text()
    assert SERVICE["WorkingDirectory"] == "/var/lib/tweetdock"
