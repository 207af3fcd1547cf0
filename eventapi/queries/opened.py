"""What is sealed on a line, as an auditor or its user may see it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from events.codec import clear_bytes, reason_and_values
from events.record import Line
from events.sealing import Keyring
from events.vocabulary.users import without_secrets


class OpenedLine(msgspec.Struct, frozen=True, gc=False):
    """What is sealed on a line.

    ``personal`` has the values without secrets; ``None`` if none are sealed, or without the key.
    ``clear`` is the exact sealed text, whose SHA-256 is the commitment of the line. A line of an
    earlier version has no commitment, and a text with secrets is not shown.
    """

    personal: dict[str, Any] | None
    reason: str | UnsetType = UNSET
    clear: str | UnsetType = UNSET


def open_line(line: Line, keyring: Keyring) -> OpenedLine:
    """Open what is sealed on a line; raises `ValueError` for a seal that is broken."""
    clear = clear_bytes(line, keyring)
    if clear is None:
        return OpenedLine(None)
    reason, values = reason_and_values(line, clear)
    personal = without_secrets(line.type, values)
    is_provable = bool(line.commitment) and len(personal) == len(values)
    return OpenedLine(
        None if reason and not values else personal,
        reason or UNSET,
        clear.decode() if is_provable else UNSET,
    )
