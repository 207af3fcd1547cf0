"""A body sets what it is said to set, and nothing else (OWASP API3:2023)."""

from __future__ import annotations

import pytest

from tests.attacks.test_access import ACCESS
from tests.eventapi.http.client import PASSWORD, PREFIXES, Api, assert_problem

NAMES = ("owner", "owner_id", "id", "disabled", "roles", "version", "created_at", "__proto__")
RIGHT = {
    "/auth/register": {"username": "eve", "email": "eve@example.org", "password": PASSWORD},
    "/auth/refresh": {"refresh_token": "x"},
}
"""Bodies whose only fault is what is added."""

BODIES = [
    (method, path, RIGHT.get(path, rule.body))
    for (method, path), rule in ACCESS.items()
    if rule.body
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    ("method", "path", "body"), BODIES, ids=[f"{method} {path}" for method, path, _ in BODIES]
)
def test_what_a_body_may_not_set_is_refused_and_nothing_is_written(
    prefix: str, method: str, path: str, body: dict[str, object]
) -> None:
    with Api() as api:
        ann = api.caller()
        ann.request("POST", "/items", json={"title": "hers"})
        me, before = ann.request("GET", "/auth/me").json(), api.log.position
        for name in NAMES:
            answer = ann.request(
                method, prefix + path.replace("{item_id}", "1"), json=body | {name: 1}
            )
            problem = assert_problem(answer, 422, "validation-failed")
            assert f"/{name}" in [error["pointer"] for error in problem["errors"]]
        assert api.log.position == before
        assert ann.request("GET", "/auth/me").json() == me
