"""The version index leads from an event of a resource to the earlier ones."""

from __future__ import annotations

from projections.tables.indexes import VersionIndex


class Spy(VersionIndex):
    """An index that counts the steps that are followed."""

    steps = 0

    def before(self, position: int) -> int:
        self.steps += 1
        return super().before(position)


def test_a_complete_chain_has_all_positions_of_one_resource() -> None:
    index = Spy()
    for position in range(2, 200):
        index.add(position, position - 1)
    assert index.complete(0, at_most=5) == []
    assert index.complete(5, at_most=5) == [1, 2, 3, 4, 5]


def test_a_chain_is_followed_only_as_far_as_it_is_wanted() -> None:
    index = Spy()
    for position in range(2, 200):
        index.add(position, position - 1)
    assert index.complete(199, at_most=5) is None
    assert index.steps == 5


def test_a_chain_with_a_deletion_is_complete() -> None:
    index = VersionIndex()
    index.add(2, 1, is_deleted=True)
    index.add(3, 2)
    for reloaded in (index, VersionIndex(bytes(index))):
        assert reloaded.complete(3, at_most=5) == [1, 2, 3]
        assert [reloaded.at(3, position) for position in (1, 2, 3)] == [1, 0, 3]
