"""Groups of commands: all or none, in order, later ones with the numbers of earlier ones."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from eventapi.commands.command import Command
from eventapi.commands.resources import Create
from eventapi.commands.users import RegisterUser
from eventapi.journal import batch as batches
from eventapi.journal.batch import (
    CommandResult,
    DependentCommand,
    GroupedCommand,
    IdempotencyKey,
    Runtime,
)
from eventapi.journal.config import JournalConfig
from eventapi.journal.journal import Journal
from eventapi.journal.origin import Origin
from eventapi.resources.registry import Registry
from eventapi.testing.given import at, profile
from eventapi.testing.items import ITEM, Content, create_item, delete_item, update_item
from events import codec
from events.errors import (
    EventapiError,
    IdempotencyKeyReused,
    LogFenced,
    LogUnavailable,
    NotFound,
    RequestInProgress,
    StorageFull,
)
from events.log.memory import MemoryLog
from events.record import entity_number
from events.vault.memory import MemoryVault
from tests.eventapi.harness import JournalHarness, Storage, open_harness
from tests.shop import Invoice, Line

KEY = IdempotencyKey("a" * 64, b"r" * 32)
OTHER_REQUEST = IdempotencyKey(KEY.key, b"s" * 32)


def change_of(part: int, title: str) -> DependentCommand:
    """The command that changes the item which command ``part`` of the group creates."""

    def build(results: Sequence[CommandResult]) -> Command:
        return update_item(1, entity_number(results[part].record.subject), title=title)

    return DependentCommand(ITEM, build)


def group(*titles: str) -> list[GroupedCommand]:
    """Creations, a change of the first one, and a deletion of item 1."""
    creations = [create_item(1, Content(title)) for title in titles]
    return [*creations, change_of(0, "changed"), delete_item(1, 1)]


def effects(results: Sequence[CommandResult]) -> list[tuple[int, str, Any]]:
    return [(one.record.position, one.record.subject, one.entity) for one in results]


async def titles(harness: JournalHarness) -> dict[int, str]:
    state = await harness.state()
    return {number: item.title for number, item in state["items"].by_id.items()}


async def test_later_commands_of_a_group_get_the_numbers_of_new_resources(
    storage: Storage,
) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.create(1, "old")
        results = await harness.journal.execute_all(group("one", "two"))
        subjects = [one.record.subject for one in results]
        assert subjects == ["items/2", "items/3", "items/2", "items/1"]
        assert await titles(harness) == {2: "changed", 3: "two"}
        assert harness.log.batches[-1] == 4


async def refused_group_leaves_nothing(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        sums, lines = await harness.sums(), await storage.lines()
        with pytest.raises(NotFound) as refused:
            await harness.journal.execute_all([*group("one")[:2], delete_item(1, 9), *group("two")])
        assert (await harness.sums(), await storage.lines()) == (sums, lines)
        assert refused.value.part == 2


async def test_a_refused_command_refuses_its_whole_group_and_says_which_it_was(
    storage: Storage,
) -> None:
    await refused_group_leaves_nothing(storage)


async def test_control_commands_written_one_by_one_would_leave_a_part(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute_all = Journal.execute_all

    async def one_by_one(
        journal: Journal, commands: Sequence[GroupedCommand], *_: Any, **__: Any
    ) -> list[CommandResult]:
        results: list[CommandResult] = []
        for command in commands:
            plain = command.build(results) if isinstance(command, DependentCommand) else command
            results += await execute_all(journal, [plain])
        return results

    monkeypatch.setattr(Journal, "execute_all", one_by_one)
    with pytest.raises(AssertionError):
        await refused_group_leaves_nothing(storage)


async def test_a_command_whose_build_refuses_refuses_its_group(storage: Storage) -> None:
    def refuse(_: Sequence[CommandResult]) -> Command:
        raise NotFound("there is none")

    async with open_harness(storage) as harness:
        await harness.register("ann")
        first = create_item(1, Content("one"))
        commands: list[GroupedCommand] = [first, DependentCommand(ITEM, refuse)]
        with pytest.raises(NotFound) as refused:
            await harness.journal.execute_all(commands)
        assert refused.value.part == 1
        assert await titles(harness) == {}


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (StorageFull("full"), StorageFull),
        (LogUnavailable("gone"), LogUnavailable),
        (LogFenced("fenced"), LogFenced),
        (OSError("an unforeseen error"), LogUnavailable),
    ],
    ids=repr,
)
async def test_a_group_whose_append_failed_has_no_effect_and_can_be_repeated(
    storage: Storage, error: Exception, reported: type[EventapiError]
) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.create(1, "old")
        sums = await harness.sums()
        harness.log.error = error
        with pytest.raises(reported):
            await harness.journal.execute_all(group("one"), Origin("request"), KEY)
        assert await harness.sums() == sums
        harness.log.error = None
        results = await harness.journal.execute_all(group("one"), Origin("request"), KEY)
        assert not results[0].replayed
        sums = await harness.sums()
    async with open_harness(storage) as again:
        assert await again.sums() == sums


async def half_written_groups_disappear(tmp_path: Path) -> None:
    """A crash after any line of a group, or within one, leaves nothing of it."""
    storage = Storage("jsonl", tmp_path / "full")
    (tmp_path / "full").mkdir()
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.create(1, "old")
        sums = await harness.sums()
    shutil.copytree(tmp_path / "full", tmp_path / "before")
    async with open_harness(storage) as harness:
        await harness.journal.execute_all(group("one", "two", "three"), Origin("request"), KEY)
    size = (tmp_path / "before" / "events.jsonl").stat().st_size
    written = (tmp_path / "full" / "events.jsonl").read_bytes()[size:]
    ends = [index + 1 for index, byte in enumerate(written) if byte == ord("\n")][:-1]
    for crash, end in enumerate([*ends, *(end - 9 for end in ends)]):
        directory = tmp_path / f"crash-{crash}"
        shutil.copytree(tmp_path / "before", directory)
        with (directory / "events.jsonl").open("ab") as log:
            log.write(written[:end])
        async with open_harness(Storage("jsonl", directory)) as recovered:
            assert await recovered.sums() == sums
            assert await recovered.journal.first_results(KEY, 5) is None
            await recovered.create(1, "next")


async def test_half_a_group_never_survives_a_crash(tmp_path: Path) -> None:
    await half_written_groups_disappear(tmp_path)


async def test_control_a_group_without_its_count_would_survive_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = codec.encode

    def careless(*arguments: Any, **options: Any) -> tuple[bytes, bytes]:
        record, previous, keys, nonce, _ = arguments
        return encode(record, previous, keys, nonce, 0, **options)

    monkeypatch.setattr(batches, "encode", careless)
    with pytest.raises(AssertionError):
        await half_written_groups_disappear(tmp_path)


async def test_a_repeated_group_has_no_effect_and_the_same_results(storage: Storage) -> None:
    async with open_harness(storage) as harness, open_harness(storage) as other:
        await harness.register("ann")
        await harness.create(1, "old")
        first = await harness.journal.execute_all(group("one", "two"), Origin("request"), KEY)
        await harness.journal.execute(update_item(1, 3, title="changed since"))
        position = (await harness.state()).position
        for journal in (harness.journal, other.journal):
            again = await journal.execute_all(group("one", "two"), Origin("request"), KEY)
            assert effects(again) == effects(first)
            assert all(one.replayed for one in again)
            found = await journal.first_results(KEY, 4)
            assert found is not None
            assert effects(found) == effects(first)
        assert (await harness.state()).position == position
    async with open_harness(storage) as later:
        again = await later.journal.execute_all(group("one", "two"), Origin("request"), KEY)
        assert effects(again) == effects(first)


async def test_only_the_first_line_of_a_group_has_the_key(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.create(1, "old")
        await harness.journal.execute_all(group("one"), Origin("request"), KEY)
    has_key = [b'"idempotencykey"' in line for line in await storage.lines()]
    assert has_key == [False, False, True, False, False]


async def test_another_group_with_the_same_key_is_refused(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.create(1, "old")
        await harness.journal.execute_all(group("one"), Origin("request"), KEY)
        with pytest.raises(IdempotencyKeyReused):
            await harness.journal.execute_all(group("two"), Origin("request"), OTHER_REQUEST)


async def test_a_group_that_is_still_running_is_refused_and_then_found(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.create(1, "old")
        harness.log.hold()
        first = asyncio.create_task(
            harness.journal.execute_all(group("one"), Origin("request"), KEY)
        )
        await harness.log.wait_until_held()
        with pytest.raises(RequestInProgress):
            await harness.journal.execute_all(group("one"), Origin("request"), KEY)
        harness.log.release()
        results = await first
        found = await harness.journal.execute_all(group("one"), Origin("request"), KEY)
        assert effects(found) == effects(results)


async def test_the_same_group_in_two_processes_takes_effect_once(storage: Storage) -> None:
    async with open_harness(storage) as one, open_harness(storage) as other:
        await one.register("ann")
        await one.create(1, "old")
        results = await asyncio.gather(
            one.journal.execute_all(group("one"), Origin("request"), KEY),
            other.journal.execute_all(group("one"), Origin("request"), KEY),
        )
        assert effects(results[0]) == effects(results[1])
        assert sorted(result[0].replayed for result in results) == [False, True]
        assert (await one.state()).position == 5


async def test_a_batch_is_full_by_its_commands_and_not_its_requests(storage: Storage) -> None:
    """A lock is held as long for one request with many commands as for many requests."""
    limits = JournalConfig(batch=6)
    async with open_harness(storage, limits=limits) as harness:
        await harness.register("ann")
        harness.log.hold()
        first = asyncio.create_task(harness.create(1))
        await harness.log.wait_until_held()
        three = [create_item(1, Content("a title"))] * 3
        seven = [create_item(1, Content("a title"))] * 7
        writes = [
            asyncio.create_task(harness.journal.execute_all(commands))
            for commands in (three, three, three, seven, three)
        ]
        await asyncio.sleep(0)
        harness.log.release()
        await asyncio.gather(first, *writes)
        assert harness.log.batches[1:] == [1, 6, 3, 7, 3]


def invoice(number: str) -> dict[str, Any]:
    return {
        "number": number,
        "cents": 5,
        "note": None,
        "barcode": None,
        "due": None,
        "paid": False,
    }


async def over_shop(run: Callable[[Journal, Registry, MemoryLog], Awaitable[None]]) -> None:
    """Run with a journal of a shop, in which Ann is user 1."""
    registry, log = Registry([Invoice, Line]), MemoryLog()
    numbers = iter(range(1, 10_000))
    runtime = Runtime(
        lambda: at(1),
        lambda: "00000000-0000-4000-8000-000000000001",
        lambda size: next(numbers).to_bytes(size, "big"),
    )
    journal = Journal(log, MemoryVault(), registry.vocabulary, runtime)
    await journal.start()
    try:
        await journal.execute(RegisterUser(profile("ann")))
        await run(journal, registry, log)
    finally:
        await journal.close()


async def test_declarations_of_several_kinds_stand_before_a_group_and_belong_to_it() -> None:
    async def run(journal: Journal, registry: Registry, log: MemoryLog) -> None:
        invoices, lines = (registry.by_collection[name] for name in ("invoices", "lines"))
        values = {field.name: field.default for field in lines.type.fields}

        def build(results: Sequence[CommandResult]) -> Command:
            number = entity_number(results[0].record.subject)
            return Create(lines, 1, {**values, "invoice": number})

        created = Create(invoices, 1, invoice("A1"))
        commands: list[GroupedCommand] = [created, DependentCommand(lines, build)]
        first = await journal.execute_all(commands, Origin("request"), KEY)
        again = await journal.execute_all(commands, Origin("request"), KEY)

        assert effects(again) == effects(first)
        assert [one.record.position for one in first] == [4, 5]
        assert first[1].entity is not None
        written = [line async for run in log.read(1) for line in run]
        kinds = ["schema.declared", "schema.declared", "invoice.created", "line.created"]
        assert [
            (f'"type":"{kind}"'.encode() in line, b'"remaining":"%d"' % left in line)
            for kind, left, line in zip(kinds, (3, 2, 1, 0), written, strict=True)
        ] == [(True, True)] * 3 + [(True, False)]

    await over_shop(run)


async def test_a_value_that_must_be_unique_is_taken_by_an_earlier_command_of_the_group() -> None:
    async def run(journal: Journal, registry: Registry, log: MemoryLog) -> None:
        invoices = registry.by_collection["invoices"]
        with pytest.raises(EventapiError) as refused:
            await journal.execute_all([Create(invoices, 1, invoice("A1"))] * 2)
        assert getattr(refused.value, "part", None) == 1
        assert log.position == 1

    await over_shop(run)
