"""The secret keys of access tokens: from the setting, or made once and stored.

The first key signs. The others are older and only verify, so that a key can be changed without
ending sessions.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from eventapi.security.tokens import check_secret
from events.errors import ConfigurationError
from events.io.files import make_directory, make_private, permission_hint, wrong_kind_message
from events.messages.server_log import SECRET_KEY_NEW

logger = logging.getLogger("eventapi.security")

_FILE: Final = "secret.key"


def secret_keys(given: str | None, data: Path) -> Sequence[str]:
    """The keys of the setting, or those in the data directory, made if missing.

    They are separated by commas in the setting, and by line ends in the file. Processes that call this
    at the same time get the same keys. Raises `ConfigurationError`.
    """
    if given is not None:
        return parse_keys(given)
    path = data / _FILE
    if message := wrong_kind_message(path):
        raise ConfigurationError(message)
    try:
        make_directory(data)
        if not path.exists():
            make_private(path, secrets.token_urlsafe(48).encode())
    except OSError as error:
        raise _unusable(path, error) from error
    return _read_keys(path)


def check_stored_keys(given: str | None, data: Path) -> None:
    """Raise `ConfigurationError` for unusable keys in the data directory.

    Called before a start creates any file.
    """
    path = data / _FILE
    if given is not None:
        return
    if message := wrong_kind_message(path):
        raise ConfigurationError(message)
    if path.is_symlink() or path.exists():
        _read_keys(path)


def _read_keys(path: Path) -> Sequence[str]:
    try:
        keys = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, error) from error
    try:
        return _check_all(keys)
    except ConfigurationError as error:
        raise ConfigurationError(f"the secret key {path} cannot be used: {error}") from None


def _unusable(path: Path, error: OSError | UnicodeDecodeError) -> ConfigurationError:
    if isinstance(error, OSError):
        reason = f"{error.strerror or error}{permission_hint(path, error)}"
    else:
        reason = "it is not ASCII"
    return ConfigurationError(f"the secret key {path} cannot be read or made: {reason}")


def is_missing(given: str | None, data: Path) -> bool:
    """Whether `secret_keys` would make a new key."""
    try:
        return given is None and not (data / _FILE).exists()
    except OSError:  # `secret_keys` reports it.
        return False


def warn_about_new_key(data: Path, sessions: int) -> None:
    """Warn that a new key was made, which ends the sessions in the log."""
    if sessions:
        logger.warning(SECRET_KEY_NEW.fill(path=data / _FILE, sessions=sessions, name=_FILE))


def parse_keys(setting: str) -> Sequence[str]:
    """The keys of the setting SECRET_KEY; raises `ConfigurationError`."""
    return _check_all([key.strip() for key in setting.split(",")])


def _check_all(keys: Sequence[str]) -> Sequence[str]:
    for key in keys or [""]:
        check_secret(key)
    return keys
