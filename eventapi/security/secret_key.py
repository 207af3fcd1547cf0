"""The keys behind access tokens: given, or one made once and kept.

The first signs. Those behind it are old ones, good for verification only, so that a key can be
changed without ending anybody's session.
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
    """The given keys, or those kept in the data directory, where one is made if there is none.

    Given they are separated by commas, in the file by line ends.

    Any number of processes may ask at once; all get the same. Raises `ConfigurationError`.
    """
    if given is not None:
        return given_keys(given)
    path = data / _FILE
    if message := wrong_kind_message(path):
        raise ConfigurationError(message)
    try:
        make_directory(data)
        if not path.exists():
            make_private(path, secrets.token_urlsafe(48).encode())
    except OSError as error:
        raise _unusable(path, error) from error
    return _kept(path)


def check_kept_keys(given: str | None, data: Path) -> None:
    """Refuse keys in the data directory that cannot be used, before a start makes any file.

    Raises `ConfigurationError`.
    """
    path = data / _FILE
    if given is not None:
        return
    if message := wrong_kind_message(path):
        raise ConfigurationError(message)
    if path.is_symlink() or path.exists():
        _kept(path)


def _kept(path: Path) -> Sequence[str]:
    try:
        keys = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, error) from error
    try:
        return _checked(keys)
    except ConfigurationError as error:
        raise ConfigurationError(f"the secret key {path} cannot be used: {error}") from None


def _unusable(path: Path, error: OSError | UnicodeDecodeError) -> ConfigurationError:
    hint = permission_hint(path, error) if isinstance(error, OSError) else ""
    return ConfigurationError(f"the secret key {path} cannot be read or made: {error}{hint}")


def is_missing(given: str | None, data: Path) -> bool:
    """Whether `secret_keys` is about to make a new key."""
    try:
        return given is None and not (data / _FILE).exists()
    except OSError:  # `secret_keys` reports it.
        return False


def warn_of_new_key(data: Path, sessions: int) -> None:
    """Warn that a new key was made beside a log in which sessions go on, made with another one."""
    if sessions:
        logger.warning(SECRET_KEY_NEW.fill(path=data / _FILE, sessions=sessions, name=_FILE))


def given_keys(setting: str) -> Sequence[str]:
    """The keys of the setting SECRET_KEY; raises `ConfigurationError`."""
    return _checked([key.strip() for key in setting.split(",")])


def _checked(keys: Sequence[str]) -> Sequence[str]:
    for key in keys or [""]:
        check_secret(key)
    return keys
