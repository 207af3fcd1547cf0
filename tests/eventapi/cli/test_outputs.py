"""Files that commands write: which ones they refuse, and how messages name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.eventapi.cli.running import message_in, refusal_of
from tests.eventapi.cli.trees import tree


@pytest.mark.parametrize("name", ["followers.sqlite", "events.jsonl.key", "secret.key"])
def test_keys_are_not_copied_into_another_file_of_the_server(
    data: Path, tmp_path: Path, name: str
) -> None:
    """No erasure would destroy them there."""
    before = tree(data)
    code, error = refusal_of(data, "log", "copy", str(tmp_path / "c"), "--vault", str(data / name))
    assert (code, message_in(error)) == (2, f"{data / name} is a file of the server")
    assert tree(data) == before


@pytest.mark.parametrize("is_named", [False, True])
def test_the_vault_is_not_taken_for_a_copy_of_its_keys(
    data: Path, tmp_path: Path, is_named: bool
) -> None:
    before, vault = tree(data), data / "vault.sqlite"
    places = [*([str(data)] if is_named else []), str(tmp_path / "c")]
    code, error = refusal_of(data, "log", "copy", *places, "--vault", str(vault))
    assert (code, message_in(error)) == (2, f"{vault} is the vault itself")
    assert tree(data) == before
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["log", "export", "--output"],
        ["users", "export", "ann"],
        ["log", "evidence", "--user", "ann"],
    ],
    ids=" ".join,
)
def test_an_output_in_a_missing_directory_is_named_as_it_was_typed(
    data: Path, tmp_path: Path, command: list[str]
) -> None:
    place = tmp_path / "missing" / "out"
    code, error = refusal_of(data, *command, str(place))
    assert (code, message_in(error)) == (3, f"{place}: No such file or directory")
