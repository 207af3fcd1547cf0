"""Load the settings from the command line, the environment and a ``.env`` file."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from eventapi.configuration.env_file import read_env_file
from eventapi.configuration.kubernetes import is_service_link
from eventapi.configuration.setting import PREFIX
from eventapi.configuration.settings import Settings, setting_descriptions
from events.database.urls import HIDDEN, mask_url
from events.errors import ConfigurationError
from events.messages.errors import BAD_SETTING

SECRET_NAMES = frozenset({"SECRET_KEY"})
"""Masked completely; in a URL only the password is masked."""

UNSET_IF_EMPTY = frozenset({"LOG_FILE", "REDIS_URL", "SENTRY_DSN", "V1_LINK"})
"""An empty value is as good as none. Elsewhere it would change where data, mail or links go."""


class LoadedSettings(msgspec.Struct, frozen=True):
    """Settings, and the origin of each value by the name of its setting."""

    settings: Settings
    origins: Mapping[str, str]

    def masked_rows(self) -> list[tuple[str, str, str]]:
        """Every setting as (variable, value, origin), with secrets masked."""
        values = msgspec.to_builtins(self.settings)
        return [
            (PREFIX + name, _masked(name, value), self.origins[name])
            for name, value in values.items()
        ]


def _masked(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in SECRET_NAMES:
        return HIDDEN
    texts = value if isinstance(value, list | tuple) else [str(value)]
    return ",".join(mask_url(text) if "://" in text else text for text in texts)


def load(
    environ: Mapping[str, str],
    dotenv: Path = Path(".env"),
    flags: Mapping[str, str] | None = None,
) -> LoadedSettings:
    """Load the settings; flags override the environment, which overrides the file.

    The keys of ``flags`` are names of environment variables. Raises `ConfigurationError` if an
    ``EVENTAPI_`` name is unknown, a value is bad, or a line of the file cannot be read.
    """
    origins = dict.fromkeys(setting_descriptions(), "default")
    texts: dict[str, str] = {}
    sources = [(str(dotenv), read_env_file(dotenv, PREFIX)), ("environment", environ)]
    for origin, source in sources:
        for variable, text in source.items():
            if variable.startswith(PREFIX):
                name = _check_name(variable, text, origin)
                texts[name] = text
                origins[name] = origin
    for variable, text in (flags or {}).items():
        name = variable.removeprefix(PREFIX)
        texts[name] = text
        origins[name] = f"--{name.lower().replace('_', '-')}"
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if not text and name in UNSET_IF_EMPTY:
            continue
        values[name] = setting_descriptions()[name].parse(text)
        try:
            msgspec.convert({name: values[name]}, Settings, strict=False)
        except msgspec.ValidationError as error:
            reason = setting_descriptions()[name].refusal(text, _rule_message(error))
            raise _bad_setting(f"{_label(name, origins[name])}: {reason}") from None
    try:
        return LoadedSettings(msgspec.convert(values, Settings, strict=False), origins)
    except msgspec.ValidationError as error:
        # Each value is valid, but not their combination.
        raise _bad_setting(f"{PREFIX}{_rule_message(error)}") from None


def _check_name(variable: str, text: str, origin: str) -> str:
    """Remove the prefix from a name; raises `ConfigurationError` if it is unknown."""
    name = variable.removeprefix(PREFIX)
    if is_service_link(name, text):
        raise _bad_setting(
            f"{variable} (from {origin}) is no setting: Kubernetes sets it for a Service named"
            " eventapi; set enableServiceLinks: false in the Pod, or rename the Service"
        )
    if name not in setting_descriptions():
        near = get_close_matches(name.upper(), setting_descriptions(), n=1)
        hint = f"did you mean {PREFIX}{near[0]}?" if near else "docs/settings.md has a list"
        raise _bad_setting(f"{variable} (from {origin}) is no setting of eventapi: {hint}")
    return name


def _bad_setting(reason: str) -> ConfigurationError:
    return ConfigurationError(BAD_SETTING.about(reason))


def _label(name: str, origin: str) -> str:
    return origin if origin.startswith("--") else f"{PREFIX}{name} (from {origin})"


def _rule_message(error: msgspec.ValidationError) -> str:
    """The message of a rule of `Settings`; empty if the error comes from msgspec."""
    return str(error.__cause__) if isinstance(error.__cause__, ValueError) else ""
