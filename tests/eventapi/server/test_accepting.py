"""New clients are accepted quickly while a server is busy, and shared among workers that are not."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import uvicorn
import uvloop

from eventapi.server import bursts
from eventapi.server.starting import StartingServer
from eventapi.server.tls import TlsLoop
from tests.security.test_tls import certificate

HOST: Final = ("127.0.0.1", 0)
CLIENTS: Final = 64


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[object]],
    send: Callable[[object], Awaitable[None]],
) -> None:
    """Answer no request."""


def server_of(protocol: type[asyncio.Protocol]) -> StartingServer:
    """A server that is configured and has not started."""
    config = uvicorn.Config(application, http=protocol, lifespan="off", log_config=None)
    config.load()
    server = StartingServer(config)
    server.lifespan = config.lifespan_class(config)
    return server


async def turns_until_all_are_accepted() -> int:
    """Serve clients that have connected before; return how often a task ran until then."""
    accepted: list[object] = []

    class Counted(asyncio.Protocol):
        def __init__(self, **_: object) -> None: ...

        def connection_made(self, transport: object) -> None:
            accepted.append(transport)

    turns, server = 0, server_of(Counted)
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(HOST, backlog=CLIENTS))
        for _ in range(CLIENTS):
            stack.enter_context(socket.create_connection(listening.getsockname()))
        await server.startup([listening])
        while len(accepted) < CLIENTS:
            await asyncio.sleep(0)
            turns += 1
        await server.shutdown([listening])
    return turns


def test_clients_that_have_waited_are_accepted_several_in_each_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each turn of a busy loop takes long."""
    monkeypatch.setattr(bursts, "PATIENCE_SECONDS", 0)

    assert uvloop.run(turns_until_all_are_accepted()) <= CLIENTS // 4


def test_clients_that_have_just_connected_are_accepted_one_in_each_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of several idle workers, the first one to wake up leaves some of a burst to the others."""
    monkeypatch.setattr(bursts, "PATIENCE_SECONDS", 3600)

    assert uvloop.run(turns_until_all_are_accepted()) >= CLIENTS // 2


class TimedLoop:
    """An event loop with a time that a test sets."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self.now = loop, 1000.0

    def time(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


async def accepted_after(*pauses: float, clients: int = CLIENTS) -> Sequence[int]:
    """How many clients an acceptor has accepted at the first turn, and after each pause."""
    loop, counts = TimedLoop(asyncio.get_running_loop()), []
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(HOST, backlog=CLIENTS))
        listening.setblocking(False)
        for _ in range(clients):
            stack.enter_context(socket.create_connection(listening.getsockname()))
        acceptor = bursts.BurstAcceptor(listening, asyncio.Protocol, None)
        loop.remove_reader(acceptor._copy.fileno())  # The test calls it in each turn.
        acceptor._loop = loop  # type: ignore[assignment]  # it has all methods
        for pause in (0.0, *pauses):
            loop.now += pause
            acceptor._on_waiting()
            counts.append(len(acceptor._accepted))
        await asyncio.gather(*acceptor._accepted)
        acceptor.close()
    return counts


@pytest.mark.parametrize(
    ("clients", "pauses", "counts"),
    [
        (64, [0.004, 0.004], [0, 0, 0]),
        (64, [0.006, 0.006, 0.006], [0, 0, 7, 14]),
        (64, [0.09], [0, 7]),
        # After such a pause, the clients that wait are those of another burst.
        (64, [0.11], [0, 0]),
        (64, [0.006, 0.006, 0.11], [0, 0, 7, 7]),
        # The first four of a burst are all: those after them have not waited yet.
        (4, [0.02], [0, 4]),
    ],
)
def test_clients_are_accepted_once_some_have_waited(
    clients: int, pauses: Sequence[float], counts: Sequence[int]
) -> None:
    assert uvloop.run(accepted_after(*pauses, clients=clients)) == counts


class Stopping(asyncio.Protocol):
    """A protocol that closes its connection at `shutdown`, as those of uvicorn do."""

    transport: asyncio.BaseTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def shutdown(self) -> None:
        self.transport.close()


