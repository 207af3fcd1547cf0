"""The server's own log: one line a message, for people or for programs, never personal data."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from select import PIPE_BUF

import msgspec

from eventapi.configuration.settings import Settings
from eventapi.telemetry.log_file import LogFile, write_all
from events.errors import EventapiError, Refusal

_encode = msgspec.json.Encoder().encode


class LineFormatter(logging.Formatter):
    """A record as one line: JSON, or the same fields as ``name=value``."""

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._line = json_line if as_json else console_line

    def format(self, record: logging.LogRecord) -> str:
        """The line without its newline; a traceback stands escaped in a field of its own."""
        message = record.getMessage()
        if record.name == "asyncio":
            message = _ASYNCIO_SUMMARY.match(message)[0]  # type: ignore[index]  # it always does
        fields: dict[str, object] = {"message": message}
        for name in ("request_id", "trace_id"):
            if value := getattr(record, name, None):
                fields[name] = value
        if record.exc_info and record.exc_info[1]:
            fields["traceback"] = safe_traceback(record.exc_info[1])
        time = datetime.fromtimestamp(record.created, UTC)
        return self._line(time, record.levelname.lower(), record.name, fields)


_ASYNCIO_SUMMARY = re.compile(r"Exception in callback [^(\n]*|[^\n]*")
"""Of what asyncio says: behind it come tasks with what their errors say, and arguments of callbacks."""

_SAFE_MESSAGES = (EventapiError, ImportError, NameError, OSError)


def safe_traceback(error: BaseException) -> str:
    """Where an error came from, and what led to it, the last of all last.

    What it says is told only where that is ours, the system's or of the code: others may quote what
    was typed.
    """
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    parts = [] if before is None else [safe_traceback(before)]
    if isinstance(error, BaseExceptionGroup):
        parts += map(safe_traceback, error.exceptions)
    kind = type(error)
    parts += ["Traceback (most recent call last):", *traceback.format_tb(error.__traceback__)]
    parts += [f"{kind.__module__}.{kind.__qualname__}"]
    if isinstance(error, _SAFE_MESSAGES) and not isinstance(error, Refusal):
        parts[-1] += f": {error}"
    return "\n".join(part.rstrip() for part in parts)


def json_line(time: datetime, level: str, name: str, fields: dict[str, object]) -> str:
    """A line for programs."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    # A name of a file may be no Unicode, which JSON does not let stand.
    told = {
        key: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for key, value in fields.items()
    }
    line = _encode({"time": stamp, "level": level, "logger": name, **told}).decode()
    return line.translate(_JSON_ESCAPES)


def console_line(time: datetime, level: str, name: str, fields: dict[str, object]) -> str:
    """A line for people; a message comes plain, and only a traceback may take more lines.

    Those are indented, so that nothing in it can pass for a line of its own.
    """
    rest = dict(fields)
    message = str(rest.pop("message", "")).translate(_CONTROL_ESCAPES)
    stack = str(rest.pop("traceback", "")).split("\n")
    words = "".join(f" {key}={value}" for key, value in rest.items()).translate(_CONTROL_ESCAPES)
    stamp = time.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    line = f"{stamp} {level:<8} {name}: {message}{words}"
    more = [f"\n    {part.translate(_CONTROL_ESCAPES)}" for part in stack if part]
    return "".join((line, *more))


_CONTROL_ESCAPES = {ordinal: f"\\x{ordinal:02x}" for ordinal in (*range(32), *range(127, 160))}
_CONTROL_ESCAPES |= {0x2028: "\\u2028", 0x2029: "\\u2029"}
_JSON_ESCAPES = {ordinal: f"\\u{ordinal:04x}" for ordinal in (*range(127, 160), 0x2028, 0x2029)}
"""What JSON lets stand in a string, and many a reader takes for the end of a line."""


def configure(settings: Settings) -> None:
    """Send everything that is logged to stderr, and to the log file if there is one.

    Raises `ConfigurationError` where that cannot be opened.
    """
    handler = _LineHandler(LineWriter(settings))
    handler.setFormatter(LineFormatter(settings.log_format == "json"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"  # We keep our own.


class LineWriter:
    """Where whole lines go: to stderr, and to the log file if there is one.

    What cannot be written, to a full disk or a closed pipe, is dropped: requests go on.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises `ConfigurationError` where the log file cannot be opened."""
        self._stderr = sys.stderr.fileno()
        self._file = LogFile(Path(settings.log_file)) if settings.log_file else None

    def write(self, lines: bytes) -> None:
        """Write lines, each with its newline."""
        with suppress(OSError):
            for piece in split_for_pipe(lines):
                write_all(self._stderr, piece)
        if self._file is not None:
            with suppress(OSError):
                self._file.write(lines)

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()


def split_for_pipe(lines: bytes) -> Iterator[bytes]:
    """As many lines at a time as a pipe takes whole: those of several processes do not mix then.

    A line that is longer comes by itself; of that nothing can be promised (POSIX, `write`).
    """
    at = 0
    while at < len(lines):
        end = lines.rfind(b"\n", at, at + PIPE_BUF) + 1 or lines.find(b"\n", at) + 1
        yield lines[at:end]
        at = end


class _LineHandler(logging.Handler):
    """Lines of `logging`."""

    def __init__(self, lines: LineWriter) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
        except Exception:
            self.handleError(record)
        else:
            self._lines.write(line)

    def close(self) -> None:
        self._lines.close()
        super().close()
