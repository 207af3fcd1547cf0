"""The keys behind access tokens: given, or one made once and kept.

The first signs. Those behind it are old ones, good for verification only, so that a key can be
changed without ending anybody's session.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from pathlib import Path

from eventapi.security.tokens import check_secret
from events.errors import ConfigurationError
from events.files import cure, make_directory, make_private

logger = logging.getLogger("eventapi.security")


def secret_keys(given: str | None, data: Path, *, is_new: bool = True) -> Sequence[str]:
    """The given keys, or those kept in the data directory, where one is made if there is none.

    Unless the server ``is_new``, a warning says that the one there was is lost.

    Given they are separated by commas, in the file by line ends.

    Any number of processes may ask at once; all get the same. Raises `ConfigurationError`.
    """
    if given is not None:
        return given_keys(given)
    path = data / "secret.key"
    try:
        make_directory(data)
        if not path.exists():
            if not is_new:
                logger.warning(
                    "%s was not there: a new one is made, and every user has to log in again. "
                    "If you have the old one, put it back and start all servers again",
                    path,
                )
            make_private(path, secrets.token_urlsafe(48).encode())
        kept = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the secret key {path} cannot be read or made: {error}{_cure(path, error)}"
        ) from error
    return _checked(kept)


def _cure(path: Path, error: Exception) -> str:
    return cure(path, error) if isinstance(error, OSError) else ""


def given_keys(setting: str) -> Sequence[str]:
    """The keys of the setting SECRET_KEY; raises `ConfigurationError`."""
    return _checked([key.strip() for key in setting.split(",")])


def _checked(keys: Sequence[str]) -> Sequence[str]:
    for key in keys or [""]:
        check_secret(key)
    return keys
