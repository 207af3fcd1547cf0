"""Options that every command accepts, and loading the settings from them.

The options may precede or follow the name of a command.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from eventapi.cli.failures import Misuse
from eventapi.configuration.load import LoadedSettings, load
from eventapi.configuration.setting import PREFIX
from eventapi.configuration.types import log_fault
from events.archive.places import is_archive
from events.database.urls import mask_url
from events.errors import ConfigurationError

C = TypeVar("C", bound=Callable[..., Any])

_FLAGS_KEY: Final = "eventapi.flags"


def _store_flag(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None:
        name = _variable(parameter.opts[0].removeprefix("--"))
        context.meta.setdefault(_FLAGS_KEY, {})[name] = str(value)


def _variable(option: str) -> str:
    """The environment variable of an option without its dashes."""
    return f"{PREFIX}{option.replace('-', '_').upper()}"


def setting_option(
    name: str, metavar: str, help_: str, kind: click.ParamType[Any] | None = None
) -> Callable[[C], C]:
    """A command option that sets a setting, and overrides the environment."""
    return click.option(
        f"--{name}",
        metavar=metavar,
        type=kind,
        expose_value=False,
        callback=_store_flag,
        help=f"{help_}; overrides {_variable(name)}.",
    )


class Utf8(click.ParamType[str]):
    """A text that goes into the log; the name of a file may have any bytes instead."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check an argument; raises `UnicodeEncodeError`, which `Program` reports."""
        str(value).encode()
        return str(value)


UTF8: Final = Utf8()


class _PathParam(click.ParamType[Any]):
    """Refuses an empty path, and an address.

    An address may have a password, so it is not repeated.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert an argument; raises `click.BadParameter`."""
        if "://" in str(value):
            self.fail("it must be a path, and not an address.", param, ctx)
        if not str(value):
            self.fail("it is empty.", param, ctx)
        return super().convert(value, param, ctx)


class FilePath(_PathParam, click.Path):
    """A path, as a `Path`, or ``-`` where that is allowed."""

    def __init__(
        self, *, exists: bool = False, dir_okay: bool = False, allow_dash: bool = False
    ) -> None:
        super().__init__(exists=exists, dir_okay=dir_okay, allow_dash=allow_dash, path_type=Path)


class OpenedFile(_PathParam, click.File):
    """A file that is opened to be read, or ``-`` for standard input."""


class CheckpointPlace(click.ParamType[str]):
    """The place of a checkpoint: a path, or a URL, which cannot have a password."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check an argument; raises `click.BadParameter`."""
        place = str(value)
        if not place or ("://" in place and mask_url(place) != place):
            self.fail("it must be a path, or http://HOST/PATH without a user.", param, ctx)
        return place


class LogPlace(click.Path):
    """The place of a log: a path that exists, or an archive as a text."""

    def __init__(self, *, dir_okay: bool = True) -> None:
        super().__init__(exists=True, dir_okay=dir_okay, path_type=Path)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | str:
        """Convert an argument; raises `click.BadParameter`."""
        place = str(value)
        if "://" in place and not is_archive(place):  # It may have a password, so do not repeat it.
            self.fail("it must be a path or s3://BUCKET/PREFIX; --log names a database", param, ctx)
        if not is_archive(place):
            return Path(str(super().convert(value, param, ctx)))
        if fault := log_fault(place):
            self.fail(fault, param, ctx)
        return place


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_data = setting_option("data", "DIR", "The data directory")
_log = setting_option("log", "URL", "The log: a path, a database URL or an archive")
_resources = setting_option("resources", "MODULES", "The modules that declare resources")


def settings_options(command: C) -> C:
    """Add ``--data``, ``--log``, ``--resources`` to a command; `loaded` applies them."""
    return _data(_log(_resources(command)))


def set_flag(name: str, value: str) -> None:
    """Set a setting as if it were on the command line, unless it is."""
    context = click.get_current_context()
    context.meta.setdefault(_FLAGS_KEY, {}).setdefault(f"{PREFIX}{name.upper()}", value)


def flags() -> Mapping[str, str]:
    """The settings on the command line, by the names of their environment variables."""
    found: Mapping[str, str] = click.get_current_context().meta.get(_FLAGS_KEY, {})
    return found


def loaded() -> LoadedSettings:
    """Load the settings from the command line, the environment and ``.env``.

    The first of them that has a setting decides. Raises `Misuse` for a bad setting.
    """
    try:
        return load(os.environ, flags=flags())
    except ConfigurationError as error:
        raise Misuse(error.message) from None
