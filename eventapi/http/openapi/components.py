"""Shared components of operations: headers, parameters and error responses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count
from typing import Any

import msgspec

from eventapi.http.change_reason import CHANGE_REASON
from eventapi.http.openapi.described import Described
from eventapi.http.openapi.schemas import readable
from eventapi.http.problem_types import PROBLEMS
from eventapi.http.schemas.audit import EventsQuery
from eventapi.http.schemas.requests import ListQuery
from eventapi.values.reasons import MAX_REASON_CHARACTERS
from eventapi.values.rules import ONE_LINE

_MAX_POSITION = 10**18 - 1

_REQUEST_HEADERS: dict[str, dict[str, Any]] = {
    CHANGE_REASON: {
        "description": "Why the client makes this change: one line of UTF-8, which is sealed into the "
        "events of the request, and shown in the history of the resource.",
        "schema": {"type": "string", "maxLength": MAX_REASON_CHARACTERS, "pattern": ONE_LINE},
        "example": "asked for by the customer",
    },
    "If-Match": {
        "description": "Entity tags that the resource may have; with any other one the response is 412. "
        "`*` accepts any.",
        "schema": {"type": "string"},
        "example": "*",
    },
    "If-None-Match": {
        "description": "Entity tags that the client has already. If the content has one of them, "
        "the response is 304, or 412 to a write.",
        "schema": {"type": "string"},
        "example": '"0"',
    },
    "Idempotency-Key": {
        "description": "A key that the client chooses for one request, quoted or bare. If the "
        "request is repeated with the same key, it takes effect only once.",
        "schema": {
            "type": "string",
            "pattern": r'^("([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-~]{1,255})$',
        },
    },
    "Last-Event-ID": {
        "description": "The position of the last event received; the stream continues after it. It "
        "takes precedence over `after`. If it is ahead of the log, the first event is `reset`.",
        "schema": {
            "type": "integer",
            "format": "int64",
            "minimum": 0,
            "maximum": _MAX_POSITION,
        },
        "example": 0,
    },
    "Min-Event-Position": {
        "description": "Answer from a state at this position of the log or later.",
        "schema": {"type": "integer", "format": "int64", "minimum": 0, "default": 0},
        "example": 0,
    },
}

_PATH: dict[str, dict[str, Any]] = {
    "level": {
        "description": "The level of the tile in the tree.",
        "schema": {"type": "integer", "format": "int64", "minimum": 0, "maximum": 63},
        "example": 0,
    },
    "place": {
        "description": "The number of the tile in the form of C2SP tlog-tiles, and its width if it "
        "is partial.",
        "schema": {
            "type": "string",
            "pattern": r"^(x[0-9]{3}/){0,5}[0-9]{3}(\.p/[1-9][0-9]{0,2})?$",
        },
        "example": "000.p/1",
    },
    "position": {
        "description": "The position of an event in the log.",
        "schema": {"type": "integer", "format": "int64", "minimum": 1},
        "example": 1,
    },
    "session_id": {
        "description": "The id of a session.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "example": "5f2d0c1b9a8e7d6c5b4a39281706f5e4",
    },
    "size": {
        "description": "The number of events in the checkpoint that the client has.",
        "schema": {"type": "integer", "format": "int64", "minimum": 0},
        "example": 1,
    },
    "username": {
        "description": "The name of a user.",
        "schema": {"type": "string"},
        "example": "john_doe",
    },
    "slug": {
        "description": "The last part of a problem's `type`.",
        "schema": {"type": "string", "enum": list(PROBLEMS)},
        "example": "not-found",
    },
}

_NUMBER: dict[str, Any] = {
    "schema": {"type": "integer", "format": "int64", "minimum": 1},
    "example": 1,
}
"""The number of a resource in a path."""

_QUERY_EXAMPLES: dict[str, Any] = {
    "actor": "users/1",
    "after": 0,
    "as_of": "2099-12-31T23:59:59Z",
    "count": "true",
    "fields": "id",
    "limit": 100,
    "order": "asc",
    "q": "first",
    "since": 1,
    "sort": "id",
    "subject": "items/1",
    "type": "item.created",
    "until": "2099-12-31T23:59:59Z",
}
"""Values with which a request succeeds for any log, because tools send the examples unchanged."""

_ANSWER_HEADERS = {
    "Allow": "The methods that you may use here: a reader of a resource may not change it.",
    "Content-Disposition": "The name of the file.",
    "Deprecation": "The time of deprecation, as `@` and seconds since 1970 (RFC 9745).",
    "ETag": "The entity tag of the content.",
    "Event-Position": "The position in the log of the event that was written.",
    "Link": 'The next page, as `rel="next"`, if there is one.',
    "Location": "The address of the new resource or account.",
    "RateLimit": "The remaining requests of each limit in `RateLimit-Policy`, as `r`, and the "
    "seconds until it is reset, as `t`.",
    "RateLimit-Policy": "The limits that count this request: `q` requests in `w` seconds.",
    "Retry-After": "The seconds after which to try again.",
    "Sunset": "The time after which this will not be available (RFC 8594).",
    "WWW-Authenticate": "How to authenticate (RFC 6750).",
    "X-Request-ID": "The id of the request.",
}
_LOCAL = "{name}"
"""Makes a reference within one schema the name of its definition."""

_INTEGER_HEADERS = {"Event-Position", "Retry-After"}
LIMITS = ("RateLimit", "RateLimit-Policy")
_ERROR_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


class Components:
    """The components of one document. Each method adds those that it returns."""

    def __init__(self, schemas: dict[str, Any]) -> None:
        self.headers: dict[str, Any] = {}
        self.parameters: dict[str, Any] = {}
        self.responses: dict[str, Any] = {}
        self.schemas = schemas

    def headers_of(self, names: Iterable[str]) -> dict[str, Any]:
        """References to the headers of a response, and to the request id's."""
        for name in (names := [*names, "X-Request-ID"]):
            is_integer = name in _INTEGER_HEADERS
            schema = {"type": "integer", "format": "int64"} if is_integer else {"type": "string"}
            self.headers[name] = {"description": _ANSWER_HEADERS[name], "schema": schema}
        return {name: _reference("headers", name) for name in names}

    def path_parameter(self, name: str, noun: str) -> dict[str, Any]:
        """A reference to a parameter of a path; ``noun`` is that of a resource, if any."""
        number = {"description": f"The number of {noun}.", **_NUMBER}
        found = _PATH.get(name, number)
        self.parameters[name] = {"name": name, "in": "path", "required": True, **found}
        return _reference("parameters", name)

    def query_parameters(self, query: type[msgspec.Struct]) -> list[dict[str, Any]]:
        """References to the parameters of a query."""
        (root,), definitions = msgspec.json.schema_components([query], ref_template=_LOCAL)
        definition = definitions[root["$ref"]]
        references = []
        for name, member in definition["properties"].items():
            schema = readable(_inlined(member, definitions))
            noun = "events" if query is EventsQuery else "resources"
            description = schema.pop("description", None) or f"Only {noun} of this {name}."
            own = schema.pop("examples", [None])
            if "default" in member:
                schema["default"] = member["default"]
            described = {
                "name": name,
                "in": "query",
                "description": description,
                "schema": schema,
            }
            if name in definition["required"]:
                described["required"] = True
            is_ours = query is EventsQuery or name in ListQuery.__struct_fields__
            example = _QUERY_EXAMPLES[name] if is_ours else own[0]
            if example is not None and schema.get("type") == "string":
                example = str(example)
            if example is not None:
                described["example"] = example
            references.append(self._parameter(f"{query.__name__}_{name}", described))
        return references

    def _parameter(self, name: str, described: dict[str, Any]) -> dict[str, Any]:
        """A reference to a parameter; the name gets a number if it is that of another one.

        The queries of a declared kind may be named as one of this server.
        """
        others = (f"{name}_{number}" for number in count(2))
        found = next(
            one for one in chain([name], others) if self.parameters.get(one, described) == described
        )
        self.parameters[found] = described
        return _reference("parameters", found)

    def header_parameter(self, name: str, operation: str) -> dict[str, Any]:
        """A reference to a request header.

        An idempotency key belongs to one request, so the example of each operation has its own.
        """
        described = {"name": name, "in": "header", **_REQUEST_HEADERS[name]}
        if "example" not in described:
            return described | {"example": f"{operation.replace('_', '-')}-1"}
        self.parameters[name] = described
        return _reference("parameters", name)

    def error(self, status: int, slugs: Sequence[str], shape: ErrorShape) -> dict[str, Any]:
        """A reference to the response of one status, for these problems."""
        name = "Or".join(slug.title().replace("-", "") for slug in slugs)
        if any(PROBLEMS[slug].status != status for slug in slugs):
            name += str(status)
        name += shape.suffix
        headers = (*_ERROR_HEADERS.get(status, ()), *LIMITS, *shape.headers)
        self.responses[name] = {
            "description": " ".join(f"`{slug}`: {PROBLEMS[slug].meaning}" for slug in slugs),
            "headers": self.headers_of(headers),
            "content": {shape.media_type: {"schema": shape.schema}},
        }
        return _reference("responses", name)

    def used_by(self, paths: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The components by kind, without those that no path refers to."""
        every = {
            "schemas": self.schemas,
            "responses": self.responses,
            "parameters": self.parameters,
            "headers": self.headers,
        }
        used: set[str] = set()
        missing = set(_references(paths))
        while missing:
            used |= missing
            found = (every[kind][name] for kind, name in (one.split("/")[2:] for one in missing))
            missing = {reference for one in found for reference in _references(one)} - used
        return {
            kind: {
                name: one for name, one in named.items() if f"#/components/{kind}/{name}" in used
            }
            for kind, named in every.items()
        }


class ErrorShape(msgspec.Struct, frozen=True):
    """The shape of a version's errors; ``suffix`` ends the names of their components."""

    media_type: str
    schema: dict[str, Any]
    headers: Sequence[str] = ()
    suffix: str = ""


_ALWAYS = (
    "malformed-body",
    "request-timeout",
    "uri-too-long",
    "headers-too-large",
    "internal-error",
)
_WITH_STATE = ("validation-failed", "log-unavailable", "overloaded")
_WITH_CALLER = ("unauthenticated", "forbidden")  # An API key may lack any scope.
_WITH_BODY = ("unsupported-media-type", "body-too-large")
_ONCE = ("request-in-progress", "idempotency-key-reused")
_ON_WRITE = ("storage-full",)


def slugs_of(described: Described) -> list[str]:
    """The slugs of the problems that an operation may respond with."""
    operation = described.operation
    slugs = {*operation.errors, *_ALWAYS}
    if operation.reads_state:
        slugs |= set(_WITH_STATE)
    if described.is_authenticated:
        slugs |= set(_WITH_CALLER)
    if described.body is not None:
        slugs |= set(_WITH_BODY)
    if "Idempotency-Key" in operation.request_headers:
        slugs |= set(_ONCE)
    if described.method != "GET":
        slugs |= set(_ON_WRITE)
    if operation.is_limited:
        slugs.add("rate-limited")
    if not operation.ignores_query:
        slugs.add("validation-failed")
    return sorted(slugs, key=list(PROBLEMS).index)


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """A schema with definitions, which are enumerations, in place of references."""
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        schema = definitions[schema["$ref"]] | schema
    return {name: _inlined(one, definitions) for name, one in schema.items() if name != "$ref"}


def _references(value: Any) -> Iterator[str]:
    """All references in a part of the document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _references(one)


def _reference(kind: str, name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/{kind}/{name}"}
