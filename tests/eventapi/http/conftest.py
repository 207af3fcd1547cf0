"""Fixtures of the tests over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.eventapi.http.client import PREFIXES, Api, Caller


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """An app for the tests of one module, each of which brings users of its own."""
    with Api() as running:
        yield running


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
