"""Servos that only remember: gpiozero's mock pins, for machines without any."""

from typing import Any, ClassVar

from gpiozero.pins.mock import MockFactory, MockPWMPin

from tweetdock.servos.servos import Rig

REMEMBERED = 1000


class BoundedPin(MockPWMPin):  # type: ignore[misc]
    """A mock pin that forgets its oldest states: a gauge may run for a year."""

    def _change_state(self, value: float) -> bool:
        is_change = bool(super()._change_state(value))
        del self.states[:-REMEMBERED]
        return is_change


class MockServos(Rig):
    """No servos at all, but the very same way to them."""

    name: ClassVar[str] = "mock"

    def _open(self) -> Any:
        return MockFactory(pin_class=BoundedPin)
