"""Background task: take snapshots in child processes, without pausing the server."""

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

CHECK_INTERVAL_SECONDS = 5.0
"""The average time between two checks; it varies, so that workers do not all check at once."""


async def run_snapshots(journal: Journal, snapshots: Snapshots, settings: Settings) -> None:
    """Take a snapshot after every ``snapshot_every`` events, until cancelled.

    Every worker runs this task, and one of them takes the snapshot.
    """
    while True:
        await asyncio.sleep(CHECK_INTERVAL_SECONDS * (0.5 + random.random()))  # noqa: S311 - no secret
        try:
            position = (await journal.state()).position
            if not _is_due(snapshots, position, settings):
                continue
            # The new process takes a while until it holds its own lock.
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

    It gets its settings in its environment, because every user of the machine can read a command
    line, and the URL of a database has a password in it. It is not started with the event loop:
    uvloop passes the listening socket to its children, and a child that outlives a killed server
    would block the port for the next one.
    """
    given = {"DATA": settings.data, "LOG": settings.log or str(settings.log_path)}
    return subprocess.Popen(  # noqa: S603 - our own program
        program("snapshot"),
        env={**os.environ, **{f"{PREFIX}{name}": text for name, text in given.items()}},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
