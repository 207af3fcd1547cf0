"""The report of a verification: findings, and whether the log is intact."""

from __future__ import annotations

from typing import Literal

import msgspec

from events.sealing import SEAL_IS_BROKEN

Kind = Literal[
    "checkpoint",
    "damaged",
    "gap",
    "key",
    "mark",
    "missing",
    "prefix",
    "shorter",
    "tile",
    "torn-tail",
    "unknown-event",
]
"""The kinds of findings.

``damaged``: a line is not what was written. ``gap``: lines are missing in between. ``missing``:
the file is shorter than its published length. ``torn-tail``: the end is not a whole line, or is not
published yet. ``unknown-event``: an intact line of a newer version. ``mark``: the mark is damaged,
or belongs to another log. ``checkpoint``: the file is not the log whose checkpoint was signed.
``key``: a user who is not erased has no key, so the vault belongs to another log. ``prefix``: the
longer log of a comparison does not begin with this one. ``shorter``: the other log of a comparison
ends before this one. ``tile``: a tile of hashes of an archive is not that of its lines.
"""

DAMAGE: frozenset[Kind] = frozenset({"damaged", "gap", "missing"})
"""The kinds of findings that mean that the log is not what was written."""

MAX_FINDINGS = 100
"""Findings listed in a report; further ones are only counted."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with a log.

    ``position`` counts records from 1, ``offset`` is the byte where that record begins, and
    ``subject`` is the user without a key in a finding of kind ``key``.
    """

    kind: Kind
    position: int
    offset: int
    detail: str
    subject: str = ""


class LastGood(msgspec.Struct, frozen=True):
    """The last good record: its position and its hash, 64 hex digits."""

    position: int
    hash: str


class Report(msgspec.Struct, frozen=True):
    """The result of verifying one log.

    ``lines`` counts the records that are intact and in their place, ``bytes`` the bytes that were
    checked, ``left_off`` the findings beyond `MAX_FINDINGS`. ``marked`` is true if a mark beside
    the log states how far it is published. ``seals`` counts those that the given keys opened.
    """

    lines: int
    bytes: int
    head: LastGood
    marked: bool
    findings: list[Finding]
    left_off: int = 0
    seals: int = 0

    @property
    def ok(self) -> bool:
        """Whether every published record is intact; bytes past a mark may be torn."""
        harmless = {"torn-tail"} if self.marked else set()
        return all(finding.kind in harmless for finding in self.findings)

    @property
    def kinds(self) -> set[Kind]:
        """The kinds of the listed findings."""
        return {finding.kind for finding in self.findings}

    @property
    def opens_no_seal(self) -> bool:
        """Whether broken seals are all the damage, and no seal was opened."""
        damage = [one.detail for one in self.findings if one.kind in DAMAGE]
        are_seals = all(detail.startswith(SEAL_IS_BROKEN) for detail in damage)
        return bool(damage) and are_seals and self.seals == 0

    @property
    def good_up_to(self) -> int:
        """The position of the last event before any damage."""
        damage = [one.position for one in self.findings if one.kind in DAMAGE]
        return min(damage, default=self.head.position + 1) - 1
