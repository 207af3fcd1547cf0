"""Run a real server in a test, or skip the test if it is not installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NoReturn, TypeVar

import pytest

from tests.servers.service import NotInstalledError

S = TypeVar("S", bound=AbstractContextManager[object])


@contextmanager
def serving(service: S) -> Iterator[S]:
    """Run a server, or several. If it is not installed, skip the test; in CI, fail."""
    with ExitStack() as stack:
        try:
            stack.enter_context(service)
        except NotInstalledError as error:
            skip_or_fail(error)
        yield service


def skip_or_fail(error: NotInstalledError) -> NoReturn:
    """Skip the test because a program is not installed; in CI, fail."""
    if os.environ.get("CI") == "true":
        raise error
    pytest.skip(str(error))
