"""Which backend a machine gets, and that no other one is loaded."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tweetdock.servos.choice import choose_backend, make_servos, read_model
from tweetdock.settings.gauge import Settings

if TYPE_CHECKING:
    from pathlib import Path

# As the boards' own device trees have them.
PIGPIO_MODELS = [
    "Raspberry Pi Model B Rev 2",
    "Raspberry Pi Model A Plus Rev 1.1",
    "Raspberry Pi Model B Plus Rev 1.2",
    "Raspberry Pi Compute Module Rev 1.0",
    "Raspberry Pi Zero Rev 1.3",
    "Raspberry Pi Zero W Rev 1.1",
    "Raspberry Pi Zero 2 W Rev 1.0",
    "Raspberry Pi 2 Model B Rev 1.1",
    "Raspberry Pi 3 Model A Plus Rev 1.0",
    "Raspberry Pi 3 Model B Rev 1.2",
    "Raspberry Pi 3 Model B Plus Rev 1.3",
    "Raspberry Pi Compute Module 3 Rev 1.0",
    "Raspberry Pi Compute Module 3 Plus Rev 1.0",
    "Raspberry Pi 4 Model B Rev 1.5",
    "Raspberry Pi 400 Rev 1.0",
    "Raspberry Pi Compute Module 4 Rev 1.0",
    "Raspberry Pi Compute Module 4S Rev 1.0",
]
LGPIO_MODELS = [
    "Raspberry Pi 5 Model B Rev 1.0",
    "Raspberry Pi 500 Rev 1.0",
    "Raspberry Pi 500+ Rev 1.0",
    "Raspberry Pi Compute Module 5 Rev 1.0",
    "Raspberry Pi Compute Module 5 Lite Rev 1.0",
]
OTHER_MACHINES = ["", "Pine64 RockPro64 v2.1", "Radxa ROCK 5B", "linux,dummy-virt"]
TABLE = (
    [(model, "pigpio") for model in PIGPIO_MODELS]
    + [(model, "lgpio") for model in LGPIO_MODELS]
    + [(model, "mock") for model in OTHER_MACHINES]
)
every_machine = pytest.mark.parametrize(("model", "backend"), TABLE)


def settings(**env: str) -> Settings:
    return Settings.from_env({"TWEETDOCK_SOURCES": "demo"} | env)


@every_machine
def test_auto_goes_by_the_model(model: str, backend: str) -> None:
    assert choose_backend("auto", model, "") == backend


@every_machine
def test_a_pigpiod_elsewhere_is_taken_at_its_word(model: str, backend: str) -> None:
    assert choose_backend("auto", model, "192.0.2.7") == "pigpio"


@every_machine
@pytest.mark.parametrize("wanted", ["pigpio", "lgpio", "mock"])
@pytest.mark.parametrize("address", ["", "192.0.2.7"])
def test_a_choice_is_never_changed(model: str, backend: str, wanted: str, address: str) -> None:
    assert choose_backend(wanted, model, address) == wanted


def test_the_model_is_what_the_board_says_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"Raspberry Pi 4 Model B Rev 1.5\0")
    assert read_model(path) == "Raspberry Pi 4 Model B Rev 1.5"


def test_a_machine_that_does_not_say_has_no_model(tmp_path: Path) -> None:
    assert read_model(tmp_path / "model", tmp_path / "cpuinfo") == ""
    assert read_model(tmp_path, tmp_path) == ""


# The end of /proc/cpuinfo by a kernel of Raspberry Pi OS, 64 bit, and its beginning elsewhere.
PI_CPUINFO = """processor\t: 3
BogoMIPS\t: 108.00
CPU part\t: 0xd08

Hardware\t: BCM2835
Revision\t: c03115
Serial\t\t: 10000000abcdef01
Model\t\t: {}
"""
PC_CPUINFO = "processor\t: 0\nmodel\t\t: 106\nmodel name\t: Intel(R) Xeon(R) Processor\n"


@pytest.mark.parametrize("model", [*PIGPIO_MODELS, *LGPIO_MODELS])
def test_a_container_without_a_device_tree_asks_the_kernel_for_the_model(
    tmp_path: Path, model: str
) -> None:
    """Docker hides the device tree without --privileged: the needles of a Pi were mere mocks."""
    (tmp_path / "cpuinfo").write_text(PI_CPUINFO.format(model))
    assert read_model(tmp_path / "model", tmp_path / "cpuinfo") == model


@pytest.mark.parametrize("text", [PC_CPUINFO, "", "Model\n", "\xff\xfe"])
def test_a_kernel_that_names_no_model_is_no_pi(tmp_path: Path, text: str) -> None:
    (tmp_path / "cpuinfo").write_bytes(text.encode("latin-1"))
    assert read_model(tmp_path / "model", tmp_path / "cpuinfo") == ""


def test_the_device_tree_is_believed_first(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    (tmp_path / "cpuinfo").write_text(PI_CPUINFO.format("Raspberry Pi 4 Model B Rev 1.5"))
    model = read_model(tmp_path / "model", tmp_path / "cpuinfo")
    assert model == "Raspberry Pi 5 Model B Rev 1.0"


def test_a_model_in_another_alphabet_is_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes("Brombeere Größe 2\0".encode())
    assert choose_backend("auto", read_model(path), "") == "mock"


@pytest.mark.parametrize("backend", ["pigpio", "lgpio", "mock"])
def test_the_servos_are_those_that_were_chosen(backend: str) -> None:
    servos = make_servos(settings(TWEETDOCK_SERVO_BACKEND=backend), "")
    assert servos.name == backend
    servos.close()


def test_auto_makes_the_servos_of_the_model() -> None:
    made = [make_servos(settings(), model).name for model, _ in TABLE]
    assert made == [backend for _, backend in TABLE]


SCRIPT = """
import sys
from tweetdock.servos.choice import make_servos
from tweetdock.settings.gauge import Settings
env = {"TWEETDOCK_SOURCES": "demo", "TWEETDOCK_SERVO_BACKEND": sys.argv[1]}
make_servos(Settings.from_env(env), "").close()
print(*sys.modules)
"""


@pytest.mark.parametrize("backend", ["pigpio", "lgpio", "mock"])
def test_only_the_backend_in_use_is_loaded(backend: str) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, backend],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    loaded = set(run.stdout.split())
    others = {f"tweetdock.servos.{name}" for name in ("pigpio", "lgpio")}
    assert loaded & others == {f"tweetdock.servos.{backend}"} & others
    # lgpio's import alone makes a pipe and starts a thread: that is for `connect`.
    assert not loaded & {"lgpio", "gpiozero.pins.lgpio", "gpiozero.pins.native"}
    assert run.stderr == ""
