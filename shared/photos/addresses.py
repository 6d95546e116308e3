"""Which network addresses pictures may come from: the guard against requests that reach into our own network."""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, each once, in the system's order of preference; OSError when there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Whether the address is on the public internet, also where IPv6 only wraps an IPv4 address."""
    parsed = ip_address(address.split("%")[0])
    if isinstance(parsed, IPv6Address):
        wrapped = _wrapped(parsed)
        if wrapped is not None:
            parsed = wrapped
    return parsed.is_global and not parsed.is_multicast


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
