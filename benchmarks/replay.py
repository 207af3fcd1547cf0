"""Measure replay, snapshots and verification of a log against msgspec, which only decodes it.

    python -m benchmarks.replay [--events N] [--rounds N] [--quick] [--minutes N] [--keep]

Every round is a separate process on one core, like a start of the server: it checks chain and seals
and builds the state, writes and loads a snapshot, and verifies the log. Seconds are CPU time, in
user and in system mode.
"""

import asyncio
import gc
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks import goals, report
from benchmarks.machine import command_line_of_part, context, rounds_within, two_cores
from benchmarks.results import Replay, Results, Whole, keep
from benchmarks.sample_log import write
from benchmarks.verify import time_verify
from eventapi.testing.items import ITEMS, empty_state
from events.log.file.log import JsonlLog
from events.sealing import Keyring
from events.vault.sqlite import SqliteVault
from projections.replay import replay
from projections.snapshots import Snapshots
from projections.state import State

LINES_PER_RUN = 256  # lines decoded at once, as a log reads them

T = TypeVar("T")


def measure_cpu(work: Callable[[], T]) -> tuple[float, T]:
    """Return the CPU seconds of some work, and its result."""
    started = time.process_time()
    done = work()
    return time.process_time() - started, done


async def fold(folder: Path, keyring: Keyring) -> State:
    """Fold the log of a folder from zero."""
    log, vault = JsonlLog(folder / "events.jsonl"), SqliteVault(folder / "vault.sqlite")
    state = await replay(log, keyring, vault, ITEMS)
    await vault.close()
    await log.close()
    return state


def measure(folder: Path) -> Whole:
    """Measure everything once, in this process; the snapshot stays beside the log."""
    keyring, snapshots = Keyring(), Snapshots(folder / "snapshots", ITEMS)
    replayed, state = measure_cpu(lambda: asyncio.run(fold(folder, keyring)))
    wrote, size = measure_cpu(lambda: snapshots.write(state, keyring, secrets.token_bytes))
    position, state = state.position, empty_state()
    gc.disable()  # As in a start of the server.
    loaded, found = measure_cpu(lambda: snapshots.newest(keyring, position=position))
    gc.enable()
    if found is None:
        raise SystemExit("the written snapshot was not accepted")
    del found
    lines = (folder / "events.jsonl").read_bytes().splitlines()
    runs = [
        b"\n".join(lines[at : at + LINES_PER_RUN]) + b"\n"
        for at in range(0, len(lines), LINES_PER_RUN)
    ]
    decoded, _ = measure_cpu(lambda: [None for run in runs if not ITEMS.parse_all(run)])
    decode = msgspec.json.Decoder(dict).decode
    parsed, _ = measure_cpu(lambda: [None for line in lines if not decode(line)])
    return Whole(
        lines=len(lines),
        replay=replayed,
        decode=decoded,
        parse=parsed,
        verify=time_verify(folder / "events.jsonl", processes=1),
        write=wrote,
        load=loaded,
        snapshot=size,
    )


def measure_in_process(folder: Path, core: int) -> Whole:
    """Measure everything once, in a new process on one core."""
    command = ["taskset", "--cpu-list", str(core), sys.executable, "-m", "benchmarks.replay"]
    done = subprocess.run([*command, "--measure", str(folder)], check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=Whole)


def main() -> None:
    """Measure with the options of the command line, print the table, and check the goals."""
    parser = command_line_of_part("replay", __doc__, minutes=2)
    parser.add_argument("--events", type=int)
    parser.add_argument("--measure", type=Path, metavar="DIR", help="measure this log once")
    options = parser.parse_args()
    if options.measure:
        sys.stdout.buffer.write(msgspec.json.encode(measure(options.measure)))
        return
    core, _ = two_cores()
    events = options.events or (50_000 if options.quick else 200_000)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        folder = Path(scratch) / "data"
        asyncio.run(write(folder, events))
        part = Replay(context(Path(scratch)))
        for number in rounds_within(options.rounds or (3 if options.quick else 5), options.minutes):
            part.rounds.append(measure_in_process(folder, core))
            part.context.rounds = number
    if options.keep:
        keep(part)
    print(report.replay(part).text())
    sys.exit(goals.judge(Results(replay=part)))


if __name__ == "__main__":
    main()
