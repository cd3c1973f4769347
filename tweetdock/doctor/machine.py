"""The doctor's checks of the machine: its board, power, heat, disks, and if its clock is set."""

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tweetdock import __version__
from tweetdock.core.clock import FIRST_YEAR
from tweetdock.core.finding import Check, Finding, Verdict
from tweetdock.core.times import size
from tweetdock.keep.permissions import nearest
from tweetdock.servos.choice import read_model, text_of

ROOT = Path("/")
LITTLE_BYTES, LEAST_BYTES = 500_000_000, 50_000_000
_ROOM = (
    "make room: TWEETDOCK_ARCHIVE_KEEP and TWEETDOCK_OFFLOAD remove old archive files; "
    "`sudo apt clean` and `journalctl --vacuum-size=50M` remove old packages and logs"
)
ANSWER_SECONDS = 5.0
HOT_CELSIUS = 80.0  # from here on a Pi slows itself down

_SUPPLY = (
    "give the Pi a power supply of its own, 5.1 V and 3 A (a Pi 5: 5 A), with a short thick cable; "
    "give the servos another one, and join the grounds"
)
_COOLER = "give it air, or a heat sink"
# By the bits of an answer. Too low a voltage slows the processor down, too.
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
_POWER = (
    (1 << 0, Verdict.FAIL, "the voltage is too low right now", _SUPPLY),
    (1 << 16, Verdict.WARN, "the voltage was too low at least once since the start", _SUPPLY),
    (0b1110, Verdict.WARN, "the processor is slowed down right now", _COOLER),
    (0b1110 << 16, Verdict.WARN, "the processor was slowed down by heat before", _COOLER),
)


class Machine:
    """The machine that we run on, or the one whose files are below another root.

    path: where programs are looked for, as in PATH; None: in PATH.
    """

    def __init__(self, root: Path = ROOT, path: str | None = None) -> None:
        self._root = root
        self._path = path
        self.model = read_model(root / "proc/device-tree/model", root / "proc/cpuinfo")

    def checks(self) -> list[Check]:
        """The checks."""
        checks = [Check("machine", self._check_board)]
        if "Raspberry Pi" in self.model:
            checks.append(Check("power", self._check_power))
        return [*checks, Check("heat", self._check_heat), Check("clock", self._check_clock)]

    def program(self, name: str) -> str | None:
        """Where a program is; None if it is not there."""
        return shutil.which(name, path=self._path)

    def _check_board(self) -> Iterator[Finding]:
        board = self.model or "no Raspberry Pi"
        python = ".".join(map(str, sys.version_info[:3]))
        says = f"{board}, {platform.machine()}; Python {python}, TweetDock {__version__}"
        yield Finding.well("machine", says)

    def _check_power(self) -> Iterator[Finding]:
        found = re.fullmatch(r"throttled=(0x[0-9a-fA-F]{1,8})", self._ask("vcgencmd get_throttled"))
        if found:
            flags = int(found[1], 16)
            for bits, verdict, says, cure in _POWER:
                if flags & bits:
                    yield Finding("power", verdict, says, cure)
                    return
            yield Finding.well("power", "the voltage was never too low since the start")
        else:
            yield self._power_by_alarm()

    def _power_by_alarm(self) -> Finding:
        for name in sorted(self._root.glob("sys/class/hwmon/*/name")):
            if text_of(name) == "rpi_volt":
                if text_of(name.with_name("in0_lcrit_alarm")) == "1":
                    return Finding.trouble("power", "the voltage is too low", _SUPPLY)
                return Finding.well("power", "the voltage is fine")
        return Finding.well("power", "unknown: neither vcgencmd nor the kernel knows it")

    def _check_heat(self) -> Iterator[Finding]:
        for zone in sorted(self._root.glob("sys/class/thermal/thermal_zone*")):
            if re.search("cpu|soc|x86_pkg", text_of(zone / "type")):
                with suppress(ValueError):
                    yield _heat(int(text_of(zone / "temp")) / 1000)
                    return

    def _check_clock(self) -> Iterator[Finding]:
        cure = "`sudo timedatectl set-ntp true`, and let the network reach a time server"
        if time.gmtime().tm_year < FIRST_YEAR:
            says = f"it shows {time.gmtime().tm_year}: the clock was not set since the start"
            yield Finding.trouble("clock", says, cure)
        elif (self._root / "run/systemd/timesync/synchronized").exists():
            yield Finding.well("clock", "set by a time server")
        else:
            # In a container there is no timedatectl: the networks' checks compare the time.
            match self._ask("timedatectl show --property=NTPSynchronized --value"):
                case "yes":
                    yield Finding.well("clock", "set by a time server")
                case "no":
                    says = "no time server has set it since the start, so it may be wrong"
                    yield Finding.warning("clock", says, cure)

    def _ask(self, command: str) -> str:
        """What a program says on standard output; nothing if it is not there or fails."""
        name, *words = command.split()
        program = self.program(name)
        if program is None:
            return ""
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command
                [program, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=ANSWER_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""


def disk(folders: Sequence[Path]) -> Iterator[Finding]:
    """The room on each disk on which folders are or are to be made."""
    known = set()
    for place in map(nearest, folders):
        try:
            device, found = place.stat().st_dev, os.statvfs(place)
        except OSError as error:
            says = f"the disk of {place} cannot be checked: {error.strerror}"
            yield Finding.trouble("disk", says, "check the disk: `dmesg` may say more")
            continue
        if device not in known:
            known.add(device)
            yield _room(place, found)


def _room(place: Path, found: os.statvfs_result) -> Finding:
    if found.f_flag & os.ST_RDONLY:
        return Finding.trouble(
            "disk",
            f"the file system of {place} is read-only",
            "Linux does that when an SD card fails (see `dmesg`): replace the card; if it was "
            "mounted so on purpose, choose another folder",
        )
    if found.f_blocks == 0:
        return Finding.well("disk", f"{place} does not say how much is free")
    free = found.f_bavail * found.f_frsize
    says = f"{size(free)} free at {place}"
    if free < LEAST_BYTES:
        return Finding.trouble("disk", f"only {says}", _ROOM)
    if free < LITTLE_BYTES:
        return Finding.warning("disk", f"only {says}", _ROOM)
    return Finding.well("disk", says)


def _heat(celsius: float) -> Finding:
    if celsius >= HOT_CELSIUS:
        says = f"{celsius:.0f} °C: too hot, so the processor slows down"
        return Finding.warning("heat", says, _COOLER)
    return Finding.well("heat", f"{celsius:.0f} °C")
