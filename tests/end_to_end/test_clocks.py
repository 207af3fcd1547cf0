"""Servers whose clocks differ and jump, as real processes over one log; libfaketime sets the clocks."""

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
from tests.servers.faketime import faked

PASSWORD = "correct horse battery staple"
by_planted = uvicorn_of("tests.end_to_end.planted:later_uptime")


def accepting(port: int, workers: int) -> Sequence[str]:
    return [*by_serve(port, workers), "--accept-clock"]


def ask(server: Server, method: str, path: str, **how: Any) -> httpx.Response:
    return httpx.request(method, f"http://127.0.0.1:{server.port}{path}", timeout=10, **how)


def register(server: Server, name: str) -> httpx.Response:
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    return ask(server, "POST", "/auth/register", json=body)


def log_in(server: Server, name: str) -> dict[str, Any]:
    register(server, name)
    body = {"username": name, "password": PASSWORD}
    tokens: dict[str, Any] = ask(server, "POST", "/auth/login", json=body).json()
    return tokens


def refresh(server: Server, tokens: dict[str, Any]) -> httpx.Response:
    body = {"refresh_token": tokens["refresh_token"]}
    return ask(server, "POST", "/auth/refresh", json=body)


def me(server: Server, tokens: dict[str, Any]) -> int:
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    return ask(server, "GET", "/auth/me", headers=headers).status_code


def metrics(server: Server) -> str:
    return ask(server, "GET", "/metrics").text


def times_of(data: Path) -> list[str]:
    lines = (data / "events.jsonl").read_text().splitlines()
    return [json.loads(line)["time"] for line in lines]


def assert_refused(server: Server, name: str, why: str) -> None:
    answer = register(server, name)
    assert answer.status_code == 503, answer.text
    assert why in answer.json()["detail"]
    assert "nothing was lost" in answer.json()["detail"]
    assert "eventapi serve --accept-clock" in answer.json()["detail"]


def test_instances_whose_clocks_differ_by_a_minute_are_one_server(tmp_path: Path) -> None:
    """No token is refused on the other one, two tabs may race, and no reuse is missed.

    What takes 15 seconds is done by setting clocks and uptime on by as much.
    """
    data = tmp_path / "data"
    data.mkdir()
    clocks, uptime = [tmp_path / "one", tmp_path / "other"], data / UPTIME_FILE

    def move_on(seconds: int) -> None:
        uptime.write_text(str(seconds))
        for clock, skew in zip(clocks, (0, 60), strict=True):
            clock.write_text(f"{skew + seconds:+d}\n")

    move_on(0)
    with (
        Server(data, 1, by_planted, faked(clocks[0])) as one,
        Server(data, 1, by_planted, faked(clocks[1])) as other,
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
        move_on(15)
        for (_, second), (tokens, renewed_tokens) in zip(pairs, spent, strict=True):
            assert refresh(second, tokens).status_code == 401
            assert me(second, renewed_tokens) == 401


def test_a_clock_that_jumped_between_two_starts_refuses_writes_until_it_is_accepted(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with Server(data, 1, by_serve) as server:
        tokens = log_in(server, "ann")
    before = (data / "events.jsonl").read_bytes()
    for jump, way in (("+2h", "forward"), ("-2h", "back")):
        with Server(data, 1, by_serve, faked(jump)) as server:
            assert_refused(server, "bob", f"jumped {way} by")
            assert me(server, tokens) == 200
            assert ask(server, "GET", "/health/ready").status_code == 200
            assert "eventapi_clock_refuses_writes 1.0" in metrics(server)
            assert f"The clock of this machine jumped {way}" in server.output
        assert (data / "events.jsonl").read_bytes() == before

    with Server(data, 1, accepting, faked("+2h")) as server:
        assert register(server, "bob").status_code == 200
        assert "the clock is accepted" in server.output
        assert me(server, tokens) == 401, "by that clock it has expired"
    with Server(data, 1, by_serve) as server:
        assert_refused(server, "eve", "jumped back by")
    with Server(data, 1, accepting) as server:
        assert "events have the time" in server.output
        assert register(server, "eve").status_code == 200
        page = metrics(server)
        assert "eventapi_clock_refuses_writes 0.0" in page
        (drift,) = re.findall(r"^eventapi_clock_drift_seconds (\S+)$", page, re.MULTILINE)
        assert 6_000 < float(drift) <= 7_200
    times = times_of(data)
    assert times == sorted(times)


def test_a_clock_that_jumps_under_a_running_server_writes_nothing_ahead(tmp_path: Path) -> None:
    """One write while the clock was ten years ahead made each later event have that same time."""
    data, clock = tmp_path / "data", tmp_path / "clock"
    clock.write_text("+0\n")
    with Server(data, 1, by_serve, faked(clock)) as server:
        tokens = log_in(server, "ann")
        clock.write_text("+3650d\n")
        assert_refused(server, "bob", "jumped forward by")
        assert me(server, tokens) == 200
        command = ["-m", "eventapi", "users", "disable", "ann", "--data", str(data)]
        done = subprocess.run(
            [sys.executable, *command],
            env={"PYTHONPATH": str(ROOT), **faked(clock)},
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
