"""A refused login does not reveal whether the user exists."""

from __future__ import annotations

import pytest

from tests.eventapi.http.client import Api
from tests.security.logins import roc_area


@pytest.mark.parametrize(
    ("some", "others", "area"),
    [
        ([1, 2, 3], [4, 5, 6], 1.0),
        ([4, 5, 6], [1, 2, 3], 0.0),
        ([1, 2], [1, 2], 0.5),
        ([1, 1, 1], [1], 0.5),
        ([1, 3], [2], 0.5),
        ([1, 2, 2], [2, 3], 5 / 6),
    ],
)
def test_the_area_is_the_probability_to_be_greater(
    some: list[float], others: list[float], area: float
) -> None:
    assert roc_area(some, others) == pytest.approx(area)


def test_a_refused_login_is_identical_for_known_and_unknown_users() -> None:
    with Api() as api:
        caller = api.caller()
        known, unknown = api.login(caller.name, "a wrong one"), api.login("nobody", "a wrong one")
    assert known.status_code == unknown.status_code == 401
    assert known.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}

    same = known.headers.keys() - {"x-request-id"}
    assert {name: known.headers[name] for name in same} == {
        name: unknown.headers[name] for name in same
    }
