"""Rules about the URLs of webhooks, and the addresses that they may lead to."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

MAX_URL_CHARACTERS: Final = 2_048

_VISIBLE: Final = re.compile(r"[!-~]+")
_HOST: Final = re.compile(
    r"(?:(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?|\[(?P<ipv6>[0-9a-f:.]+)\])(?::[0-9]*)?",
    re.IGNORECASE,
)
"""A host name or an IP address, and a port."""

_UNICAST: Final = IPv6Network("2000::/3")
_SPECIAL: Final = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
"""Networks that Python, depending on its version, calls global: protocols and 6to4 relays."""

_SPECIAL_IPV6: Final = (
    IPv6Network("2001::/23"),
    IPv6Network("2002::/16"),
    IPv6Network("3fff::/20"),
)
"""Networks like those: protocols such as Teredo and PCP, 6to4, and documentation."""


def url_fault(url: str) -> str:
    """The fault of a URL of a webhook; empty if there is none.

    A password in it would be in the log.
    """
    if len(url) > MAX_URL_CHARACTERS or not _VISIBLE.fullmatch(url):
        return f"must have 1 to {MAX_URL_CHARACTERS} visible ASCII characters"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "must be a URL"
    refused = {
        "must begin with https:// or http:// and a host": (
            parts.scheme not in {"http", "https"} or not parts.netloc
        ),
        "must have no user and no password": "@" in parts.netloc,
        "must have no fragment and no backslash": "#" in url or "\\" in url,
        "must have a port from 1 to 65535, or none; an IPv6 address needs brackets": (
            not _has_valid_port(parts)
        ),
        "must have a host name or an IP address, an IPv6 one in brackets": (
            not _is_host(parts.netloc)
        ),
    }
    return next((fault for fault, found in refused.items() if found), "")


def _has_valid_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def _is_host(text: str) -> bool:
    """Whether a text is a host, with or without a port.

    An IPv6 address must have no zone.
    """
    found = _HOST.fullmatch(text)
    if found is None:
        return False
    try:
        return found["ipv6"] is None or bool(IPv6Address(found["ipv6"]))
    except ValueError:
        return False


def is_public(address: str) -> bool:
    """Whether an IP address is that of a host in the Internet.

    Of IPv6 only global unicast addresses are: one that contains an IPv4 address, such as a mapped
    one or one of NAT64, could lead to any host.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        is_special = any(found in network for network in _SPECIAL)
        return found.is_global and not (is_special or found.is_multicast or found.is_reserved)
    return _is_public_ipv6(found)


def _is_public_ipv6(address: IPv6Address) -> bool:
    is_special = any(address in network for network in _SPECIAL_IPV6)
    return address.is_global and address in _UNICAST and not is_special
