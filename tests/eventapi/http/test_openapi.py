"""The OpenAPI document is valid and complete, and describes the real answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from eventapi.commands.users import GrantRole
from eventapi.commands.webhooks import CreateWebhook
from eventapi.http.openapi.described import Described, described
from eventapi.http.problem_types import PROBLEMS
from eventapi.http.urls import is_version_1
from events.transparency.checkpoints import Checkpoints
from events.transparency.signed_note import Note
from tests.eventapi.http.apps import APPLICATIONS
from tests.eventapi.http.client import PREFIXES, Api, Caller, quiet_settings
from tests.openapi import inlined, resolved, served

METHODS = {"get", "post", "put", "patch", "delete"}
UNDOCUMENTED = {
    "/docs/page.css",
    "/docs/v1",
    "/docs/start.js",
    "/docs/assets/swagger-ui.css",
    "/docs/assets/swagger-ui-bundle.js",
    "/console",
    "/console/{place}",
    "/reset-password",
    "/verify-email",
}
"""Paths of the documentation page and the console, which the document does not list."""

Operation = tuple[str, str, dict[str, Any]]
"""A path, a method and their operation object."""


@pytest.fixture(scope="module")
def document(api: Api) -> dict[str, Any]:
    answer = api.request("GET", "/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    content: dict[str, Any] = answer.json()
    return content


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in inlined(document).items():
        for method, operation in methods.items():
            yield path, method, operation


def test_the_document_lists_exactly_the_routes_of_the_app(
    routes: list[tuple[str, str]], document: dict[str, Any]
) -> None:
    listed = {(path, method) for path, methods in served(document).items() for method in methods}

    assert listed == {
        (path, method.lower())
        for path, method in routes
        if path not in UNDOCUMENTED and method != "OPTIONS"
    }
    assert len(listed) > 50


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"

    jsonschema_rs.validate(OPENAPI_31, document)
    assert document.keys() <= {"openapi", "info", "servers", "paths", "components", "tags"}
    assert {"title", "version"} <= document["info"].keys()

    tags = {tag["name"] for tag in document["tags"]}
    for path, method, operation in operations(document):
        assert method in METHODS
        assert set(operation["tags"]) <= tags
        assert operation["summary"]
        assert operation["description"]
        assert operation["responses"]
        in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path))
        for parameter in operation["parameters"]:
            assert parameter["description"]
            assert parameter["in"] in {"path", "query", "header"}
            assert parameter.get("required", False) == (parameter["in"] == "path")
            jsonschema_rs.meta.validate(parameter["schema"])
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[2-5]\d\d", status)
            assert response["description"]
            assert "X-Request-ID" in response["headers"]


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)


def test_every_schema_is_valid_and_every_reference_has_a_target(
    document: dict[str, Any],
) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"components": document["components"]} | schema)
    references = set(re.findall(r"'\$ref': '#/components/([^']+)'", str(document)))
    components = {
        f"{kind}/{name}"
        for kind, named in document["components"].items()
        for name in named
        if kind != "securitySchemes"
    }

    assert references == components


def test_bodies_refuse_unknown_members_except_in_version_1(document: dict[str, Any]) -> None:
    bodies = 0
    for path, _, operation in operations(document):
        for body in operation.get("requestBody", {}).get("content", {}).values():
            schema = resolved(document, body["schema"])
            assert schema.get("additionalProperties", True) is is_version_1(path), path
            bodies += 1

    assert bodies > 10


FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_token_endpoints_accept_forms(document: dict[str, Any], prefix: str) -> None:
    """Version 1 also accepts multipart forms, as the replaced service did."""
    forms = {FORM} if prefix == "/api/v2" else {FORM, MULTIPART}
    for place, members in {
        "login": {"username", "password", "grant_type"},
        "refresh": {"refresh_token", "grant_type"},
    }.items():
        content = document["paths"][f"{prefix}/auth/{place}"]["post"]["requestBody"]["content"]
        assert content.keys() == {"application/json"} | forms
        for body in content.values():
            assert resolved(document, body["schema"])["properties"].keys() == members


def test_every_body_is_required_unless_it_has_defaults_only(document: dict[str, Any]) -> None:
    for path, _, operation in operations(document):
        if "requestBody" in operation:
            needed = not path.endswith(("/restore", "/password-reset", "/verification"))
            assert operation["requestBody"]["required"] == needed, path


def test_operations_of_the_transparency_log_list_an_unavailable_log(
    document: dict[str, Any],
) -> None:
    for path, _, operation in operations(document):
        if "/log/" in path:
            assert "`log-unavailable`" in operation["responses"]["503"]["description"], path


OPERATIONS = described(APPLICATIONS.routes(quiet_settings()))


_PRINT_OPERATIONS = """
from eventapi.app import create_app
from eventapi.configuration.settings import Settings
from eventapi.http.openapi.described import described

