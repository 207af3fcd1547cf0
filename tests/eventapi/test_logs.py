"""Where the server's own lines go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eventapi.logs import Lines
from eventapi.settings import Settings


def test_lines_go_to_stderr_and_to_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "server.log"
    file.write_text("before\n")
    Lines(Settings(log_file=str(file))).write(b"a line\n")
    assert file.read_text() == "before\na line\n"
    assert capfd.readouterr().err == "a line\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_line_that_cannot_be_written_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    """A full disk or a closed pipe must not end the request that the line is about."""
    Lines(Settings(log_file="/dev/full")).write(b"a line\n")
    assert capfd.readouterr().err == "a line\n"


def test_control_a_full_device_refuses() -> None:
    with (
        pytest.raises(OSError, match="No space"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        os.write(full.fileno(), b"a line\n")
