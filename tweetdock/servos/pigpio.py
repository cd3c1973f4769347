"""Servos through pigpiod: pulses timed by DMA, steady under any load."""

import atexit
import contextlib
import io
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pigpio
from gpiozero.exc import GPIOZeroError
from gpiozero.pins.pigpio import PiGPIOFactory

from tweetdock.core.address import host_and_port
from tweetdock.core.errors import ServoError
from tweetdock.servos.pigpiod import LOOPBACK, LOOPBACKS, Pigpiod, find
from tweetdock.servos.servos import END_SECONDS, Servos

COMMAND_SECONDS = 1.0
THREE_FRAMES_SECONDS = 0.06

# A pigpiod that answers but refuses: gpiozero makes a plain ValueError of a pin that it refuses.
REFUSED = (GPIOZeroError, pigpio.error, ValueError)
# What gpiozero and pigpio raise on a dead connection.
DISCONNECTED = (OSError, struct.error, AttributeError)


class PigpioServos(Servos):
    """Servos on a pigpiod: the one at `address`, or this machine's, which is started if need be.

    options: more arguments for the one that is started.
    """

    name: ClassVar[str] = "pigpio"
    foreign = (*REFUSED, *DISCONNECTED)
    # gpiozero cuts off to 2 us, then pigpiod to 5: of 1005 no more than 1000 would be left.
    spare_us: ClassVar[float] = 1.5

    def __init__(
        self,
        gpios: Sequence[int],
        address: str,
        port: int,
        options: Sequence[str] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(gpios)
        self._addresses = (address,) if address else LOOPBACKS
        self._address = self._addresses[0]
        self._port = port
        self._daemon = None if address else Pigpiod(port, options)
        self._monotonic = monotonic

    def close(self) -> None:
        """Free the pins; a connection in an unknown state is given up, nothing more is sent."""
        try:
            for pin in self._pins:
                pin.close()
        except self.foreign:
            self._abandon()
        super().close()

    def end(self) -> None:
        """End a pigpiod that was started here, and wait for that END_SECONDS at most."""
        if self._daemon is not None:
            self._daemon.end(END_SECONDS)

    def _open(self) -> Any:
        # pigpio itself would wait for ever for a daemon that hangs: ask first, with a limit.
        try:
            self._address, _, _ = find(self._addresses, self._port)
        except ServoError as error:
            if self._daemon is None:
                raise self._no_answer() from error
            self._daemon.start()
            self._address = LOOPBACK
        with contextlib.redirect_stdout(io.StringIO()):  # its banner of per cent signs
            # Ours at once: what fails from here on is cleared away by `close`.
            self._factory = factory = PiGPIOFactory(self._address, self._port)
        atexit.unregister(factory.connection.stop)  # it would fail where pigpiod is gone
        factory.connection.sl.s.settimeout(COMMAND_SECONDS)
        # The thread for input events is of no use to an output, and spins when pigpiod dies.
        factory.connection._notify.stop()  # noqa: SLF001 - there is no public way
        return factory

    def _ping(self) -> None:
        self._factory.connection.get_current_tick()

    def _end_pulses(self, pin: Any, gpio: int) -> None:
        # gpiozero ends pulses at once, and one in twelve is cut short: the needle kicks. Right
        # after a pulse there are 17 ms without.
        connection, end = self._factory.connection, self._monotonic() + THREE_FRAMES_SECONDS
        for level in (0, 1):
            while connection.read(gpio) == level and self._monotonic() < end:
                pass
        super()._end_pulses(pin, gpio)

    def _translation(self, error: Exception) -> ServoError:
        if isinstance(error, REFUSED):
            return super()._translation(error)
        self._abandon()
        return self._no_answer()

    def _no_answer(self) -> ServoError:
        # The same text in whichever way it failed: one outage is one trouble in the log.
        return ServoError(f"no pigpiod answers at {host_and_port(self._address, self._port)}")

    def _abandon(self) -> None:
        # After a time-out late answers would be taken for the next ones: nothing more is sent.
        connection = getattr(self._factory, "connection", None)
        if connection is not None:
            for _ in range(2):
                with contextlib.suppress(*DISCONNECTED):
                    connection.stop()
