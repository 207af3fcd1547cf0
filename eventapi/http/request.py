"""The request class: body, query, preconditions and writes."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cached_property, lru_cache
from math import inf
from types import NoneType
from typing import Annotated, Any, ClassVar, Final, TypeAlias, TypeVar, get_args

import msgspec
from litestar.params import BodyKwarg
from litestar.typing import FieldDefinition

from eventapi.commands.command import Command
from eventapi.http.authenticated_request import TOKEN_PARAMETER, AuthenticatedRequest
from eventapi.http.body import receive_body
from eventapi.http.caches import Caches
from eventapi.http.change_reason import HEADER, parse_reason
from eventapi.http.conditional import accepted_versions, conditions, is_known
from eventapi.http.decoding import (
    Texts,
    Where,
    decode_json,
    form_fields,
    from_texts,
    query_texts,
)
from eventapi.http.idempotency import idempotency_key, parse_key
from eventapi.http.negotiation import parse_content_type, preferred_type
from eventapi.http.problems import ProblemError
from eventapi.http.schemas.requests import TOKEN_FIELDS, Body
from eventapi.http.schemas.responses import ApiVersion
from eventapi.http.urls import base_url
from eventapi.journal.batch import CommandResult, GroupedCommand, IdempotencyKey
from eventapi.journal.origin import Origin
from eventapi.values.times import parse_point
from events.errors import (
    Fault,
    Invalid,
    PreconditionFailed,
)
from events.vocabulary.resources import Entity
from projections.state import State
from projections.tables.tombstones import Tombstone

B = TypeVar("B", bound=Body)
S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

JSON_TYPES = frozenset({"application/json"})
MERGE_PATCH_TYPE: Final = "application/merge-patch+json"
MergePatch: TypeAlias = Annotated[T, BodyKwarg(media_type=MERGE_PATCH_TYPE)]
"""The body of a PATCH, declared as JSON or as a merge patch (RFC 7396)."""

NDJSON = "application/x-ndjson"
_HANDLERS = 512
"""Handlers whose body type is cached: more than one application has."""


class ApiRequest(AuthenticatedRequest):
    """A request to one version of the API; `of_version` returns its class."""

    version: ClassVar[ApiVersion]

    _content: bytes | None = None
    _reason: str | None = None

    @classmethod
    def of_version(cls, version: ApiVersion) -> type[ApiRequest]:
        """The request class of one version."""
        return type(f"ApiRequest{version.name.upper()}", (cls,), {"version": version})

    @cached_property
    def caches(self) -> Caches:
        """The caches that the request began with."""
        return copy(self.services.caches)

    # The content

    def preferred_type(self, *kinds: str) -> str | None:
        """The media type of ``kinds`` that the client prefers; ``None`` means JSON."""
        return preferred_type(self.accept_weights(), kinds)

    async def resolve_as_of(self, state: State, as_of: int | str, name: str = "as_of") -> int:
        """The position of a point of the log, given as position or time; raises `Invalid`.

        ``name`` is that of the parameter.
        """
        try:
            point = as_of if isinstance(as_of, int) else parse_point(as_of)
            return await self.services.history.position(point, state)
        except ValueError as error:
            faults: Sequence[Fault] = [Fault("", str(error))]
        except Invalid as error:
            faults = error.faults
        where: Where = "body" if self.method == "POST" else "query"
        raise Invalid(*(Fault(f"/{name}", fault.detail, where=where) for fault in faults))

    def media_type(self) -> str:
        """The declared media type, or the default of the version.

        Raises `ProblemError` if a charset other than UTF-8, or a content coding, is declared.
        """
        codings = {
            text.lower() for name, text in self.scope["headers"] if name == b"content-encoding"
        }
        if codings - {b"", b"identity"}:
            detail = "the body must not be compressed; send it without Content-Encoding"
            raise ProblemError("unsupported-media-type", detail)
        declared = parse_content_type(self.header(b"content-type"))
        return declared or self.version.default_media_type

    async def content(self) -> bytes:
        """The whole body; raises `ProblemError` if it is too large or incomplete.

        It does not use Litestar's `body`, which takes as long as all other work on a request.
        """
        if self._content is None:
            limit = self.route_handler.resolve_request_max_body_size() or inf
            length = self.header(b"content-length")
            self._content = await receive_body(self.receive, length, limit)
            self.scope["received"] = self._content  # type: ignore[typeddict-unknown-key]  # ours
        return self._content

    async def body(self) -> bytes:
        """The whole body, as Litestar calls it; see `content`."""
        return await self.content()

    async def json(self) -> Any:
        """The JSON body, decoded strictly as the type of the handler's ``data``.

        Litestar passes the result to the handler unchanged. Raises `Invalid` and `ProblemError`.
        """
        kind, media_types = declared_body(self.route_handler)
        return decode_json(await self._json_content(media_types), kind)

    def missing_body(self) -> ProblemError:
        """The error for a request without the body that its handler requires."""
        _, media_types = declared_body(self.route_handler)
        try:
            if self.media_type() not in media_types:
                return _unsupported(sorted(media_types))
        except ProblemError as error:
            return error
        return ProblemError("malformed-body", "the body is not valid JSON")

    async def json_as(self, kind: type[B]) -> B:
        """The JSON body of a handler that also accepts a form.

        Raises `Invalid` and `ProblemError`.
        """
        strict_or_lenient: type[B] = self.version.body(kind)
        return decode_json(await self._json_content(JSON_TYPES), strict_or_lenient)

    async def _json_content(self, media_types: frozenset[str]) -> bytes:
        content = await self.content()
        if self.media_type() not in media_types:
            raise _unsupported(sorted(media_types))
        return content

    async def form_fields(self) -> Texts | None:
        """The fields of a token endpoint's form; ``None`` if the body is JSON.

        Raises `Invalid` and `ProblemError`.
        """
        kind, forms = self.media_type(), self.version.form_types
        if kind in JSON_TYPES:
            return None
        if kind not in forms:
            raise _unsupported([*JSON_TYPES, *forms])
        content_type = self.header(b"content-type") or ""
        return form_fields(await self.content(), content_type, TOKEN_FIELDS)

    def query_as(self, kind: type[S]) -> S:
        """The decoded query string; raises `Invalid`, also for unknown parameters."""
        raw = self.scope["query_string"]
        if not raw:
            return kind()
        texts = query_texts(raw)
        if self.may_stream:
            texts.pop(TOKEN_PARAMETER, None)
        return from_texts(texts, kind, "query")

    def accepted_versions(self, found: Entity | Tombstone) -> frozenset[int] | None:
        """The versions that If-Match allows a write to replace; ``None`` for any.

        ``found`` is the resource in its current version. Raises `PreconditionFailed` if
        If-None-Match has that version. Later versions need no check, because no client has
        received their tags yet.
        """
        match, none_match = conditions(self.scope["headers"])
        if is_known(none_match, found.version):
            raise PreconditionFailed(f"it is at version {found.version}")
        return accepted_versions(match)

    def has_current(self, entity: Entity) -> bool:
        """Whether If-None-Match has the current version of a resource.

        Raises `PreconditionFailed` if If-Match has other versions only.
        """
        match, none_match = conditions(self.scope["headers"])
        versions = accepted_versions(match)
        if versions is not None and entity.version not in versions:
            raise PreconditionFailed(f"it is at version {entity.version}")
        return is_known(none_match, entity.version)

    def url_of(self, place: str) -> str:
        """The absolute URL of a path of this API, in the version that the request used."""
        path = self.scope["path"]
        prefixes = (prefix for prefix in self.version.prefixes if path.startswith(f"{prefix}/"))
        prefix = max(prefixes, key=len, default="")
        return f"{base_url(self.scope)}{prefix}{place}"

    # Writing

    async def idempotency_key(self, caller: str) -> IdempotencyKey | None:
        """The request's idempotency key, if it has one; raises `Invalid`.

        ``caller`` is the owner of the key.
        """
        header = self.header(b"idempotency-key")
        if header is None:
            return None
        key = parse_key(header)
        match, none_match = conditions(self.scope["headers"])
        head = [self.method, self.scope["path"], match or "", none_match or ""]
        if reason := self.change_reason():
            head.append(reason)
        return idempotency_key(caller, key, head, await self.content())

    async def first_result(self, caller: str) -> CommandResult | None:
        """The result of an earlier equal request; see `first_results`."""
        results = await self.first_results(caller, 1)
        return None if results is None else results[0]

    async def first_results(self, caller: str, count: int) -> list[CommandResult] | None:
        """The results of an earlier equal request; see `Journal.first_results`."""
        key = await self.idempotency_key(caller)
        return None if key is None else await self.services.journal.first_results(key, count)

    async def execute(self, command: Command, key_scope: str) -> CommandResult:
        """Execute a command, once for each idempotency key; see `Journal.execute`.

        ``key_scope`` is the owner of the keys: two scopes may use the same key.
        """
        key = await self.idempotency_key(key_scope)
        return await self.services.journal.execute(command, self._origin, key)

    async def execute_all(
        self, commands: Sequence[GroupedCommand], key_scope: str
    ) -> list[CommandResult]:
        """Execute commands, all or none; see `execute` and `Journal.execute_all`."""
        key = await self.idempotency_key(key_scope)
        return await self.services.journal.execute_all(commands, self._origin, key)

    async def execute_all_always(self, commands: Sequence[Command]) -> list[CommandResult]:
        """Execute commands, all or none, without an idempotency key."""
        return await self.services.journal.execute_all(commands, self._origin)

    async def execute_always(self, command: Command) -> CommandResult:
        """Execute a command without an idempotency key; see `Journal.execute`."""
        return await self.services.journal.execute(command, self._origin)

    def change_reason(self) -> str:
        """The text of Change-Reason, empty without one; raises `Invalid`."""
        if self._reason is None:
            header = self.header(HEADER)
            self._reason = "" if header is None else parse_reason(header)
        return self._reason

    @property
    def _origin(self) -> Origin:
        """What the lines of a write record about the request."""
        credential = "" if self._caller is None else self._caller.credential
        return Origin(self.id, credential, self.change_reason())


@lru_cache(_HANDLERS)
def declared_body(handler: Any) -> tuple[type[msgspec.Struct], frozenset[str]]:
    """The type of a handler's parameter ``data``, and the accepted media types."""
    field: FieldDefinition = handler.parsed_data_field
    (kind,) = (
        one for one in get_args(field.annotation) or (field.annotation,) if one is not NoneType
    )
    definition = field.kwarg_definition
    merge_patch = isinstance(definition, BodyKwarg) and definition.media_type == MERGE_PATCH_TYPE
    return kind, JSON_TYPES | {MERGE_PATCH_TYPE} if merge_patch else JSON_TYPES


def _unsupported(expected: Sequence[str]) -> ProblemError:
    return ProblemError("unsupported-media-type", f"the body must be {' or '.join(expected)}")
