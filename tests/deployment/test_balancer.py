"""The deployed nginx: routing, blocked paths, limits, retries and readiness."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from eventapi.http.problem_types import PROBLEMS
from tests.deployment.balancer import DEPLOY, Balancer
from tests.deployment.stubs import Stub, run_stubs
from tests.end_to_end.accounts import TIMEOUT_SECONDS
from tests.end_to_end.server import STOP_SECONDS
from tests.servers.serving import serving

Token = dict[str, str]


def access_log_lines(balancer: Balancer, request_id: str) -> list[dict[str, object]]:
    """Wait for the access log's lines with this request id, which follow the response."""
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        found = [json.loads(line) for line in balancer.access_log.splitlines()]
        mine = [line for line in found if line["request_id"] == request_id]
        if mine or time.monotonic() > deadline:
            return mine
        time.sleep(0.02)


def assert_problem(
    answer: httpx.Response, status: int, slug: str, *, was_read: bool = True
) -> None:
    """Assert a problem response in the media type of its API version.

    For a request that nginx could not read, it does not know the version.
    """
    path = answer.request.url.path
    is_version_1 = was_read and path.startswith(("/items", "/auth", "/api/v1/"))
    assert answer.status_code == status
    media_type = "application/json" if is_version_1 else "application/problem+json"
    assert answer.headers.get_list("content-type") == [media_type]
    problem = answer.json()
    assert (problem["type"], problem["status"]) == (f"/problems/{slug}", status)
    assert problem["request_id"] == answer.headers["x-request-id"]


# Routing


def test_requests_are_spread_over_all_instances(
    client: httpx.Client, balancer: Balancer, token: Token
) -> None:
    for number in range(12):
        headers = token | {"X-Request-ID": f"spread-{number}"}
        assert client.get("/items", headers=headers).status_code == 200
    upstreams = {
        access_log_lines(balancer, f"spread-{number}")[0]["upstream"] for number in range(12)
    }
    assert upstreams == set(balancer.addresses)


def test_item_created_by_one_instance_is_visible_on_the_next(
    client: httpx.Client, token: Token
) -> None:
    for number in range(12):
        made = client.post("/api/v2/items", json={"title": f"title {number}"}, headers=token)
        assert made.status_code == 201
        assert client.get(made.headers["location"], headers=token).json() == made.json()


def test_request_id_is_the_same_in_response_problem_and_access_log(
    client: httpx.Client, balancer: Balancer
) -> None:
    mine = client.get("/items", headers={"X-Request-ID": "mine.1"})
    assert_problem(mine, 401, "unauthenticated")
    assert mine.headers["x-request-id"] == "mine.1"
    bad = client.get("/items", headers={"X-Request-ID": "not an id"})
    made = bad.headers["x-request-id"]
    assert bad.json()["request_id"] == made
    (line,) = access_log_lines(balancer, made)
    assert (line["method"], line["path"], line["status"]) == ("GET", "/items", 401)


def test_client_cannot_forge_its_address(client: httpx.Client) -> None:
    body = {"username": "ben", "email": "ben@example.org", "password": "correct horse"}
    forged = {"X-Forwarded-For": "198.51.100.7", "Forwarded": "for=198.51.100.7"}
    client.post("/auth/register", json=body)
    known = {"username": "ben", "password": "correct horse"}
    login = client.post("/auth/login", json=known, headers=forged).json()
    bearer = {"Authorization": f"Bearer {login['access_token']}"} | forged
    sessions = client.get("/auth/sessions", headers=bearer).json()
    assert [session["address"] for session in sessions] == ["127.0.0.1"]


