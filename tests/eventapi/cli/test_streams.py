"""Standard streams that are full, closed or of another encoding, and outputs that are links."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx
import msgspec
import pytest

from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from tests.end_to_end.waiting import wait_until
from tests.eventapi.cli.running import (
    PROGRAM,
    Ended,
    answer_of,
    clean_environment,
    invoke,
    log_of,
    message_in,
    refusal_of,
    run,
    running,
    written,
)

pytestmark = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="there is no device that is always full"
)

NOT_UTF8 = os.fsdecode(b"caf\xe9")
"""The name of a file in Latin-1, as Python has it."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data directory of a process that runs in its parent."""
    folder = tmp_path / "data"
    written(folder, RegisterUser(profile("ann")))
    return folder


def shell(folder: Path, redirected: str, *arguments: str, **settings: str) -> Ended:
    """Run a command in a shell that redirects its streams."""
    command = ["sh", "-c", f'"$@" {redirected}', "sh", *PROGRAM]
    return run(folder, *arguments, command=command, **settings)


def listens(uds: Path) -> bool:
    """Whether a server accepts connections at a path."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(uds)) == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["users", "list"], 0),
        (["users", "erase", "eve", "--yes"], 1),
        (["users", "erase"], 2),
        (["log", "show", "--open", "--json"], 2),
        (["users", "list", "--data", "elsewhere"], 3),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else str(one),
)
@pytest.mark.parametrize("broken", ["2>/dev/full", "2>&-"])
def test_an_unusable_stderr_changes_no_exit_code(
    data: Path, arguments: Sequence[str], code: int, broken: str
) -> None:
    assert shell(data.parent, broken, *arguments).code == code


def test_a_closed_pipe_behind_stderr_changes_no_exit_code(data: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*PROGRAM, "users", "erase", "eve", "--yes"],
        cwd=data.parent,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=writer,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [["users", "list"], ["users", "list", "--json"], ["log", "show", "--json"], ["log", "export"]],
    ids=" ".join,
)
def test_an_output_that_does_not_fit_could_not_run(data: Path, arguments: Sequence[str]) -> None:
    ended = shell(data.parent, ">/dev/full", *arguments)
    assert ended.code == 3
    assert "No space left on device" in ended.err
    assert "Traceback" not in ended.err


def test_a_password_from_a_device_without_an_end_is_too_long(data: Path) -> None:
    ended = shell(
        data.parent, "</dev/zero", "users", "create", "ben", "ben@example.org", "--password-stdin"
    )
    assert (ended.code, ended.out) == (1, b"")
    assert "password: " in ended.err


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_serves_although_its_output_is_full(short_path: Path, workers: str) -> None:
    uds = short_path / "server.sock"
    command = ["sh", "-c", 'exec "$@" >/dev/full', "sh", *PROGRAM]
    arguments = ("serve", "--uds", str(uds), "--workers", workers)
    with running(short_path, *arguments, command=command) as server:
        wait_until(lambda: listens(uds))
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(uds)), timeout=60) as client:
            assert client.get("http://server/health/live").is_success
        ended = server.stop()
    assert ended.code == 0
    assert "Traceback" not in ended.err


# Encodings


def test_json_has_names_of_files_that_are_not_utf_8(tmp_path: Path) -> None:
    ended = run(tmp_path, "config", "--json", EVENTAPI_DATA=NOT_UTF8)
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)["EVENTAPI_DATA"]["value"] == NOT_UTF8


def test_a_log_is_copied_to_a_name_that_is_not_utf_8(data: Path) -> None:
    place = str(data.parent / NOT_UTF8)
    assert answer_of(data, "log", "copy", place)["path"] == place
    ended = run(data.parent, "log", "copy", place)
    assert ended.code == 0
    assert b"\\udce9" in ended.out


def test_a_server_serves_a_directory_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", "0", "--data", NOT_UTF8) as server:
        assert server.line().endswith(b"caf\\udce9\n")
        assert server.stop().code == 0


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_names_that_the_locale_lacks_are_printed(tmp_path: Path, form: Sequence[str]) -> None:
    named = msgspec.structs.replace(profile("ann"), full_name="Łucja")
    written(tmp_path / "data", RegisterUser(named))
    ended = run(tmp_path, "users", "list", *form, PYTHONIOENCODING="latin-1")
    assert (ended.code, ended.err) == (0, "")
    if form:
        assert json.loads(ended.out)[0]["full_name"] == "Łucja"
    else:
        assert b"\\u0141ucja" in ended.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["log", "evidence", "--subject", NOT_UTF8, "evidence.zip"],
        ["users", "create", "ben", "ben@example.org", "--password-stdin", "--full-name", NOT_UTF8],
        ["users", "create", NOT_UTF8, "ben@example.org", "--password-stdin"],
        ["users", "create", "ben", f"{NOT_UTF8}@example.org", "--password-stdin"],
        ["users", "set-email", "ann", f"{NOT_UTF8}@example.org"],
        ["users", "disable", NOT_UTF8],
        ["users", "disable", "ann", "--reason", NOT_UTF8],
        ["users", "export", NOT_UTF8],
        ["webhooks", "add", "https://example.org/", "--description", NOT_UTF8],
        ["users", "list", "--log", f"postgresql://{NOT_UTF8}@127.0.0.1:1/db"],
        ["users", "list", "--log", f"mysql://{NOT_UTF8}@127.0.0.1:1/db"],
    ],
    ids=ascii,
)
def test_an_argument_that_is_not_utf_8_is_misuse(data: Path, arguments: Sequence[str]) -> None:
    code, err = refusal_of(data, *arguments)
    assert (code, message_in(err)) == (2, "an argument of the command, or a setting, is not UTF-8")
    assert not Path("evidence.zip").exists()


@pytest.mark.parametrize("arguments", [["config"], ["serve", "--port", "0"]], ids=" ".join)
def test_a_setting_that_is_not_utf_8_is_misuse(tmp_path: Path, arguments: Sequence[str]) -> None:
    ended = run(tmp_path, *arguments, EVENTAPI_SECRET_KEY=NOT_UTF8 * 10)
    assert ended.code == 2
    assert "is not UTF-8" in ended.err
    assert "caf" not in ended.err
    assert not (tmp_path / "data").exists()


# Outputs that are links


def test_an_export_keeps_a_link_and_replaces_its_file(data: Path, tmp_path: Path) -> None:
    target, link = tmp_path / "real" / "export", tmp_path / "link"
    target.parent.mkdir()
    target.write_text("an older export")
    link.symlink_to(target)
    assert invoke(data, "log", "export", "--output", str(link)).exit_code == 0
    assert link.is_symlink()
    assert target.read_bytes() == log_of(data)


@pytest.mark.parametrize("name", ["stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_an_export_to_standard_output_replaces_no_link(
    data: Path, tmp_path: Path, name: str
) -> None:
    """`/dev/stdout` is such a link, which leads to the file behind stdout."""
    link = tmp_path / "stdout"
    link.symlink_to("/proc/self/fd/1")
    ended = shell(tmp_path, '>>"$PLACE"', "log", "export", "--output", name, PLACE="appended")
    assert (ended.code, ended.err) == (0, "")
    assert (tmp_path / "appended").read_bytes() == log_of(data)
    assert str(link.readlink()) == "/proc/self/fd/1"


@pytest.mark.parametrize(
    "arguments",
    [
        ("log", "export", "--output", "loop"),
        ("log", "evidence", "--subject", "users/1", "loop"),
        ("users", "export", "ann", "loop"),
        ("log", "copy", "loop"),
    ],
    ids=lambda one: " ".join(one[:2]),
)
def test_a_loop_of_links_is_no_output(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")

    code, message = refusal_of(data, *arguments)

    assert code == 3
    assert "symbolic link" in message
