"""A body sets only the documented members of a resource (OWASP API3:2023)."""

from __future__ import annotations

import re

import pytest

from eventapi.commands.users import GrantRole
from tests.eventapi.http.client import OPERATOR, PASSWORD, Api, Caller, assert_problem
from tests.security.operations import ACCESS

NAMES = ("owner", "owner_id", "id", "disabled", "roles", "version", "created_at", "__proto__")
RIGHT = {
    "/auth/register": {"username": "eve", "email": "eve@example.org", "password": PASSWORD},
    "/auth/refresh": {"refresh_token": "x"},
}
"""Bodies whose only fault is the member that a test adds."""

_TIMES = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z")

BODIES = [
    (method, path, RIGHT.get(path, rule.body))
    for (method, path), rule in ACCESS.items()
    if rule.body
]


EACH_BODY = pytest.mark.parametrize(
    ("method", "path", "body"), BODIES, ids=[f"{method} {path}" for method, path, _ in BODIES]
)


@EACH_BODY
def test_unknown_members_of_a_body_are_refused(
    method: str, path: str, body: dict[str, object]
) -> None:
    with Api() as api:
        ann = api.caller()
        ann.request("POST", "/items", json={"title": "hers"})
        if path.startswith(("/users", "/webhooks")):
            api.execute(GrantRole(ann.name, "operator", OPERATOR))
        me, before = ann.request("GET", "/auth/me").json(), api.log.position
        place = (
            path.replace("{item_id}", "1").replace("{user_id}", "1").replace("{webhook_id}", "1")
        )

        for name in NAMES:
            answer = ann.request(method, f"/api/v2{place}", json=body | {name: 1})
            problem = assert_problem(answer, 422, "validation-failed")
            assert f"/{name}" in [error["pointer"] for error in problem["errors"]]

        assert api.log.position == before
        assert ann.request("GET", "/auth/me").json() == me


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
@EACH_BODY
def test_unknown_members_of_a_body_have_no_effect_in_version_1(
    prefix: str, method: str, path: str, body: dict[str, object]
) -> None:
    place = prefix + path.replace("{item_id}", "1")
    values: list[object] = [True, "eve", ["auditor"]]
    extras = [dict.fromkeys(NAMES, value) for value in values]
    plain = _effect(method, place, body)

    assert [_effect(method, place, body | extra) for extra in extras] == [plain] * len(extras)


def _effect(method: str, place: str, body: dict[str, object]) -> list[object]:
    """Everything that Ann and Eve can see after a request of Ann, except times."""
    with Api() as api:
        ann = api.caller("ann", "/api/v2")
        ann.request("POST", "/items", json={"title": "hers"})
        answer = api.request(method, place, token=ann.token, json=body)
        seen: list[object] = [answer.status_code, api.log.position]
        for name in ("ann", "eve"):
            login = api.login(name)
            seen.append(login.status_code)
            if login.is_success:
                caller = Caller(api, name, login.json(), "/api/v2")
                for path in ("/auth/me", "/items", "/items/1", "/items/1/history"):
                    read = caller.get(path)
                    seen += [read.status_code, _TIMES.sub("", read.text) if read.is_success else ""]
        return seen
