"""Where a server listens: settings, options, and the life of a Unix socket."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import httpx
import pytest

from eventapi.cli.failures import Failure
from eventapi.cli.listening import bind, bind_path
from tests.eventapi.cli.running import Running, invoke, message_in, run, running
from tests.eventapi.server.test_signals import until


def first_lines(server: Running) -> list[str]:
    """The lines that a server prints when it serves."""
    lines = [server.line().decode()]
    while not lines[-1].startswith("Press Ctrl-C"):
        lines.append(server.line().decode())
    return lines


@pytest.mark.long
def test_the_server_listens_where_the_settings_name(tmp_path: Path) -> None:
    free = bind("127.0.0.1", 0, "http")
    port = free.socket.getsockname()[1]
    free.socket.close()
    settings = {"EVENTAPI_HOST": "localhost", "EVENTAPI_PORT": str(port), "EVENTAPI_WORKERS": "2"}
    with running(tmp_path, "serve", **settings) as server:
        serves, page, console, stop = first_lines(server)
        assert serves.startswith(f"eventapi serves http://localhost:{port}, its data is in ")
        assert page == f"Documentation: http://localhost:{port}/docs\n"
        assert console == f"Console: http://localhost:{port}/console\n"
        assert stop == "Press Ctrl-C to stop.\n"
        health = f"http://127.0.0.1:{port}/health"
        until(
            lambda: httpx.get(health).json()["workers"] == 2
        )  # The second worker may still be starting.


def test_an_option_overrides_the_setting(tmp_path: Path) -> None:
    result = invoke(tmp_path, "serve", "--port", "x", EVENTAPI_PORT="8000")
    assert result.exit_code == 2
    assert message_in(result.stderr) == "--port: must be a whole number, 0 to 65,535, not 'x'"


def test_a_port_that_kubernetes_sets_is_explained(tmp_path: Path) -> None:
    result = invoke(tmp_path, "serve", EVENTAPI_PORT="tcp://10.0.0.1:8000")
    assert result.exit_code == 2
    assert "Kubernetes" in result.stderr


@pytest.mark.parametrize(
    ("host", "page"),
    [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]")],  # noqa: S104 - for this test
)
def test_the_page_url_can_be_opened_in_a_browser(host: str, page: str) -> None:
    """Some systems cannot connect to the wildcard address."""
    listening = bind(host, 0, "https")
    listening.socket.close()
    assert listening.page is not None
    assert listening.page.startswith(f"https://{page}:")


# A Unix socket


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_server_serves_on_a_unix_socket_and_removes_it(short_path: Path, workers: str) -> None:
    path = short_path / "eventapi.sock"
    with running(short_path, "serve", "--uds", "eventapi.sock", "--workers", workers) as server:
        serves, stop = first_lines(server)
        assert serves.startswith(f"eventapi serves unix:{path}, its data is in ")
        assert stop.startswith("Press")
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.get("http://server/health/ready").json() == {"status": "ok"}
        assert server.stop().code == 0
    assert not path.exists()


def test_the_socket_of_a_dead_server_is_replaced(short_path: Path) -> None:
    path = short_path / "socket"
    bind_path(path).socket.close()
    assert path.is_socket()
    again = bind_path(path)
    again.socket.listen()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    again.socket.close()


def test_the_socket_of_a_running_server_is_not_replaced(short_path: Path) -> None:
    path = short_path / "socket"
    living = bind_path(path)
    living.socket.listen()
    with pytest.raises(Failure, match="another server listens on it"):
        bind_path(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    living.socket.close()


def test_a_socket_that_another_server_took_over_is_not_removed(short_path: Path) -> None:
    path = short_path / "socket"
    first = bind_path(path)
    second = bind_path(path)  # The first does not listen yet.
    first.release()
    assert path.is_socket()
    second.release()
    assert not path.exists()
    first.socket.close()
    second.socket.close()


def test_a_file_that_is_not_a_socket_is_not_removed(short_path: Path) -> None:
    path = short_path / "events.jsonl"
    path.write_text("precious")
    ended = run(short_path, "serve", "--uds", str(path))
    assert ended.code == 3
    assert ended.err.startswith(f"eventapi: cannot listen on unix:{path}: there is a file ")
    assert "Traceback" not in ended.err
    assert path.read_text() == "precious"
    assert [file.name for file in short_path.iterdir()] == ["events.jsonl"]


@pytest.mark.parametrize("name", ["a" * 200, "nowhere/socket"])
def test_a_socket_path_that_cannot_be_bound_is_reported(short_path: Path, name: str) -> None:
    result = invoke(short_path, "serve", "--uds", str(short_path / name))
    assert result.exit_code == 3
    assert result.stderr.startswith("eventapi: cannot listen on unix:/")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("more", [["--port", "1"], ["--host", "::"]])
def test_uds_excludes_host_and_port(short_path: Path, more: list[str]) -> None:
    result = invoke(short_path, "serve", "--uds", str(short_path / "socket"), *more)
    assert result.exit_code == 2
    assert message_in(result.stderr) == "--uds excludes --host and --port"
