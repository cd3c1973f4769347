"""A stand-in pigpiod: its socket protocol over virtual pins, in-process or as a program."""

from __future__ import annotations

import contextlib
import fcntl
import getopt
import json
import os
import random
import re
import selectors
import shlex
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

VERSION = 79
PI_3B = 0xA02082
PI_3B_PINS = 0x0080480FFFFFFC
COMMANDS = {0: "MODES", 1: "MODEG", 2: "PUD", 3: "READ", 4: "WRITE", 5: "PWM", 6: "PRS"}
COMMANDS |= {7: "PFS", 8: "SERVO", 10: "BR1", 16: "TICK", 17: "HWVER", 19: "NB", 21: "NC"}
COMMANDS |= {
    22: "PRG",
    23: "PFG",
    24: "PRRG",
    26: "PIGPV",
    83: "GDC",
    84: "GPW",
    97: "FG",
    99: "NOIB",
}
WRITERS = {"MODES", "PUD", "WRITE", "PWM", "PRS", "PFS", "SERVO"}
ANY_PIN = {"MODES", "MODEG", "PUD", "READ", "WRITE"}  # 0-53; all others that name a pin take 0-31
NO_PIN = {"BR1", "TICK", "HWVER", "NB", "NC", "PIGPV", "NOIB"}
BAD_USER_GPIO, BAD_GPIO, BAD_MODE, BAD_LEVEL, BAD_PUD, BAD_PULSEWIDTH = -2, -3, -4, -5, -6, -7
BAD_DUTYCYCLE, BAD_DUTYRANGE, NO_HANDLE, BAD_HANDLE, NOT_PERMITTED = -8, -21, -24, -25, -41
UNKNOWN_COMMAND, NOT_PWM_GPIO, NOT_SERVO_GPIO, BAD_FILTER = -88, -92, -93, -125
# Samples in a period, one number for each of pigpio's 18 frequencies (pwmRealRange in pigpio.c).
REAL_RANGES: tuple[int, ...] = (25, 50, 100, 125, 200, 250, 400, 500, 625)
REAL_RANGES += (800, 1000, 1250, 2000, 2500, 4000, 5000, 10000, 20000)
SERVO_PERIOD_US = 20_000


@dataclass(frozen=True)
class PulseChange:
    """A moment at which a pin got another pulse length.

    cut: whether that broke a pulse off. is_rash: whether it did so without having read the pin
    just before; who has, did what it could on a machine that kept it waiting.
    """

    at_monotonic: float
    gpio: int
    pulse_us: float
    cut: bool = False
    is_rash: bool = False


class CommandError(Exception):
    """A command that pigpiod answers with a negative number."""


@dataclass
class Pin:
    """What the daemon knows of a pin; the cycle of a change has a pulse length of its own."""

    mode: int = 0
    pull: int = 0
    level: int = 0
    use: str = ""
    range: int = 255
    samples: int = 250
    width: int = 0
    pulse_us: float = 0.0
    period_us: float = SERVO_PERIOD_US
    odd_cycle: float = -1.0
    odd_us: float = 0.0
    was_read: bool = False

    def in_pulse(self, now_us: float) -> bool:
        cycle, phase = divmod(now_us, self.period_us)
        return phase < (self.odd_us if cycle == self.odd_cycle else self.pulse_us)

    def read(self, now_us: float) -> int:
        if self.mode != 1:
            return int(self.pull == 2)
        return int(self.in_pulse(now_us)) if self.use in {"pwm", "servo"} else self.level


