"""``eventapi config``: every setting with its value, origin and meaning."""

from __future__ import annotations

import click

from eventapi.cli.options import json_option, loaded, settings_options
from eventapi.cli.output import print_json, print_table
from eventapi.cli.setting_checks import check_resources, check_values
from eventapi.configuration.setting import PREFIX
from eventapi.configuration.settings import setting_descriptions


@click.command()
@json_option
@settings_options
def config(as_json: bool) -> None:
    """Show every setting with its value, origin and meaning; secrets are masked.

    Exit code 2 if a server could not start with these values.
    """
    found = loaded()
    rows = [
        (variable, value, origin, setting_descriptions()[variable.removeprefix(PREFIX)])
        for variable, value, origin in found.masked_rows()
    ]
    if as_json:
        values = {
            variable: {
                "value": value,
                "origin": origin,
                "meaning": setting.meaning.replace("`", ""),
                "unit": setting.unit,
                "values": setting.values,
                "example": setting.example,
            }
            for variable, value, origin, setting in rows
        }
        print_json(values)
    else:
        print_table(
            ["setting", "value", "origin", "meaning"],
            [(*row, setting.meaning.replace("`", "")) for *row, setting in rows],
        )
    check_values(found.settings)
    check_resources(found.settings)
