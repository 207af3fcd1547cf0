"""Databases over TLS: what each option checks, and which servers it refuses.

The PostgreSQL of the tests is built without TLS, so a proxy terminates it, as a pooler would. Only
the client decides what is tested here.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from sqlalchemy import text

from events.database.connection import Database
from events.database.failures import reason_of
from events.errors import ConfigurationError
from tests.eventapi.cli.running import message_in, run
from tests.events.log_helpers import append, read_all
from tests.events.proxy import Proxy, open_proxy
from tests.events.rows import Server, open_database, open_sql_log, with_port
from tests.security.test_tls import LOCAL, certificate
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.serving import serving

ELSEWHERE = (x509.DNSName("database.example"),)

_WRONG_NAME = r"certificate is not valid for '127\.0\.0\.1'"
_NO_ROOT = r"root certificate file .* does not exist"

# The drivers leave refused connections to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("collected", "no_trusted_roots"),
]


@pytest.fixture
def no_trusted_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the certificates that the user of this machine trusts."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PGSSLMODE", "PGSSLROOTCERT", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


# MySQL and MariaDB


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def encrypting(files: tuple[Path, Path]) -> Iterator[MariaDB]:
    """A MariaDB with TLS."""
    with serving(MariaDB(files)) as server:
        yield server


async def _ciphers(cleanup: AsyncExitStack, url: str) -> set[str]:
    """Return the ciphers of the connections for reading and writing."""
    database = await open_database(cleanup, url)
    query = text("SHOW STATUS LIKE 'Ssl_cipher'")
    async with database.reading.connect() as reading, database.writing.begin() as writing:
        rows = [(await one.execute(query)).one() for one in (reading, writing)]
    return {value for _, value in rows}


@pytest.mark.long
async def test_mysql_connections_are_encrypted_with_ssl_true(
    encrypting: MariaDB,
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cleanup: AsyncExitStack,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    url = encrypting.new_database()
    assert "" not in await _ciphers(cleanup, f"{url}?ssl=true")
    log = await open_sql_log(cleanup, f"{url}?ssl=true", tmp_path / "mark")
    assert await append(log, 3) == await read_all(log)


@pytest.mark.long
async def test_mysql_connections_are_not_encrypted_without_the_option(
    encrypting: MariaDB, cleanup: AsyncExitStack
) -> None:
    assert await _ciphers(cleanup, encrypting.new_database()) == {""}


@pytest.mark.long
async def test_a_mysql_with_an_untrusted_certificate_is_refused(
    encrypting: MariaDB,
) -> None:
    with pytest.raises(ConfigurationError, match="certificate verify failed"):
        await Database.open(f"{encrypting.url}?ssl=true")


@pytest.mark.long
async def test_a_mysql_with_a_certificate_of_another_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = certificate(tmp_path, ELSEWHERE)
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    with (
        serving(MariaDB(files)) as server,
        pytest.raises(ConfigurationError, match=_WRONG_NAME),
    ):
        await Database.open(f"{server.url}?ssl=true")


# PostgreSQL


@asynccontextmanager
async def _tls_proxy(postgresql: PostgreSQL, files: tuple[Path, Path]) -> AsyncIterator[Proxy]:
    """Start a proxy with TLS to a PostgreSQL."""
    async with open_proxy("127.0.0.1", postgresql.port) as proxy:
        proxy.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        proxy.tls.load_cert_chain(*files)
        yield proxy


class Case(NamedTuple):
    """A mode, a certificate with its names, whether it is trusted, and the refusal."""

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
        Case("verify-ca", False, LOCAL, _NO_ROOT),
        Case("verify-ca", True, ELSEWHERE),
        Case("verify-full", False, LOCAL, _NO_ROOT),
        Case("verify-full", True, ELSEWHERE, _WRONG_NAME),
        Case("verify-full", True, LOCAL),
    ],
    ids=lambda case: f"{case.mode}-{case.is_trusted}-{case.names[0].value}",
)
async def test_sslmode_decides_which_postgresql_certificates_are_accepted(
    postgresql: PostgreSQL,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: Case,
    cleanup: AsyncExitStack,
) -> None:
    files = certificate(tmp_path, case.names)
    if case.is_trusted:
        monkeypatch.setenv("PGSSLROOTCERT", str(files[0]))
    async with _tls_proxy(postgresql, files) as proxy:
        url = f"{with_port(postgresql.new_database(), proxy.port)}?sslmode={case.mode}"
        if case.refusal:
            with pytest.raises(ConfigurationError, match=case.refusal):
                await Database.open(url)
            return
        log = await open_sql_log(cleanup, url, tmp_path / "mark")
        assert await append(log, 3) == await read_all(log)
        assert set(proxy.encrypted) == {True}


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_postgresql_with_a_certificate_of_another_root_is_refused(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Even sslmode=require checks the certificate if there is a file of roots."""
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("PGSSLROOTCERT", str(certificate(tmp_path / "other")[0]))
    async with _tls_proxy(postgresql, certificate(tmp_path)) as proxy:
        with pytest.raises(ConfigurationError, match="certificate verify failed"):
            await Database.open(f"{with_port(postgresql.url, proxy.port)}?sslmode={mode}")


async def test_sslmode_disable_does_not_encrypt(postgresql: PostgreSQL, tmp_path: Path) -> None:
    async with _tls_proxy(postgresql, certificate(tmp_path)) as proxy:
        await (
            await Database.open(f"{with_port(postgresql.url, proxy.port)}?sslmode=disable")
        ).close()
        assert set(proxy.encrypted) == {False}


async def test_sslmode_prefer_accepts_a_server_without_tls(postgresql: PostgreSQL) -> None:
    for option in ("", "?sslmode=prefer"):
        await (await Database.open(postgresql.url + option)).close()


# Servers without TLS


@pytest.mark.parametrize(
    ("reason", "has_tls"),
    [
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", False),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", True),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", True),
        ("[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol", True),
    ],
)
def test_a_handshake_that_is_refused_is_not_reported_as_missing_tls(
    reason: str, has_tls: bool
) -> None:
    assert ("does not support TLS" not in reason_of(OSError(1, reason))) is has_tls
    assert reason in reason_of(OSError(1, reason))


def test_a_server_without_tls_is_refused_if_tls_is_required(server: Server, tmp_path: Path) -> None:
    is_postgresql = isinstance(server, PostgreSQL)
    option = "sslmode=require" if is_postgresql else "ssl=true"
    ended = run(tmp_path, "state", "digest", EVENTAPI_LOG=f"{server.url}?{option}")
    assert ended.code == 3
    assert ("rejected SSL upgrade" if is_postgresql else "does not support TLS") in ended.err
    assert message_in(ended.err)
    assert "password" not in ended.err
