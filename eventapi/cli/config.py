"""``eventapi config``: every setting, and where it came from."""

from __future__ import annotations

import click

from eventapi.cli.options import loaded, settings_options
from eventapi.cli.output import print_json, print_table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@settings_options
def config(as_json: bool) -> None:
    """Show every setting, its value and where that came from; secrets are masked."""
    shown = loaded().shown()
    if as_json:
        print_json({name: {"value": value, "origin": origin} for name, value, origin in shown})
    else:
        print_table(["setting", "value", "origin"], shown)
