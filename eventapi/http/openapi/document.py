"""The OpenAPI 3.1 document, built from the handlers and their Structs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from typing import Any

from eventapi.http.openapi.components import LIMITS, Components, ErrorShape, slugs_of
from eventapi.http.openapi.described import Described
from eventapi.http.openapi.schemas import Schemas
from eventapi.http.operation import Operation
from eventapi.http.problem_types import PROBLEMS
from eventapi.http.problems import ErrorV1, Problem
from eventapi.http.urls import is_version_1

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_PREFIX = re.compile(r"/api/(v[0-9]+)/")

_DESCRIPTION = """\
Users and their items. Every change is one immutable event in a log.

Every error has a `type`, an address that explains it. In version 1, at `/api/v1`, `/auth` and
`/items`, errors have the shape of FastAPI; elsewhere they are problem documents (RFC 9457). A path
that is not listed here is answered with 404 `not-found`, a method that is not with 405
`method-not-allowed` and the methods of the path in `Allow`; so is `OPTIONS`, with 204. Paths that
answer `GET` answer `HEAD` as well.

A request may have an id of its own in `X-Request-ID`, a token of up to 128 characters; otherwise the
server makes one. It is in every answer and in the server's log.

Requests are limited, by user, or without a valid token by address; logging in, registering and
refreshing also by address alone. Over the limit the answer is 429 `rate-limited`, and `Retry-After`
has the seconds to wait. Health and metrics are not limited.

A browser's `EventSource` cannot send an `Authorization` header: where events are streamed, the access
token may be in the query as `access_token`. An event named `reset` means that the client knows
another log, for example one from before a restore: it must fetch everything anew. Its data is
`{"position": N}`, and the stream continues after that position.

