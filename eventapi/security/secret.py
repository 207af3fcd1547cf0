"""The keys behind access tokens: given, or one made once and kept.

The first signs. Those behind it are old ones, good for verification only, so that a key can be
changed without ending anybody's session.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from eventapi.security.tokens import check_secret
from events.errors import ConfigurationError
from events.files import make_directory, make_private


def secret_keys(given: str | None, data: Path) -> Sequence[str]:
    """The given keys, or those kept in the data directory, where one is made if there is none.

    Given they are separated by commas, in the file by line ends.

    Any number of processes may ask at once; all get the same. Raises `ConfigurationError`.
    """
    if given is not None:
        return given_keys(given)
    path = data / "secret.key"
    try:
        make_directory(data)
        if not path.exists():
            make_private(path, secrets.token_urlsafe(48).encode())
        kept = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the secret key {path} cannot be read or made: {error}"
        ) from error
    return _checked(kept)


def given_keys(setting: str) -> Sequence[str]:
    """The keys of the setting SECRET_KEY; raises `ConfigurationError`."""
    return _checked([key.strip() for key in setting.split(",")])


def _checked(keys: Sequence[str]) -> Sequence[str]:
    for key in keys or [""]:
        check_secret(key)
    return keys
