"""The oracle: compare what the script reported with what a fresh start finds."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec

from eventapi.testing.items import ITEMS
from events.log.file.log import JsonlLog
from events.sealing import Keyring
from events.vault.sqlite import SqliteVault
from events.verification.verify import verify
from projections.replay import replay
from tests.end_to_end.log_reader import Log, read_log
from tests.fault_injection.faults.script import open_journal


class SentWrite(msgspec.Struct):
    """A write of ``size`` events: acknowledged at ``positions``, refused, or neither."""

    size: int
    positions: list[int] = []
    refusal: str = ""


class Ledger:
    """The state that the reports of one or more runs over a directory imply."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.sent: dict[str, SentWrite] = {}
        self.tracebacks: list[str] = []
        self.started = False
        self.ended = ""
        self.closed = False
        self.snapshot_failed = False
        self.closing_failed = False
        for line in lines:
            self._add(line)

    def _add(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        name, _, more = rest.partition(" ")
        if verb == "sent":
            self.sent[name] = SentWrite(int(more))
        elif verb == "acked":
            self.sent[name].positions = [int(position) for position in more.split()]
        elif verb == "refused":
            self.sent[name].refusal = more
        elif verb == "traceback":
            self.tracebacks.append(rest)
        elif verb == "ended":
            self.ended = rest
        self.started |= verb == "started"
        self.closed |= verb == "closed"
        self.snapshot_failed |= verb == "snapshot_failed"
        self.closing_failed |= verb == "closing_failed"

    @property
    def refusals(self) -> list[str]:
        """The error types of the refusals, in order."""
        return [sent.refusal for sent in self.sent.values() if sent.refusal]

    def compare(self, log: Log) -> list[str]:
        """Return the differences between the reports and the log."""
        found = [f"chain: {fault}" for fault in log.faults]
        positions = defaultdict(list)
        for line in log.lines:
            if line.requestid:
                positions[line.requestid].append(line.position)
        for name, sent in self.sent.items():
            at = positions.pop(name, [])
            if sent.positions and at != sent.positions:
                found.append(
                    f"lost: {name} was acknowledged at {sent.positions}, is in the log at {at}"
                )
            elif sent.refusal and at:
                found.append(
                    f"invented: {name} was refused ({sent.refusal}), is in the log at {at}"
                )
            elif len(at) not in {0, sent.size}:
                found.append(f"halved: {name} of {sent.size} events is in the log at {at}")
        found += [f"invented: {name} is in the log at {at}" for name, at in positions.items()]
        return found


def check(directory: Path, ledger: Ledger) -> list[str]:
    """Open a directory as a new process does; return the findings."""
    log_path = directory / "events.jsonl"
    sums = asyncio.run(_sums_of_start(directory))
    found = ledger.compare(read_log(log_path))
    if not verify(log_path, vocabulary=ITEMS, processes=1).ok:
        found.append("started on a damaged log")
    if asyncio.run(_sums_of_replay(directory)) != sums:
        found.append("a fold from zero has another state")
    return found


async def _sums_of_start(directory: Path) -> tuple[str, str]:
    async with open_journal(directory, "check") as (journal, _):
        state = await journal.state()
        return state.digest(), state.checksum()


async def _sums_of_replay(directory: Path) -> tuple[str, str]:
    """Digest and checksum of a replay of the log alone."""
    log, vault = JsonlLog(directory / "events.jsonl"), SqliteVault(directory / "vault.sqlite")
    try:
        state = await replay(log, Keyring(), vault, ITEMS)
    finally:
        await vault.close()
        await log.close()
    return state.digest(), state.checksum()
