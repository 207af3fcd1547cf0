"""``eventapi log verify``: check every line of the log, and its checkpoint."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import click
import msgspec

from eventapi.bootstrap.paths import checkpoint_path
from eventapi.bootstrap.policy import read_policy
from eventapi.bootstrap.start_check import check_log_is_there
from eventapi.bootstrap.storage import open_stored_lines
from eventapi.cli.failures import (
    ANSWER_IS_NO,
    DONE,
    Failure,
    Misuse,
    NegativeResult,
    reason_of,
)
from eventapi.cli.options import (
    CheckpointPlace,
    FilePath,
    LogPlace,
    json_option,
    loaded,
    settings_options,
)
from eventapi.cli.output import print_json, printable, progress_bar
from eventapi.cli.vaults import join_readings, read_vault
from eventapi.cli.verdict import verdict
from eventapi.cli.verify_archive import ExportedArchive, exported_archive
from eventapi.configuration.settings import Settings
from eventapi.resources.registry import Registry
from events.io.files import wrong_kind_message
from events.log.file.commit_index import CommitIndex, read_commit_point
from events.log.file.paths import commit_index_path
from events.log.file.segments import ignore_damage, open_stream
from events.messages.commands import (
    CHECKPOINT_NOT_SIGNED,
    CHECKPOINT_UNUSABLE,
    DATABASE_BEHIND_MARK,
    KEY_UNUSABLE,
    NOT_A_REGULAR_FILE,
    WHOLE,
)
from events.messages.errors import CHECKPOINT_NOT_COSIGNED
from events.messages.message import Message
from events.transparency.policy import Policy
from events.transparency.signed_note import Note, TreeHead, Verifier
from events.vault.tombstones import VaultContents
from events.verification.report import Finding, Kind, Report
from events.verification.verify import verify

_DOWNLOAD_SECONDS = 30.0
_MAX_CHECKPOINT_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 20


@click.command("verify")
@click.argument("path", required=False, type=LogPlace(dir_okay=False))
@click.option(
    "--checkpoint",
    metavar="FILE|URL",
    type=CheckpointPlace(),
    help="A checkpoint that the log must continue, for example http://SERVER/log/checkpoint.",
)
@click.option("--key", metavar="VKEY", help="The verifier key that must have signed it.")
@click.option(
    "--witnesses",
    type=FilePath(exists=True, dir_okay=True),
    metavar="POLICY",
    help="A trust policy (C2SP tlog-policy) whose witnesses must have cosigned it.",
)
@click.option(
    "--prefix-of",
    type=FilePath(exists=True),
    metavar="FILE",
    help="A log that must begin with the checked one, byte for byte.",
)
@click.option("--seals", is_flag=True, help="Also open every seal with the keys of the vault.")
@json_option
@settings_options
@click.pass_context
def verify_log(
    context: click.Context,
    path: Path | str | None,
    *,
    checkpoint: str | None,
    key: str | None,
    witnesses: Path | None,
    prefix_of: Path | None,
    seals: bool,
    as_json: bool,
) -> None:
    """Check the log, or the one at PATH, line by line; nothing is changed.

    PATH may be an archive, of which every object is checked as well. The log must also continue the
    checkpoint beside it or in the archive, or the one that --checkpoint names. Damage is printed with
    its position and byte offset, and the exit code is then 1.
    """
    settings = loaded().settings
    archive = path if isinstance(path, str) else None
    if path is None and settings.is_archive:
        archive = settings.log
    if checkpoint is None and archive is None and (key is not None or witnesses is not None):
        raise click.UsageError("--key and --witnesses need --checkpoint")
    log = settings.log_path if path is None else Path(path)
    if checkpoint is None and archive is None:
        checkpoint = _checkpoint_beside(log)
    policy = None if witnesses is None else read_policy(witnesses)
    head = None if checkpoint is None else load_tree_head(checkpoint, key, policy)
    with ExitStack() as stack:
        export: ExportedArchive | None = None
        if archive is not None:
            export = stack.enter_context(exported_archive(settings, archive))
            head = head or tree_head_of(export.checkpoint_name, export.note, key, policy)
            file = export.path
        else:
            file = stack.enter_context(_open_log_file(settings)) if path is None else log
        report = _verify_with_keys(file, head, settings) if seals else verify_file(file, head, None)
        if prefix_of is not None:
            report = _compare_with_longer(file, report, prefix_of)
        if export is not None:
            report = export.add_findings(report)
    is_database = path is None and settings.is_database
    name = settings.log_name if path is None else str(path)
    message = verdict(name, report, head, is_database=is_database, is_archive=archive is not None)
    if as_json:
        print_json(
            {
                "ok": report.ok,
                "verdict": message.text,
                "severity": message.severity,
                "next": message.next,
                "good_up_to": report.good_up_to,
                **msgspec.to_builtins(report),
            }
        )
    else:
        _print_report(report, message)
    context.exit(DONE if report.ok else ANSWER_IS_NO)


def verify_file(path: Path, head: TreeHead | None, vault: VaultContents | None) -> Report:
    """Verify a log file, against a checkpoint and a vault if they are given.

    Raises `Failure` for a pipe or a device, which has no size and cannot be read twice.
    """
    if not path.is_file():
        raise Failure(NOT_A_REGULAR_FILE.fill(path=path))
    with open_stream(path, ignore_damage) as (_, size):
        pass
    with progress_bar("verifying the log", size, " bytes") as progress:
        return verify(
            path,
            checkpoint=head,
            keys=None if vault is None else vault.keys,
            erased=() if vault is None else vault.erased,
            progress=progress,
            # Values of declared kinds may be of newer or older code, so only their verbs are checked.
            vocabulary=Registry().vocabulary,
        )


def _verify_with_keys(path: Path, head: TreeHead | None, settings: Settings) -> Report:
    vault = asyncio.run(read_vault(settings))
    report = verify_file(path, head, vault)
    if any(finding.kind == "key" for finding in report.findings):
        # A user may have registered after the vault was read.
        vault = join_readings(vault, asyncio.run(read_vault(settings)))
        report = verify_file(path, head, vault)
    return report


def _checkpoint_beside(log: Path) -> str | None:
    """The path of the checkpoint beside a log, if there is one; raises `Failure`.

    It must be loaded before the mark is read: then every event that it covers is published.
    """
    # A path such as "." has no name that the name of a checkpoint could begin with.
    if not log.name or not (beside := checkpoint_path(log)).exists():
        return None
    if message := wrong_kind_message(beside):  # Reading a pipe would block for ever.
        raise Failure(message)
    return str(beside)


def load_tree_head(checkpoint: str, key: str | None, policy: Policy | None = None) -> TreeHead:
    """Load the tree head of a checkpoint; check its signatures with a key or a policy.

    Raises `Failure`, `Misuse` for a malformed key, and `NegativeResult` if the key did not sign it or
    it does not satisfy the policy.
    """
    return tree_head_of(checkpoint, load_checkpoint(checkpoint), key, policy)


def tree_head_of(checkpoint: str, note: Note, key: str | None, policy: Policy | None) -> TreeHead:
    """As `load_tree_head`, for a checkpoint that was read already."""
    if policy is not None:
        _check_cosignatures(checkpoint, note, policy)
    if key is not None:
        try:
            verifier = Verifier.parse(key)
        except ValueError as error:
            raise Misuse(KEY_UNUSABLE.fill(reason=error)) from None
        if not verifier.verify(note):
            message = CHECKPOINT_NOT_SIGNED.fill(checkpoint=checkpoint, key=verifier.name)
            raise NegativeResult(message)
    return TreeHead.parse(note)


def _check_cosignatures(checkpoint: str, note: Note, policy: Policy) -> None:
    """Check a checkpoint with a policy; raises `NegativeResult`."""
    names = ", ".join(policy.times(note)) or "none"
    if policy.logs and not any(log.verify(note) for log in policy.logs):
        raise NegativeResult(
            CHECKPOINT_NOT_SIGNED.fill(checkpoint=checkpoint, key=policy.logs[0].name)
        )
    if not policy.is_satisfied_by(note):
        raise NegativeResult(CHECKPOINT_NOT_COSIGNED.fill(checkpoint=checkpoint, names=names))


def load_checkpoint(checkpoint: str) -> Note:
    """Load a checkpoint from a file or a URL; raises `Failure`."""
    try:
        if checkpoint.startswith(("http://", "https://")):
            with urlopen(checkpoint, timeout=_DOWNLOAD_SECONDS) as answer:  # noqa: S310
                content = answer.read(_MAX_CHECKPOINT_BYTES).decode()
        else:
            with Path(checkpoint).open("rb") as file:
                content = file.read(_MAX_CHECKPOINT_BYTES).decode()
        note = Note.parse(content)
        TreeHead.parse(note)
    except (OSError, ValueError, HTTPException) as error:
        reason = printable(reason_of(error))  # May contain text of another server.
        message = CHECKPOINT_UNUSABLE.fill(checkpoint=checkpoint, reason=reason)
        raise Failure(message) from None
    return note


def _compare_with_longer(path: Path, report: Report, longer: Path) -> Report:
    """Add a finding unless a longer log begins with the bytes that were checked."""
    at = position = offset = 0
    with open_stream(path, ignore_damage) as (ours, _), open_stream(longer) as (theirs, _):
        while one := ours.read(min(_CHUNK_BYTES, report.bytes - at)):
            other = theirs.read(len(one))
            same = one
            if one != other:
                pairs = enumerate(zip(one, other, strict=False))
                same = one[: next((index for index, (a, b) in pairs if a != b), len(other))]
            position += same.count(b"\n")
            if b"\n" in same:
                offset = at + same.rindex(b"\n") + 1
            at += len(same)
            if one != other:
                ends = len(other) < len(one) and one.startswith(other)
                detail = f"{longer} ends here" if ends else f"{longer} differs from byte {at} on"
                kind: Kind = "shorter" if ends else "prefix"
                found = Finding(kind, position + 1, offset, detail)
                return msgspec.structs.replace(report, findings=[*report.findings, found])
    return report


@contextmanager
def _open_log_file(settings: Settings) -> Iterator[Path]:
    """The path of the log; a log in a database is exported to a temporary file."""
    if settings.is_database:
        with tempfile.TemporaryDirectory(prefix="eventapi-") as folder:
            path = Path(folder) / "events.jsonl"
            asyncio.run(_export_database(settings, path))
            yield path
        return
    check_log_is_there(settings)
    yield settings.log_path


async def _export_database(settings: Settings, path: Path) -> None:
    """Export the stored lines of a database, with its head row as the mark."""
    async with open_stored_lines(settings) as (head, runs):
        with path.open("wb") as file:
            async for lines in runs:
                file.write(b"\n".join((*lines, b"")))
    mark = CommitIndex(commit_index_path(path))
    mark.publish(path.stat().st_size, head)
    mark.close()
    with suppress(FileNotFoundError):
        acknowledged = read_commit_point(commit_index_path(settings.log_path)).head.position
        if acknowledged > head.position:
            raise NegativeResult(
                DATABASE_BEHIND_MARK.fill(acknowledged=acknowledged, events=head.position)
            )


def _print_report(report: Report, message: Message) -> None:
    for finding in report.findings:
        click.echo(format_finding(finding))
    if report.left_off:
        click.echo(f"and {report.left_off:,} more")
    click.echo(message.text)
    # After damage, the chain's end is in the message, and is not the last event that one may trust.
    if report.good_up_to == report.head.position:
        click.echo(f"last good event {report.head.position}, hash {report.head.hash}")
    click.echo(message.severity)
    if message.next != WHOLE.next:
        click.echo(f"Next: {message.next}")


def format_finding(finding: Finding) -> str:
    """A finding as one line."""
    place = f"position {finding.position}, byte offset {finding.offset}"
    return f"{finding.kind} at {place}: {printable(finding.detail)}"
