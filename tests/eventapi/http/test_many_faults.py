"""What it costs to check an input: many values are checked at once, and many faults are cut."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from eventapi.http import faults_v1
from eventapi.http.routes.batch_parsing import BYTES_PER_TURN, parse_requests, writes_by_place
from eventapi.http.schemas.batch import MAX_REQUESTS, BatchRequest
from eventapi.http.schemas.resources import shape_of
from eventapi.http.schemas.responses import V2
from eventapi.resources import Resource
from eventapi.resources.registry import Registry
from eventapi.values import validation
from eventapi.values.validation import MAX_FAULT_CHARACTERS, MAX_FAULTS
from tests.eventapi.http.client import Caller, assert_problem
from tests.eventapi.http.resources.server import ResourceApi
from tests.eventapi.http.turns import turns_during

MANY = 3 * MAX_FAULTS
JSON = {"content-type": "application/json"}


class Place(msgspec.Struct):
    """A nested value, which is deeper than a member of the body."""

    floors: list[int] = msgspec.field(default_factory=list)
    rent: Decimal = Decimal(0)


class Thing(Resource):
    """A kind whose values have room for many faults."""

    numbers: list[int] = msgspec.field(default_factory=list)
    by_name: dict[str, int] = msgspec.field(default_factory=dict)
    places: list[Place] = msgspec.field(default_factory=list)
    prices: list[Decimal] = msgspec.field(default_factory=list)
    rents: dict[str, Decimal] = msgspec.field(default_factory=dict)
    deep: dict[str, dict[str, list[int]]] = msgspec.field(default_factory=dict)


REGISTRY = Registry([Thing])
BODIES: dict[str, dict[str, Any]] = {
    "elements": {"numbers": [""] * MANY},
    "members": {"by_name": dict.fromkeys(map(str, range(MANY)), "")},
    "unknown members": dict.fromkeys(map(str, range(MANY)), 1),
    "nested elements": {"places": [{"floors": [""] * 20}] * (MANY // 20)},
}


@pytest.fixture(scope="module")
def api() -> Iterator[ResourceApi]:
    with ResourceApi(REGISTRY) as running:
        yield running


@pytest.fixture
def me(api: ResourceApi) -> Caller:
    return api.user()


class Counted:
    """Counts the calls of a function of a module."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self.calls = 0
        self._function = getattr(module, name)
        monkeypatch.setattr(module, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self._function(*args, **kwargs)


def sent(me: Caller, method: str, path: str, body: Any) -> httpx.Response:
    return me.request(method, path, content=msgspec.json.encode(body), headers=JSON)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_only_the_first_faults_are_reported(me: Caller, body: dict[str, Any]) -> None:
    problem = assert_problem(sent(me, "POST", "/things", body), 422, "validation-failed")

    *first, last = problem["errors"]
    assert len({fault["pointer"] for fault in first}) == MAX_FAULTS
    assert last == {"pointer": "", "detail": "there are more faults than these"}


@pytest.mark.parametrize("length", [5_000, 40_000])
def test_a_long_name_is_not_repeated_for_each_fault_below_it(me: Caller, length: int) -> None:
    """The name is in the pointer of each fault, so the answer would be a thousand times as long."""
    deep = {"n" * length: {"m" * 1_000: [""] * MAX_FAULTS}}
    part = {"method": "POST", "path": "/things", "body": {"deep": deep}}
    for path, body in (("/things", part["body"]), ("/batch", {"requests": [part] * 5})):
        answer = sent(me, "POST", path, body)
        problem = assert_problem(answer, 422, "validation-failed")
        assert problem["errors"][-1]["detail"] == "there are more faults than these"
        assert len(answer.content) < 4 * MAX_FAULT_CHARACTERS


@pytest.mark.parametrize("body", [BODIES["elements"], BODIES["members"]], ids=["list", "object"])
def test_no_further_faults_are_searched(
    me: Caller, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    explained = Counted(monkeypatch, validation, "explain")
    assert_problem(sent(me, "POST", "/things", body), 422, "validation-failed")
    assert MAX_FAULTS < explained.calls < MAX_FAULTS + 10


def test_a_batch_reports_the_first_faults_of_all_of_its_requests(
    me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained = Counted(monkeypatch, validation, "explain")
    part = {"method": "POST", "path": "/things", "body": {"numbers": [""] * (MAX_FAULTS // 2)}}
    answer = sent(me, "POST", "/batch", {"requests": [part] * 100})

    problem = assert_problem(answer, 422, "validation-failed")
    assert problem["errors"][0]["pointer"] == "/requests/0"
    assert problem["errors"][-1]["detail"] == "there are more faults than these"
    assert explained.calls < 2 * MAX_FAULTS


def test_requests_of_a_batch_that_are_too_many_are_not_all_searched(
    me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained = Counted(monkeypatch, validation, "explain")
    problem = assert_problem(
        sent(me, "POST", "/batch", {"requests": [1] * MANY}), 422, "validation-failed"
    )
    assert problem["errors"][0]["pointer"] == "/requests"
    assert explained.calls < MAX_FAULTS + 10


def test_version_1_decodes_the_body_once_for_all_faults(
    me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = Counted(monkeypatch, faults_v1, "_document")
    answer = sent(me.under("/api/v1"), "POST", "/auth/keys", {"name": "", "scopes": ["x"] * MANY})
    assert_problem(answer, 422, "validation-failed")

    detail = answer.json()["detail"]
    assert [fault["loc"] for fault in detail[:3]] == [
        ["body", "name"],
        ["body", "scopes"],
        ["body", "scopes", 0],
    ]
    assert detail[-1]["loc"] == ["body"]
    assert len(detail) == MAX_FAULTS + 1
    assert decoded.calls == 1


def test_control_as_many_faults_as_are_reported_are_all_there_are(me: Caller) -> None:
    body = {"numbers": [""] * MAX_FAULTS}
    problem = assert_problem(sent(me, "POST", "/things", body), 422, "validation-failed")
    assert [fault["pointer"] for fault in problem["errors"]] == [
        f"/numbers/{at}" for at in range(MAX_FAULTS)
    ]


def filled(field: str, value: Any, count: int) -> dict[str, Any]:
    """A body with so many equal values in a list or an object."""
    names = field in {"by_name", "rents"}
    return {field: dict.fromkeys(map(str, range(count)), value) if names else [value] * count}


VALUES: list[tuple[str, Any, Any, str]] = [
    ("numbers", 1, "1", ""),
    ("by_name", 1, "1", ""),
    ("prices", "1.5", 1.5, ""),
    ("prices", "1.5", "1_5", ""),
    ("rents", "1.5", 1, ""),
    ("places", {"rent": "1"}, {"rent": 1}, "/rent"),
    ("places", {"floors": [1]}, {"floors": [1, ""]}, "/floors/1"),
]


@pytest.mark.parametrize("case", VALUES, ids=lambda case: case[0])
def test_one_fault_among_many_values_is_found_without_a_check_of_each(
    me: Caller, case: tuple[str, Any, Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    field, value, bad, below = case
    body = filled(field, value, MANY)
    place: Any = "1234" if isinstance(body[field], dict) else 1234
    body[field][place] = bad
    checked = Counted(monkeypatch, validation, "_converted")

    problem = assert_problem(sent(me, "POST", "/things", body), 422, "validation-failed")

    assert [fault["pointer"] for fault in problem["errors"]] == [f"/{field}/1234{below}"]
    assert checked.calls < 100


@pytest.mark.parametrize(("field", "value"), [one[:2] for one in VALUES])
def test_many_good_values_are_checked_at_once(
    me: Caller, field: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = Counted(monkeypatch, validation, "_converted")
    body = filled(field, value, MAX_FAULTS)
    assert sent(me, "POST", "/things", body).status_code == 201
    assert checked.calls < 20


def test_other_requests_run_while_a_long_batch_is_parsed() -> None:
    writes = writes_by_place([shape_of(REGISTRY.by_collection["things"], V2)])
    numbers = b",".join([b"1"] * BYTES_PER_TURN)
    part = BatchRequest("POST", "/things", msgspec.Raw(b'{"numbers":[%b]}' % numbers))
    assert turns_during(parse_requests([part] * 5, writes, ())) >= 4


def test_a_short_batch_is_parsed_in_one_turn() -> None:
    writes = writes_by_place([shape_of(REGISTRY.by_collection["things"], V2)])
    part = BatchRequest("POST", "/things", msgspec.Raw(b'{"numbers":[1]}'))
    assert turns_during(parse_requests([part] * MAX_REQUESTS, writes, ())) == 0
