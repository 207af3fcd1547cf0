"""OpenAPI documents that client generators, linters and Postman can read.

Each rule was broken once, and a client generator or its compiler failed because of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from eventapi.http.openapi.schemas import readable
from tests.eventapi.http.client import Api
from tests.openapi import METHODS, inlined

PATHS = ["/openapi.json", "/api/v1/openapi.json", "/api/v2/openapi.json"]

OPERATION_IDS = {
    *("register", "login", "refresh", "logout", "get_me", "update_me", "erase_me"),
    *("list_account_events", "export_me", "get_evidence"),
    *("forgot_password", "reset_password", "request_email_verification", "verify_email"),
    *("complete_login", "start_totp", "confirm_totp", "remove_totp"),
    *("create_key", "list_keys", "revoke_key"),
    *("change_password", "list_sessions", "end_session", "end_sessions"),
    *("create_item", "list_items", "get_item", "replace_item", "update_item", "delete_item"),
    *("get_item_history", "restore_item", "follow_items"),
    *("list_events", "get_event", "get_diff", "get_state"),
    *("get_checkpoint", "get_cosigned_checkpoint", "get_log_key", "get_tile", "get_entries"),
    *("prove_inclusion", "prove_consistency"),
    *("get_health", "get_liveness", "get_readiness", "get_metrics"),
}
"""The names of methods in generated clients: a changed id breaks programs that use them."""

OPERATION_IDS_OF_VERSION_2 = {
    *("run_batch", "list_users", "create_user", "get_user", "update_user", "erase_user"),
    "request_password_reset",
    *("list_webhooks", "create_webhook", "get_webhook", "update_webhook", "delete_webhook"),
    *("test_webhook", "replay_webhook", "rotate_webhook_secret"),
}


@pytest.fixture(scope="module", params=PATHS)
def document(request: pytest.FixtureRequest, api: Api) -> dict[str, Any]:
    """Each of the documents."""
    content: dict[str, Any] = api.request("GET", request.param).json()
    return content


def schemas_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a part of a document, because each of them may be a schema."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from schemas_in(one)


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in inlined(document).values():
        yield from methods.values()


def test_head_is_described_once_and_listed_nowhere(document: dict[str, Any]) -> None:
    assert {method for methods in document["paths"].values() for method in methods} <= {*METHODS}
    assert "HEAD" in document["info"]["description"]


def test_tags_are_in_the_order_of_need_and_each_has_a_sentence(document: dict[str, Any]) -> None:
    """Swagger UI shows the operations in the order of the tags."""
    order = [
        "auth",
        "items",
        "batch",
        "projections",
        "users",
        "webhooks",
        "audit",
        "log",
        "health",
        "documentation",
    ]
    used = {tag for operation in operations(document) for tag in operation["tags"]}

    assert [tag["name"] for tag in document["tags"]] == [name for name in order if name in used]
    assert used <= set(order)
    for tag in document["tags"]:
        assert re.fullmatch(r"[A-Z].+ .+\.", tag["description"])


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_operation_ids_are_the_same_in_every_version(api: Api, version: str) -> None:
    document = api.request("GET", f"/api/{version}/openapi.json").json()
    ids = [operation["operationId"] for operation in operations(document)]

    further = OPERATION_IDS_OF_VERSION_2 if version == "v2" else set()
    assert sorted(ids) == sorted(OPERATION_IDS | {f"get_openapi_{version}"} | further)


def test_ids_in_the_joint_document_end_in_the_version_if_the_path_has_one(api: Api) -> None:
    document = api.request("GET", "/openapi.json").json()
    ids = [operation["operationId"] for operation in operations(document)]
    versioned = {f"{name}_{version}" for name in OPERATION_IDS for version in ("v1", "v2")}
    versioned |= {f"{name}_v2" for name in OPERATION_IDS_OF_VERSION_2}
    pages = {
        "get_root",
        "get_docs",
        "get_problem",
        "get_openapi",
        "get_openapi_v1",
        "get_openapi_v2",
    }

    assert sorted(ids) == sorted(OPERATION_IDS | versioned | pages)


def test_integers_have_64_bits_and_bounds_within_them(document: dict[str, Any]) -> None:
    found = [schema for schema in schemas_in(document) if schema.get("type") == "integer"]

    for schema in found:
        assert schema["format"] == "int64"
        assert -(2**63) <= schema.get("minimum", 0) <= schema.get("maximum", 0) + 2**63
        assert schema.get("maximum", 0) < 2**63 - 1
    assert len(found) > 10


def test_numbers_are_doubles(document: dict[str, Any]) -> None:
    """Generators for Go use 32 bits for a number without a format."""
    found = [schema for schema in schemas_in(document) if schema.get("type") == "number"]
    assert {schema["format"] for schema in found} == {"double"}


def test_every_operation_declares_whether_it_needs_a_token(document: dict[str, Any]) -> None:
    needed = [operation["security"] for operation in operations(document)]

    assert [] in needed
    assert [{}, {"bearer": []}] in needed  # Another mail for verification: with or without one.
    assert all(one in ([], [{"bearer": []}], [{}, {"bearer": []}]) for one in needed)


def test_no_enumeration_has_an_empty_value(document: dict[str, Any]) -> None:
    found = [schema["enum"] for schema in schemas_in(document) if "enum" in schema]

    assert found
    assert not any("" in values or None in values for values in found)


def test_arrays_have_a_schema_for_their_items(document: dict[str, Any]) -> None:
    found = [schema for schema in schemas_in(document) if schema.get("type") == "array"]

    assert found
    assert all("items" in schema for schema in found)


def test_no_default_makes_a_member_required(document: dict[str, Any]) -> None:
    """Generators treat a member with a default as always present."""
    for name, schema in document["components"]["schemas"].items():
        assert not [one for one in schemas_in(schema) if "default" in one], name
    defaults = [schema["default"] for schema in schemas_in(document) if "default" in schema]
    assert None not in defaults


def test_members_that_are_always_answered_are_required(document: dict[str, Any]) -> None:
    if "Health" in document["components"]["schemas"]:
        health = document["components"]["schemas"]["Health"]
        assert set(health["required"]) == set(health["properties"])


def test_every_parameter_has_an_example(document: dict[str, Any]) -> None:
    parameters = [one for operation in operations(document) for one in operation["parameters"]]
    assert parameters
    for parameter in parameters:
        pattern = parameter["schema"].get("pattern", "")
        assert re.search(pattern, str(parameter["example"])), parameter["name"]


def test_examples_of_idempotency_keys_differ(document: dict[str, Any]) -> None:
    """With the same example everywhere, all calls except the first would fail."""
    keys = [
        parameter["example"]
        for operation in operations(document)
        for parameter in operation["parameters"]
        if parameter["name"] == "Idempotency-Key" and not operation["operationId"].endswith("_v1")
    ]
    assert len(keys) > 5


def test_the_request_id_is_not_a_parameter(document: dict[str, Any]) -> None:
    """The description mentions it. As a parameter, every client method would have it."""
    names = {one["name"] for operation in operations(document) for one in operation["parameters"]}

    assert "X-Request-ID" not in names
    assert "X-Request-ID" in document["info"]["description"]


def test_all_media_types_of_a_body_share_one_schema(document: dict[str, Any]) -> None:
    """With several, some generators generate faulty clients.

    Those of orval send no Content-Type, and those of typescript-fetch import missing modules.
    """
    for operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {})
        assert len({str(body["schema"]) for body in content.values()}) <= 1


def test_errors_parameters_and_headers_are_components(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                assert ("$ref" in response) == (status >= "400")
                headers = response.get("headers", {}).values()
                assert all(header.keys() == {"$ref"} for header in headers)
            for parameter in operation.get("parameters", ()):
                assert parameter.keys() == {"$ref"} or parameter["name"] == "Idempotency-Key"


def test_no_schema_is_named_like_what_go_generates_for_another(document: dict[str, Any]) -> None:
    """OpenAPI Generator declares ``NewX``, ``NewXWithDefaults`` and ``NullableX`` for each ``X``."""
    names = set(document["components"]["schemas"])
    generated = {
        form.format(name) for name in names for form in ("New{}", "New{}WithDefaults", "Nullable{}")
    }
    assert names & generated == set()


@pytest.mark.parametrize("path", PATHS)
def test_documents_are_small(api: Api, path: str) -> None:
    """Errors, headers and parameters are components, so another operation costs little."""
    paths = json.loads(api.request("GET", path).content)["paths"]
    operations = sum(len(set(METHODS) & methods.keys()) for methods in paths.values())
    assert len(json.dumps(paths)) < operations * 1_800


def test_binary_answers_are_binary(document: dict[str, Any]) -> None:
    contents = [
        content
        for operation in operations(document)
        for response in operation["responses"].values()
        for content in response.get("content", {}).items()
    ]
    for media_type, body in contents:
        is_binary = media_type in {"application/octet-stream", "application/zip"}
        assert is_binary == (body["schema"].get("format") == "binary")


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer", "minimum": 1}, {"type": "integer", "minimum": 1, "format": "int64"}),
        ({"type": "integer", "maximum": 10**19 - 1}, {"type": "integer", "format": "int64"}),
        ({"type": "integer", "minimum": -(10**19)}, {"type": "integer", "format": "int64"}),
        ({"type": "number"}, {"type": "number", "format": "double"}),
        ({"type": "array"}, {"type": "array", "items": {}}),
        ({"enum": ["", "a"]}, {"enum": ["a"]}),
        ({"anyOf": [{"type": "null"}], "default": None}, {"anyOf": [{"type": "null"}]}),
        (
            {"properties": {"default": {"type": "array", "default": []}}},
            {"properties": {"default": {"type": "array", "items": {}}}},
        ),
    ],
)
def test_a_schema_is_converted_to_one_that_generators_can_read(schema: Any, expected: Any) -> None:
    assert readable(schema) == expected
