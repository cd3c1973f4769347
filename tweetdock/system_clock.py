"""What the operating system knows of the time beyond what time it is."""

import ctypes
import time

UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)


def boot_seconds() -> float:
    """Seconds since this machine was started, those that it has slept included."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def is_synchronised() -> bool:
    """Whether a time server has set this machine's clock, by the kernel's own word.

    https://man7.org/linux/man-pages/man2/adjtimex.2.html
    """
    try:
        found: int = ctypes.CDLL(None).adjtimex(
            ctypes.create_string_buffer(512)
        )  # asks for nothing
    except (AttributeError, OSError):  # another system
        return False
    return 0 <= found < UNSYNCHRONISED
