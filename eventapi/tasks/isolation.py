"""Child processes import nothing from the working directory."""

from __future__ import annotations

import os
import sys
from typing import Final

_SAFE_PATH: Final = "PYTHONSAFEPATH"


def isolate_children() -> None:
    """Keep the working directory off the module path of every process that this one starts.

    ``python -m`` and ``python -c`` put it first, so a ``secrets.py`` that lies there would run with
    the keys of the server. `multiprocessing` starts its processes by ``python -c``.
    """
    os.environ[_SAFE_PATH] = "1"


def original_environment() -> dict[str, str]:
    """The environment as this process was given it, for the same program to be started again."""
    return {
        name: text for name, text in os.environ.items() if name != _SAFE_PATH or sys.flags.safe_path
    }


def program(*arguments: str) -> list[str]:
    """The command that runs this program in a process of its own.

    A process list shows its arguments to every user of the machine: pass secrets in the environment.
    """
    return [sys.executable, "-P", "-m", "eventapi", *arguments]
