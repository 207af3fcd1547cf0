"""A request, with what every handler asks of it: who calls, what the body says, which item."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Iterable
from math import inf
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qsl

import litestar
import msgspec

from eventapi.batch import Once, Outcome
from eventapi.commands.command import Command
from eventapi.http.bodies import PATTERNS
from eventapi.http.conditional import accepted_versions, conditions, is_known
from eventapi.http.identity import bearer, user_of
from eventapi.http.message import malformed
from eventapi.http.problems import NO_TOKEN, ProblemError, request_id_of
from eventapi.http.reply import Reply, json_reply
from eventapi.http.services import Services
from eventapi.http.views import ApiVersion
from eventapi.times import point_of
from events.errors import (
    Fault,
    Forbidden,
    Invalid,
    NotFound,
    PositionNotReached,
    PreconditionFailed,
    Unauthenticated,
)
from projections.items import Item, Tombstone
from projections.state import State
from projections.users import User

T = TypeVar("T")

JSON_TYPES = frozenset({"application/json"})
PATCH_TYPES = JSON_TYPES | {"application/merge-patch+json"}
EVENT_STREAM = "text/event-stream"
NDJSON = "application/x-ndjson"
FORM_TYPE = "application/x-www-form-urlencoded"

MAX_DEPTH = 32
"""How deep a body may be nested."""

_MAX_FORM_FIELDS = 64
_MAX_ESCAPES = 8_192
"""Percent signs in a form: each costs far more than its byte."""

_STREAMED = "/events"
"""How the paths end that may be answered by a stream of events."""

_WAIT_STEP_SECONDS = 0.01
_WITHIN_REACH = 1_000_000
"""How many events a log cannot gain within the wait: a position beyond that is not waited for."""

_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_QUOTED = re.compile(r'"([\x20\x21\x23-\x7e]{1,255})"')
_BARE = re.compile(r"([\x21\x23-\x7e]{1,255})")
_MISSING = re.compile(r"missing required field `([^`]*)`")
_UNKNOWN = re.compile(r"contains unknown field `([^`]*)`")
_PATTERN = re.compile(r"matching regex '(.*)'$", re.DOTALL)
_PATH = re.compile(r" - at `\$(?:\.)?(.*)`$")


class _QueryToken(msgspec.Struct, frozen=True):
    access_token: str | None = None


class ApiRequest(litestar.Request[None, None, Any]):
    """A request to one version of the API; `bound` makes the class of one."""

    services: ClassVar[Services]
    version: ClassVar[ApiVersion]

    _session_id: str | None = None
    """The session that `authenticated` found; a write is only made while it goes on."""

    _content: bytes | None = None

    @classmethod
    def bound(cls, version: ApiVersion) -> type[ApiRequest]:
        """The request class of one version in one app, which puts its services in at start-up."""
        return type("BoundRequest", (cls,), {"version": version})

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

    @property
    def session_id(self) -> str:
        """The session that `authenticated` found, or nothing before."""
        return self._session_id or ""

    # Who calls

    async def state(self) -> State:
        """The state, at the position that the client asked for or later.

        Raises `PositionNotReached` when that does not come in time, or cannot.
        """
        state = await self.services.journal.state()
        wanted = self.header(b"min-event-position")
        if wanted is None:
            return state
        if not _NUMBER.fullmatch(wanted) and wanted != "0":
            raise Invalid(Fault("", "Min-Event-Position must be a position"))
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

    async def authenticated(self) -> tuple[State, User, str]:
        """The state, the user whose access token this is, and the session's id.

        Raises `Unauthenticated` (RFC 6750): a bad token at once, whatever else was asked for.
        """
        token = bearer(self.scope) or self._query_token()
        if token is None:
            raise Unauthenticated(NO_TOKEN)
        clock = self.services.journal.clock
        now = clock.seconds()
        claims = self.services.tokens.claims(token, now)
        state = await self.state()
        user = user_of(state, claims, clock.second_end(now))
        if user is None:
            raise Unauthenticated("the session has ended")
        self.scope["user"] = user.id
        self._session_id = claims.sid
        return state, user, claims.sid

    def _query_token(self) -> str | None:
        """The token in the query (RFC 6750, section 2.3), of an event stream alone.

        A browser's EventSource can send it nowhere else.
        """
        if (
            b"access_token=" not in self.scope["query_string"]
            or not self.scope["path"].endswith(_STREAMED)
            or not self.accepted().get(EVENT_STREAM)
        ):
            return None
        return self.query_as(_QueryToken).access_token

    async def auditor(self) -> tuple[State, User]:
        """The state and the user, who is an auditor; raises `Unauthenticated` and `Forbidden`."""
        state, user, _ = await self.authenticated()
        if "auditor" not in user.roles:
            raise Forbidden("this is for auditors")
        return state, user

    # What it says

    def accepted(self) -> dict[str, float]:
        """The media types and ranges of Accept with their weights (RFC 9110, section 12.5.1)."""
        lines = [value for name, value in self.scope["headers"] if name == b"accept"]
        weights: dict[str, float] = {}
        for part in b",".join(lines).decode("latin-1").lower().split(","):
            kind, *parameters = (text.strip() for text in part.split(";"))
            found = [match[1] for match in map(_WEIGHT.fullmatch, parameters) if match]
            weights[kind] = float(found[0]) if found else 1.0
        return weights

    def rather(self, *kinds: str) -> str | None:
        """Which of these media types is accepted by its name, and not less gladly than JSON is."""
        weights = self.accepted()
        best = max(kinds, key=lambda kind: weights.get(kind, 0.0))
        weight = weights.get(best, 0.0)
        ranges = ("application/json", "application/*", "*/*")
        json_weight = next((weights[kind] for kind in ranges if kind in weights), 0.0)
        return best if weight and weight >= json_weight else None

    def position(self, state: State, name: str = "position") -> int:
        """The position in the path; raises `NotFound` where the state has not come to it."""
        text = self.path_params[name]
        if not _NUMBER.fullmatch(text) or int(text) > state.position:
            raise NotFound("there is no such event")
        return int(text)

    async def point(self, state: State, as_of: int | str) -> int:
        """The position that a point of the log means; raises `Invalid`."""
        try:
            point = as_of if isinstance(as_of, int) else point_of(as_of)
        except ValueError as error:
            raise Invalid(Fault("/as_of", f"{error} and no position")) from None
        return await self.services.past.position(point, state)

    def media_type(self) -> str:
        """The declared media type; raises `ProblemError` where its charset is not UTF-8."""
        kind, *parameters = (self.header(b"content-type") or "").lower().split(";")
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "charset" and value.strip(' \t"') not in {"utf-8", "utf8"}:
                raise ProblemError("unsupported-media-type", "the body must be UTF-8")
        return kind.strip()

    async def content(self) -> bytes:
        """The whole body; raises `ProblemError` where it is too large, or does not come whole.

        Litestar's `body` takes as long as all of our own work on a request.
        """
        if self._content is None:
            self._content = await self._received()
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

    async def body_as(self, kind: type[T], media_types: frozenset[str] = JSON_TYPES) -> T:
        """The JSON body, decoded strictly; raises `Invalid` and `ProblemError`."""
        content = await self.content()
        if self.media_type() not in media_types:
            expected = " or ".join(sorted(media_types))
            raise ProblemError("unsupported-media-type", f"the body must be {expected}")
        return decode_json(content, kind)

    async def form_as(self, kind: type[T]) -> T:
        """The urlencoded body; raises `Invalid` and `ProblemError`.

        Litestar's parser keeps every body it has seen in a cache, passwords and all.
        """
        try:
            text = (await self.content()).decode()
            if text.count("%") > _MAX_ESCAPES:
                raise ValueError("too many escapes")
            pairs = parse_qsl(
                text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FORM_FIELDS
            )
        except ValueError:
            detail = (
                f"the body is not a form in UTF-8 of at most {_MAX_FORM_FIELDS} fields "
                f"and {_MAX_ESCAPES} escaped bytes"
            )
            raise ProblemError("malformed-body", detail) from None
        return _converted(pairs, kind)

    def query_as(self, kind: type[T]) -> T:
        """The query string; raises `Invalid`."""
        raw = self.scope["query_string"]
        if not raw:
            return kind()
        try:
            pairs = parse_qsl(
                raw.decode(),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=_MAX_FORM_FIELDS,
            )
        except ValueError:
            detail = f"the query is not in UTF-8 with at most {_MAX_FORM_FIELDS} fields"
            raise Invalid(Fault("", detail)) from None
        return _converted(pairs, kind)

    def item_number(self) -> int:
        """The item's number in the path; what is no number names no item: raises `NotFound`."""
        text = self.path_params["item_id"]
        if not _NUMBER.fullmatch(text):
            raise NotFound("there is no such item")
        return int(text)

    def accepted_versions(self, item: Item | Tombstone) -> frozenset[int] | None:
        """The versions at which a write may find the item: those of If-Match, or ``None`` for any.

        ``item`` is the caller's, as it stands. Raises `PreconditionFailed` where If-None-Match
        names its version; a change of it that comes later was never given out, nor named.
        """
        match, none_match = conditions(self.scope["headers"])
        if is_known(none_match, item.version):
            raise PreconditionFailed(f"the item is at version {item.version}")
        return accepted_versions(match)

    def is_known(self, item: Item) -> bool:
        """Whether the caller has the item already, as it stands.

        Raises `PreconditionFailed` where If-Match names other versions.
        """
        match, none_match = conditions(self.scope["headers"])
        versions = accepted_versions(match)
        if versions is not None and item.version not in versions:
            raise PreconditionFailed(f"the item is at version {item.version}")
        return is_known(none_match, item.version)

    def path_to(self, place: str) -> str:
        """A place of this API as the client sees it, under the prefix that the request came by."""
        path: str = self.scope["path"]
        prefixes = (prefix for prefix in self.version.prefixes if path.startswith(f"{prefix}/"))
        prefix = max(prefixes, key=len, default="")
        return f"{self.scope.get('root_path', '')}{prefix}{place}"

    # What is done

    async def once(self, caller: str) -> Once | None:
        """What makes this request have its effect only once, if it has an Idempotency-Key.

        ``caller`` is whose keys these are. Raises `Invalid`.
        """
        header = self.header(b"idempotency-key")
        if header is None:
            return None
        key = _QUOTED.fullmatch(header) or _BARE.fullmatch(header)
        if key is None:
            detail = "Idempotency-Key must be 1 to 255 visible characters, quoted or bare"
            raise Invalid(Fault("", detail))
        match, none_match = conditions(self.scope["headers"])
        parts = (self.method, self.scope["path"], match or "", none_match or "")
        request = hashlib.sha256("\0".join(parts).encode() + b"\0" + await self.content())
        return Once(hashlib.sha256(f"{caller}\0{key[1]}".encode()).hexdigest(), request.digest())

    async def first_outcome(self, caller: str) -> Outcome | None:
        """What the first of same requests came to; see `Journal.first_outcome`."""
        return await self.services.journal.first_outcome(await self.once(caller))

    async def execute(self, command: Command, caller: str) -> Outcome:
        """Write a command, once if the request asks for that; see `Journal.execute`."""
        once = await self.once(caller)
        return await self.services.journal.execute(command, self.id, once, self._session_id)

    # What is answered

    def written(
        self, outcome: Outcome, content: Any, status: int = 200, *headers: tuple[bytes, bytes]
    ) -> Reply:
        """The answer to a write, with the position of its event."""
        position = b"%d" % outcome.record.position
        if content is None:
            return Reply(204, [(b"event-position", position), *headers])
        return json_reply(content, status, (b"event-position", position), *headers)


