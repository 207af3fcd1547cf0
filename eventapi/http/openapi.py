"""The OpenAPI 3.1 document, made from the endpoints and the Structs they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from eventapi.http.endpoint import Endpoint
from eventapi.http.places import is_version_1
from eventapi.http.problem_types import PROBLEMS
from eventapi.http.problems import Problem

_COMPONENTS = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+):\w+\}")

_ALWAYS = (
    "malformed-body",
    "request-timeout",
    "uri-too-long",
    "headers-too-large",
    "internal-error",
)
_WITH_STATE = ("validation-failed", "log-unavailable", "overloaded")
_WITH_BODY = ("unsupported-media-type", "body-too-large")
_ONCE = ("request-in-progress", "idempotency-key-reused")
_ON_WRITE = ("storage-full",)

_HEADERS = {
    "If-Match": "The entity tags that the item may have; with another one the answer is 412.",
    "Idempotency-Key": "A key of your own, quoted or bare: same requests have one effect only.",
    "If-None-Match": "The entity tags that you have already; the answer to one of them is 304, "
    "and to a write 412.",
    "Last-Event-ID": "The position that was come to; it wins over `after`. Where it is ahead of the log, "
    "the first event is `reset`.",
    "Min-Event-Position": "Answer from a state at this position of the log or later.",
    "X-Request-ID": "An id of your own for this request, a token of up to 128 characters.",
}
_HEADER_SCHEMAS = {
    "Idempotency-Key": {"pattern": '^("[ !#-~]{1,255}"|[!#-~]{1,255})$'},
    "Last-Event-ID": {"pattern": "^(0|[1-9][0-9]{0,17})?$"},
    "Min-Event-Position": {"pattern": "^(0|[1-9][0-9]{0,18})$"},
}
_ANSWER_HEADERS = {
    "Deprecation": "Since when this is deprecated, as `@` and seconds since 1970 (RFC 9745).",
    "ETag": "The entity tag of the item's version.",
    "Event-Position": "The position in the log of the event that was written.",
    "Link": 'Where the next page is, as `rel="next"`, when there is one.',
    "Location": "Where the new item or account is.",
    "RateLimit": "What is left of the limits in `RateLimit-Policy`, as `r`, and for how many seconds, as `t`.",
    "RateLimit-Policy": "The limits that count this request: `q` requests in `w` seconds.",
    "Retry-After": "After how many seconds to try again.",
    "Sunset": "When this will no longer be answered (RFC 8594).",
    "WWW-Authenticate": "How to authenticate (RFC 6750).",
    "X-Request-ID": "The id of the request.",
}
_INTEGER_HEADERS = {"Event-Position", "Retry-After"}
_LIMITS = ("RateLimit", "RateLimit-Policy")
_ERROR_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
_PATH_SCHEMAS = {
    "level": {"type": "integer", "minimum": 0, "maximum": 63},
    "place": {"type": "string", "pattern": r"^(x[0-9]{3}/){0,5}[0-9]{3}(\.p/[1-9][0-9]{0,2})?$"},
    "position": {"type": "integer", "minimum": 1, "maximum": 10**19 - 1},
    "size": {"type": "integer", "minimum": 0, "maximum": 10**19 - 1},
    "item_id": {"type": "integer", "minimum": 1, "maximum": 10**19 - 1},
    "session_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "slug": {"type": "string", "enum": list(PROBLEMS)},
}
_PROBLEM_TYPE = "application/problem+json"


_DESCRIPTION = """\
Users and their items. Every change is one immutable event in a log.

Every error is a problem document (RFC 9457) whose `type` says at that address what it means. A path
that is not listed here is answered with 404 `not-found`, a method that is not with 405
`method-not-allowed` and the methods of the path in `Allow`; so is `OPTIONS`, with 204.

How often a caller may ask is limited, by user, or without a good token by address; logging in,
registering and refreshing also by address alone. Whoever asks too often is answered with 429
`rate-limited` and told in `Retry-After` when to come back. Health and metrics are not limited.

A browser's `EventSource` sends no headers of ours: where events are streamed, the access token may
stand in the query as `access_token`. An event named `reset` means that the client knows another log,
for example one from before a restore: it must fetch everything anew. Its data is `{"position": N}`,
and the stream goes on behind that position.

