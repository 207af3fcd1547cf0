"""An overlay behaves like a copy, and its base never learns of it."""

from __future__ import annotations

from collections.abc import MutableMapping, MutableSet

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from projections.copy_on_write import CopyOnWriteDict, CopyOnWriteSet

KEYS = st.integers(0, 5)
VALUES = st.integers(0, 9)
BASE = {0: 0, 1: 10, 2: 20}


class OverlayAgainstCopy(RuleBasedStateMachine):
    """Every operation on an overlay, and on an overlay over it, has the same effect on a copy."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[MutableMapping[int, int]] = [CopyOnWriteDict(BASE)]
        self.models = [dict(BASE)]

    @property
    def overlay(self) -> MutableMapping[int, int]:
        return self.layers[-1]

    @property
    def model(self) -> dict[int, int]:
        return self.models[-1]

    @precondition(lambda self: len(self.layers) < 3)
    @rule()
    def lay_another_one_over_it(self) -> None:
        self.layers.append(CopyOnWriteDict(self.overlay))
        self.models.append(dict(self.model))

    @precondition(lambda self: len(self.layers) > 1)
    @rule()
    def drop_the_upper_one(self) -> None:
        self.layers.pop()
        self.models.pop()

    @rule(key=KEYS, value=VALUES)
    def set_a_value(self, key: int, value: int) -> None:
        self.overlay[key] = value
        self.model[key] = value

    @rule(key=KEYS)
    def delete(self, key: int) -> None:
        if key in self.model:
            del self.overlay[key]
            del self.model[key]
        else:
            with pytest.raises(KeyError):
                del self.overlay[key]

    @rule(key=KEYS)
    def pop(self, key: int) -> None:
        assert self.overlay.pop(key, None) == self.model.pop(key, None)

    @rule(key=KEYS, value=VALUES)
    def set_where_absent(self, key: int, value: int) -> None:
        assert self.overlay.setdefault(key, value) == self.model.setdefault(key, value)

    @rule(values=st.dictionaries(KEYS, VALUES))
    def update(self, values: dict[int, int]) -> None:
        self.overlay.update(values)
        self.model.update(values)

    @rule()
    def clear(self) -> None:
        self.overlay.clear()
        self.model.clear()

    @invariant()
    def every_layer_reads_like_its_copy(self) -> None:
        for overlay, model in zip(self.layers, self.models, strict=True):
            assert dict(overlay) == model
            assert len(overlay) == len(model)
            assert bool(overlay) == bool(model)
            assert sorted(overlay) == sorted(model)
            for key in range(6):
                assert (key in overlay) == (key in model)
                assert overlay.get(key) == model.get(key)

    @invariant()
    def the_base_is_as_it_was(self) -> None:
        assert BASE == {0: 0, 1: 10, 2: 20}


TestOverlayAgainstCopy = OverlayAgainstCopy.TestCase


def test_deleted_key_is_missing_even_if_the_base_has_it() -> None:
    overlay = CopyOnWriteDict(BASE)
    del overlay[1]
    with pytest.raises(KeyError):
        overlay[1]


CHANGES = st.lists(st.tuples(KEYS, KEYS, st.booleans()), max_size=12)
"""A key, an element of its set, and whether that is added; else it is removed."""


@given(st.dictionaries(KEYS, st.sets(KEYS, max_size=3)), CHANGES, CHANGES)
def test_sets_in_a_staged_dict_behave_like_copies(
    start: dict[int, set[int]],
    below: list[tuple[int, int, bool]],
    above: list[tuple[int, int, bool]],
) -> None:
    layers: list[MutableMapping[int, MutableSet[int]]] = [
        {key: set(elements) for key, elements in start.items()}
    ]
    models = [{key: set(elements) for key, elements in start.items()}]
    for changes in (below, above):
        layers.append(CopyOnWriteDict(layers[-1], CopyOnWriteSet))
        models.append({key: set(elements) for key, elements in models[-1].items()})
        for key, element, is_added in changes:
            for sets in (layers[-1], models[-1]):
                if is_added:
                    sets.setdefault(key, set()).add(element)
                elif key in sets:
                    sets[key].discard(element)
                    if not sets[key]:
                        del sets[key]
    for layer, model in zip(layers, models, strict=True):
        assert {key: sorted(elements) for key, elements in layer.items()} == {
            key: sorted(elements) for key, elements in model.items()
        }
        for key, elements in model.items():
            assert (len(layer[key]), bool(layer[key])) == (len(elements), bool(elements))
            assert {one for one in range(6) if one in layer[key]} == elements
