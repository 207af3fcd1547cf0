"""Hypothesis profiles, chosen by HYPOTHESIS_PROFILE: default, ci, long; and real servers of others.

Databases start when a first test asks, once for each process that runs tests, and are shared by
its tests: whoever stops one starts it again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.serving import serving
from tests.servers.valkey import Valkey

# A shell has its background jobs ignore Ctrl-C, and their children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_INSTALLING = ("apt-get install", "make servers", "pip install")

# No deadline: a sync of the disk takes as long as it takes.
settings.register_profile("default", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=200, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, where all is installed, a test fails that would be skipped for what is absent."""
    report = yield
    absent = report.skipped and any(how in str(report.longrepr) for how in _INSTALLING)
    if absent and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL, where a test makes a database of its own."""
    with serving(PostgreSQL()) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB, where a test makes a database of its own."""
    with serving(MariaDB()) as server:
        yield server


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A Valkey of the test's own."""
    with serving(Valkey()) as server:
        yield server
