"""Accounts and sessions."""

from __future__ import annotations

from heapq import nlargest

from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from eventapi.accounts.service import Grant
from eventapi.commands.sessions import EndSession
from eventapi.commands.users import (
    UpdateProfile,
)
from eventapi.http.decoding import Texts, from_texts
from eventapi.http.guards import logged_in, own_session
from eventapi.http.handlers import delete, get, patch, post
from eventapi.http.request import ApiRequest, MergePatch
from eventapi.http.request_client import RequestClient
from eventapi.http.response import Response, json_response, written
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
from eventapi.values.rules import normal_email
from events.errors import (
    Fault,
    Invalid,
    NotFound,
)
from events.vocabulary.users import Profile
from projections.tables.sessions import Session
from projections.tables.users import User, casefold_key

_MAX_SESSIONS = 1_000
NO_STORE = (b"cache-control", b"no-store")
_WRITTEN = ("Event-Position",)


class AccountsController(Controller):
    """Accounts and sessions."""

    path = "/auth"
    tags = ("auth",)

    @post(
        "/register",
        summary="Create an account",
        creates=True,
        request_headers=("Idempotency-Key",),
        response_headers=_WRITTEN,
        errors=("username-taken", "email-taken", "validation-failed"),
    )
    async def register(
        self, request: ApiRequest, data: JSONBody[Registration], services: NamedDependency[Services]
    ) -> Response[UserView]:
        """Create an account."""
        email = normal_email(data.email)
        # There is no user yet, so the new account owns the key: different clients share no keys.
        scope = services.tokens.scope_of(
            "register", casefold_key(data.username), casefold_key(email)
        )
        client = RequestClient(request, scope)
        result = await request.first_result(scope)
        if result is None:
            profile = Profile(data.username, email, "", data.full_name)
            result = await services.accounts.register(client, profile, data.password)
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
        errors=(
            "invalid-credentials",
            "second-factor-required",
            "account-disabled",
            "email-unverified",
            "validation-failed",
        ),
    )
    async def login(
        self, request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[TokenPair]:
        """Log in with a username and a password, as JSON or as a form.

        OAuth 2.0 clients with a single token endpoint may also renew tokens here, with the form of
        `/auth/refresh`: `grant_type=refresh_token` and `refresh_token`.
        """
        form = await request.form_fields()
        if form is None:
            body = await request.json_as(PasswordGrant)
        elif form.get("grant_type", [])[-1:] == ["refresh_token"]:
            return await _refreshed(request, services, _refresh_token(form))
        else:
            _check_grant(form, "password", "refresh_token")
            body = from_texts(form, PasswordGrant, "body")
        grant = await services.accounts.log_in(
            RequestClient(request), body.username, body.password, request.device
        )
        return token_response(grant)

    @post(
        "/logout",
        summary="End this session",
        guards=(own_session,),
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
        guards=(own_session,),
        response_headers=_WRITTEN,
        errors=("email-taken", "validation-failed"),
    )
    async def update_me(
        self,
        request: ApiRequest,
        data: MergePatch[ProfilePatch],
        services: NamedDependency[Services],
    ) -> Response[UserView]:
        """Change the given members of your profile.

        Another email address counts once it is verified by the link that is mailed to it.
        """
        user = request.caller.user
        email = normal_email(data.email) if isinstance(data.email, str) else data.email
        if isinstance(email, str) and casefold_key(email) != casefold_key(user.email):
            # The response reveals whether the address is taken, as the one to a registration does.
            await services.rate_limiter.check_email(request.scope, user.id)
        command = UpdateProfile(user.id, email, data.full_name)
        result = await request.execute_always(command)
        return written(result, request.version.user(_user(result)))

    @delete(
        "/me",
        summary="Erase your account",
        guards=(own_session,),
        response_headers=_WRITTEN,
        errors=("invalid-credentials", "action-refused", "validation-failed"),
    )
    async def erase_me(
        self, request: ApiRequest, data: JSONBody[Confirmation], services: NamedDependency[Services]
    ) -> Response[None]:
        """Erase your account and all of its data permanently; the last operator cannot."""
        user, session = request.caller.user, request.caller.session
        client = RequestClient(request)
        return written(await services.accounts.erase(client, user, session, data.password), None)

    @post(
        "/refresh",
        summary="Renew your tokens",
        form_body=RefreshGrant,
        response_headers=_WRITTEN,
        errors=("unauthenticated", "validation-failed"),
    )
    async def refresh(
        self, request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[TokenPair]:
        """Exchange a refresh token, sent as JSON or as a form, for new tokens."""
        form = await request.form_fields()
        if form is not None:
            token = _refresh_token(form)
        else:
            token = (await request.json_as(RefreshGrant)).refresh_token
        return await _refreshed(request, services, token)

    @post(
        "/password",
        summary="Change your password",
        guards=(own_session,),
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
        result = await services.accounts.change_password(
            RequestClient(request), user, session, data.current_password, data.new_password
        )
        return written(result, None)

    @get("/sessions", summary="List your sessions", guards=(own_session,))
    async def list_sessions(
        self, request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[list[SessionView]]:
        """List your sessions, newest first, at most 1,000."""
        sessions, caller = request.caller.state.sessions, request.caller
        now = services.journal.clock.now()
        own = (sessions.by_id[number] for number in sessions.ids_by_user[caller.user.id])
        live = (session for session in own if session.expires_at > now)
        newest = nlargest(_MAX_SESSIONS, live, key=_start_of)
        return json_response([session_view(session, caller.session) for session in newest])

    @delete(
        "/sessions",
        summary="End all of your sessions",
        guards=(own_session,),
        response_headers=_WRITTEN,
    )
    async def end_sessions(self, request: ApiRequest) -> Response[None]:
        """End all of your sessions, including this one."""
        caller = request.caller
        command = EndSession(caller.user.id, caller.session, "revoked", everywhere=True)
        return await _end(request, command)

    @delete(
        "/sessions/{session_id:str}",
        summary="End one of your sessions",
        guards=(own_session,),
        response_headers=_WRITTEN,
        errors=("not-found",),
    )
    async def end_session(self, request: ApiRequest, session_id: FromPath[str]) -> Response[None]:
        """End one of your sessions; its tokens stop working at once."""
        caller = request.caller
        if session_id not in caller.state.sessions.ids_by_user[caller.user.id]:
            raise NotFound("there is no such session")
        return await _end(request, EndSession(caller.user.id, session_id, "revoked"))


async def _refreshed(
    request: ApiRequest, services: Services, refresh_token: str
) -> Response[TokenPair]:
    return token_response(await services.accounts.refresh(RequestClient(request), refresh_token))


def token_response(grant: Grant) -> Response[TokenPair]:
    """The response to a login or a renewal."""
    pair = TokenPair(grant.access_token, "bearer", grant.lifetime, grant.refresh_token)
    return written(grant.result, pair, 200, NO_STORE)


def _refresh_token(form: Texts) -> str:
    _check_grant(form, "refresh_token")
    return from_texts(form, RefreshGrant, "body").refresh_token


def _check_grant(form: Texts, *grants: str) -> None:
    """Raise `Invalid` for other grants.

    A parameter without a value is treated as omitted (RFC 6749, section 3.2).
    """
    given = form.get("grant_type", [""])
    if given == [""]:
        form.pop("grant_type", None)
    elif given[-1] not in grants:
        raise Invalid(Fault("/grant_type", f"must be {' or '.join(grants)}", "literal_error"))


async def _end(request: ApiRequest, command: EndSession) -> Response[None]:
    return written(await request.execute_always(command), None)


def _start_of(session: Session) -> tuple[str, str]:
    return session.started_at, session.id


def _user(result: CommandResult) -> User:
    assert isinstance(result.entity, User)  # noqa: S101 - for the type checker
    return result.entity
