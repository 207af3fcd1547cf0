"""Trust policies: which witnesses must cosign a checkpoint (C2SP tlog-policy).

A policy is a text of lines::

    log      VKEY [URL]
    witness  NAME VKEY [URL]           the URL is the prefix for submissions
    group    NAME all|any|K MEMBER...  K of its members, which are witnesses or groups
    quorum   NAME|none                 the witness or the group that decides
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from events.transparency.cosignature import Cosigner
from events.transparency.signed_note import Note, Verifier

MAX_WITNESSES: Final = 64
NO_QUORUM: Final = "none"

_BLANKS: Final = re.compile(r"[ \t]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_THRESHOLD: Final = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)


class Witness(msgspec.Struct, frozen=True):
    """A witness of a policy; without a ``url`` it is never asked for cosignatures."""

    name: str
    cosigner: Cosigner
    url: str = ""


class Group(msgspec.Struct, frozen=True):
    """A group, which has cosigned if ``threshold`` of its members have."""

    threshold: int
    members: Sequence[str]


class Policy(msgspec.Struct, frozen=True):
    """Logs, witnesses and the rule that decides; ``quorum`` may be `NO_QUORUM`."""

    logs: Sequence[Verifier]
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    quorum: str

    @classmethod
    def parse(cls, content: bytes) -> Policy:
        """Parse the file format; raises `ValueError`, which names the line."""
        parser = _Parser()
        try:
            lines = content.decode().split("\n")
        except UnicodeDecodeError:
            raise ValueError("the file is not UTF-8") from None
        for number, line in enumerate(lines, 1):
            try:
                parser.read(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
        if parser.quorum is None:
            raise ValueError("there is no line `quorum`")
        return cls(parser.logs, parser.witnesses, parser.groups, parser.quorum)

    def is_met(self, names: Collection[str]) -> bool:
        """Whether cosignatures of the witnesses of these names are enough."""
        return self.quorum == NO_QUORUM or self._has_cosigned(self.quorum, names)

    def _has_cosigned(self, name: str, names: Collection[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in names
        members = sum(self._has_cosigned(member, names) for member in group.members)
        return members >= group.threshold

    def times(self, note: Note) -> dict[str, int]:
        """The times of the valid cosignatures of a checkpoint, by name of the witness.

        They are in seconds since 1970.
        """
        newest = {name: one.cosigner.newest(note) for name, one in self.witnesses.items()}
        return {name: found[0] for name, found in newest.items() if found is not None}

    def is_satisfied_by(self, note: Note) -> bool:
        """Whether enough witnesses have cosigned a checkpoint."""
        return self.is_met(self.times(note))

    def cosigned_at(self, note: Note) -> int | None:
        """The last time for which enough witnesses vouch; ``None`` if there is none."""
        times = self.times(note)
        for time in sorted(times.values(), reverse=True):
            if self.is_met([name for name, its in times.items() if its >= time]):
                return time
        return None


class _Parser:
    """The definitions of the lines so far."""

    def __init__(self) -> None:
        self.logs: list[Verifier] = []
        self.witnesses: dict[str, Witness] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self._grouped: set[str] = set()

    def read(self, line: str) -> None:
        """Read a line; raises `ValueError`."""
        if _CONTROL.search(line):
            raise ValueError("a control character; lines end with \\n alone")
        words = [word for word in _BLANKS.split(line) if word]
        if not words or words[0].startswith("#"):
            return
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._add_log(Verifier.parse(vkey))
            case ["witness", name, vkey]:
                self._add_witness(Witness(name, Cosigner.parse(vkey)))
            case ["witness", name, vkey, url]:
                self._add_witness(Witness(name, Cosigner.parse(vkey), _prefix(url)))
            case ["group", name, threshold, *members] if members:
                self._add_group(name, threshold, members)
            case ["quorum", name]:
                self._set_quorum(name)
            case _:
                raise ValueError(
                    "must be `log VKEY [URL]`, `witness NAME VKEY [URL]`, "
                    "`group NAME all|any|K MEMBER...` or `quorum NAME`"
                )

    def _add_log(self, log: Verifier) -> None:
        if log.key in {known.key for known in self.logs}:
            raise ValueError("another line has the same key")
        self.logs.append(log)

    def _add_witness(self, witness: Witness) -> None:
        self._check_new(witness.name)
        if witness.cosigner.key in {known.cosigner.key for known in self.witnesses.values()}:
            raise ValueError("another line has the same key")
        if len(self.witnesses) == MAX_WITNESSES:
            raise ValueError(f"there are more than {MAX_WITNESSES} witnesses")
        self.witnesses[witness.name] = witness

    def _add_group(self, name: str, threshold: str, members: Sequence[str]) -> None:
        self._check_new(name)
        for member in members:
            self._check_known(member)
            if member in self._grouped:
                raise ValueError(f"{member} is in a group already")
            self._grouped.add(member)
        number = {"all": len(members), "any": 1}.get(threshold)
        if number is None:
            number = int(threshold) if _THRESHOLD.fullmatch(threshold) else 0
        if not 1 <= number <= len(members):
            raise ValueError(f"{threshold} is not all, any, or a number from 1 to {len(members)}")
        self.groups[name] = Group(number, members)

    def _set_quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise ValueError("there is a second quorum")
        if name != NO_QUORUM:
            self._check_known(name)
        self.quorum = name

    def _check_new(self, name: str) -> None:
        if name == NO_QUORUM or name in self.witnesses or name in self.groups:
            raise ValueError(f"the name {name} is taken")

    def _check_known(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise ValueError(f"no line before defines {name}")


def _prefix(url: str) -> str:
    """A prefix for submissions, without a slash at its end; raises `ValueError`."""
    parts = urlsplit(url)
    is_address = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    if not is_address or not url.isascii() or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            "the URL of a witness must be http:// or https:// and a host, with a path or without"
        )
    return url.rstrip("/")
