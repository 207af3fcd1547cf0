"""A start from a snapshot serves at once, and checks the log below the snapshot meanwhile."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eventapi.bootstrap import chain_check as wiring
from eventapi.bootstrap.process import DAMAGED
from eventapi.tasks import chain_check
from eventapi.tasks.chain_check import ChainCheck
from eventapi.testing.given import created, registered
from eventapi.testing.items import ITEMS
from eventapi.testing.sample_log import Written, write
from events.log.memory import MemoryLog
from events.sealing import Keyring
from events.transparency.merkle import leaf_hash, root_of
from events.transparency.signed_note import Note, TreeHead
from projections.replay import replay
from projections.snapshots import Snapshots
from tests.eventapi.http.client import Api, assert_problem, quiet_settings

COUNT = 200
TAKEN = 150
CHECKED = 64


class GatedLog(MemoryLog):
    """A log of which a read of the beginning waits for a gate after its first lines."""

    def __init__(self, written: Written) -> None:
        super().__init__(written.lines, written.log.head)
        self.gate = asyncio.Event()

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        if after == 0 and upto == TAKEN:
            yield self._lines[:CHECKED]
            await self.gate.wait()
            after = CHECKED
        async for lines in super().read(after, upto):
            yield lines

    def flip(self, position: int) -> None:
        """Flip a bit of a line."""
        line = bytearray(self._lines[position - 1])
        line[60] ^= 1
        self._lines[position - 1] = bytes(line)


@pytest.fixture(autouse=True)
def confirmed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_check, "CONFIRM_SECONDS", 0)


@pytest.fixture
def written() -> Written:
    return write([registered(1, "ann"), *(created(number, 1) for number in range(1, COUNT))])


@pytest.fixture
def log(written: Written) -> GatedLog:
    return GatedLog(written)


@pytest.fixture
def snapshots(written: Written, tmp_path: Path) -> Snapshots:
    """The snapshots of this log, with one."""
    snapshots = Snapshots(tmp_path / "snapshots", ITEMS)

    async def take() -> None:
        keyring, vault = Keyring(), await written.vault()
        state = await replay(written.log, keyring, vault, ITEMS, position=TAKEN)
        snapshots.write(state, keyring, secrets.token_bytes)

    asyncio.run(take())
    return snapshots


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes with which the process would have ended."""
    codes: list[int] = []
    monkeypatch.setattr(wiring, "exit_after_flush", codes.append)
    return codes


def server(
    written: Written, log: GatedLog, snapshots: Snapshots, verify: str = "background"
) -> Api:
    vault = asyncio.run(written.vault())
    return Api(quiet_settings(verify=verify), log=log, vault=vault, snapshots=snapshots)


def refusal(api: Api) -> str:
    """The reason why a server does not start."""
    with pytest.raises(RuntimeError) as refused:
        api.run(api._start())
    api.run(api._client.aclose())
    api._runner.close()
    return str(refused.value)


async def let_others_run() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def open_gate(api: Api, log: GatedLog) -> None:
    """Let the check go on to its end."""
    log.gate.set()
    api.run(let_others_run())


def test_a_server_serves_and_writes_before_the_log_is_checked(
    written: Written, log: GatedLog, snapshots: Snapshots
) -> None:
    with server(written, log, snapshots) as api:
        assert api.request("GET", "/health/ready").status_code == 200
        caller = api.caller()
        item = caller.create("a title")
        assert caller.get(f"/items/{item}").json()["title"] == "a title"
        assert api.request("GET", "/health").json()["chain_check"]["status"] == "running"


def test_health_shows_how_far_the_check_is(
    written: Written, log: GatedLog, snapshots: Snapshots
) -> None:
    with server(written, log, snapshots) as api:
        api.run(let_others_run())
        running = api.request("GET", "/health").json()["chain_check"]
        open_gate(api, log)
        done = api.request("GET", "/health").json()["chain_check"]
    assert running == {"status": "running", "position": CHECKED, "upto": TAKEN}
    assert done == {"status": "done", "position": TAKEN, "upto": TAKEN}


