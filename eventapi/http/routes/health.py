"""Health checks: liveness, readiness and details of the process."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from litestar import Controller
from litestar.di import NamedDependency
from msgspec import Meta

from eventapi.http.handlers import get
from eventapi.http.response import Response, json_response
from eventapi.http.services import Services
from eventapi.tasks.chain_check import ChainCheck
from eventapi.values.times import time_of
from events.errors import LogUnreachable

_LAST_SECOND: Final = 253_402_300_799
"""The last second of the year 9999."""


class Status(msgspec.Struct, frozen=True):
    """The check succeeded; failures are problem documents."""

    status: Literal["ok"] = "ok"


_Time = Annotated[str | None, Meta(extra_json_schema={"format": "date-time"})]


class MailHealth(msgspec.Struct, frozen=True):
    """The follower that sends mail, whichever worker or instance runs it.

    ``position`` is that of the last event that it has completed, ``lag`` the number of events after
    that, and ``failing_since`` the time of the first failed attempt, or null.
    """

    position: int
    lag: int
    failing_since: _Time


class WitnessHealth(msgspec.Struct, frozen=True):
    """A witness of the log.

    ``cosigned_at`` is null if it has not cosigned the newest cosigned checkpoint.
    """

    name: str
    cosigned_at: _Time


class ChainCheckHealth(msgspec.Struct, frozen=True):
    """The check of the hash chain below the snapshot from which this process started.

    ``position`` is that of the last event checked, ``upto`` that of the snapshot.
    """

    status: Literal["running", "done"]
    position: int
    upto: int


class CosigningHealth(msgspec.Struct, frozen=True):
    """The newest checkpoint that enough witnesses cosigned.

    ``size`` is the number of events that it covers, and ``cosigned_at`` the last time for which
    enough witnesses vouch; both are null if there is none. It is ``overdue`` after 15 minutes.
    """

    status: Literal["ok", "overdue"]
    size: int | None
    cosigned_at: _Time
    witnesses: list[WitnessHealth]


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
    mail: Annotated[MailHealth | None, Meta(description="Null until it is known.")]
    failing_webhooks: Annotated[
        list[int],
        Meta(
            description="Webhooks whose last delivery failed, also if they are disabled since; this "
            "is no fault of the server."
        ),
    ]
    cosigning: Annotated[
        CosigningHealth | None,
        Meta(description="Null without WITNESSES; this is no fault of the server."),
    ]
    chain_check: Annotated[
        ChainCheckHealth | None,
        Meta(description="Null if the whole log was checked before this process served."),
    ]
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
        if services.journal.fence is not None:
            raise services.journal.fence
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
        mail = _mail_health(services)
        failing = services.webhooks.failing
        return json_response(
            Health(
                lag=lag,
                unknown_kinds=unknown,
                mail=mail,
                failing_webhooks=failing,
                cosigning=_cosigning_health(services),
                chain_check=_chain_check_health(services.chain_check),
                **details,
            )
        )


def _mail_health(services: Services) -> MailHealth | None:
    # Without the reason of a failure, because anyone may read this.
    status = None if services.mail is None else services.mail.status
    if status is None:
        return None
    return MailHealth(status.position, status.lag, status.failing_since)


def _chain_check_health(check: ChainCheck) -> ChainCheckHealth | None:
    if not check.upto:
        return None
    return ChainCheckHealth("done" if check.is_done else "running", check.position, check.upto)


def _cosigning_health(services: Services) -> CosigningHealth | None:
    if services.witnesses is None:
        return None
    status = services.witnesses.status
    return CosigningHealth(
        "overdue" if services.witnesses.is_overdue else "ok",
        status.size,
        _time_text(status.cosigned_at),
        [WitnessHealth(name, _time_text(time)) for name, time in status.witnesses.items()],
    )


def _time_text(seconds: int | None) -> str | None:
    # A witness may sign any time, also one that has no date.
    return None if seconds is None else time_of(min(seconds, _LAST_SECOND))
