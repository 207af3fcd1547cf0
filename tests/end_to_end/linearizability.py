"""Whether it was as if there had been one server that did one thing at a time.

The log is the one order of all writes, so the question is decided exactly and nearly in linear
time. A write takes effect at its position. A read, or a refusal, takes effect at some position at
which the log adds up to what it saw. If one operation ended before another began, then it took
effect first. Every read is given the earliest position that this leaves open; where there is none,
it is guilty, and since earlier choices only leave more open, no other choice would have saved it.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import StrEnum

import msgspec

from tests.end_to_end.fold import Fold, Standing
from tests.end_to_end.history import READS, Fate, Kind, Operation
from tests.end_to_end.written import Line, Log

SHOWN = 12
"""How many findings are told in full."""

_TYPES = {
    Kind.CREATE: "item.created",
    Kind.PATCH: "item.updated",
    Kind.DELETE: "item.deleted",
}


class Guilt(StrEnum):
    """What can be wrong."""

    STALE = "stale reads"
    FUTURE = "reads of what was not yet written"
    FALSE = "reads of what never was"
    LOST = "lost writes"
    DOUBLED = "doubled writes"
    INVENTED = "invented writes"
    MISTOLD = "writes not as told"
    REORDERED = "reordered writes"
    ERRORS = "errors"
    CHAIN = "faults of the chain"


class Verdict(msgspec.Struct):
    """The figures: how many operations of what sort, and what is wrong with how many."""

    counts: Counter[str]
    guilt: Counter[Guilt]
    findings: list[str]

    def blame(self, guilt: Guilt, what: str) -> None:
        """Count a finding."""
        self.guilt[guilt] += 1
        if len(self.findings) < SHOWN:
            self.findings.append(f"{guilt}: {what}")

    def __str__(self) -> str:
        rows = [*self.counts.items(), *((guilt, self.guilt[guilt]) for guilt in Guilt)]
        table = "\n".join(f"{name:<36}{count:>10,}" for name, count in rows)
        return "\n".join((table, *self.findings))


def judge(
    operations: Collection[Operation],
    log: Log,
    killed: Collection[int] = (),
    excused: Collection[int] = (),
    *,
    asked: bool = False,
) -> Verdict:
    """Compare what clients saw with what the log says.

    All writes on items whose request id is not empty must be among the operations. A connection
    may break only where the process at its other end was ``killed``. Answers with an ``excused``
    status are no errors, but must have had no effect. With ``asked``, a read need not be newer than
    the position that it asked for: so it is promised where servers share no more than a database.
    """
    return _Judge(operations, log, killed, excused, asked).verdict


class _Judge:
    def __init__(
        self,
        operations: Collection[Operation],
        log: Log,
        killed: Collection[int],
        excused: Collection[int],
        asked: bool,
    ) -> None:
        self._asked = asked
        self.verdict = Verdict(_figures(operations), Counter(), [])
        self._lines = log.lines
        self._fold = Fold(log.lines)
        for fault in (*log.faults, *self._fold.faults):
            self.verdict.blame(Guilt.CHAIN, fault)
        self._ends = [0, *(line.end for line in log.lines)]
        self._begun = self._begins(operations)
        self._written = self._ledger(operations)
        self._errors(operations, killed, excused)
        self._sweep(operations)

    def _begins(self, operations: Iterable[Operation]) -> list[int]:
        """By position: when the last of the writes up to there began; none can be seen earlier."""
        starts = {operation.requestid: operation.start for operation in operations}
        begun = [0]
        for line in self._lines:
            begun.append(max(begun[-1], starts.get(line.requestid, 0)))
        return begun

    def _ledger(self, operations: Iterable[Operation]) -> dict[str, Line]:
        """Hold every write against the log; the lines of those that may be in it, by request."""
        lines: defaultdict[str, list[Line]] = defaultdict(list)
        for line in self._lines:
            if line.item:
                lines[line.requestid].append(line)
        found: dict[str, Line] = {}
        for operation in operations:
            if operation.kind not in READS:
                own = lines.pop(operation.requestid, [])
                if self._is_once(operation, own):
                    found[operation.requestid] = own[0]
                    self._compare(operation, own[0])
        for requestid, own in lines.items():
            if requestid:
                self.verdict.blame(Guilt.INVENTED, f"nobody sent {own}")
        return found

    def _is_once(self, operation: Operation, lines: Sequence[Line]) -> bool:
        """Whether a write is in the log, as it may be; blamed where it is as it must not be."""
        if len(lines) > 1:
            self.verdict.blame(Guilt.DOUBLED, f"{operation} is at {lines}")
        elif lines and operation.fate is not Fate.UNKNOWN and not operation.succeeded:
            self.verdict.blame(Guilt.INVENTED, f"{operation} is at {lines}")
        elif lines:
            return True
        elif operation.succeeded:
            self.verdict.blame(Guilt.LOST, str(operation))
        return False

    def _compare(self, operation: Operation, line: Line) -> None:
        """The line of a write must say what was sent, and the answer what the line says."""
        sent = (_TYPES[operation.kind], operation.owner, operation.changes)
        said = (line.type, line.actor, line.personal)
        before = self._fold.item(line.item, line.position - 1)
        after = self._fold.item(line.item, line.position)
        right = said == sent and operation.if_match in {None, before.version}
        if operation.kind is not Kind.CREATE:
            right = right and operation.item == line.item
        if operation.succeeded:
            told = (operation.item, operation.position, operation.version, operation.seen)
            version = 0 if after.content is None else line.position
            right = right and told == (line.item, line.position, version, after.content)
        if not right:
            self.verdict.blame(Guilt.MISTOLD, f"{operation} is {line}")

    def _errors(
        self, operations: Iterable[Operation], killed: Collection[int], excused: Collection[int]
    ) -> None:
        for operation in operations:
            broken = operation.fate is Fate.UNKNOWN and operation.worker not in killed
            failed = operation.failed and operation.status not in excused
            if failed or broken:
                self.verdict.blame(Guilt.ERRORS, str(operation))

    def _sweep(self, operations: Iterable[Operation]) -> None:
        """Give every operation its position, in the order in which they began."""
        floor = 0
        ended: list[tuple[int, int]] = []
        for operation in sorted(operations, key=lambda operation: operation.start):
            while ended and ended[0][0] < operation.start:
                floor = max(floor, heapq.heappop(ended)[1])
            line = self._written.get(operation.requestid)
            if line is not None:
                position = self._place_write(operation, line, floor)
            elif operation.refused or (operation.succeeded and operation.kind in READS):
                position = self._place_read(operation, operation.least if self._asked else floor)
                if self._asked:
                    continue
            else:
                continue
            if position and operation.fate is Fate.ANSWERED:
                heapq.heappush(ended, (operation.end, position))

    def _place_write(self, operation: Operation, line: Line, floor: int) -> int:
        if operation.fate is Fate.ANSWERED and line.end > operation.written:
            self.verdict.blame(Guilt.FUTURE, f"answered before it was written: {operation}")
        if line.position <= floor:
            self.verdict.blame(Guilt.REORDERED, f"{floor} was known before {operation}")
            return 0
        return line.position

    def _place_read(self, operation: Operation, floor: int) -> int:
        accepts = _expectation(operation)
        timeline = self._fold.timeline(operation)
        position = timeline.first(floor, accepts)
        if position is not None and self._could_know(operation, position):
            return position
        earliest = timeline.first(0, accepts)
        if earliest is not None and earliest < floor:
            self.verdict.blame(Guilt.STALE, f"at {floor} or later: {operation}")
        else:
            guilt = Guilt.FALSE if position is None else Guilt.FUTURE
            self.verdict.blame(guilt, f"not before {position}: {operation}")
        return 0

    def _could_know(self, operation: Operation, position: int) -> bool:
        """Whether what stands up to there was begun, and in the file, when the answer came."""
        begun, end = self._begun[position], self._ends[position]
        return begun <= operation.end and end <= operation.written


def _expectation(operation: Operation) -> Callable[[Standing], bool]:
    """How things must have stood for the answer to be right."""
    if operation.kind is Kind.LIST:
        rows = sorted(operation.rows)
        mark = sum(hash(row) for row in rows)
        return lambda standing: standing.version == mark and operation.rows == rows
    if operation.status == 404:
        return lambda standing: standing.content is None
    if operation.status == 412:
        return lambda standing: (
            standing.content is not None and standing.version != operation.if_match
        )
    seen = Standing(operation.version, operation.seen)
    return lambda standing: standing == seen


def _figures(operations: Iterable[Operation]) -> Counter[str]:
    """How many operations of what sort."""
    counts: Counter[str] = Counter()
    for operation in operations:
        counts["operations"] += 1
        counts["reads" if operation.kind in READS else "writes"] += 1
        if operation.kind not in READS and operation.succeeded:
            counts["writes acknowledged"] += 1
        if operation.refused:
            counts["refused"] += 1
        if operation.fate is not Fate.ANSWERED:
            counts[operation.fate] += 1
    return counts
