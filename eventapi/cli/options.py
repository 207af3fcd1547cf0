"""The options that every command takes, before or after its name, and the settings they lead to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click
import msgspec

from eventapi.cli.failures import Misuse
from eventapi.settings import PREFIX, Loaded, load
from events.errors import ConfigurationError

C = TypeVar("C", bound=Callable[..., Any])

_META: Final = "eventapi.flags"


def _remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        name = f"{PREFIX}{parameter.opts[0].removeprefix('--').upper()}"
        context.meta.setdefault(_META, {})[name] = value


_data = click.option(
    "--data",
    metavar="DIR",
    expose_value=False,
    callback=_remember,
    help="The data directory; wins over EVENTAPI_DATA.",
)
_log = click.option(
    "--log",
    metavar="URL",
    expose_value=False,
    callback=_remember,
    help="The log, a path or a database URL; wins over EVENTAPI_LOG.",
)


def settings_options(command: C) -> C:
    """Give a command ``--data`` and ``--log``; `settings` and `flags` know what they said."""
    return _data(_log(command))


def flags() -> Mapping[str, str]:
    """What the command line says of the settings, by the names of the environment."""
    said: Mapping[str, str] = click.get_current_context().meta.get(_META, {})
    return said


def loaded() -> Loaded:
    """The settings and their origins: the command line, then the environment, then ``.env``.

    Raises `Misuse` for a setting that is wrong.
    """
    said = flags()
    try:
        found = load({**os.environ, **said})
    except ConfigurationError as error:
        raise Misuse(str(error)) from None
    names = {variable.removeprefix(PREFIX) for variable in said}
    told = {name: f"--{name.lower()}" for name in names}
    return msgspec.structs.replace(found, origins={**found.origins, **told})
