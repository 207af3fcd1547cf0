"""Databases over TLS: what each way to demand it makes sure of, and who is refused.

The PostgreSQL of the tests is built without TLS, so somebody who stands before it speaks it, as a
pooler would; all that is decided here is decided by the client.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from sqlalchemy import text

from events.database.connection import Database
from events.database.failures import reason_of
from events.errors import ConfigurationError
from tests.eventapi.cli.running import message_in, run
from tests.events.log_helpers import append, at_end, in_event_loop, read_all
from tests.events.proxy import Proxy, open_proxy
from tests.events.rows import Server, open_sql_log, with_port
from tests.security.test_tls import LOCAL, certificate
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.serving import serving

ELSEWHERE = (x509.DNSName("database.example"),)

_ANOTHER = r"certificate is not valid for '127\.0\.0\.1'"
_NOBODY = r"root certificate file .* does not exist"

# The drivers leave it to the collector to close what was refused.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("collected", "nobody_trusted"),
]


@pytest.fixture
def nobody_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine's user trusts is not there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PGSSLMODE", "PGSSLROOTCERT", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


# MySQL and MariaDB


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of this machine, and its key."""
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def encrypting(files: tuple[Path, Path]) -> Iterator[MariaDB]:
    """A MariaDB that speaks TLS."""
    with serving(MariaDB(files)) as server:
        yield server


async def _ciphers(url: str) -> set[str]:
    """What the server says that reading and writing are encrypted with."""
    database = await Database.open(url)
    at_end(database.close)
    asked = text("SHOW STATUS LIKE 'Ssl_cipher'")
    async with database.reading.connect() as reading, database.transaction() as writing:
        rows = [(await one.execute(asked)).one() for one in (reading, writing)]
    return {value for _, value in rows}


@pytest.mark.long
@in_event_loop
async def test_mysql_is_spoken_to_with_tls_where_that_is_demanded(
    encrypting: MariaDB, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    url = encrypting.new_database()
    assert "" not in await _ciphers(f"{url}?ssl=true")
    log = await open_sql_log(f"{url}?ssl=true", tmp_path / "mark")
    assert await append(log, 3) == await read_all(log)


@pytest.mark.long
@in_event_loop
async def test_mysql_is_spoken_to_in_clear_where_nothing_is_demanded(encrypting: MariaDB) -> None:
    assert await _ciphers(encrypting.new_database()) == {""}


@pytest.mark.long
@in_event_loop
async def test_a_mysql_whose_certificate_nobody_vouches_for_is_refused(
    encrypting: MariaDB,
) -> None:
    with pytest.raises(ConfigurationError, match="certificate verify failed"):
        await Database.open(f"{encrypting.url}?ssl=true")


@pytest.mark.long
@in_event_loop
async def test_a_mysql_of_another_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = certificate(tmp_path, ELSEWHERE)
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    with (
        serving(MariaDB(files)) as server,
        pytest.raises(ConfigurationError, match=_ANOTHER),
    ):
        await Database.open(f"{server.url}?ssl=true")


# PostgreSQL


@asynccontextmanager
async def _before(postgresql: PostgreSQL, files: tuple[Path, Path]) -> AsyncIterator[Proxy]:
    """Somebody before a PostgreSQL who speaks TLS."""
    async with open_proxy("127.0.0.1", postgresql.port) as way:
        way.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        way.tls.load_cert_chain(*files)
        yield way


class Case(NamedTuple):
    """How TLS is demanded, whether somebody is trusted, who the server is, and why it is refused."""

    mode: str
    is_trusted: bool
    names: tuple[x509.GeneralName, ...]
    refusal: str = ""


@pytest.mark.parametrize(
    "case",
    [
        Case("prefer", False, ELSEWHERE),
        Case("require", False, ELSEWHERE),
        Case("require", True, ELSEWHERE),
        Case("verify-ca", False, LOCAL, _NOBODY),
        Case("verify-ca", True, ELSEWHERE),
        Case("verify-full", False, LOCAL, _NOBODY),
        Case("verify-full", True, ELSEWHERE, _ANOTHER),
        Case("verify-full", True, LOCAL),
    ],
    ids=lambda case: f"{case.mode}-{case.is_trusted}-{case.names[0].value}",
)
@in_event_loop
async def test_postgresql_is_spoken_to_with_tls_as_its_mode_says(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    files = certificate(tmp_path, case.names)
    if case.is_trusted:
        monkeypatch.setenv("PGSSLROOTCERT", str(files[0]))
    async with _before(postgresql, files) as way:
        url = f"{with_port(postgresql.new_database(), way.port)}?sslmode={case.mode}"
        if case.refusal:
            with pytest.raises(ConfigurationError, match=case.refusal):
                await Database.open(url)
            return
        log = await open_sql_log(url, tmp_path / "mark")
        assert await append(log, 3) == await read_all(log)
        assert set(way.encrypted) == {True}


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
@in_event_loop
async def test_a_postgresql_that_another_vouches_for_is_refused(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Also where no more is required than TLS, once there is a file of whom to trust."""
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("PGSSLROOTCERT", str(certificate(tmp_path / "other")[0]))
    async with _before(postgresql, certificate(tmp_path)) as way:
        with pytest.raises(ConfigurationError, match="certificate verify failed"):
            await Database.open(f"{with_port(postgresql.url, way.port)}?sslmode={mode}")


@in_event_loop
async def test_postgresql_is_spoken_to_in_clear_where_that_is_preferred(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    async with _before(postgresql, certificate(tmp_path)) as way:
        await (
            await Database.open(f"{with_port(postgresql.url, way.port)}?sslmode=disable")
        ).close()
        assert set(way.encrypted) == {False}


@in_event_loop
async def test_who_only_prefers_tls_speaks_in_clear_to_who_has_none(postgresql: PostgreSQL) -> None:
    for option in ("", "?sslmode=prefer"):
        await (await Database.open(postgresql.url + option)).close()


# Servers without TLS


@pytest.mark.parametrize(
    ("reason", "speaks"),
    [
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", False),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", True),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", True),
        ("[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol", True),
    ],
)
def test_who_answers_a_handshake_with_a_refusal_speaks_tls(reason: str, speaks: bool) -> None:
    assert ("does not speak TLS" not in reason_of(OSError(1, reason))) is speaks
    assert reason in reason_of(OSError(1, reason))


def test_a_server_without_tls_is_refused_where_it_is_demanded(
    server: Server, tmp_path: Path
) -> None:
    is_postgresql = isinstance(server, PostgreSQL)
    option = "sslmode=require" if is_postgresql else "ssl=true"
    ended = run(tmp_path, "state", "digest", EVENTAPI_LOG=f"{server.url}?{option}")
    assert ended.code == 3
    assert ("rejected SSL upgrade" if is_postgresql else "does not speak TLS") in ended.err
    assert message_in(ended.err)
    assert "password" not in ended.err
