"""Users, for operators; auditors may read them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlencode

from litestar import Controller
from litestar.params import FromPath, JSONBody
from msgspec import UNSET
from msgspec.structs import replace

from eventapi.accounts.links import reset_path
from eventapi.commands.command import Command
from eventapi.commands.operators import ByOperator, RequestPasswordResetFor
from eventapi.commands.users import (
    DisableUser,
    EnableUser,
    EraseUser,
    GrantRole,
    RegisterUser,
    RevokeRole,
)
from eventapi.http.conditional import accepted_versions, conditions, etag, is_known
from eventapi.http.handlers import delete, get, patch, post
from eventapi.http.lists.search import casefold_text
from eventapi.http.operator_guards import operator, operator_or_auditor
from eventapi.http.request import ApiRequest, MergePatch
from eventapi.http.response import JSON, Response, encode, event_position, json_response, written
from eventapi.http.schemas.users import (
    ManagedUser,
    NewUser,
    ResetRequest,
    ResetResponse,
    UserPage,
    UserPatch,
    UsersQuery,
    managed_user,
)
from eventapi.http.urls import path_number
from eventapi.journal.batch import CommandResult
from eventapi.security.fair_queue import Caller
from eventapi.values.rules import normal_email
from events.errors import Fault, Invalid, NotFound, PreconditionFailed
from events.vocabulary.users import Profile
from projections.state import State
from projections.tables.users import User

_MAX_SCANNED: Final = 100_000
"""Users that are searched for a page; a page may have fewer users than its limit."""

_PER_TURN: Final = 1_000
"""Users that are searched before other requests run."""

_MAX_ATTEMPTS: Final = 5
"""How often a change is computed anew because another one was written meanwhile."""

_RANDOM_PASSWORD_BYTES: Final = 32

_MISSING: Final = "User not found"
_NO_STORE: Final = (b"cache-control", b"no-store")
_ONE: Final = "/{user_id:str}"


class UsersController(Controller):
    """The users of the server, for operators."""

    path = "/users"
    tags = ("users",)

    @get(
        summary="List the users",
        guards=(operator_or_auditor,),
        query=UsersQuery,
        response_headers=("Link",),
        errors=("validation-failed",),
    )
    async def list_users(self, request: ApiRequest) -> Response[UserPage]:
        """List the users by number, except erased ones.

        A page of a search may have fewer users than `limit`, because a request searches a limited
        number of users: follow `next`.
        """
        query = request.query_as(UsersQuery)
        found, after = await _page(request, query)
        headers, following = [JSON], None
        if after is not None:
            parameters: dict[str, object] = {"after": after, "limit": query.limit}
            if query.q:
                parameters["q"] = query.q
            following = request.url_of(f"/users?{urlencode(parameters)}")
            headers.append((b"link", f'<{following}>; rel="next"'.encode()))
        return Response(200, headers, encode(UserPage([*map(managed_user, found)], following)))

    @post(
        summary="Create a user",
        guards=(operator,),
        creates=True,
        request_headers=("Idempotency-Key",),
        response_headers=("ETag", "Event-Position"),
        errors=("username-taken", "email-taken", "validation-failed"),
    )
    async def create_user(
        self, request: ApiRequest, data: JSONBody[NewUser]
    ) -> Response[ManagedUser]:
        """Create a user, who without a password gets a mail with a link that sets one."""
        roles = _checked_roles(request, data.roles)
        scope = request.caller.user.subject
        results = await request.first_results(scope, 1 + len(roles) + (data.password is UNSET))
        if results is None:
            commands = await _creation(request, data, roles)
            results = await request.execute_all(commands, scope)
        position = results[-1].record.position
        user = replace(_user_of(results[0]), roles=frozenset(roles), version=position)
        location = request.url_of(f"/{user.subject}").encode()
        return written(results[-1], managed_user(user), 201, _tag_of(user), (b"location", location))

    @get(
        _ONE,
        summary="Read a user",
        guards=(operator_or_auditor,),
        request_headers=("If-None-Match", "If-Match"),
        response_headers=("ETag",),
        empty_statuses=(304,),
        errors=("not-found", "precondition-failed"),
    )
    async def get_user(self, request: ApiRequest, user_id: FromPath[str]) -> Response[ManagedUser]:
        """Read a user."""
        user = _user(request.caller.state, user_id)
        match, none_match = conditions(request.scope["headers"])
        _check_version(user, accepted_versions(match))
        if is_known(none_match, user.version):
            return Response(304, [_tag_of(user)])
        return json_response(managed_user(user), 200, _tag_of(user))

    @patch(
        _ONE,
        summary="Disable or enable a user, or change the roles",
        guards=(operator,),
        request_headers=("If-Match", "If-None-Match"),
        response_headers=("ETag", "Event-Position"),
        errors=(
            "not-found",
            "precondition-failed",
            "action-refused",
            "validation-failed",
        ),
    )
    async def update_user(
        self, request: ApiRequest, user_id: FromPath[str], data: MergePatch[UserPatch]
    ) -> Response[ManagedUser]:
        """Change the given members of a user, all or none.

        A disabled user has no sessions and cannot log in. The last operator cannot be disabled, and
        keeps the role.
        """
        for _ in range(_MAX_ATTEMPTS):
            user = _user(await request.current_state(), user_id)
            _check_version(user, _accepted_versions(request, user))
            commands = _changes(request, user, data)
            if not commands:
                position = event_position(user.version)
                return json_response(managed_user(user), 200, _tag_of(user), position)
            # The commands are the difference to this version.
            first = _by_operator(request, commands[0], user, frozenset({user.version}))
            with suppress(PreconditionFailed):
                results = await request.execute_all_always([first, *commands[1:]])
                changed = _user_of(results[-1])
                return written(results[-1], managed_user(changed), 200, _tag_of(changed))
        raise PreconditionFailed("other requests change the user at the same time")

    @post(
        f"{_ONE}/password-reset",
        summary="Let a user set a new password",
        guards=(operator,),
        response_headers=("Event-Position",),
        empty_statuses=(202,),
        errors=("not-found", "action-refused", "validation-failed"),
    )
    async def request_password_reset(
        self,
        request: ApiRequest,
        user_id: FromPath[str],
        data: JSONBody[ResetRequest | None] = None,
    ) -> Response[ResetResponse]:
        """Send the user a mail with a link that sets a new password (202).

        With `"link": true`, no mail is sent, and the response has the link (200).
        """
        user = _user(request.caller.state, user_id)
        is_link = data is not None and data.link
        command = RequestPasswordResetFor(
            user.username, request.caller.user.subject, "link" if is_link else "mail"
        )
        result = await request.execute_always(_by_operator(request, command, user))
        if not is_link:
            return Response(202, [event_position(result.record.position)])
        services = request.services
        path = reset_path(services.accounts.texts, result.record, None)
        link = f"{services.base_url}{path}"
        return written(result, ResetResponse(link), 200, _NO_STORE)

    @delete(
        _ONE,
        summary="Erase a user",
        guards=(operator,),
        request_headers=("If-Match", "If-None-Match"),
        response_headers=("Event-Position",),
        errors=("not-found", "precondition-failed", "action-refused"),
    )
    async def erase_user(self, request: ApiRequest, user_id: FromPath[str]) -> Response[None]:
        """Erase a user and all of their data permanently; the last operator is refused."""
        user = _user(request.caller.state, user_id)
        command = EraseUser(user.username, request.caller.user.subject, keep_operator=True)
        versions = _accepted_versions(request, user)
        result = await request.execute_always(_by_operator(request, command, user, versions))
        return written(result, None)


async def _page(request: ApiRequest, query: UsersQuery) -> tuple[list[User], int | None]:
    """The users of a page, and the number after which the next page starts, if any."""
    caller, history = request.caller.user.id, request.services.history
    users = request.caller.state.users
    needle = casefold_text(query.q) if query.q else ""
    found: list[User] = []
    last = min(users.last_id, query.after + _MAX_SCANNED)
    with history.admit(caller):
        for start in range(query.after + 1, last + 1, _PER_TURN):
            async with history.turn(caller):
                for number in range(start, min(start + _PER_TURN, last + 1)):
                    user = users.by_id.get(number)
                    if user is None or user.status == "erased":
                        continue
                    if needle and needle not in _searched_text(user):
                        continue
                    if len(found) == query.limit:
                        return found, found[-1].id
                    found.append(user)
                await asyncio.sleep(0)
    return found, last if last < users.last_id else None


def _searched_text(user: User) -> str:
    """The folded texts of a user, with NULs between them that no query can match."""
    texts = (user.username, user.email, user.pending_email, user.full_name)
    return casefold_text("\0".join(filter(None, texts)))


async def _creation(request: ApiRequest, data: NewUser, roles: Sequence[str]) -> list[Command]:
    """The commands that create a user with roles."""
    actor, services = request.caller.user.subject, request.services
    profile = Profile(data.username, normal_email(data.email), "", data.full_name)
    # Decided before the hash is made, because that costs a thousand times more.
    RegisterUser(profile, actor).decide(await request.current_state())
    password = data.password
    if password is UNSET:
        password = services.accounts.runtime.random_bytes(_RANDOM_PASSWORD_BYTES).hex()
    with services.rate_limiter.refuse_used_up_share(request.scope):
        caller = Caller("registration", actor)
        password_hash = await services.accounts.passwords.hash(password, caller)
    register = RegisterUser(replace(profile, password_hash=password_hash), actor)
    commands: list[Command] = [_by_operator(request, register)]
    commands += [GrantRole(data.username, role, actor) for role in roles]
    if data.password is UNSET:
        commands.append(RequestPasswordResetFor(data.username, actor))
    return commands


def _changes(request: ApiRequest, user: User, patch: UserPatch) -> list[Command]:
    """The commands that apply a patch: first those that take rights away."""
    actor, name = request.caller.user.subject, user.username
    wanted = user.roles
    if patch.roles is not UNSET:
        wanted = frozenset(_checked_roles(request, patch.roles, user.roles))
    disabled = user.disabled if patch.disabled is UNSET else patch.disabled
    commands: list[Command] = []
    if disabled and not user.disabled:
        commands.append(DisableUser(name, actor, keep_operator=True))
    commands += [
        RevokeRole(name, role, actor, keep_operator=True) for role in sorted(user.roles - wanted)
    ]
    commands += [GrantRole(name, role, actor) for role in sorted(wanted - user.roles)]
    if user.disabled and not disabled:
        commands.append(EnableUser(name, actor))
    return commands


def _checked_roles(
    request: ApiRequest, roles: Iterable[str], held: Iterable[str] = ()
) -> list[str]:
    """The roles without repetitions; raises `Invalid` for one that no resource names.

    ``held`` are those of the user, which may be kept.
    """
    known = request.services.registry.roles
    faults = [
        Fault(f"/roles/{place}", f"must be one of {', '.join(sorted(known))}")
        for place, role in enumerate(roles)
        if role not in {*known, *held}
    ]
    if faults:
        raise Invalid(*faults)
    return sorted(set(roles))


def _by_operator(
    request: ApiRequest,
    command: Command,
    user: User | None = None,
    versions: frozenset[int] | None = None,
) -> ByOperator:
    return ByOperator(request.caller.user.id, command, None if user is None else user.id, versions)


def _accepted_versions(request: ApiRequest, user: User) -> frozenset[int] | None:
    """The versions that the request's conditions allow; ``None`` for any.

    Raises `PreconditionFailed` if If-None-Match has the current version.
    """
    match, none_match = conditions(request.scope["headers"])
    if is_known(none_match, user.version):
        raise PreconditionFailed(f"it is at version {user.version}")
    return accepted_versions(match)


def _check_version(user: User, versions: frozenset[int] | None) -> None:
    if versions is not None and user.version not in versions:
        raise PreconditionFailed(f"it is at version {user.version}")


def _user(state: State, text: str) -> User:
    """The user with the number in a path; raises `NotFound`, also for an erased one."""
    user = state.users.by_id.get(path_number(text, _MISSING))
    if user is None or user.status == "erased":
        raise NotFound(_MISSING)
    return user


def _user_of(result: CommandResult) -> User:
    assert isinstance(result.entity, User)  # noqa: S101 - for the type checker
    return result.entity


def _tag_of(user: User) -> tuple[bytes, bytes]:
    return b"etag", etag(user.version)
