"""Encoded resources are those of their version, however few are cached."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from eventapi.http.lists.encoded_resources import BYTES_PER_TURN, LONG_BYTES, EncodedResources
from eventapi.http.schemas.resources import Shape, shape_of
from eventapi.http.schemas.responses import V1, V2
from eventapi.testing.items import ITEM
from events.vocabulary.resources import Entity
from tests.eventapi.http.turns import turns_during

SHAPES = [shape_of(ITEM, version) for version in (V1, V2)]
TIME = "2026-11-29T12:00:00.000000Z"
NAMES = {1: "ann", 2: "ben"}


def item(version: int) -> Entity:
    """One of three items, at a version."""
    found: Entity = ITEM.type.entity(
        version % 3, f"at {version}", None, 1 + version % 2, TIME, TIME, version
    )
    return found


@given(
    st.lists(st.tuples(st.sampled_from(SHAPES), st.lists(st.integers(1, 9), max_size=5))),
    st.integers(0, 2_000),
)
def test_encoded_resources_are_as_if_nothing_were_cached(
    requests: Sequence[tuple[Shape, Sequence[int]]], most_bytes: int
) -> None:
    encoded = EncodedResources(most_bytes)
    for shape, versions in requests:
        entities = [item(version) for version in versions]
        rows = asyncio.run(encoded.of(shape, entities, NAMES.__getitem__))
        fresh = [shape.view_of(one, NAMES[one.owner]) for one in entities]
        assert msgspec.json.encode(rows) == msgspec.json.encode(fresh)


def test_cache_is_cleared_when_it_is_full() -> None:
    encoded, shape = EncodedResources(1_000), SHAPES[1]
    for version in range(1, 100):
        asyncio.run(encoded.of(shape, [item(version)], NAMES.__getitem__))
        assert sum(map(len, encoded._by_version.values())) <= 3


def encode(encoded: EncodedResources, entities: Sequence[Entity]) -> Awaitable[object]:
    return encoded.of(SHAPES[1], entities, NAMES.__getitem__)


def test_other_requests_run_while_long_resources_are_encoded() -> None:
    text = "x" * BYTES_PER_TURN
    entities = [structs.replace(item(version), description=text) for version in range(1, 11)]
    encoded = EncodedResources()
    assert turns_during(encode(encoded, entities)) >= len(entities) - 2
    assert turns_during(encode(encoded, entities)) == 0  # All of them are known now.


def test_control_a_list_of_short_resources_takes_one_turn() -> None:
    entities = [item(version) for version in range(1, 101)]
    assert turns_during(encode(EncodedResources(), entities)) == 0


COUNT = 5


async def progress_of_two_lists(size: int) -> set[tuple[int, ...]]:
    """How many texts of each of two lists have been made, at any moment."""
    encoded, made = EncodedResources(), [0, 0]

    def texts(which: int) -> Iterator[msgspec.Raw]:
        for _ in range(COUNT):
            made[which] += 1
            yield msgspec.Raw(b"0" * (size + 1))

    lists = [asyncio.create_task(encoded.in_turns(texts(which))) for which in (0, 1)]
    partial = set()
    while not all(one.done() for one in lists):
        await asyncio.sleep(0)
        partial.add(tuple(made))

    assert [len(one.result()) for one in lists] == [COUNT, COUNT]
    return partial


async def test_one_long_list_is_made_at_a_time() -> None:
    for first, second in await progress_of_two_lists(LONG_BYTES):
        assert first == COUNT or second <= 1


async def test_a_list_that_is_not_long_waits_for_no_other() -> None:
    assert (2, 2) in await progress_of_two_lists(BYTES_PER_TURN)
