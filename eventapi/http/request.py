"""A request, with what every handler asks of it: who calls, what the body says, which item."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Sequence
from functools import cache
from math import inf
from types import NoneType
from typing import Annotated, Any, ClassVar, Final, TypeAlias, TypeVar, get_args

import litestar
import msgspec
from litestar.params import BodyKwarg
from litestar.typing import FieldDefinition

from eventapi.commands.command import Command
from eventapi.http.authentication import bearer, user_of
from eventapi.http.conditional import accepted_versions, conditions, is_known
from eventapi.http.decoding import (
    Texts,
    Where,
    decode_json,
    form_fields,
    from_texts,
    query_texts,
)
from eventapi.http.head import malformed
from eventapi.http.problems import NO_TOKEN, ProblemError, request_id_of
from eventapi.http.response import Response, json_response
from eventapi.http.schemas.requests import TOKEN_FIELDS, Body
from eventapi.http.schemas.responses import ApiVersion
from eventapi.http.services import Services
from eventapi.http.urls import base_url, place_of
from eventapi.journal.batch import CommandResult, IdempotencyKey
from eventapi.values.times import parse_point
from events.errors import (
    Fault,
    Forbidden,
    Invalid,
    NotFound,
    PositionNotReached,
    PreconditionFailed,
    Unauthenticated,
)
from projections.state import State
from projections.tables.items import Item, Tombstone
from projections.tables.users import User

B = TypeVar("B", bound=Body)
S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

JSON_TYPES = frozenset({"application/json"})
MERGE_PATCH_TYPE: Final = "application/merge-patch+json"
MergePatch: TypeAlias = Annotated[T, BodyKwarg(media_type=MERGE_PATCH_TYPE)]
"""The body of a PATCH: JSON, also if it is declared as a merge patch (RFC 7396)."""

EVENT_STREAM = "text/event-stream"
NDJSON = "application/x-ndjson"
_TOKEN = "access_token"  # noqa: S105 - the name of a parameter
_STREAMED = "/events"
"""How the paths end that may be answered by a stream of events."""

_WAIT_STEP_SECONDS = 0.01
_WITHIN_REACH = 1_000_000
"""How many events a log cannot gain within the wait: a position beyond that is not waited for."""

_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_QUOTED = re.compile(r'"([\x20\x21\x23-\x7e]{1,255})"')
_BARE = re.compile(r"([\x21\x23-\x7e]{1,255})")


class _QueryToken(msgspec.Struct, frozen=True):
    access_token: str | None = None


class Caller(msgspec.Struct, frozen=True, gc=False):
    """The user who makes a request, in the state in which the access token was checked."""

    state: State
    user: User
    session: str
    """The id of the session."""


class ApiRequest(litestar.Request[None, None, Any]):
    """A request to one version of the API; `of_version` makes the class of one."""

    version: ClassVar[ApiVersion]

    _caller: Caller | None = None
    _content: bytes | None = None

    @classmethod
    def of_version(cls, version: ApiVersion) -> type[ApiRequest]:
        """The request class of one version."""
        return type(f"ApiRequest{version.name.upper()}", (cls,), {"version": version})

    @property
    def services(self) -> Services:
        """The services of the application, which are there once it has started."""
        services: Services = self.scope["litestar_app"].services  # type: ignore[attr-defined]
        return services

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name; of several, the last."""
        found = None
        for key, value in self.scope["headers"]:
            if key == name:
                found = value.decode("latin-1")
        return found

    @property
    def id(self) -> str:
        """The request's id, which its answer, its events and its log lines carry."""
        return request_id_of(self.scope)

    # The caller

    @property
    def caller(self) -> Caller:
        """The caller that the guard `logged_in` or `auditor` authenticated."""
        assert self._caller is not None, "the handler has no guard"  # noqa: S101
        return self._caller

    async def current_state(self) -> State:
        """The state at the position that the client asked for, or at a later one.

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
        """Authenticate the caller by the access token, now (RFC 6750).

        Raises `Unauthenticated`, for a bad token before anything else is checked. Streams call it
        again, because a session may end while they last.
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
        return self._caller

    async def authenticate_auditor(self) -> Caller:
        """Authenticate an auditor; raises `Unauthenticated` and `Forbidden`."""
        caller = await self.authenticate()
        if "auditor" not in caller.user.roles:
            raise Forbidden("this is for auditors")
        return caller

    def _query_token(self) -> str | None:
        """The token in the query (RFC 6750, section 2.3), of an event stream alone.

        A browser's EventSource can send it nowhere else.
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
        """The values of Accept, or of a header like it, with their weights (RFC 9110, section 12.5)."""
        lines = [value for name, value in self.scope["headers"] if name == header]
        weights: dict[str, float] = {}
        for part in b",".join(lines).decode("latin-1").lower().split(","):
            kind, *parameters = (text.strip() for text in part.split(";"))
            found = [match[1] for match in map(_WEIGHT.fullmatch, parameters) if match]
            weights[kind] = float(found[0]) if found else 1.0
        return weights

    def preferred_type(self, *kinds: str) -> str | None:
        """Which of these media types is accepted by its name, and not less gladly than JSON is."""
        weights = self.accept_weights()
        best = max(kinds, key=lambda kind: weights.get(kind, 0.0))
        weight = weights.get(best, 0.0)
        ranges = ("application/json", "application/*", "*/*")
        json_weight = next((weights[kind] for kind in ranges if kind in weights), 0.0)
        return best if weight and weight >= json_weight else None

    async def resolve_as_of(self, state: State, as_of: int | str) -> int:
        """The position that a point of the log means; raises `Invalid`."""
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
        """The declared media type, or what the version takes for one; raises `ProblemError`.

        A charset other than UTF-8 is refused.
        """
        kind, *parameters = (self.header(b"content-type") or "").lower().split(";")
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "charset" and value.strip(' \t"') not in {"utf-8", "utf8"}:
                raise ProblemError("unsupported-media-type", "the body must be UTF-8")
        return kind.strip() or self.version.default_media_type

    async def content(self) -> bytes:
        """The whole body; raises `ProblemError` where it is too large, or does not come whole.

        Litestar's `body` takes as long as all of our own work on a request.
        """
        if self._content is None:
            self._content = await self._received()
            self.scope["received"] = self._content  # type: ignore[typeddict-unknown-key]  # ours
        return self._content

    async def _received(self) -> bytes:
        limit = self.route_handler.resolve_request_max_body_size() or inf
        try:
            declared = int(self.header(b"content-length") or 0)
        except ValueError:  # Our own server lets none of these through.
            raise malformed("the Content-Length is no number") from None
        if declared > limit:
            raise _too_large(limit)
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message: Any = await self.receive()
            if message["type"] == "http.disconnect":
                raise ProblemError("malformed-body", "the client went away")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise _too_large(limit)
            more = message.get("more_body", False)
        return b"".join(parts)

    async def body(self) -> bytes:
        """The whole body, for Litestar; see `content`."""
        return await self.content()

    async def json(self) -> Any:
        """The JSON body as what the handler declares as ``data``, decoded strictly.

        Litestar passes it to the handler as it is. Raises `Invalid` and `ProblemError`.
        """
        kind, media_types = declared_body(self.route_handler)
        return decode_json(await self._json_content(media_types), kind)

    def missing_body(self) -> ProblemError:
        """The refusal of a request without the body that its handler takes."""
        _, media_types = declared_body(self.route_handler)
        try:
            if self.media_type() not in media_types:
                return _unsupported(sorted(media_types))
        except ProblemError as error:
            return error
        return ProblemError("malformed-body", "the body is not valid JSON")

    async def json_as(self, kind: type[B]) -> B:
        """The JSON body of a handler that also takes a form; raises `Invalid` and `ProblemError`."""
        strict_or_lenient: type[B] = self.version.body(kind)
        return decode_json(await self._json_content(JSON_TYPES), strict_or_lenient)

    async def _json_content(self, media_types: frozenset[str]) -> bytes:
        content = await self.content()
        if self.media_type() not in media_types:
            raise _unsupported(sorted(media_types))
        return content

    async def form_fields(self) -> Texts | None:
        """The fields of a token endpoint's form, or ``None`` where the body is declared otherwise.

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
        """The query string; raises `Invalid`, also for parameters that are not known."""
        raw = self.scope["query_string"]
        if not raw:
            return kind()
        texts = query_texts(raw)
        if self.scope["path"].endswith(_STREAMED):
            texts.pop(_TOKEN, None)
        return from_texts(texts, kind, "query")

    def accepted_versions(self, item: Item | Tombstone) -> frozenset[int] | None:
        """The versions at which a write may find the item: those of If-Match, or ``None`` for any.

        ``item`` is the caller's, as it stands. Raises `PreconditionFailed` where If-None-Match
        names its version; a change of it that comes later was never given out, nor named.
        """
        match, none_match = conditions(self.scope["headers"])
        if is_known(none_match, item.version):
            raise PreconditionFailed(f"the item is at version {item.version}")
        return accepted_versions(match)

    def has_current(self, item: Item) -> bool:
        """Whether the caller has the item already, as it stands.

        Raises `PreconditionFailed` where If-Match names other versions.
        """
        match, none_match = conditions(self.scope["headers"])
        versions = accepted_versions(match)
        if versions is not None and item.version not in versions:
            raise PreconditionFailed(f"the item is at version {item.version}")
        return is_known(none_match, item.version)

    def url_of(self, place: str) -> str:
        """The absolute URL of a place of this API, under the prefix that the request came by."""
        path = place_of(self.scope)
        prefixes = (prefix for prefix in self.version.prefixes if path.startswith(f"{prefix}/"))
        prefix = max(prefixes, key=len, default="")
        return f"{base_url(self.scope)}{prefix}{place}"

    # Writing

    async def idempotency_key(self, caller: str) -> IdempotencyKey | None:
        """What makes this request have its effect only once, if it has an Idempotency-Key.

        ``caller`` is whose keys these are. Raises `Invalid`.
        """
        header = self.header(b"idempotency-key")
        if header is None:
            return None
        key = _QUOTED.fullmatch(header) or _BARE.fullmatch(header)
        if key is None:
            detail = "Idempotency-Key must be 1 to 255 visible characters, quoted or bare"
            raise Invalid(Fault("", detail, where="header"))
        match, none_match = conditions(self.scope["headers"])
        parts = (self.method, self.scope["path"], match or "", none_match or "")
        request = hashlib.sha256("\0".join(parts).encode() + b"\0" + await self.content())
        return IdempotencyKey(
            hashlib.sha256(f"{caller}\0{key[1]}".encode()).hexdigest(), request.digest()
        )

    async def first_result(self, caller: str) -> CommandResult | None:
        """What the first of same requests came to; see `Journal.first_result`."""
        return await self.services.journal.first_result(await self.idempotency_key(caller))

    async def execute(self, command: Command, key_scope: str) -> CommandResult:
        """Write a command, once for an idempotency key; see `Journal.execute`.

        ``key_scope`` is the owner of the keys: two scopes may use the same key.
        """
        key = await self.idempotency_key(key_scope)
        return await self.services.journal.execute(command, self.id, key, self._session)

    async def execute_always(self, command: Command) -> CommandResult:
        """Write a command that takes no idempotency key; see `Journal.execute`."""
        return await self.services.journal.execute(command, self.id, session=self._session)

    @property
    def _session(self) -> str | None:
        """The session without which nothing is written, if there is one."""
        return None if self._caller is None else self._caller.session


