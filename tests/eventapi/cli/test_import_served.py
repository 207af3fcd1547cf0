"""Unusual imported texts work in the API and in every command."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import jwt
import pytest
from argon2 import PasswordHasher

from eventapi.bootstrap.storage import open_journal
from eventapi.configuration.settings import Settings
from eventapi.testing.items import ITEMS
from events.log.file.log import JsonlLog
from events.sealing import Keyring
from events.vault.sqlite import SqliteVault
from projections.replay import replay
from tests.eventapi.cli.old_service import (
    PASSWORD,
    Document,
    export_document,
    import_report,
    item,
    user,
)
from tests.eventapi.cli.running import invoke
from tests.eventapi.cli.test_import_mend import ODD_NAMES, ODD_TEXTS
from tests.eventapi.http.client import SECRET, Api, Caller, assert_problem, quiet_settings

ARGON2_OLD = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
FORM = "application/x-www-form-urlencoded"


def odd_file() -> Document:
    """A file in which every user has an unusual name and one item per unusual text."""
    users, items = {}, {}
    numbers = iter(range(1, 1_000))
    for index, name in enumerate(ODD_NAMES):
        text = ODD_TEXTS[index % len(ODD_TEXTS)]
        stored = {"hashed_password": ARGON2_OLD} if index % 2 else {}
        users[name] = user(name, email=f"{text}{index}", full_name=text, **stored)
        items[name] = [
            item(next(numbers), name, title=text, description=f"about {text}") for text in ODD_TEXTS
        ]
    return {"users": users, "items": items}


@contextmanager
def serve_app(data: Path) -> Iterator[Api]:
    """An app with the log and vault in a directory."""
    log, vault = JsonlLog(data / "events.jsonl"), SqliteVault(data / "vault.sqlite")
    with Api(quiet_settings(data=str(data)), log=log, vault=vault) as api:
        yield api


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory into which such a file was imported."""
    import_report(tmp_path, odd_file())
    return tmp_path / "data"


def log_in(api: Api, name: str, prefix: str = "/api/v2") -> Caller:
    answer = api.login(name, PASSWORD)
    assert answer.status_code == 200, answer.text
    return Caller(api, name, answer.json(), prefix)


def test_every_odd_name_logs_in_with_the_old_password_by_json_and_form(data: Path) -> None:
    with serve_app(data) as api:
        for name in ODD_NAMES:
            assert_problem(api.login(name, "another"), 401, "invalid-credentials")
            form = urlencode({"grant_type": "password", "username": name, "password": PASSWORD})
            by_form = api.request(
                "POST", "/auth/login", content=form, headers={"content-type": FORM}
            )
            assert by_form.status_code == 200, name
            caller = log_in(api, name)
            claims = jwt.decode(caller.token, SECRET, algorithms=["HS256"])
            assert claims["sub"] == name
            for prefix in ("", "/api/v1", "/api/v2"):
                me = caller.under(prefix).get("/auth/me")
                assert (me.status_code, me.json()["username"]) == (200, name)
            refreshed = api.request(
                "POST", "/auth/refresh", json={"refresh_token": caller.tokens["refresh_token"]}
            )
            assert refreshed.status_code == 200


def test_every_odd_text_is_read_searched_changed_and_restored(data: Path) -> None:
    with serve_app(data) as api:
        for prefix in ("/api/v1", "/api/v2"):
            caller = log_in(api, ODD_NAMES[3], prefix)
            listed = caller.get("/items", params={"limit": 1000}).json()
            items = listed if prefix == "/api/v1" else listed["items"]
            assert [one["title"] for one in items] == ODD_TEXTS
            for one, text in zip(items, ODD_TEXTS, strict=True):
                assert_survives(caller, one, text)


def assert_survives(caller: Caller, one: Document, text: str) -> None:
    """Read an item in every way, then change, delete and restore it."""
    path = f"/items/{one['id']}"
    read = caller.get(path)
    assert (read.status_code, read.json()) == (200, one)
    assert (one["title"], one["description"], one["owner"]) == (text, f"about {text}", caller.name)
    assert caller.get(path, headers={"if-none-match": read.headers["etag"]}).status_code == 304
    part = text.replace("\0", "")[:200]
    found = caller.get("/items", params={"q": part or "about", "limit": 1000})
    assert found.status_code == 200
    assert "\0" in text or f'"id":{one["id"]},' in found.text
    put = caller.request("PUT", path, json={"title": "new", "description": None})
    assert put.status_code == 200
    created = caller.get(f"{path}/history").json()[0]
    assert created["changes"] == {"title": text, "description": f"about {text}"}
    past = caller.get(path, params={"as_of": str(created["position"])})
    assert (past.status_code, past.json()["title"]) == (200, text)
    restored = caller.post(f"{path}/restore", json={"as_of": created["position"]})
    assert (restored.status_code, restored.json()["title"]) == (200, text)
    assert caller.patch(path, json={"description": "about "}).status_code == 200
    assert caller.request("DELETE", path).status_code == 204
    again = caller.post(f"{path}/restore", json={"as_of": created["position"]})
    assert (again.status_code, again.json()["description"]) == (200, f"about {text}")


