"""Taking snapshots now and then, each by a process of its own, so that the server never pauses."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import subprocess

from eventapi.configuration.setting import PREFIX
from eventapi.configuration.settings import Settings
from eventapi.journal.journal import Journal
from eventapi.tasks.isolation import program
from events.errors import EventapiError
from events.messages.server_log import NO_SNAPSHOT, SNAPSHOT_PROCESS_FAILED
from projections.snapshots import Snapshots

logger = logging.getLogger("eventapi.tasks")

CHECK_SECONDS = 5.0
"""How long it is between two looks, on average: workers do not look all at once."""


async def run_snapshots(journal: Journal, snapshots: Snapshots, settings: Settings) -> None:
    """Take a snapshot whenever the log has grown by ``snapshot_every`` events, until cancelled.

    Every worker runs this, and one of them takes the snapshot.
    """
    while True:
        await asyncio.sleep(CHECK_SECONDS * (0.5 + random.random()))  # noqa: S311 - no secret
        try:
            position = (await journal.state()).position
            if not _is_due(snapshots, position, settings):
                continue
            # The process that takes it needs a while until it holds the lock of its own.
            with snapshots.claimed() as is_first:
                if is_first and _is_due(snapshots, position, settings):
                    await _take(settings)
        except (EventapiError, OSError) as error:
            logger.warning(NO_SNAPSHOT.fill(reason=error))


def _is_due(snapshots: Snapshots, position: int, settings: Settings) -> bool:
    grown = position - snapshots.usable_position()
    return grown >= settings.snapshot_every and not snapshots.is_locked()


async def _take(settings: Settings) -> None:
    process = start_snapshot(settings)
    try:
        code = await asyncio.to_thread(process.wait)
    except asyncio.CancelledError:
        process.terminate()
        await asyncio.to_thread(process.wait)
        raise
    if code != 0:
        logger.warning(SNAPSHOT_PROCESS_FAILED.fill(code=code))


def start_snapshot(settings: Settings) -> subprocess.Popen[bytes]:
    """Start the process that takes one snapshot.

    It takes its settings from its environment, because every user of the machine can read a command
    line, and the address of a database has a password in it. Not with the loop's own means: uvloop
    passes the listening socket on to its children, and one that outlives a killed server would keep
    the port from the next.
    """
    given = {"DATA": settings.data, "LOG": settings.log or str(settings.log_path)}
    return subprocess.Popen(  # noqa: S603 - our own program
        program("snapshot"),
        env={**os.environ, **{f"{PREFIX}{name}": text for name, text in given.items()}},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