async def connections_left(*, is_closed: bool) -> int:
    """How many of three connections stay open that are just being accepted at a stop."""
    made: list[Stopping] = []

    def protocol() -> Stopping:
        made.append(Stopping())
        return made[-1]

    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(HOST))
        listening.setblocking(False)
        for _ in range(3):
            stack.enter_context(socket.create_connection(listening.getsockname()))
        acceptor = bursts.BurstAcceptor(listening, protocol, None)
        acceptor._on_waiting()
        acceptor.close()
        acceptor._is_closed = is_closed
        await asyncio.gather(*acceptor._accepted)
        left = sum(not one.transport.is_closing() for one in made)
        for one in made:
            one.transport.close()
    assert len(made) == 3
    return left


def test_a_stop_closes_connections_that_are_just_being_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server would wait for their clients."""
    monkeypatch.setattr(bursts, "PATIENCE_SECONDS", 0)

    assert uvloop.run(connections_left(is_closed=True)) == 0


def test_control_an_acceptor_that_is_not_closed_leaves_them_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bursts, "PATIENCE_SECONDS", 0)

    assert uvloop.run(connections_left(is_closed=False)) == 3


async def served_by_burst(context: ssl.SSLContext | None, *greetings: bytes) -> Sequence[Any]:
    """Serve clients by an acceptor alone; return what the protocol sees of each that gets through."""
    seen: list[Any] = []

    class Seeing(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            one = transport.get_extra_info("socket")
            is_tls = transport.get_extra_info("sslcontext") is not None
            seen.append((one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0, is_tls))
            transport.close()

    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(HOST))
        listening.setblocking(False)
        for greeting in greetings:
            client = stack.enter_context(socket.create_connection(listening.getsockname()))
            client.sendall(greeting)
        acceptor = bursts.BurstAcceptor(listening, Seeing, context)
        acceptor._on_waiting()
        await asyncio.gather(*acceptor._accepted)
        acceptor.close()
    return seen


def test_a_client_of_a_burst_is_served_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bursts, "PATIENCE_SECONDS", 0)

    assert uvloop.run(served_by_burst(None, b"", b"")) == [(True, False)] * 2


def test_a_failed_handshake_in_a_burst_disturbs_no_other_client(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bursts, "PATIENCE_SECONDS", 0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path))

    assert uvloop.run(served_by_burst(context, b"no TLS"), loop_factory=TlsLoop) == []


class Silent(asyncio.Protocol):
    """Accepts, and answers nothing."""

    def __init__(self, **_: object) -> None: ...


async def connects_after_the_end(copies: int = 0) -> bool:
    """Whether a client can connect after a server has stopped, with open copies of its socket."""
    server = server_of(Silent)
    with socket.create_server(HOST) as listening:
        address: tuple[str, int] = listening.getsockname()
        kept = [listening.dup() for _ in range(copies)]
        await server.startup([listening])
        await server.shutdown([listening])
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return False
    finally:
        for one in kept:
            one.close()
    return True


def test_no_copy_listens_after_the_end() -> None:
    assert not uvloop.run(connects_after_the_end())


def test_control_an_open_copy_listens_after_the_end() -> None:
    assert uvloop.run(connects_after_the_end(copies=1))


def blocking_modes(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[socket.socket], None] = lambda _: None
) -> list[bool]:
    """The modes that sockets get while a worker starts with one that does not block."""
    modes: list[bool] = []
    set_mode, set_timeout = socket.socket.setblocking, socket.socket.settimeout

    def setblocking(one: socket.socket, mode: bool) -> None:
        modes.append(mode)
        set_mode(one, mode)

    def settimeout(one: socket.socket, seconds: float | None) -> None:
        modes.append(seconds != 0)
        set_timeout(one, seconds)

    async def serve(listening: socket.socket) -> None:
        server = server_of(Silent)
        before(listening)
        await server.startup([listening])
        await server.shutdown([listening])

    with socket.create_server(HOST) as bound:
        bound.setblocking(False)
        # A worker receives a descriptor, and does not know its mode.
        received = socket.socket(fileno=os.dup(bound.fileno()))
        monkeypatch.setattr(socket.socket, "setblocking", setblocking)
        monkeypatch.setattr(socket.socket, "settimeout", settimeout)
        uvloop.run(serve(received))
    return modes


def test_a_start_never_makes_a_socket_blocking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode is that of all workers: one that accepts at that moment would wait for ever."""
    assert True not in blocking_modes(monkeypatch)


def test_control_an_earlier_copy_makes_it_blocking(monkeypatch: pytest.MonkeyPatch) -> None:
    assert True in blocking_modes(monkeypatch, before=lambda one: one.dup().close())
