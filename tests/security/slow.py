"""``python -m tests.security.slow``: measure the cost of slow connections.

A process holds connections to a server: idle ones, heads and bodies that arrive one byte a second,
and readers that do not read. It reopens each connection that the server closes. Prints, measured
in alternating rounds, the p99 of reading an item during the attack as a multiple of its p99 on an
idle server, and the growth of the server's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import resource
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Self

from tests.end_to_end.client import Connection
from tests.end_to_end.server import ROOT, Server, by_serve
from tests.fault_injection.machine import describe_machine
from tests.security.raw import HOST
from tests.security.reader import USER, p99_of_reads, register

DRIP_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0

HEAD = b"GET /openapi.json HTTP/1.1\r\n" + HOST
KINDS = {
    "idle": b"",
    "slow heads": HEAD + b"X: ",
    "slow bodies": b"POST /auth/login HTTP/1.1\r\n" + HOST + b"Content-Length: 5000\r\n\r\n",
    "slow readers": (HEAD + b"\r\n") * 50,
}
"""The first bytes of each kind of connection."""

_DRIPPING = {"slow heads", "slow bodies"}


async def _hold_one(port: int, kind: str, counts: Counter[str]) -> None:
    """Hold one slow connection, and reopen it when the server closes it."""
    while True:
        try:
            # The limit leaves most of the answer unread in the socket.
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=256)
            counts[f"{kind}, opened"] += 1
            writer.write(KINDS[kind])
            while not reader.at_eof() or kind == "slow readers":
                if kind in _DRIPPING:
                    writer.write(b"x")
                    await writer.drain()
                elif kind == "slow readers" and writer.transport.is_closing():
                    break
                await asyncio.sleep(DRIP_SECONDS)
            writer.close()
        except OSError:
            await asyncio.sleep(DRIP_SECONDS)


async def _hold(port: int, number: int) -> Counter[str]:
    """Hold connections until SIGTERM."""
    counts: Counter[str] = Counter()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    kinds = itertools.islice(itertools.cycle(KINDS), number)
    tasks = [asyncio.create_task(_hold_one(port, kind, counts)) for kind in kinds]
    await ended.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return counts


class Holder:
    """The process that holds the connections; it prints ``counts`` at its end."""

    def __init__(self, port: int, number: int) -> None:
        self.counts = ""
        self._command = [sys.executable, "-m", "tests.security.slow", "--hold", str(port)]
        self._command += ["--connections", str(number)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self.counts = self._process.communicate(timeout=TIMEOUT_SECONDS)[0]


def _connections(pid: int) -> int:
    """The number of sockets that a process has open."""
    links = Path(f"/proc/{pid}/fd").iterdir()
    return sum("socket:" in str(link.readlink()) for link in links if link.is_symlink())


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def _measure(server: Server, number: int, seconds: float, rounds: int) -> None:
    connection = await Connection.open(server.port)
    await register(connection, USER)
    connection.close()
    ratios: list[float] = []
    held: list[int] = []
    await p99_of_reads(server.port, 1)
    before = most = _resident_mib(server.pid)
    for _ in range(rounds):
        idle = await p99_of_reads(server.port, seconds)
        with Holder(server.port, number) as holder:
            await asyncio.sleep(2 * DRIP_SECONDS)
            ratios.append(await p99_of_reads(server.port, seconds) / idle)
            held.append(_connections(server.pid))
            most = max(most, _resident_mib(server.pid))
        await asyncio.sleep(DRIP_SECONDS)
    _print("connections held at the end of a round", str(median(held)))
    _print("p99 of reads, over that when idle", f"{median(ratios):.2f}")
    _print("least and greatest of the rounds", f"{min(ratios):.2f} to {max(ratios):.2f}")
    _print("memory, MiB before and at most", f"{before:.0f}, {most:.0f}")
    _print("connections of the last round", holder.counts.strip())


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.security.slow", description=__doc__)
    parser.add_argument("--connections", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hold", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if options.hold:
        counts = asyncio.run(_hold(options.hold, options.connections))
        print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))  # noqa: T201
        return 0
    with TemporaryDirectory() as name, Server(Path(name) / "data", 1, by_serve) as server:
        _print("machine", describe_machine(Path(name)))
        asyncio.run(_measure(server, options.connections, options.seconds, options.rounds))
    return 0


def _print(name: str, figure: str) -> None:
    print(f"{name:44}{figure}", flush=True)  # noqa: T201 - it prints its figures


if __name__ == "__main__":
    sys.exit(main())
