"""The server's own log: one line a message, for people or for programs, never personal data."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from eventapi.settings import Settings

_encode = msgspec.json.Encoder().encode


class LineFormatter(logging.Formatter):
    """A record as one line: JSON, or the same fields as ``name=value``."""

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._line = json_line if as_json else console_line

    def format(self, record: logging.LogRecord) -> str:
        """The line without its newline; a traceback stands escaped in a field of its own."""
        fields: dict[str, object] = {"message": record.getMessage()}
        request_id = getattr(record, "request_id", None)
        if request_id:
            fields["request_id"] = request_id
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        time = datetime.fromtimestamp(record.created, UTC)
        return self._line(time, record.levelname.lower(), record.name, fields)


def json_line(time: datetime, level: str, name: str, fields: dict[str, object]) -> str:
    """A line for programs."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    line = _encode({"time": stamp, "level": level, "logger": name, **fields}).decode()
    return line.translate(_IN_JSON)


def console_line(time: datetime, level: str, name: str, fields: dict[str, object]) -> str:
    """A line for people; a message comes plain, and only a traceback may take more lines.

    Those are indented, so that nothing in it can pass for a line of its own.
    """
    rest = dict(fields)
    message = str(rest.pop("message", "")).translate(_ONE_LINE)
    traceback = str(rest.pop("traceback", "")).split("\n")
    words = "".join(f" {key}={value}" for key, value in rest.items()).translate(_ONE_LINE)
    stamp = time.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    line = f"{stamp} {level:<8} {name}: {message}{words}"
    more = [f"\n    {part.translate(_ONE_LINE)}" for part in traceback if part]
    return "".join((line, *more))


_ONE_LINE = {ordinal: f"\\x{ordinal:02x}" for ordinal in (*range(32), *range(127, 160))}
_ONE_LINE |= {0x2028: "\\u2028", 0x2029: "\\u2029"}
_IN_JSON = {ordinal: f"\\u{ordinal:04x}" for ordinal in (*range(127, 160), 0x2028, 0x2029)}
"""What JSON lets stand in a string, and many a reader takes for the end of a line."""


def configure(settings: Settings) -> None:
    """Send everything that is logged to stderr, and to the log file if there is one."""
    formatter = LineFormatter(settings.log_format == "json")
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if settings.log_file:
        handlers.append(logging.FileHandler(settings.log_file, delay=True))
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=settings.log_level.upper(), handlers=handlers, force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"  # We keep our own.


def line_writer(settings: Settings) -> Callable[[bytes], None]:
    """Where whole lines go when there are too many of them for `logging`.

    One that cannot be written, to a full disk or a closed pipe, is dropped: requests go on.
    """
    descriptors = [sys.stderr.fileno()]
    if settings.log_file:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptors.append(os.open(settings.log_file, flags, 0o640))

    def write(line: bytes) -> None:
        for descriptor in descriptors:
            with suppress(OSError):
                os.write(descriptor, line)

    return write
