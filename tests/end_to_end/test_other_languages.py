"""A replayer in Node, written from docs/log-format.md, verifies and folds logs."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from eventapi.testing.given import Happened
from eventapi.testing.items import ITEMS, empty_state
from eventapi.testing.sample_log import write
from eventapi.testing.strategies import sound_histories
from events.codec import decode
from events.sealing import Keyring
from events.transparency.merkle import leaf_hash, root_of
from tests.end_to_end.server import ROOT, Server
from tests.end_to_end.workers import run_trial
from tests.end_to_end.workload import Load

REPLAYER = ROOT / "docs" / "replay.mjs"
FORMAT = ROOT / "docs" / "log-format.md"
GOLDEN = ROOT / "tests" / "data" / "golden-v1.jsonl"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="needs node: apt-get install nodejs")


def node(log: Path, position: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the replayer on a file, up to a position."""
    arguments = [NODE or "node", str(REPLAYER), str(log)]
    arguments += [] if position is None else [str(position)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)


def expected_output(lines: list[bytes]) -> str:
    """The output that the replayer must print for these lines."""
    state = empty_state()
    for record in decode(lines, Keyring(), ITEMS):
        state.apply(record)
    return f"{state.position} {state.last.hash.hex()} {state.digest()}\n"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that a real server wrote."""
    data = tmp_path_factory.mktemp("node") / "data"
    with Server(data, 2) as server:
        load = Load([server.port], server.log, server.workers, clients=8, users=2, seconds=1.0)
        assert not run_trial([server], load).verdict.violations
    return server.log


def test_node_folds_a_server_s_log_to_the_same_digest(log: Path) -> None:
    lines = log.read_bytes().splitlines()
    found = node(log)
    assert found.stdout == expected_output(lines), found.stderr
    assert found.returncode == 0
    half = len(lines) // 2
    assert node(log, half).stdout == expected_output(lines[:half])


@given(sound_histories(max_size=60))
@settings(max_examples=40, deadline=None)
def test_node_folds_any_history_to_the_same_digest(history: list[Happened]) -> None:
    """With every event type, in any order that commands allow."""
    lines = write(history).lines
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(b"".join(line + b"\n" for line in lines))
        file.flush()
        found = node(Path(file.name))
    assert found.stdout == expected_output(lines), found.stderr


def vectors() -> list[tuple[int, str, str, str]]:
    """The test vectors of the document."""
    rows = re.findall(
        r"^\| (\d+) \| ([0-9a-f]{64}) \| ([0-9a-f]{64}) \| ([0-9a-f]{64}) \|$",
        FORMAT.read_text(),
        re.MULTILINE,
    )
    return [(int(position), head, root, digest) for position, head, root, digest in rows]


def test_vectors_of_the_document_hold_in_python_and_node() -> None:
    assert len(vectors()) == 3
    lines = GOLDEN.read_bytes().splitlines()
    for position, head, root, digest in vectors():
        expected = f"{position} {head} {digest}\n"
        assert expected_output(lines[:position]) == expected
        assert node(GOLDEN, position).stdout == expected
        assert root_of([leaf_hash(line) for line in lines[:position]]).hex() == root


def flipped_bit(content: bytes) -> bytes:
    """Flip one bit in the middle."""
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


def flipped_newline(content: bytes) -> bytes:
    """Flip one bit in the last newline."""
    return content[:-1] + b"\x0b"


def missing_line(content: bytes) -> bytes:
    """Remove a line in the middle."""
    lines = content.splitlines(keepends=True)
    return b"".join(lines[:3] + lines[4:])


def torn_line(content: bytes) -> bytes:
    """Cut the last line."""
    return content[:-20]


@pytest.mark.parametrize("damage", [flipped_bit, flipped_newline, missing_line, torn_line])
def test_control_node_finds_damage(
    log: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    """Control: the replayer names the damaged line and exits with 1."""
    damaged = tmp_path / "events.jsonl"
    damaged.write_bytes(damage(log.read_bytes()))
    found = node(damaged)
    assert found.returncode == 1
    assert found.stderr.startswith("line "), found.stderr
    assert not found.stdout
