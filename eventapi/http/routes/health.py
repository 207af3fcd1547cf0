"""Health: is the process alive, may it be given work, and how is it doing."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from eventapi.http.endpoint import Endpoint, Handler
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response, json_response
from eventapi.tasks.replay_progress import Rebuilding
from events.errors import LogUnreachable


class Status(msgspec.Struct, frozen=True):
    """All is well: anything else is a problem document."""

    status: Literal["ok"] = "ok"


class Health(msgspec.Struct, frozen=True):
    """How the server is doing.

    ``position`` is that of the log as far as it is known, ``lag`` how many of its records are not
    folded in yet, ``queued`` how many writes wait, ``rebuilding`` who else is folding the log at the
    moment, such as a worker that starts. While the database is lost, reads are answered from what
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
    rebuilding: list[Rebuilding]
    process: int
    workers: Annotated[
        int | None, Meta(description="Processes of this server, while METRICS is on.")
    ]
    version: str
    status: Literal["ok"] = "ok"


async def get_liveness(request: ApiRequest) -> Response:
    """Whether the process answers at all."""
    return json_response(Status())


async def get_readiness(request: ApiRequest) -> Response:
    """Whether the state can be brought up to date, so that the process may be given work."""
    await request.services.journal.state()  # A probe asks for no position.
    if request.services.health()["database"] == "lost":
        raise LogUnreachable("the database of the log cannot be reached")
    return json_response(Status())


async def get_health(request: ApiRequest) -> Response:
    """Details."""
    state = await request.services.journal.state()
    details = request.services.health()
    position = details["position"]
    report = Health(lag=position - state.position, **details)
    return json_response(report)


def endpoints() -> list[Endpoint]:
    """The endpoints of health."""
    pages: list[tuple[str, Handler, str, type]] = [
        ("/health/live", get_liveness, "Alive?", Status),
        ("/health/ready", get_readiness, "Ready?", Status),
        ("/health", get_health, "Details", Health),
    ]
    return [
        Endpoint(
            method="GET",
            path=path,
            handler=handler,
            summary=summary,
            tag="health",
            authenticated=False,
            answers={200: kind},
            reads_state=False,
            limited=False,
        )
        for path, handler, summary, kind in pages
    ]
