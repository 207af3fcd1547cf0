"""The journal in real processes over one directory, one of which may be killed."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from eventapi.testing.items import ITEMS
from events.log.file.log import JsonlLog
from events.sealing import Keyring
from events.vault.sqlite import SqliteVault
from projections.replay import replay
from projections.state import State

ROOT = Path(__file__).parents[3]
Process = subprocess.Popen[str]


@contextmanager
def worker(directory: Path) -> Iterator[Process]:
    """A process that has started; at the end it is asked to stop, and must do so cleanly."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.eventapi.journal.worker", str(directory)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert heard(process) == "ready"
            yield process
            if process.stdin is not None:
                process.stdin.close()
            process.wait(timeout=60)
        finally:
            process.kill()
    assert process.returncode in {0, -signal.SIGKILL}


def tell(process: Process, *what: object) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(what) + "\n")
    process.stdin.flush()


def heard(process: Process) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def ask(process: Process, *what: object) -> Any:
    tell(process, *what)
    return heard(process)


def acknowledged(process: Process) -> list[tuple[int, str, float]]:
    """Position, subject and duration of every write up to the end of the writing."""
    writes = []
    while (write := heard(process)) is not None:
        writes.append(tuple(write))
    return writes


def replayed(directory: Path) -> State:
    """Fold the files again."""

    async def run() -> State:
        log, vault = JsonlLog(directory / "events.jsonl"), SqliteVault(directory / "vault.sqlite")
        async with log.exclusive(5):
            pass
        state = await replay(log, Keyring(), vault, ITEMS)
        await log.close()
        await vault.close()
        return state

    return asyncio.run(run())


def test_processes_that_write_at_the_same_time_agree(tmp_path: Path) -> None:
    """No number twice, no gap in the positions, no starved process, and equal states."""
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(tmp_path)) for _ in range(3)]
        ask(workers[0], "register", "ann")
        for process in workers:
            tell(process, "write", 240)
        writes = [write for process in workers for write in acknowledged(process)]
        assert sorted(position for position, _, _ in writes) == list(range(2, 722))
        assert len({subject for _, subject, _ in writes}) == 720
        assert max(duration for _, _, duration in writes) < 4.5
        first, *others = [ask(process, "sums") for process in workers]
        assert others == [first, first]
        state = replayed(tmp_path)
    assert [state.digest(), state.checksum()] == first


def test_each_name_is_registered_by_one_of_several_processes(tmp_path: Path) -> None:
    names = [f"user{number}" for number in range(30)]
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(tmp_path)) for _ in range(3)]
        for process in workers:
            tell(process, "register", *names)
        answers = [heard(process) for process in workers]
    for positions in zip(*answers, strict=True):
        assert sum(position > 0 for position in positions) == 1
    assert len(replayed(tmp_path).users.by_id) == 30


def test_read_sees_a_write_that_another_process_acknowledged(tmp_path: Path) -> None:
    with worker(tmp_path) as one, worker(tmp_path) as other:
        for number in range(1, 51):
            writer, reader = (one, other) if number % 2 else (other, one)
            assert ask(writer, "register", f"user{number}") == [number]
            assert ask(reader, "position") == number


@pytest.mark.parametrize("after", [1, 40, 200])
def test_killed_process_loses_no_acknowledged_write(tmp_path: Path, after: int) -> None:
    """Other processes are not affected: the next write of one works at once."""
    with worker(tmp_path) as survivor:
        ask(survivor, "register", "ann")
        with worker(tmp_path) as victim:
            tell(victim, "write", 100_000)
            writes = [heard(victim) for _ in range(after)]
            victim.kill()
            assert victim.stdout is not None
            writes += [json.loads(line) for line in victim.stdout.read().splitlines()]
        (next_one,) = ask(survivor, "register", "bob")
        assert next_one > max(position for position, _, _ in writes)
        state = replayed(tmp_path)
        assert [state.digest(), state.checksum()] == ask(survivor, "sums")
    for position, subject, _ in writes:
        assert state["items"].by_id[int(subject.partition("/")[2])].version == position
