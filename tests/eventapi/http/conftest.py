"""Fixtures of the tests over HTTP.

With ``EVENTAPI_TESTS_THROUGH``, ``postgresql``, ``mariadb`` or ``file``, those that ask a running app
ask instances behind a balancer, over such a log; the others, which look into the process or have it
fail, are left out. What may differ there is in `tests.deployment.production.differences`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.deployment.production.differences import DIFFERENT
from tests.eventapi.http.client import PREFIXES, Api, Caller

THROUGH = os.environ.get("EVENTAPI_TESTS_THROUGH")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot be asked from outside, and let differ what may."""
    if THROUGH is None:
        return
    left_out = [item for item in items if "api" not in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    for item in items:
        reason = DIFFERENT.get(getattr(item, "originalname", ""))
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=False))


@pytest.fixture(scope="module")
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    """An app for the tests of one module, each of which brings users of its own."""
    if THROUGH is None:
        with Api() as running:
            yield running
        return
    from tests.deployment.production.api import BalancedApi  # noqa: PLC0415 - it needs what many do not have

    with BalancedApi(None if THROUGH == "file" else request.getfixturevalue(THROUGH)) as through:
        yield through


@pytest.fixture
def new_api() -> Iterator[Api]:
    """An app for one test alone."""
    with Api() as running:
        yield running


@pytest.fixture
def ann(api: Api) -> Caller:
    """A user who is logged in."""
    return api.caller()


@pytest.fixture
def bob(api: Api) -> Caller:
    """Another one."""
    return api.caller()


@pytest.fixture(params=PREFIXES, ids=["unversioned", "v1", "v2"])
def prefix(request: pytest.FixtureRequest) -> str:
    """Every prefix under which the API is served."""
    prefix: str = request.param
    return prefix
