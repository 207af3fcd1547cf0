"""The controls of the check: planted histories, each of which must turn it red in its own way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.end_to_end.history import Fate, Kind, Operation
from tests.end_to_end.linearizability import Guilt, Verdict, judge
from tests.end_to_end.written import Line, Log

LINE_BYTES = 100
ANN = "users/1"
KILLED = 7
"""The process of a worker that was killed."""


class Story:
    """A history and its log, told side by side; a time is any whole number."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.lines: list[Line] = []

    @property
    def _next(self) -> str:
        """The id of the next request."""
        return f"request-{len(self.operations)}"

    def tell(self, kind: Kind, start: int, end: int, **known: Any) -> Operation:
        """What a client did and saw; its answer came when the log was as it is now."""
        told: dict[str, Any] = {
            "requestid": self._next,
            "fate": Fate.ANSWERED,
            "written": len(self.lines) * LINE_BYTES,
            "item": 1,
        }
        told |= known
        operation = Operation(kind=kind, owner=ANN, start=start, end=end, **told)
        self.operations.append(operation)
        return operation

    def line(self, kind: str, requestid: str, **personal: str | None) -> int:
        """What the log says next; its position."""
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
        """A write that is done as it should be: the first creates the item, others change it."""
        kind, word = (Kind.PATCH, "updated") if self.lines else (Kind.CREATE, "created")
        requestid = self._next
        position = self.line(word, requestid, title=title)
        right = {
            "requestid": requestid,
            "status": 200,
            "position": position,
            "version": position,
            "seen": (title, None),
            "changes": {"title": title},
        }
        return self.tell(kind, start, end, **(right | known))

    def get(self, start: int, end: int, version: int, title: str) -> Operation:
        """A read of the item."""
        return self.tell(Kind.GET, start, end, status=200, version=version, seen=(title, None))

    def verdict(self) -> Verdict:
        """The check's word on it."""
        return judge(self.operations, Log(self.lines, []), killed={KILLED})


@pytest.fixture
def story() -> Story:
    """An item with two writes, one after the other."""
    story = Story()
    story.write("one", 10, 20)
    story.write("two", 30, 40)
    return story


def test_a_right_history_is_not_blamed(story: Story) -> None:
    story.get(50, 60, 2, "two")
    story.tell(Kind.LIST, 50, 60, status=200, rows=[(1, 2, ("two", None))])
    story.tell(Kind.PATCH, 50, 60, status=412, if_match=1)
    story.line("deleted", "request-5")
    story.tell(Kind.DELETE, 70, 80, status=204, position=3)
    story.tell(Kind.GET, 90, 99, status=404)
    story.tell(Kind.LIST, 90, 99, status=200)
    verdict = story.verdict()
    assert not verdict.guilt, verdict
    assert verdict.counts["operations"] == 8
    assert verdict.counts["writes acknowledged"] == 3


def test_a_read_beside_a_write_may_see_either(story: Story) -> None:
    story.get(25, 35, 1, "one")
    story.get(25, 35, 2, "two")
    assert not story.verdict().guilt


def test_an_unknown_write_may_be_there_or_not(story: Story) -> None:
    story.write("three", 50, 60, fate=Fate.UNKNOWN, worker=KILLED)
    story.tell(Kind.PATCH, 50, 60, fate=Fate.UNKNOWN, worker=KILLED, changes={"title": "four"})
    verdict = story.verdict()
    assert not verdict.guilt, verdict
    assert verdict.counts[Fate.UNKNOWN] == 2


def stale_read(story: Story) -> None:
    """The first title after the second was acknowledged."""
    story.get(50, 60, 1, "one")


def stale_read_after_a_read(story: Story) -> None:
    """The old title after another client has seen the new one, the write still being under way."""
    story.write("three", 50, 90)
    story.get(51, 60, 3, "three")
    story.get(70, 80, 2, "two")


def stale_list(story: Story) -> None:
    """The list as it was before the second title."""
    story.tell(Kind.LIST, 50, 60, status=200, rows=[(1, 1, ("one", None))])


def stale_absence(story: Story) -> None:
    """No such item, long after it was made."""
    story.tell(Kind.GET, 50, 60, status=404)


def stale_refusal(story: Story) -> None:
    """A refusal for a version that is the one that stands."""
    story.tell(Kind.DELETE, 50, 60, status=412, if_match=2)


def read_before_the_write_began(story: Story) -> None:
    """A title that nobody has sent yet."""
    read = story.get(50, 60, 3, "three")
    story.write("three", 70, 80)
    read.written = 3 * LINE_BYTES


def read_before_it_was_in_the_file(story: Story) -> None:
    """A title that is not in the file when it is read."""
    story.tell(Kind.GET, 50, 60, status=200, version=3, seen=("three", None))
    story.write("three", 45, 90)


def read_of_what_never_was(story: Story) -> None:
    """The second version with another title."""
    story.get(50, 60, 2, "another")


