"""Rules about texts that every path to the log checks, whatever its transport."""

from __future__ import annotations

import unicodedata
from typing import Final

from events.errors import Fault, Invalid

_INVISIBLE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})

_VISIBLE_FORMATS: Final = frozenset(
    map(chr, (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD))
)
"""Signs of category Cf that have a shape: Unicode's Prepended_Concatenation_Mark."""

_INVISIBLE: Final = frozenset(
    map(
        chr,
        (
            *(0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),  # joiner, fillers, vowels
            *(0x180B, 0x180C, 0x180D, 0x180F, *range(0xFE00, 0xFE10)),  # variation selectors
            *(0x2065, *range(0xFFF0, 0xFFF9)),  # reserved for characters that are ignored
            *(0x2800, 0x1D159),  # braille without dots, a note without a head
        ),
    )
)
"""Characters without a shape in categories whose others have one."""

_TAGS: Final = ("\U000e0000", "\U000e0fff")
"""Tags and more variation selectors; what is unassigned there is ignored as well."""


def _is_invisible(character: str) -> bool:
    if character in _INVISIBLE or _TAGS[0] <= character <= _TAGS[1]:
        return True
    return (
        unicodedata.category(character) in _INVISIBLE_CATEGORIES
        and character not in _VISIBLE_FORMATS
    )


def is_blank(text: str) -> bool:
    """Whether a reader sees nothing of a text: it is empty, or all of it is invisible."""
    if "!" <= text[:1] <= "~":  # Nearly every text begins so.
        return False
    return all(map(_is_invisible, text))


def title_fault(title: str) -> str | None:
    """What is wrong with a title of which a reader would see nothing."""
    if is_blank(title):
        return "must not be blank: it has no visible character; type a word"
    return None


def full_name_fault(full_name: str) -> str | None:
    """What is wrong with a name that looks empty and is not; plain spaces pass, as ever."""
    if is_blank(full_name) and full_name.strip():
        return "has no visible character; leave it out, or type a name"
    return None


def check_title(title: str) -> None:
    """Raise `Invalid` for a title of which a reader would see nothing."""
    detail = title_fault(title)
    if detail is not None:
        raise Invalid(Fault("/title", detail))
