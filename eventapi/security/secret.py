"""The keys behind access tokens: given, or one made once and kept.

The first signs. Those behind it are old ones, good for verification only, so that a key can be
changed without ending anybody's session.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from eventapi.security.tokens import check_secret
from events.errors import ConfigurationError
from events.files import make_directory


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
            _make(path)
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


def _make(path: Path) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_urlsafe(48).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(temporary, path)  # Unlike a rename, it lets the first one win.
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
