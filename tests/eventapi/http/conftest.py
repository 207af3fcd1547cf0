"""Fixtures of the tests over HTTP.

``EVENTAPI_TESTS_THROUGH`` is ``postgresql``, ``mariadb`` or ``file``: tests that use the fixture `api`
then run against instances behind a balancer over such a log. The other tests are deselected, because
they need the app in their own process. `tests.deployment.production.differences` lists the tests
whose result may differ there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.deployment.production.differences import DIFFERENT
from tests.eventapi.http.apps import APPLICATIONS
from tests.eventapi.http.client import PREFIXES, Api, Caller, quiet_settings

THROUGH = os.environ.get("EVENTAPI_TESTS_THROUGH")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that cannot run through a balancer; allow known differences."""
    if THROUGH is None:
        return
    deselected = [item for item in items if "api" not in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in deselected]
    config.hook.pytest_deselected(items=deselected)
    for item in items:
        reason = DIFFERENT.get(getattr(item, "originalname", ""))
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=False))


@pytest.fixture(scope="module")
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    """An app for all tests of a module; each test creates users of its own."""
    if THROUGH is None:
        with Api() as running:
            yield running
        return
    from tests.deployment.production.api import BalancedApi  # noqa: PLC0415 - needs nginx and databases

    with BalancedApi(None if THROUGH == "file" else request.getfixturevalue(THROUGH)) as through:
        yield through


@pytest.fixture
def new_api() -> Iterator[Api]:
    """An app for one test."""
    with Api() as running:
        yield running


@pytest.fixture
def ann(api: Api) -> Caller:
    """A user who is logged in."""
    return api.caller()


@pytest.fixture
def bob(api: Api) -> Caller:
    """Another user who is logged in."""
    return api.caller()


@pytest.fixture(params=PREFIXES, ids=["unversioned", "v1", "v2"])
def prefix(request: pytest.FixtureRequest) -> str:
    """Every prefix under which the API is served."""
    prefix: str = request.param
    return prefix


@pytest.fixture(scope="session")
def routes() -> list[tuple[str, str]]:
    """The path template and method of every route of the app, from Litestar."""
    return [
        (getattr(route, "path_format", route.path), method)
        for route in APPLICATIONS.routes(quiet_settings())
        for method in getattr(route, "methods", ())
    ]
