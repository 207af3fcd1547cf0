"""The key that signs access tokens: given, or made once and kept."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from eventapi.security.tokens import check_secret
from events.errors import ConfigurationError
from events.files import make_directory


def secret_key(given: str | None, data: Path) -> str:
    """The given key, or the one kept in the data directory, made where there is none.

    Any number of processes may ask at once; all get the same. Raises `ConfigurationError`.
    """
    if given is not None:
        check_secret(given)
        return given
    path = data / "secret.key"
    try:
        make_directory(data)
        if not path.exists():
            _make(path)
        kept = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the secret key {path} cannot be read or made: {error}"
        ) from error
    check_secret(kept)
    return kept


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
