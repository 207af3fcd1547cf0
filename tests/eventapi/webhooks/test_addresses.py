"""Deliveries reach public addresses only, whatever a URL or a name server says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from eventapi.values.webhooks import is_public, url_fault
from eventapi.webhooks.transport import Transport, resolve
from events.errors import NotDelivered
from tests.eventapi.webhooks.receiver import receiving

REFUSED = (
    *("127.0.0.1", "127.1", "127.255.255.254", "localhost", "LOCALHOST", "localhost."),
    *("2130706433", "0x7f000001", "0177.0.0.1", "017700000001", "0x7f.1", "127.0.1"),
    *("0.0.0.0", "0", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255"),  # noqa: S104
    *("192.168.1.1", "169.254.169.254", "2852039166", "0xa9fea9fe", "100.64.0.1"),
    *(
        "192.0.0.8",
        "192.88.99.1",
        "192.0.2.1",
        "198.18.0.1",
        "203.0.113.9",
        "224.0.0.1",
        "239.1.1.1",
    ),
    *("240.0.0.1", "255.255.255.255", "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[fd12::1]"),
    *("[ff02::1]", "[fec0::1]", "[::ffff:127.0.0.1]", "[::ffff:8.8.8.8]", "[::ffff:7f00:1]"),
    *("[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::8.8.8.8]"),
    *("[64:ff9b:1::1]", "[2002:7f00:1::]", "[2001::1]", "[2001:db8::1]", "[100::1]"),
    *("[2001:1::1]", "[2001:20::1]", "[3fff::1]", "[5f00::1]", "[2001:0:4136:e378:8000:63bf:1:1]"),
)
"""Hosts of URLs: numbers in every form, names, and IPv6 addresses that contain others."""

PUBLIC = ("8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2001:4860:4860::8888")


class Connections:
    """Replaces connections; records the addresses."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    async def connect(self, host: str, *_: object, **__: object) -> Any:
        self.addresses.append(host)
        raise OSError("unreachable")


def test_the_table_is_long() -> None:
    assert len(set(REFUSED)) >= 40


@pytest.mark.parametrize("host", REFUSED)
async def test_an_address_that_is_not_public_is_refused(host: str) -> None:
    connections = Connections()
    transport = Transport(private=False, connect=connections.connect)
    with pytest.raises(NotDelivered, match=r"not public|resolved"):
        await transport.post(f"http://{host}:9/", [], b"")
    assert connections.addresses == []


async def test_control_a_connection_to_a_public_address_is_attempted() -> None:
    connections = Connections()
    with pytest.raises(NotDelivered, match="cannot be reached"):
        await Transport(private=False, connect=connections.connect).post("http://8.8.8.8/", [], b"")
    assert connections.addresses == ["8.8.8.8"]


