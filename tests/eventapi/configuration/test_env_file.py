"""A line of the .env file that cannot be read stops the start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eventapi.configuration.load import load
from events.errors import ConfigurationError
from tests.eventapi.cli.running import PROGRAM, message_in, run

SECRET = "do-not-show-me-" * 3


def utf_16(text: str) -> bytes:
    return text.encode("utf-16")


UNREADABLE = {
    "a quote that is not closed": (f"A=1\nEVENTAPI_SECRET_KEY='{SECRET}\n".encode(), 2),
    "a double quote that is not closed": (f'\n\nEVENTAPI_SECRET_KEY="{SECRET}'.encode(), 3),
    "a quote that ends in the next setting": (
        f'EVENTAPI_DATA="x\nEVENTAPI_LOG="{SECRET}"\n'.encode(),
        1,
    ),
    "a quote that swallows a setting": (
        f"A=1\nB='x\nexport EVENTAPI_LOG={SECRET}\n'\n".encode(),
        2,
    ),
    "text behind a quote": (f"EVENTAPI_DATA='x' {SECRET}\n".encode(), 1),
    "no sign between name and value": (f"EVENTAPI_LOG {SECRET}\n".encode(), 1),
    "a name alone": (b"A=1\n\n# a comment\nEVENTAPI_LOG\n", 4),
    "a name alone without the prefix": (b"OTHER\n", 1),
    "no name": (f"={SECRET}\n".encode(), 1),
    "a comment of another language": (f"// {SECRET}\n".encode(), 1),
    "an export without a value": (b"A=1\nexport EVENTAPI_LOG\n", 2),
    "an export of nothing": (b"export\n", 1),
    "a command": (f"echo {SECRET}\n".encode(), 1),
    "a section": (f"[eventapi]\nA={SECRET}\n".encode(), 1),
    "a variable that is not set": (f"BASE=/srv\nEVENTAPI_DATA=${{BAES}}/{SECRET}\n".encode(), 2),
    "a variable in a password": (f"EVENTAPI_LOG='postgresql://u:${{{SECRET}}}@h/db'\n".encode(), 1),
    "a variable of a later line": (b"EVENTAPI_DATA=${BASE}/data\nBASE=/srv\n", 1),
    "JSON": (f'{{"EVENTAPI_LOG": "{SECRET}"}}\n'.encode(), 1),
    "YAML": (f"EVENTAPI_LOG: {SECRET}\n".encode(), 1),
    "UTF-16": (utf_16(f"EVENTAPI_LOG={SECRET}\n"), 1),
    "UTF-16, big end first": (b"\xfe\xff" + f"A={SECRET}\n".encode("utf-16-be"), 1),
    "UTF-16 without a mark, big end first": (f"A={SECRET}\n".encode("utf-16-be"), 1),
    "UTF-32": (f"EVENTAPI_LOG={SECRET}\n".encode("utf-32"), 1),
    "a program": (b"\x7fELF\x02\x01\x01\x00\n\x90\x91", 2),
    "UTF-16 without a mark": (f"A=1\nEVENTAPI_LOG={SECRET}\n".encode("utf-16-le"), 1),
    "Latin-1": (b"A=1\nEVENTAPI_DATA=/srv/\xe4\n", 2),
    "NUL": (b"A=1\nB=2\nEVENTAPI_DATA=x\0y\n", 3),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_line_that_cannot_be_read_is_named_by_its_number(name: str, tmp_path: Path) -> None:
    content, line = UNREADABLE[name]
    file = tmp_path / ".env"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as refused:
        load({}, file)
    message = str(refused.value)
    assert message.startswith(f"{file}, line {line}, cannot be read: ")
    assert SECRET[:14] not in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["UTF-16", "UTF-16, big end first", "UTF-16 without a mark"])
def test_utf_16_is_reported_with_the_cure(name: str, tmp_path: Path) -> None:
    """Editors on Windows and PowerShell's ``>`` write it."""
    file = tmp_path / ".env"
    file.write_bytes(UNREADABLE[name][0])
    with pytest.raises(ConfigurationError, match=r"UTF-16; save the file as UTF-8$"):
        load({}, file)


def test_a_dangling_link_is_reported(tmp_path: Path) -> None:
    """The file may be on a volume that is not mounted."""
    file = tmp_path / ".env"
    file.symlink_to("/nonexistent/eventapi.env")
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read: it is a symbolic link"):
        load({}, file)


@pytest.mark.parametrize("name", ["a quote that is not closed", "a name alone", "UTF-16"])
@pytest.mark.parametrize("command", [("config",), ("serve", "--port", "0"), ("log", "show")])
def test_every_command_refuses_an_unreadable_line_with_one_line(
    name: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    content, line = UNREADABLE[name]
    (tmp_path / ".env").write_bytes(content)
    ended = run(tmp_path, *command, command=PROGRAM)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, b"", 1)
    assert message_in(ended.err).startswith(f".env, line {line}, cannot be read: ")
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


@pytest.mark.parametrize(
    ("content", "data"),
    [
        (b"EVENTAPI_DATA=x", "x"),
        (b"\xef\xbb\xbfEVENTAPI_DATA=x\r\n", "x"),
        (b"export EVENTAPI_DATA='a b' # why\n", "a b"),
        (b"# EVENTAPI_DATA=x\n\n   \nEVENTAPI_DATA = y\n", "y"),
        (b'OTHER="two\nlines"\nEVENTAPI_DATA="x y"\n', "x y"),
        (b"BASE=/srv\nEVENTAPI_DATA=${BASE}/data\n", "/srv/data"),
        (b"BASE=\nEVENTAPI_DATA=${BASE}/data\n", "/data"),
        (b"EVENTAPI_DATA=${BASE:-/srv}/data\nOTHER=${BASE}\n", "/srv/data"),
        (b"EVENTAPI_DATA=a$b{c}$\n", "a$b{c}$"),
        (b"", "./data"),
    ],
)
def test_readable_files_are_read(content: bytes, data: str, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(content)
    assert load({}, file).settings.data == data


def test_a_variable_may_be_unset_in_a_value_that_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_bytes(b"EVENTAPI_DATA=${UNSET}/data\n")
    monkeypatch.setenv("EVENTAPI_DATA", "used")
    assert load(os.environ, tmp_path / ".env").settings.data == "used"


def test_a_directory_named_env_is_ignored(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert load({}, tmp_path / ".env").settings.data == "./data"


def test_a_file_without_read_permission_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read: Permission denied"):
        load({}, tmp_path / ".env")
