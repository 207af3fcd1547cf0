"""API versions side by side: their documents, and the deprecation of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from eventapi.http.schemas.responses import V2, VERSIONS
from eventapi.http.urls import is_version_1
from tests.eventapi.http.apps import APPLICATIONS
from tests.eventapi.http.client import Api, Caller, quiet_settings
from tests.openapi import inlined

LINK = '<https://api.example/changes>; rel="deprecation sunset"'
DEPRECATION = {"deprecation": "@1798761600", "sunset": "Thu, 01 Jul 2027 10:30:00 GMT"}
"""The two moments of the fixture `deprecating`, in the formats of RFC 9745 and RFC 8594."""


@pytest.fixture(scope="module")
def deprecating() -> Iterator[Api]:
    """An app whose version 1 is deprecated."""
    settings = quiet_settings(
        v1_deprecation="2027-01-01",
        v1_sunset="2027-07-01T12:30:00+02:00",
        v1_link="https://api.example/changes",
    )
    with Api(settings) as api:
        yield api


def document(api: Api, path: str = "/openapi.json") -> dict[str, Any]:
    """An OpenAPI document, which is validated."""
    answer = api.request("GET", path)
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    jsonschema_rs.validate(OPENAPI_31, found)
    return found


# Documents


@pytest.mark.parametrize("version", [version.name for version in VERSIONS])
def test_the_document_of_a_version_is_its_part_of_the_joint_document(
    api: Api, version: str
) -> None:
    own, joint = document(api, f"/api/{version}/openapi.json"), document(api)
    below = {path: of for path, of in joint["paths"].items() if path.startswith(f"/api/{version}/")}
    assert _without_ids(own["paths"]) == _without_ids(below)
    assert own["info"]["title"] == f"eventapi {version}"
    for kind, named in own["components"].items():
        if kind != "securitySchemes":
            assert named.items() <= joint["components"][kind].items()

    login = own["components"]["securitySchemes"]["bearer"]["flows"]["password"]["tokenUrl"]
    assert login in own["paths"]


def _without_ids(paths: dict[str, Any]) -> dict[str, Any]:
    """Remove the ids of operations, because they have a suffix in the joint document."""
    return {
        path: {method: one | {"operationId": ""} for method, one in operations.items()}
        for path, operations in paths.items()
    }


def test_the_document_of_a_version_has_no_schemas_of_another(api: Api) -> None:
    first, second = (document(api, f"/api/{name}/openapi.json") for name in ("v1", "v2"))

    assert {"ItemV1", "UserV1"} <= first["components"]["schemas"].keys()
    assert not {"ItemV2", "ItemPage", "UserV2"} & first["components"]["schemas"].keys()
    assert not {"ItemV1", "UserV1"} & second["components"]["schemas"].keys()


@pytest.fixture
def fresh() -> Iterator[None]:
    """Applications that other tests neither made nor use."""
    APPLICATIONS.forget()
    yield
    APPLICATIONS.forget()


@pytest.mark.usefixtures("fresh")
def test_a_third_version_needs_one_more_record(monkeypatch: pytest.MonkeyPatch) -> None:
    third = msgspec.structs.replace(V2, name="v3", prefixes=("/api/v3",), has_pages=False)
    monkeypatch.setattr("eventapi.app.VERSIONS", (*VERSIONS, third))
    with Api(quiet_settings()) as api:
        ann = api.caller().under("/api/v3")
        created = ann.post("/items", json={"title": "a title"})
        assert created.status_code == 201
        assert created.headers["location"] == "http://test/api/v3/items/1"
        assert [item["title"] for item in ann.get("/items").json()] == ["a title"]
        paths = document(api, "/api/v3/openapi.json")["paths"]
        content = paths["/api/v3/items"]["get"]["responses"]["200"]["content"]
        assert content["application/json"]["schema"]["type"] == "array"


# Deprecation

V1_REQUESTS = [
    ("GET", "/items", 200),
    ("GET", "/api/v1/items", 200),
    ("HEAD", "/items", 200),
    ("GET", "/items/999", 404),
    ("PUT", "/api/v1/items", 405),
    ("GET", "/api/v1/nothing", 404),
    ("OPTIONS", "/items", 204),
    ("GET", "/auth/me", 200),
    ("GET", "/api/v1/health", 200),
    ("GET", "/api/v1/openapi.json", 200),
    ("GET", "/items//", 404),
]
OTHER_REQUESTS = [
    ("GET", "/api/v2/items", 200),
    ("GET", "/api/v2/items/999", 404),
    ("GET", "/api/v2/nothing", 404),
    ("GET", "/health", 200),
    ("GET", "/docs", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/problems/not-found", 200),
    ("GET", "/itemsandmore", 404),
    ("GET", "/", 200),
]


@pytest.mark.parametrize(("method", "path", "status"), V1_REQUESTS)
def test_every_answer_of_a_deprecated_version_has_the_fields_of_deprecation(
    deprecating: Api, method: str, path: str, status: int
) -> None:
    answer = deprecating.caller().request(method, path)

    assert answer.status_code == status
    assert {name: answer.headers[name] for name in DEPRECATION} == DEPRECATION
    assert LINK in answer.headers.get_list("link")


def test_refusals_and_writes_have_the_fields_of_deprecation(deprecating: Api) -> None:
    refused = deprecating.request("GET", "/items")

    written = deprecating.caller().post("/items", json={"title": "a title"})

    assert (refused.status_code, written.status_code) == (401, 200)
    assert refused.headers["sunset"] == written.headers["sunset"] == DEPRECATION["sunset"]


def test_the_deprecation_keeps_the_link_to_the_next_page(deprecating: Api) -> None:
    ann = deprecating.caller()
    for _ in range(2):
        ann.create()

    answer = ann.get("/items?limit=1")
    following, link = answer.headers.get_list("link")

    assert following.endswith('rel="next"')
    assert link == LINK


@pytest.mark.parametrize(("method", "path", "status"), OTHER_REQUESTS)
def test_answers_outside_a_deprecated_version_have_no_fields_of_deprecation(
    deprecating: Api, method: str, path: str, status: int
) -> None:
    answer = deprecating.caller().request(method, path)

    assert answer.status_code == status
    assert not {*DEPRECATION, "link"} & answer.headers.keys()


def test_no_version_is_deprecated_by_default(api: Api, ann: Caller) -> None:
    for method, path, _ in V1_REQUESTS:
        assert not {*DEPRECATION, "link"} & ann.request(method, path).headers.keys()
    assert "'deprecated'" not in str(document(api))


@pytest.mark.parametrize("given", ["v1_deprecation", "v1_sunset"])
def test_deprecation_and_sunset_can_be_announced_separately(given: str) -> None:
    with Api(quiet_settings(**{given: "2027-01-01T00:00:00Z"}, v1_link="/docs")) as api:
        headers = api.request("GET", "/items").headers
        name = given.removeprefix("v1_")
        assert headers.keys() & DEPRECATION.keys() == {name}
        assert headers["link"] == f'</docs>; rel="{name}"'

        operation = document(api)["paths"]["/items"]["get"]
        assert operation["deprecated"]

        documented = operation["responses"]["200"]["headers"].keys()
        assert {one.lower() for one in documented} & DEPRECATION.keys() == {name}


def test_the_documents_mark_deprecated_operations(deprecating: Api) -> None:
    for path in ("/openapi.json", "/api/v1/openapi.json", "/api/v2/openapi.json"):
        for place, operations in inlined(document(deprecating, path)).items():
            for operation in operations.values():
                assert operation.get("deprecated", False) == is_version_1(place), place
                for response in operation["responses"].values():
                    listed = {"Deprecation", "Sunset"} <= response["headers"].keys()
                    assert listed == is_version_1(place)


def test_cors_exposes_the_fields_of_deprecation() -> None:
    settings = quiet_settings(v1_sunset="2027-01-01", cors_origins=("https://app.example",))
    with Api(settings) as api:
        answer = api.request("GET", "/items", headers={"Origin": "https://app.example"})
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {"Deprecation", "Sunset", "Link"} <= set(exposed)
