"""Whoever has the contract can check a log, in any language: here in some lines for Node."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.whole.server import ROOT, Server
from tests.whole.workers import try_out
from tests.whole.workload import Load

VERIFIER = ROOT / "docs" / "verify-chain.mjs"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="needs node: apt-get install nodejs")


def verify(log: Path) -> subprocess.CompletedProcess[str]:
    """Run the verifier on a file."""
    arguments = [NODE or "node", str(VERIFIER), str(log)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that a real server wrote."""
    data = tmp_path_factory.mktemp("node") / "data"
    with Server(data, 2) as server:
        load = Load([server.port], server.log, server.workers, clients=8, users=2, seconds=1.0)
        assert not try_out([server], load).verdict.guilt
    return server.log


def test_node_confirms_a_log_that_a_server_wrote(log: Path) -> None:
    lines = log.read_bytes().splitlines()
    head = lines[-1][-66:-2].decode()
    found = verify(log)
    assert found.stdout == f"{len(lines)} lines, head {head}\n", found.stderr
    assert found.returncode == 0


def flipped_bit(content: bytes) -> bytes:
    """One bit in the middle."""
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


def flipped_newline(content: bytes) -> bytes:
    """One bit in the last newline."""
    return content[:-1] + b"\x0b"


def missing_line(content: bytes) -> bytes:
    """A line less, in the middle."""
    lines = content.splitlines(keepends=True)
    return b"".join(lines[:3] + lines[4:])


def torn_line(content: bytes) -> bytes:
    """The last line only in part."""
    return content[:-20]


@pytest.mark.parametrize("damage", [flipped_bit, flipped_newline, missing_line, torn_line])
def test_node_finds_damage(log: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """The control: it names the line and says no."""
    damaged = tmp_path / "events.jsonl"
    damaged.write_bytes(damage(log.read_bytes()))
    found = verify(damaged)
    assert found.returncode == 1
    assert found.stderr.startswith("line "), found.stderr
    assert not found.stdout
