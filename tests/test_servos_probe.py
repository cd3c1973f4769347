"""The probe of servos, and of the machine: real pigpiod answers, and boards made of files."""

import fcntl
import os
import pwd
import socket
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from checking import only
from needs import with_ipv6
from standins.loopback import Loopback
from standins.pigpiod import StandInPigpiod, free_port

import tweetdock.doctor.machine
import tweetdock.servos.pigpiod
import tweetdock.servos.probe
from tweetdock.core.finding import Finding, Verdict
from tweetdock.doctor.machine import Machine
from tweetdock.servos.lgpio import INSTALLING
from tweetdock.servos.probe import checks
from tweetdock.settings.gauge import Settings

PASS, WARN, FAIL = Verdict
LEAST = {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": "token"}
PI_4 = "Raspberry Pi 4 Model B Rev 1.5"
# Importing it would leave a pipe in the working folder.
with_lgpio = pytest.mark.skipif(find_spec("lgpio") is None, reason="lgpio is not installed")
PI_5 = "Raspberry Pi 5 Model B Rev 1.0"


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """A machine of a model, with files below its root and programs that are small scripts."""
    monkeypatch.setattr(tweetdock.servos.pigpiod, "LOCK", tmp_path / "run/pigpio.pid")

    def make(model: str = PI_4, programs: dict[str, str] | None = None, **files: str) -> Machine:
        write(tmp_path / "proc/device-tree/model", f"{model}\0")
        for name, text in files.items():
            write(tmp_path / name.replace("__", "/"), text)
        (tmp_path / "bin").mkdir(exist_ok=True)
        for name, script in (programs or {}).items():
            write(tmp_path / "bin" / name, f"#!/bin/sh\n{script}\n").chmod(0o755)
        return Machine(tmp_path, str(tmp_path / "bin"))

    return make


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def check(machine: Machine, thing: str = "servos", **more: str) -> list[Finding]:
    settings = Settings.from_env({**LEAST, **more})
    devices = machine._root / "dev"
    every = [*checks(settings, machine.model, machine.program, devices), *machine.checks()]
    return [finding for check in every if check.thing == thing for finding in check.run()]


def dead_port(**more: str) -> dict[str, str]:
    return {"PIGPIO_PORT": str(free_port()), **more}


# --- What moves the servos ---


def test_a_pigpiod_that_answers_is_told_with_its_version_and_nothing_of_it_is_touched(
    board: Callable[..., Machine],
) -> None:
    with StandInPigpiod() as pigpiod:
        finding = only(check(board(), PIGPIO_PORT=str(pigpiod.port)))
        asked = {name for name, *_ in pigpiod.commands}
    assert finding.verdict is PASS
    assert finding.says == (
        f"pigpio: pigpiod 79 answers at 127.0.0.1:{pigpiod.port}, on a board of revision a02082"
    )
    assert asked == {"PIGPV", "HWVER"}


@pytest.mark.parametrize("options", ["", "-t 0"])
def test_where_none_runs_tweetdock_starts_the_one_that_is_installed(
    board: Callable[..., Machine], as_root: None, tmp_path: Path, options: str
) -> None:
    machine = board(programs={"pigpiod": "exit 1"}, dev__mem="", dev__vcio="")
    finding = only(check(machine, **dead_port(TWEETDOCK_PIGPIOD_OPTIONS=options)))
    command = f"{tmp_path}/bin/pigpiod {options}".strip()
    assert finding == Finding("servos", PASS, f"pigpio: TweetDock starts {command} itself")


def test_none_is_started_while_another_holds_the_lock(
    board: Callable[..., Machine], as_root: None, tmp_path: Path
) -> None:
    """The doctor was content where the gauge then refused."""
    machine = board(programs={"pigpiod": "exit 1"}, dev__mem="", dev__vcio="", run__pigpio_pid="1")
    lock = (tmp_path / "run/pigpio_pid").rename(tmp_path / "run/pigpio.pid")
    env = dead_port()
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        finding = only(check(machine, **env))
    assert finding.verdict is FAIL
    assert finding.says == "pigpio: another pigpiod holds the pins and does not answer"
    assert finding.cure.startswith("stop it (sudo systemctl stop pigpiod, or ")
    assert only(check(machine, **env)).verdict is PASS
    assert lock.exists()


@with_ipv6
def test_the_pigpiod_of_the_system_is_found_at_ipv6(board: Callable[..., Machine]) -> None:
    with StandInPigpiod(address="::1") as pigpiod:
        finding = only(check(board(), PIGPIO_PORT=str(pigpiod.port)))
    assert finding.verdict is PASS
    assert finding.says.startswith(f"pigpio: pigpiod 79 answers at [::1]:{pigpiod.port}, ")


@with_ipv6
def test_pigpiod_at_ipv6_is_found_behind_another_program(
    board: Callable[..., Machine], stranger: Callable[[bytes], int]
) -> None:
    with StandInPigpiod(stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n"), address="::1") as pigpiod:
        assert only(check(board(), PIGPIO_PORT=str(pigpiod.port))).verdict is PASS


INSTALLED = {"pigpiod": "exit 1"}
# A container without privileges sees no device tree: no needle would turn, without a word.
CPUINFO = f"Revision\t: c03115\nModel\t\t: {PI_4}\n"
PIGPIO, THERE = {"TWEETDOCK_SERVO_BACKEND": "pigpio"}, {"PIGPIO_ADDR": "127.0.0.1"}
UNABLE: list[tuple[dict[str, Any], int, dict[str, str], str, str]] = [
    (
        {"model": "", "programs": INSTALLED, "proc__cpuinfo": CPUINFO},
        0,
        {},
        "/vcio",
        "--privileged",
    ),
    ({"programs": INSTALLED, "dev__mem": ""}, 0, {}, "without", "--privileged"),
    ({"programs": INSTALLED}, 1000, {}, "only root can start one", "enable --now pigpiod"),
    ({}, 0, {}, "is not installed", "`sudo apt install pigpio` (Raspberry Pi OS 12 and before"),
    ({}, 0, THERE, "no pigpiod answers at 127.0.0.1:", "PIGPIO_ADDR"),
    ({}, 0, {"PIGPIO_ADDR": "no..such.host"}, "cannot be found", "PIGPIO_ADDR"),
    ({"model": PI_5}, 0, PIGPIO, "cannot run on a Raspberry Pi 5", "uses lgpio here"),
    ({"model": ""}, 0, PIGPIO, "no Raspberry Pi", "PIGPIO_ADDR"),
]


@pytest.mark.parametrize("case", UNABLE, ids=lambda case: case[3])
def test_where_pigpio_cannot_work_it_is_told_what_it_takes(
    board: Callable[..., Machine],
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[dict[str, Any], int, dict[str, str], str, str],
) -> None:
    machine, user, env, says, cure = case
    monkeypatch.setattr(os, "geteuid", lambda: user)
    finding = only(check(board(**machine), **dead_port(**env)))
    assert finding.verdict is FAIL
    assert finding.says.startswith("pigpio: ")
    assert (says in finding.says, cure in finding.cure) == (True, True), finding


@pytest.fixture
def stranger() -> Iterator[Callable[[bytes], int]]:
    """Another program on the port, which says something as soon as it is asked, or nothing."""
    may_end = threading.Event()
    strangers = []

    def make(words: bytes) -> int:
        def serve(connection: socket.socket) -> None:
            connection.recv(16)
            connection.sendall(words)
            if not words:
                may_end.wait(10)

        stranger = Loopback(serve)
        stranger.up()
        strangers.append(stranger)
        return stranger.port

    yield make
    may_end.set()
    for one in strangers:
        one.close()


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"no", b""])
def test_another_program_on_the_port_is_told_apart(
    board: Callable[..., Machine],
    stranger: Callable[[bytes], int],
    monkeypatch: pytest.MonkeyPatch,
    words: bytes,
) -> None:
    monkeypatch.setattr(tweetdock.servos.pigpiod, "PROBE_SECONDS", 0.3)
    finding = only(check(board(), PIGPIO_PORT=str(stranger(words))))
    assert finding.verdict is FAIL
    assert "program" in finding.says
    assert "Jupyter" in finding.says
    assert "PIGPIO_PORT=8889" in finding.cure


def test_a_pigpiod_that_hangs_is_told(
    board: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tweetdock.servos.pigpiod, "PROBE_SECONDS", 0.3)
    with StandInPigpiod() as pigpiod:
        pigpiod.hang()
        finding = only(check(board(), PIGPIO_PORT=str(pigpiod.port)))
        pigpiod.resume()
    assert finding.verdict is FAIL
    assert "a pigpiod hangs" in finding.says
    assert "stop it" in finding.cure


def test_lgpio_wants_its_package(
    board: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tweetdock.servos.probe, "find_spec", lambda name: None)
    finding = only(check(board(PI_5)))
    assert finding.verdict is FAIL
    assert "the package is not installed" in finding.says
    assert finding.cure == INSTALLING


@with_lgpio
def test_lgpio_wants_pins(board: Callable[..., Machine]) -> None:
    finding = only(check(board(PI_5)))
    assert finding.verdict is FAIL
    assert "there are no pins" in finding.says
    assert "--device /dev/gpiochip0" in finding.cure


@with_lgpio
def test_lgpio_wants_to_be_let_at_the_pins(
    board: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks as the service's user, by sudo -u, has another name in $USER."""
    nobody = pwd.getpwnam("nobody").pw_uid
    nameless = next(n for n in range(60_000, 99_999) if n not in {p.pw_uid for p in pwd.getpwall()})
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for user, name in ((nobody, "nobody"), (nameless, str(nameless))):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        finding = only(check(board(PI_5, dev__gpiochip0="")))
        assert finding.verdict is FAIL
        assert "may not be used" in finding.says
        assert finding.cure == (
            f"`sudo usermod -aG gpio {name}`, then log in again, or restart the service"
        )


@with_lgpio
def test_lgpio_on_a_pi_5_passes(board: Callable[..., Machine]) -> None:
    finding = only(check(board(PI_5, dev__gpiochip0="")))
    assert finding.verdict is PASS
    assert finding.says.startswith("lgpio: the pins of this Raspberry Pi 5 are there")


def test_mock_is_fine_but_on_a_real_pi(board: Callable[..., Machine]) -> None:
    finding = only(check(board("")))
    assert finding.verdict is PASS
    assert finding.says.startswith("mock, as this is no Raspberry Pi")
    finding = only(check(board(), TWEETDOCK_SERVO_BACKEND="mock"))
    assert finding.verdict is WARN
    assert "no servo will move" in finding.says
    assert "TWEETDOCK_SERVO_BACKEND=auto" in finding.cure


def test_a_demo_moves_no_servo_and_that_is_meant(board: Callable[..., Machine]) -> None:
    settings = Settings.from_env({}, demo=True)
    machine = board()
    first, *_ = checks(settings, machine.model, machine.program)
    finding = only(list(first.run()))
    assert (finding.verdict, finding.says) == (PASS, "none: a demo moves no servo")


# --- The dials ---


def test_a_dial_is_told_as_it_is_set(board: Callable[..., Machine]) -> None:
    finding = only(check(board(), "tweets dial"))
    says = "GPIO 12, 1000 to 2000 µs for 0 to 180°, scale auto; not calibrated"
    assert finding == Finding("tweets dial", PASS, says)
    finding = only(
        check(
            board(),
            "tweeters dial",
            TWEETDOCK_TWEETERS_MIN_PULSE_US="600",
            TWEETDOCK_TWEETERS_REVERSED="1",
            TWEETDOCK_TWEETERS_SCALE="log:10000",
        )
    )
    says = "GPIO 13, 600 to 2000 µs for 0 to 180°, reversed, scale log:10000"
    assert finding == Finding("tweeters dial", PASS, says)


def test_pulses_that_few_servos_stand_are_told(board: Callable[..., Machine]) -> None:
    finding = only(check(board(), "tweets dial", TWEETDOCK_TWEETS_MAX_PULSE_US="2600"))
    assert finding.verdict is WARN
    assert "1000 to 2600 µs" in finding.says
    assert "tweetdock calibrate" in finding.cure
    assert (
        only(check(board(), "tweeters dial", TWEETDOCK_TWEETS_MAX_PULSE_US="2600")).verdict is PASS
    )


@pytest.mark.parametrize(("pin", "use"), [("0", "HAT"), ("2", "I2C"), ("14", "serial console")])
def test_a_pin_that_has_another_use_is_told(
    board: Callable[..., Machine], pin: str, use: str
) -> None:
    finding = only(check(board(), "tweeters dial", TWEETDOCK_TWEETERS_PIN=pin))
    assert finding.verdict is WARN
    assert use in finding.says
    assert "TWEETDOCK_TWEETERS_PIN" in finding.cure


# --- The machine ---


def test_the_board_and_the_python_are_told(board: Callable[..., Machine]) -> None:
    assert PI_4 in only(check(board(), "machine")).says
    finding = only(check(board(""), "machine"))
    assert finding.verdict is PASS
    assert finding.says.startswith("no Raspberry Pi, ")


@pytest.mark.parametrize(
    ("flags", "verdict", "says"),
    [
        ("0x0", PASS, "never too low"),
        ("0x50005", FAIL, "too low right now"),
        ("0x50000", WARN, "too low at least once"),
        ("0x4", WARN, "slowed down right now"),
        ("0x8", WARN, "slowed down right now"),
        ("0xe0000", WARN, "was slowed down"),
    ],
)
def test_the_power_is_told_by_the_firmware(
    board: Callable[..., Machine], flags: str, verdict: Verdict, says: str
) -> None:
    script = f'[ "$*" = get_throttled ] && echo throttled={flags}'
    finding = only(check(board(programs={"vcgencmd": script}), "power"))
    assert finding.verdict is verdict
    assert says in finding.says
    assert bool(finding.cure) is (verdict is not PASS)


REFUSALS = {
    "missing": {},
    "refused": {"vcgencmd": "echo VCHI initialization failed; exit 255"},
    "odd": {"vcgencmd": "echo error=1"},
    "broken": {"vcgencmd": "printf 'throttled=\\377'"},
}


@pytest.mark.parametrize("programs", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize(("alarm", "verdict"), [("1", FAIL), ("0", PASS)])
def test_the_power_is_told_by_the_kernel_where_the_firmware_does_not_speak(
    board: Callable[..., Machine], programs: dict[str, str], alarm: str, verdict: Verdict
) -> None:
    files = {"sys__class__hwmon__hwmon0__name": "cpu_thermal\n"}
    files["sys__class__hwmon__hwmon1__name"] = "rpi_volt\n"
    files["sys__class__hwmon__hwmon1__in0_lcrit_alarm"] = f"{alarm}\n"
    assert only(check(board(programs=programs, **files), "power")).verdict is verdict


def test_a_firmware_that_hangs_is_not_waited_for(
    board: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tweetdock.doctor.machine, "ANSWER_SECONDS", 0.2)
    finding = only(check(board(programs={"vcgencmd": "exec tail -f /dev/null"}), "power"))
    assert (finding.verdict, finding.says.partition(":")[0]) == (PASS, "unknown")


def test_what_is_no_pi_is_not_asked_for_its_power(board: Callable[..., Machine]) -> None:
    assert not check(board("", programs={"vcgencmd": "echo throttled=0x50005"}), "power")


@pytest.mark.parametrize(("milli", "verdict"), [("48312", PASS), ("82000", WARN)])
def test_the_heat_is_told(board: Callable[..., Machine], milli: str, verdict: Verdict) -> None:
    files = {"sys__class__thermal__thermal_zone0__type": "cpu-thermal\n"}
    finding = only(check(board(**files, sys__class__thermal__thermal_zone0__temp=milli), "heat"))
    assert finding.verdict is verdict
    assert finding.says.startswith(f"{int(milli) / 1000:.0f} °C")


def test_heat_that_cannot_be_read_is_left_out(board: Callable[..., Machine]) -> None:
    assert not check(board(sys__class__thermal__thermal_zone0__type="cpu-thermal"), "heat")
    assert not check(board(sys__class__thermal__thermal_zone0__type="battery"), "heat")


@pytest.mark.parametrize(("says", "verdict"), [("yes", PASS), ("no", WARN)])
def test_whether_the_clock_is_set_is_told(
    board: Callable[..., Machine], says: str, verdict: Verdict
) -> None:
    finding = only(check(board(programs={"timedatectl": f"echo {says}"}), "clock"))
    assert finding.verdict is verdict
    assert ("set-ntp" in finding.cure) is (verdict is WARN)


def test_the_mark_of_a_clock_that_was_set_is_enough(board: Callable[..., Machine]) -> None:
    files = {"run__systemd__timesync__synchronized": ""}
    assert only(check(board(**files, programs={"timedatectl": "echo no"}), "clock")).verdict is PASS


def test_where_nobody_knows_of_the_clock_nothing_is_said(board: Callable[..., Machine]) -> None:
    assert not check(board(), "clock")
    assert not check(board(programs={"timedatectl": "echo 'no systemd' >&2; exit 1"}), "clock")