def test_every_odd_user_changes_the_profile_and_the_password_and_erases_the_account(
    data: Path,
) -> None:
    with serve_app(data) as api:
        for index, name in enumerate(ODD_NAMES):
            caller = log_in(api, name)
            assert caller.patch("/auth/me", json={"full_name": "Ann"}).json()["full_name"] == "Ann"
            email = f"new{index}@example.org"
            assert caller.patch("/auth/me", json={"email": email}).json()["email"] == email
            change = {"current_password": PASSWORD, "new_password": "a new password"}
            assert caller.post("/auth/password", json=change).status_code == 204
            assert api.login(name, "a new password").status_code == 200
            erased = caller.request("DELETE", "/auth/me", json={"password": "a new password"})
            assert erased.status_code == 204
            assert_problem(api.login(name, "a new password"), 401, "invalid-credentials")
    assert export_document(data.parent) == {"users": {}, "items": {}}


def test_an_account_without_an_address_can_set_one(tmp_path: Path) -> None:
    people = {name: user(name, email="") for name in ("ann", "ben")}
    import_report(tmp_path, {"users": people, "items": {}})
    with serve_app(tmp_path / "data") as api:
        ann, ben = log_in(api, "ann"), log_in(api, "ben")
        assert ann.get("/auth/me").json()["email"] == ""
        assert ann.patch("/auth/me", json={"full_name": "Ann"}).status_code == 200
        assert ann.patch("/auth/me", json={"email": "ann@example.org"}).status_code == 200
        taken = ben.patch("/auth/me", json={"email": "ANN@example.org"})
        assert_problem(taken, 409, "email-taken")
        erased = ben.request("DELETE", "/auth/me", json={"password": PASSWORD})
        assert erased.status_code == 204
        assert api.register("ben").status_code == 200


def test_an_account_without_a_password_refuses_every_password(tmp_path: Path) -> None:
    ann = user("ann", hashed_password=None)
    import_report(tmp_path, {"users": {"ann": ann}, "items": {"ann": [item(1, "ann")]}})
    with serve_app(tmp_path / "data") as api:
        for password in ("", "x", PASSWORD, "None", "null"):
            assert_problem(api.login("ann", password), 401, "invalid-credentials")


def test_every_command_prints_odd_values_escaped(data: Path) -> None:
    for command in (
        ["log", "show", "--open"],
        ["users", "list"],
        ["state", "show"],
        ["log", "verify", "--seals"],
        ["snapshot"],
        ["rebuild"],
    ):
        result = invoke(data, *command)
        assert result.exit_code == 0, (command, result.output)
        # Columns are separated by tabs because stdout is not a terminal.
        lines = result.output.replace("\t", " ").splitlines()
        assert all(line.isprintable() for line in lines), command
    listed = json.loads(invoke(data, "users", "list", "--json").stdout)
    assert [one["username"] for one in listed] == ODD_NAMES


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_operator_commands_accept_every_odd_name(data: Path, name: str) -> None:
    for command in (["disable"], ["enable"], ["erase", "--yes"]):
        result = invoke(data, "users", *command, "--", name)
        assert result.exit_code == 0, result.output
    grant = invoke(data, "users", "grant", "--", name, "auditor")
    assert grant.exit_code == 1


def test_a_snapshot_equals_a_replay(data: Path) -> None:
    async def checksum() -> str:
        log, vault = JsonlLog(data / "events.jsonl"), SqliteVault(data / "vault.sqlite")
        try:
            return (await replay(log, Keyring(), vault, ITEMS)).checksum()
        finally:
            await vault.close()
            await log.close()

    replayed = asyncio.run(checksum())
    assert invoke(data, "snapshot").exit_code == 0

    async def started() -> str:
        async with open_journal(Settings(data=str(data))) as (journal, _):
            return (await journal.state()).checksum()

    assert asyncio.run(started()) == replayed
