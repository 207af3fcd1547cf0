"""``eventapi resources``: the kinds of this code and of the log."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from click.testing import Result

from eventapi.bootstrap.storage import open_journal, registry_of
from eventapi.commands.resources import Create
from eventapi.commands.users import RegisterUser
from eventapi.configuration.settings import Settings
from eventapi.resources.registry import load_registry
from eventapi.testing.given import profile
from tests.eventapi.cli.running import invoke, message_in
from tests.eventapi.cli.trees import tree

SHOP = """
    from typing import Annotated
    from msgspec import Meta, structs
    from eventapi.resources import Clear, Resource, action

    class Invoice(Resource):
        number: Annotated[str, Meta(max_length=20)]
        cents: Clear[int]

        @action
        def pay(self) -> "Invoice":
            return self

    class Product(Resource):
        name: str
"""

Write = Callable[[str], None]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """A function that writes the module ``shop`` anew; it is imported again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def forget() -> None:
        sys.modules.pop("shop", None)
        load_registry.cache_clear()
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)

    def write(text: str) -> None:
        forget()
        (tmp_path / "shop.py").write_text(dedent(text))

    write(SHOP)
    yield write
    forget()


@pytest.fixture
def data(tmp_path: Path, shop: Write) -> Path:
    """A data directory with a user and an invoice."""
    folder = tmp_path / "data"
    serve(folder, invoices=1)
    return folder


def serve(data: Path, invoices: int = 0) -> None:
    """Start and stop a journal with the shop, as a server does; write some invoices."""

    async def write() -> None:
        settings = Settings(data=str(data), resources=("shop",))
        async with open_journal(settings, begin=True) as (journal, log):
            if log.position == 0:
                await journal.execute(RegisterUser(profile("ann")))
            invoice = registry_of(settings).by_collection["invoices"]
            for number in range(invoices):
                values = {"number": f"A-{number}", "cents": number}
                await journal.execute(Create(invoice, 1, values))

    asyncio.run(write())


def resources(data: Path, *arguments: str, modules: str = "shop") -> Result:
    return invoke(data, "resources", *arguments, "--resources", modules)


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


# list


def test_list_has_the_kinds_of_the_code_with_their_version_in_the_log(data: Path) -> None:
    assert answer(resources(data, "list", "--json")) == [
        {
            "kind": "invoice",
            "collection": "invoices",
            "fields": ["number", "cents"],
            "actions": ["pay"],
            "version": 1,
            "status": "readable",
        },
        {
            "kind": "item",
            "collection": "items",
            "fields": ["title", "description"],
            "actions": [],
            "version": None,
            "status": "built in",
        },
        {
            "kind": "product",
            "collection": "products",
            "fields": ["name"],
            "actions": [],
            "version": None,
            "status": "readable",
        },
    ]


def test_list_prints_a_table(data: Path) -> None:
    assert resources(data, "list").stdout.splitlines() == [
        "kind\tcollection\tfields\tactions\tversion\tstatus",
        "invoice\tinvoices\tnumber, cents\tpay\t1\treadable",
        "item\titems\ttitle, description\t-\t-\tbuilt in",
        "product\tproducts\tname\t-\t-\treadable",
    ]


def test_list_without_the_module_has_the_kinds_of_the_log(data: Path) -> None:
    listed = answer(resources(data, "list", "--json", modules=""))
    assert [(one["kind"], one["status"]) for one in listed] == [
        ("invoice", "not in this code"),
        ("item", "built in"),
    ]
    assert (listed[0]["fields"], listed[0]["actions"]) == (["number", "cents"], ["pay"])


def test_list_tells_newer_and_unreadable_kinds_apart(data: Path, shop: Write) -> None:
    shop(SHOP.replace("cents: Clear[int]", "cents: Clear[int]\n        due: str | None = None"))
    serve(data)
    assert answer(resources(data, "list", "--json"))[0]["version"] == 2
    shop(SHOP)
    assert answer(resources(data, "list", "--json"))[0]["status"] == "newer in the log"
    shop(SHOP.replace("Clear[int]", "int"))
    assert answer(resources(data, "list", "--json"))[0]["status"] == "unreadable"


# show


@pytest.mark.parametrize("name", ["invoice", "invoices"])
def test_show_prints_the_schema(data: Path, name: str) -> None:
    schema = answer(resources(data, "show", name))
    assert schema == answer(resources(data, "show", name, "--json"))
    assert schema["properties"]["number"] == {"type": "string", "maxLength": 20}
    assert schema["required"] == ["number", "cents"]
    assert schema == answer(resources(data, "show", name, modules=""))


def test_show_of_this_code_needs_no_log(tmp_path: Path, shop: Write) -> None:
    assert answer(resources(tmp_path, "show", "product"))["required"] == ["name"]
    assert answer(resources(tmp_path, "show", "item"))["required"] == ["title"]


def test_show_of_an_unknown_kind_is_refused(data: Path) -> None:
    result = resources(data, "show", "nothing")
    assert (result.exit_code, result.stdout) == (1, "")
    assert message_in(result.stderr) == "there is no kind 'nothing' in this code or in the log"


# check


def test_check_of_the_same_code_is_good(data: Path) -> None:
    result = resources(data, "check")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "this code can read the log, up to position 3\n"
    assert answer(resources(data, "check", "--json")) == {
        "position": 3,
        "readable": True,
        "faults": [],
    }


def test_check_of_compatible_code_is_good_and_declares_nothing(data: Path, shop: Write) -> None:
    shop(SHOP.replace("max_length=20", "max_length=30"))
    before = tree(data)
    assert resources(data, "check").exit_code == 0
    assert tree(data) == before


