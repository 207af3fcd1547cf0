"""What the script said that it sent and was told, held against what a fresh start finds."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec

from events.log.file.log import JsonlLog
from events.sealing import Keyring
from events.vault.sqlite import SqliteVault
from events.verification.verify import verify
from projections.replay import replay
from tests.end_to_end.written import Log, read_log
from tests.fault_injection.faults.script import opened


class Sent(msgspec.Struct):
    """A wish of ``size`` events: acknowledged at ``positions``, refused, or neither."""

    size: int
    positions: list[int] = []
    refusal: str = ""


class Ledger:
    """What the lines of one or more runs over a directory come to."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.sent: dict[str, Sent] = {}
        self.tracebacks: list[str] = []
        self.started = False
        self.ended = ""
        self.closed = False
        self.unsnapped = False
        for line in lines:
            self._take(line)

    def _take(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        name, _, more = rest.partition(" ")
        if verb == "sent":
            self.sent[name] = Sent(int(more))
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
        self.unsnapped |= verb == "unsnapped"

    @property
    def refusals(self) -> list[str]:
        """The kinds of the refusals, in their order."""
        return [sent.refusal for sent in self.sent.values() if sent.refusal]

    def wrongs(self, log: Log) -> list[str]:
        """What of it the log does not bear out."""
        found = [f"chain: {fault}" for fault in log.faults]
        positions = defaultdict(list)
        for line in log.lines:
            if line.requestid:
                positions[line.requestid].append(line.position)
        for name, sent in self.sent.items():
            at = positions.pop(name, [])
            if sent.positions and at != sent.positions:
                found.append(f"lost: {name} was acknowledged at {sent.positions}, is at {at}")
            elif sent.refusal and at:
                found.append(f"invented: {name} was refused ({sent.refusal}), is at {at}")
            elif len(at) not in {0, sent.size}:
                found.append(f"halved: {name} of {sent.size} events is at {at}")
        found += [f"invented: {name} is at {at}" for name, at in positions.items()]
        return found


def check(directory: Path, ledger: Ledger) -> list[str]:
    """Open a directory afresh, and tell what is wrong with it; nothing, after any fault."""
    log_path = directory / "events.jsonl"
    sums = asyncio.run(_started(directory))
    found = ledger.wrongs(read_log(log_path))
    if not verify(log_path).ok:
        found.append("started on a damaged log")
    if asyncio.run(_folded(directory)) != sums:
        found.append("a fold from zero comes to another state")
    return found


async def _started(directory: Path) -> tuple[str, str]:
    async with opened(directory, "check") as (journal, _):
        state = await journal.state()
        return state.digest(), state.checksum()


async def _folded(directory: Path) -> tuple[str, str]:
    """The sums of the state that the log alone comes to."""
    log, vault = JsonlLog(directory / "events.jsonl"), SqliteVault(directory / "vault.sqlite")
    try:
        state = await replay(log, Keyring(), vault)
    finally:
        await vault.close()
        await log.close()
    return state.digest(), state.checksum()
