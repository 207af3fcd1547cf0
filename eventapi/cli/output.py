"""Output of commands: JSON for programs, tables for people, and progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from eventapi.cli.failures import echo_error
from eventapi.telemetry.progress import progress_lines
from events.messages.message import Message


def print_json(value: Any) -> None:
    """Print a value as JSON, which is UTF-8 in every locale."""
    try:
        content = msgspec.json.format(msgspec.json.encode(value), indent=2)
    except UnicodeEncodeError:  # The name of a file that is not UTF-8; JSON has it as escapes.
        content = json.dumps(msgspec.to_builtins(value), indent=2).encode()
    click.echo(content)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; if stdout is not a terminal, tab-separated values."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for line in (headers, *cells):
            click.echo("\t".join(line))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    Console().print(table)


def print_fields(**fields: object) -> None:
    """Print one line with name and value for each field that is not ``None``."""
    width = max(map(len, fields)) + 2
    for name, value in fields.items():
        if value is None:
            continue
        click.echo(f"{name.replace('_', ' '):<{width}}{printable(str(value))}")


def printable(text: str) -> str:
    """Escape characters that could move the cursor or change the text direction."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def echo_warning(message: Message) -> None:
    """Print a warning on stderr."""
    echo_error(f"eventapi: {message.lines}")


@contextmanager
def progress_bar(label: str, total: int, unit: str = "") -> Iterator[Callable[[int], None]]:
    """Return a function that takes the progress so far and shows it on stderr.

    A terminal shows a bar; anything else gets a line every 5 seconds.
    """
    if not sys.stderr.isatty() or total == 0:
        yield progress_lines(label, total, lambda line: echo_error(f"eventapi: {line}"), unit=unit)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.update(task, completed=done)
