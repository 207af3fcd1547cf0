"""Attacks on accounts: floods, guessed addresses, and names in counters."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventapi.bootstrap import services
from eventapi.ratelimit.shared_counters import SharedCounters
from tests.eventapi.http.client import (
    PASSWORD,
    SECRET,
    Api,
    assert_problem,
    credentials,
    quiet_settings,
    registration,
)

# Floods that keep the hashing threads busy


def attack_by(kind: str, token: str) -> tuple[str, str, dict[str, Any]]:
    """A request of the attacker: a password change or a login."""
    if kind == "change":
        body = {"current_password": PASSWORD, "new_password": PASSWORD}
        return ("POST", "/auth/password", {"json": body, "token": token})
    return ("POST", "/auth/login", {"json": credentials("mallory")})


@pytest.mark.parametrize("attack", ["change", "login"])
def test_a_flood_of_one_account_does_not_refuse_logins_of_others(api: Api, attack: str) -> None:
    mallory = api.caller("mallory")
    others = [api.caller(f"other{number}") for number in range(20)]
    logins = [("POST", "/auth/login", {"json": credentials(other.name)}) for other in others]

    answers = api.request_all([attack_by(attack, mallory.token)] * 90 + logins)

    assert [answer.status_code for answer in answers[90:]] == [200] * 20
    refused = [answer for answer in answers[:90] if answer.status_code == 429]
    assert len(refused) > 40
    for answer in refused:
        assert_problem(answer, 429, "rate-limited")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["ratelimit"].startswith('"passwords";r=0;')


def test_a_flood_of_registrations_leaves_room_for_logins(api: Api) -> None:
    login = ("POST", "/auth/login", {"json": credentials(api.caller("ann").name)})
    flood = [("POST", "/auth/register", {"json": registration(f"new{n}")}) for n in range(90)]

    answers = api.request_all([*flood, *[login] * 20])

    assert [answer.status_code for answer in answers[90:]] == [200] * 20


# Guessed email addresses


def test_changes_of_the_own_address_are_limited_like_registrations() -> None:
    settings = quiet_settings(rate_limit_login="20/minute")
    with Api(settings) as api:
        ann = api.caller("ann")

        def guess(number: int) -> httpx.Response:
            return ann.patch("/auth/me", json={"email": f"guess{number}@example.org"})

        statuses = Counter(guess(number).status_code for number in range(40))
        assert statuses == {200: 18, 429: 22}, "a registration and a login count, too"
        assert_problem(guess(99), 429, "rate-limited")
        assert ann.patch("/auth/me", json={"full_name": "Ann"}).status_code == 200


def test_a_user_with_many_client_addresses_has_the_same_limit() -> None:
    settings = quiet_settings(rate_limit_login="20/minute", trusted_proxies=("127.0.0.1",))
    with Api(settings) as api:
        ann = api.caller("ann")
        statuses = Counter(
            ann.patch(
                "/auth/me",
                json={"email": f"guess{number}@example.org"},
                headers={"x-forwarded-for": f"198.51.100.{number}"},
            ).status_code
            for number in range(40)
        )
        assert statuses == {200: 20, 429: 20}


# Names of erased users in the shared counters


@contextmanager
def limited_by(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """An app in memory whose shared counters are a file."""
    monkeypatch.setattr(services, "SharedCounters", lambda _, secret: SharedCounters(path, secret))
    with Api(quiet_settings(rate_limit_login="1000/minute")) as api:
        yield api


def confirmed_names(path: Path, names: Iterable[str]) -> set[str]:
    """The names that an attacker with a dictionary and the key finds in the file."""
    content = path.read_bytes()
    table = SharedCounters(None, SECRET)
    found = set()
    for name in names:
        hidden = hashlib.blake2b(f"name {name}".encode(), digest_size=16).hexdigest()
        for rate in ("failures", "failures-hour", "email"):
            for key in (f"{rate} 127.0.0.1 {name}", f"{rate} 127.0.0.1 {hidden}"):
                bucket, tag = table._locate(key)
                if tag in struct.unpack_from("=8Q", content, bucket):
                    found.add(name)
    table.close()
    return found


def test_the_counters_do_not_confirm_the_name_of_an_erased_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "limits.table"
    with limited_by(path, monkeypatch) as api:
        ann = api.caller("ann")
        api.login("ann", "a wrong password")
        ann.patch("/auth/me", json={"email": "another@example.org"})
        ann.delete("/auth/me", json={"password": "a wrong password"})
        assert ann.erase().status_code == 204
        assert confirmed_names(path, ["ann", "ann@example.org", "users/1", "1"]) == set()


def test_control_a_name_that_is_counted_in_plain_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "limits.table"
    with limited_by(path, monkeypatch) as api:
        api.login("nobody", "a wrong password")
        assert confirmed_names(path, ["ann", "nobody"]) == {"nobody"}
