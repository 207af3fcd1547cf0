"""The second factor of a login: set up, confirm, use and remove (TOTP, RFC 6238)."""

from __future__ import annotations

import msgspec

from eventapi.accounts.service import Accounts, Client, Grant, GuessingClient, counted_name
from eventapi.commands.second_factors import (
    DisableTotp,
    EnableTotp,
    StartTotp,
    UseSecondFactor,
)
from eventapi.journal.batch import CommandResult
from eventapi.security import totp
from eventapi.security.signed_texts import numbers_of
from eventapi.values.addresses import counted_address
from events.errors import ActionRefused, Fault, Invalid, InvalidCredentials
from events.vocabulary.sessions import Device
from projections.state import State
from projections.tables.users import User


class Setup(msgspec.Struct, frozen=True):
    """A new secret in base32, and the ``otpauth:`` URI for authenticator apps."""

    result: CommandResult
    secret: str
    uri: str


class Confirmed(msgspec.Struct, frozen=True):
    """The recovery codes of a second factor that is on now."""

    result: CommandResult
    recovery_codes: list[str]


async def start(accounts: Accounts, client: Client, user: User) -> Setup:
    """Make a secret, which a code must confirm; raises `ActionRefused` if one is on."""
    secret = totp.secret_text(accounts.runtime.random_bytes(totp.SECRET_BYTES))
    result = await client.execute(StartTotp(user.id, secret))
    return Setup(result, secret, totp.secret_uri(secret, user.username))


async def confirm(
    accounts: Accounts, client: GuessingClient, user: User, session: str, code: str
) -> Confirmed:
    """Turn the second factor on; raises `Invalid` for a wrong code.

    Raises `ActionRefused` if there is no secret to confirm.
    """
    factor = (await client.current_state()).second_factors.by_user.get(user.id)
    if factor is None or not factor.started:
        raise ActionRefused("there is no secret to confirm; POST /auth/totp makes one")
    subject = f"code {session}"
    await client.check_guesses(subject)
    step = totp.matching_step(factor.started, code, accounts.journal.clock.seconds())
    if step is None:
        await client.count_guess(subject)
        raise Invalid(Fault("/code", "is not the code of this moment"))
    await client.clear_guesses(subject)
    random = accounts.runtime.random_bytes
    codes = [totp.recovery_code(random(totp.RECOVERY_BYTES)) for _ in range(totp.RECOVERY_CODES)]
    hashes = tuple(totp.recovery_hash(one) for one in codes)
    result = await client.execute(EnableTotp(user.id, factor.started, step, hashes))
    return Confirmed(result, codes)


async def disable(
    accounts: Accounts, client: GuessingClient, user: User, session: str, password: str
) -> CommandResult:
    """Remove the second factor; raises `WrongPassword` and `ActionRefused`."""
    await accounts.confirm(client, user, session, password)
    return await client.execute(DisableTotp(user.id, user.password_hash))


async def log_in(
    accounts: Accounts, client: GuessingClient, challenge: str, code: str, device: Device
) -> Grant:
    """Start a session of a user whose password was right; raises `InvalidCredentials`.

    A wrong code is counted as a failed login, but a challenge that is not good is not.
    """
    state = await client.current_state()
    user = _challenged(accounts, state, challenge)
    with accounts.count_failure(client, user.username, device):
        return await _log_in(accounts, client, state, user, code, device)


async def _log_in(  # noqa: PLR0917 - all of one login
    accounts: Accounts, client: GuessingClient, state: State, user: User, code: str, device: Device
) -> Grant:
    subject = f"code {client.address} {counted_name(user.username, user.password_hash)}"
    await client.check_guesses(subject)
    use = await _use_of(accounts, client, state, user, code)
    if use is None:
        await client.count_guess(subject)
        raise InvalidCredentials("the code is wrong, or was used before")
    await client.check_guesses(subject)
    grant = await accounts.start_session(client, user, device, use)
    await client.clear_guesses(subject)
    return grant


def _challenged(accounts: Accounts, state: State, challenge: str) -> User:
    """The user of a challenge that is still good; raises `InvalidCredentials`."""
    numbers = numbers_of(challenge)
    if (
        numbers is not None
        and len(numbers) == 3
        and accounts.texts.is_genuine("second-factor", challenge, state.last.source)
    ):
        number, password_at, expires = numbers
        user = state.users.by_id.get(number)
        if (
            user is not None
            and state.second_factors.of(number) is not None
            and user.password_at == password_at
            and expires > accounts.journal.clock.seconds()
        ):
            return user
    raise InvalidCredentials("the challenge is not good, or not any more; log in again")


async def _use_of(
    accounts: Accounts,
    client: GuessingClient,
    state: State,
    user: User,
    code: str,
) -> UseSecondFactor | None:
    """The use of a right code; ``None`` for a wrong one.

    Codes are short, so their guesses are counted for the whole account as well. That must not lock
    the owner out: recovery codes, which are long, are not counted there, and neither are addresses
    from which the user is logged in.
    """
    factor = state.second_factors.by_user[user.id]
    recovery_hash = totp.recovery_hash(code)
    if recovery_hash in factor.recovery_hashes:
        return UseSecondFactor(user.id, recovery_hash=recovery_hash)
    is_known = client.address in _addresses(state, user)
    subject = f"codes {counted_name(user.username, user.password_hash)}"
    if not is_known:
        await client.check_guesses(subject, whole_account=True)
    step = totp.matching_step(factor.secret, code, accounts.journal.clock.seconds())
    if step is not None and step > factor.step:
        if not is_known:  # Parallel guesses learn no more than sequential ones.
            await client.check_guesses(subject, whole_account=True)
        return UseSecondFactor(user.id, step=step)
    if not is_known:
        await client.count_guess(subject, whole_account=True)
    return None


def _addresses(state: State, user: User) -> set[str]:
    """The addresses from which a user is logged in, as `Client.address` has them."""
    sessions = state.sessions.ids_by_user.get(user.id, frozenset())
    found = (state.sessions.by_id[one].address for one in sessions)
    return {counted_address(one) for one in found if one is not None}
