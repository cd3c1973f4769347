"""What the service manager is told, and when: the words of sd_notify."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tweetdock.core.plain import plain

# https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
SOCKET = "NOTIFY_SOCKET"
WATCHDOG_USEC = "WATCHDOG_USEC"
WATCHDOG_PID = "WATCHDOG_PID"
NAMES = (SOCKET, WATCHDOG_USEC, WATCHDOG_PID)

STATUS_SECONDS = 1.0  # a flood of posts must not keep the service manager busy
STATUS_SIGNS = 900  # it ignores a datagram of more than 4096 bytes, and a sign may have four


@dataclass(frozen=True, slots=True)
class Told:
    """What the service manager has heard; the times are monotonic seconds.

    asked_at: when the status was last looked at, whether or not there was news in it.
    """

    status: str
    asked_at: float
    alive_at: float


def next_notice(
    told: Told | None, describe: Callable[[], str], now: float, ping_every: float | None
) -> tuple[str, Told]:
    """What to say at a turn of the loop, empty if nothing is due; and what has been told then.

    told: None before the first turn, which says that the gauge is ready. describe: the status as
    it is now; asked once a second at most. ping_every: seconds, as from `ping_seconds`.
    """
    if told is None:
        text = status(describe())
        return f"READY=1\n{text}", Told(text, now, now)
    words, text, asked_at, alive_at = [], told.status, told.asked_at, told.alive_at
    if now - asked_at >= STATUS_SECONDS:
        text, asked_at = status(describe()), now
        if text != told.status:
            words.append(text)
    if ping_every is not None and now - alive_at >= ping_every:
        words.append("WATCHDOG=1")
        alive_at = now
    return "\n".join(words), Told(text, asked_at, alive_at)


def ping_seconds(env: Mapping[str, str], pid: int) -> float | None:
    """How often to say that the loop turns: each quarter of what is allowed; None: never.

    The watchdog may be that of a parent, which has handed its environment down: WATCHDOG_PID tells.
    """
    allowed_us, owner = env.get(WATCHDOG_USEC, ""), env.get(WATCHDOG_PID, "")
    if not _is_number(allowed_us) or int(allowed_us) == 0 or owner not in ("", str(pid)):
        return None
    return int(allowed_us) / 4e6


def status(text: str) -> str:
    """The words that show a line in `systemctl status`; of one too long the middle is left out."""
    line = " ".join(plain(text).split())
    if len(line) > STATUS_SIGNS:
        half = STATUS_SIGNS // 2 - 2
        line = f"{line[:half]} … {line[-half:]}"
    return f"STATUS={line}"


def address(name: str) -> str:
    """Where NOTIFY_SOCKET is for the kernel; ValueError if it is no socket of this machine."""
    if name.startswith("@"):
        return "\0" + name[1:]
    if not name.startswith("/"):
        raise ValueError(f"{SOCKET}={name} is not a socket of this machine")
    return name


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
