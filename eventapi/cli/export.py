"""``eventapi log export``: write the log, or a data file of the replaced service."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal

import click

from eventapi.bootstrap.paths import files_of_server
from eventapi.cli import db_json
from eventapi.cli.failures import Misuse
from eventapi.cli.opening import open_runs, opened_log, opened_vault, state_at
from eventapi.cli.options import FilePath, loaded, settings_options
from eventapi.cli.vaults import check_all_have_keys
from eventapi.configuration.settings import Settings
from events.io.files import TEMPORARY, make_file, sync_directory
from events.vault.tombstones import contents_of

Format = Literal["jsonl", "db-json"]


@click.command("export")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "db-json"]),
    default="jsonl",
    show_default=True,
    help="The lines of the log byte for byte, or db.json of the service that this one replaces.",
)
@click.option(
    "--output",
    type=FilePath(allow_dash=True),
    default="-",
    help="The file to write, completely or not at all; default: standard output.",
)
@settings_options
def export_log(form: Format, output: Path) -> None:
    """Export the log, or users and items as db-json, including password hashes."""
    settings = loaded().settings
    check_output(output, settings)
    with open_output(output) as out:
        asyncio.run(_export_lines(settings, out) if form == "jsonl" else _export_db(settings, out))


def check_output(output: Path, settings: Settings) -> None:
    """Raise `Misuse` if the output would replace a file of the server.

    Raises `OSError` for a loop of links.
    """
    with suppress(FileNotFoundError):
        output.stat()  # `resolve` raises `RuntimeError` for a loop before Python 3.13.
    if output.resolve() in {path.resolve() for path in files_of_server(settings)}:
        raise Misuse(f"{output} is a file of the server")


@contextmanager
def open_output(output: Path) -> Iterator[BinaryIO]:
    """Open a file that gets its name only when it is complete.

    Standard output, also as `/dev/stdout`, a pipe or a device is written directly. A link stays: the
    file that it leads to is replaced.
    """
    if is_stdout(output):
        yield sys.stdout.buffer
        return
    if output.exists() and not output.is_file():
        with output.open("wb") as out:
            yield out
        return
    output = output.resolve()
    temporary = output.with_name(f".{output.name}.{os.getpid()}{TEMPORARY}")
    try:
        descriptor = make_file(temporary, os.O_WRONLY)
    except OSError as error:  # The name of the temporary file says nothing to a person.
        raise OSError(error.errno, error.strerror, str(output)) from None
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(output)
        sync_directory(output.parent)
    finally:
        temporary.unlink(missing_ok=True)


def is_stdout(output: Path) -> bool:
    """Whether a path is ``-``, or leads to standard output, such as `/dev/stdout`."""
    if str(output) == "-":
        return True
    with suppress(OSError):  # There is no such file, or stdout is none.
        return os.path.samestat(output.stat(), os.fstat(sys.stdout.fileno()))
    return False


async def _export_lines(settings: Settings, out: BinaryIO) -> None:
    async with opened_log(settings) as log, open_runs(log) as runs:
        async for lines in runs:
            out.write(b"\n".join((*lines, b"")))


async def _export_db(settings: Settings, out: BinaryIO) -> None:
    async with opened_log(settings) as log, opened_vault(settings) as vault:
        state = await state_at(settings, log, vault, from_zero=True)
        check_all_have_keys(await contents_of(vault), state.users.by_id.values())
    out.write(db_json.write(state))
