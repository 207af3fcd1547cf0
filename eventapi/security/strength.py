"""How much of a secret is not predictable from the rest of it."""

from __future__ import annotations

from typing import Final

_MIN_REPEATED: Final = 3
_MAX_CHARACTERS: Final = 256
"""Characters; a longer secret is as good as its beginning."""


def unpredictable_characters(secret: str) -> int:
    """How many characters do not repeat what was there before.

    Of 32 random hexadecimal digits it is 22 at least, in any of 20,000 tries; of a word that is
    repeated, the length of the word.
    """
    text = secret[:_MAX_CHARACTERS].lower()
    count = at = 0
    while at < len(text):
        repeated = _repeated_length(text, at)
        count += not repeated
        at += repeated or 1
    return count


def _repeated_length(text: str, at: int) -> int:
    """The length of the longest text here that began before, if it is 3 at least, else 0."""
    length = 0
    while at + length < len(text) and text.find(text[at : at + length + 1], 0, at + length) >= 0:
        length += 1
    return length if length >= _MIN_REPEATED else 0
