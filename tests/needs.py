"""What tests need of the machine, beside programs."""

import socket
from pathlib import Path

import pytest
from running import command


def has_ipv6() -> bool:
    """Return whether this machine's IPv6 loopback can be listened at."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


with_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


def command_with_lock(lock: Path, *words: str, first: str = "") -> list[str]:
    """The command, as on a machine whose pigpiod has its lock there; `first` is done before.

    Of this machine's own lock it neither asks nor takes away what is left.
    """
    script = (
        "import pathlib, sys, tweetdock.servos.pigpiod as pigpiod_lock\n"
        f"pigpiod_lock.LOCK = pathlib.Path({str(lock)!r})\n{first}\n"
        "from tweetdock.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return [command()[0], "-W", "error", "-c", script, *words]
