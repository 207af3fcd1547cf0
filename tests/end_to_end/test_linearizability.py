"""Controls of the linearizability check: histories with a planted violation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.end_to_end.history import Kind, Operation, Outcome
from tests.end_to_end.linearizability import Verdict, Violation, judge
from tests.end_to_end.log_reader import Line, Log

LINE_BYTES = 100
ANN = "users/1"
KILLED = 7
"""The process id of a killed worker."""


class HistoryBuilder:
    """Builds a history and its log side by side; times are any integers."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.lines: list[Line] = []

    @property
    def _next(self) -> str:
        """The id of the next request."""
        return f"request-{len(self.operations)}"

    def add(self, kind: Kind, start: int, end: int, **known: Any) -> Operation:
        """Add an operation; its response came when the log had its present size."""
        members: dict[str, Any] = {
            "requestid": self._next,
            "outcome": Outcome.ANSWERED,
            "log_size": len(self.lines) * LINE_BYTES,
            "item": 1,
        }
        members |= known
        operation = Operation(kind=kind, owner=ANN, start=start, end=end, **members)
        self.operations.append(operation)
        return operation

    def append_line(self, kind: str, requestid: str, **personal: str | None) -> int:
        """Append a line to the log and return its position."""
        position = len(self.lines) + 1
        self.lines.append(
            Line(
                position=position,
                type=f"item.{kind}",
                subject="items/1",
                actor=ANN,
                requestid=requestid,
                personal=personal,
                end=position * LINE_BYTES,
            )
        )
        return position

    def write(self, title: str, start: int, end: int, **known: Any) -> Operation:
        """Add a correct write; the first creates the item, later ones change it."""
        kind, word = (Kind.PATCH, "updated") if self.lines else (Kind.CREATE, "created")
        requestid = self._next
        position = self.append_line(word, requestid, title=title)
        right = {
            "requestid": requestid,
            "status": 200,
            "position": position,
            "version": position,
            "seen": (title, None),
            "changes": {"title": title},
        }
        return self.add(kind, start, end, **(right | known))

    def get(self, start: int, end: int, version: int, title: str) -> Operation:
        """Add a successful read of the item."""
        return self.add(Kind.GET, start, end, status=200, version=version, seen=(title, None))

    def verdict(self) -> Verdict:
        """Run the check."""
        return judge(self.operations, Log(self.lines, []), killed={KILLED})


@pytest.fixture
def history() -> HistoryBuilder:
    """A history of one item with two writes in sequence."""
    history = HistoryBuilder()
    history.write("one", 10, 20)
    history.write("two", 30, 40)
    return history


def test_correct_history_has_no_violation(history: HistoryBuilder) -> None:
    history.get(50, 60, 2, "two")
    history.add(Kind.LIST, 50, 60, status=200, rows=[(1, 2, ("two", None))])
    history.add(Kind.PATCH, 50, 60, status=412, if_match=1)
    history.append_line("deleted", "request-5")
    history.add(Kind.DELETE, 70, 80, status=204, position=3)
    history.add(Kind.GET, 90, 99, status=404)
    history.add(Kind.LIST, 90, 99, status=200)
    verdict = history.verdict()
    assert not verdict.violations, verdict
    assert verdict.counts["operations"] == 8
    assert verdict.counts["writes acknowledged"] == 3


def test_read_concurrent_with_a_write_may_see_either_value(history: HistoryBuilder) -> None:
    history.get(25, 35, 1, "one")
    history.get(25, 35, 2, "two")
    assert not history.verdict().violations


def test_write_without_a_response_may_be_in_the_log_or_not(history: HistoryBuilder) -> None:
    history.write("three", 50, 60, outcome=Outcome.UNKNOWN, worker=KILLED)
    history.add(
        Kind.PATCH, 50, 60, outcome=Outcome.UNKNOWN, worker=KILLED, changes={"title": "four"}
    )
    verdict = history.verdict()
    assert not verdict.violations, verdict
    assert verdict.counts[Outcome.UNKNOWN] == 2


def stale_read(history: HistoryBuilder) -> None:
    """A read of the first title after the second was acknowledged."""
    history.get(50, 60, 1, "one")


def stale_read_after_a_read(history: HistoryBuilder) -> None:
    """A read of the old title after another client saw the new one, during the write."""
    history.write("three", 50, 90)
    history.get(51, 60, 3, "three")
    history.get(70, 80, 2, "two")


def stale_list(history: HistoryBuilder) -> None:
    """The list as it was before the second title."""
    history.add(Kind.LIST, 50, 60, status=200, rows=[(1, 1, ("one", None))])


def stale_absence(history: HistoryBuilder) -> None:
    """A 404 long after the item was created."""
    history.add(Kind.GET, 50, 60, status=404)


def stale_refusal(history: HistoryBuilder) -> None:
    """A 412 although If-Match has the current version."""
    history.add(Kind.DELETE, 50, 60, status=412, if_match=2)


def read_before_the_write_began(history: HistoryBuilder) -> None:
    """A read of a title that no client has sent yet."""
    read = history.get(50, 60, 3, "three")
    history.write("three", 70, 80)
    read.log_size = 3 * LINE_BYTES


def read_before_it_was_in_the_file(history: HistoryBuilder) -> None:
    """A read of a title that is not in the file yet."""
    history.add(Kind.GET, 50, 60, status=200, version=3, seen=("three", None))
    history.write("three", 45, 90)


