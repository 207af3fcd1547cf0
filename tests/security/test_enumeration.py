"""No answer reveals which accounts and addresses exist, except that of a registration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import pytest

from eventapi.commands.users import DisableUser, EraseUser
from eventapi.http.routes import mailed_links
from tests.end_to_end.server import Command, by_serve
from tests.eventapi.http.client import (
    OPERATOR,
    PASSWORD,
    Api,
    Caller,
    credentials,
    quiet_settings,
    registration,
)
from tests.eventapi.http.links import email_token, last_reset_token, number_of
from tests.eventapi.http.routes.test_second_factors import Guarded
from tests.security import forgotten

SAMPLES = 5_000
PREFIXES = ("/auth", "/api/v1/auth", "/api/v2/auth")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer at once: `forgotten` measures the time."""
    monkeypatch.setattr(mailed_links, "ANSWER_SECONDS", 0.001)


@pytest.fixture(params=["off", "1000/minute"], ids=["unlimited", "limited"])
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    with Api(quiet_settings(rate_limit_login=request.param)) as running:
        yield running


def accounts(api: Api) -> dict[str, str]:
    """A name of each kind of account; its address is that name at example.org."""
    disabled, erased, changed = (api.caller() for _ in range(3))
    verified = api.caller(prefix="/api/v2")
    body = {"token": email_token(verified, f"{verified.name}@example.org")}
    assert api.request("POST", "/auth/email/verify", json=body).status_code == 204
    api.execute(DisableUser(disabled.name, OPERATOR))
    api.execute(EraseUser(erased.name, OPERATOR))
    body = {"email": "pending@example.org"}
    assert changed.under("/api/v2").patch("/auth/me", json=body).status_code == 200
    return {
        "unknown": "no-such-one",
        "known": api.caller().name,
        "verified": verified.name,
        "second factor": Guarded(api).caller.name,
        "disabled": disabled.name,
        "erased": erased.name,
        "changing": changed.name,
        "pending": "pending",
    }


def seen(answer: httpx.Response) -> tuple[int, object, str]:
    """Everything that a client sees of an answer, except the request's id and counters."""
    request_id = answer.headers["x-request-id"]
    counted = {"x-request-id", "ratelimit", "content-length"}
    headers = {name: value for name, value in answer.headers.items() if name not in counted}
    return answer.status_code, headers, answer.text.replace(request_id, "")


def assert_alike(answers: Mapping[str, httpx.Response]) -> None:
    for name, answer in answers.items():
        assert seen(answer) == seen(answers["unknown"]), name


Ask = Callable[[Api, str, str], httpx.Response]
"""Sends a request about the account with a name to a prefix."""


def forgot(api: Api, prefix: str, name: str) -> httpx.Response:
    body = {"email": f"{name}@example.org"}
    return api.request("POST", f"{prefix}/password/forgot", json=body)


def request_verification(api: Api, prefix: str, name: str) -> httpx.Response:
    body = {"email": f"{name}@example.org"}
    return api.request("POST", f"{prefix}/email/verification", json=body)


def log_in(api: Api, prefix: str, name: str) -> httpx.Response:
    return api.request("POST", f"{prefix}/login", json=credentials(name, "a wrong password"))


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("ask", [forgot, request_verification, log_in])
def test_answers_about_an_account_do_not_reveal_it(api: Api, ask: Ask, prefix: str) -> None:
    names = accounts(api)
    for _ in range(5):  # So many that mails are limited.
        assert_alike({kind: ask(api, prefix, name) for kind, name in names.items()})


def test_a_registration_reveals_that_a_name_or_an_address_is_taken_and_no_more(api: Api) -> None:
    taken = accounts(api)
    del taken["unknown"], taken["erased"]
    for member in ("email", "username"):
        found = set()
        for kind, name in taken.items():
            value = f"{name}@example.org" if member == "email" else name
            body = registration(f"new-{name}") | {member: value}
            if kind == "pending" and member == "username":
                continue  # Nobody has this name.
            answer = api.request("POST", "/api/v2/auth/register", json=body)
            status, headers, text = seen(answer)
            found.add((status, str(headers), text.replace(value, "VALUE")))
        assert [status for status, _, _ in found] == [409], found


