"""A witness of another project, aics-witness, cosigns a log.

``make test-long`` installs it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from events.transparency.policy import Policy
from events.transparency.signed_note import TreeHead
from tests.end_to_end.server import free_port
from tests.end_to_end.waiting import wait_until
from tests.eventapi.followers.following import until
from tests.eventapi.witnesses.process import Instance
from tests.events.transparency.test_tree import LongLog

PROGRAM = Path(sys.executable).with_name("aics-witness")


class OtherWitness:
    """A witness in a process of its own; `start` after the log is known to it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._config = directory / "witness.json"
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.vkey = self.run("init", "--name", "witness.example.org/w1").strip()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, command: str, *arguments: str) -> str:
        line = [str(PROGRAM), command, "--config", str(self._config), *arguments]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout

    def start(self) -> None:
        listen = f"127.0.0.1:{self._port}"
        line = [str(PROGRAM), "serve", "--config", str(self._config), "--listen", listen]
        self._process = subprocess.Popen(line, stderr=subprocess.DEVNULL)
        wait_until(self._answers)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
            return True
        return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[OtherWitness]:
    other = OtherWitness(tmp_path / "witness")
    yield other
    other.stop()


def instance_of(data: Path, log: LongLog, witness: OtherWitness) -> Instance:
    policy = Policy.parse(f"witness w1 {witness.vkey} {witness.url}/\nquorum w1\n".encode())
    return Instance(data, log, policy)


async def test_another_implementation_cosigns_the_log_as_it_grows(
    tmp_path: Path, witness: OtherWitness, caplog: pytest.LogCaptureFixture
) -> None:
    instance = instance_of(tmp_path / "data", LongLog(300), witness)
    vkey = (await instance.checkpoints.verifier()).vkey
    witness.run("add-log", "--origin", vkey.partition("+")[0], "--vkey", vkey)
    witness.start()
    instance.start()
    for size in (300, 301, 512, 1_700):
        instance.log.extend(size)
        await instance.until_cosigned(size)
    await instance.stop()
    # Without the stored cosignature, the size comes from the witness.
    (tmp_path / "data" / "events.jsonl.cosigned").unlink()
    witness.stop()
    witness.start()
    again = instance_of(tmp_path / "data", LongLog(2_000), witness)
    again.start()
    note = await again.until_cosigned(2_000)
    await again.stop()
    assert TreeHead.parse(note).size == 2_000
    assert not any(failed for _, failed in instance.counts + again.counts)

    data = tmp_path / "data"
    for suffix in ("signed", "checkpoint", "cosigned"):
        (data / f"events.jsonl.{suffix}").unlink()
    log = LongLog(2_100)
    log.replace(7, b"another")
    changed = instance_of(data, log, witness)
    signer = (await changed.checkpoints.signing_state()).signer
    assert signer is not None
    await changed.checkpoints.tree.grow()
    root = await changed.checkpoints.tree.root(2_100)
    await changed.checkpoints.confirm(signer.sign(str(TreeHead(signer.verifier.name, 2_100, root))))
    changed.start()
    await until(lambda: any("contradicts this log" in one for one in caplog.messages))
    await changed.stop()
    assert await changed.cosigned() is None
    assert "2100" in witness.run("evidence")  # It keeps what it refused as a proof against the log.
