"""A stand-in for the module lgpio: its calls and rules over lines that only remember."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import ModuleType

RAISING, FALLING, BOTH_EDGES = 1, 2, 3
SET_PULL_UP, SET_PULL_DOWN, SET_PULL_NONE = 32, 64, 128


class LgError(Exception):
    """What lgpio raises for every negative answer: a plain Exception with a `value`."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True)
class Pwm:
    """One call of tx_pwm: at which moment a line got which pulses."""

    at: float
    gpio: int
    hertz: float
    percent: float


@dataclass
class StandInLgpio:
    """One GPIO chip; `busy` are lines of somebody else, `refused` says why it cannot be opened."""

    busy: set[int] = field(default_factory=set)
    refused: str = ""
    pwms: list[Pwm] = field(default_factory=list)
    chips: list[int] = field(default_factory=list)
    outputs: set[int] = field(default_factory=set)
    inputs: set[int] = field(default_factory=set)

    def module(self) -> ModuleType:
        """It, as what `import lgpio` should find."""
        module = ModuleType("lgpio")
        vars(module).update(
            error=LgError,
            RISING_EDGE=RAISING,
            FALLING_EDGE=FALLING,
            BOTH_EDGES=BOTH_EDGES,
            SET_PULL_UP=SET_PULL_UP,
            SET_PULL_DOWN=SET_PULL_DOWN,
            SET_PULL_NONE=SET_PULL_NONE,
        )
        for name in ("gpiochip_open", "gpiochip_close", "gpio_claim_input", "gpio_claim_output"):
            setattr(module, name, getattr(self, name))
        for name in ("gpio_get_mode", "gpio_read", "gpio_write", "gpio_free", "tx_pwm"):
            setattr(module, name, getattr(self, name))
        return module

    def gpiochip_open(self, chip: int) -> int:
        self._check(not self.refused, self.refused)
        self.chips.append(chip)
        return chip << 16

    def gpiochip_close(self, handle: int) -> int:
        self._check(handle >> 16 in self.chips, "unknown handle")
        self.chips.remove(handle >> 16)
        self.inputs.clear()
        self.outputs.clear()
        return 0

    def gpio_claim_input(self, handle: int, gpio: int, flags: int = 0) -> int:
        self._claim(handle, gpio)
        self.inputs.add(gpio)
        return 0

    def gpio_claim_output(self, handle: int, gpio: int, level: int = 0, flags: int = 0) -> int:
        self._claim(handle, gpio)
        self.outputs.add(gpio)
        return 0

    def gpio_get_mode(self, handle: int, gpio: int) -> int:
        return 2 if gpio in self.outputs else 0

    def gpio_read(self, handle: int, gpio: int) -> int:
        return 0

    def gpio_write(self, handle: int, gpio: int, level: int) -> int:
        self._check(gpio in self.outputs, "GPIO not set as an output")
        return 0

    def gpio_free(self, handle: int, gpio: int) -> int:
        self._check(gpio in self.inputs | self.outputs, "GPIO not allocated")
        self._let_go(gpio)
        return 0

    def tx_pwm(self, handle: int, gpio: int, hertz: float, percent: float) -> int:
        """Note the pulses; lg takes 0.1 to 10000 Hz, 0 for none, and 0 to 100 per cent."""
        self._check(handle >> 16 in self.chips, "unknown handle")
        self._check(gpio in self.outputs, "GPIO not set as an output")
        self._check(hertz == 0 or 0.1 <= hertz <= 10_000, "bad PWM frequency")
        self._check(0 <= percent <= 100, "bad PWM duty cycle")
        self.pwms.append(Pwm(time.monotonic(), gpio, hertz, percent))
        return 1

    def _claim(self, handle: int, gpio: int) -> None:
        self._check(handle >> 16 in self.chips, "unknown handle")
        self._check(gpio not in self.busy, "GPIO busy")
        self._let_go(gpio)

    def _let_go(self, gpio: int) -> None:
        self.inputs.discard(gpio)
        self.outputs.discard(gpio)

    @staticmethod
    def _check(good: bool, complaint: str) -> None:  # noqa: FBT001 - reads like an assertion
        if not good:
            raise LgError(complaint)
