"""A connection serves the next request to its receiver, unless anything speaks against it."""

from __future__ import annotations

import asyncio
import gc
import re
import ssl
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from eventapi.webhooks.connection import MAX_REST_BYTES
from eventapi.webhooks.transport import Transport, resolve
from events.errors import NotDelivered
from tests.eventapi.followers.following import until
from tests.eventapi.webhooks.test_transport import HEAD, resolve_here, speaking, stall, tls_server

OK = HEAD + b"content-length: 2\r\n\r\nok"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection ends because time passes."""
    monkeypatch.setattr("eventapi.webhooks.connection.IDLE_SECONDS", 3_600)


Answer = Sequence[bytes | None]
"""The parts of an answer, each sent by itself; ``None`` closes the connection."""


class Receiver:
    """A receiver that keeps connections; it has the bodies that came on each of them."""

    def __init__(self, *answers: Answer) -> None:
        """``answers`` are those to the first requests; the others get `OK`."""
        self.answers = [*answers]
        self.connections: list[list[bytes]] = []
        self.ended = 0
        self.port = 0
        self.may_continue = asyncio.Event()
        """Before the parts of an answer after the first."""

    @property
    def bodies(self) -> list[bytes]:
        return [body for bodies in self.connections for body in bodies]

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies: list[bytes] = []
        self.connections.append(bodies)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                (length,) = re.findall(rb"content-length: (\d+)", head)
                bodies.append(await reader.readexactly(int(length)))
                first, *others = self.answers.pop(0) if self.answers else [OK]
                self._send(writer, first)
                for part in others:
                    await self.may_continue.wait()
                    self._send(writer, part)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.ended += 1

    def _send(self, writer: asyncio.StreamWriter, part: bytes | None) -> None:
        if part is None:
            writer.close()
        else:
            writer.write(part)


@asynccontextmanager
async def receiving(
    *answers: Answer, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Receiver, str]]:
    """Run a receiver; it and its URL."""
    receiver = Receiver(*answers)
    async with speaking(receiver.speak, tls) as port:
        yield receiver, f"http{'s' if tls else ''}://127.0.0.1:{port}/"


@asynccontextmanager
async def transporting(**options: Any) -> AsyncIterator[Transport]:
    transport = Transport(private=True, **options)
    yield transport
    transport.close()
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("answer", [OK, NO_CONTENT, CHUNKED], ids=["length", "none", "chunked"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_requests_to_a_receiver_share_a_connection(
    tmp_path: Path, scheme: str, answer: bytes
) -> None:
    tls, trusted = tls_server(tmp_path) if scheme == "https" else (None, None)
    client = ssl.create_default_context(cafile=trusted)
    async with (
        receiving(*[[answer]] * 4, tls=tls) as (receiver, url),
        transporting(tls=client) as transport,
    ):
        for number in range(3):
            assert await transport.post(f"{url}{number}", [], b"%d" % number) in {200, 204}
        expected = (204, b"") if answer is NO_CONTENT else (200, b"ok")
        assert await transport.exchange(url, [], b"3", 10) == expected
    assert receiver.connections == [[b"0", b"1", b"2", b"3"]]


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\nok",
        HEAD + b"Connection: keep-alive, Close\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
        HEAD + b"connection: close\r\ncontent-length: 9\r\n\r\nno end",
    ],
    ids=["close", "list", "HTTP/1.0", "HTTP/1.0 keep-alive", "no end"],
)
async def test_an_answer_that_ends_the_connection_is_respected(answer: bytes) -> None:
    async with receiving([answer]) as (receiver, url), transporting() as transport:
        assert await transport.post(url, [], b"0") == 200
        await until(lambda: receiver.ended == 1)
        assert await transport.post(url, [], b"1") == 200
    assert receiver.connections == [[b"0"], [b"1"]]


# Addresses


class Addresses:
    """A name server and a network, in which all addresses are this machine."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = [*answers]
        self.connected: list[str] = []

    async def resolve(self, *_: object) -> Sequence[str]:
        return self.answers.pop(0)

    async def connect(self, address: str, port: int, **options: Any) -> Any:
        self.connected.append(address)
        return await asyncio.open_connection("127.0.0.1", port, **options)


async def test_after_a_change_of_the_address_another_connection_is_made() -> None:
    network = Addresses(["192.0.2.1"], ["192.0.2.2"], ["192.0.2.2"])
    options = {"resolve": network.resolve, "connect": network.connect}
    async with receiving() as (receiver, url), transporting(**options) as transport:
        for body in (b"0", b"1", b"2"):
            assert await transport.post(url, [], body) == 200
        await until(lambda: receiver.ended == 1)
    assert receiver.connections == [[b"0"], [b"1", b"2"]]
    assert network.connected == ["192.0.2.1", "192.0.2.2"]


