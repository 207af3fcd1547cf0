"""The second factor of logins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from pyotp import TOTP

from eventapi.security import totp
from tests.eventapi.http.client import (
    PASSWORD,
    Api,
    assert_problem,
    credentials,
    quiet_settings,
)
from tests.eventapi.http.links import types

V2 = "/api/v2"


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """An app of this module in this process, because tests look into its services."""
    with Api() as running:
        yield running


class Guarded:
    """A user with a second factor."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.caller = api.caller(prefix=V2)
        setup = self.caller.post("/auth/totp")
        assert setup.status_code == 200, setup.text
        self.secret = setup.json()["secret"]
        confirmed = self.caller.post("/auth/totp/confirm", json={"code": self.code(-1)})
        assert confirmed.status_code == 200, confirmed.text
        self.recovery_codes = confirmed.json()["recovery_codes"]

    def code(self, steps: int = 0) -> str:
        """The code of the current step, or of one so many steps later."""
        now = self.api.edge.services.journal.clock.seconds()
        return TOTP(self.secret).at(int(now) + 30 * steps)

    def challenge(self) -> str:
        answer = self.api.request("POST", f"{V2}/auth/login", json=credentials(self.caller.name))
        assert (answer.status_code, answer.json()["type"]) == (
            401,
            "/problems/second-factor-required",
        )
        challenge: str = answer.json()["challenge"]
        return challenge

    def finish(self, code: str, challenge: str | None = None) -> httpx.Response:
        body = {"challenge": challenge or self.challenge(), "code": code}
        return self.api.request("POST", f"{V2}/auth/login/second-factor", json=body)


@pytest.fixture
def ann(api: Api) -> Guarded:
    return Guarded(api)


def test_setup_answers_a_secret_and_a_uri(api: Api) -> None:
    user = api.caller(prefix=V2)
    setup: dict[str, Any] = user.post("/auth/totp").json()
    assert setup.keys() == {"secret", "uri"}
    assert len(setup["secret"]) == 32
    assert setup["uri"].startswith(f"otpauth://totp/eventapi:{user.name}?secret={setup['secret']}")


def test_an_unconfirmed_secret_changes_no_login(api: Api) -> None:
    user = api.caller(prefix=V2)
    assert user.post("/auth/totp").status_code == 200
    assert api.login(user.name).status_code == 200


def test_confirmation_needs_a_secret_and_its_code(api: Api) -> None:
    user = api.caller(prefix=V2)
    body = {"code": "123456"}
    assert_problem(user.post("/auth/totp/confirm", json=body), 409, "action-refused")
    secret = user.post("/auth/totp").json()["secret"]
    now = api.edge.services.journal.clock.seconds()
    wrong = {"code": TOTP(secret).at(int(now) - 300)}
    assert_problem(user.post("/auth/totp/confirm", json=wrong), 422, "validation-failed")


def test_a_login_needs_a_code(ann: Guarded) -> None:
    assert len(ann.recovery_codes) == len(set(ann.recovery_codes)) == 10
    answer = ann.finish(ann.code())
    assert answer.status_code == 200, answer.text
    me = ann.api.request("GET", "/auth/me", token=answer.json()["access_token"])
    assert me.json()["username"] == ann.caller.name
    assert types(ann.api)[-2:] == ["user.second_factor_used", "session.started"]


def test_a_form_login_and_version_1_need_a_code_as_well(ann: Guarded) -> None:
    form = credentials(ann.caller.name) | {"grant_type": "password"}
    for prefix in ("", "/api/v1", V2):
        answer = ann.api.request("POST", f"{prefix}/auth/login", data=form)
        assert answer.status_code == 401
        assert answer.json()["error"] == "invalid_grant"
        assert ann.finish(ann.recovery_codes.pop(), answer.json()["challenge"]).status_code == 200


def test_a_code_works_once(ann: Guarded) -> None:
    code = ann.code()
    first, second = ann.challenge(), ann.challenge()
    assert ann.finish(code, first).status_code == 200
    assert_problem(ann.finish(code, second), 401, "invalid-credentials")
    assert_problem(ann.finish(code, first), 401, "invalid-credentials")


def test_a_code_used_at_once_by_many_works_once(ann: Guarded) -> None:
    for code in (ann.code(), ann.recovery_codes[0]):
        challenges = [ann.challenge() for _ in range(5)]
        answers = ann.api.request_all(
            (
                "POST",
                f"{V2}/auth/login/second-factor",
                {"json": {"challenge": challenge, "code": code}},
            )
            for challenge in challenges
        )
        assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401]


def test_an_earlier_code_is_void_after_a_later_one(ann: Guarded) -> None:
    earlier = ann.code()
    assert ann.finish(ann.code(1)).status_code == 200
    assert_problem(ann.finish(earlier), 401, "invalid-credentials")


def test_the_code_of_the_confirmation_does_not_log_in(ann: Guarded) -> None:
    assert_problem(ann.finish(ann.code(-1)), 401, "invalid-credentials")


def test_each_recovery_code_works_once_in_any_spelling(ann: Guarded) -> None:
    spellings: tuple[Callable[[str], str], ...] = (
        str,
        str.upper,
        lambda code: code.replace("-", ""),
        lambda code: f" {code} ",
    )
    for code, spelling in zip(ann.recovery_codes, spellings, strict=False):
        assert ann.finish(spelling(code)).status_code == 200
        assert_problem(ann.finish(code), 401, "invalid-credentials")


def test_every_changed_bit_of_a_challenge_is_refused(ann: Guarded) -> None:
    challenge, code = ann.challenge(), ann.code()
    for at in range(len(challenge)):
        for bit in range(7):
            letter = chr(ord(challenge[at]) ^ 1 << bit)
            answer = ann.finish(code, challenge[:at] + letter + challenge[at + 1 :])
            assert answer.status_code == 401, letter
    assert ann.finish(code, challenge).status_code == 200


def test_a_challenge_is_void_after_a_new_password(ann: Guarded) -> None:
    challenge = ann.challenge()
    body = {"current_password": PASSWORD, "new_password": "another password"}
    assert ann.caller.post("/auth/password", json=body).status_code == 204
    assert_problem(ann.finish(ann.code(), challenge), 401, "invalid-credentials")


def test_removal_needs_the_password_and_frees_the_login(ann: Guarded) -> None:
    answer = ann.caller.delete("/auth/totp", json={"password": "wrong password"})
    assert_problem(answer, 403, "invalid-credentials")
    assert ann.caller.delete("/auth/totp", json={"password": PASSWORD}).status_code == 204
    assert ann.api.login(ann.caller.name).status_code == 200
    answer = ann.caller.delete("/auth/totp", json={"password": PASSWORD})
    assert_problem(answer, 409, "action-refused")


def test_a_second_secret_is_refused_while_one_is_on(ann: Guarded) -> None:
    assert_problem(ann.caller.post("/auth/totp"), 409, "action-refused")


def test_the_log_has_neither_secret_nor_codes_in_clear(ann: Guarded) -> None:
    text = b"".join(ann.api.log_lines()).decode()
    for secret in (ann.secret, *ann.recovery_codes, *map(totp.recovery_hash, ann.recovery_codes)):
        assert secret not in text


def test_wrong_codes_are_limited_and_recovery_codes_still_work() -> None:
    with Api(quiet_settings(rate_limit_login="1000/minute")) as api:
        ann = Guarded(api)
        challenge = ann.challenge()
        for _ in range(5):
            assert_problem(ann.finish("000000", challenge), 401, "invalid-credentials")
        assert_problem(ann.finish(ann.code(), challenge), 429, "rate-limited")
