"""A thread that is watched: an error that it does not handle goes to the loop as a message."""

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Crash:
    """A thread has ended with an error, which is a bug in TweetDock."""

    thread: str
    error: BaseException


class WatchedThread:
    """Runs `work` in a thread of its own; `on_crash` is called with a Crash if that fails."""

    def __init__(
        self, name: str, work: Callable[[], None], on_crash: Callable[[Crash], None]
    ) -> None:
        self._work = work
        self._on_crash = on_crash
        self.name = name
        # A daemon thread: one that hangs in a foreign call must not hold up the end.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - not swallowed: the loop raises it again
            self._on_crash(Crash(self._thread.name, error))

    @property
    def is_alive(self) -> bool:
        """Whether it is still running."""
        return self._thread.is_alive()

    def join(self, seconds: float) -> bool:
        """Wait for its end; False if it is still running."""
        self._thread.join(seconds)
        return not self._thread.is_alive()
