"""Accounts and sessions."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from heapq import nlargest

from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from eventapi.commands.sessions import EndSession, RefreshSession, StartSession
from eventapi.commands.users import (
    ChangePassword,
    EraseUser,
    RegisterUser,
    RehashPassword,
    UpdateProfile,
)
from eventapi.http.decoding import Texts, from_texts
from eventapi.http.guards import logged_in
from eventapi.http.handlers import delete, get, patch, post
from eventapi.http.middleware.client_address import caller_address
from eventapi.http.request import ApiRequest, MergePatch, written
from eventapi.http.response import Response, json_response
from eventapi.http.schemas.requests import (
    Confirmation,
    PasswordChange,
    PasswordGrant,
    ProfilePatch,
    RefreshGrant,
    Registration,
)
from eventapi.http.schemas.responses import SessionView, TokenPair, UserView, session_view
from eventapi.http.services import Services
from eventapi.journal.batch import CommandResult
from eventapi.security.fair_queue import Caller
from eventapi.security.tokens import RefreshClaims
from eventapi.values.rules import MAX_PASSWORD_BYTES, normal_email
from eventapi.values.times import seconds_of
from events.errors import (
    Fault,
    Invalid,
    InvalidCredentials,
    NotFound,
    Unauthenticated,
    WrongPassword,
)
from events.vocabulary.password_hashes import HashKind
from events.vocabulary.sessions import Device
from events.vocabulary.users import Profile
from projections.tables.sessions import Session
from projections.tables.users import User, casefold_key

_WRONG = "Incorrect username or password"
_NOT_IT = "the password is wrong"
_SESSION_BYTES = 16
_MAX_SESSIONS = 1_000
_MAX_AGENT = 256
_NO_STORE = (b"cache-control", b"no-store")
_WRITTEN = ("Event-Position",)


class AccountsController(Controller):
    """Accounts and sessions."""

    path = "/auth"
    tags = ("auth",)

    @post(
        "/register",
        summary="Make an account",
        creates=True,
        request_headers=("Idempotency-Key",),
        response_headers=_WRITTEN,
        errors=("username-taken", "email-taken", "validation-failed"),
    )
    async def register(
        self, request: ApiRequest, data: JSONBody[Registration], services: NamedDependency[Services]
    ) -> Response[UserView]:
        """Make an account."""
        email = normal_email(data.email)
        # Without a user the key belongs to the account that is asked for: strangers share no keys.
        scope = services.tokens.scope_of(
            "register", casefold_key(data.username), casefold_key(email)
        )
        result = await request.first_result(scope)
        if result is None:
            profile = Profile(data.username, email, "", data.full_name)
            # Refused before the hash is made, which costs a thousand times more.
            RegisterUser(profile).decide(await request.current_state())
            caller = Caller("registration", caller_address(request.scope))
            password_hash = await _hashed(request, data.password, caller)
            command = RegisterUser(Profile(data.username, email, password_hash, data.full_name))
            result = await request.execute(command, scope)
        content = request.version.user(_user(result))
        status = request.version.created_status
        if status != 201:
            return written(result, content, status)
        location = request.url_of("/auth/me").encode()
        return written(result, content, status, (b"location", location))

    @post(
        "/login",
        summary="Log in",
        form_body=PasswordGrant,
        response_headers=_WRITTEN,
        errors=("invalid-credentials", "account-disabled", "validation-failed"),
    )
    async def login(self, request: ApiRequest) -> Response[TokenPair]:
        """Log in with a username and a password, as JSON or as a form.

        OAuth 2.0 clients that have one address for tokens may also renew them here, with the form of
        `/auth/refresh`: `grant_type=refresh_token` and `refresh_token`.
        """
        form = await request.form_fields()
        if form is None:
            body = await request.json_as(PasswordGrant)
        elif form.get("grant_type", [])[-1:] == ["refresh_token"]:
            return await _refreshed(request, _refresh_token(form))
        else:
            _check_grant(form, "password", "refresh_token")
            body = from_texts(form, PasswordGrant, "body")
        user = await _checked_user(request, body.username, body.password)
        try:
            return await _start_session(request, user)
        except InvalidCredentials:
            # Another login renewed the hash meanwhile, or the password was changed.
            user = await _checked_user(request, body.username, body.password)
            return await _start_session(request, user)

    @post(
        "/logout",
        summary="End this session",
        guards=(logged_in,),
        status=204,
        response_headers=_WRITTEN,
    )
    async def logout(self, request: ApiRequest) -> Response[None]:
        """End this session; its tokens stop working at once."""
        caller = request.caller
        return await _end(request, EndSession(caller.user.id, caller.session, "logout"))

    @get("/me", summary="Read your account", guards=(logged_in,))
    async def get_me(self, request: ApiRequest) -> Response[UserView]:
        """Read your account."""
        return json_response(request.version.user(request.caller.user))

    @patch(
        "/me",
        summary="Change your profile",
        guards=(logged_in,),
        response_headers=_WRITTEN,
        errors=("email-taken", "validation-failed"),
    )
    async def update_me(
        self,
        request: ApiRequest,
        data: MergePatch[ProfilePatch],
        services: NamedDependency[Services],
    ) -> Response[UserView]:
        """Change what is named of your profile."""
        user, session = request.caller.user, request.caller.session
        email = normal_email(data.email) if isinstance(data.email, str) else data.email
        if isinstance(email, str) and casefold_key(email) != casefold_key(user.email):
            # The answer reveals whether the address is taken, as that of a registration does.
            await services.rate_limiter.check_email(request.scope, user.id)
        command = UpdateProfile(user.id, email, data.full_name)
        result = await services.journal.execute(command, request.id, session=session)
        return written(result, request.version.user(_user(result)))

    @delete(
        "/me",
        summary="Erase your account",
        guards=(logged_in,),
        response_headers=_WRITTEN,
        errors=("invalid-credentials", "validation-failed"),
    )
    async def erase_me(
        self, request: ApiRequest, data: JSONBody[Confirmation], services: NamedDependency[Services]
    ) -> Response[None]:
        """Erase your account and all that is in it, for good."""
        user, session = request.caller.user, request.caller.session
        await _confirm(request, data.password)
        command = EraseUser(user.username, user.subject, user.password_hash)
        return written(await services.journal.execute(command, request.id, session=session), None)

    @post(
        "/refresh",
        summary="Renew your tokens",
        form_body=RefreshGrant,
        response_headers=_WRITTEN,
        errors=("unauthenticated", "validation-failed"),
    )
    async def refresh(self, request: ApiRequest) -> Response[TokenPair]:
        """Spend a refresh token for another one, and an access token; as JSON or as a form."""
        form = await request.form_fields()
        if form is not None:
            return await _refreshed(request, _refresh_token(form))
        return await _refreshed(request, (await request.json_as(RefreshGrant)).refresh_token)

    @post(
        "/password",
        summary="Change your password",
        guards=(logged_in,),
        status=204,
        response_headers=_WRITTEN,
        errors=("invalid-credentials", "validation-failed"),
    )
    async def change_password(
        self,
        request: ApiRequest,
        data: JSONBody[PasswordChange],
        services: NamedDependency[Services],
    ) -> Response[None]:
        """Change your password; every other session ends."""
        user, session = request.caller.user, request.caller.session
        await _confirm(request, data.current_password)
        password_hash = await _hashed(request, data.new_password, _changing(user))
        command = ChangePassword(user.id, user.password_hash, password_hash, session)
        return written(await services.journal.execute(command, request.id, session=session), None)

    @get("/sessions", summary="List your sessions", guards=(logged_in,))
    async def list_sessions(
        self, request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[list[SessionView]]:
        """List your sessions, the newest first, 1,000 at most."""
        sessions, caller = request.caller.state.sessions, request.caller
        now = services.journal.clock.now()
        own = (sessions.by_id[number] for number in sessions.ids_by_user[caller.user.id])
        live = (session for session in own if session.expires_at > now)
        newest = nlargest(_MAX_SESSIONS, live, key=_start_of)
        return json_response([session_view(session, caller.session) for session in newest])

    @delete(
        "/sessions",
        summary="End all of your sessions",
        guards=(logged_in,),
        response_headers=_WRITTEN,
    )
    async def end_sessions(self, request: ApiRequest) -> Response[None]:
        """End all of your sessions, this one too."""
        caller = request.caller
        command = EndSession(caller.user.id, caller.session, "revoked", everywhere=True)
        return await _end(request, command)

    @delete(
        "/sessions/{session_id:str}",
        summary="End one of your sessions",
        guards=(logged_in,),
        response_headers=_WRITTEN,
        errors=("not-found",),
    )
    async def end_session(self, request: ApiRequest, session_id: FromPath[str]) -> Response[None]:
        """End one of your sessions; its tokens stop working at once."""
        caller = request.caller
        if session_id not in caller.state.sessions.ids_by_user[caller.user.id]:
            raise NotFound("there is no such session")
        return await _end(request, EndSession(caller.user.id, session_id, "revoked"))


async def _checked_user(request: ApiRequest, username: str, password: str) -> User:
    """The user whose credentials these are; raises `InvalidCredentials`."""
    services = request.services
    users = (await request.current_state()).users
    user = users.find_by_username(username)
    stored = None if user is None else user.password_hash
    what = f"{caller_address(request.scope)} {_counted_name(username, stored)}"
    caller = Caller("login", what)
    matched = await _matching(request, what, stored, password, caller, kinds=users.hash_kinds)
    if matched is None or user is None:
        raise InvalidCredentials(_WRONG)
    if not user.disabled and services.passwords.needs_rehash(user.password_hash, matched):
        renewed = await _hashed(request, matched, caller)
        command = RehashPassword(user.id, user.password_hash, renewed)
        try:
            outcome = await services.journal.execute(command, request.id)
        except NotFound:  # Renewed by another login of theirs, or changed.
            return await _checked_user(request, username, password)
        return _user(outcome)
    return user


def _counted_name(username: str, stored: str | None) -> str:
    """What counts the wrong passwords of an account, in the table of limits and in Redis.

    Of a user it is made from the stored hash, which is erased with the user: then no key and no
    dictionary of names confirms that the user was there.
    """
    text = f"name {casefold_key(username)}" if stored is None else f"hash {stored}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


async def _matching(
    request: ApiRequest,
    what: str,
    stored: str | None,
    password: str,
    caller: Caller,
    *,
    kinds: Collection[HashKind] = (),
) -> str | None:
    """The form of the password that matches; ``what`` counts the wrong ones, else `ProblemError`.

    Asked before, so that no work is done for nothing; and after, so that a right password among
    many that come at once is not found out.
    """
    limits = request.services.rate_limiter
    await limits.check_failures(request.scope, what)
    if len(password.encode()) <= MAX_PASSWORD_BYTES:
        with limits.refuse_used_up_share(request.scope):
            matched = await request.services.passwords.verify(stored, password, caller, kinds)
        if matched is not None:
            await limits.check_failures(request.scope, what)
            await limits.clear_failures(what)
            return matched
    await limits.count_failure(request.scope, what)
    return None


async def _hashed(request: ApiRequest, password: str, caller: Caller) -> str:
    with request.services.rate_limiter.refuse_used_up_share(request.scope):
        return await request.services.passwords.hash(password, caller)


async def _start_session(request: ApiRequest, user: User) -> Response[TokenPair]:
    services = request.services
    refresh = RefreshClaims(services.runtime.random_bytes(_SESSION_BYTES).hex(), 0)
    client = request.scope["client"]
    agent = request.header(b"user-agent")
    command = StartSession(
        user.id,
        user.password_hash,
        refresh.session,
        services.tokens.refresh_hash(refresh),
        services.session_lifetime,
        Device(client[0] if client else None, agent[:_MAX_AGENT] if agent else None),
    )
    outcome = await services.journal.execute(command, request.id)
    return _token_pair(request, outcome, user.username, refresh)


def _token_pair(
    request: ApiRequest, outcome: CommandResult, username: str, refresh: RefreshClaims
) -> Response[TokenPair]:
    session = outcome.entity
    assert isinstance(session, Session)  # noqa: S101 - for the type checker
    tokens, now = request.services.tokens, int(request.services.journal.clock.seconds())
    # No token outlives its session.
    lifetime = max(min(tokens.lifetime, int(seconds_of(session.expires_at)) - now), 0)
    token = tokens.issue(username, refresh.session, now, lifetime)
    pair = TokenPair(token, "bearer", lifetime, tokens.refresh_token(refresh))
    return written(outcome, pair, 200, _NO_STORE)


def _refresh_token(form: Texts) -> str:
    _check_grant(form, "refresh_token")
    return from_texts(form, RefreshGrant, "body").refresh_token


def _check_grant(form: Texts, *grants: str) -> None:
    """Raise `Invalid` for other grants; one without a value counts as left out (RFC 6749, 3.2)."""
    given = form.get("grant_type", [""])
    if given == [""]:
        form.pop("grant_type", None)
    elif given[-1] not in grants:
        raise Invalid(Fault("/grant_type", f"must be {' or '.join(grants)}", "literal_error"))


async def _refreshed(request: ApiRequest, refresh_token: str) -> Response[TokenPair]:
    services = request.services
    spent = services.tokens.refresh_claims(refresh_token)
    command = RefreshSession(
        spent.session,
        spent.generation,
        services.tokens.refresh_hash(RefreshClaims(spent.session, spent.generation + 1)),
        services.session_lifetime,
    )
    # Refused without a write where it can be: who is turned away may well come again and again.
    command.decide(services.journal.stage_now(await request.current_state()))
    outcome = await services.journal.execute(command, request.id)
    session = outcome.entity
    user = isinstance(session, Session) and (await request.current_state()).users.by_id.get(
        session.user
    )
    if not isinstance(session, Session) or not isinstance(user, User):
        raise Unauthenticated("the refresh token was spent before, so its session has ended")
    return _token_pair(
        request, outcome, user.username, RefreshClaims(session.id, session.generation)
    )


async def _end(request: ApiRequest, command: EndSession) -> Response[None]:
    session = request.caller.session
    result = await request.services.journal.execute(command, request.id, session=session)
    return written(result, None)


def _start_of(session: Session) -> tuple[str, str]:
    return session.started_at, session.id


async def _confirm(request: ApiRequest, password: str) -> None:
    """Raise `WrongPassword` unless this is the caller's password.

    Wrong passwords are counted by session. So a stolen session does not allow guessing, and guesses at
    the login keep no user from changing the password.
    """
    user, what = request.caller.user, f"session {request.caller.session}"
    if await _matching(request, what, user.password_hash, password, _changing(user)) is None:
        raise WrongPassword(_NOT_IT)


def _changing(user: User) -> Caller:
    return Caller("change", user.subject)


def _user(result: CommandResult) -> User:
    assert isinstance(result.entity, User)  # noqa: S101 - for the type checker
    return result.entity
