"""Shared set-up: the marker `long`, Hypothesis profiles, real database servers.

`make test` skips tests marked `long`; `make test-all` runs them. The marker follows from a test's
folder, from its fixtures, from the marker `root`, or is set in the test itself.

HYPOTHESIS_PROFILE selects a profile: quick (`make test`), default, ci, long.

A database server starts when the first test requests its fixture. All tests of a pytest process
share it, so a test that stops the server must start it again.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.galera import Cluster
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.serving import serving
from tests.servers.valkey import Valkey

# A shell starts background jobs with SIGINT ignored, and child processes inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_TESTS = Path(__file__).parent

# Tests in these folders start or kill real servers, or search a large space.
_LONG_FOLDERS = ("console", "deployment", "end_to_end", "fault_injection", "security", "servers")

# Names of fixtures or parameters for servers that only Debian packages provide.
_DEBIAN_SERVERS = {"mariadb", "galera"}

# It takes minutes: started late, it would run alone at the end.
_LONGEST_TEST = "test_schemathesis_finds_no_breach_of_the_contract"

_INSTALLING = ("apt-get install", "make servers", "pip install")

# No time limits, so that tests also pass on a busy machine.
settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=25
)
settings.register_profile("quick", settings.get_profile("default"), max_examples=10)
settings.register_profile("ci", settings.get_profile("default"), max_examples=200, derandomize=True)
settings.register_profile("long", settings.get_profile("default"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run coroutine tests on asyncio, as the server does."""
    return "asyncio"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip importing the long folders for `make test`, because that takes seconds."""
    is_long = collection_path.parent == _TESTS and collection_path.name in _LONG_FOLDERS
    return True if is_long and config.getoption("markexpr") == "not long" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exclude modules and tests from garbage collection: no run of it would free any of them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()  # Otherwise garbage of the collection would stay, too.
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # Before pytest deselects by marker.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests `long` that are slow or need other programs; start the longest first."""
    items.sort(key=lambda item: item.name != _LONGEST_TEST)
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
    if parameters.get("workers") in (2, "2"):  # With one worker, the same test is fast.
        return True
    used = [*getattr(item, "fixturenames", ()), *parameters.values()]
    return any(server in used for server in _DEBIAN_SERVERS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, fail a test that was skipped because a program is not installed."""
    report = yield
    absent = report.skipped and any(how in str(report.longrepr) for how in _INSTALLING)
    if absent and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: {report.longrepr}"
    return report


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that does not exist yet; servers write their output beside it."""
    return tmp_path / "data"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server, shared; a test creates its own database with `new_database`."""
    with serving(PostgreSQL()) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB server, shared; a test creates its own database with `new_database`."""
    with serving(MariaDB()) as server:
        yield server


@pytest.fixture(scope="session")
def galera() -> Iterator[Cluster]:
    """A cluster of three nodes, shared; a test creates its own database with `new_database`."""
    with serving(Cluster()) as cluster:
        yield cluster


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A Valkey server for this test alone."""
    with serving(Valkey()) as server:
        yield server
