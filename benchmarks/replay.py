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
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks import goals, report
from benchmarks.machine import command_line_of_part, context, rounds_within, two_cores
from benchmarks.results import Replay, Results, Whole, keep
from benchmarks.sample_log import write
from benchmarks.verify import time_verify
from eventapi.resources.registry import load_registry
from events.log.file.log import JsonlLog
from events.sealing import Keyring
from events.vault.sqlite import SqliteVault
from events.vocabulary.vocabulary import Vocabulary
from projections.replay import replay
from projections.snapshots import Snapshots
from projections.state import State

LINES_PER_RUN = 256  # lines decoded at once, as a log reads them

T = TypeVar("T")

parse_dict = msgspec.json.Decoder(dict).decode


def measure_cpu(work: Callable[[], T]) -> tuple[float, T]:
    """Return the CPU seconds of some work, and its result."""
    started = time.process_time()
    done = work()
    return time.process_time() - started, done


async def fold(folder: Path, keyring: Keyring, vocabulary: Vocabulary) -> State:
    """Fold the log of a folder from zero."""
    log, vault = JsonlLog(folder / "events.jsonl"), SqliteVault(folder / "vault.sqlite")
    state = await replay(log, keyring, vault, vocabulary)
    await vault.close()
    await log.close()
    return state


def runs_of(log: Path) -> Iterator[list[bytes]]:
    """The lines of a log in runs, because a large log does not fit into memory."""
    with log.open("rb") as file:
        while run := list(islice(file, LINES_PER_RUN)):
            yield run


def decode_all(vocabulary: Vocabulary, run: bytes) -> None:
    """Decode lines into records, and free them."""
    vocabulary.parse_all(run)


def parse_each(lines: list[bytes]) -> None:
    """Parse each line into a dict, and free it."""
    for line in lines:
        parse_dict(line)


def measure(folder: Path, vocabulary: Vocabulary) -> Whole:
    """Measure everything once, in this process; the snapshot stays beside the log."""
    keyring, snapshots = Keyring(), Snapshots(folder / "snapshots", vocabulary)
    replayed, state = measure_cpu(lambda: asyncio.run(fold(folder, keyring, vocabulary)))
    wrote, size = measure_cpu(lambda: snapshots.write(state, keyring, secrets.token_bytes))
    position, state = state.position, State.empty(vocabulary)
    gc.disable()  # As in a start of the server.
    loaded, found = measure_cpu(lambda: snapshots.newest(keyring, position=position))
    gc.enable()
    if found is None:
        raise SystemExit("the written snapshot was not accepted")
    del found
    decoded = parsed = 0.0
    for run in runs_of(folder / "events.jsonl"):
        decoded += measure_cpu(partial(decode_all, vocabulary, b"".join(run)))[0]
        parsed += measure_cpu(partial(parse_each, run))[0]
    return Whole(
        lines=position,
        replay=replayed,
        decode=decoded,
        parse=parsed,
        verify=time_verify(folder / "events.jsonl", processes=1, vocabulary=vocabulary),
        write=wrote,
        load=loaded,
        snapshot=size,
    )


def measure_in_process(folder: Path, core: int, *resources: str) -> Whole:
    """Measure everything once, in a new process on one core; ``resources`` are modules."""
    command = ["taskset", "--cpu-list", str(core), sys.executable, "-m", "benchmarks.replay"]
    command += ["--measure", str(folder), "--resources", ",".join(resources)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=Whole)


def main() -> None:
    """Measure with the options of the command line, print the table, and check the goals."""
    parser = command_line_of_part("replay", __doc__, minutes=2)
    parser.add_argument("--events", type=int)
    parser.add_argument("--measure", type=Path, metavar="DIR", help="measure this log once")
    parser.add_argument("--resources", default="", metavar="MODULE", help="of that log")
    options = parser.parse_args()
    if options.measure:
        vocabulary = load_registry(tuple(filter(None, [options.resources]))).vocabulary
        sys.stdout.buffer.write(msgspec.json.encode(measure(options.measure, vocabulary)))
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
