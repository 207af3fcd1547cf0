"""Whole flows of accounts, with a worker killed after each answer and the server killed once.

Each effect is in the log exactly once, and each mail arrives.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from pyotp import TOTP

from tests.end_to_end.account_client import (
    AccountClient,
    Victims,
    answering_worker,
    mail_holder,
    no_worker,
)
from tests.end_to_end.client import Answer
from tests.end_to_end.log_reader import read_log
from tests.end_to_end.mails import outbox
from tests.end_to_end.planted_accounts import SLOW_MAIL_SECONDS
from tests.end_to_end.server import Command, Server, by_serve, uvicorn_of
from tests.end_to_end.waiting import SECONDS, wait_until

FIRST = "correct horse battery staple"
SECOND = "a better horse of the same battery"
ANN = "ann@example.org"
NEW = "ann@new.example"
STEP_SECONDS = 30
Flow = Callable[[Server, AccountClient], Coroutine[Any, Any, None]]
Counts = dict[str, int]


async def register(ann: AccountClient) -> None:
    """Register twice with the same key: the second request finds the first result."""
    body = {"username": "ann", "email": ANN, "password": FIRST}
    for _ in range(2):
        await ann.expect(201, "POST", "/auth/register", body, Idempotency_Key='"ann"')


async def forgotten_password(_server: Server, ann: AccountClient) -> None:
    await register(ann)
    await ann.log_in("ann", FIRST)
    await ann.expect(202, "POST", "/auth/password/forgot", {"email": ANN})
    token = await ann.mailed_token(ANN, "password-reset")
    await ann.restart_server()
    body = {"token": token, "new_password": SECOND}
    await ann.expect(204, "POST", "/auth/password/reset", body)
    await ann.expect(422, "POST", "/auth/password/reset", body)
    await ann.expect(401, "GET", "/auth/me")
    await ann.expect(401, "POST", "/auth/login", {"username": "ann", "password": FIRST})
    await ann.log_in("ann", SECOND)
    assert (await ann.expect(200, "GET", "/auth/me")).json()["email_verified"]


async def verified_addresses(_server: Server, ann: AccountClient) -> None:
    await register(ann)
    first = await ann.mailed_token(ANN, "verification")
    for _ in range(2):
        await ann.expect(204, "POST", "/auth/email/verify", {"token": first})
    await ann.log_in("ann", FIRST)
    await ann.expect(200, "PATCH", "/auth/me", {"email": NEW})
    second = await ann.mailed_token(NEW, "verification")
    await ann.restart_server()
    await ann.expect(422, "POST", "/auth/email/verify", {"token": first + "0"})
    for _ in range(2):
        await ann.expect(204, "POST", "/auth/email/verify", {"token": second})
    await ann.expect(202, "POST", "/auth/password/forgot", {"email": ANN})
    me = (await ann.expect(200, "GET", "/auth/me")).json()
    assert (me["email"], me["email_verified"]) == (NEW, True)


async def api_keys(server: Server, ann: AccountClient) -> None:
    await register(ann)
    await ann.log_in("ann", FIRST)
    made = (await ann.expect(201, "POST", "/auth/keys", {"name": "nightly"})).json()
    own, ann.token = ann.token, made["key"]
    for _ in range(2):
        await ann.expect(201, "POST", "/items", {"title": "one"}, Idempotency_Key='"one"')
    await ann.restart_server()
    # The use is recorded after the answer, so a kill may prevent it until the next use.
    while "key.used" not in events(server):
        await ann.expect(200, "GET", "/items")
    await ann.expect(200, "GET", "/items")
    ann.token = own
    await ann.expect(204, "DELETE", f"/auth/keys/{made['id']}")
    await ann.expect(404, "DELETE", f"/auth/keys/{made['id']}")
    ann.token = made["key"]
    await ann.expect(401, "GET", "/items")
    (created,) = [line for line in lines(server) if line["type"] == "item.created"]
    assert created["apikey"] == made["id"]


async def second_factor(_server: Server, ann: AccountClient) -> None:
    await register(ann)
    await ann.log_in("ann", FIRST)
    app = TOTP((await ann.expect(200, "POST", "/auth/totp")).json()["secret"])
    code = {"code": app.at(int(time.time()))}
    confirmed = await ann.expect(200, "POST", "/auth/totp/confirm", code)
    await ann.expect(409, "POST", "/auth/totp/confirm", code)
    recovery = confirmed.json()["recovery_codes"][0]
    # A code may be one step early.
    for used in (app.at(int(time.time()) + STEP_SECONDS), recovery):
        answer = await complete_login(ann, used)
        assert answer.status == 200, answer
        ann.token = answer.json()["access_token"]
        refused = await complete_login(ann, used)
        assert refused.status == 401, refused
        await ann.restart_server()
    await ann.expect(204, "DELETE", "/auth/totp", {"password": FIRST})
    await ann.expect(409, "DELETE", "/auth/totp", {"password": FIRST})
    await ann.log_in("ann", FIRST)


async def complete_login(ann: AccountClient, code: str) -> Answer:
    body = {"username": "ann", "password": FIRST}
    answer = await ann.expect(401, "POST", "/auth/login", body, Authorization="")
    body = {"challenge": answer.json()["challenge"], "code": code}
    return await ann.ask("POST", "/auth/login/second-factor", body, Authorization="")


FLOWS: dict[str, tuple[Flow, Counts]] = {
    "forgotten password": (
        forgotten_password,
        {"session.started": 2, "user.password_reset_requested": 1, "user.password_reset": 1},
    ),
    "verified addresses": (
        verified_addresses,
        {"session.started": 1, "user.email_verified": 2, "user.email_changed": 1},
    ),
    "API keys": (
        api_keys,
        {
            "session.started": 1,
            "key.created": 1,
            "key.used": 1,
            "key.revoked": 1,
            "item.created": 1,
        },
    ),
    "second factor": (
        second_factor,
        {
            "session.started": 4,
            "user.totp_started": 1,
            "user.totp_enabled": 1,
            "user.second_factor_used": 2,
            "user.totp_disabled": 1,
        },
    ),
}


def lines(server: Server) -> list[dict[str, object]]:
    """The complete lines of the log."""
    *whole, _ = server.log.read_bytes().split(b"\n")
    return [json.loads(line) for line in whole]


def events(server: Server) -> Counter[str]:
    """The number of events of each type."""
    return Counter(str(line["type"]) for line in lines(server))


def run_flow(
    data: Path,
    flow: Flow,
    counts: Counts,
    victims: Victims,
    command: Command = by_serve,
    *,
    mail_seconds: float = SECONDS,
) -> None:
    """Run a flow over three workers, and check the log and the mails."""
    with Server(data, 3, command) as server:
        ann = AccountClient(server, victims, mail_seconds)
        asyncio.run(flow(server, ann))
        assert ann.killed or victims is no_worker
        wait_until(lambda: not missing_mails(server), mail_seconds)
        assert server.stop() == 0
    assert read_log(server.log).faults == []
    assert events(server) == {"user.registered": 1, **counts}


def missing_mails(server: Server) -> set[str]:
    """The files of mails that the log asks for and that are not in the outbox."""
    kinds = {
        "user.registered": ["verification"],
        "user.password_reset_requested": ["password-reset"],
        "user.email_changed": ["verification", "email-changed"],
    }
    wanted = {
        f"{int(str(line['id'])):012d}-user1-{kind}.eml"
        for line in lines(server)
        for kind in kinds.get(str(line["type"]), ())
    }
    return wanted - outbox(server).keys()


@pytest.mark.parametrize("victims", [answering_worker, mail_holder])
@pytest.mark.parametrize("name", FLOWS)
def test_each_effect_happens_once_although_processes_die(
    data: Path, name: str, victims: Victims
) -> None:
    run_flow(data, *FLOWS[name], victims)


PLANTED = "tests.end_to_end.planted_accounts"


@pytest.mark.parametrize(
    ("name", "bug", "victims", "mail_seconds"),
    [
        ("forgotten password", "links_work_again", answering_worker, SECONDS),
        ("API keys", "every_use_recorded", answering_worker, SECONDS),
        ("second factor", "codes_remembered_by_each_worker", answering_worker, SECONDS),
        # It loses a mail, so the test waits to the end.
        ("verified addresses", "follower_without_position", mail_holder, 3 * SLOW_MAIL_SECONDS),
    ],
)
def test_control_a_planted_bug_is_found(
    data: Path, name: str, bug: str, victims: Victims, mail_seconds: float
) -> None:
    flow, counts = FLOWS[name]
    command = uvicorn_of(f"{PLANTED}:{bug}")
    with pytest.raises((AssertionError, TimeoutError)):
        run_flow(data, flow, counts, victims, command, mail_seconds=mail_seconds)
