"""Code that meets a newer declaration serves the other kinds."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from eventapi.commands.resources import Act, Delete, Restore, Update
from eventapi.commands.sharing import Share
from eventapi.commands.users import EraseUser, RegisterUser
from eventapi.resources.registry import Registry
from eventapi.testing.given import SOURCE, at, profile
from eventapi.testing.items import ITEMS
from events.codec import encode
from events.errors import UnknownEvent, UnknownKind
from events.log.memory import MemoryLog
from events.log.port import Head
from events.record import Record
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from projections.replay import replay
from projections.snapshots import Snapshots
from tests.eventapi.journal.declaring import (
    INVOICE,
    NEWER,
    ORDER,
    RANDOM,
    Storage,
    invoice,
    started,
)
from tests.eventapi.resources.declaring import as_clear


@pytest.fixture
def storage() -> Storage:
    return Storage()


# Older code


async def test_older_code_serves_other_kinds_and_refuses_the_changed_one(storage: Storage) -> None:
    await started(storage, invoice())
    async with storage.process(invoice(NEWER)) as newer:
        await newer.journal.execute(newer.create(number="A-2", cents=6, due="soon"))
        async with storage.process(invoice(), ORDER) as older:
            await older.journal.execute(older.create("orders", text="x"))
            before = storage.lines
            for command in (
                older.create(),
                Update(older.of("invoices"), 1, 1, {"cents": 7}),
                Delete(older.of("invoices"), 1, 1),
                Act(older.of("invoices"), 1, 1, "pay", {}),
            ):
                with pytest.raises(UnknownKind, match="changed invoice"):
                    await older.journal.execute(command)
            assert storage.lines == before
            assert (await older.journal.state()).digest() == (await newer.journal.state()).digest()
    assert storage.types.count("schema.declared") == 3


async def test_running_older_code_learns_of_a_newer_declaration(storage: Storage) -> None:
    async with storage.process(invoice(), ORDER) as older:
        await older.register()
        await older.journal.execute(older.create())
        await older.journal.execute(older.create("orders", text="x"))
        async with storage.process(invoice({**NEWER, "number": (str | int, "")})) as newer:
            await newer.journal.execute(newer.create(number=7, cents=6))
            await newer.journal.execute(Update(newer.of("invoices"), 1, 1, {"number": 9}))
            await newer.journal.execute(Act(newer.of("invoices"), 1, 2, "pay", {}))
            await newer.journal.execute(Delete(newer.of("invoices"), 1, 1))
            with pytest.raises(UnknownKind):
                await older.journal.execute(older.create())
            await older.journal.execute(Update(older.of("orders"), 1, 1, {"text": "y"}))
            old, new = await older.journal.state(), await newer.journal.state()
            assert old.digest() == new.digest()
            folded = await storage.fold(invoice(), ORDER)
            assert folded.checksum() == old.checksum()


async def test_older_code_reads_the_history_of_other_kinds(storage: Storage) -> None:
    """Lines of the changed kind are between those of the others."""
    async with storage.process(invoice(), ORDER) as older:
        await older.register()
        await older.journal.execute(older.create())
        await older.journal.execute(older.create("orders", text="x"))
        newest = invoice({**INVOICE, "number": (str | int, ""), "cents": (as_clear(int | str), "")})
        async with storage.process(newest) as newer:
            await newer.journal.execute(newer.create(number=7, cents="x"))
        await older.journal.execute(Update(older.of("orders"), 1, 1, {"text": "y"}))
        state = await older.journal.state()
        table = state["orders"]
        (found,) = (await older.journal.history.entities_at(5, [table.by_id[1]], table)).values()
        assert found.text == "x"
        records = await older.journal.history.records(range(1, state.position + 1))
        assert [record.event.type for record in records] == storage.types
        assert len(await older.journal.history.records([7, 8])) == 2
    async with storage.process(invoice(), ORDER) as older:
        assert len(await older.journal.history.records([7, 8])) == 2


async def test_keys_that_come_with_a_newer_declaration_open_no_seal_of_it(storage: Storage) -> None:
    """The user, the declaration and the event are new to older code in one read."""
    await started(storage, invoice())
    async with storage.process(invoice(), ORDER) as older:
        async with storage.process(invoice({**INVOICE, "number": (str | int, "")})) as newer:
            await newer.journal.execute(RegisterUser(profile("ben")))
            created = newer.create(number=7, cents=1)
            await newer.journal.execute(structs.replace(created, caller=2))
            await newer.journal.execute(created)
        state = await older.journal.state()
        assert state.position == storage.log.position
        assert state.digest() == (await storage.fold(invoice(), ORDER)).digest()


async def test_code_without_the_kind_folds_it_by_its_verbs(storage: Storage) -> None:
    async with storage.process(invoice(shareable=True)) as process:
        await process.register()
        await process.journal.execute(RegisterUser(profile("ben")))
        journal, invoices = process.journal, process.of("invoices")
        for number in range(1, 6):
            await journal.execute(process.create(number=f"A-{number}", cents=number))
        await journal.execute(Act(invoices, 1, 1, "pay", {}))
        await journal.execute(Share(invoices, 1, 2, "ben", "write"))
        await journal.execute(Delete(invoices, 1, 3))
        await journal.execute(Delete(invoices, 1, 4))
        await journal.execute(
            Restore(invoices, 1, 4, 8, {"number": "A-4", "cents": 4, "paid": False})
        )
        new = await journal.state()
        without = await storage.fold()
        assert without.digest() == new.digest()
        assert without["invoices"].by_id.keys() == {1, 2, 4, 5}
        assert without["invoices"].shares == {2: {2: "write"}}
        await journal.execute(EraseUser("ann", "operator/root"))
        assert (await storage.fold()).digest() == (await journal.state()).digest()


async def test_control_an_undeclared_kind_is_an_unknown_event() -> None:
    """Control: the verbs of a kind are folded only after its declaration."""
    kind = Registry([invoice()]).by_collection["invoices"].type
    assert kind.declaration is not None
    declared = Record(1, SOURCE, "schemas/invoices", at(1), "operator/x", kind.declaration)
    deleted = Record(2, SOURCE, "invoices/1", at(2), "operator/x", kind.deleted())
    line, digest = encode(declared, bytes(32), Keyring(), b"")
    after, end = encode(deleted, digest, Keyring(), b"")
    whole = MemoryLog([line, after], Head(2, end))
    assert (await replay(whole, Keyring(), MemoryVault(), ITEMS)).position == 2
    alone, end = encode(structs.replace(deleted, position=1), bytes(32), Keyring(), b"")
    log = MemoryLog([alone], Head(1, end))
    with pytest.raises(UnknownEvent, match=r"event type 'invoice.deleted' is unknown"):
        await replay(log, Keyring(), MemoryVault(), ITEMS)


async def test_snapshot_of_older_code_equals_a_fold_from_zero(
    storage: Storage, tmp_path: Path
) -> None:
    """It was typed before the declaration, and has only the verbs after it."""
    async with storage.process(invoice(), ORDER, snapshots=tmp_path) as older:
        await older.register()
        await older.journal.execute(older.create())
        snapshots = Snapshots(tmp_path, older.registry.vocabulary)
        state = await older.journal.state()
        snapshots.write(state, older.journal.keyring, RANDOM.randbytes)
        async with storage.process(invoice(NEWER)) as newer:
            await newer.journal.execute(newer.create(number="A-2", cents=6))
        state = await older.journal.state()
        snapshots.write(state, older.journal.keyring, RANDOM.randbytes)
        sums = state.digest(), state.checksum()
    folded = await storage.fold(invoice(), ORDER)
    assert (folded.digest(), folded.checksum()) == sums
    async with storage.process(invoice(), ORDER, snapshots=tmp_path) as older:
        state = await older.journal.state()
        assert (state.digest(), state.checksum()) == sums
        with pytest.raises(UnknownKind):
            await older.journal.execute(older.create())
