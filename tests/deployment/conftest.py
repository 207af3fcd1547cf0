"""Instances of eventapi behind the deployed nginx."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.deployment.balancer import Balancer
from tests.end_to_end.server import Server, by_serve
from tests.servers.serving import serving

BEHIND = {"EVENTAPI_TRUSTED_PROXIES": "127.0.0.1"}


@pytest.fixture(scope="module")
def balancer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """Three instances on one data directory, and nginx in front of them."""
    data = tmp_path_factory.mktemp("instances") / "data"
    with ExitStack() as stack:
        instances = [stack.enter_context(Server(data, 1, by_serve, BEHIND)).port for _ in range(3)]
        yield stack.enter_context(serving(Balancer(instances)))


@pytest.fixture(scope="module")
def client(balancer: Balancer) -> Iterator[httpx.Client]:
    """A client that trusts the balancer's certificate."""
    with httpx.Client(base_url=balancer.url, verify=balancer.trust) as found:
        yield found


@pytest.fixture(scope="module")
def token(client: httpx.Client) -> dict[str, str]:
    """The header of a user who is logged in."""
    body = {"username": "ann", "email": "ann@example.org", "password": "correct horse"}
    assert client.post("/auth/register", json=body).status_code == 200
    del body["email"]
    return {
        "Authorization": f"Bearer {client.post('/auth/login', json=body).json()['access_token']}"
    }
