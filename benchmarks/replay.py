"""Measure what is done with a whole log, against msgspec alone, which only decodes its lines.

    python -m benchmarks.replay [--events N] [--rounds N] [--quick] [--minutes N] [--keep]

Every round is a process of its own on one core, as a start of the server is: chain and seals are
checked, and the state is built; a snapshot is written and loaded again; the log is verified.
Seconds are those of the processor, the system's share included.
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
from benchmarks.verify import measured
from events.codec import parse_all
from events.log.file.log import JsonlLog
from events.sealing import Keyring
from events.vault.sqlite import SqliteVault
from projections.replay import replay
from projections.snapshots import Snapshots
from projections.state import State

RUN = 256  # lines that are decoded at once, as they are read from a log

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """How many seconds of the processor some work takes, and what it comes to."""
    started = time.process_time()
    done = work()
    return time.process_time() - started, done


async def folded(folder: Path, keyring: Keyring) -> State:
    """The state that the log of a folder adds up to, from zero."""
    log, vault = JsonlLog(folder / "events.jsonl"), SqliteVault(folder / "vault.sqlite")
    state = await replay(log, keyring, vault)
    await vault.close()
    await log.close()
    return state


def measure(folder: Path) -> Whole:
    """Do everything once, in this process; the snapshot stays beside the log."""
    keyring, snapshots = Keyring(), Snapshots(folder / "snapshots")
    replayed, state = timed(lambda: asyncio.run(folded(folder, keyring)))
    wrote, size = timed(lambda: snapshots.write(state, keyring, secrets.token_bytes))
    position, state = state.position, State.empty()
    gc.disable()  # As a start has it while it makes what stays.
    loaded, found = timed(lambda: snapshots.newest(keyring, position=position))
    gc.enable()
    if found is None:
        raise SystemExit("the snapshot that was written is not believed")
    del found
    lines = (folder / "events.jsonl").read_bytes().splitlines()
    runs = [b"\n".join(lines[at : at + RUN]) + b"\n" for at in range(0, len(lines), RUN)]
    decoded, _ = timed(lambda: [None for run in runs if not parse_all(run)])
    decode = msgspec.json.Decoder(dict).decode
    parsed, _ = timed(lambda: [None for line in lines if not decode(line)])
    return Whole(
        lines=len(lines),
        replay=replayed,
        decode=decoded,
        parse=parsed,
        verify=measured(folder / "events.jsonl", processes=1),
        write=wrote,
        load=loaded,
        snapshot=size,
    )


def measured_apart(folder: Path, core: int) -> Whole:
    """Do everything once, in a new process on one core."""
    command = ["taskset", "--cpu-list", str(core), sys.executable, "-m", "benchmarks.replay"]
    done = subprocess.run([*command, "--measure", str(folder)], check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=Whole)


def main() -> None:
    """Measure what the command line asks for, print it, and judge it."""
    parser = command_line_of_part("replay", __doc__, minutes=2)
    parser.add_argument("--events", type=int)
    parser.add_argument("--measure", type=Path, metavar="DIR", help="a log that is there, and once")
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
            part.rounds.append(measured_apart(folder, core))
            part.context.rounds = number
    if options.keep:
        keep(part)
    print(report.replay(part).text())
    sys.exit(goals.judge(Results(replay=part)))


if __name__ == "__main__":
    main()
