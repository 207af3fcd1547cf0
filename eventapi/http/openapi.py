"""The OpenAPI 3.1 document, made from the endpoints and the Structs they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from eventapi.http.endpoint import Endpoint
from eventapi.http.problems import PROBLEMS, Problem

_COMPONENTS = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+):\w+\}")

_ALWAYS = ("internal-error", "log-unavailable", "overloaded")
_WITH_BODY = ("malformed-body", "unsupported-media-type", "body-too-large")
_ON_WRITE = ("storage-full",)

_HEADERS = {
    "If-Match": "The entity tags that the item may have; with another one the answer is 412.",
    "If-None-Match": "The entity tags that you have already; the answer to one of them is 304.",
    "Min-Event-Position": "Answer from a state at this position of the log or later.",
    "X-Request-ID": "An id of your own for this request, a token of up to 128 characters.",
}
_ANSWER_HEADERS = {
    "ETag": "The entity tag of the item's version.",
    "Event-Position": "The position in the log of the event that was written.",
    "Link": 'Where the next page is, as `rel="next"`, when there is one.',
    "Location": "Where the new item is.",
    "X-Request-ID": "The id of the request.",
}


def document(endpoints: Sequence[tuple[str, Endpoint]], version: str) -> dict[str, Any]:
    """The document of endpoints, each with the prefix that it is served under."""
    types = _types(endpoint for _, endpoint in endpoints)
    schemas, components = msgspec.json.schema_components(types, ref_template=_COMPONENTS)
    by_type = {_key(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for prefix, endpoint in endpoints:
        path = _PARAMETER.sub(r"{\1}", prefix + endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(prefix, endpoint, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "eventapi",
            "version": version,
            "license": {"name": "MIT", "identifier": "MIT"},
            "description": "Users and their items. Every change is one immutable event in a log.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": "auth"}, {"name": "items"}, {"name": "health"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {
                    "type": "oauth2",
                    "flows": {"password": {"tokenUrl": "/auth/login", "scopes": {}}},
                }
            },
        },
    }


def _key(kind: Any) -> str:
    return repr(kind)


def _types(endpoints: Iterable[Endpoint]) -> list[Any]:
    found: dict[str, Any] = {_key(Problem): Problem}
    for endpoint in endpoints:
        for kind in (*endpoint.answers.values(), endpoint.body, endpoint.form):
            if kind is not None:
                found[_key(kind)] = kind
    return list(found.values())


def _operation(prefix: str, endpoint: Endpoint, by_type: dict[str, Any]) -> dict[str, Any]:
    by_name = _PARAMETER.sub(r"by_\1", endpoint.path)
    name = re.sub(r"\W+", "_", f"{endpoint.method} {prefix}{by_name}")
    operation: dict[str, Any] = {
        "operationId": name.strip("_").lower(),
        "summary": endpoint.summary,
        "description": endpoint.handler.__doc__,
        "tags": [endpoint.tag],
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint, by_type),
    }
    if endpoint.authenticated:
        operation["security"] = [{"bearer": []}]
    if endpoint.body is not None:
        content = {kind: {"schema": by_type[_key(endpoint.body)]} for kind in endpoint.media_types}
        if endpoint.form is not None:
            form = by_type[_key(endpoint.form)]
            content["application/x-www-form-urlencoded"] = {"schema": form}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    number = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": number}
        for name in _PARAMETER.findall(endpoint.path)
    ]
    if endpoint.query is not None:
        schema = msgspec.json.schema(endpoint.query)
        (definition,) = schema["$defs"].values()
        for name, member in definition["properties"].items():
            text = member.pop("description", "")
            found.append(
                {"name": name, "in": "query", "description": text, "schema": _plain(member)}
            )
    for name in (*endpoint.headers, "Min-Event-Position", "X-Request-ID"):
        schema = {"type": "string"}
        if name == "Min-Event-Position":
            schema = {"type": "integer", "minimum": 0}
        found.append(
            {"name": name, "in": "header", "description": _HEADERS[name], "schema": schema}
        )
    return found


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is there or not; it is never null."""
    members = schema.pop("anyOf", None)
    if members is None:
        return schema
    (kind,) = (member for member in members if member != {"type": "null"})
    schema.pop("default", None)
    return {**schema, **kind}


def _responses(endpoint: Endpoint, by_type: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, kind in endpoint.answers.items():
        names = ("ETag",) if status == 304 else endpoint.answer_headers
        responses[str(status)] = {
            "description": {304: "You have it already."}.get(status, "Done."),
            "headers": {
                name: {"description": _ANSWER_HEADERS[name], "schema": {"type": "string"}}
                for name in (*names, "X-Request-ID")
            },
        }
        if kind is not None:
            content = {endpoint.answer_media_type: {"schema": by_type[_key(kind)]}}
            responses[str(status)]["content"] = content
    slugs = [*endpoint.errors, *_ALWAYS, "validation-failed"]
    slugs += ["unauthenticated"] if endpoint.authenticated else []
    slugs += _WITH_BODY if endpoint.body is not None else []
    slugs += _ON_WRITE if endpoint.method != "GET" else []
    for slug in sorted(set(slugs), key=list(PROBLEMS).index):
        kind = PROBLEMS[slug]
        answer = responses.setdefault(
            str(kind.status),
            {
                "description": "",
                "content": {"application/problem+json": {"schema": by_type[_key(Problem)]}},
            },
        )
        text = f"`{slug}`: {kind.meaning}"
        answer["description"] = f"{answer['description']} {text}".strip()
    return responses
