"""Health: is the process alive, may it be given work, and how is it doing."""

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
    """All is well: anything else is a problem document."""

    status: Literal["ok"] = "ok"


class Health(msgspec.Struct, frozen=True):
    """How the server is doing.

    ``position`` is that of the log as far as it is known, ``lag`` how many of its records are not
    folded in yet, ``queued`` how many writes wait. While the database is lost, reads are answered from what
    was known before, ``database_lost_seconds`` ago, and writes are refused. While Redis is lost,
    requests are counted without it.
    """

    position: int
    lag: int
    database: Annotated[Literal["ok", "lost"] | None, Meta(description="Where the log is in one.")]
    database_lost_seconds: float
    queued: int
    disk_free_bytes: Annotated[int | None, Meta(description="Room where the log lies.")]
    uptime_seconds: float
    redis: Annotated[Literal["ok", "lost"] | None, Meta(description="Where there is one.")]
    signing: Annotated[
        Literal["ok", "suspended"],
        Meta(description="Whether checkpoints are signed, or an operator has to decide first."),
    ]
    process: int
    workers: Annotated[
        int | None, Meta(description="Processes of this server, while METRICS is on.")
    ]
    version: str
    status: Literal["ok"] = "ok"


class HealthController(Controller):
    """Whether the process is alive, may be given work, and how it is doing."""

    path = "/health"
    tags = ("health",)

    @get("/live", summary="Alive?", reads_state=False, is_limited=False)
    async def get_liveness(self) -> Response[Status]:
        """Whether the process answers at all."""
        return json_response(Status())

    @get("/ready", summary="Ready?", reads_state=False, is_limited=False)
    async def get_readiness(self, services: NamedDependency[Services]) -> Response[Status]:
        """Whether the state can be brought up to date, so that the process may be given work."""
        await services.journal.state()  # Without `Min-Event-Position`, which is for clients.
        if services.health()["database"] == "lost":
            raise LogUnreachable("the database of the log cannot be reached")
        return json_response(Status())

    @get(summary="Details", reads_state=False, is_limited=False)
    async def get_health(self, services: NamedDependency[Services]) -> Response[Health]:
        """Details."""
        state = await services.journal.state()
        details = services.health()
        return json_response(Health(lag=details["position"] - state.position, **details))