@dataclass
class Board:
    """The pins and notification handles of one daemon's life; time comes in with each command."""

    revision: int
    sample_us: int
    mask: int
    report: Callable[[PulseChange], None]
    pins: list[Pin] = field(default_factory=lambda: [Pin() for _ in range(54)])
    handles: list[object] = field(default_factory=lambda: [None] * 32)
    now_us: float = 0.0

    def answer(self, client: object, name: str, p1: int, p2: int, now: float) -> int:
        """Carry one command out as pigpiod would, and return the number that it replies."""
        self.now_us = now * 1e6
        if name not in COMMANDS.values():
            return UNKNOWN_COMMAND
        if name in WRITERS and p1 < len(self.pins) and not self.mask >> p1 & 1:
            return NOT_PERMITTED
        if name in ANY_PIN and p1 >= len(self.pins):
            return BAD_GPIO
        if name not in ANY_PIN | NO_PIN and p1 > 31:
            return BAD_USER_GPIO
        try:
            if name in NO_PIN:
                return self._ask_daemon(client, name, p1, p2)
            pin = self.pins[p1]
            if name in WRITERS:
                number = int(getattr(self, f"_{name.lower()}")(p1, pin, p2) or 0)
            else:
                number = self._ask_pin(name, pin, p2)
        except CommandError as error:
            return int(error.args[0])
        pin.was_read = name == "READ"
        return number

    def forget(self, client: object) -> None:
        self.handles = [None if owner is client else owner for owner in self.handles]

    def _ask_daemon(self, client: object, name: str, p1: int, p2: int) -> int:
        if name == "NOIB":
            self.forget(client)
            self._check(None in self.handles, NO_HANDLE)
            handle = self.handles.index(None)
            self.handles[handle] = client
            return handle
        if name in {"NB", "NC"}:  # pins are outputs only here: there is nothing to be notified of
            self._check(p1 < len(self.handles) and self.handles[p1] is not None, BAD_HANDLE)
            self.handles[p1] = None if name == "NC" else self.handles[p1]
            return 0
        if name == "BR1":
            return sum(pin.read(self.now_us) << gpio for gpio, pin in enumerate(self.pins[:32]))
        return {"TICK": int(self.now_us), "HWVER": self.revision, "PIGPV": VERSION}[name]

    def _ask_pin(self, name: str, pin: Pin, p2: int) -> int:
        self._check(name != "GDC" or pin.use == "pwm", NOT_PWM_GPIO)
        self._check(name != "GPW" or pin.use == "servo", NOT_SERVO_GPIO)
        self._check(name != "FG" or p2 <= 300_000, BAD_FILTER)
        if name == "READ":
            return pin.read(self.now_us)
        numbers = {"MODEG": pin.mode, "FG": 0, "GDC": pin.width, "GPW": pin.width}
        numbers |= {"PRG": pin.range, "PRRG": pin.samples, "PFG": self._hertz(pin.samples)}
        return numbers[name]

    def _modes(self, gpio: int, pin: Pin, mode: int) -> None:
        self._check(mode <= 7, BAD_MODE)
        if mode != pin.mode:
            self._switch_off(gpio, pin, "")
        pin.mode = mode

    def _pud(self, _gpio: int, pin: Pin, pull: int) -> None:
        self._check(pull <= 2, BAD_PUD)
        pin.pull = pull

    def _write(self, gpio: int, pin: Pin, level: int) -> None:
        self._check(level <= 1, BAD_LEVEL)
        self._send(gpio, pin, 0.0)  # pigpio sets the line before it ends a pulse of any kind
        self._switch_off(gpio, pin, "write")
        pin.mode, pin.level = 1, level

    def _pwm(self, gpio: int, pin: Pin, duty: int) -> None:
        self._check(duty <= pin.range, BAD_DUTYCYCLE)
        if pin.use != "pwm":
            self._switch_off(gpio, pin, "pwm")
        pin.mode, pin.width = 1, duty
        self._send_duty(gpio, pin)

    def _prs(self, gpio: int, pin: Pin, range_: int) -> int:
        self._check(25 <= range_ <= 40_000, BAD_DUTYRANGE)
        if pin.use == "pwm" and pin.width:
            self._send(gpio, pin, 0.0)
            pin.width = range_ * pin.width // pin.range
        pin.range = range_
        self._send_duty(gpio, pin)
        return pin.samples

    def _pfs(self, gpio: int, pin: Pin, hertz: int) -> int:
        if pin.use == "pwm":
            self._send(gpio, pin, 0.0)
        pin.samples = min(REAL_RANGES, key=lambda samples: abs(self._hertz(samples) - hertz))
        self._send_duty(gpio, pin)
        return self._hertz(pin.samples)

    def _servo(self, gpio: int, pin: Pin, width: int) -> None:
        self._check(width == 0 or 500 <= width <= 2500, BAD_PULSEWIDTH)
        if pin.use != "servo":
            self._switch_off(gpio, pin, "servo")
        pin.mode, pin.width, pin.period_us = 1, width, SERVO_PERIOD_US
        self._send(gpio, pin, float(width // self.sample_us * self.sample_us), gently=True)

    def _send_duty(self, gpio: int, pin: Pin) -> None:
        if pin.use == "pwm":
            pin.period_us = pin.samples * self.sample_us
            self._send(gpio, pin, float(pin.width * pin.samples // pin.range * self.sample_us))

    def _switch_off(self, gpio: int, pin: Pin, use: str) -> None:
        self._send(gpio, pin, 0.0, gently=pin.use == "servo")
        pin.use, pin.width, pin.level = use, 0, 0

    def _send(self, gpio: int, pin: Pin, pulse_us: float, *, gently: bool = False) -> None:
        """Change the pulse on the wire: from the next cycle on, if none is running."""
        if pulse_us == pin.pulse_us:
            return
        high = pin.in_pulse(self.now_us)
        running_us = pin.odd_us if pin.odd_cycle == self.now_us // pin.period_us else pin.pulse_us
        cut = high and not pulse_us and not gently
        pin.odd_cycle = self.now_us // pin.period_us
        pin.odd_us = max(running_us, pulse_us) if high and not cut else 0.0
        pin.pulse_us = pulse_us
        is_rash = cut and not pin.was_read
        self.report(PulseChange(self.now_us / 1e6, gpio, pulse_us, cut, is_rash))

    def _hertz(self, samples: int) -> int:
        return int(1e6 / (samples * self.sample_us) + 0.5)

    @staticmethod
    def _check(good: bool, code: int) -> None:  # noqa: FBT001 - reads like an assertion
        if not good:
            raise CommandError(code)


class StandInPigpiod:
    """A pigpiod on this machine, served by one thread; every method is for any thread.

    address: 127.0.0.1, or ::1 as with `pigpiod -l`.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        address: str = "127.0.0.1",
        revision: int = PI_3B,
        sample_us: int = 5,
        mask: int = PI_3B_PINS,
        allowed: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        on_pulse: Callable[[PulseChange], None] = lambda _change: None,
        on_listen: Callable[[], None] = lambda: None,
    ) -> None:
        self.port = port or free_port()
        self._address = address
        self._new_board = partial(Board, revision, sample_us, mask, self._note)
        self._allowed, self._clock = allowed, clock
        self._on_pulse, self._on_listen = on_pulse, on_listen
        self._board = self._new_board()
        self._pulses: list[PulseChange] = []
        self._commands: list[tuple[str, int, int]] = []
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._hung = False
        self._ended = True
        self._listener: socket.socket | None = None
        self._received: dict[socket.socket, bytearray] = {}

    def __enter__(self) -> StandInPigpiod:
        self._ended = False
        self._selector = selectors.DefaultSelector()
        self._caller, self._called = socket.socketpair()
        self._selector.register(self._called, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="stand-in pigpiod", daemon=True)
        self._thread.start()
        try:
            self.revive()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    @property
    def pulses(self) -> list[PulseChange]:
        """Every change of a pulse so far, oldest first."""
        with self._changed:
            return list(self._pulses)

    @property
    def cuts(self) -> int:
        """How many pulses were broken off in the middle by a command."""
        return sum(change.cut for change in self.pulses)

    @property
    def rash_cuts(self) -> int:
        """The same without those that only a busy machine is to blame for."""
        return sum(change.is_rash for change in self.pulses)

    @property
    def commands(self) -> list[tuple[str, int, int]]:
        """Every command answered so far with its two parameters; unknown ones as numbers."""
        with self._changed:
            return list(self._commands)

    @property
    def clients(self) -> int:
        """How many connections are open; a pigpio client has two."""
        with self._changed:
            return len(self._received)

    def pulse_us(self, gpio: int) -> float:
        """Return the pulse length now on the wire, 0 if there are no pulses."""
        with self._changed:
            return self._board.pins[gpio].pulse_us

    def drop(self) -> None:
        """Close all connections; the daemon goes on, and so do the pulses."""
        self._in_thread(self._hang_up)

    def kill(self) -> None:
        """Die: nothing listens, all connections are closed, no pin has pulses."""
        self._in_thread(self._die)

    def revive(self) -> None:
        """Listen again on the same port, as a new daemon that knows nothing of the old one."""
        self._in_thread(self._listen)

    def hang(self) -> None:
        """Stop answering; connections stay open and new ones wait in the kernel's backlog."""
        self._in_thread(lambda: setattr(self, "_hung", True))

    def resume(self) -> None:
        """Answer again, first what was asked meanwhile."""
        self._in_thread(lambda: setattr(self, "_hung", False))

    def wait_until(self, predicate: Callable[[], bool], timeout: float = 5.0) -> bool:
        """Wait until the predicate holds, asked after every command and connection."""
        with self._changed:
            return self._changed.wait_for(predicate, timeout)

    def close(self) -> None:
        """End for good; may be called again."""
        if not self._ended:
            self._in_thread(self._end)
            self._thread.join(5.0)
            for thing in (self._selector, self._caller, self._called):
                thing.close()

    def _in_thread(self, job: Callable[[], None]) -> None:
        done: Future[None] = Future()

        def run() -> None:
            try:
                with self._changed:
                    job()
                    self._changed.notify_all()
            except OSError as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._jobs.append(run)
        self._caller.send(b"!")
        done.result(5.0)

    def _serve(self) -> None:
        while not self._ended:
            if self._hung:
                self._called.recv(64)
            else:
                for key, _ in self._selector.select():
                    self._attend(key.fileobj)
            while self._jobs:
                self._jobs.popleft()()

    def _attend(self, ready: object) -> None:
        if ready is self._called:
            self._called.recv(64)
            return
        with self._changed:
            if isinstance(ready, socket.socket):
                (self._accept if ready is self._listener else self._receive)(ready)
            self._changed.notify_all()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # a client may give up before it is accepted
            client, address = listener.accept()
            if self._allowed and address[0] not in self._allowed:
                client.close()
                return
            client.settimeout(0)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._received[client] = bytearray()
            self._selector.register(client, selectors.EVENT_READ)

    def _receive(self, client: socket.socket) -> None:
        data = self._received[client]
        try:
            news = client.recv(4096)
            data += news
            while len(data) >= 16:
                number, p1, p2, extra = struct.unpack_from("<4I", data)
                if extra >= 1 << 16:
                    news = b""  # pigpiod hangs up, too
                    break
                if len(data) < 16 + extra:
                    break
                del data[: 16 + extra]
                name = COMMANDS.get(number, str(number))
                result = self._board.answer(client, name, p1, p2, self._clock())
                self._commands.append((name, p1, p2))
                client.sendall(struct.pack("<4I", number, p1, p2, result & 0xFFFFFFFF))
        except OSError:
            news = b""
        if not news:
            self._part(client)

    def _part(self, client: socket.socket) -> None:
        del self._received[client]
        self._board.forget(client)
        self._selector.unregister(client)
        client.close()

    def _hang_up(self) -> None:
        for client in list(self._received):
            self._part(client)

    def _listen(self) -> None:
        if self._listener is None:
            family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
            where = (self._address, self.port)
            self._listener = socket.create_server(where, family=family, backlog=100)
            self._listener.settimeout(0)
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._on_listen()  # before anybody is answered

    def _die(self) -> None:
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
        self._hang_up()
        self._hung = False
        for gpio, pin in enumerate(self._board.pins):
            if pin.pulse_us:  # no cut: that word is for what a client's command did
                self._note(PulseChange(self._clock(), gpio, 0.0))
        self._board = self._new_board()

    def _end(self) -> None:
        self._die()
        self._ended = True

    def _note(self, change: PulseChange) -> None:
        self._pulses.append(change)
        self._on_pulse(change)


_given: set[int] = set()


def free_port() -> int:
    """Return a port that nobody listens on, and that stays free while its daemon is dead.

    None is given twice, as a daemon that is dead may come back to it.

    pigpiod takes 1024-32000 only, and outgoing connections come from above that: with a higher
    port, a client knocking at a dead daemon's could be given that very port and talk to itself.
    """
    dice = random.SystemRandom()  # tests are seeded: two runs at once would meet at each port
    # Tests that run side by side have ports of their own: between the look and the use lies time.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    first = 20_000 + 1_500 * worker
    while True:
        port = dice.randrange(first, first + 1_500)
        if port in _given:
            continue
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            _given.add(port)
            return port


def install(folder: Path) -> Path:
    """Write an executable `pigpiod` into the folder that runs this file."""
    launcher = folder / "pigpiod"
    # It needs the standard library only: without the others it starts sooner.
    command = shlex.join([sys.executable, "-I", "-S", str(Path(__file__).resolve())])
    launcher.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    launcher.chmod(0o755)
    return launcher


def read_log(path: Path) -> list[dict[str, object]]:
    """Return the whole lines of a program's log so far, none if it did not begin."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def log(**entry: object) -> None:
    """Append a line to the log that the environment names, if it names one."""
    if path := os.environ.get("STANDIN_PIGPIOD_LOG"):
        with Path(path).open("a") as file:
            file.write(json.dumps({"t": time.time(), **entry}) + "\n")


def log_pulse(change: PulseChange) -> None:
    """Append a pulse's change to the log."""
    log(gpio=change.gpio, us=change.pulse_us, cut=change.cut)


def listening_at(*, is_local: bool, is_choosy: bool) -> str:
    """Return where pigpiod listens; with -n at every address, but it hangs up on all others.

    Without -l and -n it is open to all. That is not for a test.
    """
    if is_choosy:
        return "127.0.0.1" if is_local else "0.0.0.0"
    return "::1" if is_local else "127.0.0.1"


def remove_dead_lock(lock: Path) -> None:
    """Remove a lock whose pid nobody has, as pigpiod does: it asks for no more."""
    with contextlib.suppress(OSError):
        text = lock.read_text()[:19]
        found = re.match(r"\s*[+-]?\d+", text)  # as atoi reads it, which makes 0 of anything else
        try:
            if text:
                os.kill(int(found[0]) if found else 0, 0)
                return
        except (OSError, OverflowError):
            pass
        lock.unlink()


def run(options: dict[str, list[str]]) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP."""
    sample_us = int(options.get("-s", ["5"])[-1])
    port = int(options.get("-p", ["8888"])[-1])
    if sample_us not in {1, 2, 4, 5, 8, 10}:
        sys.exit(f"invalid -s option ({sample_us})")
    if not 1024 <= port <= 32_000:
        sys.exit(f"invalid -p option ({port})")
    port = int(os.environ.get("PIGPIO_PORT") or port)  # as in pigpio, its own variable wins
    allowed = {socket.gethostbyname(name) for name in options.get("-n", [])}
    mask = int(options.get("-x", [hex(PI_3B_PINS)])[-1], 0)
    ends = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before there are threads, which inherit it
    daemon = StandInPigpiod(
        port,
        address=listening_at(is_local="-l" in options, is_choosy=bool(allowed)),
        sample_us=sample_us,
        mask=mask,
        allowed=allowed,
        on_pulse=log_pulse,
        on_listen=partial(
            log,
            event="start",
            pid=os.getpid(),
            port=port,
            argv=sys.argv[1:],
            env=sorted(os.environ),
        ),
    )
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(daemon)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            sys.exit(f"bind to port {port} failed ({reason})\nCan't initialise pigpio library")
        log(event="signal", name=signal.Signals(signal.sigwait(ends)).name)
        # As a Pi Zero that is slow to free its graphics memory.
        threading.Event().wait(float(os.environ.get("STANDIN_PIGPIOD_END_SECONDS", "0")))
    log(event="stop")


def main(argv: list[str]) -> None:
    """Behave as the program pigpiod; the STANDIN_PIGPIOD_* variables say what goes wrong."""
    if refusal := os.environ.get("STANDIN_PIGPIOD_REFUSE"):
        sys.exit(refusal)
    options: dict[str, list[str]] = {}
    try:
        for flag, value in getopt.getopt(argv, "a:b:c:d:e:fgkln:mp:s:t:x:vV")[0]:
            options.setdefault(flag, []).append(value)
    except getopt.GetoptError as error:
        sys.exit(f"pigpiod: {error}")
    if {"-v", "-V"} & set(options):
        sys.stdout.write(f"{VERSION}\n")
        return
    if "-g" not in options:
        sys.exit("the stand-in cannot fork: give -g")
    lock = os.environ.get("STANDIN_PIGPIOD_LOCK")
    if lock is None:
        run(options)
        return
    with contextlib.ExitStack() as stack:
        remove_dead_lock(Path(lock))
        try:
            file = stack.enter_context(Path(lock).open("x"))
        except OSError:
            sys.exit(f"Can't lock {lock}\nCan't initialise pigpio library")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            run(options)
        finally:
            Path(lock).unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1:])
