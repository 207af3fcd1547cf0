"""Settings: typed, from the environment or a ``.env`` file, each with where it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from dotenv import dotenv_values
from msgspec import Meta

from events.errors import ConfigurationError

PREFIX = "EVENTAPI_"

Positive = Annotated[int, Meta(ge=1)]
Rate = Annotated[str, Meta(pattern=r"^(off|[1-9][0-9]*/(second|minute|hour|day))$")]

SECRET = frozenset({"SECRET_KEY"})
"""Shown as stars; of addresses only the password is."""

_PASSWORD_IN_URL = re.compile(r"(://[^:@/]*:).*(?=@)")


class Settings(msgspec.Struct, frozen=True, rename=str.upper, forbid_unknown_fields=True):
    """Everything an operator may choose.

    ``log`` is a path or a database URL, by default ``events.jsonl`` in ``data``; ``rate_limit`` and
    ``rate_limit_login`` are ``N/second|minute|hour|day`` or ``off``; lists are separated by commas.
    """

    data: str = "./data"
    log: str | None = None
    secret_key: str | None = None
    access_token_minutes: Positive = 30
    refresh_token_days: Positive = 30
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    redis_url: str | None = None
    rate_limit: Rate = "6000/minute"
    rate_limit_login: Rate = "60/minute"
    max_body_bytes: Positive = 65_536
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    log_format: Literal["console", "json"] = "console"
    log_file: str | None = None
    sentry_dsn: str | None = None
    metrics: Literal["on", "off"] = "on"
    snapshot_every: Annotated[int, Meta(ge=0)] = 100_000

    @property
    def data_path(self) -> Path:
        """The data directory."""
        return Path(self.data)

    @property
    def log_path(self) -> Path:
        """Where the JSON-lines log lies."""
        return self.data_path / "events.jsonl" if self.log is None else Path(self.log)


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
        return "********"
    text = ",".join(value) if isinstance(value, list | tuple) else str(value)
    return _PASSWORD_IN_URL.sub(r"\1********", text) if "://" in text else text


def load(environ: Mapping[str, str], dotenv: Path = Path(".env")) -> Loaded:
    """The settings of an environment, which wins over the ``.env`` file.

    Raises `ConfigurationError` for an unknown ``EVENTAPI_`` name and for a bad value.
    """
    origins = dict.fromkeys(
        (field.encode_name for field in msgspec.structs.fields(Settings)), "default"
    )
    texts: dict[str, str] = {}
    for origin, source in ((str(dotenv), dotenv_values(dotenv)), ("environment", environ)):
        for variable, text in source.items():
            if not variable.startswith(PREFIX) or text is None:
                continue
            name = variable.removeprefix(PREFIX)
            if name not in origins:
                raise ConfigurationError(f"{variable} (from {origin}) is no setting of eventapi")
            texts[name] = text
            origins[name] = origin
    lists = {
        name.upper() for name, hint in get_type_hints(Settings).items() if hint == tuple[str, ...]
    }
    values: dict[str, Any] = {}
    for name, text in texts.items():
        values[name] = _split(text) if name in lists else text
        try:
            msgspec.convert({name: values[name]}, Settings, strict=False)
        except msgspec.ValidationError as error:
            reason = str(error).partition(" - at ")[0]
            raise ConfigurationError(f"{PREFIX}{name} (from {origins[name]}): {reason}") from None
    return Loaded(msgspec.convert(values, Settings, strict=False), origins)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
