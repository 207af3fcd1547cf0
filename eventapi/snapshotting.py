"""Taking snapshots now and then, each by a process of its own, so that the server never pauses."""

from __future__ import annotations

import asyncio
import logging
import random
import subprocess
import sys
from collections.abc import Sequence

from eventapi.journal import Journal
from events.errors import EventapiError
from projections.snapshots import Snapshots

logger = logging.getLogger("eventapi.snapshots")

LOOK_SECONDS = 5.0
"""How long it is between two looks, on average: workers do not look all at once."""


async def keep_taking(
    journal: Journal, snapshots: Snapshots, every: int, options: Sequence[str]
) -> None:
    """Take a snapshot whenever the log has grown by ``every`` events, until cancelled.

    ``options`` tell the command line which data it is about.
    """
    while True:
        await asyncio.sleep(LOOK_SECONDS * (0.5 + random.random()))  # noqa: S311 - no secret
        try:
            position = (await journal.state()).position
            if position - snapshots.usable_position() >= every and not snapshots.is_locked():
                await _take(options)
        except (EventapiError, OSError) as error:
            logger.warning("no snapshot was taken: %s", error)


async def _take(options: Sequence[str]) -> None:
    process = start_taking(options)
    try:
        code = await asyncio.to_thread(process.wait)
    except asyncio.CancelledError:
        process.terminate()
        await asyncio.to_thread(process.wait)
        raise
    if code != 0:
        logger.warning("the process that takes snapshots ended with code %d", code)


def start_taking(options: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the process that takes one snapshot.

    Not with the loop's own means: uvloop hands the listening socket on to its children, and one
    that outlives a killed server would keep the port from the next.
    """
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "eventapi", *options, "snapshot"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
