"""``eventapi log verify``: whether every line is what was written, and in its place."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from eventapi.cli.failures import ANSWER_IS_NO, DONE, Failure
from eventapi.cli.options import loaded, settings_options
from eventapi.cli.output import print_json, printable, progress_bar
from eventapi.settings import Settings
from events.log.verify import Finding, Report, verify


@click.command("verify")
@click.argument(
    "path", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@settings_options
@click.pass_context
def verify_log(context: click.Context, path: Path | None, as_json: bool) -> None:
    """Check the log, or the one at PATH, line by line; it is only read.

    Every damage is named with its position and byte offset, and the exit code is 1.
    """
    path = path or _log_of(loaded().settings)
    with progress_bar("Verifying", path.stat().st_size) as progress:
        report = verify(path, progress=progress)
    if as_json:
        print_json({"ok": report.ok, **msgspec.to_builtins(report)})
    else:
        _tell(path, report)
    context.exit(DONE if report.ok else ANSWER_IS_NO)


def _log_of(settings: Settings) -> Path:
    if "://" in (settings.log or ""):
        raise Failure("a log in a database is verified from an export: name the file")
    if not settings.log_path.exists():
        raise Failure(f"there is no log at {settings.log_path}")
    return settings.log_path


def _tell(path: Path, report: Report) -> None:
    for finding in report.findings:
        click.echo(_sentence(finding))
    if report.left_off:
        click.echo(f"and {report.left_off} more")
    verdict = "is whole" if report.ok else "is DAMAGED"
    click.echo(f"{path} {verdict}: {report.lines} events, {report.bytes} bytes")
    click.echo(f"last good event {report.head.position}, hash {report.head.hash}")


def _sentence(finding: Finding) -> str:
    place = f"position {finding.position}, byte offset {finding.offset}"
    return f"{finding.kind} at {place}: {printable(finding.detail)}"
