"""Read the ``.env`` file strictly: a line that cannot be read stops the start."""

from __future__ import annotations

import codecs
import io
import os
from pathlib import Path
from typing import Final

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from dotenv.variables import Variable, parse_variables

from events.errors import ConfigurationError
from events.messages.errors import BAD_SETTING

_UTF8: Final = "utf-8-sig"  # Editors on Windows put a byte order mark first.
_CURE: Final = "save the file as UTF-8"
_UNSET: Final = (
    "its value has a ${...} that is not set; set it on a line before, or, if the characters are meant, "
    "put the setting into the environment"
)


def read_env_file(path: Path, prefix: str) -> dict[str, str]:
    """Return the variables of a file; a missing file has none.

    ``python-dotenv`` skips lines that it cannot parse, so that a server would start without their
    settings. This function raises `ConfigurationError` with the number of the first such line, but
    not its content, which may be a secret. Names that begin with ``prefix`` are settings: a value
    of several lines must not contain another setting, and ``${NAME}`` in a value must be set, in the
    environment or on an earlier line, or have a default: ``${NAME:-DEFAULT}``.
    """
    text, known = _read_text(path), {*os.environ}
    for binding in parse_stream(io.StringIO(text)):
        line = binding.original.line + _blank_lines(binding.original.string)
        if binding.error:
            raise _unreadable_line(path, line, "expected NAME=VALUE; is a quote not closed?")
        if binding.key is not None and binding.value is None:
            raise _unreadable_line(path, line, "expected NAME=VALUE; the '=' is missing")
        _, *more = (binding.value or "").splitlines() or [""]
        if any(one.lstrip().removeprefix("export ").startswith(prefix) for one in more):
            raise _unreadable_line(
                path, line, "its value contains another setting; close the quote"
            )
        if binding.key is not None:
            is_used = binding.key.startswith(prefix) and binding.key not in os.environ
            if is_used and not known >= _variables_in(binding.value or ""):
                raise _unreadable_line(path, line, _UNSET)
            known.add(binding.key)
    values = dotenv_values(stream=io.StringIO(text))
    return {name: value for name, value in values.items() if value is not None}


def _variables_in(value: str) -> set[str]:
    """The names that ``python-dotenv`` replaces, by an empty text if they are not set."""
    found = parse_variables(value)
    return {one.name for one in found if isinstance(one, Variable) and one.default is None}


def _blank_lines(statement: str) -> int:
    """The number of blank lines at the start of a statement."""
    return statement[: len(statement) - len(statement.lstrip())].count("\n")


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except IsADirectoryError:  # Some virtual environments have this name.
        return ""
    except FileNotFoundError:
        if path.is_symlink():
            reason = "it is a symbolic link to a file that is not there"
            raise _bad_setting(f"{path} cannot be read: {reason}") from None
        return ""
    except OSError as error:
        raise _bad_setting(f"{path} cannot be read: {error.strerror}") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _unreadable_line(path, 1, f"this is UTF-16; {_CURE}")
    try:
        text = content.decode(_UTF8)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unreadable_line(path, line, f"this is not UTF-8; {_CURE}") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise _unreadable_line(path, line, f"there is a NUL byte, as in UTF-16; {_CURE}")
    return text


def _unreadable_line(path: Path, line: int, reason: str) -> ConfigurationError:
    return _bad_setting(f"{path}, line {line}, cannot be read: {reason}")


def _bad_setting(reason: str) -> ConfigurationError:
    return ConfigurationError(BAD_SETTING.about(reason))
