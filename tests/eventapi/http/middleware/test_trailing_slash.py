"""A trailing slash: another path, so an empty id never means all of a collection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from eventapi.http.middleware import edge
from tests.eventapi.http.client import PREFIXES, Api, Caller, assert_problem
from tests.openapi import served

_EXAMPLES = {
    "item_id": "1",
    "session_id": "0" * 32,
    "key_id": "0" * 20,
    "user_id": "1",
    "webhook_id": "1",
    "position": "1",
    "size": "1",
    "level": "0",
    "place": "000",
    "slug": "not-found",
}
_REDIRECTED = re.compile(r"((/api/v1)?/(auth/(register|login|me)|items(/\d+)?)|/docs)")


def operations(api: Api) -> Iterator[tuple[str, str]]:
    """Every method and path of the OpenAPI document, with values for the parameters."""
    for path, methods in served(api.request("GET", "/openapi.json").json()).items():
        filled = re.sub(r"\{(\w+)\}", lambda match: _EXAMPLES[match[1]], path)
        for method in (*methods, "options"):
            yield method.upper(), filled


@pytest.mark.parametrize("slash", ["/", "%2f", "%2F"])
def test_an_empty_session_id_ends_no_session(ann: Caller, prefix: str, slash: str) -> None:
    answer = ann.under(prefix).request("DELETE", f"/auth/sessions{slash}")

    assert_problem(answer, 404, "not-found")
    assert ann.get("/auth/me").status_code == 200


def test_no_route_serves_its_path_with_a_trailing_slash(api: Api, ann: Caller) -> None:
    before = api.log.position
    found = set(operations(api))
    assert len(found) > 100

    for method, path in found:
        answer = ann.request(method, f"{path}/")
        if _REDIRECTED.fullmatch(path):
            assert (answer.status_code, answer.headers["location"]) == (307, api.url(path))
        elif method == "HEAD":
            assert answer.status_code == 404, path
        else:
            assert_problem(answer, 404, "not-found")
    assert api.log.position == before


def test_version_1_redirects_a_trailing_slash_as_the_replaced_service_did(ann: Caller) -> None:
    """FastAPI answers 307, which keeps method and body."""
    for prefix in PREFIXES[:2]:
        me = ann.under(prefix)
        how: dict[str, Any] = {"follow_redirects": True}
        made = me.post("/items/", json={"title": "a"}, **how)
        assert made.status_code == 200
        assert me.get(f"/items/{made.json()['id']}/", **how).json() == made.json()
        me.create()
        assert me.get("/items/?limit=1", **how).headers["link"]


@pytest.mark.parametrize("path", ["//evil.example/", "//evil.example/items/", "/items//"])
def test_a_redirect_never_leads_to_another_server(ann: Caller, path: str) -> None:
    assert_problem(ann.get(path), 404, "not-found")


def test_control_without_the_check_an_empty_id_ends_all_sessions(
    new_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "trailing_slash_response", lambda scope: None)
    ann = new_api.caller()

    assert ann.delete("/auth/sessions/").status_code == 204
    assert ann.get("/auth/me").status_code == 401
