"""The metric of projections that an exception stopped."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from eventapi.telemetry.metrics.exposition import TEXT, Exposition
from eventapi.telemetry.metrics.gauges import Sample
from eventapi.telemetry.metrics.meters import open_meters


@pytest.mark.parametrize("failed", [0, 2])
async def test_the_gauge_has_the_number_of_failed_projections(failed: int) -> None:
    async def sample() -> Sample:
        return Sample(1, 0, 0, 0, 0, 0, None, None, failed_projections=failed)

    with ExitStack() as stack:
        meters = open_meters(stack, None, "1")
        page = await Exposition(meters, sample).page(TEXT)
    assert f"eventapi_projections_failed {float(failed)}" in page.decode().splitlines()
