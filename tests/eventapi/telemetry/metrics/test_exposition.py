"""The metrics of one worker: its shared page, its samples and its memory."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest

from eventapi.bootstrap.telemetry import count_requests
from eventapi.tasks import restart
from eventapi.telemetry.metrics import exposition
from eventapi.telemetry.metrics.gauges import Sample
from eventapi.telemetry.metrics.memory import resident_bytes
from eventapi.telemetry.metrics.meters import Meters, meters_unless_full
from events.errors import LogConflict, LogUnavailable
from tests.eventapi.telemetry.metrics.reading import Page

WAIT_SECONDS = 60.0


def sample_at(position: int) -> Sample:
    """A sample of a worker that has applied the log up to a position."""
    return Sample(position, 0, 0, 0, 0, 0, None, None, signing_ok=True)


@pytest.fixture
def meters(tmp_path: Path) -> Iterator[Meters]:
    with meters_unless_full(tmp_path, "1") as meters:
        assert meters is not None
        yield meters


def test_a_conflict_is_no_failed_append_because_it_is_repeated(meters: Meters) -> None:
    for error in (LogConflict("another was first"), LogUnavailable("no lock")):
        with pytest.raises(type(error)), meters.append(1):
            raise error
    page = Page(meters.store.collect())
    assert page.value("eventapi_log_append_failures_total", reason="unavailable") == 1


class FailsOnce:
    """Takes samples of a worker; the first attempt raises an error."""

    def __init__(self) -> None:
        self.attempts = 0
        self.succeeded = asyncio.Event()

    async def sample(self) -> Sample:
        self.attempts += 1
        if self.attempts == 1:
            raise OSError(errno.EIO, "of the system")
        self.succeeded.set()
        return sample_at(7)


async def test_concurrent_requests_share_one_page_that_another_thread_renders(
    meters: Meters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients may request the page at any rate, and other requests must not wait."""
    in_main_thread: list[bool] = []

    def generate(registry: Any) -> bytes:
        in_main_thread.append(threading.current_thread() is threading.main_thread())
        return generate_latest(registry)

    async def sample() -> Sample:
        return sample_at(1)

    monkeypatch.setattr(exposition, "generate_latest", generate)
    shared = exposition.Exposition(meters, sample)

    pages = await asyncio.gather(*(shared.page(exposition.TEXT) for _ in range(20)))

    assert len(set(pages)) == 1
    assert in_main_thread == [False]


async def test_a_worker_that_failed_to_take_a_sample_takes_the_next_one(
    meters: Meters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restart, "RESTART_DELAY_SECONDS", 0)
    failing = FailsOnce()
    shared = exposition.Exposition(meters, failing.sample)

    async with asyncio.timeout(WAIT_SECONDS), count_requests([], shared):
        await failing.succeeded.wait()
        await asyncio.sleep(0)

    assert Page(meters.store.collect()).value("eventapi_log_position") == 7.0


@pytest.mark.parametrize("after", [exposition.TEXT, exposition.OPENMETRICS])
async def test_a_page_that_failed_is_rendered_for_the_next_request(
    meters: Meters, after: str
) -> None:
    shared = exposition.Exposition(meters, FailsOnce().sample)
    first = [shared.page(exposition.TEXT) for _ in range(3)]
    results = await asyncio.gather(*first, shared.page(after), return_exceptions=True)
    assert isinstance(results[0], OSError)

    page = await shared.page(after)

    assert b"eventapi_log_position 7.0" in page


def test_memory_includes_every_process_of_the_server() -> None:
    """The process that takes a snapshot is one of them."""
    program = "import sys; kept = b'x' * 200_000_000; print(flush=True); sys.stdin.read()"
    before = resident_bytes() or 0
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert (resident_bytes() or 0) - before > 150_000_000
        child.communicate()
    assert abs((resident_bytes() or 0) - before) < 50_000_000


def test_a_worker_counts_as_serving_after_its_first_sample(meters: Meters) -> None:
    """Until then it is still replaying the log."""
    assert Page(meters.store.collect()).value("eventapi_workers") == 0.0

    meters.sample(sample_at(1))

    assert Page(meters.store.collect()).value("eventapi_workers") == 1.0


def test_a_server_that_cannot_store_metrics_still_starts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "metrics").write_text("a file")

    with meters_unless_full(tmp_path / "metrics", "1") as meters:
        assert meters is None

    assert "cannot count for the metrics yet" in caplog.text
