"""Rate limits: the caller that a request counts for, and the header fields.

Windows are measured with ``CLOCK_MONOTONIC`` and not with the log's clock, so setting a clock
neither ends nor extends one. The header fields are those of
draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from litestar.types import HTTPScope, Scope

from eventapi.commands.mailed_links import RESET_SECONDS
from eventapi.configuration.settings import Settings
from eventapi.http.authentication import bearer, caller_of, credential_of
from eventapi.http.middleware.client_address import caller_address
from eventapi.http.problems import ProblemError
from eventapi.http.response import Headers
from eventapi.journal.journal import Journal
from eventapi.ratelimit.rate import Rate, Window, rate_of
from eventapi.ratelimit.storage import RateLimitStorage
from eventapi.security.fair_queue import MAX_WAITING_CHANGES
from eventapi.security.tokens import Tokens
from events.errors import EventapiError, ShareUsedUp

_LOGIN_PATHS = (
    "/auth/login",
    "/auth/login/second-factor",
    "/auth/register",
    "/auth/refresh",
    "/auth/password/forgot",
    "/auth/password/reset",
    "/auth/email/verification",
    "/auth/email/verify",
    "/auth/keys",
    "/auth/totp",
    "/auth/totp/confirm",
)
"""Ends of paths, because a server may be mounted below any prefix."""

_PROBE_PATHS = ("/health", "/health/live", "/health/ready", "/metrics")
_UNLIMITED_PATHS = frozenset(
    prefix + probe for prefix in ("", "/api/v1", "/api/v2") for probe in _PROBE_PATHS
)
"""Never limited, because monitoring must not report a busy server as down."""

_FAILURE_RATES = (Rate("failures", 5, 60), Rate("failures-hour", 20, 3_600))
"""Wrong passwords after which further passwords are refused unchecked until the window ends."""

_ACCOUNT_FAILURE_RATES = (Rate("codes", 100, 3_600),)
"""Wrong codes of one account from all addresses together."""

_MAIL_RATES = (Rate("mails", 3, 600), Rate("mails-day", 10, 86_400))
"""Mails of one kind that requests can cause to one address."""

_MAIL_ALWAYS = Rate("mails-hour", 1, RESET_SECONDS)
"""A mail beyond these rates. So a stranger who uses them up does not lock the owner out: as long as a
mail is withheld, the link in an earlier one is valid."""

_PASSWORD_SHARE = Rate("passwords", MAX_WAITING_CHANGES, 1)
"""Passwords of one caller that may wait to be hashed, reported as a rate: about one second's."""


