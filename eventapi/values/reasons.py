"""The reason of a change, which a person gives with a request or a command."""

from __future__ import annotations

import re
from typing import Final

from eventapi.values.rules import ONE_LINE, is_blank

MAX_REASON_CHARACTERS: Final = 500

_ONE_LINE: Final = re.compile(ONE_LINE)


def reason_fault(reason: str) -> str | None:
    """The fault of a reason, as the end of a sentence; ``None`` for a valid one."""
    if len(reason) > MAX_REASON_CHARACTERS:
        return f"must have at most {MAX_REASON_CHARACTERS} characters"
    if not _ONE_LINE.match(reason) or _has_surrogate(reason):
        return "must be one line without control characters and direction overrides"
    if is_blank(reason):
        return "has no visible character; leave it out, or type a reason"
    return None


def _has_surrogate(text: str) -> bool:
    """Whether a text has half of a character, as an argument that is not UTF-8 does."""
    return any("\ud800" <= character <= "\udfff" for character in text)
