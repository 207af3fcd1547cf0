"""GET /metrics, and the observer that counts requests."""

from __future__ import annotations

from litestar import Controller
from litestar.di import NamedDependency
from litestar.types import Scope

from eventapi.http.handlers import get
from eventapi.http.middleware.observers import Observer
from eventapi.http.middleware.rate_limit import exceeded_limit
from eventapi.http.problems import ProblemError
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response
from eventapi.http.services import Services
from eventapi.telemetry.metrics.exposition import OPENMETRICS, TEXT
from eventapi.telemetry.metrics.meters import Meters

_OPENMETRICS_TYPE = OPENMETRICS.partition(";")[0]
_TEXT_TYPE = TEXT.partition(";")[0]


def counting(meters: Meters) -> Observer:
    """An observer that counts every response."""
    answered = meters.count_request

    def count(scope: Scope, status: int, seconds: float) -> None:
        answered(
            scope["method"],  # type: ignore[typeddict-item]  # only of HTTP
            scope.get("path_template"),
            status,
            seconds,
            scope.get("problem"),  # type: ignore[arg-type]  # ours
        )
        if status == 429:
            meters.count_rate_limited(exceeded_limit(scope))

    return count


class MetricsController(Controller):
    """The metrics of the server."""

    path = "/metrics"
    tags = ("health",)

    @get(
        summary="Metrics",
        media_type="text/plain",
        other_media_types=(_OPENMETRICS_TYPE,),
        errors=("not-found",),
        reads_state=False,
        is_limited=False,
    )
    async def get_metrics(
        self, request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[str]:
        """The metrics of all workers of the server together, for Prometheus.

        The format is Prometheus's text format, or OpenMetrics if `Accept` prefers it or gives both the
        same weight. No login is required: block public access in the load balancer.
        """
        exposition = services.metrics()
        if exposition is None:
            raise ProblemError(
                "not-found",
                "metrics are off, or the disk is full; then they start once there is space",
            )
        weights = request.accept_weights()
        weight = weights.get(_OPENMETRICS_TYPE, 0.0)
        modern = weight and weight >= weights.get(_TEXT_TYPE, 0.0)
        content_type = OPENMETRICS if modern else TEXT
        try:
            page = await exposition.page(content_type)
        except FileNotFoundError:
            raise ProblemError(
                "not-found", "the files of the metrics were removed; restart the server"
            ) from None
        return Response(200, [(b"content-type", content_type.encode())], page)
