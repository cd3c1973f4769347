"""systemd, if it has started us: it is told that the gauge is ready, alive, and what it reads."""

import logging
import os
import re
import socket
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Self

from tweetdock.core.errors import plain
from tweetdock.core.reading import Reading
from tweetdock.show.journal import sentence

log = logging.getLogger(__name__)

# https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
SOCKET = "NOTIFY_SOCKET"
WATCHDOG_USEC = "WATCHDOG_USEC"
WATCHDOG_PID = "WATCHDOG_PID"
NAMES = (SOCKET, WATCHDOG_USEC, WATCHDOG_PID)

TURN_SECONDS = 1.0  # a flood of posts must not keep the service manager busy
STATUS_SIGNS = 900  # it ignores a datagram of more than 4096 bytes, and a sign may have four


def ping_seconds(env: Mapping[str, str], pid: int) -> float | None:
    """How often to say that the loop turns: each quarter of what is allowed; None: never.

    The watchdog may be that of a parent, which has handed its environment down: WATCHDOG_PID tells.
    """
    allowed_us, owner = env.get(WATCHDOG_USEC, ""), env.get(WATCHDOG_PID, "")
    if not re.fullmatch(r"[0-9]{1,19}", allowed_us) or owner not in ("", str(pid)):
        return None
    return int(allowed_us) / 4e6 or None


def status(text: str) -> str:
    """The words that show a line in `systemctl status`; of one too long the middle is left out."""
    line = " ".join(plain(text).split())
    if len(line) > STATUS_SIGNS:
        half = STATUS_SIGNS // 2 - 2
        line = f"{line[:half]} … {line[-half:]}"
    return f"STATUS={line}"


class Systemd:
    """The service manager at the other end of a socket; without one nothing is said.

    Of one thread, the loop: its pings must stop when the loop stops. Never waits and never fails:
    what could not be sent is sent at the next turn.
    """

    def __init__(
        self,
        where: str = "",
        ping_every: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        # An @ stands for the name of a socket that is no file.
        self._where = "\0" + where[1:] if where.startswith("@") else where
        self._ping = "" if ping_every is None else "WATCHDOG=1"
        self._turn_seconds = min(TURN_SECONDS, ping_every or TURN_SECONDS)
        self._monotonic = monotonic
        self._told_at = float("-inf")
        self._status = ""  # as it was told; before the first word we are not ready
        self._is_failing = False

    @classmethod
    def from_env(cls, env: MutableMapping[str, str]) -> Self:
        """The one that the environment names; its names are taken out of there.

        Else pigpiod and whatever we start would have them, too, and could speak for us.
        """
        mine = {name: env.pop(name) for name in NAMES if name in env}
        return cls(mine.get(SOCKET, ""), ping_seconds(mine, os.getpid()))

    def note(self, reading: Reading) -> None:
        """Tell at a turn of the loop what has changed, once a second; first that it is ready."""
        now = self._monotonic()
        if not self._where or now - self._told_at < self._turn_seconds:
            return
        text = status(sentence(reading))
        words = (
            "" if self._status else "READY=1",
            "" if text == self._status else text,
            self._ping if self._status else "",
        )
        due = "\n".join(filter(None, words))
        if not due or self._send(due):
            self._told_at, self._status = now, text

    def stopping(self) -> None:
        """Tell that the gauge is about to end."""
        self._send(f"STOPPING=1\n{status('stopping, the needles go to rest')}")

    def leave(self, text: str) -> None:
        """Tell a last line: it stays after the end, and an old reading must not."""
        self._send(status(text))

    def _send(self, words: str) -> bool:
        if not self._where:
            return False
        try:
            # A new one each time, as sd_notify does it: there is nothing to mend.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
                data = words.encode(errors="replace")
                wire.sendto(data, socket.MSG_DONTWAIT, self._where)
        except (OSError, ValueError) as error:
            if not self._is_failing:
                reason = getattr(error, "strerror", None) or error
                log.warning("systemd cannot be told how the gauge is: %s", plain(f"{reason}"))
            self._is_failing = True
            return False
        if self._is_failing:
            log.info("systemd can be told again how the gauge is")
        self._is_failing = False
        return True
