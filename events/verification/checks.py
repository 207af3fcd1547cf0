"""The one definition of an intact line: `check_lines`.

The parallel scan calls it for 64 KiB of lines at a time, the verifier for one line at a time, so
both agree. It does not explain a refusal: `events.verification.diagnosis` does.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from events.codec import MAX_LINE_BYTES, check_link, check_seal
from events.record import START, Record, all_timestamps_valid
from events.sealing import Keyring
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.users import UserErased
from events.vocabulary.vocabulary import Vocabulary, is_undeclared
from events.well_formed import check_well_formed, data_timestamps


class MissingKeys(msgspec.Struct):
    """The users whose seals could not be opened, and the users erased in the log.

    ``lines`` maps a user (``users/7``) to position and byte offset of the first such line.
    ``opened`` counts the seals that the other keys opened.
    """

    lines: dict[str, tuple[int, int]] = {}
    erased: set[str] = set()
    opened: int = 0

    def record_line(
        self, sealed_for: str, subject: str, is_erasure: bool, place: tuple[int, int]
    ) -> None:
        """Record a line that is sealed for a user without a key, or for none."""
        if is_erasure:
            self.erased.add(subject)
        if sealed_for:
            self.lines.setdefault(sealed_for, place)

    def merge(self, later: MissingKeys) -> None:
        """Add the records of lines that come after these."""
        self.lines = later.lines | self.lines
        self.erased |= later.erased
        self.opened += later.opened


class CheckedLines(msgspec.Struct, frozen=True):
    """The result of `check_lines`.

    ``last`` is the record of the last line, with position, hash, source, time and end only.
    ``declared`` are the declarations on the lines, after which another vocabulary may apply, and
    ``undeclared`` the kinds that no declaration on the lines precedes: an earlier one must.
    """

    last: Record
    declared: Sequence[tuple[SchemaDeclared, str]]
    undeclared: frozenset[str]


def check_lines(
    joined_lines: bytes,
    last: Record,
    keyring: Keyring,
    missing: MissingKeys | None,
    vocabulary: Vocabulary,
) -> CheckedLines:
    """Check that lines are intact and follow the record ``last``.

    ``joined_lines`` are joined by newlines, without one at the end. Seals are opened with the keys in the keyring; lines without a key go
    into ``missing``, unless it is ``None``. Raises `ValueError`.
    """
    lines = joined_lines.split(b"\n")
    if max(map(len, lines)) > MAX_LINE_BYTES:
        raise ValueError(f"it is longer than {MAX_LINE_BYTES} bytes")
    position, digest, source = last.position, last.hash, last.source
    time, end = last.time, last.end
    all_parsed = vocabulary.parse_all(joined_lines)
    declared: list[tuple[SchemaDeclared, str]] = []
    kinds, undeclared = set[str](), set[str]()
    times = [parsed.time for parsed in all_parsed]
    if not all_timestamps_valid(times + data_timestamps(parsed.data for parsed in all_parsed)):
        raise ValueError("it has a time that does not exist")
    for line, parsed in zip(lines, all_parsed, strict=True):
        position += 1
        digest = check_link(line, digest)
        source = source or parsed.source
        if parsed.id != str(position) or parsed.source != source or parsed.time < time:
            raise ValueError("it does not follow the line before it")
        check_well_formed(line, parsed, parsed.data.type)
        time = parsed.time
        if missing is not None:
            cipher = keyring.get(parsed.sealedfor)
            if cipher is not None:
                check_seal(parsed, cipher, vocabulary)
                missing.opened += 1
            else:
                is_erasure = type(parsed.data) is UserErased
                missing.record_line(parsed.sealedfor, parsed.subject, is_erasure, (position, end))
        if type(parsed.data) is SchemaDeclared:
            declared.append((parsed.data, parsed.subject.partition("/")[2]))
            kinds.add(parsed.data.kind)
        elif is_undeclared(parsed.data, kinds):
            undeclared.add(parsed.data.resource.kind)
        end += len(line) + 1
    checked = position_record(position, digest, source, time, end)
    return CheckedLines(checked, declared, frozenset(undeclared))


def position_record(position: int, digest: bytes, source: str, time: str, end: int) -> Record:
    """A record that only marks a place in a log, to check the next line against."""
    return msgspec.structs.replace(
        START, position=position, hash=digest, source=source, time=time, end=end
    )