@pytest.mark.parametrize("address", PUBLIC)
def test_control_public_addresses_are_not_refused(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("text", ["", "name", "1.2.3", "8.8.8.8/8", "fe80::1%eth0"])
def test_a_text_that_is_no_public_address_is_refused(text: str) -> None:
    assert not is_public(text)


class NameServer:
    """Answers with the next addresses each time."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = [*answers]
        self.asked = 0

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0)


async def test_a_name_is_resolved_once_and_the_checked_address_connected() -> None:
    """A name server that answers differently between check and use changes nothing."""
    connections, names = Connections(), NameServer(["8.8.8.8"], ["127.0.0.1"])
    transport = Transport(private=False, resolve=names.resolve, connect=connections.connect)
    with pytest.raises(NotDelivered, match="cannot be reached"):
        await transport.post("https://rebound.example/", [], b"")
    assert (names.asked, connections.addresses) == (1, ["8.8.8.8"])
    with pytest.raises(NotDelivered, match="not public"):
        await transport.post("https://rebound.example/", [], b"")
    assert (names.asked, connections.addresses) == (2, ["8.8.8.8"])


@pytest.mark.parametrize("answer", [["8.8.8.8", "127.0.0.1"], ["::1", "2606:4700::1"]])
async def test_one_private_address_refuses_all_of_a_name(answer: list[str]) -> None:
    connections, names = Connections(), NameServer(answer)
    transport = Transport(private=False, resolve=names.resolve, connect=connections.connect)
    with pytest.raises(NotDelivered, match="not public"):
        await transport.post("https://mixed.example/", [], b"")
    assert connections.addresses == []


async def test_a_name_without_an_address_is_a_failure() -> None:
    with pytest.raises(NotDelivered, match="no address"):
        await Transport(private=False, resolve=NameServer([]).resolve).post("http://a/", [], b"")


async def test_a_name_that_does_not_exist_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(NotDelivered, match="cannot be resolved"):
        await Transport(private=False).post("http://missing.example/", [], b"")


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    with receiving() as target, receiving() as receiver:
        receiver.answer = lambda _: 307
        assert await Transport(private=True).post(receiver.url, [], b"{}") == 307
    assert target.deliveries == []


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with receiving() as receiver:
        assert await Transport(private=True).post(receiver.url, [], b"{}") == 204


async def test_the_host_header_has_the_name_and_not_the_address() -> None:
    with receiving() as receiver:
        port = int(receiver.url.split(":")[2].partition("/")[0])
        names = NameServer(["127.0.0.1"])
        transport = Transport(private=True, resolve=names.resolve)
        assert await transport.post(f"http://name.example:{port}/x?y=1", [], b"{}") == 204
    (delivery,) = receiver.deliveries
    assert delivery.headers["host"] == f"name.example:{port}"
    assert delivery.path == "/x?y=1"


async def test_a_name_server_that_does_not_answer_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = await resolve("127.0.0.1", 80)
    assert found == ["127.0.0.1"]

    async def hang(*_: object) -> Sequence[str]:
        await asyncio.sleep(3_600)
        return []

    with pytest.raises(NotDelivered, match="did not answer"):
        await Transport(private=True, resolve=hang, timeout=0.1).post("http://a.example/", [], b"")


@pytest.mark.parametrize(
    "url",
    [
        *("", "a", "/hook", "//example.org/", "ftp://example.org/", "file:///etc/passwd"),
        *("http:///x", "https://", "https://user@example.org/", "https://a:b@example.org/"),
        *("https://@example.org/", "https://example.org/#a", "https://example.org/#"),
        *("https://example.org:0/", "https://example.org:99999/", "https://example.org:x/"),
        *("https://exa mple.org/", "https://example.org/\n", "https://日本.example/"),
        *("https://[::1/", "https://example.org\\@127.0.0.1/", "javascript:alert(1)"),
        *(
            "https://[fe80::1%25eth0]/",
            "https://[fe80::1%eth0]/",
            "https://[v1.a]/",
            "https://[1]/",
        ),
        *("https://a[2606:4700::1]/", "https://[2606:4700::1]a/", "https://[8.8.8.8]/"),
        *("https://.example.org/", "https://a..example/", "https://./", "https://example.org../"),
        *("https://%31.example/", "https://a,b/", "https://a;b/", 'https://a"b/', "https://a{b}/"),
        *("https://example.org:8443:1/", "https://example.org:-1/", "https://:443/"),
        "https://" + "a" * 64 + ".example/",
        "https://example.org/" + "a" * 2_048,
    ],
)
def test_an_unusable_url_is_refused(url: str) -> None:
    assert url_fault(url)


@pytest.mark.parametrize(
    "url",
    [
        *("https://example.org", "http://example.org/", "HTTPS://EXAMPLE.ORG/a?b=c"),
        *("https://example.org:8443/a", "https://[2606:4700::1]/", "http://8.8.8.8/"),
        *(
            "https://example.org.:443/",
            "https://[2606:4700::1]:8443/",
            "https://xn--wgv71a.example/",
        ),
        *("https://a_b.example?c", "https://" + "a" * 63 + ".example/", "https://example.org:/"),
        "https://example.org/" + "a" * 2_028,
    ],
)
def test_control_a_usable_url_is_accepted(url: str) -> None:
    assert not url_fault(url)