def test_check_of_code_without_the_kind_is_good(data: Path) -> None:
    """It folds the kind by its verbs."""
    assert resources(data, "check", modules="").exit_code == 0


def test_check_prints_every_fault(data: Path, shop: Write) -> None:
    shop(
        """
        from eventapi.resources import Resource

        class Invoice(Resource):
            number: int
            cents: int
            due: str
        """
    )
    result = resources(data, "check")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "invoice: cents: it is not Clear any more; add a field of another name instead",
        "invoice: pay: the action is missing; keep it, and let it raise Refused",
        "invoice: number: the type is narrower than before; widen it, or add an upcast",
        "invoice: due: the field is new and has no default; give it one, or add an upcast",
    ]
    assert message_in(result.stderr) == "this code cannot read the log; faults found: 4"
    result = resources(data, "check", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["readable"], found["position"]) == (False, 3)
    assert [one["kind"] for one in found["faults"]] == ["invoice"] * 4


def test_check_finds_newer_code_in_the_log(data: Path, shop: Write) -> None:
    shop(SHOP.replace("cents: Clear[int]", "cents: Clear[int]\n        due: str | None = None"))
    serve(data)
    shop(SHOP)
    result = resources(data, "check")
    assert result.exit_code == 1
    assert result.stdout == (
        "invoice: newer code has declared version 2; use that code, or newer one\n"
    )


def test_check_runs_the_upcast_on_every_event(data: Path, shop: Write) -> None:
    text = SHOP.replace("Annotated[str, Meta(max_length=20)]", "int")
    upcast = """
        @staticmethod
        def upcast(values):
            if "number" in values:
                values["number"] = int(values["number"])
            return values

        @action"""
    shop(text.replace("\n        @action", upcast))
    result = resources(data, "check")
    assert result.exit_code == 1
    assert result.stdout.startswith("position 3: the upcast of Invoice raised ValueError")
    shop(text.replace("\n        @action", upcast.replace('int(values["number"])', "7")))
    assert resources(data, "check").exit_code == 0


def test_check_without_keys_warns_and_reads_what_is_clear(data: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    shutil.copy(data / "events.jsonl", tmp_path / "copy")
    result = resources(tmp_path / "copy", "check")
    assert result.exit_code == 0
    assert "personal values cannot be opened" in result.stderr


@pytest.mark.parametrize("command", [("list",), ("check",), ("show", "nothing")])
def test_commands_change_nothing_beside_a_server(data: Path, command: tuple[str, ...]) -> None:
    """They need no lock, so a server that holds it goes on."""

    async def beside() -> Result:
        settings = Settings(data=str(data), resources=("shop",))
        async with open_journal(settings) as (_, log), log.exclusive(5):
            before = tree(data)
            result = await asyncio.to_thread(resources, data, *command)
            assert tree(data) == before
            return result

    assert asyncio.run(beside()).exit_code == (1 if command[0] == "show" else 0)


@pytest.mark.parametrize("command", ["list", "check"])
def test_without_a_log_nothing_is_created(tmp_path: Path, shop: Write, command: str) -> None:
    result = resources(tmp_path / "none", command)
    assert result.exit_code == 3
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", [("list",), ("check",), ("show", "invoice")])
def test_bad_module_is_one_message(data: Path, command: tuple[str, ...]) -> None:
    result = resources(data, *command, modules="no_such_module")
    assert (result.exit_code, result.stdout) == (3, "")
    assert message_in(result.stderr).startswith("there is no module 'no_such_module'; name a")


@pytest.mark.parametrize("option", [(), ("--seals",)])
@pytest.mark.parametrize("modules", ["shop", ""])
def test_older_code_verifies_the_log_of_newer_code(
    data: Path, shop: Write, option: tuple[str, ...], modules: str
) -> None:
    """Its lines are intact, also where their values are of types that this code does not have."""
    newer = SHOP.replace("Clear[int]", 'Clear[int | str] = ""').replace(
        "Annotated[str, Meta(max_length=20)]", 'str | int = ""'
    )
    shop(newer)
    serve(data, invoices=1)
    written_by_newer(data)
    shop(SHOP)
    result = invoke(data, "log", "verify", *option, "--resources", modules)
    assert (result.exit_code, result.stderr) == (0, ""), result.stdout


def written_by_newer(data: Path) -> None:
    """Write values that the older code cannot read."""

    async def write() -> None:
        settings = Settings(data=str(data), resources=("shop",))
        async with open_journal(settings) as (journal, _):
            invoice = registry_of(settings).by_collection["invoices"]
            await journal.execute(Create(invoice, 1, {"number": 7, "cents": "x"}))

    asyncio.run(write())


@pytest.mark.parametrize("option", [(), ("--seals",)])
def test_code_with_new_names_and_an_upcast_verifies_the_log(
    data: Path, shop: Write, option: tuple[str, ...]
) -> None:
    shop(
        """
        from eventapi.resources import Clear, Resource, action

        class Invoice(Resource):
            renamed = {"cents": "amount"}

            number: int
            amount: Clear[str]

            @staticmethod
            def upcast(values):
                return {name: 7 if name == "number" else str(value) for name, value in values.items()}

            @action
            def pay(self) -> "Invoice":
                return self
        """
    )
    assert resources(data, "check").exit_code == 0
    result = invoke(data, "log", "verify", *option, "--resources", "shop")
    assert (result.exit_code, result.stderr) == (0, ""), result.stdout
