"""Check that a history of operations is linearizable, given the log.

The log is the total order of all writes, so the check is exact and takes nearly linear time:

* A write takes effect at its position in the log.
* A read or a refusal takes effect at some position where the fold of the log has the value it saw.
* If an operation ended before another began, it takes effect first.

The check gives every read the earliest position that these rules allow. If there is none, the read
violates linearizability. An earlier position leaves more choices for later operations, so no other
assignment could succeed where this one fails.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import StrEnum

import msgspec

from tests.end_to_end.fold import Fold, Value
from tests.end_to_end.history import READS, Kind, Operation, Outcome
from tests.end_to_end.log_reader import Line, Log

MAX_FINDINGS = 12
"""How many findings are kept with their details."""

_TYPES = {
    Kind.CREATE: "item.created",
    Kind.PATCH: "item.updated",
    Kind.DELETE: "item.deleted",
}


class Violation(StrEnum):
    """A kind of violation."""

    STALE = "stale reads"
    FUTURE = "reads of values not yet written"
    NEVER_WRITTEN = "reads of values never written"
    LOST = "lost writes"
    DUPLICATED = "duplicated writes"
    INVENTED = "invented writes"
    MISREPORTED = "misreported writes"
    REORDERED = "reordered writes"
    ERRORS = "errors"
    CHAIN = "faults of the hash chain"


class Verdict(msgspec.Struct):
    """Counts of operations by kind, and of violations, with the first findings."""

    counts: Counter[str]
    violations: Counter[Violation]
    findings: list[str]

    def report(self, kind: Violation, what: str) -> None:
        """Count a violation."""
        self.violations[kind] += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(f"{kind}: {what}")

    def __str__(self) -> str:
        rows = [*self.counts.items(), *((kind, self.violations[kind]) for kind in Violation)]
        table = "\n".join(f"{name:<36}{count:>10,}" for name, count in rows)
        return "\n".join((table, *self.findings))


def judge(
    operations: Collection[Operation],
    log: Log,
    killed: Collection[int] = (),
    expected_errors: Collection[int] = (),
    *,
    requested_positions: bool = False,
) -> Verdict:
    """Compare the operations of clients with the log.

    Every event of an item in the log with a request id must come from one of the operations. A
    connection may break only if its worker is in ``killed``. Responses with a status in
    ``expected_errors`` are not counted as errors, but must have had no effect.

    With ``requested_positions``, a read must be as new as its own ``min_position`` only. That is
    the promise where servers share nothing but a database.
    """
    return _Checker(operations, log, killed, expected_errors, requested_positions).verdict


class _Checker:
    def __init__(
        self,
        operations: Collection[Operation],
        log: Log,
        killed: Collection[int],
        expected_errors: Collection[int],
        requested_positions: bool,
    ) -> None:
        self._requested_positions = requested_positions
        self.verdict = Verdict(_count(operations), Counter(), [])
        self._lines = log.lines
        self._fold = Fold(log.lines)
        for fault in (*log.faults, *self._fold.faults):
            self.verdict.report(Violation.CHAIN, fault)
        self._ends = [0, *(line.end for line in log.lines)]
        self._begun = self._latest_starts(operations)
        self._written = self._match_writes(operations)
        self._check_errors(operations, killed, expected_errors)
        self._place_all(operations)

    def _latest_starts(self, operations: Iterable[Operation]) -> list[int]:
        """By position: the latest start of the writes up to it; reads see them later."""
        starts = {operation.requestid: operation.start for operation in operations}
        begun = [0]
        for line in self._lines:
            begun.append(max(begun[-1], starts.get(line.requestid, 0)))
        return begun

    def _match_writes(self, operations: Iterable[Operation]) -> dict[str, Line]:
        """Compare every write with the log; return the lines found, by request id."""
        lines: defaultdict[str, list[Line]] = defaultdict(list)
        for line in self._lines:
            if line.item:
                lines[line.requestid].append(line)
        found: dict[str, Line] = {}
        for operation in operations:
            if operation.kind not in READS:
                own = lines.pop(operation.requestid, [])
                if self._is_in_log(operation, own):
                    found[operation.requestid] = own[0]
                    self._compare(operation, own[0])
        for requestid, own in lines.items():
            if requestid:
                self.verdict.report(Violation.INVENTED, f"no client sent {own}")
        return found

    def _is_in_log(self, operation: Operation, lines: Sequence[Line]) -> bool:
        """Whether a write is in the log exactly once; report violations."""
        if len(lines) > 1:
            self.verdict.report(Violation.DUPLICATED, f"{operation} is at {lines}")
        elif lines and operation.outcome is not Outcome.UNKNOWN and not operation.succeeded:
            self.verdict.report(Violation.INVENTED, f"{operation} is at {lines}")
        elif lines:
            return True
        elif operation.succeeded:
            self.verdict.report(Violation.LOST, str(operation))
        return False

    def _compare(self, operation: Operation, line: Line) -> None:
        """Report a write whose line differs from its request or its response."""
        sent = (_TYPES[operation.kind], operation.owner, operation.changes)
        said = (line.type, line.actor, line.personal)
        before = self._fold.item(line.item, line.position - 1)
        after = self._fold.item(line.item, line.position)
        right = said == sent and operation.if_match in {None, before.version}
        if operation.kind is not Kind.CREATE:
            right = right and operation.item == line.item
        if operation.succeeded:
            answered = (operation.item, operation.position, operation.version, operation.seen)
            version = 0 if after.content is None else line.position
            right = right and answered == (line.item, line.position, version, after.content)
        if not right:
            self.verdict.report(Violation.MISREPORTED, f"{operation} is {line}")

    def _check_errors(
        self,
        operations: Iterable[Operation],
        killed: Collection[int],
        expected_errors: Collection[int],
    ) -> None:
        for operation in operations:
            broken = operation.outcome is Outcome.UNKNOWN and operation.worker not in killed
            failed = operation.failed and operation.status not in expected_errors
            if failed or broken:
                self.verdict.report(Violation.ERRORS, str(operation))

    def _place_all(self, operations: Iterable[Operation]) -> None:
        """Assign a position to every operation, in the order of their starts."""
        floor = 0
        ended: list[tuple[int, int]] = []
        for operation in sorted(operations, key=lambda operation: operation.start):
            while ended and ended[0][0] < operation.start:
                floor = max(floor, heapq.heappop(ended)[1])
            line = self._written.get(operation.requestid)
            if line is not None:
                position = self._place_write(operation, line, floor)
            elif operation.refused or (operation.succeeded and operation.kind in READS):
                position = self._place_read(
                    operation, operation.min_position if self._requested_positions else floor
                )
                if self._requested_positions:
                    continue
            else:
                continue
            if position and operation.outcome is Outcome.ANSWERED:
                heapq.heappush(ended, (operation.end, position))

    def _place_write(self, operation: Operation, line: Line, floor: int) -> int:
        if operation.outcome is Outcome.ANSWERED and line.end > operation.log_size:
            self.verdict.report(
                Violation.FUTURE, f"answered before it was in the file: {operation}"
            )
        if line.position <= floor:
            self.verdict.report(
                Violation.REORDERED, f"position {floor} was visible before {operation}"
            )
            return 0
        return line.position

    def _place_read(self, operation: Operation, floor: int) -> int:
        accepts = _expectation(operation)
        timeline = self._fold.timeline(operation)
        position = timeline.first(floor, accepts)
        if position is not None and self._could_be_visible(operation, position):
            return position
        earliest = timeline.first(0, accepts)
        if earliest is not None and earliest < floor:
            self.verdict.report(
                Violation.STALE, f"expected the state at {floor} or later: {operation}"
            )
        else:
            kind = Violation.NEVER_WRITTEN if position is None else Violation.FUTURE
            self.verdict.report(kind, f"earliest position {position}: {operation}")
        return 0

    def _could_be_visible(self, operation: Operation, position: int) -> bool:
        """Whether all writes up to a position had begun and were in the file."""
        begun, end = self._begun[position], self._ends[position]
        return begun <= operation.end and end <= operation.log_size


def _expectation(operation: Operation) -> Callable[[Value], bool]:
    """A predicate: the values for which the response is correct."""
    if operation.kind is Kind.LIST:
        rows = sorted(operation.rows)
        mark = sum(hash(row) for row in rows)
        return lambda value: value.version == mark and operation.rows == rows
    if operation.status == 404:
        return lambda value: value.content is None
    if operation.status == 412:
        return lambda value: value.content is not None and value.version != operation.if_match
    seen = Value(operation.version, operation.seen)
    return lambda value: value == seen


def _count(operations: Iterable[Operation]) -> Counter[str]:
    """Count the operations by kind and outcome."""
    counts: Counter[str] = Counter()
    for operation in operations:
        counts["operations"] += 1
        counts["reads" if operation.kind in READS else "writes"] += 1
        if operation.kind not in READS and operation.succeeded:
            counts["writes acknowledged"] += 1
        if operation.refused:
            counts["refused"] += 1
        if operation.outcome is not Outcome.ANSWERED:
            counts[operation.outcome] += 1
    return counts
