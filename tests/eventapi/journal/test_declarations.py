"""``schema.declared``: the log describes its kinds, and a start judges the code."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from eventapi.commands.resources import Import
from eventapi.commands.users import RegisterUser
from eventapi.resources import Clear
from eventapi.testing.given import profile
from events.errors import ConfigurationError, Invalid
from tests.eventapi.journal.declaring import (
    INVOICE,
    NEWER,
    ORDER,
    Process,
    Storage,
    invoice,
    started,
)
from tests.eventapi.resources.declaring import resource_class


@pytest.fixture
def storage() -> Storage:
    return Storage()


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


async def test_refused_command_leaves_no_declaration_in_its_batch(storage: Storage) -> None:
    async with storage.process(invoice(), ORDER) as process:
        await process.register()
        commands = [
            process.create(number="\0", cents=5),
            process.create("orders", text="x"),
            process.create(),
            process.create(number="\0", cents=5),
        ]
        results = await asyncio.gather(
            *map(process.journal.execute, commands), return_exceptions=True
        )
        assert [isinstance(one, Invalid) for one in results] == [True, False, False, True]
        state = await process.journal.state()
        sums = state.digest(), state.checksum()
    assert storage.types[1:] == [
        *("schema.declared", "order.created", "schema.declared", "invoice.created")
    ]
    folded = await storage.fold(invoice(), ORDER)
    assert (folded.digest(), folded.checksum()) == sums


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


async def test_a_default_that_older_events_are_read_with_stays(storage: Storage) -> None:
    await started(storage, invoice())
    async with storage.process(invoice({**INVOICE, "note": (str, "x")})):
        pass
    with pytest.raises(ConfigurationError, match='note: the default was "x", and older events'):
        async with storage.process(invoice({**INVOICE, "note": (str, "y")})):
            pass


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
