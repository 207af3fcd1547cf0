"""Nothing of an erased account is in any file: names, addresses, keys, codes, devices, mails."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from pathlib import Path

import pytest
from pyotp import TOTP

from tests.end_to_end.account_client import AccountClient, no_worker
from tests.end_to_end.log_reader import read_log
from tests.end_to_end.mails import outbox
from tests.end_to_end.server import Server, by_serve
from tests.end_to_end.waiting import wait_until
from tests.security.test_canary import (
    files,
    find,
    key_of_the_first_user,
    places_of,
    run_cli,
)

PASSWORD = "canary password 88134"
TYPED = {
    "name": "canaryname",
    "address": "canary.first@example.org",
    "pending address": "canary.second@example.org",
    "full name": "Canary Fullname",
    "key name": "canary key 4471",
    "device": "canary-agent/7.1",
}
MAILS = 4
"""Verification of both addresses, a notice of the change, and a password reset."""


async def use_account(server: Server) -> dict[str, str]:
    """Use everything that an account has; return the secrets."""
    ann = AccountClient(server, no_worker)
    device = {"User_Agent": TYPED["device"]}
    body = {
        "username": TYPED["name"],
        "email": TYPED["address"],
        "full_name": TYPED["full name"],
        "password": PASSWORD,
    }
    await ann.expect(201, "POST", "/auth/register", body, **device)
    first = await ann.mailed_token(TYPED["address"], "verification")
    await ann.expect(204, "POST", "/auth/email/verify", {"token": first}, **device)
    login = {"username": TYPED["name"], "password": PASSWORD}
    granted = await ann.expect(200, "POST", "/auth/login", login, **device)
    ann.token = granted.json()["access_token"]
    await ann.expect(200, "PATCH", "/auth/me", {"email": TYPED["pending address"]}, **device)
    second = await ann.mailed_token(TYPED["pending address"], "verification")
    await ann.expect(202, "POST", "/auth/password/forgot", {"email": TYPED["address"]}, **device)
    reset = await ann.mailed_token(TYPED["address"], "password-reset")
    key = (await ann.expect(201, "POST", "/auth/keys", {"name": TYPED["key name"]})).json()["key"]
    used = {"Authorization": f"Bearer {key}", **device}
    await ann.expect(201, "POST", "/items", {"title": TYPED["full name"]}, **used)
    secret = (await ann.expect(200, "POST", "/auth/totp", **device)).json()["secret"]
    code = {"code": TOTP(secret).at(int(time.time()))}
    confirmed = await ann.expect(200, "POST", "/auth/totp/confirm", code, **device)
    codes = confirmed.json()["recovery_codes"]
    answer = await ann.expect(401, "POST", "/auth/login", login, Authorization="", **device)
    body = {"challenge": answer.json()["challenge"], "code": codes[0]}
    await ann.expect(200, "POST", "/auth/login/second-factor", body, Authorization="", **device)
    wait_until(lambda: b'"key.used"' in server.log.read_bytes())
    return {
        "session": ann.token,
        "API key": key,
        "TOTP secret": secret,
        "bytes of the TOTP secret": base64.b32decode(secret).decode("latin-1"),
        **{f"recovery code {number}": one for number, one in enumerate(codes)},
        "first link": first,
        "second link": second,
        "link for a password": reset,
        "password": PASSWORD,
    }


def values_of(secrets: dict[str, str]) -> dict[str, str]:
    """Everything to search for, also as the log has it before it is sealed."""
    bare = {
        f"hash of {name}": hashlib.sha256(code.replace("-", "").lower().encode()).hexdigest()
        for name, code in secrets.items()
        if name.startswith("recovery code")
    }
    return TYPED | secrets | bare


def searched(server: Server) -> dict[str, bytes]:
    """The files of the server, its output, and the names of the files."""
    found = files(server)
    return found | {"the names of files": "\n".join(found).encode()}


@pytest.mark.parametrize("by", ["http", "command"])
def test_nothing_of_an_erased_account_is_in_any_file(tmp_path: Path, by: str) -> None:
    settings = {
        "EVENTAPI_LOG_LEVEL": "debug",
        "EVENTAPI_LOG_FILE": str(tmp_path / "data" / "server.log"),
    }
    server = Server(tmp_path / "data", 2, by_serve, settings)
    with server:
        secrets = asyncio.run(use_account(server))
        wait_until(lambda: len(outbox(server)) == MAILS)
        assert run_cli(server, "snapshot").returncode == 0
        values, key = values_of(secrets), key_of_the_first_user(server)
        check_controls(server, values)
        if by == "http":
            ann = AccountClient(server, no_worker)
            ann.token = secrets["session"]
            asyncio.run(ann.expect(204, "DELETE", "/auth/me", {"password": PASSWORD}))
        else:
            done = run_cli(server, "users", "erase", TYPED["name"], "--yes")
            assert done.returncode == 0, done.stderr
        # Before the stop, because it merges and removes the journals of databases.
        assert find(searched(server), values) == []
        assert places_of(key, searched(server)) == []
        assert not outbox(server)
    assert find(searched(server), values) == []
    assert places_of(key, searched(server)) == []
    assert {"followers.sqlite", "vault.sqlite", "events.jsonl"} <= files(server).keys()


def check_controls(server: Server, values: dict[str, str]) -> None:
    """Before the erasure, the search finds what it must not find afterwards."""
    places = files(server)
    mails = {name: content for name, content in places.items() if name.startswith("outbox/")}
    named = {one.partition(" in ")[0] for one in find(mails, values)}
    links = {"first link", "second link", "link for a password"}
    assert named == {"name", "address", "pending address", *links}
    # Only mails have them in clear.
    assert find({name: places[name] for name in places.keys() - mails.keys()}, values) == []
    opened = json.dumps([dict(line.personal) for line in read_log(server.log).lines])
    found = {one.partition(" in ")[0] for one in find({"log": opened.encode()}, values)}
    assert found >= {*TYPED, "TOTP secret"}
    assert len([one for one in found if one.startswith("hash of recovery code")]) == 10
