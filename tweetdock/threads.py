"""A thread whose end is news: what it cannot handle goes to the loop as a message."""

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Crash:
    """A thread has ended by an error that is a bug of ours."""

    thread: str
    error: BaseException


class WatchedThread:
    """Runs `work` in a thread of its own; `tell` gets a Crash should it fail."""

    def __init__(self, name: str, work: Callable[[], None], tell: Callable[[Crash], None]) -> None:
        self._work = work
        self._tell = tell
        self.name = name
        # A daemon thread: one that hangs in a foreign call must not hold up the end.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - not swallowed: the loop raises it again
            self._tell(Crash(self._thread.name, error))

    @property
    def is_alive(self) -> bool:
        """Whether it is still running."""
        return self._thread.is_alive()

    def join(self, seconds: float) -> bool:
        """Wait for its end; False if it is still running."""
        self._thread.join(seconds)
        return not self._thread.is_alive()
