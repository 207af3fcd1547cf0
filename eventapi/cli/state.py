"""``eventapi state`` and ``eventapi rebuild``: the state that the log folds to."""

from __future__ import annotations

import asyncio
import time

import click
import msgspec

from eventapi.bootstrap.storage import registry_of, snapshots_of
from eventapi.cli.failures import NegativeResult
from eventapi.cli.opening import opened_log, opened_vault, state_at
from eventapi.cli.options import json_option, loaded, settings_options
from eventapi.cli.output import echo_warning, print_fields, print_json, progress_bar
from eventapi.cli.times import AT
from eventapi.configuration.settings import Settings
from eventapi.queries.summary import summary_of
from events.messages.commands import SNAPSHOT_WRONG, SNAPSHOTS_DAMAGED
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from projections.replay import replay
from projections.state import State


class RebuildResult(msgspec.Struct, frozen=True):
    """The figures of a fold from zero.

    ``equal`` is true if a start from ``snapshot`` leads to the same state. ``damaged`` has the
    positions of damaged snapshots, which were removed. ``projections`` is the sum of the states of
    the application's projections; an exception stopped the ``failed_projections``.
    """

    events: int
    seconds: float
    events_per_second: int
    digest: str
    checksum: str
    snapshot: int | None
    equal: bool
    damaged: list[int]
    projections: str | None = None
    failed_projections: list[str] = []


_at = click.option("--at", type=AT, help="A position or an RFC 3339 time; default: now.")


@click.group()
@settings_options
def state() -> None:
    """Show the current state, or the state at an earlier position or time."""


@state.command()
@_at
@json_option
@settings_options
def show(at: int | str | None, as_json: bool) -> None:
    """Show the counts of the state, of each collection as well, and the digest."""
    found = asyncio.run(_keyless_state(loaded().settings, at))
    summary = summary_of(found)
    if as_json:
        print_json(summary)
        return
    print_fields(
        position=summary.position,
        time=summary.time or "-",
        users=_format_counts(summary.users),
        sessions=summary.sessions,
        digest=summary.digest,
    )
    width = max(map(len, ("position", *summary.resources))) + 2
    for collection, counts in summary.resources.items():
        click.echo(f"{collection:<{width}}{_format_counts(msgspec.structs.asdict(counts))}")


def _format_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


@state.command()
@_at
@json_option
@settings_options
def digest(at: int | str | None, as_json: bool) -> None:
    """Print the public digest of the state, which needs no keys to recompute."""
    found = asyncio.run(_keyless_state(loaded().settings, at))
    if as_json:
        print_json({"position": found.position, "digest": found.digest()})
    else:
        click.echo(found.digest())


async def _keyless_state(settings: Settings, at: int | str | None) -> State:
    """Fold the state without keys, which suffices for counts and digest."""
    async with opened_log(settings) as log:
        return await state_at(settings, log, MemoryVault(), at)


@click.command()
@json_option
@settings_options
def rebuild(as_json: bool) -> None:
    """Fold the whole log from zero, and compare the result with the newest snapshot.

    Digest and checksum must equal those of the state that a server starts with: the newest
    snapshot and the events after it. If they differ, the snapshots are removed, and the exit code
    is 1. A damaged snapshot is removed with a warning, because a start skips it. The command works
    beside a running server. An archive has no snapshots to compare with.
    """
    figures = asyncio.run(_rebuild(loaded().settings))
    if as_json:
        print_json(figures)
    else:
        damaged = ", ".join(map(str, figures.damaged)) or None
        failed = ", ".join(figures.failed_projections) or None
        fields = {"damaged": damaged, "failed_projections": failed}
        print_fields(**{**msgspec.structs.asdict(figures), **fields})
    if figures.damaged:
        positions = ", ".join(map(str, figures.damaged))
        echo_warning(SNAPSHOTS_DAMAGED.fill(positions=positions))
    if not figures.equal:
        raise NegativeResult(SNAPSHOT_WRONG.fill(position=figures.snapshot))


async def _rebuild(settings: Settings) -> RebuildResult:
    # The snapshots are those of the log of the data directory.
    snapshots = None if settings.is_archive else snapshots_of(settings)
    damaged = [] if snapshots is None else snapshots.remove_damaged()
    taken = None if snapshots is None else snapshots.usable_position() or None
    async with opened_log(settings) as log, opened_vault(settings) as vault:
        upto = log.position
        # Both folds use the same keys, or an erasure in between would look like a difference.
        keys = MemoryVault()
        await keys.put(await vault.all())
        started = time.perf_counter()
        rebuilt = await state_at(settings, log, keys, upto, from_zero=True)
        seconds = time.perf_counter() - started
        equal = True
        if taken is not None:
            with progress_bar("comparing with a start from the snapshot", upto) as bar:
                served = await replay(
                    log,
                    Keyring(),
                    keys,
                    registry_of(settings).vocabulary,
                    position=upto,
                    snapshots=snapshots,
                    progress=bar,
                )
            equal = _sums(served) == _sums(rebuilt)
    if snapshots is not None and not equal:
        snapshots.remove()
    return RebuildResult(
        upto,
        round(seconds, 3),
        round(upto / max(seconds, 1e-6)),
        rebuilt.digest(),
        rebuilt.checksum(),
        taken,
        equal,
        damaged,
        rebuilt.read_models.checksum() if rebuilt.read_models.models else None,
        list(rebuilt.read_models.failures),
    )


def _sums(state: State) -> tuple[str, str, str]:
    return state.digest(), state.checksum(), state.read_models.checksum()
