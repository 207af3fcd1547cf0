"""The server's own log: formats, stderr and the log file."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from select import PIPE_BUF

import pytest

from eventapi.configuration.settings import Settings
from eventapi.telemetry.server_log import LineFormatter, LineWriter, configure, split_for_pipe
from events.errors import LogUnavailable, UsernameTaken


def test_lines_go_to_stderr_and_to_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "server.log"
    file.write_text("before\n")
    LineWriter(Settings(log_file=str(file))).write(b"a line\n")
    assert file.read_text() == "before\na line\n"
    assert capfd.readouterr().err == "a line\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_line_that_cannot_be_written_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    """A full disk or a closed pipe must not fail the request that the line describes."""
    LineWriter(Settings(log_file="/dev/full")).write(b"a line\n")
    assert capfd.readouterr().err == "a line\n"


def test_control_a_full_device_refuses_a_write() -> None:
    with (
        pytest.raises(OSError, match="No space"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        os.write(full.fileno(), b"a line\n")


def test_pieces_are_not_larger_than_a_pipe_accepts_atomically() -> None:
    lines = [b"x" * length + b"\n" for length in (10, 4_000, 90, 4_095, 5_000, 1, 9_000, 3)]
    found = list(split_for_pipe(b"".join(lines)))
    assert b"".join(found) == b"".join(lines)
    assert all(piece.endswith(b"\n") for piece in found)
    assert all(len(piece) <= PIPE_BUF or piece.count(b"\n") == 1 for piece in found)
    assert len(found) < len(lines)


def test_lines_of_several_processes_do_not_mix_in_a_pipe(tmp_path: Path) -> None:
    program = (
        "import sys; from eventapi.telemetry.server_log import LineWriter; from eventapi.configuration.settings import Settings;"
        "lines = LineWriter(Settings());"
        "[lines.write((sys.argv[1] * 150 + '\\n').encode() * 60) for _ in range(300)]"
    )
    reading, writing = os.pipe()
    writers = [
        subprocess.Popen([sys.executable, "-c", program, letter], stderr=writing)
        for letter in "abcd"
    ]
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = Counter(pipe.read().splitlines())
    assert [writer.wait() for writer in writers] == [0] * 4
    assert lines == {letter.encode() * 150: 18_000 for letter in "abcd"}


def formatted(error: BaseException) -> str:
    record = logging.LogRecord(
        "eventapi", logging.ERROR, "", 0, "it failed", None, (type(error), error, None)
    )
    record.request_id, record.trace_id = "the-one", "0af7651916cd43dd"
    return LineFormatter(as_json=False).format(record)


def test_a_traceback_contains_the_place_and_no_user_input() -> None:
    try:
        try:
            raise KeyError("canary")
        except KeyError as error:
            raise ValueError("canary") from error
    except ValueError as error:
        text = formatted(error)
    assert "canary" not in text.replace('raise KeyError("canary")', "").replace(
        'raise ValueError("canary")', ""
    )
    assert text.index("builtins.KeyError") < text.index("builtins.ValueError")
    assert "test_server_log.py" in text
    assert "request_id=the-one trace_id=0af7651916cd43dd" in text
    assert all(line.startswith("    ") for line in text.splitlines()[1:])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(5, "Input/output error"), "builtins.OSError: [Errno 5] Input/output error"),
        (LogUnavailable("no lock"), "events.errors.LogUnavailable: no lock"),
        (NameError("name 'x' is not defined"), "builtins.NameError: name 'x' is not defined"),
        (UsernameTaken("canary"), "events.errors.UsernameTaken"),
        (ExceptionGroup("canary", [KeyError("canary"), OSError("it")]), "builtins.OSError: it"),
    ],
)
def test_messages_of_the_system_and_of_our_errors_are_kept(error: Exception, text: str) -> None:
    line = formatted(error)
    assert text in line
    assert "canary" not in line


def test_messages_of_asyncio_are_cut_before_values(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asyncio prints the messages of errors and the arguments of callbacks."""
    # A command that was interrupted in this process has disabled it.
    monkeypatch.setattr(logging.getLogger("asyncio"), "disabled", False)

    async def fail() -> None:
        raise KeyError("canary")

    async def main() -> None:
        lost = asyncio.create_task(fail(), name="lost")
        await asyncio.wait([lost])
        asyncio.get_running_loop().call_soon(int, "canary")
        del lost
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert len(caplog.records) == 2
    for as_json in (True, False):
        text = "\n".join(map(LineFormatter(as_json).format, caplog.records))
        assert "canary" not in text.replace('KeyError("canary")', "").replace(
            'KeyError(\\"canary\\")', ""
        )
        assert "Task exception was never retrieved" in text
        assert "Exception in callback" in text
        assert "builtins.KeyError" in text


@pytest.mark.parametrize("headers", ["authorization: Bearer canary", "a=b;canary", "canary"])
def test_a_malformed_opentelemetry_header_is_reported_without_its_value(
    headers: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = pytest.importorskip("opentelemetry.util.re")
    monkeypatch.setattr(logging.getLogger("opentelemetry.util.re"), "disabled", False)
    library.parse_env_headers(headers, liberal=True)
    [record] = caplog.records
    assert "canary" in record.getMessage()
    for as_json in (True, False):
        line = LineFormatter(as_json).format(record)
        assert "Header format invalid" in line
        assert "canary" not in line


@pytest.mark.parametrize("as_json", [True, False])
def test_a_name_that_is_not_unicode_is_logged(
    as_json: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python decodes such names to lone surrogates, and bodies can contain them."""
    monkeypatch.setattr(logging.root, "handlers", [])
    level = logging.root.level
    configure(Settings(log_format="json" if as_json else "console"))
    logging.getLogger("eventapi").warning("no file %s", os.fsdecode(b"a\xff"))
    logging.root.setLevel(level)
    (line,) = capfd.readouterr().err.splitlines()
    assert "no file a" in line
    assert "dcff" in line
