"""An erased account is gone: nothing in any file yields what its user typed."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from eventapi.bootstrap.storage import snapshots_of
from eventapi.journal import journal
from events.errors import VaultUnavailable
from events.log.file.log import JsonlLog
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from events.vault.sqlite import SqliteVault
from events.verification.verify import verify
from projections.replay import replay
from projections.state import State
from tests.eventapi.http.client import PASSWORD, Api, Caller, assert_problem, quiet_settings


def erase(caller: Caller, password: str = PASSWORD) -> httpx.Response:
    return caller.request("DELETE", "/auth/me", json={"password": password})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def filed(data: Path) -> Iterator[Api]:
    """An app whose log and vault are files."""
    data.mkdir()
    log, vault = JsonlLog(data / "events.jsonl"), SqliteVault(data / "vault.sqlite")
    with Api(quiet_settings(data=str(data)), log=log, vault=vault) as api:
        yield api


async def folded(data: Path) -> tuple[State, Keyring]:
    """What the files add up to, folded from zero."""
    log, vault, keyring = (
        JsonlLog(data / "events.jsonl"),
        SqliteVault(data / "vault.sqlite"),
        Keyring(),
    )
    try:
        return await replay(log, keyring, vault), keyring
    finally:
        await vault.close()
        await log.close()


def test_an_erased_account_is_gone(api: Api, ann: Caller, bob: Caller, prefix: str) -> None:
    ann.create()
    kept = bob.create("bob's")
    answer = erase(ann.under(prefix))
    assert (answer.status_code, answer.content) == (204, b"")
    assert int(answer.headers["event-position"]) == api.log.position
    assert_problem(ann.get("/auth/me"), 401, "unauthenticated")
    assert_problem(api.login(ann.name), 401, "invalid-credentials")
    token = {"refresh_token": ann.tokens["refresh_token"]}
    assert_problem(api.request("POST", "/auth/refresh", json=token), 401, "unauthenticated")
    assert bob.get(f"/items/{kept}").json()["title"] == "bob's"


def test_the_name_is_free_and_old_tokens_are_not_good_for_its_next_owner(api: Api) -> None:
    old = api.caller("phoenix")
    old.create()
    assert erase(old).status_code == 204
    new = api.caller("phoenix")
    assert new.get("/items").json() == []
    assert_problem(old.get("/auth/me"), 401, "unauthenticated")
    assert new.get("/auth/me").status_code == 200


@pytest.mark.parametrize("wrong", ["", "wrong", PASSWORD + " ", "é" * 600])
def test_without_the_password_nothing_is_erased(api: Api, ann: Caller, wrong: str) -> None:
    before = api.log.position
    assert_problem(erase(ann, wrong), 401, "invalid-credentials")
    assert api.log.position == before
    assert ann.get("/auth/me").status_code == 200


def test_no_file_yields_what_the_user_typed(filed: Api, data: Path) -> None:
    """Nor does a copy of the log from before, with all that is left in the vault."""
    ann, bob = filed.caller("ann-the-erased"), filed.caller("bob")
    title, description = f"title {secrets.token_hex(8)}", f"description {secrets.token_hex(8)}"
    ann.create(title, description)
    bob.create("bob's")
    state, keyring = asyncio.run(folded(data))
    snapshots = snapshots_of(quiet_settings(data=str(data)))
    snapshots.write(state, keyring, secrets.token_bytes)
    key = filed.run(filed.vault.get(["users/1"]))["users/1"]
    before = (data / "events.jsonl").read_bytes()
    assert erase(ann).status_code == 204
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
    assert verify(data / "events.jsonl").ok
    state, keyring = asyncio.run(folded(data))
    assert set(keyring) == {"users/2"}
    assert state.users.by_id[1].username == ""
    assert [item.title for item in state.items.by_id.values()] == ["bob's"]


def test_control_before_the_erasure_the_key_is_in_the_vault(filed: Api, data: Path) -> None:
    filed.caller("ann")
    key = filed.run(filed.vault.get(["users/1"]))["users/1"]
    assert key in (data / "vault.sqlite").read_bytes()


class Stubborn(MemoryVault):
    """Fails to destroy keys for some time."""

    failures = 0

    async def destroy(self, subjects: object) -> None:
        if self.failures:
            self.failures -= 1
            raise VaultUnavailable("gone")
        await super().destroy(subjects)  # type: ignore[arg-type]


def test_a_key_that_cannot_be_destroyed_now_is_destroyed_later() -> None:
    """The event stands; until the vault is back, its failure is told to the operator."""
    vault = Stubborn()
    with Api(vault=vault) as api:
        ann, bob = api.caller(), api.caller()
        vault.failures = 2
        assert erase(ann).status_code == 204
        assert "users/1" in api.run(vault.all())
        bob.create()
        assert set(api.run(vault.all())) == {"users/2"}


def test_nor_does_it_take_another_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "DESTROY_RETRY_SECONDS", 0.01)
    vault = Stubborn()
    with Api(vault=vault) as api:
        ann = api.caller()
        vault.failures = 3
        assert erase(ann).status_code == 204
        api.run(asyncio.sleep(0.5))
        assert api.run(vault.all()) == {}