A path with a slash at its end is not found. In version 1, paths of the replaced service redirect to the
path without it (307), as that service did.
"""

_FIRST_TAGS = {
    "auth": "Create an account, log in, and manage your sessions, keys and second factor.",
}
_LAST_TAGS = {
    "batch": "Write several resources in one request, all or none.",
    "projections": "Read what the application computes from the log.",
    "users": "Manage all users, as an operator.",
    "webhooks": "Deliver events to other servers, as an operator.",
    "audit": "Read and compare the events of the log, as an auditor.",
    "log": "Prove that an event is in the log, and that the log was only appended to.",
    "health": "Check the server, and read its metrics.",
    "documentation": "Read this documentation.",
}
"""The tags of resources come between these: first what every user needs."""

_MEANINGS = {304: "The client has it already.", 307: "It is at the address in `Location`."}

_BINARY = frozenset({"application/octet-stream", "application/zip"})


def build_document(  # noqa: PLR0917 - the parts of a document
    operations: Sequence[Described],
    version: str,
    announced: Sequence[str],
    tags: Mapping[str, str],
    only: str,
    base: str,
) -> dict[str, Any]:
    """The document of some operations; ``tags`` describes those of resources.

    ``announced`` has the headers that announce the end of version 1, if it is deprecated. ``only``
    is the one version of the API to describe, or empty for all. ``base`` is the address of the
    server, absolute or as a path, without a slash at its end.
    """
    prefix = f"/api/{only}" if only else ""
    operations = [one for one in operations if one.path.startswith(f"{prefix}/")]
    builder = _Builder(operations, announced, only)
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        path = _PARAMETER.sub(r"{\1}", one.path)
        paths.setdefault(path, {})[one.method.lower()] = builder.operation(one)
    auth = f"{base}{prefix}/auth"
    used = {
        tag for operations in paths.values() for one in operations.values() for tag in one["tags"]
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"eventapi {only}".rstrip(),
            "version": version,
            "contact": {"name": "The operator of this server"},
            "license": {"name": "MIT", "identifier": "MIT"},
            "description": _DESCRIPTION,
        },
        "servers": [{"url": base or "/"}],
        "tags": [
            {"name": name, "description": text}
            for name, text in {**_FIRST_TAGS, **tags, **_LAST_TAGS}.items()
            if name in used
        ],
        "paths": paths,
        "components": builder.components.used_by(paths)
        | {
            "securitySchemes": {
                "bearer": {
                    "type": "oauth2",
                    "flows": {
                        "password": {
                            "tokenUrl": f"{auth}/login",
                            "refreshUrl": f"{auth}/refresh",
                            "scopes": {},
                        }
                    },
                }
            },
        },
    }


class _Builder:
    """Builds the operations of one document, and collects their components."""

    def __init__(
        self, operations: Sequence[Described], announced: Sequence[str], only: str
    ) -> None:
        # Names that an application declares give way to those of this server.
        ordered = sorted(operations, key=lambda one: one.operation.kind not in {"", "item"})
        answers = [
            Problem,
            ErrorV1,
            *(kind for one in ordered for kind in one.answers.values() if kind is not None),
        ]
        bodies = [one.body for one in ordered if one.body is not None]
        self._schemas = Schemas(bodies, answers)
        self._ids: set[str] = set()
        self._announced = [name for name in announced if name != "Link"]
        self._is_joint = not only
        self.components = Components(self._schemas.components)
        self._problem = ErrorShape("application/problem+json", self._schemas.of(Problem))
        self._error_v1 = ErrorShape(
            "application/json", self._schemas.of(ErrorV1), self._announced, "V1"
        )

    def operation(self, described: Described) -> dict[str, Any]:
        """The operation object of the document."""
        is_v1 = is_version_1(described.path)
        operation_id = described.name
        if (
            self._is_joint
            and described.operation.name is None
            and (prefix := _PREFIX.match(described.path))
        ):
            operation_id += f"_{prefix[1]}"
        operation_id = self._free_id(operation_id)
        operation: dict[str, Any] = {
            "operationId": operation_id,
            "summary": described.summary,
            "description": inspect.cleandoc(described.description),
            "tags": list(described.tags),
            "security": _security(described),
        }
        parameters = self._parameters(described)
        if parameters:
            operation["parameters"] = parameters
        if described.body is not None:
            operation["requestBody"] = self._body(described)
        operation["responses"] = self._responses(described, is_v1)
        if is_v1 and self._announced:
            operation["deprecated"] = True
        return operation

    def _free_id(self, operation_id: str) -> str:
        """An id that no other operation has: an action may have the name of another one."""
        others = (f"{operation_id}_{number}" for number in count(2))
        found = next(one for one in chain([operation_id], others) if one not in self._ids)
        self._ids.add(found)
        return found

    def _parameters(self, described: Described) -> list[dict[str, Any]]:
        components, operation = self.components, described.operation
        found = [
            components.path_parameter(name, operation.noun)
            for name in _PARAMETER.findall(described.path)
        ]
        if operation.query is not None:
            found += components.query_parameters(operation.query)
        position = ("Min-Event-Position",) if operation.reads_state else ()
        names: Iterable[str] = (*operation.request_headers, *position)
        return found + [components.header_parameter(name, described.name) for name in names]

    def _body(self, described: Described) -> dict[str, Any]:
        # All media types share one schema, because generators confuse several types of one body.
        schema = self._schemas.of(described.body)
        content = {kind: {"schema": schema} for kind in described.media_types}
        return {"required": described.body_is_required, "content": content}

    def _responses(self, described: Described, is_v1: bool) -> dict[str, Any]:
        responses: dict[str, Any] = {}
        for status, kind in described.answers.items():
            names = ("ETag",) if status == 304 else described.response_headers
            names = (*names, *(LIMITS if described.operation.is_limited else ()))
            names = (*names, *(self._announced if is_v1 else ()))
            response = responses[str(status)] = {
                "description": _MEANINGS.get(status, "Done."),
                "headers": self.components.headers_of(names),
            }
            if kind is not None:
                response["content"] = self._content(described.operation, kind)
        by_status: dict[int, list[str]] = {}
        for slug in slugs_of(described):
            kind = PROBLEMS[slug]
            other = described.version.statuses.get(slug) if described.is_authenticated else None
            status = other or (is_v1 and kind.v1_status) or kind.status
            by_status.setdefault(status, []).append(slug)
        shape = self._error_v1 if is_v1 else self._problem
        for status, slugs in sorted(by_status.items()):
            responses[str(status)] = self.components.error(status, slugs, shape)
        return responses

    def _content(self, operation: Operation, kind: Any) -> dict[str, Any]:
        schema = self._schemas.of(kind)
        if operation.media_type in _BINARY:
            schema = schema | {"format": "binary"}
        return {operation.media_type: {"schema": schema}} | {
            name: {"schema": {"type": "string"}} for name in operation.other_media_types
        }


def _security(described: Described) -> list[dict[str, list[str]]]:
    if described.may_be_anonymous:
        return [{}, {"bearer": []}]
    return [{"bearer": []}] if described.is_authenticated else []
