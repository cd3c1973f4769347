"""What tests need of the machine, beside programs."""

import socket

import pytest


def has_ipv6() -> bool:
    """Return whether this machine's IPv6 loopback can be listened at."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


with_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
