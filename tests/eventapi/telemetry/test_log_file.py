"""The log file: whole lines from several processes, while it is renamed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from eventapi.telemetry.log_file import LogFile
from events.errors import ConfigurationError

ROOT = Path(__file__).parents[3]
PROCESSES, LINES = 4, 3_000

_WRITER = f"""
import sys
from pathlib import Path
from eventapi.telemetry.log_file import LogFile

file = LogFile(Path(sys.argv[1]))
for number in range({LINES}):
    file.write(f"{{sys.argv[2]}} {{number}} {{'x' * (number % 60)}}\\n".encode())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "server.log"


@pytest.fixture
def file(path: Path) -> Iterator[LogFile]:
    with closing(LogFile(path)) as opened:
        yield opened


def files(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.parent.iterdir()}


def test_no_line_is_lost_or_torn_by_several_processes_while_the_file_is_renamed(
    path: Path,
) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(path), str(number)])
        for number in range(PROCESSES)
    ]
    renamed = 0
    while any(writer.poll() is None for writer in writers):
        with suppress(FileNotFoundError):
            path.rename(path.with_name(f"server.log.{renamed}"))
            renamed += 1
    assert [writer.wait() for writer in writers] == [0] * PROCESSES
    lines = Counter("".join(files(path).values()).splitlines())
    written = {
        f"{process} {number} {'x' * (number % 60)}"
        for process in range(PROCESSES)
        for number in range(LINES)
    }
    assert lines == dict.fromkeys(written, 1)
    assert renamed > 1


def test_a_new_file_is_readable_by_the_group(file: LogFile, path: Path) -> None:
    file.write(b"a line\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


def test_lines_after_a_rename_go_to_a_new_file(file: LogFile, path: Path) -> None:
    file.write(b"before\n")
    path.rename(path.with_name("server.log.1"))
    file.write(b"after\n")
    assert files(path) == {"server.log.1": "before\n", "server.log": "after\n"}


def test_the_old_file_is_used_while_a_new_one_cannot_be_created(
    file: LogFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "no")

    path.rename(path.with_name("server.log.1"))
    with monkeypatch.context() as patched:
        patched.setattr("eventapi.telemetry.log_file.open_or_make", refuse)
        file.write(b"one\n")
    file.write(b"two\n")
    assert files(path) == {"server.log.1": "one\n", "server.log": "two\n"}


def test_a_link_with_a_new_target_is_followed(tmp_path: Path) -> None:
    link = tmp_path / "server.log"
    for day in ("monday", "tuesday"):
        (tmp_path / day).touch()
    link.symlink_to("monday")
    with closing(LogFile(link)) as file:
        file.write(b"one\n")
        link.unlink()
        link.symlink_to("tuesday")
        file.write(b"two\n")
    assert (tmp_path / "monday").read_bytes() == b"one\n"
    assert (tmp_path / "tuesday").read_bytes() == b"two\n"


def test_a_pipe_can_be_the_log_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with closing(LogFile(pipe)) as file:
        file.write(b"one\n")
        file.write(b"two\n")
    assert os.read(reader, 1000) == b"one\ntwo\n"
    os.close(reader)


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"EVENTAPI_LOG_FILE: .*/file/server\.log"):
        LogFile(tmp_path / "file" / "server.log")


def test_the_rest_of_lines_that_were_written_in_part_follows(
    file: LogFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr("os.write", lambda descriptor, content: write(descriptor, content[:3]))
    file.write(b"one\ntwo\n")
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.long
@pytest.mark.skipif(
    shutil.which("logrotate") is None, reason="logrotate is absent: apt-get install logrotate"
)
def test_logrotate_accepts_the_configuration_in_deploy(tmp_path: Path) -> None:
    configuration = ROOT / "deploy" / "logrotate" / "eventapi"
    command = ["logrotate", "--debug", "--state", str(tmp_path / "state"), str(configuration)]
    checked = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "error" not in checked.stderr
