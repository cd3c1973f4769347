"""systemd, if it has started us: it is told that the gauge is ready, alive, and what it reads."""

import logging
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Self

from tweetdock.core.plain import plain
from tweetdock.core.reading import Reading
from tweetdock.show.journal import sentence
from tweetdock.show.notices import NAMES, SOCKET, Told, address, next_notice, ping_seconds, status

log = logging.getLogger(__name__)


class Systemd:
    """The service manager at the other end of a socket; without one nothing is said.

    Of one thread, the loop: its word that all is well must stop when the loop stops. Never waits
    and never fails: what could not be said is said at the next turn.
    """

    def __init__(
        self,
        where: str = "",
        ping_every: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._where = where
        self._ping_every = ping_every
        self._monotonic = monotonic
        self._told: Told | None = None
        self._is_deaf = False

    @classmethod
    def from_env(cls, env: MutableMapping[str, str]) -> Self:
        """The one that the environment names; its names are taken out of there.

        Else pigpiod and whatever we start would have them, too, and could speak for us.
        """
        mine = {name: env.pop(name) for name in NAMES if name in env}
        return cls(mine.get(SOCKET, ""), ping_seconds(mine, os.getpid()))

    def note(self, reading: Reading) -> None:
        """Tell what is due at a turn of the loop: first that the gauge is ready."""
        if not self._where:
            return
        words, told = next_notice(
            self._told, lambda: sentence(reading), self._monotonic(), self._ping_every
        )
        if not words or self._send(words):
            self._told = told

    def stopping(self) -> None:
        """Tell that the gauge is about to end."""
        self._send(f"STOPPING=1\n{status('stopping, the needles go to rest')}")

    def leave(self, text: str) -> None:
        """Tell a last line: it stays when we are gone, and an old reading must not."""
        self._send(status(text))

    def _send(self, words: str) -> bool:
        if not self._where:
            return False
        try:
            # A new one each time, as sd_notify does it: there is nothing to mend.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
                data = words.encode(errors="replace")
                wire.sendto(data, socket.MSG_DONTWAIT, address(self._where))
        except (OSError, ValueError) as error:
            if not self._is_deaf:
                reason = getattr(error, "strerror", None) or error
                log.warning("systemd cannot be told how the gauge is: %s", plain(f"{reason}"))
            self._is_deaf = True
            return False
        if self._is_deaf:
            log.info("systemd can be told again how the gauge is")
        self._is_deaf = False
        return True
