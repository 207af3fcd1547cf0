"""Accounts and sessions."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from heapq import nlargest

from eventapi.commands.sessions import EndSession, RefreshSession, StartSession
from eventapi.commands.users import (
    ChangePassword,
    EraseUser,
    RegisterUser,
    RehashPassword,
    UpdateProfile,
)
from eventapi.http.decoding import Texts, from_texts
from eventapi.http.endpoint import Endpoint
from eventapi.http.middleware.client_address import caller_address
from eventapi.http.request import PATCH_TYPES, ApiRequest
from eventapi.http.response import Response, json_response
from eventapi.http.schemas.requests import (
    MAX_PASSWORD_BYTES,
    Confirmation,
    PasswordChange,
    PasswordGrant,
    ProfilePatch,
    RefreshGrant,
    Registration,
    normal_email,
)
from eventapi.http.schemas.responses import ApiVersion, SessionView, TokenPair, session_view
from eventapi.journal.batch import CommandResult
from eventapi.security.fair_queue import Caller
from eventapi.security.tokens import Refresh
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


async def register(request: ApiRequest) -> Response:
    """Make an account."""
    body = await request.json_as(Registration)
    email = normal_email(body.email)
    # Without a user the key belongs to the account that is asked for: strangers share no keys.
    scope = request.services.tokens.scope_of(
        "register", casefold_key(body.username), casefold_key(email)
    )
    outcome = await request.first_result(scope)
    if outcome is None:
        profile = Profile(body.username, email, "", body.full_name)
        # Asked once before the hash is made, which costs a thousand times more than the answer.
        RegisterUser(profile).decide(await request.state())
        caller = Caller("registration", caller_address(request.scope))
        password_hash = await _hashed(request, body.password, caller)
        command = RegisterUser(Profile(body.username, email, password_hash, body.full_name))
        outcome = await request.execute(command, scope)
    content = request.version.user(_user(outcome))
    status = request.version.created_status
    if status != 201:
        return request.written(outcome, content, status)
    location = request.url_of("/auth/me").encode()
    return request.written(outcome, content, status, (b"location", location))


async def login(request: ApiRequest) -> Response:
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
        # Another login of theirs has renewed the hash meanwhile, or the password was changed.
        user = await _checked_user(request, body.username, body.password)
        return await _start_session(request, user)


async def _checked_user(request: ApiRequest, username: str, password: str) -> User:
    """The user whose credentials these are; raises `InvalidCredentials`."""
    services = request.services
    users = (await request.state()).users
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
        with limits.sharing(request.scope):
            matched = await request.services.passwords.verify(stored, password, caller, kinds)
        if matched is not None:
            await limits.check_failures(request.scope, what)
            await limits.succeeded(what)
            return matched
    await limits.failed(request.scope, what)
    return None


async def _hashed(request: ApiRequest, password: str, caller: Caller) -> str:
    with request.services.rate_limiter.sharing(request.scope):
        return await request.services.passwords.hash(password, caller)


async def _start_session(request: ApiRequest, user: User) -> Response:
    services = request.services
    refresh = Refresh(services.runtime.random_bytes(_SESSION_BYTES).hex(), 0)
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
    request: ApiRequest, outcome: CommandResult, username: str, refresh: Refresh
) -> Response:
    session = outcome.entity
    assert isinstance(session, Session)  # noqa: S101 - for the type checker
    tokens, now = request.services.tokens, int(request.services.journal.clock.seconds())
    # No token outlives its session.
    lifetime = max(min(tokens.lifetime, int(seconds_of(session.expires_at)) - now), 0)
    token = tokens.issue(username, refresh.session, now, lifetime)
    pair = TokenPair(token, "bearer", lifetime, tokens.refresh_token(refresh))
    return request.written(outcome, pair, 200, _NO_STORE)


async def refresh(request: ApiRequest) -> Response:
    """Spend a refresh token for another one, and an access token; as JSON or as a form."""
    form = await request.form_fields()
    if form is not None:
        return await _refreshed(request, _refresh_token(form))
    return await _refreshed(request, (await request.json_as(RefreshGrant)).refresh_token)


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


async def _refreshed(request: ApiRequest, refresh_token: str) -> Response:
    services = request.services
    spent = services.tokens.refresh_claims(refresh_token)
    command = RefreshSession(
        spent.session,
        spent.generation,
        services.tokens.refresh_hash(Refresh(spent.session, spent.generation + 1)),
        services.session_lifetime,
    )
    # Refused without a write where it can be: who is turned away may well come again and again.
    command.decide(services.journal.stage_now(await request.state()))
    outcome = await services.journal.execute(command, request.id)
    session = outcome.entity
    user = isinstance(session, Session) and (await request.state()).users.by_id.get(session.user)
    if not isinstance(session, Session) or not isinstance(user, User):
        raise Unauthenticated("the refresh token was spent before, so its session has ended")
    return _token_pair(request, outcome, user.username, Refresh(session.id, session.generation))


async def logout(request: ApiRequest) -> Response:
    """End this session; its tokens stop working at once."""
    _, user, session = await request.authenticated()
    return await _end(request, EndSession(user.id, session, "logout"))


async def _end(request: ApiRequest, command: EndSession) -> Response:
    _, _, session = await request.authenticated()
    journal = request.services.journal
    return request.written(await journal.execute(command, request.id, session=session), None)


async def list_sessions(request: ApiRequest) -> Response:
    """List your sessions, the newest first, 1,000 at most."""
    state, user, current = await request.authenticated()
    now = request.services.journal.clock.now()
    own = (state.sessions.by_id[number] for number in state.sessions.ids_by_user[user.id])
    live = nlargest(_MAX_SESSIONS, (one for one in own if one.expires_at > now), key=_newest_first)
    return json_response([session_view(session, current) for session in live])


def _newest_first(session: Session) -> tuple[str, str]:
    return session.started_at, session.id


async def end_session(request: ApiRequest) -> Response:
    """End one of your sessions; its tokens stop working at once."""
    state, user, _ = await request.authenticated()
    number = request.path_params["session_id"]
    if number not in state.sessions.ids_by_user[user.id]:
        raise NotFound("there is no such session")
    return await _end(request, EndSession(user.id, number, "revoked"))


async def end_sessions(request: ApiRequest) -> Response:
    """End all of your sessions, this one too."""
    _, user, session = await request.authenticated()
    return await _end(request, EndSession(user.id, session, "revoked", everywhere=True))


async def change_password(request: ApiRequest) -> Response:
    """Change your password; every other session ends."""
    _, user, session = await request.authenticated()
    body = await request.json_as(PasswordChange)
    await _confirm(request, user, session, body.current_password)
    password_hash = await _hashed(request, body.new_password, _changing(user))
    command = ChangePassword(user.id, user.password_hash, password_hash, session)
    outcome = await request.services.journal.execute(command, request.id, session=session)
    return request.written(outcome, None)


async def erase_me(request: ApiRequest) -> Response:
    """Erase your account and all that is in it, for good."""
    _, user, session = await request.authenticated()
    body = await request.json_as(Confirmation)
    await _confirm(request, user, session, body.password)
    command = EraseUser(user.username, user.subject, user.password_hash)
    outcome = await request.services.journal.execute(command, request.id, session=session)
    return request.written(outcome, None)


async def _confirm(request: ApiRequest, user: User, session: str, password: str) -> None:
    """Raise `WrongPassword` unless this is the user's password.

    Wrong ones are counted by session, so who stole one cannot go on guessing with it, and who
    guesses at the login keeps nobody from changing a password.
    """
    what, stored = f"session {session}", user.password_hash
    if await _matching(request, what, stored, password, _changing(user)) is None:
        raise WrongPassword(_NOT_IT)


def _changing(user: User) -> Caller:
    return Caller("change", user.subject)


async def get_me(request: ApiRequest) -> Response:
    """Read your account."""
    _, user, _ = await request.authenticated()
    return json_response(request.version.user(user))


async def update_me(request: ApiRequest) -> Response:
    """Change what is named of your profile."""
    _, user, session = await request.authenticated()
    body = await request.json_as(ProfilePatch, PATCH_TYPES)
    email = normal_email(body.email) if isinstance(body.email, str) else body.email
    if isinstance(email, str) and casefold_key(email) != casefold_key(user.email):
        # The answer reveals whether the address is taken, as that of a registration does.
        await request.services.rate_limiter.check_email(request.scope, user.id)
    command = UpdateProfile(user.id, email, body.full_name)
    outcome = await request.services.journal.execute(command, request.id, session=session)
    return request.written(outcome, request.version.user(_user(outcome)))


def _user(outcome: CommandResult) -> User:
    assert isinstance(outcome.entity, User)  # noqa: S101 - for the type checker
    return outcome.entity


def endpoints(version: ApiVersion) -> list[Endpoint]:
    """The endpoints of accounts and sessions, in a version's shapes."""
    where = ("Event-Position",) + (("Location",) if version.created_status == 201 else ())
    return [
        Endpoint(
            method="POST",
            path="/auth/register",
            handler=register,
            summary="Make an account",
            tag="auth",
            authenticated=False,
            body=version.body(Registration),
            headers=("Idempotency-Key",),
            answers={version.created_status: version.user_type},
            answer_headers=where,
            errors=("username-taken", "email-taken", "validation-failed"),
        ),
        Endpoint(
            method="POST",
            path="/auth/login",
            handler=login,
            summary="Log in",
            tag="auth",
            authenticated=False,
            body=version.body(PasswordGrant),
            form_types=version.form_types,
            answers={200: TokenPair},
            answer_headers=("Event-Position",),
            errors=("invalid-credentials", "account-disabled", "validation-failed"),
        ),
        Endpoint(
            method="POST",
            path="/auth/logout",
            handler=logout,
            summary="End this session",
            tag="auth",
            answers={204: None},
            answer_headers=("Event-Position",),
        ),
        Endpoint(
            method="GET",
            path="/auth/me",
            handler=get_me,
            summary="Read your account",
            tag="auth",
            answers={200: version.user_type},
        ),
        Endpoint(
            method="PATCH",
            path="/auth/me",
            handler=update_me,
            summary="Change your profile",
            tag="auth",
            body=version.body(ProfilePatch),
            media_types=sorted(PATCH_TYPES),
            answers={200: version.user_type},
            answer_headers=("Event-Position",),
            errors=("email-taken", "validation-failed"),
        ),
        Endpoint(
            method="DELETE",
            path="/auth/me",
            handler=erase_me,
            summary="Erase your account",
            tag="auth",
            body=version.body(Confirmation),
            answers={204: None},
            answer_headers=("Event-Position",),
            errors=("invalid-credentials", "validation-failed"),
            statuses=version.statuses,
        ),
        Endpoint(
            method="POST",
            path="/auth/refresh",
            handler=refresh,
            summary="Renew your tokens",
            tag="auth",
            authenticated=False,
            body=version.body(RefreshGrant),
            form_types=version.form_types,
            answers={200: TokenPair},
            answer_headers=("Event-Position",),
            errors=("unauthenticated", "validation-failed"),
        ),
        Endpoint(
            method="POST",
            path="/auth/password",
            handler=change_password,
            summary="Change your password",
            tag="auth",
            body=version.body(PasswordChange),
            answers={204: None},
            answer_headers=("Event-Position",),
            errors=("invalid-credentials", "validation-failed"),
            statuses=version.statuses,
        ),
        Endpoint(
            method="GET",
            path="/auth/sessions",
            handler=list_sessions,
            summary="List your sessions",
            tag="auth",
            answers={200: list[SessionView]},
        ),
        Endpoint(
            method="DELETE",
            path="/auth/sessions",
            handler=end_sessions,
            summary="End all of your sessions",
            tag="auth",
            answers={204: None},
            answer_headers=("Event-Position",),
        ),
        Endpoint(
            method="DELETE",
            path="/auth/sessions/{session_id:str}",
            handler=end_session,
            summary="End one of your sessions",
            tag="auth",
            answers={204: None},
            answer_headers=("Event-Position",),
            errors=("not-found",),
        ),
    ]
