"""Accounts and sessions."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from eventapi.batch import Outcome
from eventapi.commands.sessions import EndSession, StartSession
from eventapi.commands.users import RegisterUser, RehashPassword, UpdateProfile
from eventapi.http.bodies import (
    MAX_PASSWORD_BYTES,
    Credentials,
    PasswordGrant,
    ProfilePatch,
    Registration,
    check_password,
    normal_email,
)
from eventapi.http.endpoint import Endpoint
from eventapi.http.reply import Reply, json_reply
from eventapi.http.request import FORM_TYPE, PATCH_TYPES, ApiRequest
from eventapi.http.views import ApiVersion, TokenPair
from eventapi.security.tokens import refresh_hash
from events.errors import InvalidCredentials
from events.sessions import Device
from events.users import Profile
from projections.users import User

_WRONG = "the username or the password is wrong"
_SESSION_BYTES = 16
_SECRET_BYTES = 32
_MAX_AGENT = 256
_NOBODY = ""
"""Whose idempotency keys they are that come without a user."""

_NO_STORE = (b"cache-control", b"no-store")


async def register(request: ApiRequest) -> Reply:
    """Make an account."""
    body = await request.body_as(Registration)
    check_password(body.password, "/password")
    email = normal_email(body.email)
    outcome = await request.services.journal.first_outcome(await request.once(_NOBODY))
    if outcome is None:
        profile = Profile(body.username, email, "", body.full_name)
        # Asked once before the hash is made, which costs a thousand times more than the answer.
        RegisterUser(profile).decide(await request.state())
        password_hash = await request.services.passwords.hash(body.password)
        command = RegisterUser(Profile(body.username, email, password_hash, body.full_name))
        outcome = await request.execute(command, _NOBODY)
    content = request.version.user(_user(outcome))
    status = request.version.created_status
    if status != 201:
        return request.written(outcome, content, status)
    location = request.path_to("/auth/me").encode()
    return request.written(outcome, content, status, (b"location", location))


async def login(request: ApiRequest) -> Reply:
    """Log in with a username and a password, as JSON or as the OAuth2 password form."""
    body: Credentials | PasswordGrant
    if request.media_type() == FORM_TYPE:
        body = await request.form_as(PasswordGrant)
    else:
        body = await request.body_as(Credentials)
    user = await _checked_user(request, body.username, body.password)
    return await _start_session(request, user)


async def _checked_user(request: ApiRequest, username: str, password: str) -> User:
    """The user whose credentials these are; raises `InvalidCredentials`."""
    services = request.services
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise InvalidCredentials(_WRONG)
    user = (await request.state()).users.named(username)
    stored = None if user is None else user.password_hash
    if not await services.passwords.verify(stored, password) or user is None:
        raise InvalidCredentials(_WRONG)
    if not user.disabled and services.passwords.needs_rehash(user.password_hash):
        renewed = await services.passwords.hash(password)
        command = RehashPassword(user.id, user.password_hash, renewed)
        outcome = await services.journal.execute(command, request.id)
        return _user(outcome)
    return user


async def _start_session(request: ApiRequest, user: User) -> Reply:
    services = request.services
    session = services.environment.random_bytes(_SESSION_BYTES).hex()
    secret = services.environment.random_bytes(_SECRET_BYTES).hex()
    expires = datetime.now(UTC) + timedelta(seconds=services.refresh_seconds)
    client = request.scope["client"]
    agent = request.header(b"user-agent")
    command = StartSession(
        user.id,
        user.password_hash,
        session,
        refresh_hash(secret),
        expires.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        Device(client[0] if client else None, agent[:_MAX_AGENT] if agent else None),
    )
    outcome = await services.journal.execute(command, request.id)
    token = services.tokens.issue(user.username, session, int(time.time()))
    pair = TokenPair(token, "bearer", services.tokens.lifetime, f"{session}.{secret}")
    return request.written(outcome, pair, 200, _NO_STORE)


async def logout(request: ApiRequest) -> Reply:
    """End this session; its tokens stop working at once."""
    _, user, session = await request.authenticated()
    outcome = await request.services.journal.execute(
        EndSession(user.id, session, "logout"), request.id
    )
    return request.written(outcome, None)


async def get_me(request: ApiRequest) -> Reply:
    """Read your account."""
    _, user, _ = await request.authenticated()
    return json_reply(request.version.user(user))


async def patch_me(request: ApiRequest) -> Reply:
    """Change what is named of your profile."""
    _, user, session = await request.authenticated()
    body = await request.body_as(ProfilePatch, PATCH_TYPES)
    email = normal_email(body.email) if isinstance(body.email, str) else body.email
    command = UpdateProfile(user.id, email, body.full_name)
    outcome = await request.services.journal.execute(command, request.id, session=session)
    return request.written(outcome, request.version.user(_user(outcome)))


def _user(outcome: Outcome) -> User:
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
            body=Registration,
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
            body=Credentials,
            form=PasswordGrant,
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
            handler=patch_me,
            summary="Change your profile",
            tag="auth",
            body=ProfilePatch,
            media_types=sorted(PATCH_TYPES),
            answers={200: version.user_type},
            answer_headers=("Event-Position",),
            errors=("email-taken", "validation-failed"),
        ),
    ]
