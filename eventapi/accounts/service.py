"""Accounts and sessions, for HTTP and the command line alike.

Passwords are hashed here, outside the log's lock. Commands decide everything else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final, Protocol

import msgspec

from eventapi.commands.command import Command
from eventapi.commands.second_factors import UseSecondFactor
from eventapi.commands.sessions import Lifetime, RefreshSession, StartSession
from eventapi.commands.users import ChangePassword, EraseUser, RegisterUser, RehashPassword
from eventapi.journal.batch import CommandResult, Runtime
from eventapi.journal.journal import Journal
from eventapi.security.fair_queue import Caller
from eventapi.security.passwords import Passwords
from eventapi.security.signed_texts import SignedTexts
from eventapi.security.tokens import RefreshClaims, Tokens
from eventapi.values.rules import MAX_PASSWORD_BYTES
from eventapi.values.times import seconds_of
from events.errors import (
    AccountDisabled,
    EmailUnverified,
    InvalidCredentials,
    NotFound,
    SecondFactorRequired,
    Unauthenticated,
    WrongPassword,
)
from events.vocabulary.password_hashes import HashKind
from events.vocabulary.sessions import Device
from events.vocabulary.users import Profile
from projections.state import State
from projections.tables.sessions import Session
from projections.tables.users import User, casefold_key

_WRONG_CREDENTIALS: Final = "Incorrect username or password"
_WRONG_PASSWORD: Final = "the password is wrong"  # noqa: S105 - a message
_SESSION_ID_BYTES: Final = 16

CHALLENGE_SECONDS: Final = 300
"""How long after the password the code of the second factor may follow."""


class Client(Protocol):
    """The origin of a request, such as an HTTP request or the command line."""

    address: str
    """Counted with an account when a password is wrong, in the form of `counted_address`."""

    async def current_state(self) -> State:
        """The state, up to date."""

    async def execute(self, command: Command) -> CommandResult:
        """Write a command; see `Journal.execute`."""

    async def execute_all(self, commands: Sequence[Command]) -> list[CommandResult]:
        """Write commands, all or none; see `Journal.execute_all`."""

    def queue(self) -> AbstractContextManager[None]:
        """Around hashing; raise if the caller's share of the queue is used up."""


class FailedLoginCounter(Protocol):
    """Counts failed logins, which become events; see `eventapi.failed_logins`."""

    def add(self, username: str, address: str, device: Device) -> None:
        """Count a failed login; takes the same time for known and unknown names."""


class GuessingClient(Client, Protocol):
    """A client that may send wrong passwords and codes, which are limited by subject.

    With ``whole_account`` the limit is that of all clients together.
    """

    async def check_guesses(self, subject: str, *, whole_account: bool = False) -> None:
        """Raise if there were too many wrong passwords."""

    async def count_guess(self, subject: str, *, whole_account: bool = False) -> None:
        """Count a wrong password; raise if it was one too many."""

    async def clear_guesses(self, subject: str) -> None:
        """Forget the wrong passwords, because there was a right one."""


class Operator:
    """The command line as a client: nothing is limited."""

    address = "operator"

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def current_state(self) -> State:
        """The state, up to date."""
        return await self._journal.state()

    async def execute(self, command: Command) -> CommandResult:
        """Write a command; see `Journal.execute`."""
        return await self._journal.execute(command)

    async def execute_all(self, commands: Sequence[Command]) -> list[CommandResult]:
        """Write commands, all or none; see `Journal.execute_all`."""
        return await self._journal.execute_all(commands)

    def queue(self) -> AbstractContextManager[None]:
        """Limit nothing."""
        return nullcontext()


class Grant(msgspec.Struct, frozen=True):
    """Tokens, and the event that started or renewed their session.

    ``lifetime`` is that of the access token, in seconds.
    """

    result: CommandResult
    access_token: str
    lifetime: int
    refresh_token: str


