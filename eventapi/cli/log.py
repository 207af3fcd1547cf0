"""``eventapi log``: the group of commands about the event log."""

from __future__ import annotations

import click

from eventapi.cli.options import settings_options
from eventapi.cli.program import LazyGroup

_COMMANDS = {
    "show": "eventapi.cli.show:show",
    "tail": "eventapi.cli.show:tail",
    "diff": "eventapi.cli.diff:diff",
    "verify": "eventapi.cli.verify:verify_log",
    "checkpoint": "eventapi.cli.prove:checkpoint",
    "prove": "eventapi.cli.prove:prove",
    "evidence": "eventapi.cli.evidence:evidence",
    "copy": "eventapi.cli.copy:copy_log",
    "archive": "eventapi.cli.archive:archive",
    "restore": "eventapi.cli.restore:restore",
    "export": "eventapi.cli.export:export_log",
    "import": "eventapi.cli.importing:import_file",
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
@settings_options
def log() -> None:
    """Show, verify, prove, copy, archive and restore the log; import and export data."""
