"""Choose the message for the result of a check: the one of its worst finding."""

from __future__ import annotations

from typing import Final

from events.messages.archives import ARCHIVE_LINES_DAMAGED, TILES_DAMAGED
from events.messages.commands import (
    CONTRADICTS_CHECKPOINT,
    DAMAGED,
    DATABASE_HEAD_DIFFERS,
    INCOMPLETE,
    KEYS_MISSING,
    MARK_OF_OTHER_LOG,
    NEWER_VERSION,
    NO_SEAL_OPENS,
    ONLY_MARK_DAMAGED,
    PREFIX_DIFFERS,
    PREFIX_SHORTER,
    SHORTENED,
    WHOLE,
    WHOLE_WITH_TAIL,
)
from events.messages.erasures import users_without_keys
from events.messages.message import Message
from events.transparency.signed_note import TreeHead
from events.verification.report import DAMAGE, Kind, Report

_WORST_FIRST: Final[dict[Kind, Message]] = {
    "checkpoint": CONTRADICTS_CHECKPOINT,
    "prefix": PREFIX_DIFFERS,
    "shorter": PREFIX_SHORTER,
    "mark": MARK_OF_OTHER_LOG,
    "tile": TILES_DAMAGED,
    "unknown-event": NEWER_VERSION,
    "torn-tail": WHOLE_WITH_TAIL,
}
"""The message of each kind; the first kind in this order that was found counts."""


def verdict(
    name: str,
    report: Report,
    head: TreeHead | None = None,
    *,
    is_database: bool = False,
    is_archive: bool = False,
) -> Message:
    """The message for a report on the log ``name``; the checkpoint has ``head``."""
    good, last = report.good_up_to, report.head.position
    message = _worst_message(report)
    if is_database and message in {MARK_OF_OTHER_LOG, ONLY_MARK_DAMAGED}:
        message = DATABASE_HEAD_DIFFERS  # A database has a head row instead of a mark.
    if is_archive and report.kinds & DAMAGE:
        message = ARCHIVE_LINES_DAMAGED
    subjects = [one.subject for one in report.findings if one.kind == "key"]
    if message is KEYS_MISSING:
        return users_without_keys(subjects, message, events=report.lines)
    differs = [one.position for one in report.findings if one.kind in {"prefix", "shorter"}]
    return message.fill(
        name=name,
        events=report.lines,
        bytes=report.bytes,
        good=min(differs) - 1 if differs else good,
        position=min(differs, default=0),
        rest=f"; the chain continues after the damage up to {last}" if last > good else "",
        signed=0 if head is None else head.size,
        mark=f"{name}.mark",
    )


def _worst_message(report: Report) -> Message:
    kinds = report.kinds
    if report.opens_no_seal:
        return NO_SEAL_OPENS
    if kinds & DAMAGE:
        return SHORTENED if kinds & DAMAGE == {"missing"} else DAMAGED
    is_mark_damaged = "mark" in kinds and not report.marked
    if "torn-tail" in kinds and not report.marked and not is_mark_damaged:
        return INCOMPLETE
    if "key" in kinds and "checkpoint" not in kinds:
        return KEYS_MISSING
    found = next((_WORST_FIRST[kind] for kind in _WORST_FIRST if kind in kinds), WHOLE)
    return ONLY_MARK_DAMAGED if found is MARK_OF_OTHER_LOG and is_mark_damaged else found
