"""Version 1: the behaviour and error texts of the replaced service."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from eventapi.http.problems import problem_response
from events.errors import Fault, Invalid
from tests.eventapi.http.client import (
    PASSWORD,
    Api,
    Caller,
    assert_problem,
    credentials,
    http_scope,
    registration,
)

V1 = pytest.mark.parametrize("prefix", ["", "/api/v1"])


def faults(answer: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.json()["detail"]
    return found


@V1
def test_unknown_members_of_a_body_are_ignored(api: Api, prefix: str) -> None:
    name = f"dropped{len(prefix)}"
    body = registration(name)
    extra = {"confirm_password": PASSWORD, "disabled": True, "roles": ["operator"], "": {}}
    assert api.request("POST", f"{prefix}/auth/register", json=body | extra).status_code == 200

    login = credentials(name) | {"remember": True}
    tokens = api.request("POST", f"{prefix}/auth/login", json=login).json()
    me = Caller(api, name, tokens, "/api/v2").get("/auth/me").json()
    assert (me["disabled"], me["roles"]) == (False, [])


@V1
def test_an_item_can_be_put_back_as_it_was_read(ann: Caller, bob: Caller, prefix: str) -> None:
    me = ann.under(prefix)
    item = me.get(f"/items/{me.create()}").json()
    answer = me.put(f"/items/{item['id']}", json=item | {"title": "changed"})
    assert answer.json() == item | {"title": "changed"}

    stolen = item | {"id": 10**6, "owner": bob.name, "created_at": "never"}
    answer = me.put(f"/items/{item['id']}", json=stolen)
    assert answer.json() == item


def test_control_version_2_refuses_the_same_body(ann: Caller) -> None:
    me = ann.under("/api/v2")
    item = me.get(f"/items/{me.create()}").json()

    answer = me.put(f"/items/{item['id']}", json=item)
    problem = assert_problem(answer, 422, "validation-failed")
    unknown = [fault["pointer"] for fault in problem["errors"]]

    assert unknown == ["/id", "/owner", "/created_at", "/updated_at", "/version"]


@V1
def test_faults_are_listed_in_the_shape_of_fastapi(ann: Caller, prefix: str) -> None:
    answer = ann.under(prefix).post("/items", json={"title": "", "description": 5})

    assert_problem(answer, 422, "validation-failed")
    assert faults(answer) == [
        {
            "type": "string_too_short",
            "loc": ["body", "title"],
            "msg": "must not be empty",
            "input": "",
        },
        {
            "type": "string_type",
            "loc": ["body", "description"],
            "msg": "must be a string, not a whole number",
            "input": 5,
        },
    ]


def test_faults_of_all_fields_are_listed_together(api: Api, prefix: str) -> None:
    body = {"username": "a b", "email": "nobody", "password": "short", "full_name": "\u200b"}

    answer = api.request("POST", f"{prefix}/auth/register", json=body)
    problem = assert_problem(answer, 422, "validation-failed")
    places = [fault["pointer"] for fault in problem["errors"]]

    assert places == ["/username", "/email", "/password", "/full_name"]


@pytest.mark.parametrize(
    "value", ["canary", ["canary"], {"a": "canary"}, {"password": "canary"}, "canary\x00"]
)
@pytest.mark.parametrize(
    "member", ["password", "current_password", "new_password", "refresh_token", "Passwort"]
)
@pytest.mark.parametrize(
    "path", ["/auth/register", "/auth/login", "/auth/refresh", "/auth/password", "/items"]
)
def test_an_answer_never_repeats_a_secret(
    ann: Caller, path: str, member: str, value: object
) -> None:
    for body in ({member: value}, {"username": 5, member: value}, {"title": {member: value}}):
        answer = ann.post(path, json=body)
        assert answer.status_code in {401, 422}
        assert "canary" not in answer.text


@pytest.mark.parametrize(
    "body", ["canary", ["canary"], {"pasword": "canary"}, {"username": {"pwd": 1}, "pw": "canary"}]
)
@pytest.mark.parametrize("path", ["/auth/register", "/auth/login", "/auth/refresh"])
def test_an_answer_never_repeats_a_secret_under_a_wrong_name(
    api: Api, path: str, body: object
) -> None:
    answer = api.request("POST", path, json=body)

    assert_problem(answer, 422, "validation-failed")
    assert "canary" not in answer.text


@V1
@pytest.mark.parametrize(
    ("scopes", "places"),
    [
        (["x"], [0]),
        ([5, "read"], [0]),
        (["read", "x", "write", None], [1, 3]),
        (["read"] * 10 + ["x"], [10]),
    ],
)
def test_an_element_of_a_list_has_its_index_as_a_number(
    ann: Caller, prefix: str, scopes: list[Any], places: list[int]
) -> None:
    answer = ann.under(prefix).post("/auth/keys", json={"name": "a key", "scopes": scopes})

    assert_problem(answer, 422, "validation-failed")
    found = [fault["loc"] for fault in faults(answer) if len(fault["loc"]) > 2]
    assert found == [["body", "scopes", place] for place in places]
    assert all(type(loc[2]) is int for loc in found)


@pytest.mark.parametrize(
    ("body", "pointer", "loc", "value"),
    [
        (b'{"words":["a",{"b":1}]}', "/words/1/b", ["words", 1, "b"], 1),
        (b'{"words":[["a"]]}', "/words/0/0", ["words", 0, 0], "a"),
        (b'{"words":{"0":["a"]}}', "/words/0/0", ["words", "0", 0], "a"),
        (b'{"0":[5]}', "/0", ["0"], [5]),
        (b"[5,6]", "/1", [1], 6),
        (b'{"words":["a"]}', "/words/7", ["words", 7], None),
        (b'{"words":"a"}', "/words/0", ["words", "0"], None),
        (b'{"tokens":["a"]}', "/tokens/0", ["tokens", 0], None),
        (b"no JSON", "/words/0", ["words", "0"], None),
    ],
)
def test_only_elements_of_lists_have_numbers_as_steps(
    body: bytes, pointer: str, loc: list[str | int], value: Any
) -> None:
    scope: Any = http_scope("/items", method="POST", request_id="1", received=body)

    content = problem_response(Invalid(Fault(pointer, "is wrong")), scope).body
    (fault,) = msgspec.json.decode(content)["detail"]

    assert fault["loc"] == ["body", *loc]
    assert [type(step) for step in fault["loc"][1:]] == [type(step) for step in loc]
    assert fault["input"] == value


def test_a_missing_member_is_reported_with_the_incomplete_object(api: Api) -> None:
    body = {"email": "a@example.org", "password": PASSWORD}

    answer = api.request("POST", "/auth/register", json=body)
    (fault,) = faults(answer)

    assert (fault["type"], fault["loc"]) == ("missing", ["body", "username"])
    assert fault["input"] == {"email": "a@example.org"}


def test_faults_of_a_query_name_its_parameters(ann: Caller) -> None:
    answer = ann.get("/items?limit=0&order=up&q=%00&skip=5")

    assert_problem(answer, 422, "validation-failed")
    assert [(fault["loc"], fault["input"]) for fault in faults(answer)] == [
        (["query", "limit"], "0"),
        (["query", "order"], "up"),
        (["query", "q"], "\x00"),
        (["query", "skip"], "5"),
    ]


@pytest.mark.parametrize("name", ["1", "٣", "a/b~c", "1" * 5000])
def test_names_of_parameters_are_always_strings(ann: Caller, name: str) -> None:
    answer = ann.get("/items?" + urlencode({name: "x"}))

    assert_problem(answer, 422, "validation-failed")
    assert [(fault["loc"], fault["input"]) for fault in faults(answer)] == [(["query", name], "x")]


def test_a_repeated_parameter_is_reported_with_the_other_faults(ann: Caller) -> None:
    answer = ann.get("/items?limit=1&limit=2&skip=1&skip=2&order=up")
    found = [(fault["loc"][1], fault["msg"]) for fault in faults(answer)]

    assert found == [
        ("order", "must be asc or desc"),
        ("limit", "is given more than once"),
        ("skip", "is not a parameter of this request"),
    ]


@pytest.mark.parametrize("as_of", ["999999", "2026-02-30T00:00:00Z"])
def test_an_invalid_point_in_time_is_a_fault_of_the_query_or_body(ann: Caller, as_of: str) -> None:
    for path in ("/items", f"/items/{ann.create()}"):
        (fault,) = faults(ann.get(path, params={"as_of": as_of}))
        assert (fault["loc"], fault["input"]) == (["query", "as_of"], as_of)
    (fault,) = faults(ann.post(f"/items/{ann.create()}/restore", json={"as_of": as_of}))

    assert (fault["loc"], fault["input"]) == (["body", "as_of"], as_of)


def test_the_detail_of_every_422_is_a_list(ann: Caller) -> None:
    headers = {"idempotency-key": "k"}
    assert ann.post("/items", json={"title": "a"}, headers=headers).status_code == 200

    answer = ann.post("/items", json={"title": "b"}, headers=headers)
    assert_problem(answer, 422, "idempotency-key-reused")
    assert [fault["loc"] for fault in faults(answer)] == [["header"]]


@V1
@pytest.mark.parametrize(
    ("path", "status", "slug", "detail"),
    [
        ("/items/999999", 404, "not-found", "Item not found"),
        ("/items/none", 404, "not-found", "Item not found"),
        ("/items/1/2/3", 404, "not-found", "Not Found"),
        ("/auth/nothing", 404, "not-found", "Not Found"),
        ("/auth/login", 405, "method-not-allowed", "Method Not Allowed"),
    ],
)
def test_errors_have_the_texts_of_the_replaced_service(  # noqa: PLR0917 - pytest passes them by name
    ann: Caller, prefix: str, path: str, status: int, slug: str, detail: str
) -> None:
    assert assert_problem(ann.under(prefix).get(path), status, slug)["detail"] == detail


@V1
def test_errors_of_a_login_have_the_texts_of_the_replaced_service(ann: Caller, prefix: str) -> None:
    body = credentials(ann.name, "a wrong one")
    answer = ann.api.request("POST", f"{prefix}/auth/login", json=body)
    problem = assert_problem(answer, 401, "invalid-credentials")
    assert problem["detail"] == "Incorrect username or password"

    problem = assert_problem(ann.api.request("GET", f"{prefix}/items"), 401, "unauthenticated")
    assert problem["detail"] == "Not authenticated"

    answer = ann.api.request("GET", f"{prefix}/items", token="forged")
    assert (
        assert_problem(answer, 401, "unauthenticated")["detail"] == "Could not validate credentials"
    )


@V1
def test_taken_names_and_addresses_are_400(api: Api, prefix: str) -> None:
    ann = api.caller()
    body = registration(ann.name.upper(), email="other@example.org")
    answer = api.request("POST", f"{prefix}/auth/register", json=body)
    assert assert_problem(answer, 400, "username-taken")["detail"] == "Username already registered"

    body |= {"username": "somebody-else", "email": f"{ann.name}@EXAMPLE.org"}
    answer = api.request("POST", f"{prefix}/auth/register", json=body)
    assert_problem(answer, 400, "email-taken")

    answer = api.request("POST", "/api/v2/auth/register", json=body)
    assert_problem(answer, 409, "email-taken")


@V1
def test_a_body_without_a_content_type_is_json(ann: Caller, prefix: str) -> None:
    me = ann.under(prefix)
    assert me.post("/items", content=b'{"title": "raw"}').json()["title"] == "raw"
    login = msgspec.json.encode(credentials(ann.name))
    assert ann.api.request("POST", f"{prefix}/auth/login", content=login).status_code == 200


@V1
def test_a_login_accepts_multipart_form_data(ann: Caller, prefix: str) -> None:
    form = {"username": (None, ann.name), "password": (None, PASSWORD), "file": ("a.txt", b"x")}

    answer = ann.api.request("POST", f"{prefix}/auth/login", files=form)

    assert answer.status_code == 200
    assert Caller(ann.api, ann.name, answer.json(), prefix).get("/items").status_code == 200


def _part(name: str, value: bytes, kind: str = "") -> bytes:
    declared = f"\r\ncontent-type: {kind}" if kind else ""
    head = f'--b\r\ncontent-disposition: form-data; name="{name}"{declared}\r\n\r\n'
    return head.encode() + value + b"\r\n"


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("multipart/form-data", b"--b--"),
        ("multipart/form-data; boundary=", b"--b--"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"no parts at all"),
        ("multipart/form-data; boundary=b", _part("username", b"ann")),
        ("multipart/form-data; boundary=b", _part("username", b"\xff") + b"--b--"),
        ("multipart/form-data; boundary=b", _part("a", b"") * 100 + b"--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\n\r\n--b--"),
        ("multipart/form-data; boundary=b; charset=utf-8", b"--b\r\nno-colon\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=\xe9", b"--\xe9--"),
    ],
)
def test_an_invalid_multipart_form_is_refused(api: Api, kind: str, content: bytes) -> None:
    headers = [(b"content-type", kind.encode("latin-1"))]

    answer = api.request("POST", "/auth/login", content=content, headers=headers)

    assert answer.status_code in {400, 422}, answer.text
    assert_problem(
        answer,
        answer.status_code,
        {400: "malformed-body", 422: "validation-failed"}[answer.status_code],
    )


def test_an_unknown_charset_of_a_multipart_field_is_ignored(api: Api) -> None:
    content = _part("username", b"ann", "text/plain; charset=nonsense")
    content += _part("password", b"a wrong one") + b"--b--"
    headers = {"content-type": "multipart/form-data; boundary=b"}

    answer = api.request("POST", "/auth/login", content=content, headers=headers)

    assert_problem(answer, 401, "invalid-credentials")


def test_version_2_refuses_a_multipart_form_and_names_accepted_types(api: Api) -> None:
    form = {"username": (None, "ann"), "password": (None, PASSWORD)}

    answer = api.request("POST", "/api/v2/auth/login", files=form)
    problem = assert_problem(answer, 415, "unsupported-media-type")

    assert "application/x-www-form-urlencoded" in problem["detail"]


@V1
def test_a_list_without_a_limit_has_all_items(new_api: Api, prefix: str) -> None:
    me = new_api.caller().under(prefix)
    numbers = [me.create(f"number {number}") for number in range(130)]
    answer = me.get("/items")
    assert [item["id"] for item in answer.json()] == numbers
    assert "link" not in answer.headers
    assert [item["id"] for item in me.get("/items?order=desc").json()] == numbers[::-1]

    found = [item["id"] for item in me.get("/items?q=number+1").json()]
    assert found == [
        number for number, at in zip(numbers, range(130), strict=True) if str(at)[0] == "1"
    ]

    before = new_api.log.position
    me.delete(f"/items/{numbers[0]}")
    assert [item["id"] for item in me.get(f"/items?as_of={before}").json()] == numbers
    assert me.head("/items").text == ""
    assert len(me.under("/api/v2").get("/items").json()["items"]) == 100


def test_a_long_list_is_streamed_in_parts(new_api: Api) -> None:
    me = new_api.caller()
    numbers = [me.create() for _ in range(1201)]

    answer = me.get("/items")

    assert [item["id"] for item in answer.json()] == numbers
    assert "content-length" not in answer.headers
    assert me.head("/items").status_code == 200
