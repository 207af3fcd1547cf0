"""Deliveries over connections: receivers that misbehave, TLS, and the end of each connection."""

from __future__ import annotations

import asyncio
import gc
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvloop
from cryptography import x509

from eventapi.webhooks.connection import MAX_HEAD_BYTES
from eventapi.webhooks.transport import Transport
from events.errors import NotDelivered
from tests.eventapi.webhooks.receiver import receiving
from tests.security.test_tls import certificate

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def speaking(speak: Speak, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run a server that answers as a function does; the port."""
    writers = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError):
            await speak(reader, writer)

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


async def post(port: int, scheme: str = "http", timeout: float = 30.0) -> int:
    url = f"{scheme}://127.0.0.1:{port}/"
    return await Transport(private=True, timeout=timeout).post(url, [], b"{}")


def saying(answer: bytes) -> Speak:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(answer)
        writer.close()

    return speak


def flooding(start: bytes, repeated: bytes) -> tuple[Speak, Callable[[], int]]:
    """Sends without an end; how much was sent."""
    sent = 0

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(start)
        while True:
            writer.write(repeated)
            await writer.drain()
            sent += len(repeated)

    return speak, lambda: sent


async def stall(*_: object) -> None:
    await asyncio.sleep(3_600)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed the connection"),
        (b"HTTP/1.1 200", "closed the connection"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "closed the connection"),
        (b"SSH-2.0\r\n\r\n", "HTTP/1"),
        (b"\0" * 100, "HTTP/1"),
        (b"HTTP/2 200 OK\r\n\r\n", "HTTP/1"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "HTTP/1"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n" * 2, "HTTP/1"),
        (HEAD + b"a" * (MAX_HEAD_BYTES + 1), "HTTP/1"),
        (HEAD + b"a: b\r\n" * MAX_HEAD_BYTES, "HTTP/1"),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * MAX_HEAD_BYTES, "HTTP/1"),
    ],
    ids=range(11),  # Some are long.
)
async def test_an_answer_that_is_no_http_is_a_failure(answer: bytes, reason: str) -> None:
    async with speaking(saying(answer)) as port:
        with pytest.raises(NotDelivered, match=reason):
            await post(port)


@pytest.mark.parametrize("status", [200, 204, 302, 410, 500, 999])
async def test_informational_answers_precede_the_status(status: int) -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\na: b\r\n\r\n"
    async with speaking(saying(answer + b"HTTP/1.0 %d X\r\n\r\n" % status)) as port:
        assert await post(port) == status


@pytest.mark.parametrize("size", [1_000, 20_000, 40_000, MAX_HEAD_BYTES - 1_000])
async def test_a_head_is_read_up_to_the_maximum(size: int) -> None:
    async with speaking(saying(HEAD + b"set-cookie: " + b"a" * size + b"\r\n\r\n")) as port:
        assert await post(port) == 200


@pytest.mark.parametrize("start", [b"", HEAD, HEAD + b"content-length: 2\r\n", b"HTTP/1.1 1"])
async def test_a_receiver_that_stalls_is_a_failure_in_time(start: bytes) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await stall()

    async with speaking(speak) as port:
        with pytest.raises(NotDelivered, match=r"in 0\.3 seconds"):
            await post(port, timeout=0.3)


async def test_a_head_that_comes_byte_by_byte_is_a_failure_in_time() -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"a: ")
        while True:
            writer.write(b"b")
            await asyncio.sleep(0.01)

    async with speaking(speak) as port:
        with pytest.raises(NotDelivered, match=r"in 0\.3 seconds"):
            await post(port, timeout=0.3)


@pytest.mark.parametrize(
    "fields",
    [b"", b"content-length: 9999999999\r\n", b"transfer-encoding: chunked\r\n"],
    ids=["endless", "huge", "chunked"],
)
async def test_a_body_is_not_read(fields: bytes) -> None:
    speak, sent = flooding(HEAD + b"content-encoding: gzip\r\n" + fields + b"\r\n", b"a" * 65_536)
    async with speaking(speak) as port:
        assert await post(port) == 200
    assert sent() < 2**24


async def test_an_endless_head_is_not_read_to_its_end() -> None:
    speak, sent = flooding(HEAD, b"a: b\r\n" * 1_000)
    async with speaking(speak) as port:
        with pytest.raises(NotDelivered, match="HTTP/1"):
            await post(port)
    assert sent() < 2**24


async def test_an_address_that_does_not_answer_leaves_time_for_the_next() -> None:
    async def resolve(*_: object) -> Sequence[str]:
        return ["192.0.2.1", "127.0.0.1"]

    async def connect(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if address == "192.0.2.1":
            await asyncio.sleep(3_600)
        return await asyncio.open_connection(address, port)

    with receiving() as receiver:
        transport = Transport(private=True, resolve=resolve, connect=connect, timeout=2.0)
        assert await transport.post(receiver.url, [], b"{}") == 204


async def resolve_here(*_: object) -> Sequence[str]:
    return ["127.0.0.1"]


def tls_server(directory: Path, *names: x509.GeneralName) -> tuple[ssl.SSLContext, Path]:
    """A context of a server with a certificate of its own, and the file that trusts it."""
    cert, key = certificate(directory, names) if names else certificate(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert


ANSWER = saying(HEAD + b"\r\n")


async def test_a_certificate_that_is_not_trusted_is_refused(tmp_path: Path) -> None:
    tls, trusted = tls_server(tmp_path)
    async with speaking(ANSWER, tls) as port:
        with pytest.raises(NotDelivered, match="TLS failed: CERTIFICATE_VERIFY_FAILED"):
            await post(port, "https")
        client = ssl.create_default_context(cafile=trusted)
        transport = Transport(private=True, tls=client, resolve=resolve_here)
        for host in ("127.0.0.1", "localhost", "LOCALHOST."):
            assert await transport.post(f"https://{host}:{port}/", [], b"{}") == 200


async def test_a_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    tls, trusted = tls_server(tmp_path, x509.DNSName("other.example"))
    client = ssl.create_default_context(cafile=trusted)
    async with speaking(ANSWER, tls) as port:
        for host in ("localhost", "127.0.0.1"):
            transport = Transport(private=True, tls=client, resolve=resolve_here)
            with pytest.raises(NotDelivered, match="TLS failed"):
                await transport.post(f"https://{host}:{port}/", [], b"{}")


async def test_plain_http_at_an_https_url_is_a_failure() -> None:
    async with speaking(ANSWER) as port:
        with pytest.raises(NotDelivered, match="TLS failed"):
            await post(port, "https")


async def _cancel_after(steps: int, again: int, url: str) -> None:
    """Cancel a delivery after some steps of the event loop, and once more after others."""
    task = asyncio.create_task(Transport(private=True, tls=TLS).post(url, [], b"{}"))
    for count in (steps, again):
        for _ in range(count):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


TLS = ssl.create_default_context()
STEPS = [*range(40), 300]


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
@pytest.mark.parametrize("kind", ["answering", "stalled", "stalled in TLS"])
def test_a_cancelled_delivery_leaves_no_connection(
    kind: str, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """At whatever step it is cancelled, and although it is cancelled again meanwhile."""

    async def deliver(steps: int) -> None:
        scheme = "https" if kind == "stalled in TLS" else "http"
        async with speaking(ANSWER if kind == "answering" else stall) as port:
            for again in (0, 1, 2, 3):
                await _cancel_after(steps, again, f"{scheme}://127.0.0.1:{port}/")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for steps in STEPS:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(deliver(steps))
        gc.collect()
    assert [str(one.message) for one in caught] == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_delivery_that_times_out_leaves_no_connection(scheme: str) -> None:
    async def deliver() -> None:
        async with speaking(stall) as port:
            with pytest.raises(NotDelivered, match="did not answer"):
                await post(port, scheme, timeout=0.1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(deliver())
        gc.collect()
    assert [str(one.message) for one in caught] == []
