"""Addresses of clients as limits count them, and of servers as URLs have them."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

_OPENED_HOSTS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only compared
"""The address that is opened instead, because a server listens on every address."""

_IPV6_PREFIX_BITS: Final = 64
"""A host with one IPv6 address can use all of its /64 (RFC 6177)."""


@lru_cache(4096)
def plain_address(host: str) -> str:
    """An address; if it is IPv4-mapped, the IPv4 address (RFC 4291, section 2.5.5.2)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return host if mapped is None else str(mapped)


@lru_cache(4096)
def counted_address(host: str) -> str:
    """What limits count for an address: for IPv6 the /64 network, else the address."""
    host = plain_address(host)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((int(address), _IPV6_PREFIX_BITS), strict=False))


def url_host(host: str) -> str:
    """A host, as a URL has it."""
    return f"[{host}]" if ":" in host else host


def opened_host(host: str) -> str:
    """The host of a URL on the machine of a server that listens on ``host``."""
    return url_host(_OPENED_HOSTS.get(host, host))
