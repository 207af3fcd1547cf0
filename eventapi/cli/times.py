"""A command line parameter for a point of the log."""

from __future__ import annotations

from typing import Any, Final

import click

from eventapi.values.times import parse_point


class PointParam(click.ParamType[int | str]):
    """A position, or an RFC 3339 time, which is converted to the form of a record."""

    name = "position or time"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "N|TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        try:
            return parse_point(value)
        except ValueError as error:
            self.fail(f"{error} and no position", param, ctx)


AT: Final = PointParam()
