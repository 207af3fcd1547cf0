"""Loading the settings, each with its origin: the command line, the environment, a ``.env`` file."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from eventapi.configuration.env_file import read_env_file
from eventapi.configuration.kubernetes import service_link
from eventapi.configuration.setting import PREFIX
from eventapi.configuration.settings import Settings, described
from events.database.urls import HIDDEN, mask_url
from events.errors import ConfigurationError
from events.messages.errors import BAD_SETTING

SECRET = frozenset({"SECRET_KEY"})
"""Shown as stars; of addresses only the password is."""


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and for each name where its value came from."""

    settings: Settings
    origins: Mapping[str, str]

    def shown(self) -> list[tuple[str, str, str]]:
        """Every setting as (variable, value, origin), secrets masked."""
        values = msgspec.to_builtins(self.settings)
        return [
            (PREFIX + name, _masked(name, value), self.origins[name])
            for name, value in values.items()
        ]


def _masked(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in SECRET:
        return HIDDEN
    texts = value if isinstance(value, list | tuple) else [str(value)]
    return ",".join(mask_url(text) if "://" in text else text for text in texts)


def load(
    environ: Mapping[str, str],
    dotenv: Path = Path(".env"),
    flags: Mapping[str, str] | None = None,
) -> Loaded:
    """The settings of the command line, the environment and the ``.env`` file: the first one wins.

    ``flags`` has the names of the environment. Raises `ConfigurationError` for an unknown
    ``EVENTAPI_`` name, for a bad value, and for a line of the file that cannot be read.
    """
    origins = dict.fromkeys(described(), "default")
    texts: dict[str, str] = {}
    sources = [(str(dotenv), read_env_file(dotenv, PREFIX)), ("environment", environ)]
    for origin, source in sources:
        for variable, text in source.items():
            if variable.startswith(PREFIX):
                name = _known_name(variable, text, origin)
                texts[name] = text
                origins[name] = origin
    for variable, text in (flags or {}).items():
        name = variable.removeprefix(PREFIX)
        texts[name] = text
        origins[name] = f"--{name.lower()}"
    values: dict[str, Any] = {}
    for name, text in texts.items():
        values[name] = described()[name].parse(text)
        try:
            msgspec.convert({name: values[name]}, Settings, strict=False)
        except msgspec.ValidationError as error:
            reason = _own_words(error) or described()[name].refusal(text)
            raise _refused(f"{_place(name, origins[name])}: {reason}") from None
    try:
        return Loaded(msgspec.convert(values, Settings, strict=False), origins)
    except msgspec.ValidationError as error:
        # Each is right by itself.
        raise _refused(f"{PREFIX}{_own_words(error)}") from None


def _known_name(variable: str, text: str, origin: str) -> str:
    """The name without the prefix; raises `ConfigurationError` for one that is no setting."""
    name = variable.removeprefix(PREFIX)
    if service_link(name, text):
        raise _refused(
            f"{variable} (from {origin}) is no setting: Kubernetes sets it for a Service named"
            " eventapi; set enableServiceLinks: false in the Pod, or rename the Service"
        )
    if name not in described():
        near = get_close_matches(name.upper(), described(), n=1)
        hint = f"did you mean {PREFIX}{near[0]}?" if near else "docs/settings.md has a list"
        raise _refused(f"{variable} (from {origin}) is no setting of eventapi: {hint}")
    return name


def _refused(reason: str) -> ConfigurationError:
    return ConfigurationError(BAD_SETTING.about(reason))


def _place(name: str, origin: str) -> str:
    return origin if origin.startswith("--") else f"{PREFIX}{name} (from {origin})"


def _own_words(error: msgspec.ValidationError) -> str:
    """What `Settings` itself says is wrong; empty where it was msgspec."""
    return str(error.__cause__) if isinstance(error.__cause__, ValueError) else ""