def test_events_are_not_buffered_and_the_token_is_in_no_log(
    client: httpx.Client, balancer: Balancer, token: Token
) -> None:
    secret = token["Authorization"].removeprefix("Bearer ")
    path = f"/items/events?access_token={secret}"
    headers = {"X-Request-ID": "stream", "Accept": "text/event-stream"}
    with client.stream("GET", path, headers=headers) as stream:
        parts = stream.iter_text()
        assert next(parts)  # The stream is open.
        made = client.post("/items", json={"title": "an event"}, headers=token)
        position = made.headers["event-position"]
        # With buffering, it would arrive at the end of the stream.
        assert next(part for part in parts if f"id: {position}\n" in part)
    (line,) = access_log_lines(balancer, "stream")
    assert line["path"] == "/items/events"
    for file in (balancer.folder / "error.log", balancer.folder / "eventapi.log"):
        assert secret not in file.read_text()


# Blocked paths and limits


@pytest.mark.parametrize(
    "path",
    [
        "/.problem",
        "/health",
        "/health/",
        "//health",
        "/%68ealth",
        "/health?x=1",
        "/api/v1/health",
        "/metrics",
    ],
)
def test_paths_for_operators_are_hidden(
    client: httpx.Client, balancer: Balancer, path: str
) -> None:
    """The URL is absolute, because a client would read ``//health`` as a host name."""
    assert_problem(client.get(f"{balancer.url}{path}"), 404, "not-found")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/api/v2/health/ready"])
def test_public_health_checks_return_only_the_status(client: httpx.Client, path: str) -> None:
    assert client.get(path).json() == {"status": "ok"}


def test_plain_http_is_redirected_to_https(balancer: Balancer) -> None:
    answer = httpx.post(f"http://127.0.0.1:{balancer.plain_port}/items?limit=1", json={})
    assert (answer.status_code, answer.headers["location"]) == (
        308,
        "https://127.0.0.1/items?limit=1",
    )
    assert "access-control-allow-origin" not in answer.headers


def test_tls_is_modern_and_has_hsts(client: httpx.Client, balancer: Balancer) -> None:
    assert client.get("/items").headers["strict-transport-security"] == "max-age=31536000"
    assert client.get("/items").headers["server"] == "nginx"
    trust = balancer.ssl_context
    trust.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", balancer.port)) as raw,
        trust.wrap_socket(raw, server_hostname="127.0.0.1") as secure,
    ):
        assert secure.selected_alpn_protocol() == "h2"
        assert secure.version() == "TLSv1.3"
    old = balancer.ssl_context
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", balancer.port)) as raw,
        pytest.raises(ssl.SSLError),
    ):
        old.wrap_socket(raw, server_hostname="127.0.0.1")


@pytest.mark.parametrize("size", [100_000, 2_000_000])
def test_too_large_body_is_a_problem_from_nginx_and_from_an_instance(
    client: httpx.Client, token: Token, size: int
) -> None:
    answer = client.post("/items", json={"title": "a" * size}, headers=token)
    assert_problem(answer, 413, "body-too-large")


def test_other_limits_are_problems_too(client: httpx.Client, balancer: Balancer) -> None:
    assert_problem(
        client.get("/items", headers={"X-Large": "a" * 20_000}), 431, "headers-too-large"
    )
    assert_problem(client.get("/items?q=" + "a" * 10_000), 414, "uri-too-long")
    assert_problem(client.get("/items?q=" + "a" * 20_000), 414, "uri-too-long", was_read=False)
    traced = client.request("TRACE", "/items")
    assert_problem(traced, 405, "method-not-allowed")
    assert "PATCH" in traced.headers["allow"]
    plain = httpx.get(f"http://127.0.0.1:{balancer.port}/items")
    assert_problem(plain, 400, "malformed-body")


def test_problems_of_nginx_are_defined_by_the_application() -> None:
    text = (DEPLOY / "nginx" / "nginx.conf").read_text()
    in_nginx = re.findall(r"""(\d+) '"/problems/([\w-]+)","title":"([^"]+)"';""", text)
    known = {(str(one.status), one.slug, one.title) for one in PROBLEMS.values()}
    assert len(in_nginx) == 8
    assert set(in_nginx) <= known