@cache
def declared_body(handler: Any) -> tuple[type[msgspec.Struct], frozenset[str]]:
    """The type of the parameter ``data`` of a handler, and the media types that it accepts."""
    field: FieldDefinition = handler.parsed_data_field
    (kind,) = (
        one for one in get_args(field.annotation) or (field.annotation,) if one is not NoneType
    )
    definition = field.kwarg_definition
    merge_patch = isinstance(definition, BodyKwarg) and definition.media_type == MERGE_PATCH_TYPE
    return kind, JSON_TYPES | {MERGE_PATCH_TYPE} if merge_patch else JSON_TYPES


def written(
    result: CommandResult, content: T, status: int = 200, *headers: tuple[bytes, bytes]
) -> Response[T]:
    """The response to a write, with the position of its event."""
    position = b"%d" % result.record.position
    if content is None:
        return Response(204, [(b"event-position", position), *headers])
    return json_response(content, status, (b"event-position", position), *headers)


def path_number(text: str, missing: str) -> int:
    """A positive number in a path; raises `NotFound`, with the text ``missing``, for other texts."""
    if not _NUMBER.fullmatch(text):
        raise NotFound(missing)
    return int(text)


def path_position(text: str, state: State) -> int:
    """A position in a path; raises `NotFound` if the state has not reached it."""
    position = path_number(text, "there is no such event")
    if position > state.position:
        raise NotFound("there is no such event")
    return position


def _unsupported(expected: Sequence[str]) -> ProblemError:
    return ProblemError("unsupported-media-type", f"the body must be {' or '.join(expected)}")


def _too_large(limit: float) -> ProblemError:
    return ProblemError("body-too-large", f"the body may have {limit} bytes at most")
