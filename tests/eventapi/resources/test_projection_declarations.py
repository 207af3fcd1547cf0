"""Declarations of projections: what they derive, and which are refused."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from eventapi.resources import Caller, Projection, PublicEvent
from eventapi.resources.registry import Registry, load_registry
from events.errors import (
    ConfigurationError,
    Invalid,
)
from tests.eventapi.resources.applications import (
    Broken,
    Positions,
    Revenue,
)


def declaration(**members: Any) -> type[Projection]:
    """A projection with these members in place of sound ones."""

    def apply(self: Projection, event: PublicEvent) -> None:
        pass

    def query(self: Projection, caller: Caller) -> None:
        pass

    namespace = {"state": Positions(), "apply": apply, "query": query} | members
    sound = {name: value for name, value in namespace.items() if value is not None}
    return type("Sample", (Projection,), {**sound, "__module__": __name__})


class Unkept(msgspec.Struct):
    """A state that is another one after a snapshot."""

    value: Any = (1, 2)


class Needs(msgspec.Struct):
    """A state that is not complete without a value."""

    value: int


async def waiting(self: Projection, event: PublicEvent) -> None:
    pass


def positional(self: Projection, caller: Caller, month: str) -> None:
    pass


def untyped(self, caller, *, month) -> None:  # type: ignore[no-untyped-def]
    pass


def with_as_of(self: Projection, caller: Caller, *, as_of: str) -> None:
    pass


def with_list(self: Projection, caller: Caller, *, months: list[str]) -> None:
    pass


def without_caller(self: Projection, *, month: str) -> None:
    pass


def alone(self: Projection) -> None:
    pass


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"state": None}, "it needs a state; add `state = Totals()`"),
        ({"state": {}}, "it needs a state"),
        ({"state": Needs}, "state: each field needs a default: Missing required argument 'value'"),
        ({"state": Unkept()}, "state: it is another one after a snapshot"),
        ({"apply": None}, "it has no method 'apply'"),
        ({"query": None}, "it has no method 'query'"),
        ({"query": waiting}, "query: it cannot be async"),
        ({"apply": waiting}, "apply: it cannot be async"),
        ({"query": positional}, "query: month must be a keyword parameter with a type"),
        ({"query": untyped}, "query: month must be a keyword parameter with a type"),
        ({"query": without_caller}, "query: it must be a method that gets `self, caller`; write"),
        ({"query": staticmethod(with_as_of)}, "query: it must be a method that gets `self, calle"),
        ({"query": property(repr)}, "query: it must be a method that gets `self, caller`"),
        ({"apply": alone}, "apply: it must be a method that gets `self, event`; write `def apply"),
        ({"apply": 5}, "apply: it must be a method that gets `self, event`"),
        ({"__init__": positional}, "__init__: it gets no argument; remove it"),
        ({"name": 5}, "name = 5 is not possible"),
        ({"query": with_as_of}, "query: as_of: every query has this already; use another name"),
        ({"query": with_list}, "query: months: a query string cannot have a list, dict or Struct"),
        ({"name": "Two Words"}, "name = 'Two Words' is not possible"),
        ({"name": "sales\n"}, "is not possible"),
    ],
)
def test_a_bad_declaration_names_class_and_cure(members: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(fault)) as found:
        Registry([declaration(**members)])
    assert str(found.value).startswith("Sample: ")
    assert "\n" not in str(found.value)


def test_control_a_sound_declaration_has_the_name_of_its_class() -> None:
    assert list(Registry([declaration()]).projections) == ["sample"]
    assert list(Registry([declaration(name="sales")]).projections) == ["sales"]


def test_the_type_of_a_state_may_be_its_annotation() -> None:
    named = declaration(state=None, __annotations__={"state": Positions})
    (declared,) = Registry([named]).projections.values()
    assert declared.model.new().state == Positions()
    unknown = declaration(state=None, __annotations__={"state": "Missing"})
    with pytest.raises(ConfigurationError, match="'Missing' is not defined; import it"):
        Registry([unknown])


def test_two_projections_cannot_have_one_name() -> None:
    with pytest.raises(ConfigurationError, match="Sample: Sample has the name 'sample' already"):
        Registry([declaration(), declaration()])


def test_folds_of_one_declaration_share_no_state() -> None:
    (model,) = Registry([Revenue]).vocabulary.read_models
    one, other = model.new(), model.new()
    one.state.cents["invoices/1"] = 1
    assert (other.state.cents, Revenue.state.cents) == ({}, {})


def test_parameters_are_converted_from_the_query_string() -> None:
    class Sums(Broken):
        def query(  # type: ignore[override]  # another route
            self, caller: Caller, *, year: int, paid: bool = True
        ) -> int:
            return year

    declared = Registry([Sums]).projections["sums"]
    assert msgspec.structs.asdict(declared.parse({"year": "2026"})) == {"year": 2026, "paid": True}
    with pytest.raises(Invalid) as found:
        declared.parse({"year": "x", "month": "1"})
    assert {(one.pointer, one.where) for one in found.value.faults} == {
        ("/year", "query"),
        ("/month", "query"),
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("k", text) for text in ("1e3", "1.0", "null", "+1", "01", "")),
        *(("at", text) for text in ("5", "0", "2026-01-01T00:00:00")),
        *(("real", text) for text in ("nan", "1e999")),
        ("paid", "1"),
    ],
)
def test_parameters_are_as_strict_as_filters(name: str, text: str) -> None:
    class Sums(Broken):
        def query(  # type: ignore[override]  # another route
            self,
            caller: Caller,
            *,
            k: int | None = None,
            at: datetime | None = None,
            real: float = 0,
            paid: bool = True,
        ) -> None:
            pass

    declared = Registry([Sums]).projections["sums"]
    good = {"k": "1000", "at": "2026-01-01T00:00:00Z", "real": "1e3", "paid": "false"}
    assert msgspec.structs.asdict(declared.parse(good)) == {
        "k": 1000,
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "real": 1e3,
        "paid": False,
    }
    with pytest.raises(Invalid) as found:
        declared.parse({**good, name: text})
    assert [(one.pointer, one.where) for one in found.value.faults] == [(f"/{name}", "query")]


def test_a_module_may_have_projections_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("only_projections")
    sample = declaration()
    sample.__module__ = module.__name__
    module.__dict__["Sample"] = sample
    module.__dict__["Projection"] = Projection
    monkeypatch.setitem(sys.modules, module.__name__, module)
    registry = load_registry((module.__name__,))
    assert (list(registry.by_collection), list(registry.projections)) == (["items"], ["sample"])