def _too_large(limit: float) -> ProblemError:
    return ProblemError("body-too-large", f"the body may have {limit} bytes at most")


def decode_json(content: bytes, kind: type[T]) -> T:
    """One pass that refuses what is no good JSON, of which msgspec lets some through; then msgspec's.

    In that order, for a body that is not whole is malformed, whatever else is wrong with it.
    """
    try:
        _check_well_formed(content)
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise Invalid(_fault(str(error))) from None
    except (msgspec.DecodeError, ValueError):
        raise ProblemError("malformed-body", "the body is not valid JSON") from None
    except RecursionError:
        raise ProblemError("malformed-body", _TOO_DEEP) from None


def _check_well_formed(content: bytes) -> None:
    # msgspec takes the last of doubled keys; which one a proxy in front takes, nobody knows.
    value = _decode_plainly(content.decode())
    if content.count(b"[") + content.count(b"{") > MAX_DEPTH:
        level = [value]
        for _ in range(MAX_DEPTH):
            level = [child for parent in level for child in _nested(parent)]
        if level:
            raise ProblemError("malformed-body", _TOO_DEEP)
    if b"\\u" in content:
        json.dumps(value, ensure_ascii=False).encode()  # Lone surrogates have no bytes.


_TOO_DEEP = f"the body is nested more than {MAX_DEPTH} deep"


