"""Which log, vault and snapshots the settings mean: the wiring of everything but HTTP.

Commands that read stand on this alone, and so start without a web framework.
"""

from __future__ import annotations

import logging
import re
import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from eventapi.batch import Environment
from eventapi.checkpoints import Checkpoints
from eventapi.journal import Journal
from eventapi.rebuilding import Rebuilds
from eventapi.security.passwords import Passwords
from eventapi.settings import Settings
from eventapi.watching import UNWATCHED, Watch
from events.errors import ConfigurationError
from events.log.jsonl import JsonlLog
from events.log.port import EventLog
from events.vault.port import Vault
from events.vault.sqlite import SqliteVault
from projections.replay import Progress, both
from projections.snapshots import Snapshots
from projections.tree import Tree

logger = logging.getLogger("eventapi.storage")

SYSTEM = Environment(
    now=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    new_uuid=lambda: str(uuid.uuid4()),
    random_bytes=secrets.token_bytes,
)
"""The real clock and the real randomness."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What can be plugged in; what is left out is made from the settings.

    Snapshots belong to a log, so those of the settings are not used with another log.
    """

    log: EventLog | None = None
    vault: Vault | None = None
    snapshots: Snapshots | None = None
    passwords: Passwords | None = None
    environment: Environment = SYSTEM


DEFAULT = Parts()


_IN_MEMORY = {"tmpfs", "ramfs"}


def warn_if_in_memory(settings: Settings) -> None:
    """Say so where the log lies on a file system that is gone with the power."""
    kind = file_system(settings.log_path.parent)
    if kind in _IN_MEMORY:
        logger.warning("the data directory is on %s: nothing there survives a power cut", kind)


def file_system(directory: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """The type of the file system that a directory is on, or will be; empty where nobody tells."""
    place, longest, found = directory.resolve(), -1, ""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        _, escaped, kind, *_ = line.split()
        # Blanks and backslashes are told in octal; of two mounts on one place the later one counts.
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), escaped)
        if place.is_relative_to(point) and len(point) >= longest:
            longest, found = len(point), kind
    return found


def open_log(settings: Settings) -> EventLog:
    """The log that the settings name; raises `ConfigurationError` and `DamagedLog`."""
    if "://" in (settings.log or ""):
        raise ConfigurationError("EVENTAPI_LOG: this version keeps its log in a file only")
    if not settings.log_path.name:
        raise ConfigurationError(f"EVENTAPI_LOG: {settings.log!r} is no name of a file")
    return JsonlLog(settings.log_path)


def vault_path(settings: Settings) -> Path:
    """The file of the vault, beside the log."""
    return settings.log_path.parent / "vault.sqlite"


def open_vault(settings: Settings) -> Vault:
    """The vault beside the log, made where there is none; raises `VaultUnavailable`."""
    return SqliteVault(vault_path(settings))


def open_checkpoints(settings: Settings, log: EventLog, parts: Parts = DEFAULT) -> Checkpoints:
    """The checkpoints beside the log; for a log that is plugged in they are kept in memory."""
    path = settings.log_path
    key = path.with_name(f"{path.name}.key") if parts.log is None else None
    return Checkpoints(Tree(log), key)


def open_snapshots(settings: Settings) -> Snapshots:
    """The snapshots beside the log."""
    return Snapshots(settings.log_path.parent / "snapshots")


def open_rebuilds(settings: Settings) -> Rebuilds:
    """Where who folds the log tells how far."""
    return Rebuilds(settings.log_path.parent / "rebuilding")


@asynccontextmanager
async def opened_journal(
    settings: Settings,
    parts: Parts = DEFAULT,
    progress: Progress | None = None,
    on_fence: Callable[[], None] = lambda: None,
    watch: Watch = UNWATCHED,
) -> AsyncIterator[tuple[Journal, EventLog]]:
    """A started journal and its log, closed at the end.

    ``on_fence`` is called when nothing may be written before a restart, and ``watch`` is told how
    writing goes. Raises
    `ConfigurationError`, `LogError` and `VaultUnavailable`.
    """
    async with AsyncExitStack() as stack:
        log = parts.log or open_log(settings)
        stack.push_async_callback(log.close)
        vault = parts.vault or open_vault(settings)
        stack.push_async_callback(vault.close)
        snapshots = parts.snapshots
        if parts.log is None:
            snapshots = snapshots or open_snapshots(settings)
        journal = Journal(
            log, vault, parts.environment, on_fence=on_fence, snapshots=snapshots, watch=watch
        )
        stack.push_async_callback(journal.close)
        with open_rebuilds(settings).told(log.position) as told:
            await journal.start(both(told, progress) if progress else told)
        yield journal, log
