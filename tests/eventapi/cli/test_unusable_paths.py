"""Settings with an unusable path: the message names the path, and nothing changes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.eventapi.cli.running import invoke, run
from tests.eventapi.cli.trees import tree

LONG = "a" * 300


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """A directory with a file, a directory and a dangling link that settings name."""
    (tmp_path / "file").write_text("a letter")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("/nonexistent/place")
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"DATA": "file"}, "the data directory file is not a directory"),
        ({"DATA": "file/below"}, "the data directory file/below cannot be created, because "),
        ({"DATA": "file/below/it"}, "/file is not a directory"),
        ({"DATA": "link"}, "the data directory link is a symbolic link to a directory that is not"),
        ({"DATA": "link/below"}, "/link is not a directory"),
        ({"DATA": LONG}, "cannot be used: File name too long"),
        ({"LOG": "directory"}, "the log directory is not a regular file"),
        ({"LOG": "/dev/null"}, "the log /dev/null is not a regular file"),
        ({"LOG": "file/events"}, "the directory of the log file is not a directory"),
        ({"LOG": "link"}, "the log link is a symbolic link to a missing file"),
        ({"LOG": "link/events"}, "the directory of the log link is a symbolic link"),
    ],
    ids=str,
)
def test_an_unusable_path_is_named_in_the_message(
    places: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(places)
    before = tree(places)
    named = {f"EVENTAPI_{name}": text for name, text in settings.items()}
    result = invoke(places / "data", "serve", "--port", "0", **named)
    assert result.exit_code == 3
    assert message in result.stderr.splitlines()[0]
    assert "Errno" not in result.stderr
    assert tree(places) == before


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("directory", "directory cannot be opened: Is a directory"),
        ("file/log", "file/log cannot be opened: file is not a directory"),
        ("file/a/log", "file/a/log cannot be opened: file/a is not a directory"),
        ("link", "link cannot be opened: it is a symbolic link to a file that is not there"),
    ],
)
def test_an_unusable_server_log_file_is_named_in_the_message(
    places: Path, place: str, message: str
) -> None:
    before = tree(places)
    ended = run(places, "serve", "--port", "0", EVENTAPI_LOG_FILE=place)
    assert ended.code == 3
    assert ended.err.splitlines()[0] == f"eventapi: EVENTAPI_LOG_FILE: {message}"
    assert tree(places) == before


def test_a_directory_without_permission_is_named_in_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_directory = Path.is_dir

    def refuse(path: Path) -> bool:
        if path.name == "data":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return is_directory(path)

    monkeypatch.setattr(Path, "is_dir", refuse)
    result = invoke(tmp_path / "data", "serve", "--port", "0")
    assert result.exit_code == 3
    assert f"the data directory {tmp_path / 'data'} cannot be used: Permission" in result.stderr