def _nested(value: Any) -> Iterable[Any]:
    children = value.values() if isinstance(value, dict) else value
    return (child for child in children if isinstance(child, dict | list))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ProblemError("malformed-body", "a key stands twice in the body")
    return found


_decode_plainly = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=str
).decode


def _converted(pairs: list[tuple[str, str]], kind: type[T]) -> T:
    """What is not known is not looked at: OAuth 2.0 has it ignored (RFC 6749, section 3.2)."""
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise Invalid(Fault(f"/{name}", "stands twice"))
        if name in kind.__struct_fields__:  # type: ignore[attr-defined]  # a Struct
            values[name] = value
    try:
        converted = msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(_fault(str(error))) from None
    for name, text in values.items():
        number = getattr(converted, name, None)
        if type(number) is int and str(number) != text:  # msgspec takes 1.0 and 1e3, too.
            raise Invalid(Fault(f"/{name}", "must be a whole number in digits"))
    return converted


def _fault(message: str) -> Fault:
    """Msgspec's message as a JSON pointer and what is wrong there."""
    path = _PATH.search(message)
    detail = message[: path.start()] if path else message
    pointer = ""
    if path and path[1]:
        pointer = "/" + path[1].replace("[", ".").replace("]", "").replace(".", "/")
    pattern = _PATTERN.search(detail)
    if pattern:
        # msgspec prints the pattern as Python's `repr` does.
        rule = PATTERNS.get(pattern[1].replace("\\\\", "\\"))
        return Fault(pointer, rule or "must have another form")
    missing, unknown = _MISSING.search(detail), _UNKNOWN.search(detail)
    if missing:
        return Fault(f"{pointer}/{missing[1]}", "is required")
    if unknown:
        name = unknown[1].replace("~", "~0").replace("/", "~1")
        return Fault(f"{pointer}/{name}", "is not known here")
    return Fault(pointer, detail[:1].lower() + detail[1:])
