"""``eventapi resources``: the kinds of this code and of the log."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import click
import msgspec

from eventapi.bootstrap.storage import registry_of
from eventapi.cli.failures import NegativeResult
from eventapi.cli.opening import opened_log, opened_vault, state_at
from eventapi.cli.options import json_option, loaded, settings_options
from eventapi.cli.output import echo_warning, print_json, print_table, printable
from eventapi.commands.declarations import faults_of
from eventapi.configuration.settings import Settings
from eventapi.resources.declared import Declared
from eventapi.resources.registry import Registry
from eventapi.resources.schemas import schema_of
from events.errors import UnknownEvent, VaultUnavailable
from events.messages.commands import NO_KIND, RESOURCES_UNREADABLE, VALUES_CLOSED
from events.vault.memory import MemoryVault
from projections.state import State
from projections.tables.collections import Collections

BUILT_IN: Final = "built in"
READABLE: Final = "readable"
NEWER: Final = "newer in the log"
UNREADABLE: Final = "unreadable"
FOREIGN: Final = "not in this code"


class ListedResource(msgspec.Struct, frozen=True):
    """A row of the list; ``version`` is that of the newest declaration in the log."""

    kind: str
    collection: str
    fields: list[str]
    actions: list[str]
    version: int | None
    status: str


class ResourceFault(msgspec.Struct, frozen=True):
    """A reason why this code cannot read the log; ``kind`` is empty if it is of none."""

    kind: str
    fault: str


class CheckResult(msgspec.Struct, frozen=True):
    """Whether this code can read the log, and every reason why not."""

    position: int
    readable: bool
    faults: list[ResourceFault]


@click.group()
@settings_options
def resources() -> None:
    """List, show and check the declared resources."""


@resources.command("list")
@json_option
@settings_options
def list_resources(as_json: bool) -> None:
    """List the kinds of this code and of the log."""
    settings = loaded().settings
    registry = registry_of(settings)
    state = asyncio.run(_keyless_state(settings))
    listed = [_listed(one, state.resources) for one in registry.resources]
    known = {one.kind for one in listed}
    listed += [
        _listed_foreign(kind, state.resources)
        for kind in state.resources.schemas
        if kind not in known
    ]
    listed.sort(key=lambda one: one.collection)
    if as_json:
        print_json(listed)
        return
    rows = [
        [
            one.kind,
            one.collection,
            ", ".join(one.fields),
            ", ".join(one.actions) or "-",
            one.version or "-",
            one.status,
        ]
        for one in listed
    ]
    print_table(["kind", "collection", "fields", "actions", "version", "status"], rows)


def _listed(one: Declared, found: Collections) -> ListedResource:
    declared = found.schemas.get(one.kind, ())
    status = BUILT_IN if one.type.declaration is None else READABLE
    if faults_of(found, one.type):
        status = UNREADABLE
    elif found[one.collection].resource is not one.type:
        status = NEWER
    return ListedResource(
        one.kind,
        one.collection,
        list(one.names),
        list(one.actions),
        declared[-1].version if declared else None,
        status,
    )


def _listed_foreign(kind: str, found: Collections) -> ListedResource:
    declared = found.schemas[kind][-1]
    names = list(declared.schema.get("properties", {}))
    actions = list(declared.actions)
    return ListedResource(kind, found.places[kind], names, actions, declared.version, FOREIGN)


async def _keyless_state(settings: Settings) -> State:
    async with opened_log(settings) as log:
        return await state_at(settings, log, MemoryVault())


@resources.command()
@click.argument("kind", metavar="KIND")
@click.option(
    "--json", is_flag=True, expose_value=False, help="No effect: a schema is JSON anyway."
)
@settings_options
def show(kind: str) -> None:
    """Print the JSON Schema of a kind.

    It is that of this code; of a kind that only the log has, the newest one in the log.
    """
    settings = loaded().settings
    print_json(_schema(settings, registry_of(settings), kind))


def _schema(settings: Settings, registry: Registry, kind: str) -> Any:
    for one in registry.resources:
        if kind in {one.kind, one.collection}:
            return schema_of(one.type.fields, one.strict)
    found = asyncio.run(_keyless_state(settings)).resources
    for name, declared in found.schemas.items():
        if kind in {name, found.places[name]}:
            return declared[-1].schema
    raise NegativeResult(NO_KIND.fill(kind=kind))


@resources.command()
@json_option
@settings_options
def check(as_json: bool) -> None:
    """Check whether this code can read the log.

    The whole log is replayed, beside a running server, and nothing is changed. The exit code is 1
    if the code cannot read a kind, and every reason is printed.
    """
    result = asyncio.run(_check(loaded().settings))
    if as_json:
        print_json(result)
    elif result.readable:
        click.echo(f"this code can read the log, up to position {result.position}")
    else:
        for one in result.faults:
            click.echo(printable(f"{one.kind}: {one.fault}" if one.kind else one.fault))
    if not result.readable:
        raise NegativeResult(RESOURCES_UNREADABLE.fill(count=len(result.faults)))


async def _check(settings: Settings) -> CheckResult:
    registry = registry_of(settings)
    async with opened_log(settings) as log:
        position = log.position
        keys = MemoryVault()
        try:
            async with opened_vault(settings) as vault:
                await keys.put(await vault.all())
        except VaultUnavailable as error:
            echo_warning(VALUES_CLOSED.fill(reason=error))
        try:
            state = await state_at(settings, log, keys, position)
        except UnknownEvent as error:
            return CheckResult(position, False, [ResourceFault("", error.message.text)])
    faults = [fault for one in registry.resources for fault in _faults(one, state.resources)]
    return CheckResult(position, not faults, faults)


def _faults(one: Declared, found: Collections) -> list[ResourceFault]:
    faults = [ResourceFault(one.kind, fault) for fault in faults_of(found, one.type)]
    if not faults and found[one.collection].resource is not one.type:
        version = found.schemas[one.kind][-1].version
        newer = f"newer code has declared version {version}; use that code, or newer one"
        return [ResourceFault(one.kind, newer)]
    return faults
