"""The network addresses that pictures may come from: the guard against requests that reach into our own network.

The tables are the IANA registries of special-purpose addresses as of 2025. They are written out because different
versions of Python's standard library disagree about which addresses are global. An address is public if no row
contains it, or if the narrowest row that contains it says so. In IPv6 the internet routes unicast in 2000::/3 only
(RFC 4291, RFC 3513), so addresses outside it, such as ::127.0.0.1, ::ffff:0:127.0.0.1 and fec0::1, need no rows.

An address that embeds another one (NAT64) is judged by the embedded address. 6to4 and Teredo addresses lead through
relays to the address in their bits, and no pictures are served there, so they are refused. An address with a zone is
valid on a single link only and is refused, too.
"""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# network, globally reachable, defined by
IPV4 = (
    ("0.0.0.0/8", False, "RFC 791: this network"),
    ("10.0.0.0/8", False, "RFC 1918: private"),
    ("100.64.0.0/10", False, "RFC 6598: shared by carriers; Alibaba's metadata are at 100.100.100.200"),
    ("127.0.0.0/8", False, "RFC 1122: loopback"),
    ("168.63.129.16/32", False, "Azure's wire server: a public number that every virtual machine there reaches inside"),
    ("169.254.0.0/16", False, "RFC 3927: link-local; most clouds' metadata are at 169.254.169.254"),
    ("172.16.0.0/12", False, "RFC 1918: private"),
    ("192.0.0.0/24", False, "RFC 6890: IETF protocol assignments; Oracle's metadata are at 192.0.0.192"),
    ("192.0.0.9/32", True, "RFC 7723: port control protocol anycast"),
    ("192.0.0.10/32", True, "RFC 8155: traversal using relays anycast"),
    ("192.0.2.0/24", False, "RFC 5737: documentation"),
    ("192.31.196.0/24", True, "RFC 7535: AS112"),
    ("192.52.193.0/24", True, "RFC 7450: automatic multicast tunnelling"),
    ("192.88.99.0/24", False, "RFC 7526: 6to4 relays, withdrawn"),
    ("192.168.0.0/16", False, "RFC 1918: private"),
    ("192.175.48.0/24", True, "RFC 7534: AS112"),
    ("198.18.0.0/15", False, "RFC 2544: benchmarking"),
    ("198.51.100.0/24", False, "RFC 5737: documentation"),
    ("203.0.113.0/24", False, "RFC 5737: documentation"),
    ("224.0.0.0/4", False, "RFC 5771: multicast"),
    ("240.0.0.0/4", False, "RFC 1112: reserved, with RFC 919's broadcast 255.255.255.255"),
)
IPV6 = (
    ("::/0", False, "RFC 4291: whatever is not below 2000::/3, with loopback, mapped, local and multicast addresses"),
    ("2000::/3", True, "RFC 4291: global unicast"),
    ("2001::/23", False, "RFC 2928: IETF protocol assignments, with RFC 4380's Teredo and RFC 4843's ORCHID"),
    ("2001:1::1/128", True, "RFC 7723: port control protocol anycast"),
    ("2001:1::2/128", True, "RFC 8155: traversal using relays anycast"),
    ("2001:1::3/128", True, "RFC 9665: DNS service registration anycast"),
    ("2001:2::/48", False, "RFC 5180: benchmarking"),
    ("2001:3::/32", True, "RFC 7450: automatic multicast tunnelling"),
    ("2001:4:112::/48", True, "RFC 7535: AS112"),
    ("2001:20::/28", True, "RFC 7343: ORCHIDv2"),
    ("2001:30::/28", True, "RFC 9374: drones' entity tags"),
    ("2001:db8::/32", False, "RFC 3849: documentation"),
    ("2002::/16", False, "RFC 3056: 6to4"),
    ("2620:4f:8000::/48", True, "RFC 7534: AS112"),
    ("3ffe::/16", False, "RFC 3701: the 6bone, given back"),
    ("3fff::/20", False, "RFC 9637: documentation"),
)
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052, globally reachable: the last 32 bits are an IPv4 address

NETWORKS4 = [(IPv4Network(network), reachable) for network, reachable, _ in IPV4]
NETWORKS6 = [(IPv6Network(network), reachable) for network, reachable, _ in IPV6]


def resolve(host: str, port: int) -> list[str]:
    """Return the distinct addresses of a host in the system's order of preference; OSError if there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Return whether the whole internet reaches an address from the resolver; False for text that is not an address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return _is_reachable4(parsed)
    if parsed.scope_id is not None:
        return False
    if parsed in NAT64:
        return _is_reachable4(IPv4Address(int(parsed) & 0xFFFFFFFF))
    return _is_reachable6(parsed)


def _is_reachable4(address: IPv4Address) -> bool:
    rows = [(network.prefixlen, reachable) for network, reachable in NETWORKS4 if address in network]
    return max(rows)[1] if rows else True


def _is_reachable6(address: IPv6Address) -> bool:
    return max((network.prefixlen, reachable) for network, reachable in NETWORKS6 if address in network)[1]