class Accounts(msgspec.Struct, frozen=True):
    """Everything that needs a password or makes a token."""

    journal: Journal
    passwords: Passwords
    tokens: Tokens
    runtime: Runtime
    lifetime: Lifetime
    texts: SignedTexts
    failed_logins: FailedLoginCounter
    requires_verified_email: bool = False

    async def register(self, client: Client, profile: Profile, password: str) -> CommandResult:
        """Make an account; see the function `register`."""
        return await register(client, self.passwords, profile, password)

    async def log_in(
        self, client: GuessingClient, username: str, password: str, device: Device
    ) -> Grant:
        """Start a session.

        Raises `InvalidCredentials`, `AccountDisabled`, `EmailUnverified`, and
        `SecondFactorRequired` with a challenge. The first two are counted as a failed login, the
        second one because the password was right.
        """
        with self.count_failure(client, username, device):
            return await self._log_in(client, username, password, device)

    @contextmanager
    def count_failure(self, client: Client, username: str, device: Device) -> Iterator[None]:
        """Count a failed login if it fails inside, but not if a limit refuses it."""
        try:
            yield
        except (InvalidCredentials, AccountDisabled):
            self.failed_logins.add(username, client.address, device)
            raise

    async def _log_in(
        self, client: GuessingClient, username: str, password: str, device: Device
    ) -> Grant:
        user = await self._checked_user(client, username, password)
        try:
            return await self.start_session(client, user, device)
        except SecondFactorRequired as required:
            required.challenge = await self._challenge(client, user)
            raise
        except InvalidCredentials:
            # Another login renewed the hash meanwhile, or the password was changed.
            user = await self._checked_user(client, username, password)
            return await self.start_session(client, user, device)

    async def _challenge(self, client: Client, user: User) -> str:
        expires = int(self.journal.clock.seconds()) + CHALLENGE_SECONDS
        source = (await client.current_state()).last.source
        return self.texts.make("second-factor", [user.id, user.password_at, expires], source)

    async def refresh(self, client: Client, refresh_token: str) -> Grant:
        """Spend a refresh token for new tokens; raises `Unauthenticated`."""
        spent = self.tokens.refresh_claims(refresh_token)
        renewed = RefreshClaims(spent.session, spent.generation + 1)
        command = RefreshSession(
            spent.session, spent.generation, self.tokens.refresh_hash(renewed), self.lifetime
        )
        # Decided without a write first, because a refused client often comes again and again.
        command.decide(self.journal.stage_now(await client.current_state()))
        result = await client.execute(command)
        session = result.entity
        users = (await client.current_state()).users.by_id
        user = users.get(session.user) if isinstance(session, Session) else None
        if not isinstance(session, Session) or user is None:
            raise Unauthenticated("the refresh token was spent before, so its session has ended")
        return self._grant(result, user.username, RefreshClaims(session.id, session.generation))

    async def change_password(
        self, client: GuessingClient, user: User, session: str, current: str, new: str
    ) -> CommandResult:
        """Change a password, and end all sessions but this one; raises `WrongPassword`."""
        await self.confirm(client, user, session, current)
        password_hash = await self.hash(client, new, changing(user))
        command = ChangePassword(user.id, user.password_hash, password_hash, session)
        return await client.execute(command)

    async def erase(
        self, client: GuessingClient, user: User, session: str, password: str
    ) -> CommandResult:
        """Erase an account and everything in it; raises `WrongPassword`."""
        await self.confirm(client, user, session, password)
        return await client.execute(
            EraseUser(user.username, user.subject, user.password_hash, keep_operator=True)
        )

    async def confirm(
        self, client: GuessingClient, user: User, session: str, password: str
    ) -> None:
        """Raise `WrongPassword` unless this is the user's password.

        Wrong passwords are counted by session. So a stolen session does not allow guessing, and
        guesses at the login keep no user from changing the password.
        """
        subject = f"session {session}"
        matched = await self._match(client, subject, user.password_hash, password, changing(user))
        if matched is None:
            raise WrongPassword(_WRONG_PASSWORD)

    async def _checked_user(self, client: GuessingClient, username: str, password: str) -> User:
        """The user with these credentials; raises `InvalidCredentials`.

        A stored hash with outdated parameters is renewed.
        """
        users = (await client.current_state()).users
        user = users.find_by_username(username)
        stored = None if user is None else user.password_hash
        subject = f"{client.address} {counted_name(username, stored)}"
        caller = Caller("login", subject)
        matched = await self._match(client, subject, stored, password, caller, users.hash_kinds)
        if matched is None or user is None:
            raise InvalidCredentials(_WRONG_CREDENTIALS)
        if user.disabled or not self.passwords.needs_rehash(user.password_hash, matched):
            return user
        renewed = await self.hash(client, matched, caller)
        try:
            result = await client.execute(RehashPassword(user.id, user.password_hash, renewed))
        except NotFound:  # Another login renewed it, or the password was changed.
            return await self._checked_user(client, username, password)
        assert isinstance(result.entity, User)  # noqa: S101 - for the type checker
        return result.entity

    async def _match(  # noqa: PLR0917 - all of one guess
        self,
        client: GuessingClient,
        subject: str,
        stored: str | None,
        password: str,
        caller: Caller,
        kinds: Collection[HashKind] = (),
    ) -> str | None:
        """The form of the password that matches the stored hash, or ``None``.

        The guesses are checked before, so that no password is hashed in vain, and again after, so
        that a right password among many parallel guesses is not revealed.
        """
        await client.check_guesses(subject)
        if len(password.encode()) <= MAX_PASSWORD_BYTES:
            with client.queue():
                matched = await self.passwords.verify(stored, password, caller, kinds)
            if matched is not None:
                await client.check_guesses(subject)
                await client.clear_guesses(subject)
                return matched
        await client.count_guess(subject)
        return None

    async def hash(self, client: Client, password: str, caller: Caller) -> str:
        """Hash a password outside the lock; raises `Overloaded`."""
        with client.queue():
            return await self.passwords.hash(password, caller)

    async def start_session(
        self,
        client: Client,
        user: User,
        device: Device,
        code: UseSecondFactor | None = None,
    ) -> Grant:
        """Start a session of a user, whose password was checked.

        ``code`` is used in the same group. Raises as `log_in`.
        """
        if self.requires_verified_email and not (user.email_verified or user.disabled):
            raise EmailUnverified("the email address is not verified")
        refresh = RefreshClaims(self.runtime.random_bytes(_SESSION_ID_BYTES).hex(), 0)
        command = StartSession(
            user.id,
            user.password_hash,
            refresh.session,
            self.tokens.refresh_hash(refresh),
            self.lifetime,
            device,
            has_second_factor=code is not None,
        )
        commands: list[Command] = [command] if code is None else [code, command]
        results = await client.execute_all(commands)
        return self._grant(results[-1], user.username, refresh)

    def _grant(self, result: CommandResult, username: str, refresh: RefreshClaims) -> Grant:
        session = result.entity
        assert isinstance(session, Session)  # noqa: S101 - for the type checker
        now = int(self.journal.clock.seconds())
        # No token outlives its session.
        lifetime = max(min(self.tokens.lifetime, int(seconds_of(session.expires_at)) - now), 0)
        token = self.tokens.issue(username, refresh.session, now, lifetime)
        return Grant(result, token, lifetime, self.tokens.refresh_token(refresh))


async def register(
    client: Client,
    passwords: Passwords,
    profile: Profile,
    password: str,
    actor: str | None = None,
) -> CommandResult:
    """Make an account; raises `UsernameTaken`, `EmailTaken` and `Overloaded`.

    ``profile`` has no password hash yet; ``actor`` is set if it is not the new user.
    """
    # Decided before the hash is made, because that costs a thousand times more.
    RegisterUser(profile, actor).decide(await client.current_state())
    with client.queue():
        password_hash = await passwords.hash(password, Caller("registration", client.address))
    hashed = msgspec.structs.replace(profile, password_hash=password_hash)
    return await client.execute(RegisterUser(hashed, actor))


def counted_name(username: str, stored: str | None) -> str:
    """The name under which wrong passwords of an account are counted.

    For a user it is made from the stored hash, which an erasure removes. After that, no key and no
    dictionary of names confirms that the user existed.
    """
    text = f"name {casefold_key(username)}" if stored is None else f"hash {stored}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def changing(user: User) -> Caller:
    """The owner of the password jobs of a logged-in user."""
    return Caller("change", user.subject)
