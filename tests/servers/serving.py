"""Real servers in tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NoReturn, TypeVar

import pytest

from tests.servers.service import AbsentError, Service

S = TypeVar("S", bound=Service)


@contextmanager
def serving(service: S) -> Iterator[S]:
    """A server that is up. Where it is not installed the test is skipped, and in CI it fails."""
    with ExitStack() as stack:
        try:
            stack.enter_context(service)
        except AbsentError as error:
            absent(error)
        yield service


def absent(error: AbsentError) -> NoReturn:
    """Skip the test, for what it needs is not installed; in CI it fails."""
    if os.environ.get("CI") == "true":
        raise error
    pytest.skip(str(error))