def test_a_metric_shows_how_much_is_left_of_the_check(
    written: Written, log: GatedLog, snapshots: Snapshots
) -> None:
    with server(written, log, snapshots) as api:
        api.run(let_others_run())
        running = api.request("GET", "/metrics").text
        open_gate(api, log)
        done = api.request("GET", "/metrics").text
    assert f"eventapi_log_unchecked_events {TAKEN - CHECKED}.0" in running
    assert "eventapi_log_unchecked_events 0.0" in done


def test_health_shows_no_check_if_the_log_was_checked_before(
    written: Written, log: GatedLog, snapshots: Snapshots, tmp_path: Path
) -> None:
    log.gate.set()
    with server(written, log, snapshots, "before") as api:
        assert api.request("GET", "/health").json()["chain_check"] is None
    with server(written, log, Snapshots(tmp_path / "none", ITEMS)) as api:
        assert api.request("GET", "/health").json()["chain_check"] is None


def test_what_is_below_the_snapshot_is_read_at_once(
    written: Written, log: GatedLog, snapshots: Snapshots
) -> None:
    with server(written, log, snapshots) as api:
        auditor = api.auditor()
        item = auditor.create("first")
        assert auditor.put(f"/items/{item}", json={"title": "second"}).status_code == 200
        history = auditor.get(f"/items/{item}/history")
        assert history.status_code == 200
        as_of = history.json()[0]["position"]
        assert auditor.get(f"/items/{item}?as_of={as_of}").json()["title"] == "first"
        page = auditor.get("/audit/events?after=2&limit=1").json()
        assert page["items"][0]["id"] == "3"