A path with a slash at its end is not found. In version 1, paths of the replaced service redirect to the
path without it (307), as that service did.
"""


def document(
    endpoints: Sequence[tuple[str, Endpoint]], version: str, announced: Sequence[str], only: str
) -> dict[str, Any]:
    """The document of endpoints, each with the prefix that it is served under.

    ``announced`` are the headers that tell of the end of version 1, where that is deprecated;
    ``only`` is the one version of the API to describe, or empty.
    """
    base = f"/api/{only}" if only else ""
    endpoints = [pair for pair in endpoints if (pair[0] + pair[1].path).startswith(f"{base}/")]
    types = _types(endpoint for _, endpoint in endpoints)
    schemas, components = msgspec.json.schema_components(types, ref_template=_COMPONENTS)
    by_type = {_key(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for prefix, endpoint in endpoints:
        path = _PARAMETER.sub(r"{\1}", prefix + endpoint.path)
        for method in endpoint.methods:
            operation = _operation(method, prefix, endpoint, by_type)
            if announced and is_version_1(path):
                _deprecate(operation, announced)
            paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"eventapi {only}".rstrip(),
            "version": version,
            "license": {"name": "MIT", "identifier": "MIT"},
            "description": _DESCRIPTION,
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": name} for name in ("auth", "items", "audit", "log", "health", "documentation")
        ],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {
                    "type": "oauth2",
                    "flows": {"password": {"tokenUrl": f"{base}/auth/login", "scopes": {}}},
                }
            },
        },
    }


def _deprecate(operation: dict[str, Any], announced: Sequence[str]) -> None:
    """Mark an operation, and list what its answers tell of it."""
    operation["deprecated"] = True
    for response in operation["responses"].values():
        response["headers"] |= {name: _header(name) for name in announced if name != "Link"}


def _key(kind: Any) -> str:
    return repr(kind)


def _types(endpoints: Iterable[Endpoint]) -> list[Any]:
    found: dict[str, Any] = {_key(Problem): Problem}
    for endpoint in endpoints:
        for kind in (*endpoint.answers.values(), endpoint.body, endpoint.form):
            if kind is not None:
                found[_key(kind)] = kind
    return list(found.values())


def _operation(
    method: str, prefix: str, endpoint: Endpoint, by_type: dict[str, Any]
) -> dict[str, Any]:
    by_name = _PARAMETER.sub(r"by_\1", endpoint.path)
    name = re.sub(r"\W+", "_", f"{method} {prefix}{by_name}")
    operation: dict[str, Any] = {
        "operationId": name.strip("_").lower(),
        "summary": endpoint.summary,
        "description": endpoint.handler.__doc__,
        "tags": [endpoint.tag],
        "parameters": _parameters(endpoint),
        "responses": _responses(method, endpoint, by_type),
    }
    if endpoint.authenticated:
        operation["security"] = [{"bearer": []}]
    if endpoint.body is not None:
        content = {kind: {"schema": by_type[_key(endpoint.body)]} for kind in endpoint.media_types}
        if endpoint.form is not None:
            form = by_type[_key(endpoint.form)]
            content["application/x-www-form-urlencoded"] = {"schema": form}
        operation["requestBody"] = {"required": endpoint.body_required, "content": content}
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_SCHEMAS[name]}
        for name in _PARAMETER.findall(endpoint.path)
    ]
    if endpoint.query is not None:
        schema = msgspec.json.schema(endpoint.query)
        (definition,) = schema["$defs"].values()
        for name, member in definition["properties"].items():
            text = member.pop("description", "")
            found.append({"name": name, "in": "query", "description": text, "schema": member})
    position = ("Min-Event-Position",) if endpoint.reads_state else ()
    for name in (*endpoint.headers, *position, "X-Request-ID"):
        schema = {"type": "string", **_HEADER_SCHEMAS.get(name, {})}
        found.append(
            {"name": name, "in": "header", "description": _HEADERS[name], "schema": schema}
        )
    return found


def _responses(method: str, endpoint: Endpoint, by_type: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, kind in endpoint.answers.items():
        names = ("ETag",) if status == 304 else endpoint.answer_headers
        responses[str(status)] = {
            "description": {304: "You have it already."}.get(status, "Done."),
            "headers": _headers(names),
        }
        if kind is not None:
            content = {endpoint.answer_media_type: {"schema": by_type[_key(kind)]}}
            content |= {name: {"schema": {"type": "string"}} for name in endpoint.other_media_types}
            responses[str(status)]["content"] = content
    for slug in sorted(_slugs(endpoint), key=list(PROBLEMS).index):
        kind = PROBLEMS[slug]
        answer = responses.setdefault(
            str(kind.status),
            {
                "description": "",
                "headers": _headers(_ERROR_HEADERS.get(kind.status, ())),
                "content": {_PROBLEM_TYPE: {"schema": by_type[_key(Problem)]}},
            },
        )
        text = f"`{slug}`: {kind.meaning}"
        answer["description"] = f"{answer['description']} {text}".strip()
    if endpoint.limited:
        for response in responses.values():
            response["headers"] |= _headers(_LIMITS)
    if method == "HEAD":
        for response in responses.values():
            response.pop("content", None)
    return responses


def _slugs(endpoint: Endpoint) -> set[str]:
    """The problems that an endpoint may answer."""
    slugs = {*endpoint.errors, *_ALWAYS}
    if endpoint.reads_state:
        slugs |= set(_WITH_STATE)
    if endpoint.authenticated:
        slugs.add("unauthenticated")
    if endpoint.body is not None:
        slugs |= set(_WITH_BODY)
    if "Idempotency-Key" in endpoint.headers:
        slugs |= set(_ONCE)
    if endpoint.method != "GET":
        slugs |= set(_ON_WRITE)
    if endpoint.limited:
        slugs.add("rate-limited")
    return slugs


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: _header(name) for name in (*names, "X-Request-ID")}


def _header(name: str) -> dict[str, Any]:
    kind = "integer" if name in _INTEGER_HEADERS else "string"
    return {"description": _ANSWER_HEADERS[name], "schema": {"type": kind}}