def test_an_erased_name_and_address_register_like_unknown_ones(api: Api) -> None:
    names = accounts(api)
    answers = [
        api.request("POST", "/api/v2/auth/register", json=registration(names[kind]))
        for kind in ("unknown", "erased")
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json().keys() == answers[1].json().keys()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_links_and_challenges_do_not_reveal_their_user(api: Api, prefix: str) -> None:
    """The tokens begin with the number of the user, which anybody can change."""
    ann = Guarded(api)
    other, erased = api.caller(), api.caller()
    forgot(api, "/auth", ann.caller.name)
    reset = last_reset_token(api).partition(".")[2]
    verification = email_token(ann.caller, "x@example.org").partition(".")[2]
    challenge = ann.challenge().partition(".")[2]
    numbers = {"known": number_of(other), "erased": number_of(erased), "unknown": 99_999}
    api.execute(EraseUser(erased.name, OPERATOR))
    for path, member, text, further in (
        ("/password/reset", "token", reset, {"new_password": "another password"}),
        ("/email/verify", "token", verification, {}),
        ("/login/second-factor", "challenge", challenge, {"code": "123456"}),
    ):
        bodies: dict[str, dict[str, Any]] = {
            kind: {member: f"{number}.{text}", **further} for kind, number in numbers.items()
        }
        answers = {
            kind: api.request("POST", prefix + path, json=body) for kind, body in bodies.items()
        }
        assert {answer.status_code for answer in answers.values()} <= {401, 422}
        # Version 1 repeats what the client sent, as FastAPI does.
        texts = {
            kind: seen(answer)[2].replace(f"{numbers[kind]}.{text}", "TOKEN")
            for kind, answer in answers.items()
        }
        assert texts == dict.fromkeys(texts, texts["unknown"])
        heads = {kind: seen(answer)[:2] for kind, answer in answers.items()}
        assert heads == dict.fromkeys(heads, heads["unknown"])


def test_keys_of_others_disabled_and_erased_users_look_unknown(api: Api) -> None:
    def key_of(owner: Caller) -> dict[str, Any]:
        key: dict[str, Any] = owner.post("/auth/keys", json={"name": "a key"}).json()
        return key

    owners = {name: api.caller(prefix="/api/v2") for name in ("known", "disabled", "erased")}
    keys = {name: key_of(owner) for name, owner in owners.items()}
    for name, command in (("disabled", DisableUser), ("erased", EraseUser)):
        api.execute(command(owners[name].name, OPERATOR))
    ids = {name: key["id"] for name, key in keys.items()} | {"unknown": "0" * 20}
    eve = api.caller(prefix="/api/v2")
    assert_alike({name: eve.delete(f"/auth/keys/{number}") for name, number in ids.items()})

    def use(number: str) -> httpx.Response:
        secret = "0" * 64
        text = f"eak_{number}_{secret}"
        return api.request("GET", "/api/v2/items", token=f"{text}_{crc32(text.encode()):08x}")

    assert_alike({name: use(number) for name, number in ids.items()})


def test_a_password_comes_before_every_other_check_of_a_login(api: Api) -> None:
    """The control: with the right password, the answers differ."""
    names = accounts(api)
    answers = {
        kind: api.request("POST", "/api/v2/auth/login", json=credentials(name, PASSWORD))
        for kind, name in names.items()
    }
    assert {kind: answer.status_code for kind, answer in answers.items()} == {
        "unknown": 401,
        "known": 200,
        "verified": 200,
        "second factor": 401,
        "disabled": 403,
        "erased": 401,
        "changing": 200,
        "pending": 401,
    }
    assert answers["second factor"].json()["type"] == "/problems/second-factor-required"
    with pytest.raises(AssertionError):
        assert_alike(answers)


# Time


@pytest.mark.parametrize("command", [by_serve, forgotten.slow], ids=["disk", "slow disk"])
def test_the_time_of_an_answer_does_not_reveal_an_address(tmp_path: Path, command: Command) -> None:
    mailed_links.ANSWER_SECONDS = 0.25  # type: ignore[misc]  # restored by the fixture
    area = forgotten.area_of(tmp_path, SAMPLES, command)
    assert abs(area - 0.5) < forgotten.LIMIT - 0.5


def test_control_answers_after_the_write_reveal_an_address(tmp_path: Path) -> None:
    area = forgotten.area_of(tmp_path, 500, forgotten.eager, connections=4)
    assert area > 0.9
