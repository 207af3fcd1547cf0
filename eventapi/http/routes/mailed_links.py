"""Mailed links: forgotten passwords and the verification of email addresses."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import UNSET

from eventapi.accounts import recovery
from eventapi.accounts.service import counted_name
from eventapi.http.guards import optional_login
from eventapi.http.handlers import post
from eventapi.http.request import ApiRequest
from eventapi.http.request_client import RequestClient
from eventapi.http.response import Response, event_position, written
from eventapi.http.schemas.requests import (
    EmailVerification,
    ForgottenPassword,
    PasswordReset,
    VerificationRequest,
)
from eventapi.http.services import Services
from eventapi.values.rules import normal_email
from events.errors import Fault, Invalid
from projections.tables.users import User

_WRITTEN = ("Event-Position",)

ANSWER_SECONDS: Final = 0.25
"""Responses about an address are sent after a multiple of this time, less a random part."""

JITTER_MICROSECONDS: Final = 25_000
"""The most that the random part may be."""


class MailedLinksController(Controller):
    """Forgotten passwords, and the verification of email addresses."""

    path = "/auth"
    tags = ("auth",)

    @post(
        "/password/forgot",
        summary="Request a mail that sets a new password",
        status=202,
        errors=("validation-failed",),
    )
    async def forgot_password(
        self,
        request: ApiRequest,
        data: JSONBody[ForgottenPassword],
        services: NamedDependency[Services],
    ) -> Response[None]:
        """Request a mail with a link that sets a new password, valid for one hour.

        The response does not reveal whether an account has the address.
        """
        email = normal_email(data.email)
        client = RequestClient(request)
        async with _alike():
            await recovery.check_log(client)
            user = (await request.current_state()).users.find_by_counting_email(email)
            if await _may_mail(services, "reset", email, user):
                await recovery.request_reset(client, user, request.device)
        return Response(202, [])

    @post(
        "/password/reset",
        summary="Set a new password by a mailed link",
        status=204,
        response_headers=_WRITTEN,
        errors=("validation-failed",),
    )
    async def reset_password(
        self,
        request: ApiRequest,
        data: JSONBody[PasswordReset],
        services: NamedDependency[Services],
    ) -> Response[None]:
        """Set a new password by the token of a mailed link; every session ends."""
        result = await recovery.reset_password(
            services.accounts, RequestClient(request), data.token, data.new_password
        )
        return written(result, None)

    @post(
        "/email/verification",
        summary="Request another mail that verifies an address",
        status=202,
        guards=(optional_login,),
        response_headers=_WRITTEN,
        errors=("validation-failed",),
    )
    async def request_email_verification(
        self,
        request: ApiRequest,
        services: NamedDependency[Services],
        data: JSONBody[VerificationRequest | None] = None,
    ) -> Response[None]:
        """Request another mail with a link that verifies your address.

        Without an access token, the body names the address, and the response does not reveal
        whether an account has it: it has no `Event-Position`.
        """
        client, email = RequestClient(request), UNSET if data is None else data.email
        if (own := request.reader.user) is not None:
            request.refuse_api_key()
            command = recovery.verification_request(own, request.device)
            position = request.reader.state.position
            if await _may_mail(services, "verification", "", own) and command is not None:
                position = (await client.execute(command)).record.position
            return Response(202, [event_position(position)])
        if email is UNSET:
            raise Invalid(Fault("/email", "is missing", "missing"))
        email = normal_email(email)
        async with _alike():
            await recovery.check_log(client)
            user = (await request.current_state()).users.find_by_email(email)
            if await _may_mail(services, "verification", email, user):
                await recovery.request_verification(client, user, request.device)
        return Response(202, [])

    @post(
        "/email/verify",
        summary="Verify an address by a mailed link",
        status=204,
        response_headers=_WRITTEN,
        errors=("validation-failed",),
    )
    async def verify_email(
        self,
        request: ApiRequest,
        data: JSONBody[EmailVerification],
        services: NamedDependency[Services],
    ) -> Response[None]:
        """Verify an email address by the token of a mailed link."""
        result = await recovery.verify_email(services.accounts, RequestClient(request), data.token)
        if result is None:
            return Response(204, [event_position((await request.current_state()).position)])
        return written(result, None)


async def _may_mail(services: Services, kind: str, email: str, user: User | None) -> bool:
    """Count a mail of a kind to a user or an address; false if it is one too many."""
    subject = counted_name(email, None if user is None else user.password_hash)
    return await services.rate_limiter.may_mail(f"{kind} {subject}")


@asynccontextmanager
async def _alike() -> AsyncIterator[None]:
    """Work that takes the same time, whether or not an account has an address.

    A known address has an event, and so a sync of the disk. Waiting for the next multiple of a fixed
    time hides it, and nothing is done later, where a crash would lose it. Timers are rounded to a
    millisecond, which depends on when they are set, so a random part hides that.
    """
    started = time.monotonic() - secrets.randbelow(JITTER_MICROSECONDS) / 1_000_000
    try:
        yield
    finally:
        passed = time.monotonic() - started
        await asyncio.sleep(ANSWER_SECONDS - passed % ANSWER_SECONDS)
