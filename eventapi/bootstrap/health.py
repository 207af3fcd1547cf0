"""The details of ``GET /health``."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from typing import Any

from eventapi import __version__
from eventapi.bootstrap.telemetry import Metering
from eventapi.configuration.settings import Settings
from eventapi.http.services import Details
from eventapi.journal.journal import Journal
from eventapi.ratelimit.storage import RateLimitStorage
from eventapi.tasks.signing_check import SigningCheck
from events.log.port import EventLog


def health_details(  # noqa: PLR0917 - one of each
    settings: Settings,
    journal: Journal,
    log: EventLog,
    counts: RateLimitStorage,
    signing: SigningCheck,
    metering: Metering | None,
) -> Details:
    """A function that returns the details of ``GET /health``, the lag aside."""
    started = time.monotonic()

    def details() -> Mapping[str, Any]:
        return {
            "position": log.position,
            "database": _database(settings, log),
            "database_lost_seconds": round(log.lost_for, 3),
            "queued": journal.queued,
            "disk_free_bytes": free_bytes(settings),
            "uptime_seconds": round(time.monotonic() - started, 3),
            "redis": counts.redis,
            "signing": "suspended" if signing.is_ok is False else "ok",
            "process": os.getpid(),
            "workers": _workers(metering),
            "version": __version__,
        }

    return details


def _workers(metering: Metering | None) -> int | None:
    """The number of workers; ``None`` without metrics, or if their files were removed."""
    try:
        return metering.meters.store.workers() if metering and metering.meters else None
    except OSError:
        return None


def _database(settings: Settings, log: EventLog) -> str | None:
    if not settings.is_database:
        return None
    return "lost" if log.lost_for else "ok"


def free_bytes(settings: Settings) -> int | None:
    """The free bytes on the disk of the log; ``None`` if there is no such directory."""
    try:
        return shutil.disk_usage(settings.log_path.parent).free
    except OSError:
        return None
