"""The request class: authentication, body, query, preconditions and writes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from functools import lru_cache
from math import inf
from types import NoneType
from typing import Annotated, Any, ClassVar, Final, TypeAlias, TypeVar, get_args

import litestar
import msgspec
from litestar.params import BodyKwarg
from litestar.typing import FieldDefinition

from eventapi.commands.command import Command
from eventapi.http.authentication import Caller, Reader, bearer, user_of
from eventapi.http.body import receive_body
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
from eventapi.http.negotiation import parse_content_type, parse_weights, preferred_type
from eventapi.http.problems import NO_TOKEN, ProblemError, request_id_of
from eventapi.http.schemas.requests import TOKEN_FIELDS, Body
from eventapi.http.schemas.responses import ApiVersion
from eventapi.http.services import Services
from eventapi.http.urls import base_url, place_of
from eventapi.journal.batch import CommandResult, GroupedCommand, IdempotencyKey
from eventapi.values.times import parse_point
from events.errors import (
    Fault,
    Forbidden,
    Invalid,
    PositionNotReached,
    PreconditionFailed,
    Unauthenticated,
)
from events.vocabulary.resources import Entity
from projections.state import State
from projections.tables.resources import Tombstone

B = TypeVar("B", bound=Body)
S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

JSON_TYPES = frozenset({"application/json"})
MERGE_PATCH_TYPE: Final = "application/merge-patch+json"
MergePatch: TypeAlias = Annotated[T, BodyKwarg(media_type=MERGE_PATCH_TYPE)]
"""The body of a PATCH, declared as JSON or as a merge patch (RFC 7396)."""

EVENT_STREAM = "text/event-stream"
NDJSON = "application/x-ndjson"
_TOKEN = "access_token"  # noqa: S105 - the name of a parameter
_STREAMED = "/events"
"""Suffix of the paths whose responses may be event streams."""

_WAIT_STEP_SECONDS = 0.01
_WITHIN_REACH = 1_000_000
"""More events than a log can gain during the wait; the request fails at once beyond that."""

_NUMBER = re.compile(r"[1-9][0-9]{0,18}")

_HANDLERS = 512
"""Handlers whose body type is cached: more than one application has."""


class _QueryToken(msgspec.Struct, frozen=True):
    access_token: str | None = None


class ApiRequest(litestar.Request[None, None, Any]):
    """A request to one version of the API; `of_version` returns its class."""

    version: ClassVar[ApiVersion]

    _caller: Caller | None = None
    _reader: Reader | None = None
    _content: bytes | None = None

    @classmethod
    def of_version(cls, version: ApiVersion) -> type[ApiRequest]:
        """The request class of one version."""
        return type(f"ApiRequest{version.name.upper()}", (cls,), {"version": version})

    @property
    def services(self) -> Services:
        """The services of the application, available after its start."""
        services: Services = self.scope["litestar_app"].services  # type: ignore[attr-defined]
        return services

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name; the last line if there are several."""
        found = None
        for key, value in self.scope["headers"]:
            if key == name:
                found = value.decode("latin-1")
        return found

    @property
    def id(self) -> str:
        """The request's id, which appears in its response, events and log lines."""
        return request_id_of(self.scope)

    # The caller

    @property
    def caller(self) -> Caller:
        """The caller that the guard `logged_in` or `auditor` authenticated."""
        assert self._caller is not None, "the handler has no guard"  # noqa: S101
        return self._caller

    @property
    def reader(self) -> Reader:
        """The reader, after the guard `logged_in` or `optional_login`."""
        if self._reader is None:
            self._reader = Reader(self.caller.state, self.caller.user)
        return self._reader

    async def current_state(self) -> State:
        """The state at the position in Min-Event-Position, or at a later one.

        Raises `PositionNotReached` if the log does not reach that position in time.
        """
        state = await self.services.journal.state()
        wanted = self.header(b"min-event-position")
        if wanted is None:
            return state
        if not _NUMBER.fullmatch(wanted) and wanted != "0":
            raise Invalid(Fault("", "Min-Event-Position must be a position", where="header"))
        deadline = time.monotonic() + self.services.wait_seconds
        while state.position < int(wanted):
            is_far = int(wanted) > state.position + _WITHIN_REACH
            if is_far or time.monotonic() > deadline:
                raise PositionNotReached(
                    f"The log has reached position {state.position}, and Min-Event-Position asks "
                    f"for {wanted}. Correct the header, or try again after that event was written."
                )
            await asyncio.sleep(_WAIT_STEP_SECONDS)
            state = await self.services.journal.state()
        return state

    async def authenticate(self) -> Caller:
        """Authenticate the caller by the access token (RFC 6750).

        Raises `Unauthenticated`; a bad token is reported before any other error. Streams call this
        repeatedly, because a session may end during a stream.
        """
        token = bearer(self.scope) or self._query_token()
        if token is None:
            raise Unauthenticated(NO_TOKEN)
        clock = self.services.journal.clock
        now = clock.seconds()
        claims = self.services.tokens.claims(token, now)
        state = await self.current_state()
        user = user_of(state, claims, clock.second_end(now))
        if user is None:
            raise Unauthenticated("the session has ended")
        self.scope["user"] = user.id
        self._caller = Caller(state, user, claims.sid)
        self._reader = None
        return self._caller

    async def authenticate_reader(self) -> Reader:
        """Authenticate the caller if there is a token.

        Raises `Unauthenticated` for a bad token.
        """
        if self.header(b"authorization") is not None or self._query_token() is not None:
            await self.authenticate()
        else:
            self._reader = Reader(await self.current_state(), None)
        return self.reader

    async def authenticate_auditor(self) -> Caller:
        """Authenticate an auditor; raises `Unauthenticated` and `Forbidden`."""
        caller = await self.authenticate()
        if "auditor" not in caller.user.roles:
            raise Forbidden("only auditors may do this")
        return caller

    def _query_token(self) -> str | None:
        """The token in the query (RFC 6750, section 2.3), for event streams only.

        A browser's EventSource cannot send an Authorization header.
        """
        if (
            b"access_token=" not in self.scope["query_string"]
            or not self.scope["path"].endswith(_STREAMED)
            or not self.accept_weights().get(EVENT_STREAM)
        ):
            return None
        texts = query_texts(self.scope["query_string"])
        tokens = {name: values for name, values in texts.items() if name == _TOKEN}
        return from_texts(tokens, _QueryToken, "query").access_token

    # The content

    def accept_weights(self, header: bytes = b"accept") -> dict[str, float]:
        """The values of Accept, or of a similar header, with their weights."""
        return parse_weights(self.scope["headers"], header)

    def preferred_type(self, *kinds: str) -> str | None:
        """The media type of ``kinds`` that the client prefers; ``None`` means JSON."""
        return preferred_type(self.accept_weights(), kinds)

    async def resolve_as_of(self, state: State, as_of: int | str) -> int:
        """The position of a point of the log, given as position or time; raises `Invalid`."""
        try:
            point = as_of if isinstance(as_of, int) else parse_point(as_of)
            return await self.services.history.position(point, state)
        except ValueError as error:
            faults: Sequence[Fault] = [Fault("/as_of", f"{error} and not a position")]
        except Invalid as error:
            faults = error.faults
        where: Where = "body" if self.method == "POST" else "query"
        raise Invalid(*(msgspec.structs.replace(fault, where=where) for fault in faults))

    def media_type(self) -> str:
        """The declared media type, or the default of the version.

        Raises `ProblemError` if a charset other than UTF-8 is declared.
        """
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
        if self.scope["path"].endswith(_STREAMED):
            texts.pop(_TOKEN, None)
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
        """The absolute URL of a path of this API, with the prefix that the request used."""
        path = place_of(self.scope)
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
        head = (self.method, self.scope["path"], match or "", none_match or "")
        return idempotency_key(caller, key, head, await self.content())

    async def first_result(self, caller: str) -> CommandResult | None:
        """The result of an earlier equal request; see `first_results`."""
        results = await self.first_results(caller, 1)
        return None if results is None else results[0]

    async def first_results(self, caller: str, count: int) -> list[CommandResult] | None:
        """The results of an earlier equal request; see `Journal.first_results`."""
        key = await self.idempotency_key(caller)
        return await self.services.journal.first_results(key, count)

    async def execute(self, command: Command, key_scope: str) -> CommandResult:
        """Execute a command, once for each idempotency key; see `Journal.execute`.

        ``key_scope`` is the owner of the keys: two scopes may use the same key.
        """
        key = await self.idempotency_key(key_scope)
        return await self.services.journal.execute(command, self.id, key, self._session)

    async def execute_all(
        self, commands: Sequence[GroupedCommand], key_scope: str
    ) -> list[CommandResult]:
        """Execute commands, all or none; see `execute` and `Journal.execute_all`."""
        key = await self.idempotency_key(key_scope)
        return await self.services.journal.execute_all(commands, self.id, key, self._session)

    async def execute_always(self, command: Command) -> CommandResult:
        """Execute a command without an idempotency key; see `Journal.execute`."""
        return await self.services.journal.execute(command, self.id, session=self._session)

    @property
    def _session(self) -> str | None:
        """The session that must still exist when the command is written, if any."""
        return None if self._caller is None else self._caller.session


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