def read_of_value_never_written(history: HistoryBuilder) -> None:
    """A read of the second version with a title that it never had."""
    history.get(50, 60, 2, "another")


def list_of_two_times(history: HistoryBuilder) -> None:
    """A list that mixes two versions of one item."""
    rows = [(1, 1, ("one", None)), (1, 2, ("two", None))]
    history.add(Kind.LIST, 5, 60, status=200, rows=rows)


def lost_write(history: HistoryBuilder) -> None:
    """An acknowledged write that the log does not have."""
    history.add(Kind.PATCH, 50, 60, status=200, position=3, version=3)


def duplicated_write(history: HistoryBuilder) -> None:
    """One request with two lines in the log."""
    history.append_line("updated", "request-1", title="two")


def duplicated_unknown_write(history: HistoryBuilder) -> None:
    """A write without a response with two lines in the log."""
    history.write("three", 50, 60, outcome=Outcome.UNKNOWN, worker=KILLED)
    history.append_line("updated", "request-2", title="three")


def refused_write_in_the_log(history: HistoryBuilder) -> None:
    """A refused write that is in the log."""
    history.write("three", 50, 60, status=412, if_match=1)


def unsent_write_in_the_log(history: HistoryBuilder) -> None:
    """A write that was never sent but is in the log."""
    history.write("three", 50, 60, outcome=Outcome.UNSENT)


def write_of_unknown_request(history: HistoryBuilder) -> None:
    """A line with a request id that no client sent."""
    history.append_line("updated", "unknown-request", title="three")


def reported_another_position(history: HistoryBuilder) -> None:
    """A response with a position that differs from the log's."""
    history.operations[-1].position = 1


def wrote_another_content(history: HistoryBuilder) -> None:
    """A line whose content differs from the request."""
    history.operations[-1].changes = {"title": "other"}


def overwrote_another_version(history: HistoryBuilder) -> None:
    """A write that succeeded although If-Match had an old version."""
    history.write("three", 50, 60, if_match=1)


def reordered_writes(history: HistoryBuilder) -> None:
    """A write that began after another was acknowledged but precedes it in the log."""
    history.operations[0].start, history.operations[0].end = 50, 60


def server_error(history: HistoryBuilder) -> None:
    """A response with status 500."""
    history.add(Kind.GET, 50, 60, status=500)


def broken_connection(history: HistoryBuilder) -> None:
    """A broken connection to a worker that was not killed."""
    history.add(Kind.GET, 50, 60, outcome=Outcome.UNKNOWN)


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (stale_read, Violation.STALE),
        (stale_read_after_a_read, Violation.STALE),
        (stale_list, Violation.STALE),
        (stale_absence, Violation.STALE),
        (stale_refusal, Violation.STALE),
        (read_before_the_write_began, Violation.FUTURE),
        (read_before_it_was_in_the_file, Violation.FUTURE),
        (read_of_value_never_written, Violation.NEVER_WRITTEN),
        (list_of_two_times, Violation.NEVER_WRITTEN),
        (lost_write, Violation.LOST),
        (duplicated_write, Violation.DUPLICATED),
        (duplicated_unknown_write, Violation.DUPLICATED),
        (refused_write_in_the_log, Violation.INVENTED),
        (unsent_write_in_the_log, Violation.INVENTED),
        (write_of_unknown_request, Violation.INVENTED),
        (reported_another_position, Violation.MISREPORTED),
        (wrote_another_content, Violation.MISREPORTED),
        (overwrote_another_version, Violation.MISREPORTED),
        (reordered_writes, Violation.REORDERED),
        (server_error, Violation.ERRORS),
        (broken_connection, Violation.ERRORS),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_control_planted_violation_is_found(
    history: HistoryBuilder, plant: Callable[[HistoryBuilder], None], kind: Violation
) -> None:
    """The violation is found once, and no other is reported."""
    plant(history)
    verdict = history.verdict()
    assert verdict.violations == {kind: 1}, verdict


def test_fault_of_the_hash_chain_is_found(history: HistoryBuilder) -> None:
    verdict = judge(history.operations, Log(history.lines, ["the chain is broken at position 2"]))
    assert verdict.violations[Violation.CHAIN] == 1


@pytest.mark.parametrize(
    ("min_position", "version", "title", "kind"),
    [
        (0, 1, "one", None),
        (1, 1, "one", None),
        (2, 1, "one", Violation.STALE),
        (0, 2, "two", None),
        (2, 2, "another", Violation.NEVER_WRITTEN),
    ],
)
def test_with_requested_positions_a_read_must_be_as_new_as_its_own_request(
    history: HistoryBuilder, min_position: int, version: int, title: str, kind: Violation | None
) -> None:
    """Instances over one database may lag behind each other, up to Min-Event-Position."""
    history.get(50, 60, version, title).min_position = min_position
    verdict = judge(history.operations, Log(history.lines, []), requested_positions=True)
    assert verdict.violations == ({} if kind is None else {kind: 1}), verdict


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (lost_write, Violation.LOST),
        (duplicated_write, Violation.DUPLICATED),
        (reordered_writes, Violation.REORDERED),
    ],
)
def test_with_requested_positions_the_rules_for_writes_are_the_same(
    history: HistoryBuilder, plant: Callable[[HistoryBuilder], None], kind: Violation
) -> None:
    plant(history)
    assert judge(
        history.operations, Log(history.lines, []), requested_positions=True
    ).violations == {kind: 1}
