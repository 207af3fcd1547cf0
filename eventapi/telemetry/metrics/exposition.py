"""The page that Prometheus scrapes, in either of its formats."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from eventapi.telemetry.metrics.gauges import Sample
from eventapi.telemetry.metrics.meters import Meters

TEXT: Final = CONTENT_TYPE_PLAIN_0_0_4
OPENMETRICS: Final = openmetrics.CONTENT_TYPE_LATEST
"""Content types, with the versions of the formats."""

SAMPLE_SECONDS: Final = 5.0
"""How often a worker writes its gauges, for the other workers to read."""


class Exposition:
    """Renders the sums over all workers on request."""

    def __init__(self, meters: Meters, sample: Callable[[], Awaitable[Sample]]) -> None:
        """``sample`` returns the gauges of this worker."""
        self.meters = meters
        self._sample = sample
        self._busy = asyncio.Lock()
        self._next: dict[str, asyncio.Task[bytes]] = {}

    async def page(self, content_type: str) -> bytes:
        """The page with all counts before the call, as `TEXT` or `OPENMETRICS`.

        Rendering takes a thread some milliseconds, and any client may request it. So requests that arrive
        during a rendering share the next one.
        """
        if content_type not in self._next:
            task = asyncio.create_task(self._render_next(content_type), name="metrics")
            self._next[content_type] = task
        return await asyncio.shield(self._next[content_type])

    async def run_sampling(self) -> None:
        """Write the gauges of this worker periodically, until cancelled."""
        while True:
            self.meters.sample(await self._sample())
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _render_next(self, content_type: str) -> bytes:
        async with self._busy:
            del self._next[content_type]
            self.meters.sample(await self._sample())
            return await asyncio.to_thread(self._render, content_type)

    def _render(self, content_type: str) -> bytes:
        registry = CollectorRegistry()
        registry.register(_FixedCollector(self.meters.store.collect()))
        page: bytes = (
            openmetrics.generate_latest(registry)
            if content_type == OPENMETRICS
            else generate_latest(registry)
        )
        return page


class _FixedCollector(Collector):
    """Metrics that were collected before."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
