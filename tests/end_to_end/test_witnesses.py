"""A real server with witnesses: its workers and its witnesses are killed and come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.server import ROOT, Server, by_serve
from tests.end_to_end.waiting import wait_until
from tests.eventapi.cli.running import invoke, output_of
from tests.eventapi.witnesses.process import policy_text
from tests.eventapi.witnesses.witness_server import Running, witnessing
from tests.servers.postgresql import PostgreSQL

CHECKER = ROOT / "docs" / "check.py"
PASSWORD = "correct horse battery staple"


@pytest.fixture
def witnesses(tmp_path: Path) -> Iterator[list[Running]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(witnessing(tmp_path / f"w{number}", f"witness.example/w{number}"))
            for number in (1, 2)
        ]


def settings_of(folder: Path, witnesses: list[Running], needed: int) -> dict[str, str]:
    policy = folder / "witnesses.policy"
    policy.write_text(policy_text(witnesses, needed))
    return {"EVENTAPI_WITNESSES": str(policy)}


def register(server: Server, name: str) -> None:
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    answer = httpx.post(f"{server.url}/api/v2/auth/register", json=body, timeout=60)
    assert answer.status_code == 201, answer.text


def trusting(server: Server, witnesses: list[Running]) -> None:
    vkey = httpx.get(f"{server.url}/log/key", timeout=60).text
    for one in witnesses:
        one.witness.trust(vkey)


def cosigned_size(server: Server) -> int:
    answer = httpx.get(f"{server.url}/log/cosigned", timeout=60)
    return 0 if answer.status_code == 404 else int(answer.text.split("\n")[1])


def position(server: Server) -> int:
    return int(httpx.get(f"{server.url}/log/checkpoint", timeout=60).text.split("\n")[1])


def wait_until_cosigned(server: Server) -> None:
    size = position(server)
    wait_until(lambda: cosigned_size(server) >= size)


def holder(server: Server) -> int | None:
    """The process that holds the lease of the witnesses."""
    inode = str((server.data / "followers.witnesses.lock").stat().st_ino)
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode:
            return int(words[4])
    return None


def test_another_worker_continues_when_the_holder_is_killed(
    tmp_path: Path, witnesses: list[Running]
) -> None:
    settings = settings_of(tmp_path, witnesses, 2)
    with Server(tmp_path / "data", 2, by_serve, settings) as server:
        trusting(server, witnesses)
        register(server, "ann")
        wait_until_cosigned(server)
        health = httpx.get(f"{server.url}/health", timeout=60).json()["cosigning"]
        assert [one["name"] for one in health["witnesses"]] == ["w1", "w2"]
        killed = holder(server)
        assert killed in server.worker_pids()
        os.kill(killed, signal.SIGKILL)
        register(server, "bob")

        wait_until_cosigned(server)

        assert holder(server) not in {None, killed}
        assert "contradicts" not in server.output
        for name in ("w1", "w2"):
            # Each worker samples its gauges regularly, and the new holder may not have done it yet.
            wait_until(partial(has_cosigned, server, name))
            assert figure(server, "attempts_total", name) > 0


def has_cosigned(server: Server, witness: str) -> bool:
    return figure(server, "cosigned_timestamp_seconds", witness) > 0


def figure(server: Server, metric: str, witness: str) -> float:
    """The value of a metric for a witness."""
    lines = httpx.get(f"{server.url}/metrics", timeout=60).text.splitlines()
    start = f'eventapi_witness_{metric}{{witness="{witness}"}} '
    (found,) = (float(one.removeprefix(start)) for one in lines if one.startswith(start))
    return found


def test_cosignatures_survive_a_crash_of_the_server_and_of_the_witnesses(
    tmp_path: Path, witnesses: list[Running]
) -> None:
    with Server(tmp_path / "data", 1, by_serve, settings_of(tmp_path, witnesses, 2)) as server:
        trusting(server, witnesses)
        register(server, "ann")
        wait_until_cosigned(server)
        before = httpx.get(f"{server.url}/log/cosigned", timeout=60).text
        server.kill()
        for one in witnesses:
            one.stop()

        server.launch()
        server.wait_until_ready()
        assert httpx.get(f"{server.url}/log/cosigned", timeout=60).text == before
        register(server, "bob")  # The witnesses are dead.
        assert cosigned_size(server) < position(server)
        again = [Running(one.witness, one.port) for one in witnesses]
        try:
            wait_until_cosigned(server)
        finally:
            for running in again:
                running.stop()
    key = output_of(tmp_path / "data", "log", "checkpoint", "--key").strip()
    vkeys = [one.witness.vkey for one in witnesses]
    policy = str(tmp_path / "witnesses.policy")
    newest = tmp_path / "newest"
    newest.write_text(output_of(tmp_path / "data", "log", "checkpoint", "--newest-cosigned"))
    log = str(tmp_path / "data" / "events.jsonl")
    arguments = ("log", "verify", log, "--checkpoint", str(newest), "--witnesses", policy)
    assert invoke(tmp_path / "data", *arguments).exit_code == 0
    assert checker(key, newest, *vkeys) == (0, "")
    newest.write_text(newest.read_text().replace("witness.example/w2", "witness.example/w3"))
    assert checker(key, newest, *vkeys)[1].startswith("WRONG: witness.example/w2 has not cosigned")
    assert invoke(tmp_path / "data", *arguments).exit_code == 1


def checker(key: str, checkpoint: Path, *witnesses: str) -> tuple[int, str]:
    """Run docs/check.py, which was written from the documents alone; code and complaint."""
    command = [sys.executable, str(CHECKER), "cosigned", key, str(checkpoint), *witnesses]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.long
def test_another_instance_continues_when_the_holder_is_killed(
    tmp_path: Path, witnesses: list[Running], postgresql: PostgreSQL
) -> None:
    settings = {
        **settings_of(tmp_path, witnesses, 2),
        "EVENTAPI_LOG": postgresql.new_database(),
        "EVENTAPI_SECRET_KEY": "a key that both of the instances have " * 2,
    }
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(Server(tmp_path / name, 1, by_serve, settings))
            for name in ("one", "two")
        )
        trusting(one, witnesses)
        register(one, "ann")
        wait_until_cosigned(one)
        assert cosigned_size(two) == cosigned_size(one)
        asked, other = sorted((one, two), key=attempts, reverse=True)
        assert attempts(other) == 0
        asked.kill()
        register(other, "bob")

        wait_until_cosigned(other)

        assert attempts(other) > 0
        assert "contradicts" not in other.output


def attempts(server: Server) -> int:
    """The requests of an instance to the first witness."""
    lines = httpx.get(f"{server.url}/metrics", timeout=60).text.splitlines()
    found = [one for one in lines if one.startswith("eventapi_witness_attempts_total{")]
    return sum(int(float(one.split()[-1])) for one in found)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("quorum none\nquorum none\n", "line 2: there is a second quorum"),
        ("witness w1 nonsense http://w.example\nquorum w1\n", "is not a verifier key"),
        (None, "No such file or directory"),
    ],
)
def test_a_server_does_not_start_with_a_policy_that_cannot_be_used(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    policy = tmp_path / "policy"
    if content is not None:
        policy.write_text(content)
    data = tmp_path / "data"
    server = Server(data, 1, by_serve, {"EVENTAPI_WITNESSES": str(policy)})
    server.launch()
    assert server.wait() != 0
    assert f"the policy {policy} cannot be used" in server.output
    assert reason in server.output
    assert "Traceback" not in server.output
    assert not [*data.glob("events*")]
