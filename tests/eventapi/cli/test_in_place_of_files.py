"""A directory or a pipe in the place of a file is named with the remedy."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from eventapi.commands.users import RegisterUser
from eventapi.security.secret_key import check_stored_keys, secret_keys
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from events.errors import ConfigurationError
from tests.eventapi.cli.running import invoke, written
from tests.eventapi.cli.trees import tree

FILES = [
    *(
        f"events.jsonl.{part}"
        for part in ("mark", "lock", "key", "signed", "checkpoint", "cosigned")
    ),
    "vault.sqlite",
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a log, its keys and a checkpoint."""
    folder = tmp_path / "data"
    written(folder, RegisterUser(profile("ann")), create_item(1, Content("an item")))
    assert invoke(folder, "log", "checkpoint").exit_code == 0
    return folder


KINDS = [(Path.mkdir, "a directory"), (os.mkfifo, "no regular file")]
"""Reading a pipe without a writer would block for ever."""


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("make", "kind"), KINDS)
def test_a_start_names_the_directory_or_pipe_and_changes_nothing(
    data: Path, name: str, make: Callable[[Path], None], kind: str
) -> None:
    (data / name).unlink(missing_ok=True)
    make(data / name)
    before = tree(data)
    result = invoke(data, "serve", "--port", "0")
    assert (result.exit_code, result.stderr.count("\n")) == (3, 3), result.stderr
    assert f"data/{name} is {kind}, but must be a file" in result.stderr
    assert f"mv {data / name} {data / name}.away" in result.stderr
    assert tree(data) == before


@pytest.mark.parametrize(("make", "kind"), KINDS)
def test_a_directory_in_the_place_of_the_secret_key_is_named(
    tmp_path: Path, make: Callable[[Path], None], kind: str
) -> None:
    make(tmp_path / "secret.key")
    with pytest.raises(ConfigurationError, match=f"secret.key is {kind}, but must be a file"):
        check_stored_keys(None, tmp_path)
    with pytest.raises(ConfigurationError, match=f"secret.key is {kind}, but must be a file"):
        secret_keys(None, tmp_path)
    check_stored_keys("given, so that the file is not read", tmp_path)


@pytest.mark.parametrize("command", [["log", "show"], ["users", "disable", "ann"]], ids=" ".join)
@pytest.mark.parametrize("name", FILES)
def test_commands_name_the_directory(data: Path, name: str, command: Sequence[str]) -> None:
    (data / name).unlink(missing_ok=True)
    (data / name).mkdir()
    result = invoke(data, *command)
    assert (result.exit_code, result.stderr.count("\n")) == (3, 3), result.stderr
    assert f"data/{name} is a directory, but must be a file" in result.stderr


@pytest.mark.parametrize(("make", "kind"), KINDS)
def test_verify_names_the_directory_or_pipe_in_the_place_of_the_checkpoint(
    data: Path, make: Callable[[Path], None], kind: str
) -> None:
    (data / "events.jsonl.checkpoint").unlink()
    make(data / "events.jsonl.checkpoint")
    result = invoke(data, "log", "verify")
    assert (result.exit_code, result.stderr.count("\n")) == (3, 3), result.stderr
    assert f"data/events.jsonl.checkpoint is {kind}, but must be a file" in result.stderr


@pytest.mark.parametrize("command", [["log", "show"], ["users", "disable", "ann"]], ids=" ".join)
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_commands_refuse_a_log_that_is_no_file(
    data: Path, make: Callable[[Path], None], command: Sequence[str]
) -> None:
    (data / "events.jsonl").unlink()
    make(data / "events.jsonl")
    result = invoke(data, *command)
    assert (result.exit_code, result.stderr.count("\n")) == (3, 3), result.stderr
    assert f"{data / 'events.jsonl'} is not a regular file" in result.stderr
