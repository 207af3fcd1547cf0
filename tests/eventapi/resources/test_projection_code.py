"""Changed code of a projection: only its own part of a snapshot is stale."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from eventapi.commands.resources import Create
from eventapi.commands.users import RegisterUser
from eventapi.queries.projections import query_projection
from eventapi.resources.registry import Registry, load_registry
from eventapi.tasks import read_models as task_module
from eventapi.tasks.read_models import run_read_models
from eventapi.testing.given import profile
from events.errors import (
    LogUnreachable,
    ProjectionNotReady,
)
from events.log.memory import MemoryLog
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from projections.snapshots import Snapshots
from tests.eventapi.resources.applications import (
    ANN,
    Revenue,
    answer,
    invoices_with,
    running,
)

_random = Random(7)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that declares a resource and a projection; `reload` imports it again."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "projection_shop.py"
    file.write_text(SHOP)
    yield file
    sys.modules.pop("projection_shop", None)


SHOP = '''\
"""A shop."""
from msgspec import Struct
from eventapi.resources import Caller, Clear, Projection, PublicEvent, Resource


class Order(Resource):
    cents: Clear[int]


class Sum(Struct):
    cents: int = 0


class Turnover(Projection):
    """The sum of all orders."""

    state = Sum

    def apply(self, event: PublicEvent) -> None:
        self.state.cents += event.clear.get("cents", 0)

    def query(self, caller: Caller) -> int:
        return self.state.cents
'''


def reload() -> Registry:
    """The registry of the module as its file is now."""
    sys.modules.pop("projection_shop", None)
    load_registry.cache_clear()
    return load_registry(("projection_shop",))


def edit(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def fingerprints(registry: Registry) -> tuple[str, str]:
    return registry.vocabulary.fingerprint, registry.projections["turnover"].model.fingerprint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("+= event", "+= 2 * event"),
        ("cents: int = 0", "cents: int = 0\n    count: int = 0"),
        ("The sum of all", "The total of all"),
    ],
    ids=["apply", "state", "docstring"],
)
def test_a_changed_projection_leaves_the_tables_of_a_snapshot(
    shop: Path, old: str, new: str
) -> None:
    before = fingerprints(reload())
    edit(shop, old, new)
    after = fingerprints(reload())
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_a_changed_resource_makes_all_of_a_snapshot_stale(shop: Path) -> None:
    before = fingerprints(reload())
    edit(shop, "cents: Clear[int]", "cents: Clear[int] = 0")
    after = fingerprints(reload())
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_a_projection_that_other_code_uses_counts_as_code_of_the_resource(shop: Path) -> None:
    edit(shop, '"""A shop."""', '"""A shop."""\n\ndef helper(): return Turnover.state')
    before = fingerprints(reload())
    edit(shop, "+= event", "+= 2 * event")
    assert fingerprints(reload())[0] != before[0]


async def ordered(registry: Registry, log: MemoryLog, vault: MemoryVault) -> None:
    async with running(registry, log, vault) as journal:
        await journal.execute(RegisterUser(profile("ann")))
        for cents in (1, 20, 300):
            order = registry.by_collection["orders"]
            await journal.execute(Create(order, 1, {"cents": cents}))


async def test_changed_code_folds_anew_in_the_background(shop: Path, tmp_path: Path) -> None:
    """Given a snapshot of older code, when the server starts, then it serves all but one answer."""
    log, vault, registry = MemoryLog(), MemoryVault(), reload()
    await ordered(registry, log, vault)
    async with running(registry, log, vault) as journal:
        state = await journal.state()
        snapshots = Snapshots(tmp_path / "s", registry.vocabulary)
        snapshots.write(state, journal.keyring, _random.randbytes)
        assert await answer(registry, journal, "turnover") == 321
    edit(shop, "+= event", "+= 2 * event")
    changed = reload()
    snapshots = Snapshots(tmp_path / "s", changed.vocabulary)
    async with running(changed, log, vault, snapshots) as journal:
        assert snapshots.usable_position() == journal.position, "the tables are from the snapshot"
        with pytest.raises(ProjectionNotReady):
            await answer(changed, journal, "turnover")
        await journal.execute(Create(changed.by_collection["orders"], 1, {"cents": 4_000}))
        await run_read_models(journal)
        assert await answer(changed, journal, "turnover") == 2 * 4_321
        declared, state = changed.projections["turnover"], await journal.state()
        for position, expected in ((journal.position - 1, 642), (journal.position, 2 * 4_321)):
            found = await query_projection(
                declared,
                ANN,
                declared.parse({}),
                state,
                history=journal.history,
                position=position,
            )
            assert found == expected


async def test_control_unchanged_code_is_served_from_the_snapshot(
    shop: Path, tmp_path: Path
) -> None:
    log, vault, registry = MemoryLog(), MemoryVault(), reload()
    await ordered(registry, log, vault)
    snapshots = Snapshots(tmp_path / "s", registry.vocabulary)
    async with running(registry, log, vault) as journal:
        snapshots.write(await journal.state(), journal.keyring, _random.randbytes)
    async with running(registry, log, vault, snapshots) as journal:
        assert await answer(registry, journal, "turnover") == 321


async def test_the_background_task_tries_again_if_the_log_cannot_be_read(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_module, "RETRY_SECONDS", 0)
    async with running(invoices_with(Revenue)) as journal:
        tries: list[int] = []

        async def fold() -> None:
            tries.append(1)
            if len(tries) < 3:
                raise LogUnreachable("the database is away")

        monkeypatch.setattr(journal, "fold_read_models", fold)
        await asyncio.wait_for(run_read_models(journal), 5)
    assert len(tries) == 3
    assert [one.levelno for one in caplog.records] == [logging.WARNING] * 2


def test_a_snapshot_has_the_state_without_a_key(shop: Path, tmp_path: Path) -> None:
    """Given a snapshot, when all keys are destroyed, then the projection is in it unchanged."""

    async def run() -> Registry:
        log, vault, registry = MemoryLog(), MemoryVault(), reload()
        await ordered(registry, log, vault)
        async with running(registry, log, vault) as journal:
            snapshots = Snapshots(tmp_path / "s", registry.vocabulary)
            snapshots.write(await journal.state(), journal.keyring, _random.randbytes)
        return registry

    registry = asyncio.run(run())
    found = Snapshots(tmp_path / "s", registry.vocabulary).newest(Keyring(), position=99)
    assert found is not None
    assert found.read_models["turnover"].state.cents == 321
