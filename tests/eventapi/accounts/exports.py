"""Read an export, and check it as an outsider does."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

CHECKER = Path(__file__).resolve().parents[3] / "docs" / "check.py"


class Exported(msgspec.Struct, frozen=True):
    """A line of an export; ``record`` has the bytes of the log's line."""

    record: msgspec.Raw
    personal: dict[str, Any] | None
    proof: str | None


def exported(content: bytes) -> list[Exported]:
    """The lines of an export."""
    assert content.endswith(b"\n")
    return [msgspec.json.decode(line, type=Exported) for line in content.split(b"\n")[:-1]]


def records_in(content: bytes) -> list[bytes]:
    """The lines of the log in an export."""
    return [bytes(one.record) for one in exported(content)]


def checker() -> ModuleType:
    """The checker that was written from the documents alone."""
    spec = importlib.util.spec_from_file_location("check", CHECKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(vkey: str, file: Path) -> str:
    """Run the checker on an export; return what it prints."""
    done = subprocess.run(
        [sys.executable, CHECKER, "export", vkey, file], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr
