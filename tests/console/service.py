"""A real server for browsers: invoices, shared lists, gauges, an auditor and an operator."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tests.end_to_end.server import ROOT, Server, by_serve

PASSWORD = "correct horse battery staple"
RESOURCES = "eventapi.examples.shop,eventapi.examples.todo,tests.console.gauges"
AUDITOR, OPERATOR = "eve-auditor", "olga-operator"


class Service(msgspec.Struct):
    """A running server; a browser gets its ``options``."""

    server: Server

    @property
    def options(self) -> dict[str, Any]:
        """The options of a flow."""
        return {"base": self.server.url, "auditor": AUDITOR, "operator": OPERATOR}


def serve(data: Path, port: int | None = None) -> Server:
    """A server over a data directory, on a port if one is given."""

    def command(free: int, workers: int) -> Sequence[str]:
        return by_serve(port or free, workers)

    settings = {"EVENTAPI_RESOURCES": RESOURCES, "EVENTAPI_WEBHOOK_PRIVATE_ADDRESSES": "off"}
    server = Server(data, 1, command, settings)
    server.port = port or server.port
    return server


@contextmanager
def service(data: Path) -> Iterator[Service]:
    """A server with users who have roles."""
    with serve(data) as server:
        for name, roles in {AUDITOR: ["auditor"], OPERATOR: ["operator"]}.items():
            register(server.url, name)
            for role in roles:
                grant(data, name, role)
        yield Service(server)


def register(url: str, name: str) -> None:
    """Make an account."""
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    httpx.post(f"{url}/api/v2/auth/register", json=body).raise_for_status()


def grant(data: Path, name: str, role: str) -> None:
    """Give a user a role, beside the running server."""
    subprocess.run(
        [sys.executable, "-m", "eventapi", "users", "grant", name, role],
        check=True,
        cwd=ROOT,
        env={
            "EVENTAPI_DATA": str(data),
            "EVENTAPI_RESOURCES": RESOURCES,
            "PYTHONPATH": str(ROOT),
            "PATH": "",
        },
        stdout=subprocess.DEVNULL,
    )
