"""Command line parameters for points of the log."""

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
            self.fail(str(error), param, ctx)


AT: Final = PointParam()


def check_order(first: str, one: int | str | None, second: str, other: int | str | None) -> None:
    """Refuse two comparable points of which the second is the earlier one."""
    numbers = isinstance(one, int) and isinstance(other, int) and one > other
    times = isinstance(one, str) and isinstance(other, str) and one > other
    if numbers or times:
        raise click.BadParameter(f"must not be before --{first}", param_hint=f"'--{second}'")
