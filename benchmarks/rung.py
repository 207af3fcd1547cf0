"""The ladder: every server that is measured, from the floor up, one row each.

A further server is a further row. One that needs something started beside it, such as a database,
is a subclass of `Rung` that overrides `running`.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.process import HOST, free_port, serving


@dataclass(frozen=True)
class Rung:
    """How to start a server; `{port}` and `{data}` are filled in in the command and environment."""

    name: str
    about: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stateful: bool = True
    """Whether it keeps users and items, and so is filled first and needs a real token."""

    @contextmanager
    def running(self, folder: Path, core: int) -> Iterator[str]:
        """Run the server over the data in `folder`; yields its base URL."""
        port = free_port()
        data = folder / "data"
        command = [part.format(port=port, data=data) for part in self.command]
        environment = {
            name: value.format(port=port, data=data) for name, value in self.environment.items()
        }
        with serving(command, environment, port, core, folder) as base_url:
            yield base_url


def uvicorn(app: str, *options: str) -> tuple[str, ...]:
    """One uvicorn worker with the fast loop and parser."""
    command = (sys.executable, "-m", "uvicorn", app, "--host", HOST, "--port", "{port}")
    return (*command, "--loop", "uvloop", "--http", "httptools", *options)


EVENTAPI = (
    *(sys.executable, "-m", "eventapi", "serve"),
    *("--host", HOST, "--port", "{port}", "--data", "{data}"),
)

RUNGS = (
    Rung(
        "asgi",
        "bare ASGI on uvicorn",
        uvicorn("benchmarks.rungs.bare_asgi:app", "--no-access-log", "--lifespan", "off"),
        stateful=False,
    ),
    Rung(
        "litestar",
        "bare Litestar on uvicorn",
        uvicorn("benchmarks.rungs.bare_litestar:app", "--no-access-log"),
        stateful=False,
    ),
    Rung(
        "eventapi",
        "eventapi serve as in production, rate limits off",
        EVENTAPI,
        # The limits count one caller, and the load is one caller.
        {"EVENTAPI_RATE_LIMIT": "off", "EVENTAPI_RATE_LIMIT_LOGIN": "off"},
    ),
    Rung(
        "peer",
        "the service it replaces, on uvicorn as installed",
        uvicorn("benchmarks.peer.main:app"),
        {"PEER_DATA": "{data}"},
    ),
)