class RateLimiter:
    """The rate limits of a server."""

    def __init__(
        self, settings: Settings, counts: RateLimitStorage, tokens: Tokens, journal: Journal
    ) -> None:
        self._caller = rate_of("caller", settings.rate_limit)
        self._login = rate_of("login", settings.rate_limit_login)
        self._counts, self._tokens, self._journal = counts, tokens, journal

    async def check(self, scope: HTTPScope) -> ProblemError | None:
        """Count a request; return the 429 if the request exceeds a limit."""
        path = scope["path"]
        if path in _UNLIMITED_PATHS and scope["method"] in {"GET", "HEAD"}:
            return None
        problem = None
        if self._caller is not None:
            problem = await self._count(scope, self._caller, await self._caller_key(scope))
        if (
            problem is None
            and self._login is not None
            and scope["method"] == "POST"
            and path.rstrip("/").endswith(_LOGIN_PATHS)
        ):
            problem = await self._count(scope, self._login, caller_address(scope))
        return problem

    async def check_further(self, scope: HTTPScope, count: int) -> None:
        """Count ``count`` further requests, those of a batch; raises `ProblemError`."""
        if self._caller is not None and count:
            problem = await self._count(
                scope, self._caller, await self._caller_key(scope), amount=count
            )
            if problem is not None:
                raise problem

    async def check_email(self, scope: HTTPScope, user: int) -> None:
        """Count a change of email with registrations, and by user; raises `ProblemError`."""
        if self._login is None:
            return
        problem = await self._count(scope, self._login, caller_address(scope))
        if problem is None:
            own = msgspec.structs.replace(self._login, name="email")
            problem = await self._count(scope, own, f"user {user}")
        if problem is not None:
            raise problem

    @contextmanager
    def refuse_used_up_share(self, scope: HTTPScope) -> Iterator[None]:
        """Translate `ShareUsedUp` of a queue into a 429; raises `ProblemError`."""
        try:
            yield
        except ShareUsedUp as error:
            window = Window(_PASSWORD_SHARE.limit, _PASSWORD_SHARE.seconds)
            _record_window(scope, _PASSWORD_SHARE, window)
            raise _refusal(window, str(error)) from None

    async def _count(
        self, scope: HTTPScope, rate: Rate, key: str, amount: int = 1
    ) -> ProblemError | None:
        window = await self._counts.add(rate, key, amount)
        _record_window(scope, rate, window)
        if window.count <= rate.limit:
            return None
        return _refusal(window, "there were too many requests")

    async def _caller_key(self, scope: HTTPScope) -> str:
        """The user of a valid access token, else the client address."""
        token = bearer(scope)
        if token is not None:
            try:
                clock = self._journal.clock
                now = clock.seconds()
                credential = credential_of(token, self._tokens, now)
                caller = caller_of(await self._journal.state(), credential, clock.second_end(now))
            except EventapiError:
                caller = None
            if caller is not None:
                return f"user {caller.user.id}"
        return caller_address(scope)

    async def may_mail(self, subject: str) -> bool:
        """Count a mail that a request may cause; false if it is one too many.

        The client learns nothing of it, because only known addresses get mails.
        """
        if self._login is None:
            return True
        within = [
            (await self._counts.add(rate, f"mail {subject}")).count <= rate.limit
            for rate in (_MAIL_ALWAYS, *_MAIL_RATES)
        ]
        return within[0] or all(within[1:])

    async def check_failures(
        self, scope: HTTPScope, what: str, *, whole_account: bool = False
    ) -> None:
        """Raise `ProblemError` after too many wrong passwords for ``what``.

        Does nothing if logins are not limited.
        """
        if self._login is None:
            return
        for rate in _ACCOUNT_FAILURE_RATES if whole_account else _FAILURE_RATES:
            window = await self._counts.get(rate, what)
            if window.count >= rate.limit:
                raise _failed_too_often(scope, rate, window)

    async def count_failure(
        self, scope: HTTPScope, what: str, *, whole_account: bool = False
    ) -> None:
        """Count a wrong password.

        If concurrent attempts have pushed the count over the limit, raise the 429 of
        `check_failures`, so that parallel guesses learn no more than sequential ones.
        """
        if self._login is None:
            return
        rates = _ACCOUNT_FAILURE_RATES if whole_account else _FAILURE_RATES
        windows = [(rate, await self._counts.add(rate, what)) for rate in rates]
        for rate, window in windows:
            if window.count > rate.limit:
                raise _failed_too_often(scope, rate, window)

    async def clear_failures(self, what: str) -> None:
        """Reset the count of wrong passwords, after a right one."""
        if self._login is None:
            return
        for rate in _FAILURE_RATES:
            if (await self._counts.get(rate, what)).count:
                await self._counts.clear(rate, what)


def rate_limit_fields(scope: HTTPScope) -> Headers:
    """The RateLimit fields of an answer; none where no limit counted the request."""
    windows: list[tuple[Rate, Window]] | None = scope.get("limits")  # type: ignore[assignment]
    if windows is None:
        return []
    policies = b", ".join([b'"%b";q=%d;w=%d' % _policy(rate) for rate, _ in windows])
    left = b", ".join([b'"%b";r=%d;t=%d' % _remaining(rate, window) for rate, window in windows])
    return [(b"ratelimit-policy", policies), (b"ratelimit", left)]


def _failed_too_often(scope: HTTPScope, rate: Rate, window: Window) -> ProblemError:
    _record_window(scope, rate, window)
    return _refusal(window, "passwords or codes were wrong too often")


def _refusal(window: Window, detail: str) -> ProblemError:
    return ProblemError("rate-limited", detail, [(b"retry-after", b"%d" % window.retry_after)])


def _record_window(scope: HTTPScope, rate: Rate, window: Window) -> None:
    """Store a window in the scope; the answer's headers report the newest ones."""
    older: list[tuple[Rate, Window]] = scope.get("limits", [])  # type: ignore[assignment]  # ours
    newest = [*(one for one in older if one[0] != rate), (rate, window)]
    scope["limits"] = newest  # type: ignore[typeddict-unknown-key]  # ours


def exceeded_limit(scope: Scope) -> str:
    """The name of the limit that a refused request exceeded."""
    windows: list[tuple[Rate, Window]] = scope["limits"]  # type: ignore[typeddict-item]  # ours
    return windows[-1][0].name


def _policy(rate: Rate) -> tuple[bytes, int, int]:
    return rate.name.encode(), rate.limit, rate.seconds


def _remaining(rate: Rate, window: Window) -> tuple[bytes, int, int]:
    return rate.name.encode(), max(0, rate.limit - window.count), window.retry_after
