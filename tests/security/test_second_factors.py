"""Guessed and repeated codes of the second factor, from many addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from tests.end_to_end.server import ROOT
from tests.eventapi.http.client import PASSWORD, Api, assert_problem, quiet_settings
from tests.eventapi.http.routes.test_second_factors import V2, Guarded

GUESSES = 10_000
ACCOUNT_LIMIT = 100
OWNER, STRANGER = "192.0.2.1", "203.0.113.1"
HOME, HOME_LATER = "2001:db8:1:2::1", "2001:db8:1:2:ffff::2"
"""Two addresses of one IPv6 network: a host changes its address every day (RFC 8981)."""


def finish(ann: Guarded, code: str, address: str, challenge: str | None = None) -> httpx.Response:
    """Finish a login from an address."""
    body = {"challenge": challenge or log_in(ann, address), "code": code}
    headers = {"x-forwarded-for": address}
    return ann.api.request("POST", f"{V2}/auth/login/second-factor", json=body, headers=headers)


def log_in(ann: Guarded, address: str) -> str:
    """The challenge of a login from an address."""
    body = {"username": ann.caller.name, "password": PASSWORD}
    headers = {"x-forwarded-for": address}
    answer = ann.api.request("POST", f"{V2}/auth/login", json=body, headers=headers)
    challenge: str = answer.json()["challenge"]
    return challenge


def wrong_codes(ann: Guarded) -> Iterator[str]:
    right = {ann.code(steps) for steps in range(-3, 20)}
    return (f"{number:06}" for number in range(1_000_000) if f"{number:06}" not in right)


def attack(ann: Guarded, guesses: int) -> Counter[int]:
    """Send wrong codes, each from an address of its own, and count the statuses."""
    challenge = log_in(ann, STRANGER)
    found: Counter[int] = Counter()
    for number, code in zip(range(guesses), wrong_codes(ann), strict=False):
        address = f"198.{18 + number // 65_536}.{number // 256 % 256}.{number % 256}"
        found[finish(ann, code, address, challenge).status_code] += 1
    return found


def limited_api(limit: str) -> Api:
    return Api(quiet_settings(rate_limit_login=limit, trusted_proxies=("127.0.0.1",)))


def test_guesses_from_many_addresses_stop_and_do_not_lock_the_owner_out() -> None:
    with limited_api("1000000/minute") as api:
        ann = Guarded(api)
        assert finish(ann, ann.recovery_codes[0], OWNER).status_code == 200

        assert attack(ann, GUESSES) == {401: ACCOUNT_LIMIT, 429: GUESSES - ACCOUNT_LIMIT}

        code = ann.code()
        refused = finish(ann, code, STRANGER)
        assert_problem(refused, 429, "rate-limited")
        assert int(refused.headers["retry-after"]) > 0
        assert finish(ann, code, OWNER).status_code == 200, "from where the owner is logged in"
        assert finish(ann, ann.recovery_codes[1], STRANGER).status_code == 200, "from anywhere"
        other = Guarded(api)
        assert finish(other, other.code(), STRANGER).status_code == 200, "another account"


def test_an_owner_with_ipv6_is_known_by_the_network() -> None:
    with limited_api("1000000/minute") as api:
        ann = Guarded(api)
        assert finish(ann, ann.recovery_codes[0], HOME).status_code == 200
        attack(ann, 2 * ACCOUNT_LIMIT)
        assert finish(ann, ann.code(), STRANGER).status_code == 429
        assert finish(ann, ann.code(), HOME_LATER).status_code == 200


def test_control_without_limits_every_guess_is_checked() -> None:
    with limited_api("off") as api:
        ann = Guarded(api)
        assert attack(ann, 2 * ACCOUNT_LIMIT) == {401: 2 * ACCOUNT_LIMIT}
        assert finish(ann, ann.code(), STRANGER).status_code == 200


def test_guesses_from_one_address_stop_for_it_alone() -> None:
    with limited_api("1000000/minute") as api:
        ann = Guarded(api)
        challenge, codes = log_in(ann, STRANGER), wrong_codes(ann)
        found = [
            finish(ann, code, STRANGER, challenge).status_code
            for _, code in zip(range(10), codes, strict=False)
        ]
        assert found == [401] * 5 + [429] * 5
        assert finish(ann, ann.code(), OWNER).status_code == 200


def test_a_code_is_not_accepted_again_from_any_address_or_with_any_challenge() -> None:
    with limited_api("1000000/minute") as api:
        ann = Guarded(api)
        code, recovery = ann.code(), ann.recovery_codes[0]
        challenge = log_in(ann, OWNER)
        for right in (code, recovery):
            assert finish(ann, right, OWNER, challenge).status_code == 200
            for again in (OWNER, STRANGER):
                assert finish(ann, right, again, challenge).status_code == 401
                assert finish(ann, right, again).status_code == 401


def test_the_documentation_says_what_limits_that_are_off_mean() -> None:
    text = (ROOT / "docs/settings.md").read_text()
    (line,) = (line for line in text.splitlines() if "`EVENTAPI_RATE_LIMIT_LOGIN`" in line)
    assert "second factor" in line


ODD = ["", " ", "0", "1234567", "１２３４５６", "12345\u0660", "-" * 16, "\0" * 6]


@pytest.mark.parametrize("code", ODD)
def test_odd_codes_are_refused(code: str) -> None:
    with limited_api("off") as api:
        ann = Guarded(api)
        assert finish(ann, code, OWNER).status_code in {401, 422}
        assert finish(ann, ann.code(), OWNER).status_code == 200
