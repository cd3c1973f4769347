"""Servos through pigpiod: pulses timed by DMA, steady under any load."""

import atexit
import contextlib
import io
import struct
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import pigpio
from gpiozero.exc import GPIOZeroError
from gpiozero.pins.pigpio import PiGPIOFactory

from tweetdock.errors import ServoError
from tweetdock.servos.pigpiod import LOOPBACK, Pigpiod, is_answering
from tweetdock.servos.rig import Rig
from tweetdock.settings import DialSettings

ANSWER_SECONDS = 1.0
THREE_FRAMES_SECONDS = 0.06


class PigpioServos(Rig):
    """Servos on a pigpiod: the one at `address`, or this machine's, which is started if need be."""

    name: ClassVar[str] = "pigpio"
    # AttributeError and struct.error are what gpiozero and pigpio raise on a dead connection.
    foreign: ClassVar[tuple[type[Exception], ...]] = (
        OSError,
        GPIOZeroError,
        pigpio.error,
        struct.error,
        AttributeError,
    )

    def __init__(self, dials: Sequence[DialSettings], address: str, port: int) -> None:
        super().__init__(dials)
        self._address = address or LOOPBACK
        self._port = port
        self._daemon = None if address else Pigpiod(port)

    def close(self) -> None:
        """Let go of the pins; a connection in an unknown state is given up, not talked to."""
        connection = getattr(self._factory, "connection", None)
        try:
            for servo in self._servos:
                servo.close()
        except self.foreign:
            _abandon(connection)
        super().close()
        if connection is not None:
            atexit.unregister(connection.stop)

    def end(self) -> None:
        """End a pigpiod that was started here."""
        if self._daemon is not None:
            self._daemon.end()

    def _open(self) -> Any:
        # pigpio itself would wait for ever for a daemon that hangs: ask first, with a limit.
        if not is_answering(self._address, self._port):
            if self._daemon is None:
                raise ServoError(f"no pigpiod answers at {self._address}:{self._port}")
            self._daemon.start()
        with contextlib.redirect_stdout(io.StringIO()):  # its banner of per cent signs
            factory = PiGPIOFactory(self._address, self._port)
        factory.connection.sl.s.settimeout(ANSWER_SECONDS)
        # The thread for input events is of no use to an output, and spins when pigpiod dies.
        factory.connection._notify.stop()  # noqa: SLF001 - there is no public way
        return factory

    def _ping(self) -> None:
        self._factory.connection.get_current_tick()

    def _end_pulses(self, servo: Any, pin: int) -> None:
        # gpiozero ends pulses at once, and one in twelve is cut short: the needle kicks. Right
        # after a pulse there are 17 ms without.
        connection, end = self._factory.connection, time.monotonic() + THREE_FRAMES_SECONDS
        for level in (0, 1):
            while connection.read(pin) == level and time.monotonic() < end:
                pass
        servo.detach()

    def _explain(self, error: Exception) -> str:
        return f"pigpiod at {self._address}:{self._port} is gone ({type(error).__name__})"


def _abandon(connection: Any) -> None:
    # After a time-out late answers would be taken for the next ones: nothing more is sent.
    for _ in range(2):
        with contextlib.suppress(OSError, struct.error, pigpio.error, AttributeError):
            if connection is not None:
                connection.stop()
