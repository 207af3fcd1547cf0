"""Keep child processes from importing modules of the working directory."""

from __future__ import annotations

import os
import sys
from typing import Final

_SAFE_PATH: Final = "PYTHONSAFEPATH"


def isolate_children() -> None:
    """Keep the working directory off the module path of every child process.

    ``python -m`` and ``python -c`` put it first, so a ``secrets.py`` in it would run with the keys
    of the server. `multiprocessing` starts its processes by ``python -c``.
    """
    os.environ[_SAFE_PATH] = "1"


def original_environment() -> dict[str, str]:
    """The environment that this process was started with, to start it again."""
    return {
        name: text for name, text in os.environ.items() if name != _SAFE_PATH or sys.flags.safe_path
    }


def program(*arguments: str) -> list[str]:
    """The command line that runs this program in another process.

    Every user of the machine can read it, so pass secrets in the environment.
    """
    return [sys.executable, "-P", "-m", "eventapi", *arguments]
