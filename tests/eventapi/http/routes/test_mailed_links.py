"""Forgotten passwords, and the verification of email addresses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from eventapi.commands.mailed_links import RESET_SECONDS
from eventapi.commands.users import DisableUser, EraseUser, SetEmail
from eventapi.http.routes import mailed_links
from events.errors import StorageFull
from projections.tables.users import User
from tests.eventapi.http.client import (
    OPERATOR,
    PASSWORD,
    Api,
    Caller,
    assert_problem,
    quiet_settings,
)
from tests.eventapi.http.links import email_token, last_reset_token, records, types
from tests.eventapi.http.logs import FailingLog

NEW = "a new password of eleven words"


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer at once: one test below is about the time."""
    monkeypatch.setattr(mailed_links, "ANSWER_SECONDS", 0.001)


@pytest.fixture
def ann(api: Api) -> Caller:
    return api.caller(prefix="/api/v2")


def forgot(caller: Caller, email: str | None = None) -> None:
    body = {"email": email or f"{caller.name}@example.org"}
    answer = caller.api.request("POST", "/api/v2/auth/password/forgot", json=body)
    assert (answer.status_code, answer.content) == (202, b"")


def reset(caller: Caller, token: str, password: str = NEW) -> httpx.Response:
    body = {"token": token, "new_password": password}
    return caller.api.request("POST", "/api/v2/auth/password/reset", json=body)


def assert_void(answer: httpx.Response) -> None:
    problem = assert_problem(answer, 422, "validation-failed")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/token"]


def test_a_link_sets_a_new_password_and_ends_every_session(ann: Caller) -> None:
    forgot(ann)
    answer = reset(ann, last_reset_token(ann.api))
    assert (answer.status_code, "event-position" in answer.headers) == (204, True)
    assert ann.get("/auth/me").status_code == 401
    assert ann.api.login(ann.name).status_code == 401
    assert ann.api.login(ann.name, NEW).status_code == 200


def test_a_link_works_once(ann: Caller) -> None:
    forgot(ann)
    token = last_reset_token(ann.api)
    assert reset(ann, token).status_code == 204
    before = len(types(ann.api))
    assert_void(reset(ann, token, "another new password"))
    assert len(types(ann.api)) == before


def test_all_outstanding_links_are_void_after_a_new_password(ann: Caller) -> None:
    forgot(ann)
    first = last_reset_token(ann.api)
    forgot(ann)
    second = last_reset_token(ann.api)
    assert reset(ann, first).status_code == 204
    assert_void(reset(ann, second))


def test_two_uses_of_a_link_at_once_have_one_effect(ann: Caller) -> None:
    forgot(ann)
    token = last_reset_token(ann.api)
    bodies = [{"token": token, "new_password": f"{NEW} {number}"} for number in range(5)]
    answers = ann.api.request_all(
        ("POST", "/api/v2/auth/password/reset", {"json": body}) for body in bodies
    )
    assert sorted(answer.status_code for answer in answers) == [204, 422, 422, 422, 422]


def test_a_link_is_void_after_the_password_was_changed(ann: Caller) -> None:
    forgot(ann)
    body = {"current_password": PASSWORD, "new_password": NEW}
    assert ann.post("/auth/password", json=body).status_code == 204
    assert_void(reset(ann, last_reset_token(ann.api), "another new password"))


def test_the_links_of_disabled_and_erased_users_are_void(api: Api) -> None:
    for command in (DisableUser, EraseUser):
        user = api.caller(prefix="/api/v2")
        forgot(user)
        api.execute(command(user.name, OPERATOR))
        assert_void(reset(user, last_reset_token(api)))


def test_every_changed_bit_of_a_link_is_refused(ann: Caller) -> None:
    forgot(ann)
    token = last_reset_token(ann.api)
    before = len(types(ann.api))
    for at in range(len(token)):
        for bit in range(7):
            changed = token[:at] + chr(ord(token[at]) ^ 1 << bit) + token[at + 1 :]
            answer = reset(ann, changed)
            assert answer.status_code == 422, changed
    assert len(types(ann.api)) == before
    assert reset(ann, token).status_code == 204


def test_unknown_disabled_and_erased_users_get_the_answer_of_known_ones(api: Api) -> None:
    users = [api.caller() for _ in range(2)]
    for user, command in zip(users, (DisableUser, EraseUser), strict=True):
        api.execute(command(user.name, OPERATOR))
    before = len(types(api))
    for email in ("nobody@example.org", *(f"{user.name}@example.org" for user in users)):
        forgot(users[0], email)
    assert types(api, before) == []


def test_requests_for_mail_are_limited_by_address_without_a_word(api: Api) -> None:
    with Api(quiet_settings(rate_limit_login="1000/minute")) as limited:
        ann = limited.caller(prefix="/api/v2")
        for _ in range(8):
            forgot(ann)
        assert types(limited).count("user.password_reset_requested") == 3


