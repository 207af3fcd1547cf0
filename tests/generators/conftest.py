"""Fixtures: a real server, its documents as files, and the generators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.server import Server, by_serve
from tests.generators.tools import Node, Python, install_npm, install_pypi, needs, once

DOCUMENTS = {
    "joint": "/openapi.json",
    "v1": "/api/v1/openapi.json",
    "v2": "/api/v2/openapi.json",
}
_UNLIMITED = {"EVENTAPI_RATE_LIMIT": "off", "EVENTAPI_RATE_LIMIT_LOGIN": "off"}


def _shared(factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory that all processes of the test session share."""
    base = factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Node:
    needs("node", "npm")
    return install_npm(_shared(tmp_path_factory, worker_id))


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Python:
    needs("java")
    return install_pypi(_shared(tmp_path_factory, worker_id))


@pytest.fixture(scope="session")
def go_cache(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The directory of compiled Go packages, so that each is compiled once a session."""
    return _shared(tmp_path_factory, worker_id) / "go-cache"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server."""
    data = tmp_path_factory.mktemp("server") / "data"
    with Server(data, 1, by_serve, _UNLIMITED) as server:
        yield f"http://127.0.0.1:{server.port}"
        assert "Traceback" not in server.output


@pytest.fixture(scope="module")
def documents(address: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The OpenAPI documents as files, by name."""
    directory = tmp_path_factory.mktemp("documents")
    found = {}
    for name, path in DOCUMENTS.items():
        found[name] = directory / f"{name}.json"
        found[name].write_bytes(httpx.get(f"{address}{path}").content)
    return found


@pytest.fixture(scope="module")
def generated(
    python: Python,
    documents: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    worker_id: str,
) -> Callable[[str], Path]:
    """The clients that OpenAPI Generator makes of a document, by its name; made once a session."""
    shared = _shared(tmp_path_factory, worker_id)

    def generate(name: str) -> Path:
        folder = shared / f"generated-{name}"
        with once(shared, folder.name) as is_first:
            if is_first:
                folder.mkdir(exist_ok=True)
                python.openapi_generator(documents[name], folder)
        return folder

    return generate
