"""deploy/tweetdock.service and its pigpiod.conf, as systemd itself reads them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tweetdock.commands.output import EXIT_SETTINGS
from tweetdock.counting import JOIN_SECONDS, READ_SECONDS
from tweetdock.daemon import STOP_SECONDS
from tweetdock.servos.servos import END_SECONDS
from tweetdock.settings.gauge import Settings

DEPLOY = Path(__file__).parents[1] / "deploy"
UNIT, PIGPIOD = DEPLOY / "tweetdock.service", DEPLOY / "pigpiod.conf"
PROGRAM = "/opt/tweetdock/bin/tweetdock"
# Of ten: what is left is the network, the GPIO, /proc/cpuinfo and a root of its own.
EXPOSURE = 1.5
# To begin a count of a million posts anew takes some seconds on a PC; a Pi Zero has ten times that.
SLOWEST_TURN_SECONDS = 70.0
CARD_SECONDS = 3.0  # of a slow one

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="no systemd here; install the package systemd"
)


def lines_of(path: Path, section: str) -> dict[str, list[str]]:
    """All that a section sets: to systemd a name that comes again adds to what was there."""
    found: dict[str, list[str]] = {}
    here = ""
    for line in path.read_text().splitlines():
        if line.startswith("["):
            here = line.strip("[]")
        elif here == section and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


SERVICE = lines_of(UNIT, "Service")


def only(name: str) -> str:
    """The value of what is set once."""
    (value,) = SERVICE[name]
    return value


def seconds(text: str) -> float:
    """A time span of systemd's."""
    number, unit = re.fullmatch(r"(\d+)(s|min)?", text).groups()  # type: ignore[union-attr]
    return int(number) * {"min": 60.0}.get(unit, 1.0)


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
def test_systemd_has_nothing_to_say_against_an_upheld_pigpiod(tmp_path: Path) -> None:
    drop_ins = tmp_path / f"{UNIT.name}.d"
    drop_ins.mkdir()
    shutil.copy(PIGPIOD, drop_ins)
    (tmp_path / "pigpiod.service").write_text("[Service]\nExecStart=/bin/true\n")
    done = analyze("verify", "--man=no", copied(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with (drop_ins / PIGPIOD.name).open("a") as file:
        file.write("Downholds=pigpiod.service\n")
    assert "Downholds" in analyze("verify", "--man=no", copied(tmp_path)).stderr


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


def test_a_pigpiod_is_only_started_for_who_asks_for_it() -> None:
    """One that its owner has disabled, or that is not used, took sound and a tenth of the CPU."""
    asked = {
        name: values for name, values in lines_of(UNIT, "Unit").items() if "pig" in str(values)
    }
    assert asked == {"After": ["network-online.target pigpiod.service"]}
    # Wants= would start it once only: Debian's unit has no Restart=.
    assert lines_of(PIGPIOD, "Unit") == {"Upholds": ["pigpiod.service"]}
    assert PIGPIOD.read_text().count("\n[") == 1


def test_it_starts_the_program_that_tells_it_of_itself() -> None:
    assert only("ExecStart") == PROGRAM
    assert only("ExecReload") == "/bin/kill -HUP $MAINPID"
    assert (only("Type"), only("NotifyAccess")) == ("notify", "main")


def test_a_loop_that_turns_is_not_taken_for_one_that_is_stuck() -> None:
    """A quarter of it passes between two words, and at most a turn more."""
    allowed = seconds(only("WatchdogSec"))
    assert allowed / 4 + READ_SECONDS + SLOWEST_TURN_SECONDS < allowed


def test_there_is_time_for_the_needles_to_come_home() -> None:
    """The sources end, the needles, and then a pigpiod of our own."""
    end = JOIN_SECONDS + STOP_SECONDS + END_SECONDS
    assert end + CARD_SECONDS < seconds(only("TimeoutStopSec"))
    assert only("KillMode") == "mixed"


def test_only_wrong_settings_are_not_tried_again() -> None:
    assert (only("Restart"), seconds(only("RestartSec"))) == ("always", 2)
    assert only("RestartPreventExitStatus") == str(EXIT_SETTINGS)
    assert lines_of(UNIT, "Unit")["StartLimitIntervalSec"] == ["0"]


def test_it_is_told_where_it_may_write() -> None:
    told = dict(line.split("=", 1) for line in SERVICE["Environment"])
    assert told == {
        "TWEETDOCK_STATE_DIR": f"/var/lib/{only('StateDirectory')}",
        "LG_WD": f"/run/{only('RuntimeDirectory')}",
        "PYTHONFAULTHANDLER": "1",
    }
    assert only("WorkingDirectory") == told["TWEETDOCK_STATE_DIR"]
    assert only("ProtectSystem") == "strict"
    settings = Settings.from_env(told | {"TWEETDOCK_SOURCES": "demo"})
    assert str(settings.keep.state_dir) == told["TWEETDOCK_STATE_DIR"]


def test_the_owners_settings_win_over_those_of_the_unit() -> None:
    """A file outranks all lines of Environment=, and may be missing."""
    assert SERVICE["EnvironmentFile"] == ["-/etc/tweetdock/.env"]
    assert SERVICE.keys().isdisjoint({"PassEnvironment", "UnsetEnvironment"})


def test_its_user_reaches_the_gpio_and_no_other_device() -> None:
    assert (only("User"), only("Group")) == ("tweetdock", "tweetdock")
    assert only("DevicePolicy") == "closed"
    assert SERVICE["DeviceAllow"] == ["char-gpiochip rw"]
    # These would hide /dev/gpiochip0 or /proc/cpuinfo.
    assert SERVICE.keys().isdisjoint({"PrivateDevices", "ProcSubset", "DynamicUser"})


def test_what_it_knows_and_writes_is_for_nobody_else() -> None:
    assert only("LimitCORE") == "0"
    assert only("UMask") == "0077"
    assert {only("StateDirectoryMode"), only("RuntimeDirectoryMode")} == {"0700"}
    for name in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "MemoryDenyWriteExecute"):
        assert only(name) == "yes"
    for name in ("CapabilityBoundingSet", "AmbientCapabilities"):
        assert only(name) == ""
    assert SERVICE["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]


def test_it_is_there_again_when_the_pi_starts() -> None:
    assert lines_of(UNIT, "Install") == {"WantedBy": ["multi-user.target"]}
    assert "network-online.target" in lines_of(UNIT, "Unit")["Wants"]