@pytest.mark.parametrize("path", ["password/forgot", "email/verification"])
def test_a_full_log_is_reported_alike_for_known_and_unknown_addresses(path: str) -> None:
    """A mail needs an event, and an unknown address has none."""
    log = FailingLog()
    with Api(log=log) as api:
        ann = api.caller()
        log.failure = StorageFull("no room")
        for name in (ann.name, "unknown"):
            body = {"email": f"{name}@example.org"}
            answer = api.request("POST", f"/api/v2/auth/{path}", json=body)
            assert_problem(answer, 507, "storage-full")
        log.failure = None
        before = len(types(api))
        assert api.request("POST", f"/api/v2/auth/{path}", json=body).status_code == 202
        assert types(api, before) == []


def ask_for_a_day(limited: Api, path: str, email: str, seconds: int) -> list[int]:
    """Ask for mails for a day, as a stranger may; return when the requests had an event."""
    now, found = 0.0, []
    counters: Any = limited.edge.services.rate_limiter
    counters._counts._counters._clock = lambda: now
    for moment in range(0, 86_400, seconds):
        now, before = float(moment), len(types(limited))
        limited.request("POST", f"/api/v2/auth/{path}", json={"email": email})
        if len(types(limited)) > before:
            found.append(moment)
    return found


def test_a_stranger_who_uses_up_the_mails_does_not_lock_the_owner_out() -> None:
    with Api(quiet_settings(rate_limit_login="1000/minute")) as limited:
        ann = limited.caller(prefix="/api/v2")
        sent = ask_for_a_day(limited, "password/forgot", f"{ann.name}@example.org", 307)
    gaps = [later - before for before, later in pairwise([*sent, 86_400])]
    assert max(gaps) < RESET_SECONDS + 307, "there is a moment without a valid link"
    assert len(sent) < 40


def test_requests_for_verifications_use_up_no_mail_about_the_password() -> None:
    with Api(quiet_settings(rate_limit_login="1000/minute")) as limited:
        ann = limited.caller(prefix="/api/v2")
        email = f"{ann.name}@example.org"
        token = email_token(ann, email)
        ask_for_a_day(limited, "email/verification", email, 1_800)
        before = len(types(limited))
        forgot(ann)
        assert types(limited, before) == ["user.password_reset_requested"]
        assert verify(ann, token).status_code == 204


def test_a_mailed_link_verifies_the_address_and_an_operators_does_not(ann: Caller) -> None:
    forgot(ann)
    token = last_reset_token(ann.api, mailed=False)
    assert reset(ann, token).status_code == 204
    assert not ann.api.run(_user(ann)).email_verified
    forgot(ann)
    assert reset(ann, last_reset_token(ann.api), PASSWORD).status_code == 204
    assert ann.api.run(_user(ann)).email_verified


def test_a_mailed_link_is_void_once_another_address_counts(ann: Caller) -> None:
    forgot(ann)
    mailed = last_reset_token(ann.api)
    handed = last_reset_token(ann.api, mailed=False)
    ann.api.execute(SetEmail(ann.name, f"new-{ann.name}@example.org", OPERATOR))
    assert_void(reset(ann, mailed))
    assert reset(ann, handed).status_code == 204
    assert not ann.api.run(_user(ann)).email_verified


async def _user(caller: Caller) -> User:
    state = await caller.api.edge.services.journal.state()
    user: User = state.users.find_by_username(caller.name)
    return user


def verify(caller: Caller, token: str) -> httpx.Response:
    body = {"token": token}
    return caller.api.request("POST", "/api/v2/auth/email/verify", json=body)


def test_a_changed_address_counts_once_it_is_verified(ann: Caller) -> None:
    old, new = f"{ann.name}@example.org", f"{ann.name}.new@example.org"
    assert verify(ann, email_token(ann, old)).status_code == 204
    assert ann.patch("/auth/me", json={"email": new}).status_code == 200
    before = len(types(ann.api))
    forgot(ann, new)
    assert types(ann.api, before) == []
    forgot(ann, old)
    assert types(ann.api, before) == ["user.password_reset_requested"]
    assert verify(ann, email_token(ann, new)).status_code == 204
    before = len(types(ann.api))
    forgot(ann, old)
    assert types(ann.api, before) == []
    forgot(ann, new)
    assert types(ann.api, before) == ["user.password_reset_requested"]


def test_an_address_is_reserved_while_it_is_pending_and_while_it_counts(ann: Caller) -> None:
    old, new = f"{ann.name}@example.org", f"{ann.name}.new@example.org"
    assert ann.patch("/auth/me", json={"email": new}).status_code == 200
    eve = ann.api.caller(prefix="/api/v2")
    for taken in (old, new):
        answer = eve.patch("/auth/me", json={"email": taken})
        assert_problem(answer, 409, "email-taken")
    assert verify(ann, email_token(ann, new)).status_code == 204
    assert eve.patch("/auth/me", json={"email": old}).status_code == 200


