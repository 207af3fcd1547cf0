"""Operations of an OpenAPI document, with references resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")


def resolved(document: Mapping[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """The target of a reference; other values unchanged."""
    while "$ref" in value:
        _, _, kind, name = value["$ref"].split("/")
        value = document["components"][kind][name]
    return value


def inlined(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The paths of a document, with references resolved except those to schemas."""
    return {
        path: {method: _inlined(document, one) for method, one in operations.items()}
        for path, operations in document["paths"].items()
    }


def served(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The result of `inlined`, with a HEAD for every GET."""
    paths = inlined(document)
    for operations in paths.values():
        if "get" in operations:
            responses = {
                status: {name: one for name, one in response.items() if name != "content"}
                for status, response in operations["get"]["responses"].items()
            }
            operations["head"] = operations["get"] | {"responses": responses}
    return paths


def _inlined(document: Mapping[str, Any], operation: Mapping[str, Any]) -> dict[str, Any]:
    responses = {}
    for status, reference in operation["responses"].items():
        response = resolved(document, reference)
        headers = response.get("headers", {})
        responses[status] = response | {
            "headers": {name: resolved(document, header) for name, header in headers.items()}
        }
    parameters = [resolved(document, one) for one in operation.get("parameters", ())]
    return {**operation, "parameters": parameters, "responses": responses}
