"""Addresses of machines, as people write them."""

from ipaddress import ip_address


def host_and_port(host: str, port: int) -> str:
    """A host and a port; an address of IPv6 stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_ip(host: str) -> bool:
    """Whether a host is an IP address, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a host."""
    return host == "localhost" or (is_ip(host) and ip_address(host).is_loopback)
