"""The second factor of logins (TOTP, RFC 6238)."""

from __future__ import annotations

from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import JSONBody

from eventapi.accounts import second_factors
from eventapi.http.guards import own_session
from eventapi.http.handlers import delete, post
from eventapi.http.request import ApiRequest
from eventapi.http.request_client import RequestClient
from eventapi.http.response import Response, written
from eventapi.http.routes.accounts import NO_STORE, token_response
from eventapi.http.schemas.requests import Confirmation, SecondFactorGrant, TotpConfirmation
from eventapi.http.schemas.responses import RecoveryCodes, TokenPair, TotpSetup
from eventapi.http.services import Services

_WRITTEN = ("Event-Position",)


class SecondFactorsController(Controller):
    """The second factor of logins."""

    path = "/auth"
    tags = ("auth",)

    @post(
        "/login/second-factor",
        summary="Complete a login with a code",
        response_headers=_WRITTEN,
        errors=("invalid-credentials", "account-disabled", "email-unverified", "validation-failed"),
    )
    async def complete_login(
        self,
        request: ApiRequest,
        data: JSONBody[SecondFactorGrant],
        services: NamedDependency[Services],
    ) -> Response[TokenPair]:
        """Complete a login with its challenge and a code, which works once."""
        client, code = RequestClient(request), data.code
        return token_response(
            await second_factors.log_in(
                services.accounts, client, data.challenge, code, request.device
            )
        )

    @post(
        "/totp",
        summary="Set up a second factor",
        guards=(own_session,),
        response_headers=_WRITTEN,
        errors=("action-refused",),
    )
    async def start_totp(
        self, request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[TotpSetup]:
        """Make a secret for an authenticator app; a code must confirm it."""
        client, user = RequestClient(request), request.caller.user
        setup = await second_factors.start(services.accounts, client, user)
        return written(setup.result, TotpSetup(setup.secret, setup.uri), 200, NO_STORE)

    @post(
        "/totp/confirm",
        summary="Turn the second factor on",
        guards=(own_session,),
        response_headers=_WRITTEN,
        errors=("action-refused", "validation-failed"),
    )
    async def confirm_totp(
        self,
        request: ApiRequest,
        data: JSONBody[TotpConfirmation],
        services: NamedDependency[Services],
    ) -> Response[RecoveryCodes]:
        """Confirm the secret with a code; every later login needs a second factor."""
        client, caller = RequestClient(request), request.caller
        confirmed = await second_factors.confirm(
            services.accounts, client, caller.user, caller.session, data.code
        )
        return written(confirmed.result, RecoveryCodes(confirmed.recovery_codes), 200, NO_STORE)

    @delete(
        "/totp",
        summary="Remove the second factor",
        guards=(own_session,),
        response_headers=_WRITTEN,
        errors=("invalid-credentials", "action-refused", "validation-failed"),
    )
    async def remove_totp(
        self, request: ApiRequest, data: JSONBody[Confirmation], services: NamedDependency[Services]
    ) -> Response[None]:
        """Remove the second factor and its recovery codes."""
        client, caller = RequestClient(request), request.caller
        result = await second_factors.disable(
            services.accounts, client, caller.user, caller.session, data.password
        )
        return written(result, None)
