"""Commands on a log whose first part is closed print what they print for one file."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from events.log.file import closed
from events.log.file.closing import close_segments
from events.log.file.paths import closed_segments
from tests.eventapi.cli.running import (
    REPOSITORY,
    answer_of,
    invoke,
    log_of,
    message_in,
    output_of,
    refusal_of,
)
from tests.events.log_helpers import open_file_log

COMMANDS = [
    ["log", "verify", "--seals"],
    ["log", "export"],
    ["state", "digest"],
    ["users", "list"],
]


async def _close(path: Path) -> None:
    async with open_file_log(path) as log:
        assert await close_segments(log, 1, 5)


def close_most(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Close all tiles but the last one, each in a segment; return the path of the log."""
    monkeypatch.setattr(closed, "LINES_PER_FRAME", 2)
    asyncio.run(_close(data / "events.jsonl"))
    assert len(closed_segments(data / "events.jsonl")) > 2
    return data / "events.jsonl"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_prints_what_it_prints_for_one_file(
    data: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    before = invoke(data, *command)
    close_most(data, monkeypatch)
    after = invoke(data, *command)
    assert (after.exit_code, after.stdout) == (before.exit_code, before.stdout)
    assert after.exit_code == 0, after.output


def test_a_copy_is_one_file(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = log_of(data)
    close_most(data, monkeypatch)
    answer_of(data, "log", "copy", f"{tmp_path / 'copy'}/")
    assert log_of(tmp_path / "copy") == content
    assert not closed_segments(tmp_path / "copy" / "events.jsonl")
    output_of(data, "log", "verify", "--prefix-of", str(tmp_path / "copy" / "events.jsonl"))


def test_a_copied_directory_is_restored_as_one_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = log_of(data)
    output_of(data, "log", "checkpoint")
    close_most(data, monkeypatch)
    shutil.copytree(data, tmp_path / "copied")
    new = tmp_path / "new"
    output_of(
        new, "log", "restore", f"{tmp_path / 'copied'}/", "--vault", str(data / "vault.sqlite")
    )
    assert log_of(new) == content


def test_a_lost_open_file_is_noticed_and_restored_only_without_its_segments(
    data: Path, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = close_most(data, monkeypatch)
    path.unlink()
    for name in ("events.jsonl.mark", "events.jsonl.checkpoint", "events.jsonl.signed"):
        (data / name).unlink(missing_ok=True)
    code, err = refusal_of(data, "users", "list")
    assert code != 0
    assert "closed segments" in message_in(err)
    restoring = ("log", "restore", str(backup), "--vault", str(tmp_path / "keys"))
    code, err = refusal_of(data, *restoring)
    assert code != 0
    assert f"mv {path}.segments {path}.old.segments" in err
    Path(f"{path}.segments").rename(f"{path}.old.segments")
    output_of(data, *restoring)
    assert log_of(data) == log_of(backup)


def test_a_copy_of_the_file_alone_names_what_it_lacks(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = close_most(data, monkeypatch)
    alone = tmp_path / "alone" / "events.jsonl"
    alone.parent.mkdir()
    shutil.copy(path, alone)
    for command in (["users", "list"], ["state", "digest"]):
        code, err = refusal_of(data, *command, "--log", str(alone))
        assert code != 0
        assert f"{1:016}-" in message_in(err)
    result = invoke(data, "log", "verify", str(alone))
    assert result.exit_code == 1
    assert f"{1:016}-" in result.stdout


@pytest.mark.long
def test_other_programs_read_segments_as_json_lines(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/log-format.md describes it."""
    content = log_of(data)
    path = close_most(data, monkeypatch)
    whole = tmp_path / "whole.jsonl"
    joining = f"zstdcat {path}.segments/*.zst | cat - {path} > {whole}"
    subprocess.run(["bash", "-ec", joining], check=True)
    assert whole.read_bytes() == content
    replaying = ["node", str(REPOSITORY / "docs" / "replay.mjs"), str(whole)]
    ran = subprocess.run(replaying, check=True, capture_output=True, text=True)
    assert output_of(data, "state", "digest").split()[-1] in ran.stdout
