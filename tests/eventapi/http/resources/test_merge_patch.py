"""Merge patches (RFC 7396): objects are merged at any depth, and null removes a member."""

# ruff: noqa: RUF012 - a Struct copies its default values

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from msgspec import Meta

from eventapi.resources import Clear, Resource
from eventapi.resources.merging import merged_values, patch_type
from eventapi.resources.registry import Registry
from tests.eventapi.http.client import Caller, assert_problem
from tests.eventapi.http.resources.server import ResourceApi


class Point(msgspec.Struct, rename="camel", frozen=True):
    """A nested value in another one."""

    north_east: int
    name: str = "here"


class Address(msgspec.Struct):
    """A nested value."""

    city: Annotated[str, Meta(min_length=1)]
    zip: str | None = None
    lines: list[str] = []
    point: Point = Point(0)


class Contact(Resource):
    """A kind with objects, sealed and clear."""

    name: str
    address: Address
    tags: Annotated[dict[str, dict[str, int]], Meta(max_length=2)] = {}
    other: Clear[Address | None] = None


REGISTRY = Registry([Contact])
START: dict[str, Any] = {
    "name": "Ann",
    "address": {"city": "Bonn", "zip": "53111", "lines": ["a"], "point": {"northEast": 1}},
    "tags": {"a": {"x": 1, "y": 2}, "b": {}},
}


@pytest.fixture(scope="module")
def api() -> Iterator[ResourceApi]:
    with ResourceApi(REGISTRY) as running:
        yield running


@pytest.fixture
def me(api: ResourceApi) -> Caller:
    return api.user()


def path_of_new(me: Caller) -> str:
    answer = me.post("/contacts", json=START)
    assert answer.status_code == 201, answer.text
    return f"/contacts/{answer.json()['id']}"


@pytest.mark.parametrize(
    ("patch", "field", "expected"),
    [
        ({"address": {"city": "Ulm"}}, "address.city", "Ulm"),
        ({"address": {"city": "Ulm"}}, "address.zip", "53111"),
        ({"address": {"point": {"northEast": 2}}}, "address.point.northEast", 2),
        ({"address": {"point": {"northEast": 2}}}, "address.lines", ["a"]),
        ({"address": {"zip": None}}, "address.zip", None),
        ({"address": {"point": None}}, "address.point", {"northEast": 0, "name": "here"}),
        ({"address": {"lines": ["b"]}}, "address.lines", ["b"]),
        ({"tags": {"a": {"x": None}}}, "tags", {"a": {"y": 2}, "b": {}}),
        ({"tags": {"a": None, "c": {"z": 3}}}, "tags", {"b": {}, "c": {"z": 3}}),
        ({"tags": {"a": None, "nothing": None}}, "tags", {"b": {}}),
        ({"other": {"city": "Ulm", "zip": None}}, "other.city", "Ulm"),
        ({"other": None}, "other", None),
        ({}, "name", "Ann"),
    ],
)
def test_objects_are_merged(me: Caller, patch: Any, field: str, expected: Any) -> None:
    path = path_of_new(me)
    before = me.get(path).json()

    answer = me.patch(path, json=patch)

    assert answer.status_code == 200, answer.text
    found = answer.json()
    value = found
    for step in field.split("."):
        value = value[step]
    assert value == expected
    assert {name for name in START if found[name] != before[name]} <= patch.keys()


@pytest.mark.parametrize(
    ("patch", "pointers"),
    [
        ({"address": {"city": None}}, ["/address/city"]),
        ({"address": {"city": ""}}, ["/address/city"]),
        ({"address": {"unknown": 1}}, ["/address/unknown"]),
        ({"address": None}, ["/address"]),
        ({"other": {"zip": "1"}}, ["/other/city"]),
        ({"tags": {"c": {}}}, ["/tags"]),
        ({"address": {"city": None}, "tags": {"c": {}}}, ["/address/city", "/tags"]),
    ],
)
def test_a_merged_value_obeys_the_rules(me: Caller, patch: Any, pointers: list[str]) -> None:
    path = path_of_new(me)
    before = me.get(path).json()

    problem = assert_problem(me.patch(path, json=patch), 422, "validation-failed")

    assert [fault["pointer"] for fault in problem["errors"]] == pointers
    assert me.get(path).json() == before


def test_two_patches_of_one_object_at_once_both_count(me: Caller) -> None:
    path = path_of_new(me)
    patches: list[Any] = [{"city": "Ulm"}, {"zip": "1"}, {"lines": []}]
    patches.append({"point": {"name": "there"}})
    requests = [
        ("PATCH", f"/api/v2{path}", {"token": me.token, "json": {"address": one}})
        for one in patches
    ]

    assert {answer.status_code for answer in me.api.request_all(requests)} == {200}

    expected: Any = {"city": "Ulm", "zip": "1", "lines": []}
    expected |= {"point": {"northEast": 1, "name": "there"}}
    assert me.get(path).json()["address"] == expected


def test_a_patch_in_a_batch_sees_the_patch_before_it(me: Caller) -> None:
    path = path_of_new(me)
    bodies = [{"tags": {"a": {"x": None}}}, {"tags": {"a": {"z": 9}, "b": None}}]
    requests = [{"method": "PATCH", "path": path, "body": one} for one in bodies]

    assert me.post("/batch", json={"requests": requests}).status_code == 200

    assert me.get(path).json()["tags"] == {"a": {"y": 2, "z": 9}}


def test_put_replaces_objects(me: Caller) -> None:
    path = path_of_new(me)
    found = me.put(path, json={"name": "Ann", "address": {"city": "Ulm"}}).json()
    assert (found["address"]["zip"], found["tags"]) == (None, {})


def test_history_has_the_merged_object(me: Caller) -> None:
    path = path_of_new(me)
    me.patch(path, json={"address": {"city": "Ulm"}})
    change = me.get(f"{path}/history").json()[-1]["changes"]
    point = {"northEast": 1, "name": "here"}
    assert change == {"address": {**START["address"], "city": "Ulm", "point": point}}


def apply_patch(target: Any, patch: Any) -> Any:
    """The model: RFC 7396, section 2, as its pseudocode."""
    if not isinstance(patch, dict):
        return patch
    if not isinstance(target, dict):
        target = {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = apply_patch(target.get(name), value)
    return target


class Bag(Resource):
    """A dict of everything that a field can have."""

    values: dict[str, dict[str, dict[str, int]]] = {}


_BAG = Registry([Bag]).by_collection["bags"]
_DEEP: Any = st.dictionaries(
    st.sampled_from("abc"),
    st.none()
    | st.dictionaries(
        st.sampled_from("abc"),
        st.none() | st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(0, 3)),
    ),
)


@for_all(_DEEP, _DEEP)
def test_merging_is_that_of_the_rfc(first: Any, second: Any) -> None:
    bag = _BAG.type.entity(1, {}, 1, "", "", 1)
    kind = patch_type(_BAG.strict["values"])
    expected: Any = {}
    for patch in (first, second):
        values = merged_values(_BAG, bag, {"values": msgspec.convert(patch, kind)})
        bag = msgspec.structs.replace(bag, **values)
        expected = apply_patch(expected, patch)
        assert bag.values == expected
