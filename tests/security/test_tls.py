"""TLS from a certificate and a key: versions, ciphers, HSTS, plain HTTP."""

from __future__ import annotations

import socket
import ssl
import time
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.end_to_end.server import Server
from tests.security.quick import VARIABLE, quick
from tests.security.raw import HOST, LIVE, Answer, Wire, ask, request

HSTS = "strict-transport-security"
SHORT = "tls.HANDSHAKE_SECONDS=1,tls.SHUTDOWN_SECONDS=0.5,deadlines.HEAD_SECONDS=0.7"


LOCAL = (x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")))


def certificate(directory: Path, names: Sequence[x509.GeneralName] = LOCAL) -> tuple[Path, Path]:
    """Write a self-signed certificate, by default for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = directory / "cert.pem", directory / "key.pem"
    files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


class Tls:
    """The port of a server over TLS, and a client context that trusts its certificate."""

    def __init__(self, port: int, file: Path) -> None:
        self.port = port
        self.context = ssl.create_default_context(cafile=file)


class TlsServer(Server):
    """A server that is ready once it prints its URL, because its health needs TLS."""

    def wait_until_ready(self, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while "serves https" not in self.output:
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port and the certificate of a server over TLS with short deadlines."""
    directory = tmp_path_factory.mktemp("tls")
    cert, key = certificate(directory)
    options = ("--ssl-certfile", str(cert), "--ssl-keyfile", str(key))
    command = quick(*options)
    with TlsServer(directory / "data", 1, command, {VARIABLE: SHORT}) as server:
        yield server.port, cert
        assert server.stop() == 0
        assert "Traceback" not in server.output


@pytest.fixture
def tls(serving: tuple[int, Path]) -> Tls:
    return Tls(*serving)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_supported(tls: Tls, version: ssl.TLSVersion) -> None:
    """RFC 9325, section 3.1; ciphers have forward secrecy and authentication."""
    tls.context.minimum_version = tls.context.maximum_version = version

    with Wire(tls.port, tls.context) as wire:
        wire.send(LIVE)
        assert wire.answer().status == 200
        assert isinstance(wire.socket, ssl.SSLSocket)
        cipher = wire.socket.cipher()

    assert cipher is not None
    assert cipher[0].startswith(("TLS_", "ECDHE-"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_versions_are_refused(tls: Tls, version: ssl.TLSVersion) -> None:
    """RFC 8996, with a client that would accept them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        tls.context.minimum_version = tls.context.maximum_version = version
    tls.context.set_ciphers("ALL:@SECLEVEL=0")

    with pytest.raises(ssl.SSLError):
        Wire(tls.port, tls.context)


@pytest.mark.parametrize("cipher", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA"])
def test_weak_ciphers_are_refused(tls: Tls, cipher: str) -> None:
    """RFC 9325, section 4.2: neither RSA key exchange nor SHA-1."""
    tls.context.maximum_version = ssl.TLSVersion.TLSv1_2
    tls.context.set_ciphers(f"{cipher}:@SECLEVEL=0")

    with pytest.raises(ssl.SSLError):
        Wire(tls.port, tls.context)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (LIVE, 200),
        (request("OPTIONS /items HTTP/1.1"), 204),
        (request("GET /items HTTP/1.1"), 401),
        (request("GET /nowhere HTTP/1.1"), 404),
        (request("PUT /items HTTP/1.1"), 405),
        (b"nonsense\r\n\r\n", 400),
        (request("GET / HTTP/1.1", "X: " + "x" * 50_000), 431),
        (b"GET / HTTP/1.1\r\n" + HOST, 408),
    ],
)
def test_hsts_is_on_every_answer(tls: Tls, sent: bytes, status: int) -> None:
    """RFC 6797, section 7.1."""
    answer = ask(tls.port, sent, tls=tls.context)

    assert answer.status == status
    assert answer.all(HSTS) == ["max-age=31536000"]


def test_plain_http_is_refused_without_an_answer(tls: Tls) -> None:
    """Other clients are served, and the server logs no traceback."""
    for _ in range(3):
        with Wire(tls.port) as wire:
            wire.send(LIVE)
            assert b"HTTP/" not in wire.rest()
    assert ask(tls.port, LIVE, tls=tls.context).status == 200


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02"])
def test_a_handshake_has_a_deadline(tls: Tls, sent: bytes) -> None:
    """The real deadline is 10 s."""
    with socket.create_connection(("127.0.0.1", tls.port), 10) as connection:
        connection.sendall(sent)
        assert connection.recv(100) == b""


def test_a_client_can_read_a_refusal(tls: Tls) -> None:
    """Although TLS has no half-closed connections."""
    with Wire(tls.port, tls.context) as wire:
        wire.send(LIVE, b"GET / HTTP/9.9\r\n\r\n", b"x" * 200_000)
        assert [wire.answer().status for _ in range(2)] == [200, 400]


def ask_without_tls(server: Server, *fields: str) -> Answer:
    return ask(server.port, request("GET /health/live HTTP/1.1", *fields))


def test_hsts_is_sent_through_a_trusted_proxy_with_tls(tmp_path: Path) -> None:
    """RFC 6797, section 7.2, forbids it without TLS."""
    settings = {"EVENTAPI_TRUSTED_PROXIES": "127.0.0.1"}
    with Server(tmp_path / "data", 1, quick(), settings) as server:
        assert ask_without_tls(server, "X-Forwarded-Proto: https").all(HSTS) == ["max-age=31536000"]
        assert ask_without_tls(server, "X-Forwarded-Proto: http").all(HSTS) == []
        assert ask_without_tls(server).all(HSTS) == []


def test_control_the_scheme_of_an_untrusted_client_is_ignored(tmp_path: Path) -> None:
    with Server(tmp_path / "data", 1, quick()) as server:
        assert ask_without_tls(server, "X-Forwarded-Proto: https").all(HSTS) == []