print([(one.path, one.method) for one in described(create_app(Settings()).routes)])
"""


def test_every_process_lists_the_operations_in_the_same_order() -> None:
    """Otherwise the workers of a server would have different documents and entity tags."""
    printed = subprocess.run(
        [sys.executable, "-c", _PRINT_OPERATIONS],
        env=os.environ | {"PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert printed.strip() == str([(one.path, one.method) for one in OPERATIONS])


@pytest.mark.parametrize(
    "operation", OPERATIONS, ids=[f"{one.method} {one.path}" for one in OPERATIONS]
)
def test_the_document_lists_every_answer_and_error_of_an_operation(
    document: dict[str, Any], operation: Described
) -> None:
    path, declared = operation.path, operation.operation
    listed = inlined(document)[path][operation.method.lower()]
    responses = listed["responses"]
    for status, kind in operation.answers.items():
        assert ("content" in responses[str(status)]) == (kind is not None)
        wanted = ("ETag",) if status == 304 else operation.response_headers
        assert set(wanted) <= responses[str(status)]["headers"].keys()
    slugs = {*declared.errors, "internal-error", "headers-too-large", "malformed-body"}
    # An API key may lack the scope of any operation.
    slugs |= {"unauthenticated", "forbidden"} if operation.is_authenticated else set()
    slugs |= {"body-too-large", "unsupported-media-type"} if operation.body else set()
    slugs |= {"storage-full"} if operation.method != "GET" else set()
    slugs |= set() if declared.ignores_query else {"validation-failed"}
    for slug in slugs:
        kind = PROBLEMS[slug]
        other = operation.version.statuses.get(slug) if operation.is_authenticated else None
        status = other or (is_version_1(path) and kind.v1_status) or kind.status
        assert f"`{slug}`" in responses[str(status)]["description"]
    with_token: list[dict[str, list[str]]] = [{"bearer": []}] if operation.is_authenticated else []
    assert listed["security"] == ([{}] if operation.may_be_anonymous else []) + with_token


def test_errors_have_the_shape_of_their_version_and_the_headers_of_their_status(
    document: dict[str, Any],
) -> None:
    needed = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After"}
    for path, _, operation in operations(document):
        expected = ("application/problem+json", "Problem")
        if is_version_1(path):
            expected = ("application/json", "ErrorV1")
        for status, response in operation["responses"].items():
            if status < "400":
                continue
            ((media_type, content),) = response["content"].items()
            name = content["schema"]["$ref"].rpartition("/")[2]
            assert (media_type, name) == expected
            assert needed.get(status, "X-Request-ID") in response["headers"]


def test_taken_names_and_wrong_passwords_have_the_status_of_the_version(
    document: dict[str, Any],
) -> None:
    def listed(path: str, method: str, slug: str) -> list[str]:
        responses = inlined(document)[path][method]["responses"]
        return [status for status, one in responses.items() if f"`{slug}`" in one["description"]]

    for prefix, taken, wrong in (
        ("", "400", "401"),
        ("/api/v1", "400", "401"),
        ("/api/v2", "409", "403"),
    ):
        assert listed(f"{prefix}/auth/register", "post", "username-taken") == [taken]
        assert listed(f"{prefix}/auth/me", "patch", "email-taken") == [taken]
        assert listed(f"{prefix}/auth/password", "post", "invalid-credentials") == [wrong]
        assert listed(f"{prefix}/auth/me", "delete", "invalid-credentials") == [wrong]
        assert listed(f"{prefix}/auth/login", "post", "invalid-credentials") == ["401"]


def test_a_create_has_the_status_of_the_version(document: dict[str, Any]) -> None:
    created = {
        prefix: sorted(
            status
            for status in document["paths"][f"{prefix}/items"]["post"]["responses"]
            if status < "300"
        )
        for prefix in PREFIXES
    }
    assert created == {"": ["200"], "/api/v1": ["200"], "/api/v2": ["201"]}
    for path in ("/items", "/auth/register"):
        made = document["paths"][f"/api/v2{path}"]["post"]["responses"]["201"]
        assert "Location" in made["headers"]


def test_operations_of_an_item_list_both_conditional_fields(document: dict[str, Any]) -> None:
    """Even the rare ones: If-Match for a read, If-None-Match for a write."""
    for prefix in PREFIXES:
        for operation in inlined(document)[f"{prefix}/items/{{item_id}}"].values():
            names = {parameter["name"] for parameter in operation["parameters"]}
            assert {"If-Match", "If-None-Match"} <= names
            assert "412" in operation["responses"]


_LISTS = ("/items", "/events", "/history", "/users", "/diff")
"""The ends of paths whose answers have a link only before the last page."""


def test_real_answers_are_valid_by_the_document(
    ann: Caller, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cosigned(checkpoints: Checkpoints) -> Note:
        return await checkpoints.current()

    monkeypatch.setattr(Checkpoints, "newest_cosigned", cosigned)
    ann.api.execute(GrantRole(ann.name, "auditor", "operator/test"))
    places = {"slug": "forbidden", "item_id": str(ann.create()), "level": "0"}
    places |= {"place": "000.p/1", "position": "1", "size": "1", "user_id": "1"}
    places |= {"webhook_id": "1"}
    ann.api.execute(CreateWebhook("operator/test", "https://example.org/"))
    for path, methods in inlined(document).items():
        if "get" not in methods or path.endswith("/items/events"):  # A stream does not end.
            continue
        place = path
        for name, value in places.items():
            place = place.replace(f"{{{name}}}", value)
        if path.endswith("/audit/evidence"):
            place += "?subject=items/1"  # Which of two parameters is required, no schema can say.
        answer = ann.get(place)
        assert answer.status_code == 200, place
        response = methods["get"]["responses"]["200"]
        media_type = answer.headers["content-type"].partition(";")[0]
        schema = response["content"][media_type]["schema"]
        value = answer.json() if media_type == "application/json" else answer.text
        whole = {"components": document["components"], "allOf": [schema]}
        jsonschema_rs.validate(whole, value)
        optional = {"RateLimit", "RateLimit-Policy"}  # The app of the tests has no rate limits.
        optional |= {"Link", "ETag"} if path.endswith(_LISTS) else set()
        optional |= {"Event-Position"} if "/audit/" in path else set()  # Only if it opens a value.
        assert set(response["headers"]) - optional <= {
            name for name in response["headers"] if name in answer.headers
        }


_WITHOUT_POSITION = {
    "/auth/password/forgot": "would reveal whether an account has the address",
    "/webhooks/{webhook_id}/test": "writes no event",
}


def test_every_write_has_the_position_of_its_event(document: dict[str, Any]) -> None:
    without = {
        path.removeprefix("/api/v1").removeprefix("/api/v2")
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in {"post", "put", "patch", "delete"}
        for status, answer in operation["responses"].items()
        if status.startswith("2") and "Event-Position" not in answer.get("headers", {})
    }

    assert without == _WITHOUT_POSITION.keys()


def test_every_operation_lists_429_except_health_and_metrics(document: dict[str, Any]) -> None:
    for path, _, operation in operations(document):
        if "/health" in path or path.endswith("/metrics"):
            assert "429" not in operation["responses"]
            continue
        fields = set(operation["responses"]["429"]["headers"])
        assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= fields


def test_control_a_wrong_answer_is_invalid_by_the_document(document: dict[str, Any]) -> None:
    schema = {
        "components": document["components"],
        "allOf": [{"$ref": "#/components/schemas/ItemV1"}],
    }
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(schema, {"id": 0, "title": "a"})
