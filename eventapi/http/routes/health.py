"""Health checks: liveness, readiness and details of the process."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar import Controller
from litestar.di import NamedDependency
from msgspec import Meta

from eventapi.http.handlers import get
from eventapi.http.response import Response, json_response
from eventapi.http.services import Services
from events.errors import LogUnreachable


class Status(msgspec.Struct, frozen=True):
    """The check succeeded; failures are problem documents."""

    status: Literal["ok"] = "ok"


class Health(msgspec.Struct, frozen=True):
    """Details about the state of the server.

    ``position`` is the last known position of the log, ``lag`` the number of its records that the
    state does not include yet, and ``queued`` the number of waiting writes. While the connection to
    the database is lost, reads return the state of ``database_lost_seconds`` ago, and writes are
    refused. While the connection to Redis is lost, rate limits are counted without it. Resources of
    ``unknown_kinds`` are not served: another version of the application declares them.
    """

    position: int
    lag: int
    database: Annotated[Literal["ok", "lost"] | None, Meta(description="Null without a database.")]
    database_lost_seconds: float
    queued: int
    disk_free_bytes: Annotated[int | None, Meta(description="Free space on the disk of the log.")]
    uptime_seconds: float
    redis: Annotated[Literal["ok", "lost"] | None, Meta(description="Null without Redis.")]
    signing: Annotated[
        Literal["ok", "suspended"],
        Meta(description="`suspended`: an operator must act before checkpoints are signed again."),
    ]
    process: int
    workers: Annotated[
        int | None, Meta(description="Worker processes of this server; null while METRICS is off.")
    ]
    version: str
    unknown_kinds: list[str]
    status: Literal["ok"] = "ok"


class HealthController(Controller):
    """Liveness, readiness and details of the process."""

    path = "/health"
    tags = ("health",)

    @get("/live", summary="Check liveness", reads_state=False, is_limited=False)
    async def get_liveness(self) -> Response[Status]:
        """Check that the process responds to requests."""
        return json_response(Status())

    @get("/ready", summary="Check readiness", reads_state=False, is_limited=False)
    async def get_readiness(self, services: NamedDependency[Services]) -> Response[Status]:
        """Check that the process can update its state and so can accept requests."""
        await (
            services.journal.state()
        )  # `Min-Event-Position` is for clients only, so it is ignored.
        if services.health()["database"] == "lost":
            raise LogUnreachable("the database of the log cannot be reached")
        return json_response(Status())

    @get(summary="Read health details", reads_state=False, is_limited=False)
    async def get_health(self, services: NamedDependency[Services]) -> Response[Health]:
        """Read the position of the log, connections, queue and version of the server."""
        state = await services.journal.state()
        details = services.health()
        lag, unknown = details["position"] - state.position, state.resources.unknown_kinds
        return json_response(Health(lag=lag, unknown_kinds=unknown, **details))
