"""The log file keeps every line whole, from several processes, while it is rotated under them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from eventapi.telemetry import log_file as logfile
from eventapi.telemetry.log_file import KEPT, LOOK_SECONDS, LogFile
from events.errors import ConfigurationError

PROCESSES, LINES = 4, 3_000

_WRITER = f"""
import sys
from itertools import count
from pathlib import Path
from eventapi.telemetry import log_file as logfile
logfile.ROTATE_BYTES, ticks = {LINES * PROCESSES * 8}, count()
file = logfile.LogFile(Path(sys.argv[1]), lambda: next(ticks) / 20)
for number in range({LINES}):
    file.write(f"{{sys.argv[2]}} {{number}} {{'x' * (number % 60)}}\\n".encode())
"""


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def later(self) -> None:
        """Let so much time pass that the file is looked at."""
        self.now += LOOK_SECONDS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "server.log"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfile, "ROTATE_BYTES", 10)


def files(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.parent.iterdir()}


def test_no_line_is_lost_or_torn_by_several_processes(path: Path) -> None:
    """Each rotates whenever it finds the file large, and goes on in it until it looks again.

    All that is rotated is kept here: on a busy machine one of them may stand still for long.
    """
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(path), str(number)])
        for number in range(PROCESSES)
    ]
    assert [writer.wait() for writer in writers] == [0] * PROCESSES
    kept = "".join(files(path).values())
    lines = Counter(kept.splitlines())
    whole = {f"{who} {number} {'x' * (number % 60)}" for who in range(4) for number in range(LINES)}
    assert lines.keys() == whole
    assert set(lines.values()) == {1}
    assert 2 < len(files(path)) <= KEPT


@pytest.mark.usefixtures("small")
def test_a_file_that_has_grown_is_rotated_and_the_oldest_goes(path: Path) -> None:
    clock = Clock()
    with closing(LogFile(path, clock)) as file:
        for number in range(KEPT + 3):
            file.write(f"this is line {number}\n".encode())
            clock.later()
    assert files(path) == {
        "server.log": f"this is line {KEPT + 2}\n",
        **{
            f"server.log.{back}": f"this is line {KEPT + 2 - back}\n" for back in range(1, KEPT + 1)
        },
    }


@pytest.mark.usefixtures("small")
def test_another_process_follows_a_rotation_and_does_not_repeat_it(path: Path) -> None:
    clock = Clock()
    with closing(LogFile(path, clock)) as one, closing(LogFile(path, clock)) as another:
        one.write(b"a line of some length\n")
        clock.later()
        one.write(b"new\n")
        another.write(b"new too\n")
    assert files(path) == {
        "server.log": "new\nnew too\n",
        "server.log.1": "a line of some length\n",
    }


def test_a_file_that_somebody_else_renamed_is_left(path: Path) -> None:
    """As logrotate does it."""
    clock = Clock()
    with closing(LogFile(path, clock)) as file:
        file.write(b"before\n")
        path.rename(path.with_name("elsewhere"))
        file.write(b"still before\n")
        clock.later()
        file.write(b"after\n")
    assert files(path) == {"elsewhere": "before\nstill before\n", "server.log": "after\n"}


@pytest.mark.usefixtures("small")
def test_where_it_cannot_be_rotated_it_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(Path, "replace", refuse)
    clock = Clock()
    with closing(LogFile(path, clock)) as file:
        for _ in range(3):
            file.write(b"a line of some length\n")
            clock.later()
    assert files(path) == {"server.log": "a line of some length\n" * 3}


@pytest.mark.usefixtures("small")
def test_what_is_no_plain_file_is_not_rotated(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    clock = Clock()
    with closing(LogFile(pipe, clock)) as file:
        for _ in range(3):
            file.write(b"a line of some length\n")
            clock.later()
    assert os.read(reader, 1000).count(b"\n") == 3
    os.close(reader)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("linked", ["server.log", "server.log.1", "server.log.2"])
def test_a_symbolic_link_is_never_renamed(tmp_path: Path, linked: str) -> None:
    """Neither the file itself nor one that would be moved on."""
    target, folder = tmp_path / "target", tmp_path / "logs"
    folder.mkdir()
    target.touch()
    (folder / linked).symlink_to(target)
    clock = Clock()
    with closing(LogFile(folder / "server.log", clock)) as file:
        for _ in range(3):
            file.write(b"a line of some length\n")
            clock.later()
    assert (folder / linked).readlink() == target
    assert {path.name for path in folder.iterdir()} == {linked, "server.log"}
    assert (folder / "server.log").read_bytes().count(b"\n") == 3


@pytest.mark.usefixtures("small")
def test_a_link_that_leads_elsewhere_now_is_followed(tmp_path: Path) -> None:
    link, clock = tmp_path / "server.log", Clock()
    for day in ("monday", "tuesday"):
        (tmp_path / day).touch()
    link.symlink_to("monday")
    with closing(LogFile(link, clock)) as file:
        file.write(b"a line of some length\n")
        link.unlink()
        link.symlink_to("tuesday")
        clock.later()
        file.write(b"another line\n")
    assert (tmp_path / "monday").read_bytes() == b"a line of some length\n"
    assert (tmp_path / "tuesday").read_bytes() == b"another line\n"


@pytest.mark.usefixtures("small")
def test_the_standard_output_is_appended_to(tmp_path: Path) -> None:
    """A link as ``/dev/stdout`` is one, which leads to a regular file here.

    Not that link itself: a rotation that is wrong would take it from the whole machine.
    """
    link = tmp_path / "stdout"
    link.symlink_to("/proc/self/fd/1")
    script = (
        "import sys; from itertools import count; from pathlib import Path; from eventapi import logfile\n"
        "logfile.ROTATE_BYTES, ticks = 10, count()\n"
        "file = logfile.LogFile(Path(sys.argv[1]), lambda: next(ticks) * 10)\n"
        "for number in range(3): file.write(b'a line of some length\\n')\n"
    )
    with (tmp_path / "out").open("ab") as out:
        subprocess.run([sys.executable, "-c", script, str(link)], stdout=out, check=True)
    assert (tmp_path / "out").read_bytes().count(b"\n") == 3
    assert link.readlink() == Path("/proc/self/fd/1")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "stdout"}


def test_a_place_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"EVENTAPI_LOG_FILE: .*/file/server\.log"):
        LogFile(tmp_path / "file" / "server.log")


def test_a_line_that_a_full_disk_cut_is_not_joined_to_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = [3]
    really = os.write

    def write(descriptor: int, content: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = really(descriptor, content[: room[0]])
        room[0] -= written
        return written

    with closing(LogFile(path)) as file:
        with monkeypatch.context() as full:
            full.setattr("os.write", write)
            file.write(b"one\ntwo\n")
            with pytest.raises(OSError, match="No space"):
                file.write(b"three\n")
        file.write(b"four\n")
        file.write(b"five\n")
    assert files(path) == {"server.log": "one\nfour\nfive\n"}