# Retries


@contextmanager
def balanced_stubs(count: int) -> Iterator[tuple[list[Stub], Balancer, httpx.Client]]:
    """Run stubs behind the deployed nginx, and a client without keep-alive.

    With keep-alive, a reload could close an idle connection just as the next request is sent.
    """
    single = httpx.Limits(max_keepalive_connections=0)
    with (
        run_stubs(count) as upstreams,
        serving(Balancer([stub.port for stub in upstreams])) as balancer,
        httpx.Client(
            base_url=balancer.url,
            verify=balancer.ssl_context,
            limits=single,
            timeout=TIMEOUT_SECONDS,
        ) as client,
    ):
        yield upstreams, balancer, client


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("key", [None, "a-key-of-mine"])
def test_idempotent_request_is_retried_on_the_next_instance(method: str, key: str | None) -> None:
    with balanced_stubs(2) as (upstreams, _, client):
        for stub in upstreams:
            stub.broken = True
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = client.request(method, "/items/1", headers=headers)
        assert answer.status_code == 502
        sent = [one for stub in upstreams for one in stub.requests]
        assert len(sent) == 2
        # The same key, so that there is one effect and the first response is repeated.
        ((_, _, sent_key),) = set(sent)
        if key is not None or method in {"GET", "HEAD"}:
            assert sent_key == key
        else:
            assert sent_key is not None
            assert len(sent_key) == 32


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("key", [None, "a-key-of-mine"])
def test_request_that_is_not_idempotent_is_not_retried(method: str, key: str | None) -> None:
    with balanced_stubs(2) as (upstreams, _, client):
        for stub in upstreams:
            stub.broken = True
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = client.request(method, "/items/1", json={}, headers=headers)
        assert (answer.status_code, answer.headers["retry-after"]) == (502, "1")
        assert answer.headers["content-type"] == "application/json"  # As in version 1 of the API.
        assert answer.json()["type"] == "about:blank"
        assert [one for stub in upstreams for one in stub.requests] == [(method, "/items/1", key)]


def test_failing_instance_gets_no_requests_for_a_while() -> None:
    with balanced_stubs(2) as (upstreams, _, client):
        upstreams[0].broken = True
        assert [client.get("/items").status_code for _ in range(20)] == [200] * 20
        assert (
            len(upstreams[0].requests) <= 2
        )  # Each of two nginx workers may notice it separately.
        assert len(upstreams[1].requests) == 20


# Readiness


def receives_requests(client: httpx.Client, stub: Stub, wanted: Callable[[int], bool]) -> bool:
    """Whether a stub eventually receives a wanted number of ten requests."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        before = len(stub.requests)
        assert {client.get("/items").status_code for _ in range(10)} == {200}
        if wanted(len(stub.requests) - before):
            return True
        time.sleep(0.05)
    return False


def test_instance_that_is_not_ready_is_drained_and_returns() -> None:
    with balanced_stubs(2) as (upstreams, balancer, client):
        command = [sys.executable, str(DEPLOY / "nginx" / "drain.py")]
        reload = f"kill -HUP {balancer.pid}"
        drain = subprocess.Popen(
            [*command, balancer.instances, *balancer.addresses],
            env={"DRAIN_SECONDS": "0.05", "DRAIN_RELOAD": reload, "PATH": "/usr/bin:/bin"},
            stdout=subprocess.DEVNULL,
        )
        try:
            for stub in upstreams:
                assert receives_requests(client, stub, lambda count: count > 0)
                stub.ready = False
                assert receives_requests(client, stub, lambda count: count == 0)
                stub.ready = True
            upstreams[0].ready = upstreams[1].ready = False
            for stub in (
                upstreams
            ):  # If none is ready, all get requests, because their own responses name the cause.
                assert receives_requests(client, stub, lambda count: count > 0)
        finally:
            drain.terminate()
            drain.wait(STOP_SECONDS)