def list_of_two_times(story: Story) -> None:
    """A list that shows an item twice, as it never stood."""
    rows = [(1, 1, ("one", None)), (1, 2, ("two", None))]
    story.tell(Kind.LIST, 5, 60, status=200, rows=rows)


def lost_write(story: Story) -> None:
    """An acknowledged write that the log does not have."""
    story.tell(Kind.PATCH, 50, 60, status=200, position=3, version=3)


def doubled_write(story: Story) -> None:
    """The same request twice in the log."""
    story.line("updated", "request-1", title="two")


def doubled_unknown_write(story: Story) -> None:
    """A write whose outcome is not known may be there once, not twice."""
    story.write("three", 50, 60, fate=Fate.UNKNOWN, worker=KILLED)
    story.line("updated", "request-2", title="three")


def refused_write_in_the_log(story: Story) -> None:
    """A write that was refused, and done."""
    story.write("three", 50, 60, status=412, if_match=1)


def unsent_write_in_the_log(story: Story) -> None:
    """A write that was never sent, and done."""
    story.write("three", 50, 60, fate=Fate.UNSENT)


def write_of_nobody(story: Story) -> None:
    """A write that no client knows of."""
    story.line("updated", "somebody", title="three")


def told_another_position(story: Story) -> None:
    """An answer that names another position than the log."""
    story.operations[-1].position = 1


def wrote_another_content(story: Story) -> None:
    """A log that says something else than was sent."""
    story.operations[-1].changes = {"title": "other"}


def overwrote_another_version(story: Story) -> None:
    """If-Match with a version that was not the one that stood."""
    story.write("three", 50, 60, if_match=1)


def reordered_writes(story: Story) -> None:
    """A write that began after another was acknowledged, and stands before it."""
    story.operations[0].start, story.operations[0].end = 50, 60


def server_error(story: Story) -> None:
    """An answer that is none."""
    story.tell(Kind.GET, 50, 60, status=500)


def broken_connection(story: Story) -> None:
    """A connection that broke although nobody was killed."""
    story.tell(Kind.GET, 50, 60, fate=Fate.UNKNOWN)


@pytest.mark.parametrize(
    ("plant", "guilt"),
    [
        (stale_read, Guilt.STALE),
        (stale_read_after_a_read, Guilt.STALE),
        (stale_list, Guilt.STALE),
        (stale_absence, Guilt.STALE),
        (stale_refusal, Guilt.STALE),
        (read_before_the_write_began, Guilt.FUTURE),
        (read_before_it_was_in_the_file, Guilt.FUTURE),
        (read_of_what_never_was, Guilt.FALSE),
        (list_of_two_times, Guilt.FALSE),
        (lost_write, Guilt.LOST),
        (doubled_write, Guilt.DOUBLED),
        (doubled_unknown_write, Guilt.DOUBLED),
        (refused_write_in_the_log, Guilt.INVENTED),
        (unsent_write_in_the_log, Guilt.INVENTED),
        (write_of_nobody, Guilt.INVENTED),
        (told_another_position, Guilt.MISTOLD),
        (wrote_another_content, Guilt.MISTOLD),
        (overwrote_another_version, Guilt.MISTOLD),
        (reordered_writes, Guilt.REORDERED),
        (server_error, Guilt.ERRORS),
        (broken_connection, Guilt.ERRORS),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_fault_is_found(
    story: Story, plant: Callable[[Story], None], guilt: Guilt
) -> None:
    """Each fault is found once, and nothing else is blamed."""
    plant(story)
    verdict = story.verdict()
    assert verdict.guilt == {guilt: 1}, verdict


def test_a_fault_of_the_chain_is_found(story: Story) -> None:
    verdict = judge(story.operations, Log(story.lines, ["the chain is broken at position 2"]))
    assert verdict.guilt[Guilt.CHAIN] == 1


@pytest.mark.parametrize(
    ("least", "version", "title", "guilt"),
    [
        (0, 1, "one", None),
        (1, 1, "one", None),
        (2, 1, "one", Guilt.STALE),
        (0, 2, "two", None),
        (2, 2, "another", Guilt.FALSE),
    ],
)
def test_where_a_position_is_asked_for_that_is_what_a_read_owes(
    story: Story, least: int, version: int, title: str, guilt: Guilt | None
) -> None:
    """Instances that share a database may be behind each other, unless they are asked not to."""
    story.get(50, 60, version, title).least = least
    verdict = judge(story.operations, Log(story.lines, []), asked=True)
    assert verdict.guilt == ({} if guilt is None else {guilt: 1}), verdict


@pytest.mark.parametrize(
    ("plant", "guilt"),
    [(lost_write, Guilt.LOST), (doubled_write, Guilt.DOUBLED), (reordered_writes, Guilt.REORDERED)],
)
def test_writes_owe_there_what_they_owe_elsewhere(
    story: Story, plant: Callable[[Story], None], guilt: Guilt
) -> None:
    plant(story)
    assert judge(story.operations, Log(story.lines, []), asked=True).guilt == {guilt: 1}
