"""Points of the log on the command line."""

from __future__ import annotations

from typing import Any, Final

import click

from eventapi.values.times import point_of


class PointParam(click.ParamType[int | str]):
    """A point of the log: a position, or an RFC 3339 time, which becomes one in a record's form."""

    name = "position or time"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "N|TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        try:
            return point_of(value)
        except ValueError as error:
            self.fail(f"{error} and no position", param, ctx)


AT: Final = PointParam()
