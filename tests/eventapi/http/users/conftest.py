"""Fixtures of the tests of operators."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventapi.resources.registry import Registry
from tests.eventapi.http.client import Caller
from tests.eventapi.http.resources.kinds import Payslip
from tests.eventapi.http.resources.server import ResourceApi


@pytest.fixture(scope="module")
def server() -> Iterator[ResourceApi]:
    """An app whose resources name the role `clerk`."""
    with ResourceApi(Registry([Payslip])) as running:
        yield running


@pytest.fixture
def root(server: ResourceApi) -> Caller:
    """An operator who is logged in."""
    return server.user(None, "operator")


@pytest.fixture
def bob(server: ResourceApi) -> Caller:
    """A user who is logged in."""
    return server.user()