async def test_an_address_that_is_still_among_others_is_used_again() -> None:
    network = Addresses(["192.0.2.1", "192.0.2.2"], ["192.0.2.3", "192.0.2.1"])
    options = {"resolve": network.resolve, "connect": network.connect}
    async with receiving() as (receiver, url), transporting(**options) as transport:
        for body in (b"0", b"1"):
            assert await transport.post(url, [], body) == 200
    assert receiver.connections == [[b"0", b"1"]]


async def test_a_name_that_now_has_a_private_address_is_refused() -> None:
    """Although there is a connection to the public address that it had."""
    network = Addresses(["8.8.8.8"], ["127.0.0.1"], ["8.8.8.8", "127.0.0.1"])
    transport = Transport(private=False, resolve=network.resolve, connect=network.connect)
    async with receiving() as (receiver, url):
        assert await transport.post(url, [], b"0") == 200
        for _ in range(2):
            with pytest.raises(NotDelivered, match="not public"):
                await transport.post(url, [], b"1")
        transport.close()
    assert receiver.connections == [[b"0"]]


async def test_two_names_of_one_address_share_nothing() -> None:
    async with receiving() as (receiver, url), transporting(resolve=resolve_here) as transport:
        for host in ("127.0.0.1", "a.example", "127.0.0.1", "a.example"):
            await transport.post(url.replace("127.0.0.1", host), [], host.encode())
    assert receiver.connections == [[b"127.0.0.1"] * 2, [b"a.example"] * 2]


@pytest.mark.parametrize("host", ["127.0.0.1", "8.8.8.8", "::1", "2606:4700::1"])
async def test_an_address_is_resolved_without_a_thread(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "Thread", None)
    assert await resolve(host, 80) == [host]
    with pytest.raises(TypeError):  # Control.
        await resolve("localhost", 80)


# Receivers that close


async def test_a_connection_that_the_receiver_closed_is_not_used() -> None:
    async with receiving([OK, None]) as (receiver, url), transporting() as transport:
        assert await transport.post(url, [], b"0") == 200
        (kept,) = transport._kept.values()
        receiver.may_continue.set()
        await until(lambda: not kept._is_kept)
        assert await transport.post(url, [], b"1") == 200
    assert receiver.connections == [[b"0"], [b"1"]]


async def test_a_request_that_an_old_connection_loses_is_repeated_once_on_a_new_one() -> None:
    async with receiving([OK], [None]) as (receiver, url), transporting() as transport:
        assert await transport.post(url, [], b"0") == 200
        assert await transport.post(url, [], b"1") == 200
    assert receiver.connections == [[b"0", b"1"], [b"1"]]


async def test_a_request_is_not_repeated_a_second_time() -> None:
    async with receiving([OK], [None], [None]) as (receiver, url), transporting() as transport:
        assert await transport.post(url, [], b"0") == 200
        with pytest.raises(NotDelivered, match="closed the connection"):
            await transport.post(url, [], b"1")
    assert receiver.connections == [[b"0", b"1"], [b"1"]]


async def test_a_request_that_a_new_connection_loses_is_not_repeated() -> None:
    async with receiving([None]) as (receiver, url), transporting() as transport:
        with pytest.raises(NotDelivered, match="closed the connection"):
            await transport.post(url, [], b"0")
    assert receiver.connections == [[b"0"]]


async def test_a_request_whose_answer_has_begun_is_not_repeated() -> None:
    async with receiving([OK], [b"H", None]) as (receiver, url), transporting() as transport:
        receiver.may_continue.set()
        assert await transport.post(url, [], b"0") == 200
        with pytest.raises(NotDelivered, match="closed the connection"):
            await transport.post(url, [], b"1")
    assert receiver.connections == [[b"0", b"1"]]


# Responses


async def test_the_rest_of_a_response_may_come_later() -> None:
    async with receiving([OK[:-2], b"o", b"k"]) as (receiver, url), transporting() as transport:
        assert await transport.post(url, [], b"0") == 200
        (kept,) = transport._kept.values()
        receiver.may_continue.set()
        await until(lambda: "IDLE" in repr(kept._http.our_state))
        assert await transport.post(url, [], b"1") == 200
    assert receiver.connections == [[b"0", b"1"]]


async def test_a_response_that_has_not_come_to_its_end_delays_no_request() -> None:
    async with receiving([OK[:-1], b"k"]) as (receiver, url), transporting() as transport:
        for body in (b"0", b"1"):
            assert await transport.post(url, [], body) == 200
    assert receiver.connections == [[b"0"], [b"1"]]


@pytest.mark.parametrize("excess", [0, 1])
async def test_a_long_response_is_not_read_to_its_end(excess: int) -> None:
    size = MAX_REST_BYTES + excess
    answer = HEAD + b"content-length: %d\r\n\r\n" % size + b"a" * size
    async with receiving([answer]) as (receiver, url), transporting() as transport:
        assert await transport.post(url, [], b"0") == 200
        (kept,) = transport._kept.values()
        await until(lambda: "IDLE" in repr(kept._http.our_state) or not kept._is_kept)
        assert await transport.post(url, [], b"1") == 200
    assert receiver.connections == ([[b"0"], [b"1"]] if excess else [[b"0", b"1"]])


