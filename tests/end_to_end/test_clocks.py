"""Real servers over one log whose clocks differ or jump, set with libfaketime."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.end_to_end.planted import UPTIME_FILE
from tests.end_to_end.server import ROOT, Server, by_serve, uvicorn_of
from tests.servers.faketime import clock_environment

PASSWORD = "correct horse battery staple"
by_planted = uvicorn_of("tests.end_to_end.planted:later_uptime")


def by_serve_accepting_clock(port: int, workers: int) -> Sequence[str]:
    return [*by_serve(port, workers), "--accept-clock"]


def send(server: Server, method: str, path: str, **options: Any) -> httpx.Response:
    return httpx.request(method, f"{server.url}{path}", timeout=10, **options)


def register(server: Server, name: str) -> httpx.Response:
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    return send(server, "POST", "/auth/register", json=body)


def log_in(server: Server, name: str) -> dict[str, Any]:
    register(server, name)
    body = {"username": name, "password": PASSWORD}
    tokens: dict[str, Any] = send(server, "POST", "/auth/login", json=body).json()
    return tokens


def refresh(server: Server, tokens: dict[str, Any]) -> httpx.Response:
    body = {"refresh_token": tokens["refresh_token"]}
    return send(server, "POST", "/auth/refresh", json=body)


def me(server: Server, tokens: dict[str, Any]) -> int:
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    return send(server, "GET", "/auth/me", headers=headers).status_code


def metrics(server: Server) -> str:
    return send(server, "GET", "/metrics").text


def times_of(data: Path) -> list[str]:
    lines = (data / "events.jsonl").read_text().splitlines()
    return [json.loads(line)["time"] for line in lines]


def assert_refused(server: Server, name: str, why: str) -> None:
    answer = register(server, name)
    assert answer.status_code == 503, answer.text
    assert why in answer.json()["detail"]
    assert "nothing was lost" in answer.json()["detail"]
    assert "eventapi serve --accept-clock" in answer.json()["detail"]


def test_instances_with_clocks_a_minute_apart_share_sessions(tmp_path: Path) -> None:
    """Tokens work on both, two tabs may race to refresh, and token reuse is detected.

    The test advances clocks and uptime by 15 seconds instead of waiting.
    """
    data = tmp_path / "data"
    data.mkdir()
    clocks, uptime = [tmp_path / "one", tmp_path / "other"], data / UPTIME_FILE

    def advance(seconds: int) -> None:
        uptime.write_text(str(seconds))
        for clock, skew in zip(clocks, (0, 60), strict=True):
            clock.write_text(f"{skew + seconds:+d}\n")

    advance(0)
    with (
        Server(data, 1, by_planted, clock_environment(clocks[0])) as one,
        Server(data, 1, by_planted, clock_environment(clocks[1])) as other,
    ):
        pairs = ((one, other), (other, one))
        spent = []
        for number, (first, second) in enumerate(pairs):
            tokens = log_in(first, f"user{number}")
            assert me(second, tokens) == 200
            renewed = refresh(first, tokens)
            assert me(second, renewed.json()) == 200
            raced = refresh(second, tokens)
            assert raced.status_code == 200, raced.text
            assert raced.json()["refresh_token"] == renewed.json()["refresh_token"]
            spent.append((tokens, renewed.json()))
        advance(15)
        for (_, second), (tokens, renewed_tokens) in zip(pairs, spent, strict=True):
            assert refresh(second, tokens).status_code == 401
            assert me(second, renewed_tokens) == 401


def test_clock_jump_between_starts_refuses_writes_until_accepted(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with Server(data, 1, by_serve) as server:
        tokens = log_in(server, "ann")
    before = (data / "events.jsonl").read_bytes()
    for jump, way in (("+2h", "forward"), ("-2h", "back")):
        with Server(data, 1, by_serve, clock_environment(jump)) as server:
            assert_refused(server, "bob", f"jumped {way} by")
            assert me(server, tokens) == 200
            assert send(server, "GET", "/health/ready").status_code == 200
            assert "eventapi_clock_refuses_writes 1.0" in metrics(server)
            assert f"The clock of this machine jumped {way}" in server.output
        assert (data / "events.jsonl").read_bytes() == before

    with Server(data, 1, by_serve_accepting_clock, clock_environment("+2h")) as server:
        assert register(server, "bob").status_code == 200
        assert "the clock is accepted" in server.output
        assert me(server, tokens) == 401, "by that clock the token has expired"
    with Server(data, 1, by_serve) as server:
        assert_refused(server, "eve", "jumped back by")
    with Server(data, 1, by_serve_accepting_clock) as server:
        assert "events have the time" in server.output
        assert register(server, "eve").status_code == 200
        page = metrics(server)
        assert "eventapi_clock_refuses_writes 0.0" in page
        (drift,) = re.findall(r"^eventapi_clock_drift_seconds (\S+)$", page, re.MULTILINE)
        assert 6_000 < float(drift) <= 7_200
    times = times_of(data)
    assert times == sorted(times)


def test_clock_jump_under_a_running_server_writes_no_future_time(tmp_path: Path) -> None:
    """A single write with a clock ten years ahead would set all later times."""
    data, clock = tmp_path / "data", tmp_path / "clock"
    clock.write_text("+0\n")
    with Server(data, 1, by_serve, clock_environment(clock)) as server:
        tokens = log_in(server, "ann")
        clock.write_text("+3650d\n")
        assert_refused(server, "bob", "jumped forward by")
        assert me(server, tokens) == 200
        command = ["-m", "eventapi", "users", "disable", "ann", "--data", str(data)]
        done = subprocess.run(
            [sys.executable, *command],
            env={"PYTHONPATH": str(ROOT), **clock_environment(clock)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3
        assert "The clock of this machine jumped forward" in done.stderr
        assert "Traceback" not in done.stderr
        clock.write_text("+0\n")
        assert register(server, "bob").status_code == 200
    year = time.gmtime().tm_year
    assert {int(text[:4]) for text in times_of(data)} <= {year, year + 1}
