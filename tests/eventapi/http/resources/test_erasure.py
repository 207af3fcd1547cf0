"""Rows of an erased user are unknown to every caller, also where all may read the kind."""

from __future__ import annotations

import pytest

from eventapi.resources import Resource
from eventapi.resources.declaration import Access
from eventapi.resources.registry import Registry
from tests.eventapi.http.client import assert_problem
from tests.eventapi.http.resources.server import V2, ResourceApi


def kind_read_by(read: str, write: str) -> type[Resource]:
    class Page(Resource):
        access = Access(read=read, write=write)
        text: str

    return Page


@pytest.mark.parametrize("write", ["owner", "clerk"])
@pytest.mark.parametrize("read", ["owner", "users", "public", "clerk"])
def test_rows_of_an_erased_user_are_unknown(read: str, write: str) -> None:
    with ResourceApi(Registry([kind_read_by(read, write)])) as api:
        ann, clerk = api.user("ann", "clerk"), api.user("ben", "clerk")
        live = ann.post("/pages", json={"text": "a"}).json()
        deleted = ann.post("/pages", json={"text": "b"}).json()
        assert ann.delete(f"/pages/{deleted['id']}").status_code == 204
        assert ann.erase().status_code == 204

        for row in (live, deleted):
            one, then = f"/pages/{row['id']}", f"as_of={row['version']}"
            for path in (one, f"{one}?{then}", f"{one}/history"):
                assert_problem(clerk.get(path), 404, "not-found")
                if read == "public":
                    assert_problem(api.request("GET", V2 + path), 404, "not-found")
            for body in ({}, {"as_of": row["version"]}):
                assert_problem(clerk.post(f"{one}/restore", json=body), 404, "not-found")
            assert clerk.get(f"/pages?{then}").json()["items"] == []
