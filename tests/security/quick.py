"""A server with short deadlines and low limits, so that tests are fast.

`QUICK` in the environment sets constants of modules in `eventapi.server`: ``MODULE.NAME=NUMBER,...``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module

from tests.end_to_end.server import Command

VARIABLE = "QUICK"


def quick(*options: str) -> Command:
    """The command that starts such a server."""

    def command(port: int, workers: int) -> Sequence[str]:
        address = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
        return ["-m", "tests.security.quick", "serve", *address, *options]

    return command


def main() -> None:
    """Set the constants, then run the program."""
    for change in filter(None, os.environ.get(VARIABLE, "").split(",")):
        place, _, number = change.partition("=")
        module, _, name = place.partition(".")
        found = import_module(f"eventapi.server.{module}")
        kind: Callable[[str], float] = type(getattr(found, name))
        setattr(found, name, kind(number))
    import_module("eventapi.cli.main").main()


if __name__ == "__main__":
    main()
