"""Faults inside lists, dicts and nested Structs: the place, and the words of the inner type."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from eventapi.values.validation import RULE, faults_of


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    """A nested value."""

    size: Literal["s", "m"] = "s"
    code: Annotated[str, Meta(pattern="^a", extra={RULE: "must begin with a"})] = "a"


class Outer(msgspec.Struct):
    """Values in containers."""

    sizes: list[Literal["s", "m"]] = []
    inner: Inner | None = None
    inners: list[Inner] = []
    by_name: dict[str, Inner] = {}


@pytest.mark.parametrize(
    ("values", "pointer", "detail"),
    [
        ({"sizes": ["s", "x"]}, "/sizes/1", "must be m or s"),
        ({"inner": {"size": "x"}}, "/inner/size", "must be m or s"),
        ({"inner": {"code": "x"}}, "/inner/code", "must begin with a"),
        ({"inners": [{}, {"size": "x"}]}, "/inners/1/size", "must be m or s"),
        ({"inners": [{}, {"more": 1}]}, "/inners/1/more", "is not known here"),
        ({"by_name": {"one": {"size": "x"}}}, "/by_name/.../size", "must be m or s"),
    ],
)
def test_a_nested_fault_names_its_place_and_its_rule(
    values: dict[str, Any], pointer: str, detail: str
) -> None:
    (fault,) = faults_of(values, Outer)
    assert (fault.pointer, fault.detail) == (pointer, detail)
