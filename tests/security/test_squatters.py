"""A stranger who registers with an address that belongs to another person.

The owner of the mailbox takes the account over with a link that was mailed there. That is the first
proof of who owns the address, so nothing that the stranger set up may survive it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from eventapi.commands.command import Command
from eventapi.commands.mailed_links import ResetPassword
from eventapi.http.routes import mailed_links
from projections.state import State
from tests.eventapi.http.client import PASSWORD, Api, Caller, credentials
from tests.eventapi.http.links import email_token, last_reset_token, types
from tests.eventapi.http.routes.test_keys import make, use
from tests.eventapi.http.routes.test_second_factors import Guarded

V2 = "/api/v2"
NEW = "a password of the owner"


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer at once: another test is about the time."""
    monkeypatch.setattr(mailed_links, "ANSWER_SECONDS", 0.001)


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """An app of this module in this process, because tests look into its services."""
    with Api() as running:
        yield running


class Squatted:
    """An account that a stranger made with the address of another person."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.guarded = Guarded(api)
        self.stranger = self.guarded.caller
        self.address = f"{self.stranger.name}@example.org"
        self.keys = [make(self.stranger, name=name) for name in ("first", "second")]
        self.pending = f"{self.stranger.name}@stranger.example"
        body = {"email": self.pending}
        assert self.stranger.patch("/auth/me", json=body).status_code == 200
        self.pending_token = email_token(self.stranger, self.pending)

    def take_over(self, *, mailed: bool = True) -> list[str]:
        """Reset the password as the reader of the mail does; return the types of the events."""
        body = {"email": self.address}
        assert self.api.request("POST", f"{V2}/auth/password/forgot", json=body).status_code == 202
        before = len(types(self.api))
        token = last_reset_token(self.api, mailed=mailed)
        body = {"token": token, "new_password": NEW}
        answer = self.api.request("POST", f"{V2}/auth/password/reset", json=body)
        assert answer.status_code == 204, answer.text
        written = types(self.api, before)
        assert int(answer.headers["event-position"]) == before + len(written)
        return written

    def log_in(self) -> Caller:
        """A session of the owner, who has the new password alone."""
        answer = self.api.request(
            "POST", f"{V2}/auth/login", json=credentials(self.stranger.name, NEW)
        )
        assert answer.status_code == 200, answer.text
        return Caller(self.api, self.stranger.name, answer.json(), V2)

    def verify(self, token: str) -> int:
        body = {"token": token}
        return self.api.request("POST", f"{V2}/auth/email/verify", json=body).status_code


def use_a_session(squatted: Squatted) -> bool:
    return squatted.stranger.get("/auth/me").status_code == 200


def refresh_a_session(squatted: Squatted) -> bool:
    body = {"refresh_token": squatted.stranger.tokens["refresh_token"]}
    return squatted.api.request("POST", f"{V2}/auth/refresh", json=body).status_code == 200


def log_in_with_the_old_password(squatted: Squatted) -> bool:
    body = credentials(squatted.stranger.name, PASSWORD)
    return squatted.api.request("POST", f"{V2}/auth/login", json=body).status_code == 200


def read_with_a_key(squatted: Squatted) -> bool:
    return any(
        use(squatted.stranger, key, "GET", "/items").status_code == 200 for key in squatted.keys
    )


def write_with_a_key(squatted: Squatted) -> bool:
    body = {"title": "a trace of the stranger"}
    return any(
        use(squatted.stranger, key, "POST", "/items", json=body).status_code == 201
        for key in squatted.keys
    )


def keep_the_owner_out(squatted: Squatted) -> bool:
    body = credentials(squatted.stranger.name, NEW)
    answer = squatted.api.request("POST", f"{V2}/auth/login", json=body)
    return answer.status_code == 401


def move_the_account(squatted: Squatted) -> bool:
    return squatted.verify(squatted.pending_token) == 204


ATTACKS: Sequence[Callable[[Squatted], bool]] = [
    use_a_session,
    refresh_a_session,
    log_in_with_the_old_password,
    read_with_a_key,
    write_with_a_key,
    keep_the_owner_out,
    move_the_account,
]
"""Each returns whether the stranger succeeds."""


def successes(squatted: Squatted) -> set[str]:
    return {attack.__name__ for attack in ATTACKS if attack(squatted)}


def test_nothing_of_a_squatter_survives_the_first_proof_of_the_address(api: Api) -> None:
    squatted = Squatted(api)
    assert sorted(squatted.take_over()) == [
        "key.revoked",
        "key.revoked",
        "user.email_changed",
        "user.password_reset",
        "user.totp_disabled",
    ]
    assert successes(squatted) == set()
    owner = squatted.log_in()
    assert owner.get("/auth/keys").json() == []
    found = owner.get("/auth/me").json()
    assert (found["email"], found["email_verified"]) == (squatted.address, True)
    assert owner.post("/auth/totp").status_code == 200


def test_control_without_the_rule_key_factor_and_pending_address_survive(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ResetPassword, "withdrawals", lambda *_: ())
    squatted = Squatted(api)
    squatted.take_over()
    assert successes(squatted) == {
        "read_with_a_key",
        "write_with_a_key",
        "keep_the_owner_out",
        "move_the_account",
    }


def test_a_verified_user_keeps_keys_and_second_factor_but_no_pending_address(api: Api) -> None:
    """A thief of a session may have given the address, to move the account with it later."""
    user = Squatted(api)
    assert user.verify(email_token(user.stranger, user.address)) == 204
    assert user.take_over() == ["user.email_changed", "user.password_reset"]
    assert successes(user) == {"read_with_a_key", "write_with_a_key", "keep_the_owner_out"}


def test_a_link_from_an_operator_proves_no_address(api: Api) -> None:
    user = Squatted(api)
    assert user.take_over(mailed=False) == ["user.password_reset"]
    assert {"read_with_a_key", "keep_the_owner_out"} <= successes(user)


def test_a_second_reset_finds_the_address_proven(api: Api) -> None:
    squatted = Squatted(api)
    squatted.take_over()
    key = make(squatted.log_in())
    assert squatted.take_over() == ["user.password_reset"]
    assert use(squatted.stranger, key, "GET", "/items").status_code == 200


def test_a_key_that_is_made_during_the_reset_is_revoked_as_well(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account is read before the write, so the stranger may be in between."""
    squatted, commands = Squatted(api), ResetPassword.withdrawals
    raced: list[int] = []

    def race(self: ResetPassword, state: State) -> Sequence[Command]:
        found = commands(self, state)
        if len(found) == 4 and len(raced) < 3:
            raced.append(len(found))
            return found[1:]
        return found

    monkeypatch.setattr(ResetPassword, "withdrawals", race)
    assert squatted.take_over().count("key.revoked") == 2
    assert len(raced) == 3
    assert successes(squatted) == set()


def test_a_reset_that_is_raced_again_and_again_changes_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    squatted, commands = Squatted(api), ResetPassword.withdrawals
    before = len(types(api))
    calls: list[int] = []

    def race(self: ResetPassword, state: State) -> Sequence[Command]:
        calls.append(1)
        return commands(self, state)[1:] if len(calls) % 2 else commands(self, state)

    monkeypatch.setattr(ResetPassword, "withdrawals", race)
    body = {"email": squatted.address}
    api.request("POST", f"{V2}/auth/password/forgot", json=body)
    body = {"token": last_reset_token(api), "new_password": NEW}
    answer = api.request("POST", f"{V2}/auth/password/reset", json=body)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/overloaded")
    assert types(api, before) == ["user.password_reset_requested"]
    assert use_a_session(squatted)
