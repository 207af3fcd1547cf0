"""Quotas of users over HTTP: their own problem type, in both versions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.eventapi.http.client import PASSWORD, Api, assert_problem, quiet_settings


@pytest.fixture
def api_with_few_items() -> Iterator[Api]:
    """An app that allows a user two items."""
    with Api(quiet_settings(user_quota_items=2)) as api:
        yield api


@pytest.fixture
def api_with_few_bytes() -> Iterator[Api]:
    """An app that allows a user's items 2,000 bytes in the log."""
    with Api(quiet_settings(user_quota_bytes=2000)) as api:
        yield api


def test_an_item_beyond_the_quota_is_refused_until_one_is_deleted(
    api_with_few_items: Api, prefix: str
) -> None:
    me = api_with_few_items.caller("ann").under(prefix)
    first = me.create()
    second = me.create()
    refused = me.post("/items", json={"title": "third"})
    assert_problem(refused, 409, "quota-exceeded")
    assert "2 items" in refused.json()["detail"]
    assert me.put(f"/items/{first}", json={"title": "changed"}).status_code == 200
    assert me.delete(f"/items/{second}").status_code == 204

    me.create()
    assert_problem(me.post(f"/items/{second}/restore"), 409, "quota-exceeded")


def test_a_user_without_bytes_left_can_read_delete_and_change_the_account(
    api_with_few_bytes: Api, prefix: str
) -> None:
    me, other = (
        api_with_few_bytes.caller("ann").under(prefix),
        api_with_few_bytes.caller("bob").under(prefix),
    )
    number, key = me.create(), {"idempotency-key": "a"}
    path = f"/items/{number}"
    body = {"title": "long", "description": "x" * 2000}

    first = me.put(path, json=body, headers=key)

    assert first.status_code == 200
    for answer in (
        me.put(path, json={"title": "more"}),
        me.patch(path, json={"title": "more"}),
        me.post("/items", json={"title": "more"}),
        me.post(f"{path}/restore", json={"as_of": int(first.headers["event-position"])}),
    ):
        assert_problem(answer, 409, "quota-exceeded")
    assert me.put(path, json=body, headers=key).content == first.content
    assert me.get(path).status_code == 200
    assert me.delete(path).status_code == 204
    assert me.patch("/auth/me", json={"full_name": "Ann"}).status_code == 200
    assert other.create()
    assert me.delete("/auth/me", json={"password": PASSWORD}).status_code == 204