@pytest.mark.parametrize(
    "path",
    [
        "/log/checkpoint",
        "/log/tile/0/000.p/100",
        "/log/proof/3",
        "/log/consistency/3",
        "/audit/events/3",
        "/audit/evidence?subject=items/1",
        "/audit/evidence?subject=items/1&open=true",
        "/auth/me/export",
    ],
)
def test_nothing_is_signed_or_proved_before_the_log_is_checked(
    written: Written,
    log: GatedLog,
    snapshots: Snapshots,
    path: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with server(written, log, snapshots) as api:
        auditor = api.auditor()
        api.run(let_others_run())
        before = api.log.position
        with caplog.at_level(logging.WARNING):
            refused = auditor.get(path)
        problem = assert_problem(refused, 503, "log-unavailable")
        assert f"{CHECKED:,} of {TAKEN:,} events" in problem["detail"]
        assert refused.headers["retry-after"] == "1"
        assert (caplog.messages, api.log.position) == ([], before)
        open_gate(api, log)
        assert auditor.get(path).status_code == 200


def test_the_lines_that_are_signed_are_those_that_were_checked(
    written: Written, log: GatedLog, snapshots: Snapshots
) -> None:
    """A second read for the tree could find other bytes than the check."""
    with server(written, log, snapshots) as api:
        api.run(let_others_run())
        log.flip(1)
        open_gate(api, log)
        signed = api.request("GET", "/log/checkpoint")
    head = TreeHead.parse(Note.parse(signed.text))
    assert head.root == root_of([*map(leaf_hash, written.lines)])


@pytest.mark.parametrize("verify", ["background", "before"])
def test_nothing_is_signed_over_a_line_that_was_damaged_after_it_was_written(
    written: Written,
    log: GatedLog,
    snapshots: Snapshots,
    verify: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    log.gate.set()
    with server(written, log, snapshots, verify) as api:
        open_gate(api, log)
        api.register("ben")
        log.flip(log.position)
        for path in ("checkpoint", f"tile/0/000.p/{log.position}"):
            caplog.clear()
            assert_problem(api.request("GET", f"/log/{path}"), 503, "log-unavailable")
            assert f"damaged at position {log.position}" in caplog.text
        log.flip(log.position)
        signed = api.request("GET", "/log/checkpoint")
    head = TreeHead.parse(Note.parse(signed.text))
    assert head.root == root_of([*map(leaf_hash, log._lines)])


def test_damage_below_the_snapshot_stops_writes_and_ends_the_process(
    written: Written,
    log: GatedLog,
    snapshots: Snapshots,
    exits: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    log.flip(1)
    with server(written, log, snapshots) as api:
        # The other tasks of the server ran during the request.
        caller_answer = api.register("bob")
        assert_problem(caller_answer, 503, "log-unavailable")
        assert_problem(api.request("GET", "/health/ready"), 503, "log-unavailable")
        assert api.request("GET", "/health/live").status_code == 200
    assert exits == [DAMAGED]
    assert log.position == COUNT
    assert snapshots.positions() == []
    assert "the log is damaged at position 1, byte offset 0" in caplog.text
    assert "ends with code 65" in caplog.text


def test_after_that_no_server_starts(
    written: Written, log: GatedLog, snapshots: Snapshots, exits: list[int]
) -> None:
    """A supervisor may start the process again: then the damage is found before it serves."""
    log.flip(1)
    with server(written, log, snapshots) as api:
        api.run(let_others_run())
    assert exits == [DAMAGED]
    assert "position 1," in refusal(server(written, log, snapshots))


def test_damage_that_is_reached_late_stops_what_is_written_after_it_is_found(
    written: Written, log: GatedLog, snapshots: Snapshots, exits: list[int]
) -> None:
    log.flip(TAKEN - 1)
    with server(written, log, snapshots) as api:
        assert api.register("bob").status_code == 200
        open_gate(api, log)
        assert_problem(api.register("eve"), 503, "log-unavailable")
    assert exits == [DAMAGED]


def test_control_without_the_check_the_damage_is_not_found(
    written: Written,
    log: GatedLog,
    snapshots: Snapshots,
    exits: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(_: ChainCheck) -> None:
        pass

    monkeypatch.setattr(ChainCheck, "run", nothing)
    log.flip(1)
    with server(written, log, snapshots) as api:
        assert api.register("bob").status_code == 200
        assert api.request("GET", "/health/ready").status_code == 200
    assert exits == []


def test_snapshots_that_cannot_be_removed_are_reported(  # noqa: PLR0917 - fixtures
    written: Written,
    log: GatedLog,
    snapshots: Snapshots,
    exits: list[int],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Snapshots) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Snapshots, "remove", refuse)
    log.flip(1)
    with server(written, log, snapshots) as api:
        api.run(let_others_run())
    assert exits == [DAMAGED]
    assert "the snapshots of a damaged log cannot be removed" in caplog.text


@pytest.mark.parametrize("position", [1, TAKEN])
def test_with_before_no_server_starts_over_damage(
    written: Written, log: GatedLog, snapshots: Snapshots, exits: list[int], position: int
) -> None:
    log.gate.set()
    log.flip(position)
    assert f"position {position}," in refusal(server(written, log, snapshots, "before"))
    assert exits == []


@pytest.mark.parametrize("verify", ["background", "before"])
@pytest.mark.parametrize("position", [TAKEN + 1, COUNT])
def test_damage_above_the_snapshot_is_found_before_serving(
    written: Written, log: GatedLog, snapshots: Snapshots, position: int, verify: str
) -> None:
    log.gate.set()
    log.flip(position)
    assert f"position {position}," in refusal(server(written, log, snapshots, verify))
    assert snapshots.positions() == [TAKEN]


def test_a_snapshot_of_another_log_is_not_used(
    snapshots: Snapshots, caplog: pytest.LogCaptureFixture
) -> None:
    other = write([registered(1, "eve"), *(created(number, 1) for number in range(1, COUNT))])
    log = GatedLog(other)
    log.gate.set()
    with server(other, log, snapshots) as api:
        assert api.request("GET", "/health").json()["chain_check"] is None
        assert api.register("ann").status_code == 200
    assert "it belongs to another log" in caplog.text
