"""The gauges of a worker: its current values, all set from one sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from eventapi.telemetry.metrics.memory import resident_bytes
from eventapi.telemetry.metrics.store import Gauge, GaugeMode, MetricsStore

MAX_WEBHOOK_LABELS: Final = 1_000
"""Webhooks with a higher number are counted together, or not at all."""

_Description = tuple[str, str, GaugeMode]
"""The name of a gauge, its help text, and how the values of several workers become one."""


class Sample(msgspec.Struct, frozen=True):
    """The gauges of a worker at one moment; those that are ``None`` keep their value."""

    position: int
    lag: int
    queued: int
    passwords: int
    sessions: int | None
    streams: int
    disk_free: int | None
    redis_ok: bool | None
    unchecked: int = 0
    signing_ok: bool = True
    clock_drift: float = 0.0
    clock_refuses: bool = False
    failed_projections: int = 0
    disabled_webhooks: int = 0
    follower_lags: Mapping[str, int] = {}
    delayed_mails: int = 0
    witness_times: Mapping[str, float] = {}
    cosigned_at: float | None = None
    segments: int | None = None
    closed_bytes: int | None = None


_WORKERS: Final[_Description] = ("eventapi_workers", "Workers that serve.", "sum")
_MEMORY: Final[_Description] = (
    "process_resident_memory_bytes",
    "Memory of all processes of the server: workers, supervisor, snapshot.",
    "mostrecent",  # Each worker reports the sum of all.
)
_FOLLOWER_LAG: Final[_Description] = (
    "eventapi_follower_lag_events",
    "Events that a follower of the log has not completed.",
    "max",
)
_COSIGNED: Final[_Description] = (
    "eventapi_witness_cosigned_timestamp_seconds",
    "The time of the newest cosignature of a witness, 0 if there is none.",
    "max",
)

_BY_FIELD: Final[Mapping[str, _Description]] = {
    "position": ("eventapi_log_position", "The position of the last event.", "max"),
    "lag": (
        "eventapi_projection_lag_events",
        "Events that the slowest worker has not folded in, although it tried.",
        "max",
    ),
    "queued": ("eventapi_journal_queue_length", "Writes that wait.", "sum"),
    "passwords": (
        "eventapi_password_queue_length",
        "Passwords being hashed, or waiting for it.",
        "sum",
    ),
    "sessions": ("eventapi_sessions", "Sessions that go on.", "mostrecent"),
    "streams": ("eventapi_streams", "Streams of events that are open.", "sum"),
    "unchecked": (
        "eventapi_log_unchecked_events",
        "Events whose hash chain the slowest worker has not checked since its start.",
        "max",
    ),
    "signing_ok": (
        "eventapi_log_signing_up",
        "Whether the log continues its newest checkpoint, and is signed.",
        "min",
    ),
    "clock_drift": (
        "eventapi_clock_drift_seconds",
        "How far the log's clock is ahead of this machine's; negative after a jump forward.",
        "max",
    ),
    "clock_refuses": (
        "eventapi_clock_refuses_writes",
        "Whether writes are refused because the clock of this machine cannot be right.",
        "max",
    ),
    "failed_projections": (
        "eventapi_projections_failed",
        "Projections of the application that an exception stopped.",
        "max",
    ),
    "disabled_webhooks": (
        "eventapi_webhooks_disabled",
        "Webhooks that the server disabled, because their receivers failed or are gone.",
        "max",
    ),
    "delayed_mails": (
        "eventapi_mails_delayed",
        "Mails that their recipients' servers refused for now, and that are tried again.",
        "sum",
    ),
}
"""The gauges that every server has."""

_IF_KNOWN: Final[Mapping[str, _Description]] = {
    "disk_free": ("eventapi_disk_free_bytes", "Room on the disk of the log.", "min"),
    "segments": ("eventapi_log_segments", "Closed segments of the log.", "max"),
    "closed_bytes": (
        "eventapi_log_closed_bytes",
        "Bytes of the log in closed segments, before compression.",
        "max",
    ),
    "redis_ok": (
        "eventapi_redis_up",
        "Whether Redis counts for every worker, where it is set.",
        "min",
    ),
    "cosigned_at": (
        "eventapi_log_cosigned_timestamp_seconds",
        "The last time for which enough witnesses vouch, 0 if there is none.",
        "max",
    ),
}
"""The gauges of a server that has such a part."""


class Gauges:
    """The gauges of one worker."""

    def __init__(self, store: MetricsStore) -> None:
        self._store = store
        self._serving = store.gauge(*_WORKERS)
        self._by_field = {field: store.gauge(*one) for field, one in _BY_FIELD.items()}
        self._follower_lags = {"mail": self._follower_lag("mail")}

    def _follower_lag(self, follower: str) -> Gauge:
        return self._store.gauge(*_FOLLOWER_LAG, {"follower": follower})

    def set(self, now: Sample) -> None:
        """Set all gauges of this worker, which serves by then."""
        self._serving.set(1)
        for field, description in _IF_KNOWN.items():
            if field not in self._by_field and getattr(now, field) is not None:
                self._by_field[field] = self._store.gauge(*description)
        for field, gauge in self._by_field.items():
            if (value := getattr(now, field)) is not None:
                gauge.set(value)
        for follower in now.follower_lags.keys() - self._follower_lags.keys():
            if len(self._follower_lags) <= MAX_WEBHOOK_LABELS:
                self._follower_lags[follower] = self._follower_lag(follower)
        for follower, gauge in self._follower_lags.items():
            gauge.set(now.follower_lags.get(follower, 0))
        for name, seconds in now.witness_times.items():
            self._store.gauge(*_COSIGNED, {"witness": name}).set(seconds)
        memory = resident_bytes()
        if memory is not None:
            self._store.gauge(*_MEMORY).set(memory)
