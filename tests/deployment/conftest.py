"""Fixtures: instances of eventapi behind the deployed nginx."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.deployment.balancer import Balancer
from tests.end_to_end.accounts import TIMEOUT_SECONDS, log_in
from tests.end_to_end.server import Server, by_serve
from tests.servers.serving import serving

TRUST_PROXY = {"EVENTAPI_TRUSTED_PROXIES": "127.0.0.1"}


@pytest.fixture(scope="module")
def balancer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """Three instances over one data directory, with nginx in front."""
    data = tmp_path_factory.mktemp("instances") / "data"
    with ExitStack() as stack:
        instances = [
            stack.enter_context(Server(data, 1, by_serve, TRUST_PROXY)).port for _ in range(3)
        ]
        yield stack.enter_context(serving(Balancer(instances)))


@pytest.fixture(scope="module")
def client(balancer: Balancer) -> Iterator[httpx.Client]:
    """A client that trusts the balancer's certificate."""
    with httpx.Client(
        base_url=balancer.url, verify=balancer.ssl_context, timeout=TIMEOUT_SECONDS
    ) as found:
        yield found


@pytest.fixture(scope="module")
def token(client: httpx.Client) -> dict[str, str]:
    """The Authorization header of a logged-in user."""
    return log_in(client, "ann")
