"""Metrics and log lines of several workers add up, also when workers are killed."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.end_to_end.server import Command, Server, by_serve
from tests.end_to_end.waiting import wait_until
from tests.eventapi.telemetry.metrics.reading import Page
from tests.fault_injection.faults.disks import full_disk, memory_disk
from tests.servers.service import descendants

REQUESTS = "eventapi_http_requests_total"
PATHS = {"/items/{item_id}": 401, "/api/v2/items": 401, "none": 404}


def get(server: Server, path: str) -> str:
    """GET on a new connection to any worker; raises `OSError` if it breaks."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def scrape(server: Server) -> Page:
    return Page.of(get(server, "/metrics"))


def count_requests(page: Page) -> float:
    """The counted requests for the paths that `load` requests."""
    return sum(
        page.total(REQUESTS, route=route, status=str(status)) for route, status in PATHS.items()
    )


def load(server: Server, times: int, threads: int = 16) -> tuple[int, int]:
    """Send requests with different paths; return the numbers answered and broken."""

    def one(number: int) -> bool:
        path = (f"/items/{number}", f"/api/v2/items?q={number}", f"/nowhere/{number}")[number % 3]
        try:
            get(server, path)
        except OSError:
            return False
        return True

    with ThreadPoolExecutor(threads) as pool:
        answered = sum(pool.map(one, range(times)))
    return answered, times - answered


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_resident_memory_is_the_sum_over_workers_and_supervisor(data: Path) -> None:
    with Server(data, 2, by_serve) as server:

        def reports_the_sum() -> bool:
            reported = scrape(server).value("process_resident_memory_bytes") or 0
            expected = sum(map(resident, {server.pid, *descendants(server.pid)}))
            workers = sum(map(resident, server.worker_pids()))
            # It changes between the two measurements.
            is_sum = abs(reported - expected) < 0.1 * expected
            return is_sum and reported - workers > 15_000_000

        assert len(server.worker_pids()) == 2
        wait_until(reports_the_sum)  # The other worker sampled its memory some seconds ago.


def test_metrics_start_once_a_disk_that_was_full_at_start_has_room(tmp_path: Path) -> None:
    with memory_disk(tmp_path / "disk", "8m") as disk:
        with Server(disk, 1, by_serve) as server:  # Creates the files of the log.
            assert server.stop() == 0
        shutil.rmtree(disk / "metrics")
        server = Server(disk, 1, by_serve)
        with full_disk(disk):
            server.launch()
            try:
                server.wait_until_ready()
                assert not get(server, "/metrics").startswith("# HELP")
            except BaseException:
                server.kill()
                raise
        try:
            wait_until(lambda: get(server, "/metrics").startswith("# HELP"))
            assert scrape(server).value("eventapi_workers") == 1.0
            assert server.stop() == 0
        finally:
            server.kill()


def test_request_counts_equal_the_requests_sent(data: Path, command: Command) -> None:
    """From any of four workers, also after all of them were killed and replaced."""
    with Server(data, 4, command) as server:
        assert count_requests(scrape(server)) == 0.0
        sent = 0
        for _ in range(2):
            assert load(server, 300) == (300, 0)
            sent += 300
            # Enough requests to reach every worker.
            assert {count_requests(scrape(server)) for _ in range(12)} == {sent}
            dying = server.worker_pids()
            for worker in dying:
                os.kill(worker, signal.SIGKILL)
            wait_until(lambda dying=dying: not dying & server.worker_pids())  # type: ignore[misc]
            server.wait_until_ready()
            assert count_requests(scrape(server)) == sent
        wait_until(lambda: scrape(server).value("eventapi_workers") == 4.0)
        page = scrape(server)
        assert page.value("eventapi_worker_starts_total") == 12.0
        assert page.total(f"{REQUESTS.removesuffix('s_total')}_duration_seconds_count") == (
            page.total(REQUESTS)
        )
        files = sorted(path.name for path in data.glob("metrics/*/*.lock"))
        assert files == [f"{slot}.lock" for slot in range(4)]


def test_answered_requests_are_counted_while_workers_are_killed(data: Path) -> None:
    """The count lies between the requests answered and the requests sent."""
    with Server(data, 4, by_serve) as server, ThreadPoolExecutor(1) as background:
        loading = background.submit(load, server, 2_000)
        seen = []
        while not loading.done():
            with suppress(ProcessLookupError):  # The worker killed before may be exiting.
                os.kill(min(server.worker_pids()), signal.SIGKILL)
            time.sleep(0.3)
            try:
                seen.append(count_requests(scrape(server)))
            except OSError:
                continue
        answered, broken = loading.result()
        server.wait_until_ready()
        assert answered <= count_requests(scrape(server)) <= answered + broken
        assert answered > 1_000
        assert seen == sorted(seen)


def test_takeover_keeps_counters_and_drops_gauges_of_old_workers(data: Path) -> None:
    with Server(data, 2, by_serve) as server:
        load(server, 50)
        old = server.worker_pids()
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: not old & server.worker_pids() and len(server.worker_pids()) == 2)
        server.wait_until_ready()
        load(server, 50)
        assert count_requests(scrape(server)) == 100.0
        wait_until(lambda: scrape(server).value("eventapi_workers") == 2.0)


def test_restart_resets_counters_and_removes_old_files(data: Path) -> None:
    server = Server(data, 2, by_serve)
    with server:
        load(server, 20)
        assert count_requests(scrape(server)) == 20.0
    with server:
        assert count_requests(scrape(server)) == 0.0
        assert len([path for path in data.glob("metrics/*") if path.is_dir()]) == 1


def test_two_servers_on_one_directory_count_separately(data: Path) -> None:
    with Server(data, 2, by_serve) as one, Server(data, 2, by_serve) as another:
        load(one, 30)
        assert count_requests(scrape(one)) == 30.0
        assert count_requests(scrape(another)) == 0.0


def test_every_request_has_one_line_in_the_log_file_and_on_stderr(data: Path) -> None:
    file = data.with_name("server.log")
    settings = {
        "EVENTAPI_LOG_LEVEL": "info",
        "EVENTAPI_LOG_FORMAT": "json",
        "EVENTAPI_LOG_FILE": str(file),
    }
    with Server(data, 4, by_serve, settings) as server:
        assert load(server, 600) == (600, 0)
        assert server.stop() == 0
        printed = [line for line in server.output.splitlines() if line.startswith("{")]
    written = file.read_text().splitlines()
    assert sorted(written) == sorted(printed)
    entries = [json.loads(line) for line in written]
    requests = [one for one in entries if one.get("route") in {*PATHS, "-"}]
    assert len(requests) == 600
    assert len({one["request_id"] for one in requests}) == 600
