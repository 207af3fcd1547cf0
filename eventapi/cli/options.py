"""The options that every command takes, before or after its name, and the settings they lead to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from eventapi.cli.failures import Misuse
from eventapi.configuration.load import LoadedSettings, load
from eventapi.configuration.setting import PREFIX
from events.errors import ConfigurationError

C = TypeVar("C", bound=Callable[..., Any])

_FLAGS_KEY: Final = "eventapi.flags"


def _store_flag(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        name = f"{PREFIX}{parameter.opts[0].removeprefix('--').upper()}"
        context.meta.setdefault(_FLAGS_KEY, {})[name] = value


def setting_option(name: str, metavar: str, help_: str) -> Callable[[C], C]:
    """An option of a command that sets a setting, and wins over the environment."""
    variable = f"{PREFIX}{name.upper()}"
    return click.option(
        f"--{name}",
        metavar=metavar,
        expose_value=False,
        callback=_store_flag,
        help=f"{help_}; wins over {variable}.",
    )


_data = setting_option("data", "DIR", "The data directory")
_log = setting_option("log", "URL", "The log, a path or a database URL")


def settings_options(command: C) -> C:
    """Give a command ``--data`` and ``--log``, which `settings` and `flags` return."""
    return _data(_log(command))


def flags() -> Mapping[str, str]:
    """What the command line says of the settings, by the names of the environment."""
    said: Mapping[str, str] = click.get_current_context().meta.get(_FLAGS_KEY, {})
    return said


def loaded() -> LoadedSettings:
    """The settings and their origins: the command line, then the environment, then ``.env``.

    Raises `Misuse` for a setting that is wrong.
    """
    try:
        return load(os.environ, flags=flags())
    except ConfigurationError as error:
        raise Misuse(error.message) from None
