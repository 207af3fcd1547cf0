"""The numbers and the lines of several workers are those of one server, whoever of them dies."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.end_to_end.server import Command, Server, by_serve
from tests.eventapi.telemetry.metrics.reading import Page
from tests.fault_injection.faults.disks import filled, memory_disk
from tests.servers.service import descendants

REQUESTS = "eventapi_http_requests_total"
SECONDS = 60.0
PATHS = {"/items/{item_id}": 401, "/api/v2/items": 401, "none": 404}


def ask(server: Server, path: str) -> str:
    """Ask on a connection of its own, which any worker may take; raises `OSError` where it breaks."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def scraped(server: Server) -> Page:
    return Page.of(ask(server, "/metrics"))


def counted(page: Page) -> float:
    """The requests for what `load` asks for."""
    return sum(
        page.total(REQUESTS, route=route, status=str(status)) for route, status in PATHS.items()
    )


def load(server: Server, times: int, threads: int = 16) -> tuple[int, int]:
    """Ask so many times, for an item of another number each; how many were answered, and not."""

    def one(number: int) -> bool:
        path = (f"/items/{number}", f"/api/v2/items?q={number}", f"/nowhere/{number}")[number % 3]
        try:
            ask(server, path)
        except OSError:
            return False
        return True

    with ThreadPoolExecutor(threads) as pool:
        answered = sum(pool.map(one, range(times)))
    return answered, times - answered


def until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_is_that_of_the_workers_and_of_their_supervisor(data: Path) -> None:
    with Server(data, 2, by_serve) as server:
        told = scraped(server).value("process_resident_memory_bytes") or 0
        all_of_them = sum(map(resident, {server.pid, *descendants(server.pid)}))
        assert len(server.worker_pids()) == 2
        workers = sum(map(resident, server.worker_pids()))
    assert abs(told - all_of_them) < 0.1 * all_of_them  # It changes between the two looks.
    assert told - workers > 15_000_000


def test_metrics_begin_when_a_disk_that_was_full_at_the_start_has_room(tmp_path: Path) -> None:
    with memory_disk(tmp_path / "disk", "8m") as disk:
        with Server(disk, 1, by_serve) as server:  # Makes the files of the log.
            assert server.stop() == 0
        shutil.rmtree(disk / "metrics")
        server = Server(disk, 1, by_serve)
        with filled(disk):
            server.launch()
            try:
                server.wait_until_ready()
                assert not ask(server, "/metrics").startswith("# HELP")
            except BaseException:
                server.kill()
                raise
        try:
            until(lambda: ask(server, "/metrics").startswith("# HELP"))
            assert scraped(server).value("eventapi_workers") == 1.0
            assert server.stop() == 0
        finally:
            server.kill()


def test_the_sums_are_exactly_what_was_sent(data: Path, command: Command) -> None:
    """Whichever of four workers is asked, and after any of them was killed and replaced."""
    with Server(data, 4, command) as server:
        assert counted(scraped(server)) == 0.0
        sent = 0
        for _ in range(2):
            assert load(server, 300) == (300, 0)
            sent += 300
            # Every worker is asked in the end, as each accepts when it can.
            assert {counted(scraped(server)) for _ in range(12)} == {sent}
            dying = server.worker_pids()
            for worker in dying:
                os.kill(worker, signal.SIGKILL)
            until(lambda dying=dying: not dying & server.worker_pids())  # type: ignore[misc]
            server.wait_until_ready()
            assert counted(scraped(server)) == sent
        until(lambda: scraped(server).value("eventapi_workers") == 4.0)
        page = scraped(server)
        assert page.value("eventapi_worker_starts_total") == 12.0
        assert page.total(f"{REQUESTS.removesuffix('s_total')}_duration_seconds_count") == (
            page.total(REQUESTS)
        )
        files = sorted(path.name for path in data.glob("metrics/*/*.lock"))
        assert files == [f"{slot}.lock" for slot in range(4)]


def test_what_was_answered_is_counted_while_workers_are_killed(data: Path) -> None:
    """Nothing more than was sent, and nothing less than was answered."""
    with Server(data, 4, by_serve) as server, ThreadPoolExecutor(1) as background:
        loading = background.submit(load, server, 2_000)
        seen = []
        while not loading.done():
            with suppress(ProcessLookupError):  # The one before may be just gone.
                os.kill(min(server.worker_pids()), signal.SIGKILL)
            time.sleep(0.3)
            try:
                seen.append(counted(scraped(server)))
            except OSError:
                continue
        answered, broken = loading.result()
        server.wait_until_ready()
        assert answered <= counted(scraped(server)) <= answered + broken
        assert answered > 1_000
        assert seen == sorted(seen)


def test_a_takeover_loses_no_count_and_an_old_worker_leaves_no_gauge(data: Path) -> None:
    with Server(data, 2, by_serve) as server:
        load(server, 50)
        old = server.worker_pids()
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: not old & server.worker_pids() and len(server.worker_pids()) == 2)
        server.wait_until_ready()
        load(server, 50)
        assert counted(scraped(server)) == 100.0
        until(lambda: scraped(server).value("eventapi_workers") == 2.0)


def test_a_restart_begins_at_nothing_and_leaves_nothing(data: Path) -> None:
    server = Server(data, 2, by_serve)
    with server:
        load(server, 20)
        assert counted(scraped(server)) == 20.0
    with server:
        assert counted(scraped(server)) == 0.0
        assert len([path for path in data.glob("metrics/*") if path.is_dir()]) == 1


def test_two_servers_on_one_directory_count_for_themselves(data: Path) -> None:
    with Server(data, 2, by_serve) as one, Server(data, 2, by_serve) as another:
        load(one, 30)
        assert counted(scraped(one)) == 30.0
        assert counted(scraped(another)) == 0.0


def test_every_request_has_one_whole_line_in_the_file_and_on_stderr(data: Path) -> None:
    file = data.with_name("server.log")
    settings = {
        "EVENTAPI_LOG_LEVEL": "info",
        "EVENTAPI_LOG_FORMAT": "json",
        "EVENTAPI_LOG_FILE": str(file),
    }
    with Server(data, 4, by_serve, settings) as server:
        assert load(server, 600) == (600, 0)
        assert server.stop() == 0
        said = [line for line in server.output.splitlines() if line.startswith("{")]
    kept = file.read_text().splitlines()
    assert sorted(kept) == sorted(said)
    entries = [json.loads(line) for line in kept]
    asked = [one for one in entries if one.get("route") in {*PATHS, "-"}]
    assert len(asked) == 600
    assert len({one["request_id"] for one in asked}) == 600
