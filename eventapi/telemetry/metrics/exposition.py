"""The page that Prometheus asks for, in either of its formats."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from eventapi.telemetry.metrics.meters import Meters, Sample

TEXT: Final = CONTENT_TYPE_PLAIN_0_0_4
OPENMETRICS: Final = openmetrics.CONTENT_TYPE_LATEST
"""Content types, with the versions of the formats."""

SAMPLE_SECONDS: Final = 5.0
"""How old at most is what a worker says of itself, when another one is asked."""


class Exposition:
    """The sums over all workers, when somebody asks."""

    def __init__(self, meters: Meters, sample: Callable[[], Awaitable[Sample]]) -> None:
        """``sample`` tells how things are in this worker."""
        self.meters = meters
        self._sample = sample
        self._busy = asyncio.Lock()
        self._next: dict[str, asyncio.Task[bytes]] = {}

    async def page(self, content_type: str) -> bytes:
        """All that was counted before the call, as `TEXT` or `OPENMETRICS`.

        Adding up and writing it down takes a thread some milliseconds, and anybody may ask: so who
        asks while it is done waits for the next time, together with all others.
        """
        if content_type not in self._next:
            made = asyncio.create_task(self._render_next(content_type), name="metrics")
            self._next[content_type] = made
        return await asyncio.shield(self._next[content_type])

    async def run_sampling(self) -> None:
        """Say how things are here again and again, until cancelled: others are asked as well."""
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
    """What was collected already."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
