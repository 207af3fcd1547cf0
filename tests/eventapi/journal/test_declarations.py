"""``schema.declared``: the log describes its kinds, and code judges whether it can read them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec import structs

from eventapi.commands.resources import Act, Create, Delete, Import, Restore, Share, Update
from eventapi.commands.users import EraseUser, RegisterUser
from eventapi.journal.batch import Runtime
from eventapi.journal.journal import Journal
from eventapi.resources import Clear, Resource, action
from eventapi.resources.declared import Declared
from eventapi.resources.registry import Registry
from eventapi.testing.given import SOURCE, at, profile
from eventapi.testing.items import ITEMS
from events.codec import encode
from events.errors import ConfigurationError, Invalid, UnknownEvent, UnknownKind
from events.log.memory import MemoryLog
from events.log.port import Head
from events.record import Record
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from projections.replay import replay
from projections.snapshots import Snapshots
from projections.state import State
from tests.eventapi.resources.declaring import resource_class

_random = Random(11)  # Shared, because a nonce must never be used twice.


@action
def pay(self: Any) -> Any:
    """Pay the invoice."""
    return structs.replace(self, paid=True)


INVOICE = {"number": str, "cents": Clear[int], "paid": (Clear[bool], False)}
NEWER = {**INVOICE, "due": (str | None, None)}


def invoice(fields: Mapping[str, Any] = INVOICE, **members: Any) -> type[Resource]:
    """A class of the kind ``invoice``."""
    return resource_class("Invoice", fields, pay=pay, **members)


ORDER = resource_class("Order", {"text": str})


class Storage:
    """A log and a vault in memory, which outlive the processes that write them."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.vault = MemoryVault()
        self._ticks = count(1)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of the log."""
        return [json.loads(line) for line in self.log._lines]

    @property
    def types(self) -> list[str]:
        return [line["type"] for line in self.lines]

    @asynccontextmanager
    async def process(
        self, *classes: type[Resource], snapshots: Path | None = None
    ) -> AsyncIterator[Process]:
        """A process whose code declares these classes."""
        registry = Registry(classes)
        runtime = Runtime(
            lambda: at(next(self._ticks)),
            lambda: str(UUID(bytes=_random.randbytes(16))),
            _random.randbytes,
        )
        vocabulary = registry.vocabulary
        taken = Snapshots(snapshots, vocabulary) if snapshots else None
        journal = Journal(self.log, self.vault, vocabulary, runtime, snapshots=taken)
        try:
            await journal.start()
            yield Process(journal, registry)
        finally:
            await journal.close()

    async def fold(self, *classes: type[Resource]) -> State:
        """The state that code with these classes folds the log to."""
        return await replay(self.log, Keyring(), self.vault, Registry(classes).vocabulary)


class Process:
    """A journal with the registry of its code."""

    def __init__(self, journal: Journal, registry: Registry) -> None:
        self.journal = journal
        self.registry = registry

    def of(self, collection: str) -> Declared:
        return self.registry.by_collection[collection]

    def create(self, collection: str = "invoices", **values: Any) -> Create:
        """The command of user 1 that creates a resource."""
        given = values or ({"number": "A-1", "cents": 5} if collection == "invoices" else {})
        resource = self.of(collection)
        defaults = {
            field.name: field.default
            for field in resource.type.fields
            if field.default is not msgspec.UNSET
        }
        return Create(resource, 1, {**defaults, **given})

    async def register(self) -> None:
        await self.journal.execute(RegisterUser(profile("ann")))


@pytest.fixture
def storage() -> Storage:
    return Storage()


async def started(storage: Storage, *classes: type[Resource]) -> None:
    """Write a user, and an invoice of each class in turn."""
    async with storage.process(*classes) as process:
        await process.register()
        await process.journal.execute(process.create())


# The declaration before the first event


async def test_first_event_of_a_kind_follows_its_declaration(storage: Storage) -> None:
    async with storage.process(invoice()) as process:
        await process.register()
        result = await process.journal.execute(process.create())
        await process.journal.execute(process.create(number="A-2", cents=6))
    assert storage.types == [
        *("user.registered", "schema.declared", "invoice.created", "invoice.created")
    ]
    assert (result.record.position, result.record.subject) == (3, "invoices/1")
    line = storage.lines[1]
    assert (line["subject"], line["actor"]) == ("schemas/invoices", "operator/eventapi")
    data = line["data"]
    assert list(data) == ["version", "kind", "schema", "clear", "unique", "actions"]
    assert (data["version"], data["kind"]) == (1, "invoice")
    assert data["clear"] == ["cents", "paid"]
    assert (data["unique"], data["actions"]) == ([], ["pay"])
    assert data["schema"]["required"] == ["number", "cents"]


async def test_declaration_and_first_event_are_all_or_nothing(storage: Storage) -> None:
    await started(storage, invoice())
    declared, created = storage.lines[1:]
    assert (declared["remaining"], created.get("remaining")) == ("1", None)
    assert (declared.get("behind"), created["behind"]) == (None, "1")


async def test_every_kind_of_a_group_is_declared_before_the_group(storage: Storage) -> None:
    async with storage.process(invoice(), ORDER) as process:
        await process.register()
        commands = [
            *(process.create(), process.create("orders", text="x")),
            *(process.create(), process.create("orders", text="y")),
        ]
        results = await process.journal.execute_all(commands)
    assert storage.types[1:] == [
        *("schema.declared", "schema.declared"),
        *("invoice.created", "order.created", "invoice.created", "order.created"),
    ]
    assert [line.get("remaining") for line in storage.lines[1:]] == ["5", "4", "3", "2", "1", None]
    assert [result.record.subject for result in results] == [
        *("invoices/1", "orders/1", "invoices/2", "orders/2")
    ]


async def test_items_need_no_declaration(storage: Storage) -> None:
    async with storage.process(invoice()) as process:
        await process.register()
        await process.journal.execute(process.create("items", title="x"))
    assert storage.types == ["user.registered", "item.created"]


async def test_refused_command_writes_no_declaration(storage: Storage) -> None:
    async with storage.process(invoice()) as process:
        await process.register()
        with pytest.raises(Invalid):
            await process.journal.execute(process.create(number="\0", cents=5))
        wrong = process.create(number="A-1", cents="x")
        with pytest.raises(Invalid):
            await process.journal.execute_all([process.create(), wrong])
        assert storage.types == ["user.registered"]
        assert not (await process.journal.state()).resources.schemas
        await process.journal.execute(process.create())
    assert storage.types == ["user.registered", "schema.declared", "invoice.created"]


async def test_two_processes_declare_a_kind_once(storage: Storage) -> None:
    async with storage.process(invoice()) as one, storage.process(invoice()) as other:
        await one.register()
        await asyncio.gather(
            *(
                process.journal.execute(process.create(number=f"A-{number}", cents=1))
                for number in range(20)
                for process in (one, other)
            )
        )
        assert storage.types.count("schema.declared") == 1
        assert storage.types.count("invoice.created") == 40
        assert (await one.journal.state()).digest() == (await other.journal.state()).digest()


async def test_the_same_declaration_is_not_written_at_the_next_start(storage: Storage) -> None:
    await started(storage, invoice())
    async with storage.process(invoice(__doc__="A better text.")) as process:
        await process.journal.execute(process.create())
    assert storage.types.count("schema.declared") == 1


# A changed declaration


async def test_compatible_declaration_is_declared_at_the_next_start(storage: Storage) -> None:
    await started(storage, invoice())
    async with storage.process(invoice(NEWER)) as process:
        assert storage.types[3:] == ["schema.declared"]
        assert storage.lines[3]["data"]["version"] == 2
        invoices = (await process.journal.state())["invoices"].by_id
        assert (invoices[1].number, invoices[1].due) == ("A-1", None)
        await process.journal.execute(process.create(number="A-2", cents=6, due="soon"))
    async with storage.process(invoice(NEWER)):
        assert storage.types.count("schema.declared") == 2


async def test_changed_kind_without_events_is_declared_with_its_first(storage: Storage) -> None:
    async with storage.process(invoice()) as process:
        await process.register()
    async with storage.process(invoice(NEWER)) as process:
        assert storage.types == ["user.registered"]
        await process.journal.execute(process.create())
    assert storage.lines[1]["data"]["version"] == 1
    assert "due" in storage.lines[1]["data"]["schema"]["properties"]


@pytest.mark.parametrize(
    ("fields", "members", "fault"),
    [
        (
            {"cents": Clear[int], "paid": (Clear[bool], False)},
            {},
            'number: the field is missing; add renamed = {"number": ...} or an upcast',
        ),
        (
            {**INVOICE, "number": int},
            {},
            "number: the type is narrower than before; widen it, or add an upcast",
        ),
        (
            {**INVOICE, "due": str},
            {},
            "due: the field is new and has no default; give it one, or add an upcast",
        ),
        (
            {**INVOICE, "cents": int},
            {},
            "cents: it is not Clear any more; add a field of another name instead",
        ),
        (
            INVOICE,
            {"unique": ("number",)},
            "number: it is unique now, and values in the log may not be; "
            "leave `unique` as it was, or add an upcast",
        ),
        (
            INVOICE,
            {"collection": "bills"},
            "collection: it is 'invoices' in the log; set collection = 'invoices' again",
        ),
    ],
)
async def test_incompatible_declaration_stops_the_start_and_changes_nothing(
    storage: Storage, fields: Mapping[str, Any], members: Mapping[str, Any], fault: str
) -> None:
    await started(storage, invoice())
    lines = storage.lines
    with pytest.raises(ConfigurationError) as caught:
        async with storage.process(invoice(fields, **members), ORDER):
            pass
    assert fault in caught.value.message.text
    assert caught.value.message.text.startswith("Invoice cannot read the ")
    assert storage.lines == lines
    async with storage.process(invoice()) as process:
        assert (await process.journal.state())["invoices"].by_id[1].number == "A-1"


async def test_renamed_class_in_the_same_collection_stops_the_start(storage: Storage) -> None:
    await started(storage, invoice())
    bill = resource_class("Bill", INVOICE, collection="invoices")
    with pytest.raises(ConfigurationError, match="the log has the kind 'invoice' in invoices"):
        async with storage.process(bill):
            pass
    assert storage.types.count("schema.declared") == 1


async def test_all_changes_since_any_version_count(storage: Storage) -> None:
    """A field that only the second version has cannot be removed either."""
    await started(storage, invoice())
    async with storage.process(invoice(NEWER)):
        pass
    third = {**INVOICE, "note": (str, "")}
    with pytest.raises(ConfigurationError, match="due: the field is missing"):
        async with storage.process(invoice(third)):
            pass


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
        newest = invoice({**INVOICE, "number": (str | int, ""), "cents": (Clear[int | str], "")})
        async with storage.process(newest) as newer:
            await newer.journal.execute(newer.create(number=7, cents="x"))
        await older.journal.execute(Update(older.of("orders"), 1, 1, {"text": "y"}))
        state = await older.journal.state()
        table = state["orders"]
        (found,) = (await older.journal.history.entities_at(5, [table.by_id[1]], table)).values()
        assert found.text == "x"
        records = await older.journal.history.records(range(1, state.position + 1))
        assert [record.event.type for record in records] == storage.types


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


# Old events under a new declaration


RENAMED = {"code": str, "cents": Clear[int], "paid": (Clear[bool], False)}
RENAMED_CLEAR = {"number": str, "amount": Clear[int], "paid": (Clear[bool], False)}


def upcast(values: dict[str, Any]) -> dict[str, Any]:
    """Cents became a text in euros; values of the new form stay as they are."""
    if isinstance(values.get("cents"), int):
        values["cents"] = f"{values['cents'] / 100:.2f}"
    return values


UPCAST = {**INVOICE, "cents": Clear[str]}


@pytest.mark.parametrize(
    ("newer", "old", "new"),
    [
        (invoice(RENAMED, renamed={"number": "code"}), ("A-1", 5), ("A-9", 5)),
        (invoice(RENAMED_CLEAR, renamed={"cents": "amount"}), ("A-1", 5), ("A-1", 9)),
        (invoice(UPCAST, upcast=staticmethod(upcast)), ("A-1", "0.05"), ("A-1", "9")),
    ],
    ids=["renamed", "renamed clear", "upcast"],
)
async def test_old_events_are_read_in_replay_history_and_snapshot(
    storage: Storage, tmp_path: Path, newer: type[Resource], old: Any, new: Any
) -> None:
    await started(storage, invoice())
    async with storage.process(invoice()) as process:
        await process.journal.execute(Update(process.of("invoices"), 1, 1, {"number": "A-0"}))
        await process.journal.execute(Update(process.of("invoices"), 1, 1, {"number": "A-1"}))
        await process.journal.execute(Act(process.of("invoices"), 1, 1, "pay", {}))
    first, second = newer.__struct_fields__[:2]
    async with storage.process(newer, snapshots=tmp_path) as process:
        assert storage.types[-1] == "schema.declared"
        state = await process.journal.state()
        table = state["invoices"]
        entity = table.by_id[1]
        assert (getattr(entity, first), getattr(entity, second), entity.paid) == (*old, True)
        values = {first: new[0], second: new[1]}
        await process.journal.execute(Update(process.of("invoices"), 1, 1, values))
        state = await process.journal.state()
        entity = state["invoices"].by_id[1]
        assert (getattr(entity, first), getattr(entity, second)) == new
        past = await process.journal.history.entities_at(6, [entity], state["invoices"])
        assert (getattr(past[1], first), getattr(past[1], second)) == old
        snapshots = Snapshots(tmp_path, process.registry.vocabulary)
        snapshots.write(state, process.journal.keyring, _random.randbytes)
        sums = state.digest(), state.checksum()
    async with storage.process(newer, snapshots=tmp_path) as process:
        state = await process.journal.state()
        assert (state.digest(), state.checksum()) == sums
    folded = await storage.fold(newer)
    assert (folded.digest(), folded.checksum()) == sums


async def test_failing_upcast_is_one_clear_error(storage: Storage) -> None:
    def broken(values: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("euros")

    await started(storage, invoice())
    with pytest.raises(UnknownEvent) as caught:
        async with storage.process(invoice(UPCAST, upcast=staticmethod(broken))):
            pass
    assert caught.value.message.text == (
        "position 3: the upcast of Invoice raised KeyError: 'euros'"
    )


async def test_snapshot_of_older_code_equals_a_fold_from_zero(
    storage: Storage, tmp_path: Path
) -> None:
    """It was typed before the declaration, and has only the verbs after it."""
    async with storage.process(invoice(), ORDER, snapshots=tmp_path) as older:
        await older.register()
        await older.journal.execute(older.create())
        snapshots = Snapshots(tmp_path, older.registry.vocabulary)
        state = await older.journal.state()
        snapshots.write(state, older.journal.keyring, _random.randbytes)
        async with storage.process(invoice(NEWER)) as newer:
            await newer.journal.execute(newer.create(number="A-2", cents=6))
        state = await older.journal.state()
        snapshots.write(state, older.journal.keyring, _random.randbytes)
        sums = state.digest(), state.checksum()
    folded = await storage.fold(invoice(), ORDER)
    assert (folded.digest(), folded.checksum()) == sums
    async with storage.process(invoice(), ORDER, snapshots=tmp_path) as older:
        state = await older.journal.state()
        assert (state.digest(), state.checksum()) == sums
        with pytest.raises(UnknownKind):
            await older.journal.execute(older.create())


# An import


def imports(process: Process, names: Iterable[str]) -> list[Import]:
    """Commands that import an invoice for each owner."""
    resource = process.of("invoices")
    values = {"number": "A-1", "cents": 1, "paid": False}
    return [Import(resource, name, values, None, None, 0, "operator/root") for name in names]


async def test_import_with_a_declaration_is_all_or_nothing(storage: Storage) -> None:
    async with storage.process(invoice()) as process:
        users = [RegisterUser(profile("ann"), imported=True)]
        await process.journal.execute_all([*users, *imports(process, ["ann", "ann"])])
        assert storage.types == [
            *("schema.declared", "user.registered", "invoice.created", "invoice.created")
        ]
        assert [line.get("remaining") for line in storage.lines] == ["3", "2", "1", None]
        before = storage.lines
    other = Storage()
    async with other.process(invoice()) as process:
        with pytest.raises(Exception, match="there is no user 'nobody'"):
            await process.journal.execute_all([*users, *imports(process, ["ann", "nobody"])])
        assert other.lines == []
    assert storage.lines == before
