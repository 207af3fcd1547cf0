"""What `make test` leaves to `make test-all`, the Hypothesis profiles, and real servers of others.

A test is marked `long` by its folder, by a fixture, by `root`, or where it stands. HYPOTHESIS_PROFILE
chooses a profile: quick (`make test`), default, ci, long.

Databases start when a first test asks, once for each process that runs tests, and are shared by
its tests: whoever stops one starts it again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.serving import serving
from tests.servers.valkey import Valkey

# A shell has its background jobs ignore Ctrl-C, and their children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_TESTS = Path(__file__).parent

# Every test in these folders starts real servers, kills them, or searches a large space.
_LONG_FOLDERS = ("deployment", "end_to_end", "fault_injection", "security", "servers")

# As a fixture or a parameter: servers that only a package of Debian has.
_DEBIAN_SERVERS = {"mariadb"}

_INSTALLING = ("apt-get install", "make servers", "pip install")

# Nothing that measures time: a test passes on a busy machine too.
settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50
)
settings.register_profile("quick", settings.get_profile("default"), max_examples=10)
settings.register_profile("ci", settings.get_profile("default"), max_examples=200, derandomize=True)
settings.register_profile("long", settings.get_profile("default"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests that are coroutines run on asyncio, as the server does."""
    return "asyncio"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import nothing of the long folders for `make test`, because that takes seconds."""
    is_long = collection_path.parent == _TESTS and collection_path.name in _LONG_FOLDERS
    return True if is_long and config.getoption("markexpr") == "not long" else None


@pytest.hookimpl(tryfirst=True)  # Before pytest deselects by marker.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long or needs more than git, make and Python."""
    for item in items:
        needs_root = item.get_closest_marker("root") is not None
        if needs_root and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="only root may do this"))
        if needs_root or _is_long(item):
            item.add_marker(pytest.mark.long)


def _is_long(item: pytest.Item) -> bool:
    if item.path.relative_to(_TESTS).parts[0] in _LONG_FOLDERS:
        return True
    callspec = getattr(item, "callspec", None)
    parameters = callspec.params if callspec is not None else {}
    if parameters.get("workers") in (2, "2"):  # The same test with one worker is not long.
        return True
    used = [*getattr(item, "fixturenames", ()), *parameters.values()]
    return any(server in used for server in _DEBIAN_SERVERS)


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
