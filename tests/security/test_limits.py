"""Rate limits of real servers: workers, machines, forged addresses, Redis."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.server import Command, Server, by_serve, by_uvicorn
from tests.servers.valkey import Valkey

KEY = "7e02b94fc15d8a6390b7fe4d21c8a53f"
HUNDRED = {"EVENTAPI_RATE_LIMIT": "100/minute"}


def ask(
    port: int, path: str = "/items", headers: Mapping[str, str] | None = None
) -> http.client.HTTPResponse:
    """Send a request on a new connection, which any worker may accept."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


def send_many(
    ports: Sequence[int], requests: int, headers: Mapping[str, str] | None = None
) -> Counter[int]:
    """Send concurrent requests, distributed over ports, and count their statuses."""
    with ThreadPoolExecutor(16) as threads:
        targets = [ports[number % len(ports)] for number in range(requests)]
        return Counter(threads.map(lambda port: ask(port, headers=headers).status, targets))


def token_of(port: int, name: str) -> dict[str, str]:
    """Register a user, log in, and return the Authorization header."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body = {"username": name, "email": f"{name}@example.org", "password": "correct horse"}
    kind = {"Content-Type": "application/json"}
    connection.request("POST", "/auth/register", json.dumps(body), kind)
    assert connection.getresponse().read()
    known = json.dumps({"username": name, "password": "correct horse"})
    connection.request("POST", "/auth/login", known, kind)
    token = json.loads(connection.getresponse().read())["access_token"]
    connection.close()
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("command", [by_serve, by_uvicorn], ids=["serve", "uvicorn"])
def test_four_workers_together_allow_exactly_the_limit(tmp_path: Path, command: Command) -> None:
    with Server(tmp_path / "data", 4, command, HUNDRED) as server:
        ann = token_of(server.port, "ann")  # These are two requests from this address.

        assert send_many([server.port], 300) == {401: 98, 429: 202}
        assert send_many([server.port], 300, ann) == {200: 100, 429: 200}


def test_servers_over_the_same_data_share_a_limit(tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = [Server(tmp_path / "data", 1, by_serve, HUNDRED) for _ in range(2)]
        ports = [stack.enter_context(server).port for server in servers]

        assert send_many(ports, 300) == {401: 100, 429: 200}


def test_control_servers_over_other_data_do_not_share_a_limit(tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = [Server(tmp_path / name, 1, by_serve, HUNDRED) for name in ("one", "two")]
        ports = [stack.enter_context(server).port for server in servers]

        assert send_many(ports, 300) == {401: 200, 429: 100}


@pytest.mark.parametrize("command", [by_serve, by_uvicorn], ids=["serve", "uvicorn"])
@pytest.mark.parametrize(
    "form", ["198.51.100.{}", "198.51.100.{}:4711", "2001:db8:{}::1", "junk{}"]
)
def test_a_forged_address_does_not_avoid_the_limit(
    tmp_path: Path, command: Command, form: str
) -> None:
    settings = {"EVENTAPI_RATE_LIMIT": "5/minute"}
    with Server(tmp_path / "data", 1, command, settings) as server:
        found = Counter(
            ask(
                server.port,
                headers={
                    "X-Forwarded-For": form.format(number),
                    "Forwarded": f"for={form.format(number)}",
                    "X-Real-IP": form.format(number),
                },
            ).status
            for number in range(10)
        )
        assert found == {401: 5, 429: 5}


@pytest.mark.parametrize("command", [by_serve, by_uvicorn], ids=["serve", "uvicorn"])
def test_control_addresses_from_a_trusted_proxy_are_used(tmp_path: Path, command: Command) -> None:
    settings = {"EVENTAPI_RATE_LIMIT": "5/minute", "EVENTAPI_TRUSTED_PROXIES": "127.0.0.1"}
    with Server(tmp_path / "data", 1, command, settings) as server:
        found = Counter(
            ask(server.port, headers={"X-Forwarded-For": f"198.51.100.{number}"}).status
            for number in range(10)
        )
        assert found == {401: 10}


# Redis


def redis_status(server: Server) -> str:
    """The status of Redis in the details of health."""
    health: dict[str, object] = {**server.health()}
    return str(health["redis"])


def settings_with_redis(valkey: Valkey) -> dict[str, str]:
    """Settings with Redis and the secret key that shared counters need."""
    return HUNDRED | {"EVENTAPI_REDIS_URL": valkey.url, "EVENTAPI_SECRET_KEY": KEY}


def test_three_machines_with_redis_together_allow_exactly_the_limit(
    tmp_path: Path, valkey: Valkey
) -> None:
    with ExitStack() as stack:
        settings = settings_with_redis(valkey)
        servers = [Server(tmp_path / name, 1, by_serve, settings) for name in ("a", "b", "c")]
        ports = [stack.enter_context(server).port for server in servers]
        assert send_many(ports, 400) == {401: 100, 429: 300}

        refused = ask(ports[0])
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit"].startswith('"caller";r=0;t=')


def test_a_server_that_loses_redis_applies_the_limit_by_itself(
    tmp_path: Path, valkey: Valkey
) -> None:
    with Server(tmp_path / "data", 1, by_serve, settings_with_redis(valkey)) as server:
        assert send_many([server.port], 50) == {401: 50}
        assert redis_status(server) == "ok"

        valkey.stop()
        began = time.monotonic()
        assert send_many([server.port], 300) == {401: 100, 429: 200}
        assert time.monotonic() - began < 10
        assert redis_status(server) == "lost"
        assert server.output.count("Redis cannot be reached") == 1
        assert "Traceback" not in server.output


def test_a_redis_that_is_absent_at_the_start_is_used_later(tmp_path: Path, valkey: Valkey) -> None:
    valkey.stop()
    with Server(tmp_path / "data", 1, by_serve, settings_with_redis(valkey)) as server:
        assert ask(server.port).status == 401
        assert redis_status(server) == "lost"
        valkey.start()
        deadline = time.monotonic() + 20
        while redis_status(server) != "ok" and time.monotonic() < deadline:
            time.sleep(0.1)
        assert send_many([server.port], 150) == {401: 100, 429: 50}


def by_serve_dual_stack(port: int, workers: int) -> Sequence[str]:
    """Serve on an IPv6 socket, which reports IPv4 peers as mapped addresses."""
    address = ["--host", "::ffff:127.0.0.1", "--port", str(port), "--workers", str(workers)]
    return ["-m", "eventapi", "serve", *address]


def test_an_ipv4_proxy_is_trusted_on_a_dual_stack_socket(tmp_path: Path) -> None:
    """Otherwise all its clients would share a limit, and none would get HSTS."""
    settings = {"EVENTAPI_RATE_LIMIT": "2/minute", "EVENTAPI_TRUSTED_PROXIES": "127.0.0.1"}
    with Server(tmp_path / "data", 1, by_serve_dual_stack, settings) as server:
        for number in range(4):
            headers = {
                "X-Forwarded-For": f"198.51.100.{number}",
                "X-Forwarded-Proto": "https",
            }
            answer = ask(server.port, headers=headers)
            assert answer.status == 401
            assert answer.headers["strict-transport-security"]