def test_a_second_use_of_a_verified_link_writes_nothing(ann: Caller) -> None:
    token = email_token(ann, f"{ann.name}@example.org")
    assert verify(ann, token).status_code == 204
    before = len(types(ann.api))
    assert verify(ann, token).status_code == 204
    assert types(ann.api, before) == []


def test_the_link_of_an_address_that_was_replaced_is_void(ann: Caller) -> None:
    new = f"{ann.name}.new@example.org"
    assert ann.patch("/auth/me", json={"email": new}).status_code == 200
    token = email_token(ann, new)
    assert ann.patch("/auth/me", json={"email": f"{ann.name}.3@example.org"}).status_code == 200
    assert_void(verify(ann, token))


def test_every_changed_bit_of_a_verification_is_refused(ann: Caller) -> None:
    token = email_token(ann, f"{ann.name}@example.org")
    before = len(types(ann.api))
    for at in range(len(token)):
        for bit in range(7):
            changed = token[:at] + chr(ord(token[at]) ^ 1 << bit) + token[at + 1 :]
            assert verify(ann, changed).status_code == 422, changed
    assert len(types(ann.api)) == before
    assert verify(ann, token).status_code == 204


def test_another_verification_is_requested_with_and_without_a_token(ann: Caller) -> None:
    before = len(types(ann.api))
    assert ann.post("/auth/email/verification").status_code == 202
    body = {"email": f"{ann.name}@example.org"}
    path = "/api/v2/auth/email/verification"
    assert ann.api.request("POST", path, json=body).status_code == 202
    assert types(ann.api, before) == ["user.email_verification_requested"] * 2
    assert_problem(ann.api.request("POST", path, json={}), 422, "validation-failed")
    assert verify(ann, email_token(ann, body["email"])).status_code == 204
    before = len(types(ann.api))
    assert ann.post("/auth/email/verification").status_code == 202
    assert types(ann.api, before) == []


def test_a_request_with_a_token_has_the_position_of_the_log(ann: Caller) -> None:
    """Without one it would reveal whether an account has the address."""
    email, before = f"{ann.name}@example.org", ann.api.log.position
    path = "/api/v2/auth/email/verification"

    written = ann.post("/auth/email/verification")
    token = email_token(ann, email)
    verified, again = verify(ann, token), verify(ann, token)
    needless = ann.post("/auth/email/verification")
    anonymous = ann.api.request("POST", path, json={"email": email})

    positions = [
        int(answer.headers["event-position"]) for answer in (written, verified, again, needless)
    ]
    assert positions[0] == before + 1
    assert positions[1:] == [positions[1]] * 3
    assert positions[1] == ann.api.log.position > positions[0]
    assert "event-position" not in anonymous.headers


def test_logins_need_a_verified_address_where_the_server_requires_it() -> None:
    with Api(quiet_settings(require_verified_email="on")) as api:
        api.register("ann")
        answer = api.request(
            "POST", "/api/v2/auth/login", json={"username": "ann", "password": PASSWORD}
        )
        assert_problem(answer, 403, "email-unverified")
        ann = Caller(api, "ann", {}, "/api/v2")
        assert verify(ann, email_token(ann, "ann@example.org")).status_code == 204
        assert api.login("ann").status_code == 200


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits of these endpoints, which then do not wait."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    # Not `asyncio.sleep` itself: background tasks would never yield.
    monkeypatch.setattr(mailed_links, "asyncio", SimpleNamespace(sleep=sleep))
    return found


def test_answers_about_an_address_come_after_a_multiple_of_a_fixed_time(
    ann: Caller, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailed_links, "ANSWER_SECONDS", 50.0)
    forgot(ann)
    forgot(ann, "nobody@example.org")
    assert len(slept) == 2
    assert all(40 < seconds <= 50 for seconds in slept)


def test_a_random_part_of_the_time_hides_the_rounding_of_timers(
    ann: Caller, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailed_links, "ANSWER_SECONDS", 50.0)
    monkeypatch.setattr(mailed_links, "JITTER_MICROSECONDS", 40_000_000)
    for _ in range(30):
        forgot(ann, "nobody@example.org")
    assert max(slept) - min(slept) > 10


def test_the_log_has_no_token(ann: Caller) -> None:
    forgot(ann)
    token = last_reset_token(ann.api)
    assert reset(ann, token).status_code == 204
    text = b"".join(ann.api.log_lines()).decode()
    assert token not in text
    assert token.rpartition(".")[2] not in text
    assert {record.actor for record in records(ann.api)} >= {f"users/{token.partition('.')[0]}"}


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """An app of this module in this process, because tests look into its services."""
    with Api() as running:
        yield running
