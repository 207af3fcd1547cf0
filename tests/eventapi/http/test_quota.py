"""Quotas of users over HTTP: a problem of its own, in both versions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.eventapi.http.client import PASSWORD, Api, assert_problem, quiet_settings


@pytest.fixture
def few() -> Iterator[Api]:
    """A server on which a user may have two items."""
    with Api(quiet_settings(user_quota_items=2)) as api:
        yield api


@pytest.fixture
def small() -> Iterator[Api]:
    """A server on which a user's items may take 2,000 bytes in the log."""
    with Api(quiet_settings(user_quota_bytes=2000)) as api:
        yield api


def test_one_item_too_many_is_refused_until_another_is_deleted(few: Api, prefix: str) -> None:
    me = few.caller("ann").under(prefix)
    first = me.create()
    second = me.create()
    refused = me.post("/items", json={"title": "third"})
    assert_problem(refused, 409, "quota-exceeded")
    assert "2 items" in refused.json()["detail"]
    assert me.request("PUT", f"/items/{first}", json={"title": "changed"}).status_code == 200
    assert me.request("DELETE", f"/items/{second}").status_code == 204
    me.create()
    assert_problem(me.post(f"/items/{second}/restore"), 409, "quota-exceeded")


def test_a_user_whose_bytes_are_used_up_reads_deletes_and_keeps_the_account(
    small: Api, prefix: str
) -> None:
    me, other = small.caller("ann").under(prefix), small.caller("bob").under(prefix)
    number, key = me.create(), {"idempotency-key": "a"}
    path = f"/items/{number}"
    body = {"title": "long", "description": "x" * 2000}
    first = me.request("PUT", path, json=body, headers=key)
    assert first.status_code == 200
    for answer in (
        me.request("PUT", path, json={"title": "more"}),
        me.patch(path, json={"title": "more"}),
        me.post("/items", json={"title": "more"}),
        me.post(f"{path}/restore", json={"as_of": first.headers["event-position"]}),
    ):
        assert_problem(answer, 409, "quota-exceeded")
    assert me.request("PUT", path, json=body, headers=key).content == first.content
    assert me.get(path).status_code == 200
    assert me.request("DELETE", path).status_code == 204
    assert me.patch("/auth/me", json={"full_name": "Ann"}).status_code == 200
    assert other.create()
    assert me.request("DELETE", "/auth/me", json={"password": PASSWORD}).status_code == 204
