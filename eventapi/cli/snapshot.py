"""``eventapi snapshot``: store the current state for a faster start."""

from __future__ import annotations

import asyncio
import os
import secrets
import time

import click
import msgspec

from eventapi.bootstrap.start_check import check_writable
from eventapi.bootstrap.storage import registry_of, snapshots_of
from eventapi.cli.failures import NegativeResult
from eventapi.cli.opening import REPLAYING, check_data_directory, opened_log, opened_vault
from eventapi.cli.options import json_option, loaded, settings_options
from eventapi.cli.output import print_fields, print_json, progress_bar
from eventapi.configuration.settings import Settings
from events.messages.commands import SNAPSHOT_RUNNING
from events.sealing import Keyring
from projections.replay import replay


class SnapshotResult(msgspec.Struct, frozen=True):
    """The figures of a snapshot."""

    position: int
    bytes: int
    seconds: float


@click.command()
@json_option
@settings_options
def snapshot(as_json: bool) -> None:
    """Store a snapshot of the state, so that the next start is faster.

    The command works beside a running server.
    """
    taken = asyncio.run(_take(loaded().settings))
    if as_json:
        print_json(taken)
    else:
        print_fields(**msgspec.structs.asdict(taken))


async def _take(settings: Settings) -> SnapshotResult:
    os.nice(19)  # Requests of a server on this machine take precedence.
    check_writable(settings)
    check_data_directory(settings)
    snapshots = snapshots_of(settings)
    started = time.perf_counter()
    async with opened_log(settings) as log:
        with snapshots.locked() as alone:
            if not alone:
                raise NegativeResult(SNAPSHOT_RUNNING)
            keyring = Keyring()
            async with opened_vault(settings) as vault:
                with progress_bar(REPLAYING, log.position) as progress:
                    state = await replay(
                        log,
                        keyring,
                        vault,
                        registry_of(settings).vocabulary,
                        snapshots=snapshots,
                        progress=progress,
                    )
            size = snapshots.write(state, keyring, secrets.token_bytes)
    return SnapshotResult(state.position, size, round(time.perf_counter() - started, 3))
