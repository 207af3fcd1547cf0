"""Erasure: the account is gone, and no file reveals what its user typed."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventapi.bootstrap.storage import snapshots_of
from eventapi.journal import journal
from eventapi.testing.items import ITEMS
from events.errors import VaultUnavailable
from events.log.file.log import JsonlLog
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from events.vault.sqlite import SqliteVault
from events.verification.verify import verify
from projections.replay import replay
from projections.state import State
from tests.eventapi.http.client import PASSWORD, Api, Caller, assert_problem, quiet_settings


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def file_api(data: Path) -> Iterator[Api]:
    """An app whose log and vault are files."""
    data.mkdir()
    log, vault = JsonlLog(data / "events.jsonl"), SqliteVault(data / "vault.sqlite")
    with Api(quiet_settings(data=str(data)), log=log, vault=vault) as api:
        yield api


async def replay_files(data: Path) -> tuple[State, Keyring]:
    """The state and the keys that a replay of the files yields."""
    log, vault, keyring = (
        JsonlLog(data / "events.jsonl"),
        SqliteVault(data / "vault.sqlite"),
        Keyring(),
    )
    try:
        return await replay(log, keyring, vault, ITEMS), keyring
    finally:
        await vault.close()
        await log.close()


def test_an_erased_account_is_gone(api: Api, ann: Caller, bob: Caller, prefix: str) -> None:
    ann.create()
    kept = bob.create("bob's")
    answer = ann.under(prefix).erase()
    assert (answer.status_code, answer.content) == (204, b"")
    assert int(answer.headers["event-position"]) == api.log.position
    assert_problem(ann.get("/auth/me"), 401, "unauthenticated")
    assert_problem(api.login(ann.name), 401, "invalid-credentials")

    token = {"refresh_token": ann.tokens["refresh_token"]}
    assert_problem(api.request("POST", "/auth/refresh", json=token), 401, "unauthenticated")
    assert bob.get(f"/items/{kept}").json()["title"] == "bob's"


def test_tokens_of_an_erased_user_are_invalid_for_the_next_owner_of_the_name(api: Api) -> None:
    old = api.caller("phoenix")
    old.create()
    assert old.erase().status_code == 204

    new = api.caller("phoenix")
    assert new.get("/items").json() == []
    assert_problem(old.get("/auth/me"), 401, "unauthenticated")
    assert new.get("/auth/me").status_code == 200


@pytest.mark.parametrize("wrong", ["", "wrong", PASSWORD + " ", "é" * 600])
def test_an_erasure_without_the_password_is_refused(api: Api, ann: Caller, wrong: str) -> None:
    before = api.log.position

    assert_problem(ann.erase(wrong), 401, "invalid-credentials")
    assert api.log.position == before
    assert ann.get("/auth/me").status_code == 200


def test_no_file_reveals_what_an_erased_user_typed(file_api: Api, data: Path) -> None:
    """Not even a copy of the log from before the erasure with the rest of the vault."""
    ann, bob = file_api.caller("ann-the-erased"), file_api.caller("bob")
    title, description = f"title {secrets.token_hex(8)}", f"description {secrets.token_hex(8)}"
    ann.create(title, description)
    bob.create("bob's")
    state, keyring = file_api.run(replay_files(data))
    snapshots = snapshots_of(quiet_settings(data=str(data)))
    snapshots.write(state, keyring, secrets.token_bytes)
    key = file_api.run(file_api.vault.get(["users/1"]))["users/1"]
    before = (data / "events.jsonl").read_bytes()
    assert ann.erase().status_code == 204

    typed = [b"ann-the-erased", title.encode(), description.encode(), b"ann-the-erased@example.org"]
    files = [path for path in data.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".jsonl", ".sqlite", ".snapshot"}

    for path in files:
        content = path.read_bytes()
        for value in (*typed, key, key.hex().encode(), base64.b64encode(key)):
            assert value not in content, f"{value!r} is in {path.name}"
    after = (data / "events.jsonl").read_bytes()
    assert after.startswith(before)
    assert after.count(b"\n") == before.count(b"\n") + 1
    assert verify(data / "events.jsonl", vocabulary=ITEMS).ok

    state, keyring = file_api.run(replay_files(data))
    assert set(keyring) == {"users/2"}
    assert state.users.by_id[1].username == ""
    assert [item.title for item in state["items"].by_id.values()] == ["bob's"]


def test_control_before_the_erasure_the_key_is_in_the_vault(file_api: Api, data: Path) -> None:
    file_api.caller("ann")
    key = file_api.run(file_api.vault.get(["users/1"]))["users/1"]

    assert key in (data / "vault.sqlite").read_bytes()


class StubbornVault(MemoryVault):
    """Fails the next ``failures`` times to destroy keys."""

    failures = 0

    async def destroy(self, subjects: object) -> None:
        if self.failures:
            self.failures -= 1
            raise VaultUnavailable("gone")
        await super().destroy(subjects)  # type: ignore[arg-type]


def test_a_key_that_cannot_be_destroyed_now_is_destroyed_later() -> None:
    """The event of the erasure remains in the log; the next write destroys the key."""
    vault = StubbornVault()
    with Api(vault=vault) as api:
        ann, bob = api.caller(), api.caller()
        vault.failures = 2
        assert ann.erase().status_code == 204
        assert "users/1" in api.run(vault.all())
        bob.create()
        assert set(api.run(vault.all())) == {"users/2"}


def test_a_key_is_destroyed_later_without_another_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "DESTROY_RETRY_SECONDS", 0.01)
    vault = StubbornVault()
    with Api(vault=vault) as api:
        ann = api.caller()
        vault.failures = 3
        assert ann.erase().status_code == 204
        api.run(asyncio.sleep(0.5))
        assert api.run(vault.all()) == {}
