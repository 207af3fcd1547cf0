"""The address of a client: IPv4-mapped addresses are IPv4 addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from eventapi.http.middleware import client_address as addresses
from eventapi.http.middleware.client_address import ClientAddressMiddleware, caller_address
from tests.eventapi.http.client import PASSWORD, Api, quiet_settings

MAPPED = "::ffff:127.0.0.1"
LONG_FORM = "0:0:0:0:0:ffff:7f00:1"


def client_of(
    peer: str, proxies: Sequence[str], headers: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """The client address and the scheme that the wrapped app gets."""
    scope: Any = {
        "type": "http",
        "scheme": "http",
        "client": (peer, 1234),
        "headers": [(name.encode(), text.encode()) for name, text in (headers or {}).items()],
    }

    async def app(inner: Any, receive: Any, send: Any) -> None:
        scope.update(inner)

    asyncio.run(ClientAddressMiddleware(app, proxies)(scope, None, None))  # type: ignore[arg-type]
    return scope["client"][0], scope["scheme"]


@pytest.mark.parametrize(
    ("proxies", "headers", "client", "scheme"),
    [
        (["unix"], {"x-forwarded-for": "198.51.100.7"}, ("198.51.100.7", 0), "http"),
        (["10.0.0.1", "unix"], {"x-forwarded-for": "x, 10.0.0.1"}, ("x", 0), "http"),
        (["unix"], {"x-forwarded-for": "unix"}, None, "http"),
        (["unix"], {"x-forwarded-proto": "https"}, None, "https"),
        (["unix"], {}, None, "http"),
        (["127.0.0.1"], {"x-forwarded-for": "198.51.100.7"}, None, "http"),
        ([], {"x-forwarded-for": "198.51.100.7", "x-forwarded-proto": "https"}, None, "http"),
    ],
)
def test_unix_trusts_the_peer_of_a_unix_socket(
    proxies: list[str], headers: dict[str, str], client: tuple[str, int] | None, scheme: str
) -> None:
    """Such a peer has no address."""
    scope: Any = {"type": "http", "scheme": "http", "client": None}
    scope["headers"] = [(name.encode(), text.encode()) for name, text in headers.items()]
    found: dict[str, Any] = {}

    async def app(inner: Any, receive: Any, send: Any) -> None:
        found.update(inner)

    asyncio.run(ClientAddressMiddleware(app, proxies)(scope, None, None))  # type: ignore[arg-type]
    assert (found["client"], found["scheme"]) == (client, scheme)


FORWARDED = {"x-forwarded-for": "198.51.100.7", "x-forwarded-proto": "https"}


@pytest.mark.parametrize("peer", ["127.0.0.1", MAPPED, LONG_FORM, "::FFFF:127.0.0.1"])
@pytest.mark.parametrize(
    "proxy",
    [
        *("127.0.0.1", "127.0.0.0/8", MAPPED, LONG_FORM, "::ffff:7f00:1/128"),
        *("::ffff:127.0.0.0/104", "0.0.0.0/0"),
    ],
)
def test_a_proxy_is_trusted_in_ipv4_and_mapped_form(peer: str, proxy: str) -> None:
    assert client_of(peer, [proxy], FORWARDED) == ("198.51.100.7", "https")


@pytest.mark.parametrize("peer", ["127.0.0.1", MAPPED])
@pytest.mark.parametrize("proxy", ["10.0.0.0/8", "::1", "::ffff:10.0.0.1", "::/0", "::/80"])
def test_control_another_proxy_is_not_trusted(peer: str, proxy: str) -> None:
    """A network of IPv6 contains no IPv4 address, in either form."""
    assert client_of(peer, [proxy], FORWARDED) == ("127.0.0.1", "http")


@pytest.mark.parametrize("proxies", [[], ["127.0.0.1"], ["::1"]])
def test_a_mapped_peer_is_the_ipv4_address(proxies: list[str]) -> None:
    assert client_of("::ffff:203.0.113.9", proxies)[0] == "203.0.113.9"
    assert client_of("2001:db8::1", proxies)[0] == "2001:db8::1"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("[::ffff:198.51.100.7]:443", "198.51.100.7"),
        ("203.0.113.1, ::ffff:198.51.100.7, ::ffff:127.0.0.1", "198.51.100.7"),
        ("203.0.113.1, ::ffff:198.51.100.7, 127.0.0.1", "198.51.100.7"),
        ("::ffff:c633:6407", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("no address", "no address"),
    ],
)
def test_forwarded_addresses_are_read_in_ipv4_and_mapped_form(forwarded: str, client: str) -> None:
    assert client_of(MAPPED, ["127.0.0.1"], {"x-forwarded-for": forwarded})[0] == client


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("", ""),
    ],
)
def test_a_caller_is_counted_by_the_plain_address(host: str, counted: str) -> None:
    scope: Any = {"client": (host, 1)}
    assert caller_address(scope) == counted


def test_a_session_shows_the_ipv4_address() -> None:
    with Api(quiet_settings(trusted_proxies=("127.0.0.1",))) as api:
        ann = api.caller()
        how = {"headers": {"x-forwarded-for": "::ffff:198.51.100.7"}}
        body = {"username": ann.name, "password": PASSWORD}
        assert api.request("POST", "/auth/login", json=body, **how).status_code == 200
        addresses_shown = {one["address"] for one in ann.get("/auth/sessions").json()}
        assert addresses_shown == {"127.0.0.1", "198.51.100.7"}


def test_control_without_mapped_forms_a_mapped_hop_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses, "_with_mapped_forms", list)
    forwarded = {"x-forwarded-for": "198.51.100.7, ::ffff:127.0.0.1"}
    assert client_of("127.0.0.1", ["127.0.0.1"], forwarded)[0] == "127.0.0.1"
