"""The server's own log: one line per message, without personal data."""

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
    """Formats a record as one line: JSON, or the same fields as ``name=value``."""

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._line = json_line if as_json else console_line

    def format(self, record: logging.LogRecord) -> str:
        """The line without its newline; a traceback is a field of its own, escaped."""
        message = record.getMessage()
        if safe_start := _SAFE_STARTS.get(record.name):
            message = safe_start.match(message)[0]  # type: ignore[index]  # it always matches
        fields: dict[str, object] = {"message": message}
        for name in ("request_id", "trace_id"):
            if value := getattr(record, name, None):
                fields[name] = value
        if record.exc_info and record.exc_info[1]:
            fields["traceback"] = safe_traceback(record.exc_info[1])
        time = datetime.fromtimestamp(record.created, UTC)
        return self._line(time, record.levelname.lower(), record.name, fields)


_SAFE_STARTS = {
    "asyncio": re.compile(r"Exception in callback [^(\n]*|[^\n]*"),
    "opentelemetry.util.re": re.compile(r"[^:]*"),
}
"""The safe starts of messages by logger.

What follows are reprs of errors and arguments (asyncio), or a header of
``OTEL_EXPORTER_OTLP_HEADERS``, often a password (OpenTelemetry).
"""

_SAFE_MESSAGES = (EventapiError, ImportError, NameError, OSError)


def safe_traceback(error: BaseException) -> str:
    """The tracebacks of an error and its causes, without messages that quote input.

    Messages are kept if they are ours, the system's or about the code.
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
    """A record as JSON, for programs."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    # JSON needs Unicode, and the name of a file may contain other bytes.
    encodable = {
        key: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for key, value in fields.items()
    }
    line = _encode({"time": stamp, "level": level, "logger": name, **encodable}).decode()
    return line.translate(_JSON_ESCAPES)


def console_line(time: datetime, level: str, name: str, fields: dict[str, object]) -> str:
    """A record as text, for people.

    Only a traceback takes more lines. They are indented, so that none of them looks like a record.
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
"""Characters that JSON allows in a string, but many readers take for a line end."""


def configure(settings: Settings) -> None:
    """Send all records of `logging` to stderr, and to the log file if one is set.

    Raises `ConfigurationError` if the file cannot be opened.
    """
    handler = _LineHandler(LineWriter(settings))
    handler.setFormatter(LineFormatter(settings.log_format == "json"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"  # The server has its own.


class LineWriter:
    """Writes whole lines to stderr, and to the log file if one is set.

    Lines that cannot be written, to a full disk or a closed pipe, are dropped, so that requests
    are still answered.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises `ConfigurationError` if the log file cannot be opened."""
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
        """Close the log file."""
        if self._file is not None:
            self._file.close()


def split_for_pipe(lines: bytes) -> Iterator[bytes]:
    """Split lines into pieces that a pipe accepts atomically.

    So processes that share a pipe never mix lines. A longer line is a piece of its own, without that
    guarantee (POSIX, `write`).
    """
    at = 0
    while at < len(lines):
        end = lines.rfind(b"\n", at, at + PIPE_BUF) + 1 or lines.find(b"\n", at) + 1
        yield lines[at:end]
        at = end


class _LineHandler(logging.Handler):
    """Writes the records of `logging`."""

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
