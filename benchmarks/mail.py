"""Measure what a dead mail server costs requests.

    python -m benchmarks.mail [--rounds N] [--seconds N] [--least RATIO]

The same server runs with a working mail server, with one that refuses connections, and with one
that accepts them and never answers; see `benchmarks.beside`. Each registration makes a mail, so
those of the dead servers wait during all workloads. Exits with 1 if a median is below ``--least``
(0.9).
"""

import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from benchmarks.beside import measure, print_ratios
from benchmarks.client import Client
from benchmarks.http import Bench
from benchmarks.machine import command_line, two_cores
from benchmarks.process import HOST, free_port
from benchmarks.rung import EVENTAPI, UNLIMITED, Rung
from benchmarks.workload import CREATE, READ, READER, Request, Target, Workload, fill_server
from tests.eventapi.mail.mailserver import mail_server

REGISTRATIONS = 3_000
"""More than one measurement can send; a name that comes twice would void it."""

_numbers = count(1)


def register(_: Target) -> list[Request]:
    """Register another user each time."""
    number = next(_numbers)
    return [
        Request(
            "POST",
            "/auth/register",
            {
                "username": f"user-{number}-{one}",
                "email": f"user-{number}-{one}@example.org",
                "password": READER.password,
            },
        )
        for one in range(REGISTRATIONS)
    ]


WORKLOADS = {Workload("register", "POST /auth/register", register): 4, CREATE: 32, READ: 32}
"""The workloads, and the connections of each."""


@contextmanager
def working() -> Iterator[int]:
    """A mail server that accepts every mail."""
    port = free_port()
    with mail_server(port):
        yield port


@contextmanager
def refusing() -> Iterator[int]:
    """A port on which nothing listens."""
    yield free_port()


@contextmanager
def silent() -> Iterator[int]:
    """A port whose connections are opened, and never answered."""
    with socket.create_server((HOST, 0)) as listener:
        yield int(listener.getsockname()[1])


MAIL_SERVERS = {"working": working, "refusing": refusing, "silent": silent}


def main() -> None:
    """Measure, and print the rates with each mail server, and their ratios to the working one."""
    parser = command_line("mail", __doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--least", type=float, default=0.9, help="the smallest permitted ratio")
    options = parser.parse_args()
    cores = two_cores("wrk")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch, ExitStack() as stack:
        bench = Bench(Path(scratch), cores, options.seconds)
        running = []
        for name, mails in MAIL_SERVERS.items():
            port = stack.enter_context(mails())
            url = {"EVENTAPI_MAIL_URL": f"smtp://{HOST}:{port}", "EVENTAPI_LOG_LEVEL": "error"}
            rung = Rung(name, name, EVENTAPI, {**UNLIMITED, **url})
            server = stack.enter_context(rung.running(bench.scratch / name, bench.cores))
            target = fill_server(stack.enter_context(Client(server.base_url)))
            running.append((name, server, target))
        rates = measure(bench, options.rounds, running, WORKLOADS)
    sys.exit(print_ratios(rates, "mail server", "working") < options.least)


if __name__ == "__main__":
    main()
