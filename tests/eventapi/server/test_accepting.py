"""A burst of new clients does not wait behind the requests of the clients before them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, Final

import pytest
import uvicorn
import uvloop

from eventapi.server import starting
from eventapi.server.starting import StartingServer

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


def test_several_clients_are_accepted_in_each_turn_of_the_loop() -> None:
    assert uvloop.run(turns_until_all_are_accepted()) <= CLIENTS // 4


def test_control_from_one_copy_of_a_socket_one_client_is_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(starting, "ACCEPTED_AT_ONCE", 1)

    assert uvloop.run(turns_until_all_are_accepted()) >= CLIENTS // 2


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


def blocking_modes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
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


def test_control_a_copy_by_dup_makes_it_blocking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_copy", socket.socket.dup)

    assert True in blocking_modes(monkeypatch)
