"""Actions over HTTP: arguments, conditions, refusals, mistakes of the application, history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from eventapi.resources import Refused
from eventapi.telemetry.server_log import LineFormatter
from tests.eventapi.http.client import Caller, assert_problem
from tests.eventapi.http.resources.kinds import INVOICES
from tests.eventapi.http.resources.server import ResourceApi


@pytest.fixture(scope="module")
def server() -> Iterator[ResourceApi]:
    with ResourceApi(INVOICES) as running:
        yield running


@pytest.fixture
def me(server: ResourceApi) -> Caller:
    return server.user()


def invoice(me: Caller, number: str = "A-1", **values: Any) -> dict[str, Any]:
    answer = me.post("/invoices", json={"number": number, **values})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_an_action_needs_no_body_if_no_parameter_is_required(me: Caller) -> None:
    ways: tuple[dict[str, Any], ...] = ({}, {"json": {}})
    for how in ways:
        one = invoice(me, f"B-{len(how)}")
        answer = me.post(f"/invoices/{one['id']}/pay", **how)
        assert answer.status_code == 200, answer.text
        assert answer.json() == one | {
            "paid": True,
            "updated_at": answer.json()["updated_at"],
            "version": int(answer.headers["event-position"]),
        }
        assert answer.headers["etag"] == me.get(f"/invoices/{one['id']}").headers["etag"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/cents"]),
        ({"cents": "5"}, ["/cents"]),
        ({"cents": 0}, ["/cents"]),
        ({"cents": True}, ["/cents"]),
        ({"cents": 2**63}, ["/cents"]),
        ({"cents": 1, "reason": 5}, ["/reason"]),
        ({"cents": 1, "reason": "a\u202eb"}, ["/reason"]),
        ({"cents": 1, "nope": 1}, ["/nope"]),
        ({"nope": 1, "reason": None}, ["/cents", "/nope", "/reason"]),
        # Valid arguments that make a field invalid.
        ({"cents": 2_000_000}, ["/cents"]),
    ],
)
def test_faults_of_arguments_are_named(me: Caller, body: Any, pointers: list[str]) -> None:
    one = invoice(me)
    problem = assert_problem(
        me.post(f"/invoices/{one['id']}/charge", json=body), 422, "validation-failed"
    )
    assert sorted(fault["pointer"] for fault in problem["errors"]) == pointers
    assert me.get(f"/invoices/{one['id']}").json() == one


@pytest.mark.parametrize(
    ("how", "status", "slug"),
    [
        ({}, 415, "unsupported-media-type"),
        ({"content": b"", "headers": {"content-type": "application/json"}}, 400, "malformed-body"),
        ({"content": b"[", "headers": {"content-type": "application/json"}}, 400, "malformed-body"),
        ({"json": None}, 415, "unsupported-media-type"),
        ({"json": []}, 422, "validation-failed"),
        ({"data": {"cents": "1"}}, 415, "unsupported-media-type"),
    ],
)
def test_a_required_body_is_required(me: Caller, how: Any, status: int, slug: str) -> None:
    one = invoice(me)
    assert_problem(me.post(f"/invoices/{one['id']}/charge", **how), status, slug)


def test_a_default_of_a_parameter_is_used(me: Caller) -> None:
    one = invoice(me)
    answer = me.post(f"/invoices/{one['id']}/charge", json={"cents": 7})
    assert answer.json()["cents"] == 7


def test_a_refusal_is_answered_with_its_text(me: Caller) -> None:
    path = f"/invoices/{invoice(me)['id']}/pay"
    paid = me.post(path).json()
    problem = assert_problem(me.post(path), 409, "action-refused")
    assert problem["detail"] == "the invoice is already paid"
    assert me.get(f"/invoices/{paid['id']}").json() == paid


def test_conditions_hold_for_actions(me: Caller) -> None:
    one = invoice(me)
    path, tag = f"/invoices/{one['id']}/charge", f'"{one["version"]}"'
    body = {"cents": 1}
    stale = me.post(path, json=body, headers={"if-match": f'"{one["version"] - 1}"'})
    assert_problem(stale, 412, "precondition-failed")
    known = me.post(path, json=body, headers={"if-none-match": tag})
    assert_problem(known, 412, "precondition-failed")
    assert me.post(path, json=body, headers={"if-match": tag}).status_code == 200


def test_a_repeated_action_takes_effect_once(me: Caller) -> None:
    one = invoice(me)
    path, key = f"/invoices/{one['id']}/charge", {"idempotency-key": "k1"}
    first = me.post(path, json={"cents": 1}, headers=key)
    me.post(path, json={"cents": 1})
    again = me.post(path, json={"cents": 1}, headers=key)
    assert (again.json(), again.headers["etag"]) == (first.json(), first.headers["etag"])
    assert me.get(f"/invoices/{one['id']}").json()["cents"] == 2
    assert_problem(me.post(path, json={"cents": 2}, headers=key), 422, "idempotency-key-reused")


def test_a_repeated_refusal_is_decided_anew(me: Caller) -> None:
    path, key = f"/invoices/{invoice(me)['id']}/pay", {"idempotency-key": "k2"}
    assert me.post(path, headers=key).status_code == 200
    assert me.post(path, headers=key).status_code == 200
    assert_problem(me.post(path), 409, "action-refused")


@pytest.mark.parametrize(
    ("action", "mistake"),
    [
        ("become_a_color", "returned a Color and no Invoice"),
        ("divide", "raised ZeroDivisionError"),
        ("keep_an_object", "raised TypeError"),
        ("leave", "raised SystemExit"),
        ("cancel", "raised CancelledError"),
    ],
)
def test_a_mistake_of_the_application_writes_nothing_and_is_named(
    me: Caller, caplog: pytest.LogCaptureFixture, action: str, mistake: str
) -> None:
    one = invoice(me)
    before = len(me.api.log_lines())
    problem = assert_problem(me.post(f"/invoices/{one['id']}/{action}"), 500, "internal-error")
    assert action not in problem["detail"]

    (logged,) = [record for record in caplog.records if record.levelname == "ERROR"]
    text, line = logged.getMessage(), LineFormatter(as_json=True).format(logged)
    assert text.startswith(
        f"internal-error: the action {action!r} of invoices/{one['id']} {mistake}"
    )
    assert "bug in eventapi" not in line
    assert problem["request_id"] in line
    assert "Traceback" in line
    assert len(me.api.log_lines()) == before
    assert me.get(f"/invoices/{one['id']}").json() == one
    assert me.post(f"/invoices/{one['id']}/pay").status_code == 200


def test_writes_of_the_same_batch_survive_a_mistake(me: Caller) -> None:
    ids = [invoice(me, f"C-{at}")["id"] for at in range(9)]
    answers = me.api.request_all(
        ("POST", f"/api/v2/invoices/{one}/{'divide' if at % 2 else 'pay'}", {"token": me.token})
        for at, one in enumerate(ids)
    )
    assert [answer.status_code for answer in answers] == [200, 500] * 4 + [200]
    paid = [me.get(f"/invoices/{one}").json()["paid"] for one in ids]
    assert paid == [True, False] * 4 + [True]


@pytest.mark.parametrize(
    ("action", "pointer"), [("keep_infinity", "/rate"), ("rename_a_class", "/customer")]
)
def test_an_action_cannot_make_a_value_invalid(me: Caller, action: str, pointer: str) -> None:
    one = invoice(me)
    answer = me.post(f"/invoices/{one['id']}/{action}")
    problem = assert_problem(answer, 422, "validation-failed")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    assert me.get(f"/invoices/{one['id']}").json() == one


def test_a_list_that_an_action_changes_in_place_is_a_change_of_the_event(me: Caller) -> None:
    one = invoice(me, tags=["a"])
    path = f"/invoices/{one['id']}"
    answer = me.post(f"{path}/tag_in_place", json={"tag": "b"})

    assert answer.status_code == 200
    last = me.get(f"{path}/history").json()[-1]
    assert (answer.json()["tags"], last["changes"]) == (["a", "b"], {"tags": ["a", "b"]})
    assert (
        me.get(path).json()["tags"]
        == me.get(f"{path}?as_of={answer.json()['version']}").json()["tags"]
    )


def test_an_action_cannot_take_a_unique_value(me: Caller) -> None:
    invoice(me, "D-1")
    other = invoice(me, "D-2")
    path = f"/invoices/{other['id']}/renumber"
    problem = assert_problem(me.post(path, json={"number": "D-1"}), 409, "not-unique")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/number"]
    assert_problem(me.post(path, json={"number": "d 1"}), 422, "validation-failed")
    assert me.post(path, json={"number": "D-3"}).json()["number"] == "D-3"
    assert me.post("/invoices", json={"number": "D-2"}).status_code == 201


def test_the_history_has_the_action_with_its_changes(me: Caller) -> None:
    one = invoice(me)
    me.post(f"/invoices/{one['id']}/charge", json={"cents": 5, "reason": "a private reason"})
    me.post(f"/invoices/{one['id']}/pay")
    entries = me.get(f"/invoices/{one['id']}/history").json()

    assert [(entry["type"], entry["changes"]) for entry in entries[1:]] == [
        ("invoice.charge", {"cents": 5}),
        ("invoice.pay", {"paid": True}),
    ]


def test_arguments_are_sealed(me: Caller) -> None:
    one = invoice(me)
    me.post(f"/invoices/{one['id']}/charge", json={"cents": 5, "reason": "a private reason"})
    line = me.api.log_lines()[-1]
    record = msgspec.json.decode(line)

    assert record["type"] == "invoice.charge"
    assert record["data"].keys() == {"clear", "sealed"}
    assert record["data"]["clear"] == {"cents": 5}
    assert b"private" not in line
    assert b"reason" not in line


def test_an_action_of_a_foreign_resource_is_not_found(me: Caller, server: ResourceApi) -> None:
    other = server.user()
    one = invoice(other)
    unknown = me.post("/invoices/999999/pay").json()
    found = me.post(f"/invoices/{one['id']}/pay").json()
    assert found["status"] == 404
    assert found | {"request_id": ""} == unknown | {"request_id": ""}


@pytest.mark.parametrize("reason", ["", " ", "\n"])
def test_a_refusal_without_a_reason_has_a_text(me: Caller, reason: str) -> None:
    one = invoice(me, "H-1")
    answer = me.post(f"/invoices/{one['id']}/hesitate", json={"reason": reason.strip("\n")})
    problem = assert_problem(answer, 409, "action-refused")
    assert problem["detail"] == str(Refused()) == str(Refused(reason))
    assert "reason" in problem["detail"]
    given = me.post(f"/invoices/{one['id']}/hesitate", json={"reason": "not today"})
    assert given.json()["detail"] == "not today"
