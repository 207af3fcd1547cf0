"""Requests that are authenticated, by an access token or an API key."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any, Final

import litestar
import msgspec

from eventapi.http.authentication import Caller, Reader, bearer, caller_of, credential_of
from eventapi.http.decoding import from_texts, query_texts
from eventapi.http.negotiation import parse_weights
from eventapi.http.operation import operation_of
from eventapi.http.problems import NO_TOKEN, request_id_of
from eventapi.http.services import Services
from eventapi.security.api_keys import PresentedKey
from events.errors import Fault, Forbidden, Invalid, PositionNotReached, Unauthenticated
from events.vocabulary.keys import Scope
from events.vocabulary.sessions import Device
from projections.state import State
from projections.tables.keys import ApiKey

EVENT_STREAM: Final = "text/event-stream"
TOKEN_PARAMETER: Final = "access_token"  # noqa: S105 - the name of a parameter
_READING: Final = frozenset({"GET", "HEAD"})
_MAX_AGENT: Final = 256

_WAIT_STEP_SECONDS = 0.01
_WITHIN_REACH = 1_000_000
"""More events than a log can gain during the wait; the request fails at once beyond that."""

_NUMBER = re.compile(r"[1-9][0-9]{0,18}")


class _QueryToken(msgspec.Struct, frozen=True):
    access_token: str | None = None


class AuthenticatedRequest(litestar.Request[None, None, Any]):
    """A request whose caller the guards of a handler authenticate."""

    _caller: Caller | None = None
    _reader: Reader | None = None
    _fields: dict[bytes, bytes] | None = None

    @property
    def services(self) -> Services:
        """The services of the application, available after its start."""
        services: Services = self.scope["litestar_app"].services  # type: ignore[attr-defined]
        return services

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name; the last line if there are several."""
        if self._fields is None:
            self._fields = dict(self.scope["headers"])
        found = self._fields.get(name)
        return None if found is None else found.decode("latin-1")

    @property
    def id(self) -> str:
        """The request's id, which appears in its response, events and log lines."""
        return request_id_of(self.scope)

    @property
    def caller(self) -> Caller:
        """The caller that the guard `logged_in` or `auditor` authenticated."""
        assert self._caller is not None, "the handler has no guard"  # noqa: S101
        return self._caller

    @property
    def reader(self) -> Reader:
        """The reader, after the guard `logged_in` or `optional_login`."""
        assert self._reader is not None, "the handler has no guard"  # noqa: S101
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

    async def authenticate(self, *scopes: Scope) -> Caller:
        """Authenticate the caller by the access token or API key (RFC 6750).

        An API key needs one of ``scopes``, by default that of the method. Raises `Unauthenticated` and
        `Forbidden`; a bad token is reported before any other error. Streams call this repeatedly,
        because a session may end during a stream.
        """
        token = bearer(self.scope) or self._query_token()
        if token is None:
            raise Unauthenticated(NO_TOKEN)
        clock = self.services.journal.clock
        now = clock.seconds()
        credential = credential_of(token, self.services.tokens, now)
        caller = caller_of(await self.current_state(), credential, clock.second_end(now))
        if caller is None:
            is_key = isinstance(credential, PresentedKey)
            raise Unauthenticated(f"the {'API key' if is_key else 'session'} has ended")
        self.scope["user"] = caller.user.id
        if caller.key is not None:
            self._use_key(caller.key, scopes)
        self._caller = self._reader = caller
        return caller

    def _use_key(self, key: ApiKey, scopes: Sequence[Scope]) -> None:
        """Check the scope of an API key, and note its use; raises `Forbidden`."""
        needed = scopes or ("read" if self.method in _READING else "write",)
        if not {*needed} & {*key.scopes}:
            raise Forbidden(f"the API key lacks the scope {' or '.join(needed)}")
        self.services.key_uses.note(key, self.device, self.id)

    @property
    def device(self) -> Device:
        """The address and user agent of the client."""
        client, agent = self.scope["client"], self.header(b"user-agent")
        return Device(client[0] if client else None, agent[:_MAX_AGENT] if agent else None)

    async def authenticate_session(self) -> Caller:
        """Authenticate a caller with a session; raises `Forbidden` for an API key.

        Keys may not manage the account, because that could give more rights than a key has.
        """
        await self.authenticate()
        self.refuse_api_key()
        return self.caller

    def refuse_api_key(self) -> None:
        """Raise `Forbidden` if the caller has an API key and no session."""
        if self.caller.key is not None:
            raise Forbidden("an API key may not do this; log in with the password")

    async def authenticate_reader(self, *scopes: Scope) -> Reader:
        """Authenticate the caller if there is a token; ``scopes`` as in `authenticate`.

        Raises `Unauthenticated` for a bad token.
        """
        if self.header(b"authorization") is not None or self._query_token() is not None:
            await self.authenticate(*scopes)
        else:
            self._reader = Reader(await self.current_state(), None)
        return self.reader

    async def authenticate_event_reader(self) -> Reader:
        """Authenticate the reader of an event, if there is a token.

        An API key needs the scope `read`, or `audit` and a user who is an auditor. Raises
        `Unauthenticated` and `Forbidden`.
        """
        reader = await self.authenticate_reader("read", "audit")
        key = reader.key if isinstance(reader, Caller) else None
        if key is not None and "read" not in key.scopes and not self.caller.is_auditor:
            raise Forbidden("only auditors may do this")
        return reader

    async def authenticate_auditor(self) -> Caller:
        """Authenticate an auditor; raises `Unauthenticated` and `Forbidden`."""
        caller = await self.authenticate("audit")
        if not caller.is_auditor:
            raise Forbidden("only auditors may do this")
        return caller

    @property
    def may_stream(self) -> bool:
        """Whether the response may be an event stream."""
        operation = operation_of(self.route_handler)
        return operation is not None and EVENT_STREAM in {
            operation.media_type,
            *operation.other_media_types,
        }

    def _query_token(self) -> str | None:
        """The token in the query (RFC 6750, section 2.3), for event streams only.

        A browser's EventSource cannot send an Authorization header.
        """
        if (
            b"access_token=" not in self.scope["query_string"]
            or not self.may_stream
            or not self.accept_weights().get(EVENT_STREAM)
        ):
            return None
        texts = query_texts(self.scope["query_string"])
        tokens = {name: values for name, values in texts.items() if name == TOKEN_PARAMETER}
        return from_texts(tokens, _QueryToken, "query").access_token

    def accept_weights(self, header: bytes = b"accept") -> dict[str, float]:
        """The values of Accept, or of a similar header, with their weights."""
        return parse_weights(self.scope["headers"], header)
