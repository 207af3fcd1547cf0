"""Read the trust policy that names the witnesses of the log."""

from __future__ import annotations

from pathlib import Path

from eventapi.configuration.settings import Settings
from events.errors import ConfigurationError
from events.messages.errors import POLICY_UNUSABLE
from events.transparency.policy import Policy

_MAX_BYTES = 1 << 16


def policy_of(settings: Settings) -> Policy | None:
    """The policy of the setting WITNESSES; raises `ConfigurationError`."""
    return None if settings.witnesses is None else read_policy(Path(settings.witnesses))


def read_policy(path: Path) -> Policy:
    """Read a policy from a file; raises `ConfigurationError`."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is not a regular file")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ValueError(f"it has more than {_MAX_BYTES:,} bytes")
        return Policy.parse(content)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(POLICY_UNUSABLE.fill(path=path, reason=reason)) from None
    except ValueError as error:
        raise ConfigurationError(POLICY_UNUSABLE.fill(path=path, reason=error)) from None