@pytest.mark.parametrize("extra", [b"\r\n", OK, b"garbage"], ids=["blank", "answer", "garbage"])
async def test_bytes_after_a_response_close_the_connection(extra: bytes) -> None:
    """They would be taken for the answer to the next request."""
    async with receiving([OK + extra]) as (receiver, url), transporting() as transport:
        for body in (b"0", b"1"):
            assert await transport.post(url, [], body) == 200
        await until(lambda: receiver.ended == 1)
    assert receiver.connections == [[b"0"], [b"1"]]


@pytest.mark.parametrize("extra", [b"\r\n", OK, b"garbage"], ids=["blank", "answer", "garbage"])
async def test_bytes_between_two_requests_close_the_connection(extra: bytes) -> None:
    async with receiving([OK, extra]) as (receiver, url), transporting() as transport:
        assert await transport.post(url, [], b"0") == 200
        assert receiver.ended == 0
        receiver.may_continue.set()
        await until(lambda: receiver.ended == 1)
        assert await transport.post(url, [], b"1") == 200
    assert receiver.connections == [[b"0"], [b"1"]]


# Bounds and ends


async def test_a_connection_waits_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventapi.webhooks.connection.IDLE_SECONDS", 0.01)
    async with receiving([OK], [OK[:-1]]) as (receiver, url), transporting() as transport:
        for ended in (1, 2):
            assert await transport.post(url, [], b"0") == 200
            await until(lambda ended=ended: receiver.ended == ended)  # type: ignore[misc]


async def test_the_oldest_of_too_many_connections_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eventapi.webhooks.transport.MAX_KEPT", 2)
    async with receiving() as (receiver, url), transporting(resolve=resolve_here) as transport:
        for host in ("a", "b", "a", "c", "a", "b"):
            await transport.post(url.replace("127.0.0.1", host), [], host.encode())
        assert len(transport._kept) == 2
    assert receiver.connections == [[b"a"] * 3, [b"b"], [b"c"], [b"b"]]


async def test_of_two_requests_at_once_one_connection_is_kept() -> None:
    async with receiving() as (receiver, url), transporting() as transport:
        await asyncio.gather(*(transport.post(url, [], body) for body in (b"0", b"1")))
        await until(lambda: receiver.ended == 1)
        assert len(transport._kept) == 1
        assert await transport.post(url, [], b"2") == 200
    assert len(receiver.connections) == 2


async def test_a_closed_transport_keeps_no_connection() -> None:
    async with receiving() as (receiver, url), transporting() as transport:
        assert await transport.post(url, [], b"0") == 200
        transport.close()
        await until(lambda: receiver.ended == 1)
        assert await transport.post(url, [], b"1") == 200
        await until(lambda: receiver.ended == 2)


@pytest.mark.parametrize("kind", ["timed out", "cancelled"])
async def test_a_request_that_has_no_answer_closes_its_old_connection(kind: str) -> None:
    async with receiving([OK], [b""]) as (receiver, url), transporting(timeout=0.2) as transport:
        assert await transport.post(url, [], b"0") == 200
        task = asyncio.create_task(transport.post(url, [], b"1"))
        await until(lambda: receiver.bodies == [b"0", b"1"])
        if kind == "cancelled":
            task.cancel()
        await asyncio.wait([task])
        await until(lambda: receiver.ended == 1)
        assert task.cancelled() or isinstance(task.exception(), NotDelivered)
        assert await transport.post(url, [], b"2") == 200
    assert receiver.connections == [[b"0", b"1"], [b"2"]]


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
@pytest.mark.parametrize("second", ["none", "answered", "cancelled"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_at_the_end_of_the_loop_no_connection_is_open(
    tmp_path: Path, scheme: str, second: str, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Even if the transport is not closed."""
    tls, trusted = tls_server(tmp_path) if scheme == "https" else (None, None)
    client = ssl.create_default_context(cafile=trusted)

    async def deliver(steps: int) -> None:
        transport = Transport(private=True, tls=client)
        async with receiving([OK], tls=tls) as (_, url):
            assert await transport.post(url, [], b"0") == 200
            if second != "none":
                task = asyncio.create_task(transport.post(url, [], b"1"))
                for _ in range(steps):
                    await asyncio.sleep(0)
                if second == "cancelled":
                    task.cancel()
                await asyncio.wait([task])

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for steps in range(12 if second == "cancelled" else 1):
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(deliver(steps))
        gc.collect()
    assert [str(one.message) for one in caught] == []


async def test_control_a_receiver_that_stalls_holds_a_request() -> None:
    """Otherwise the tests of a timeout above would prove nothing."""
    async with speaking(stall) as port:
        transport = Transport(private=True, timeout=0.05)
        with pytest.raises(NotDelivered, match="did not answer"):
            await transport.post(f"http://127.0.0.1:{port}/", [], b"")
