"""Rate limits: how often who may ask, and what they are told of it.

They measure durations on one machine and so use ``CLOCK_MONOTONIC``, not the log's clock: a clock
that is set neither ends nor prolongs a window.
The fields are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import cast

import msgspec
from litestar.types import HTTPScope, Scope

from eventapi.configuration.settings import Settings
from eventapi.http.authentication import bearer, user_of
from eventapi.http.middleware.client_address import caller_address
from eventapi.http.problems import ProblemError
from eventapi.http.response import Headers
from eventapi.http.urls import place_of
from eventapi.journal.journal import Journal
from eventapi.ratelimit.batches import LARGE, Batches
from eventapi.ratelimit.rate import Rate, Window, rate_of
from eventapi.ratelimit.storage import RateLimitStorage
from eventapi.security.fair_queue import CHANGES_WAITING
from eventapi.security.tokens import Tokens
from events.errors import EventapiError, ShareUsedUp

_STRICT = ("/auth/login", "/auth/register", "/auth/refresh")
"""Ends of paths, for a server may be mounted anywhere."""

_PROBES = ("/health", "/health/live", "/health/ready", "/metrics")
_UNLIMITED = frozenset(prefix + probe for prefix in ("", "/api/v1", "/api/v2") for probe in _PROBES)
"""What watches the server asks without end, and is not to be told that the server is down."""

_FAILURES = (Rate("failures", 5, 60), Rate("failures-hour", 20, 3_600))
"""How often a password may be wrong before the next is not looked at for a while."""

_SHARE = Rate("passwords", CHANGES_WAITING, 1)
"""How many passwords of one caller may wait to be hashed: about those of a second."""


class RateLimiter:
    """The rate limits of a server."""

    _batches: Batches | None = None

    def __init__(
        self, settings: Settings, counts: RateLimitStorage, tokens: Tokens, journal: Journal
    ) -> None:
        self._caller = rate_of("caller", settings.rate_limit)
        self._login = rate_of("login", settings.rate_limit_login)
        self._counts, self._tokens, self._journal = counts, tokens, journal
        if self._caller is not None and self._caller.limit >= LARGE:
            self._batches = Batches(counts, self._caller, self._key_of)

    async def close(self) -> None:
        """After the last."""
        if self._batches is not None:
            await self._batches.close()

    async def check(self, scope: HTTPScope) -> ProblemError | None:
        """Count a request; the refusal, if it is one too many."""
        path = place_of(scope)
        if path in _UNLIMITED and scope["method"] in {"GET", "HEAD"}:
            return None
        problem = None
        if self._batches is not None and not self._batches.near:
            self._batches.add((bearer(scope), caller_address(scope)))
        elif self._caller is not None:
            key = await self._key_of((bearer(scope), caller_address(scope)))
            problem = await self._count(scope, self._caller, key)
        if (
            problem is None
            and self._login is not None
            and scope["method"] == "POST"
            and path.rstrip("/").endswith(_STRICT)
        ):
            problem = await self._count(scope, self._login, caller_address(scope))
        return problem

    async def check_email(self, scope: HTTPScope, user: int) -> None:
        """Count a change of address with registrations, and by user; raises `ProblemError`."""
        if self._login is None:
            return
        problem = await self._count(scope, self._login, caller_address(scope))
        if problem is None:
            own = msgspec.structs.replace(self._login, name="email")
            problem = await self._count(scope, own, f"user {user}")
        if problem is not None:
            raise problem

    @contextmanager
    def sharing(self, scope: HTTPScope) -> Iterator[None]:
        """Work in a queue where one caller's share can be used up; then raises `ProblemError`."""
        try:
            yield
        except ShareUsedUp as error:
            window = Window(_SHARE.limit, _SHARE.seconds)
            _note(scope, _SHARE, window)
            raise _refusal(window, str(error)) from None

    async def _count(self, scope: HTTPScope, rate: Rate, key: str) -> ProblemError | None:
        window = await self._counts.add(rate, key)
        _note(scope, rate, window)
        if window.count <= rate.limit:
            return None
        return _refusal(window, "there were too many requests")

    async def _key_of(self, caller: Hashable) -> str:
        """What counts a caller, who is a token and an address."""
        token, address = cast("tuple[str | None, str]", caller)
        if token is not None:
            try:
                clock = self._journal.clock
                now = clock.seconds()
                claims = self._tokens.claims(token, now)
                user = user_of(await self._journal.state(), claims, clock.second_end(now))
            except EventapiError:
                user = None
            if user is not None:
                return f"user {user.id}"
        return address

    def fields(self, scope: HTTPScope) -> Headers:
        """The RateLimit fields of an answer; who is far from a limit is told nothing of it."""
        noted: list[tuple[Rate, Window]] | None = scope.get("limits")  # type: ignore[assignment]
        if noted is None:
            return []
        policies = b", ".join([b'"%b";q=%d;w=%d' % _policy(rate) for rate, _ in noted])
        left = b", ".join([b'"%b";r=%d;t=%d' % _left(rate, window) for rate, window in noted])
        return [(b"ratelimit-policy", policies), (b"ratelimit", left)]

    async def check_failures(self, scope: HTTPScope, what: str) -> None:
        """Raise `ProblemError` where passwords for ``what`` were wrong too often.

        Where logins are not limited, nor is this.
        """
        if self._login is None:
            return
        for rate in _FAILURES:
            window = await self._counts.look(rate, what)
            if window.count >= rate.limit:
                raise _failed_too_often(scope, rate, window)

    async def failed(self, scope: HTTPScope, what: str) -> None:
        """Count a wrong password; raises `ProblemError` as if it had not been looked at.

        That is where others for the same were looked at meanwhile: of any number that come at
        once, as many are answered as of those that come in turn.
        """
        if self._login is None:
            return
        windows = [(rate, await self._counts.add(rate, what)) for rate in _FAILURES]
        for rate, window in windows:
            if window.count > rate.limit:
                raise _failed_too_often(scope, rate, window)

    async def succeeded(self, what: str) -> None:
        """Forget the wrong passwords before a right one."""
        if self._login is None:
            return
        for rate in _FAILURES:
            if (await self._counts.look(rate, what)).count:
                await self._counts.clear(rate, what)


def _failed_too_often(scope: HTTPScope, rate: Rate, window: Window) -> ProblemError:
    _note(scope, rate, window)
    return _refusal(window, "the password was wrong too often")


def _refusal(window: Window, detail: str) -> ProblemError:
    return ProblemError("rate-limited", detail, [(b"retry-after", b"%d" % window.wait)])


def _note(scope: HTTPScope, rate: Rate, window: Window) -> None:
    """Remember in the scope what the answer is to tell."""
    scope.setdefault("limits", []).append((rate, window))  # type: ignore[typeddict-item]  # ours


def refused_by(scope: Scope) -> str:
    """The name of the limit for which a request that was refused was one too many."""
    noted: list[tuple[Rate, Window]] = scope["limits"]  # type: ignore[typeddict-item]  # ours
    return noted[-1][0].name


def _policy(rate: Rate) -> tuple[bytes, int, int]:
    return rate.name.encode(), rate.limit, rate.seconds


def _left(rate: Rate, window: Window) -> tuple[bytes, int, int]:
    return rate.name.encode(), max(0, rate.limit - window.count), window.wait
