"""Measure what a dead or slow receiver of webhooks costs requests.

    python -m benchmarks.webhooks [--rounds N] [--seconds N] [--least RATIO]

The same server runs without a webhook, with one whose receiver refuses connections, and with one
whose receiver answers after a second; see `benchmarks.beside`. Each created item is an event for the
receiver, so all those events wait during all workloads. Exits with 1 if a median is below ``--least``
(0.97).
"""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.beside import measure, print_ratios
from benchmarks.client import Client, UnexpectedAnswerError, bearer
from benchmarks.http import Bench
from benchmarks.machine import command_line, two_cores
from benchmarks.process import HOST, Server, free_port
from benchmarks.rung import EVENTAPI, UNLIMITED, Rung
from benchmarks.workload import CREATE, READ, Target, fill_server
from benchmarks.wrk import LoadError

WORKLOADS = {CREATE: 32, READ: 32}
"""The workloads, and the connections of each."""

SLOW_SECONDS = 1.0
DELIVERY_SECONDS = 120
POLL_SECONDS = 0.2
LOCAL_RECEIVERS = {"EVENTAPI_WEBHOOK_PRIVATE_ADDRESSES": "on"}
SETTINGS = {**LOCAL_RECEIVERS, "EVENTAPI_LOG_LEVEL": "error"}


@contextmanager
def no_receiver() -> Iterator[None]:
    """No webhook at all."""
    yield None


@contextmanager
def dead() -> Iterator[int]:
    """A port on which nothing listens."""
    yield free_port()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # It keeps connections, as most servers do.
    seconds = 0.0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(self.seconds)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiver(seconds: float = SLOW_SECONDS) -> Iterator[int]:
    """A receiver that answers after some time."""
    handler = type("Handler", (_Handler,), {"seconds": seconds})
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


RECEIVERS = {"none": no_receiver, "dead": dead, "slow": receiver}


def create_webhook(client: Client, target: Target, data: Path, port: int) -> None:
    """Create a webhook for all events, as the reader, who becomes an operator."""
    grant = ("users", "grant", target.account.username, "operator")
    command = [sys.executable, "-m", "eventapi", "--data", str(data), *grant]
    subprocess.run(command, check=True, capture_output=True)
    body = {"url": f"http://{HOST}:{port}/"}
    answer = client.http.post("/api/v2/webhooks", json=body, headers=bearer(target.token))
    if answer.status_code != 201:
        raise UnexpectedAnswerError(f"POST /webhooks: {answer.status_code} {answer.text[:500]}")


def wait_for_deliveries(client: Client, target: Target) -> None:
    """Wait until every event was delivered; raises `LoadError` after a while."""
    deadline = time.monotonic() + DELIVERY_SECONDS
    while time.monotonic() < deadline:
        answer = client.http.get("/api/v2/webhooks", headers=bearer(target.token))
        if answer.is_success and not any(webhook["lag"] for webhook in answer.json()):
            return
        time.sleep(POLL_SECONDS)
    raise LoadError(f"events were not delivered within {DELIVERY_SECONDS} s")


def start(bench: Bench, name: str, stack: ExitStack) -> tuple[str, Server, Target]:
    """Start a server that delivers to a receiver."""
    port = stack.enter_context(RECEIVERS[name]())
    rung = Rung(name, name, EVENTAPI, {**UNLIMITED, **SETTINGS})
    folder = bench.scratch / name
    server = stack.enter_context(rung.running(folder, bench.cores))
    client = stack.enter_context(Client(server.base_url))
    target = fill_server(client)
    if port is not None:
        create_webhook(client, target, folder / "data", port)
    return name, server, target


def main() -> None:
    """Measure, and print the rates with each receiver, and their ratios to those without one."""
    parser = command_line("webhooks", __doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--least", type=float, default=0.97, help="the smallest permitted ratio")
    options = parser.parse_args()
    cores = two_cores("wrk")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch, ExitStack() as stack:
        bench = Bench(Path(scratch), cores, options.seconds)
        running = [start(bench, name, stack) for name in RECEIVERS]
        rates = measure(bench, options.rounds, running, WORKLOADS)
    sys.exit(print_ratios(rates, "receiver", "none") < options.least)


if __name__ == "__main__":
    main()
