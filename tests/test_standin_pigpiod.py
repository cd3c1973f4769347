"""The stand-in pigpiod, as the real gpiozero and pigpio clients see it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pigpio
import pytest
from gpiozero import AngularServo
from gpiozero.pins.pigpio import PiGPIOFactory
from standins.pigpiod import StandInPigpiod, free_port, install, main, read_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GPIO = 12
SECONDS = 10.0


@contextlib.contextmanager
def factory_for(port: int) -> Iterator[PiGPIOFactory]:
    """A factory whose threads and sockets are gone afterwards, whatever became of the daemon."""
    factory = PiGPIOFactory(host="127.0.0.1", port=port)
    connection = factory.connection
    notify = connection._notify
    try:
        yield factory
    finally:
        # Were NC sent to a dead daemon, the reset could raise in pigpio's thread.
        notify.go = False
        with contextlib.suppress(OSError):
            notify.sl.s.shutdown(socket.SHUT_RDWR)
        notify.join(SECONDS)
        connection.stop()
        factory.close()


@contextlib.contextmanager
def servo_on(factory: PiGPIOFactory) -> Iterator[AngularServo]:
    """A servo of 0.5-2.5 ms; let go of when its connection is closed or alive."""
    servo = AngularServo(
        GPIO,
        initial_angle=None,
        min_pulse_width=0.0005,
        max_pulse_width=0.0025,
        pin_factory=factory,
    )
    try:
        yield servo
    finally:
        with contextlib.suppress(OSError, struct.error):
            servo.close()


def detach_after_a_pulse(servo: AngularServo, connection: pigpio.pi) -> None:
    """Detach as the product should: right after a pulse has ended."""
    for level in (1, 0):
        assert any(connection.read(GPIO) == level for _ in range(10_000))
    servo.detach()


def within_limits(predicate: Callable[[], bool]) -> bool:
    """Ask again and again until it holds or time is up."""
    end = time.monotonic() + SECONDS
    pause = threading.Event()
    while not predicate():
        if time.monotonic() > end:
            return False
        pause.wait(0.005)
    return True


@pytest.fixture
def daemon() -> Iterator[StandInPigpiod]:
    with StandInPigpiod() as daemon:
        yield daemon


@pytest.fixture
def factory(daemon: StandInPigpiod) -> Iterator[PiGPIOFactory]:
    with factory_for(daemon.port) as factory:
        yield factory


@pytest.fixture
def servo(factory: PiGPIOFactory) -> Iterator[AngularServo]:
    with servo_on(factory) as servo:
        yield servo


@pytest.mark.parametrize(
    ("angle", "pulse_us"),
    [
        (-90, 500),
        (-60, 830),
        (-45, 1000),
        (-30, 1165),
        (0, 1500),
        (0.5, 1500),
        (30, 1830),
        (45, 2000),
        (60, 2165),
        (90, 2500),
    ],
)
def test_an_angle_becomes_the_pulse_that_pigpiod_would_send(
    daemon: StandInPigpiod, servo: AngularServo, angle: float, pulse_us: float
) -> None:
    servo.angle = angle
    assert daemon.pulse_us(GPIO) == pulse_us
    assert servo.angle == pytest.approx(angle, abs=0.5)


def test_gpiozero_sends_what_it_is_known_to_send(
    daemon: StandInPigpiod, servo: AngularServo
) -> None:
    servo.angle = 0
    servo.angle = 45
    names = [name for name, _, _ in daemon.commands]
    assert names[:3] == ["BR1", "NOIB", "HWVER"]
    assert names[-4:] == ["PFG", "PRG", "GDC", "PWM"]
    assert daemon.commands[-1] == ("PWM", GPIO, 1000)


def test_a_detach_stops_the_pulses(daemon: StandInPigpiod, servo: AngularServo) -> None:
    servo.angle = 0
    servo.detach()
    assert daemon.pulse_us(GPIO) == 0
    assert [change.pulse_us for change in daemon.pulses] == [1500, 0]
    assert daemon.commands[-1] == ("WRITE", GPIO, 0)


def test_pulses_go_on_when_the_client_leaves(daemon: StandInPigpiod) -> None:
    with factory_for(daemon.port) as factory:
        factory.connection.set_servo_pulsewidth(GPIO, 1500)
        assert daemon.clients == 2
    assert daemon.wait_until(lambda: daemon.clients == 0)
    assert daemon.pulse_us(GPIO) == 1500


def test_a_pulse_is_seen_by_reading_the_pin(factory: PiGPIOFactory, servo: AngularServo) -> None:
    servo.angle = 90
    levels = (factory.connection.read(GPIO) for _ in range(100_000))
    assert len(list(itertools.islice(itertools.groupby(levels), 4))) == 4


def test_a_plain_detach_cuts_a_pulse_that_is_on_the_wire() -> None:
    now = [0.0]
    with (
        StandInPigpiod(clock=lambda: now[0]) as daemon,
        factory_for(daemon.port) as factory,
        servo_on(factory) as servo,
    ):
        for detach_ms, cuts in ((41.4, 1), (81.6, 1), (119.9, 1)):
            servo.angle = 0
            now[0] = detach_ms / 1000
            servo.detach()
            assert daemon.cuts == cuts
        assert [change.cut for change in daemon.pulses if not change.pulse_us] == [
            True,
            False,
            False,
        ]


def test_a_detach_timed_by_reading_never_cuts_a_pulse() -> None:
    steps = itertools.count()
    with (
        StandInPigpiod(clock=lambda: next(steps) * 0.00037) as daemon,
        factory_for(daemon.port) as factory,
        servo_on(factory) as servo,
    ):
        for _ in range(50):
            servo.angle = 0
            detach_after_a_pulse(servo, factory.connection)
        assert len(daemon.pulses) == 100
        assert daemon.cuts == 0


def test_a_plain_detach_cuts_some_pulses() -> None:
    steps = itertools.count()
    with (
        StandInPigpiod(clock=lambda: next(steps) * 0.00617) as daemon,
        factory_for(daemon.port) as factory,
        servo_on(factory) as servo,
    ):
        for _ in range(100):
            servo.angle = 0
            servo.angle = 45
            servo.detach()
        assert 0 < daemon.rash_cuts == daemon.cuts < 50


def test_who_has_read_the_pin_and_was_kept_waiting_is_not_rash() -> None:
    now = [0.015]
    with (
        StandInPigpiod(clock=lambda: now[0]) as daemon,
        factory_for(daemon.port) as factory,
        servo_on(factory) as servo,
    ):
        servo.angle = 0
        assert factory.connection.read(GPIO) == 0
        now[0] = 0.0201
        servo.detach()
        assert (daemon.cuts, daemon.rash_cuts) == (1, 0)


def test_a_servo_command_waits_for_the_end_of_its_pulse() -> None:
    now = [0.0]
    with StandInPigpiod(clock=lambda: now[0]) as daemon, factory_for(daemon.port) as factory:
        connection = factory.connection
        connection.set_servo_pulsewidth(GPIO, 1503)
        assert daemon.pulse_us(GPIO) == 1500
        assert connection.get_servo_pulsewidth(GPIO) == 1503
        now[0] = 0.041
        assert connection.read(GPIO) == 1
        connection.set_servo_pulsewidth(GPIO, 0)
        assert daemon.pulse_us(GPIO) == 0
        assert daemon.cuts == 0


def test_a_changed_pulse_begins_with_the_next_cycle() -> None:
    now = [0.005]
    with StandInPigpiod(clock=lambda: now[0]) as daemon, factory_for(daemon.port) as factory:
        connection = factory.connection
        connection.set_servo_pulsewidth(GPIO, 1000)
        seen = []
        for milliseconds in (20.5, 21.5, 40.5):
            now[0] = milliseconds / 1000
            seen.append(connection.read(GPIO))
        connection.set_servo_pulsewidth(GPIO, 500)
        for milliseconds in (40.9, 41.1, 60.4, 60.9):
            now[0] = milliseconds / 1000
            seen.append(connection.read(GPIO))
        assert seen == [1, 0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (lambda pi: pi.set_mode(54, 1), pigpio.PI_BAD_GPIO),
        (lambda pi: pi.set_mode(GPIO, 8), pigpio.PI_BAD_MODE),
        (lambda pi: pi.write(GPIO, 2), pigpio.PI_BAD_LEVEL),
        (lambda pi: pi.set_pull_up_down(GPIO, 3), pigpio.PI_BAD_PUD),
        (lambda pi: pi.get_PWM_range(32), pigpio.PI_BAD_USER_GPIO),
        (lambda pi: pi.set_PWM_dutycycle(GPIO, 256), pigpio.PI_BAD_DUTYCYCLE),
        (lambda pi: pi.set_PWM_range(GPIO, 24), pigpio.PI_BAD_DUTYRANGE),
        (lambda pi: pi.set_servo_pulsewidth(GPIO, 499), pigpio.PI_BAD_PULSEWIDTH),
        (lambda pi: pi.set_glitch_filter(GPIO, 300_001), pigpio.PI_BAD_FILTER),
        (lambda pi: pi.get_PWM_dutycycle(GPIO), pigpio.PI_NOT_PWM_GPIO),
        (lambda pi: pi.get_servo_pulsewidth(GPIO), pigpio.PI_NOT_SERVO_GPIO),
        (lambda pi: pi.write(0, 1), pigpio.PI_NOT_PERMITTED),
        (lambda pi: pi.notify_close(31), pigpio.PI_BAD_HANDLE),
        (lambda pi: pi.wave_clear(), pigpio.PI_UNKNOWN_COMMAND),
    ],
)
def test_a_bad_command_gets_the_error_of_pigpio(
    factory: PiGPIOFactory, ask: Callable[[pigpio.pi], int], complaint: int
) -> None:
    with pytest.raises(pigpio.error) as caught:
        ask(factory.connection)
    assert caught.value.value == pigpio.error_text(complaint)


@pytest.mark.parametrize(("sample_us", "real_range"), [(2, 10_000), (5, 4000), (10, 2000)])
def test_the_sample_rate_sets_the_steps(sample_us: int, real_range: int) -> None:
    with (
        StandInPigpiod(sample_us=sample_us) as daemon,
        factory_for(daemon.port) as factory,
    ):
        connection = factory.connection
        assert connection.set_PWM_frequency(GPIO, 47) == 50
        assert connection.set_PWM_range(GPIO, 10_000) == real_range
        assert connection.get_PWM_real_range(GPIO) == real_range
        connection.set_PWM_dutycycle(GPIO, 757)
        assert daemon.pulse_us(GPIO) == 1514 // sample_us * sample_us
        assert connection.get_PWM_dutycycle(GPIO) == 757


def test_the_daemon_tells_its_version_and_the_board_its_revision() -> None:
    with (
        StandInPigpiod(revision=0xC03111) as daemon,
        factory_for(daemon.port) as factory,
    ):
        assert factory.connection.get_pigpio_version() == 79
        assert factory.board_info.model == "4B"
        assert factory.ticks_diff(factory.ticks(), factory.ticks()) >= 0


def test_a_long_extension_is_passed_over(daemon: StandInPigpiod) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port), SECONDS) as client:
        client.sendall(struct.pack("<4I", 110, 0, 0, 5000) + bytes(5000))
        client.sendall(struct.pack("<4I", 26, 0, 0, 0))
        answers = client.makefile("rb").read(32)
    assert struct.unpack("<3Ii3Ii", answers) == (110, 0, 0, -88, 26, 0, 0, 79)


def test_the_thirty_third_client_gets_no_handle(daemon: StandInPigpiod) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(factory_for(daemon.port))
        with contextlib.closing(socket.socket()) as client:
            client.settimeout(SECONDS)
            client.connect(("127.0.0.1", daemon.port))
            client.sendall(struct.pack("<4I", 99, 0, 0, 0))
            assert struct.unpack("<12xi", client.recv(16)) == (-24,)
    assert daemon.wait_until(lambda: daemon.clients == 0)
    with factory_for(daemon.port) as factory:
        assert factory.connection.connected


def test_a_factory_that_closes_in_order_ends_its_thread_and_frees_its_handle(
    daemon: StandInPigpiod,
) -> None:
    factory = PiGPIOFactory(host="127.0.0.1", port=daemon.port)
    thread = factory.connection._notify
    factory.close()
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert daemon.wait_until(lambda: daemon.clients == 0)
    assert ("NC", thread.handle, 0) in daemon.commands


def test_a_dropped_client_gets_errors_and_a_new_factory_works(
    daemon: StandInPigpiod, factory: PiGPIOFactory, servo: AngularServo
) -> None:
    servo.angle = 0
    daemon.drop()
    assert daemon.clients == 0
    for _ in range(3):
        with pytest.raises((struct.error, OSError)):
            servo.angle = 90
    assert daemon.pulse_us(GPIO) == 1500
    with factory_for(daemon.port) as second, servo_on(second) as same_servo:
        same_servo.angle = 90
        assert daemon.pulse_us(GPIO) == 2500


def test_a_killed_daemon_refuses_until_it_is_revived_with_fresh_pins(
    daemon: StandInPigpiod, servo: AngularServo, capsys: pytest.CaptureFixture[str]
) -> None:
    servo.angle = 0
    daemon.kill()
    assert daemon.pulse_us(GPIO) == 0
    assert daemon.pulses[-1].pulse_us == 0
    assert daemon.cuts == 0
    with pytest.raises((struct.error, OSError)):
        servo.angle = 90
    with pytest.raises(OSError, match="failed to connect"):
        PiGPIOFactory(host="127.0.0.1", port=daemon.port)
    assert "Did you start the pigpio daemon?" in capsys.readouterr().out
    daemon.revive()
    with factory_for(daemon.port) as second:
        assert second.connection.get_mode(GPIO) == pigpio.INPUT
        with servo_on(second) as same_servo:
            same_servo.angle = 90
            assert daemon.pulse_us(GPIO) == 2500


def test_a_hung_daemon_times_the_client_out_and_answers_late(
    daemon: StandInPigpiod, factory: PiGPIOFactory
) -> None:
    client = factory.connection.sl.s
    client.settimeout(0.2)
    daemon.hang()
    with pytest.raises(TimeoutError):
        factory.connection.get_pigpio_version()
    with socket.create_connection(("127.0.0.1", daemon.port), SECONDS):
        assert daemon.clients == 2
        daemon.resume()
        client.settimeout(SECONDS)
        assert struct.unpack("<4I", client.recv(16)) == (26, 0, 0, 79)
        assert daemon.wait_until(lambda: daemon.clients == 3)


def test_a_hung_daemon_can_be_killed_and_revived(daemon: StandInPigpiod) -> None:
    daemon.hang()
    daemon.kill()
    daemon.revive()
    with factory_for(daemon.port) as factory:
        assert factory.connection.get_pigpio_version() == 79


def test_a_wait_for_what_never_comes_has_an_end(daemon: StandInPigpiod) -> None:
    assert not daemon.wait_until(lambda: daemon.clients == 1, timeout=0.01)


def test_a_port_is_free_again_as_soon_as_the_daemon_is_closed() -> None:
    with StandInPigpiod() as daemon, factory_for(daemon.port):
        pass
    daemon.close()
    with StandInPigpiod(daemon.port) as second, factory_for(second.port) as factory:
        assert factory.connection.connected


class Program:
    """The stand-in as a program, with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.log, self.lock, self.port = folder / "log", folder / "lock", free_port()
        self.path = install(folder)
        self.environ = {key: value for key, value in os.environ.items() if "PIGPIO" not in key}
        self.environ["STANDIN_PIGPIOD_LOG"] = str(self.log)
        self.environ["STANDIN_PIGPIOD_LOCK"] = str(self.lock)
        self.flags = ["-g", "-f", "-m", "-n", "127.0.0.1", "-p", str(self.port)]

    def run(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            [self.path, *flags],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    @contextlib.contextmanager
    def running(self, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start it, wait until it listens, and kill it if it outlives the block."""
        starts = len(self.events("start"))
        with subprocess.Popen([self.path, *self.flags, *flags], env=self.environ) as process:
            try:
                assert within_limits(lambda: len(self.events("start")) > starts)
                yield process
            finally:
                process.kill()

    def events(self, name: str) -> list[dict[str, object]]:
        """The log's entries of one event."""
        return [entry for entry in read_log(self.log) if entry.get("event") == name]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def test_the_program_logs_pulses_and_ends_with_0_upon_sigterm(program: Program) -> None:
    with program.running("-s", "10", "-x", "0x1000", "-l") as process:
        assert program.lock.read_text() == f"{process.pid}\n"
        with factory_for(program.port) as factory:
            factory.connection.set_servo_pulsewidth(GPIO, 1505)
            with pytest.raises(pigpio.error):
                factory.connection.write(GPIO + 1, 0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    log = read_log(program.log)
    assert [entry.get("event") for entry in log] == ["start", None, "signal", None, "stop"]
    assert [(entry["gpio"], entry["us"]) for entry in log if "gpio" in entry] == [
        (GPIO, 1500.0),
        (GPIO, 0.0),
    ]
    assert program.events("signal")[0]["name"] == "SIGTERM"
    assert not program.lock.exists()


@pytest.mark.thorough
def test_a_program_killed_hard_leaves_its_lock_which_counts_while_its_pid_is_taken(
    program: Program,
) -> None:
    with program.running() as process:
        process.kill()
        process.wait(SECONDS)
    assert program.lock.read_text() == f"{process.pid}\n"
    program.lock.write_text(f"{os.getpid()}\n")
    again = program.run(*program.flags)
    assert again.returncode == 1
    assert f"Can't lock {program.lock}" in again.stderr
    for left in (f"{process.pid}\n", ""):
        program.lock.write_text(left)
        with program.running() as other:
            assert program.lock.read_text() == f"{other.pid}\n"
            other.terminate()
            other.wait(SECONDS)


def test_a_stopped_program_hangs_and_goes_on(program: Program) -> None:
    with program.running() as process, factory_for(program.port) as factory:
        client = factory.connection.sl.s
        client.settimeout(0.2)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        with pytest.raises(TimeoutError):
            factory.connection.get_pigpio_version()
        client.settimeout(SECONDS)
        process.send_signal(signal.SIGCONT)
        assert struct.unpack("<12xi", client.recv(16)) == (79,)


def test_the_program_refuses_with_the_text_it_is_given(program: Program) -> None:
    text = "Sorry, this system does not appear to be a raspberry pi"
    program.environ["STANDIN_PIGPIOD_REFUSE"] = text
    refusal = program.run(*program.flags)
    assert (refusal.returncode, refusal.stderr) == (1, f"{text}\n")
    assert read_log(program.log) == []


def test_the_program_tells_its_version(program: Program) -> None:
    answer = program.run("-v")
    assert (answer.returncode, answer.stdout) == (0, "79\n")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["-g", "-s", "3"], "invalid -s option (3)"),
        (["-g", "-p", "32001"], "invalid -p option (32001)"),
        (["-g", "-q"], "option -q not recognized"),
        (["-f"], "give -g"),
    ],
)
def test_the_program_complains_of_flags_it_does_not_take(flags: list[str], complaint: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(flags)
    assert complaint in str(caught.value.code)


def test_the_program_complains_when_its_port_is_taken(
    program: Program, daemon: StandInPigpiod
) -> None:
    program.environ["PIGPIO_PORT"] = str(daemon.port)  # wins over -p, as with the real one
    answer = program.run(*program.flags)
    assert answer.returncode == 1
    assert f"bind to port {daemon.port} failed (Address already in use)" in answer.stderr
    assert not program.lock.exists()


@pytest.mark.thorough
def test_with_an_address_that_is_allowed_it_listens_at_all_and_hangs_up_on_others(
    program: Program,
) -> None:
    with program.running():
        for source, is_let_in in (("127.0.0.1", True), ("127.0.0.3", False)):
            with socket.create_connection(
                ("127.0.0.2", program.port), SECONDS, source_address=(source, 0)
            ) as client:
                client.sendall(struct.pack("<4I", 26, 0, 0, 0))
                answer = b""
                with contextlib.suppress(ConnectionResetError):
                    answer = client.recv(16, socket.MSG_WAITALL)
            assert bool(answer) is is_let_in


@pytest.mark.thorough
def test_a_client_from_an_address_that_is_not_allowed_is_hung_up_on(program: Program) -> None:
    program.flags[4] = "192.0.2.1"
    with (
        program.running(),
        socket.create_connection(("127.0.0.1", program.port), SECONDS) as client,
    ):
        assert client.recv(16) == b""
