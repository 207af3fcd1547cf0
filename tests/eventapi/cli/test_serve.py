"""``eventapi serve`` as a process: serving, exit, and messages of a failed start."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from tests.end_to_end.waiting import wait_until
from tests.eventapi.cli.running import address_of, invoke, message_in, run, running, written

pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")

ANN = {"username": "ann", "email": "ann@example.org", "password": "correct horse"}


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A data directory whose second event was changed."""
    data = tmp_path / "data"
    written(data, *(RegisterUser(profile(name)) for name in ("ann", "ben", "cid")))
    log = data / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"id":"2"', b'"id":"9"'))
    return data


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_server_serves_and_stops_at_sigterm(tmp_path: Path, workers: str) -> None:
    """The command line overrides the environment, in every worker."""
    arguments = ("serve", "--port", "0", "--data", "mine", "--workers", workers)
    with running(tmp_path, *arguments, EVENTAPI_DATA="other") as server:
        answer = httpx.post(f"{address_of(server)}/auth/register", json=ANN)
        assert answer.status_code == 200
        assert "server" not in answer.headers
        ended = server.stop()
    assert ended.code == 0
    assert "Traceback" not in ended.err
    assert (tmp_path / "mine" / "events.jsonl").stat().st_size > 0
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_malformed_http_gets_a_problem_document(tmp_path: Path, workers: str) -> None:
    """The protocol class sends it in the form of the app; the next request works."""
    with running(tmp_path, "serve", "--port", "0", "--workers", workers) as server:
        address = httpx.URL(address_of(server))
        for nonsense in (b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"FOO / HTTP/1.1\r\n\r\n"):
            with socket.create_connection((address.host, address.port or 0)) as connection:
                connection.sendall(nonsense)
                answer = connection.makefile("rb").read()
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 ")
            fields = dict(line.split(": ", 1) for line in head.decode().splitlines()[1:])
            assert fields["content-type"] == "application/problem+json"
            assert fields["x-content-type-options"] == "nosniff"
            assert fields["connection"] == "close"
            assert int(fields["content-length"]) == len(body)
            problem = json.loads(body)
            assert (problem["type"], problem["status"]) == ("/problems/malformed-body", 400)
            assert problem["request_id"] == fields["x-request-id"]
        assert httpx.get(f"{address}/health/live").status_code == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_prints_no_traceback(tmp_path: Path, workers: str) -> None:
    with running(tmp_path, "serve", "--port", "0", "--workers", workers) as server:
        address_of(server)
        ended = server.stop(signal.SIGINT)
    assert ended.code == 130
    assert "Traceback" not in ended.err


@pytest.mark.long
def test_two_servers_share_a_data_directory(tmp_path: Path) -> None:
    with (
        running(tmp_path, "serve", "--port", "0") as one,
        running(tmp_path, "serve", "--port", "0") as other,
    ):
        assert httpx.post(f"{address_of(one)}/auth/register", json=ANN).is_success
        credentials = {name: ANN[name] for name in ("username", "password")}
        assert httpx.post(f"{address_of(other)}/auth/login", json=credentials).is_success


@pytest.mark.long
def test_the_reloader_serves(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", "0", "--reload") as server:
        # It prints the address before its child serves; a client that connects waits.
        assert httpx.get(f"{address_of(server)}/health/live", timeout=30).is_success
        ended = server.stop()
    assert ended.code == 0


def test_the_server_serves_https(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    with running(tmp_path, "serve", "--port", "0", "--ssl-certfile", str(certificate)) as server:
        address = address_of(server)
        assert address.startswith("https://")
        trusting = ssl.create_default_context(cafile=certificate)
        url = address.replace("127.0.0.1", "localhost")
        assert httpx.get(f"{url}/health/live", verify=trusting).is_success
        assert httpx.post(f"{url}/auth/register", json=ANN, verify=trusting).is_success
        wait_until(lambda: mails_of(tmp_path) != [])
        (mail,) = mails_of(tmp_path)
        assert f"{address}/verify-email?token=" in mail


def test_a_setting_serves_https(tmp_path: Path) -> None:
    certificate = str(self_signed(tmp_path))
    with running(tmp_path, "serve", "--port", "0", EVENTAPI_SSL_CERTFILE=certificate) as server:
        assert address_of(server).startswith("https://")


def mails_of(folder: Path) -> list[str]:
    """The mails in the outbox of a server."""
    return [path.read_text() for path in folder.rglob("*.eml")]


def self_signed(folder: Path) -> Path:
    """A file with a key and a certificate for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "localhost.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_a_port_in_use_is_reported_before_files_are_opened(tmp_path: Path, taken_port: int) -> None:
    ended = run(tmp_path, "serve", "--port", str(taken_port))
    assert ended.code == 3
    error = message_in(ended.err)
    assert error == f"cannot listen on 127.0.0.1:{taken_port}: Address already in use"
    assert not (tmp_path / "data").exists()


def test_an_unknown_host_is_reported(tmp_path: Path) -> None:
    ended = run(tmp_path, "serve", "--host", "nowhere.invalid")
    assert ended.code == 3
    assert ended.err.startswith("eventapi: cannot listen on nowhere.invalid:8000: ")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_damaged_log_is_reported_and_not_changed(damaged: Path, workers: str) -> None:
    """The message has the position and the byte offset, independent of the log level."""
    log = damaged / "events.jsonl"
    before = log.read_bytes()
    offset = before.index(b"\n") + 1
    arguments = ("serve", "--port", "0", "--workers", workers)
    ended = run(damaged.parent, *arguments, EVENTAPI_LOG_LEVEL="critical")
    assert ended.code == 3
    error = message_in(ended.err)
    assert error.startswith(f"the log is damaged at position 2, byte offset {offset}: ")
    assert log.read_bytes() == before


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_unusable_data_directory_is_reported(tmp_path: Path, workers: str) -> None:
    (tmp_path / "data").touch()
    ended = run(tmp_path, "serve", "--port", "0", "--workers", workers)
    assert ended.code == 3
    assert "data" in message_in(ended.err)


@pytest.mark.parametrize(
    ("name", "value"),
    [("EVENTAPI_NONSENSE", "1"), ("EVENTAPI_METRICS", "maybe"), ("EVENTAPI_SECRET_KEY", "short")],
)
def test_a_bad_setting_is_misuse(tmp_path: Path, name: str, value: str) -> None:
    result = invoke(tmp_path, "serve", "--port", "0", **{name: value})
    assert result.exit_code == 2
    assert message_in(result.stderr).startswith(name)


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (2, ["--reload", "--workers", "2"]),
        (2, ["--ssl-keyfile", __file__]),
        (2, ["--workers", "0"]),
        (2, ["--port", "70000"]),
        (3, ["--ssl-certfile", __file__]),
    ],
)
def test_contradicting_options_are_refused(tmp_path: Path, code: int, arguments: list[str]) -> None:
    result = invoke(tmp_path, "serve", *arguments)
    assert result.exit_code == code
    assert result.stderr


def test_uvicorn_also_reports_a_bad_setting(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uvicorn", "--factory", "eventapi.app:create_app"]
    ended = run(tmp_path, "--port", "0", command=command, EVENTAPI_NONSENSE="1")
    assert ended.code != 0
    assert "eventapi: EVENTAPI_NONSENSE (from environment) is no setting of eventapi" in ended.err
    assert "Traceback" not in ended.err
