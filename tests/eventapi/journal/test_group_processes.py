"""Groups of commands that several processes write at once, some of which are killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.eventapi.harness import Storage, open_harness
from tests.eventapi.journal.group_worker import SIZE, write_group
from tests.eventapi.journal.test_processes import ROOT, replayed

KILLED = ("one", "two")


class GroupWorker:
    """A process that writes groups; its output is a file, which never blocks it."""

    def __init__(self, directory: Path, name: str) -> None:
        self._output = directory / f"{name}.out"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.eventapi.journal.group_worker", str(directory), name],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=output,
            )

    def acknowledged(self) -> dict[str, Any]:
        """The positions of each acknowledged group."""
        return dict(map(json.loads, self._output.read_bytes().splitlines()))

    def wait_for(self, count: int) -> None:
        """Wait until so many groups are acknowledged."""
        deadline = time.monotonic() + 30
        while len(self.acknowledged()) < count:
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.01)

    def stop(self) -> None:
        """End the process at the end of its input."""
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0


@contextmanager
def group_worker(directory: Path, name: str) -> Iterator[GroupWorker]:
    worker = GroupWorker(directory, name)
    with worker.process:
        try:
            yield worker
        finally:
            worker.process.kill()


def groups_of(lines: list[bytes]) -> dict[str, list[int]]:
    """The positions of the lines of each request."""
    found: dict[str, list[int]] = defaultdict(list)
    for line in map(json.loads, lines):
        if "requestid" in line:
            found[line["requestid"]].append(int(line["id"]))
    return found


def torn(groups: dict[str, list[int]]) -> dict[str, list[int]]:
    """The groups that are not whole, or whose lines are not one after another."""
    return {
        name: positions
        for name, positions in groups.items()
        if positions != list(range(positions[0], positions[0] + SIZE))
    }


@pytest.mark.long
@pytest.mark.parametrize("after", [3, 17, 40])
async def test_killed_processes_leave_only_whole_groups(tmp_path: Path, after: int) -> None:
    with ExitStack() as stack:
        workers = [
            stack.enter_context(group_worker(tmp_path, name)) for name in (*KILLED, "survivor")
        ]
        for worker in workers[: len(KILLED)]:
            worker.wait_for(after)
            worker.process.kill()
        workers[-1].stop()
    acknowledged = {
        name: positions for worker in workers for name, positions in worker.acknowledged().items()
    }

    storage = Storage("jsonl", tmp_path)
    groups = groups_of(await storage.lines())
    assert torn(groups) == {}
    assert acknowledged.items() <= groups.items()
    async with open_harness(storage) as harness:
        name = min(acknowledged)
        again = await write_group(harness.journal, name)
        assert [one.record.position for one in again] == acknowledged[name]
        state = await asyncio.to_thread(replayed, tmp_path)
        assert (await harness.state()).digest() == state.digest()


def test_control_a_group_in_part_is_found() -> None:
    whole = list(range(4, 4 + SIZE))
    groups = {"whole": whole, "short": whole[1:], "split": [*whole[:-1], whole[-1] + 1]}
    assert torn(groups).keys() == {"short", "split"}
