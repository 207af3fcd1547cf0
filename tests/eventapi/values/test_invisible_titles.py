"""A text of invisible characters alone is blank."""

from __future__ import annotations

import pytest

from eventapi.testing.given import created, given, registered
from eventapi.testing.items import Content, create_item, update_item
from eventapi.values.rules import is_blank
from events.errors import Invalid

INVISIBLE = {
    "nothing": "",
    "spaces": " \u00a0\u2003\u3000",
    "zero-width space": "\u200b",
    "joiners and marks": "\u200c\u200d\u200e\u200f",
    "word joiner and operators": "\u2060\u2061\u2062\u2063\u2064\u2065",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "Hangul fillers": "\u3164\u115f\u1160\uffa0",
    "braille blank": "\u2800",
    "variation selectors": "\ufe00\ufe0f\U000e0100\U000e01ef",
    "Mongolian selectors": "\u180b\u180c\u180d\u180e\u180f",
    "grapheme joiner": "\u034f",
    "Khmer vowels": "\u17b4\u17b5",
    "tags": "\U000e0001\U000e0041\U000e007f",
    "line separators": "\u2028\u2029",
    "null notehead": "\U0001d159",
    "annotation": "\ufff9\ufffa\ufffb",
    "mixed": " \u200b\u00ad \u2060",
}
VISIBLE = {
    "a letter": "a",
    "a letter behind": "\u200b\u200ba",
    "a dot": ".",
    "an emoji of several": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "a heart with a selector": "\u2764\ufe0f",
    "a combining accent": "\u0301",
    "an Arabic number sign": "\u0600",
    "a Hangul syllable": "\uac00",
    "a braille cell": "\u2801",
    "a private character": "\ue000",
    "a CJK letter": "\u4e00",
}

ANN = registered(1, "ann")
ITEM = created(1, 1)


@pytest.mark.parametrize("what", INVISIBLE)
def test_an_invisible_text_is_blank(what: str) -> None:
    assert is_blank(INVISIBLE[what])
    for character in INVISIBLE[what]:
        assert is_blank(character), ascii(character)


@pytest.mark.parametrize("what", VISIBLE)
def test_control_a_visible_text_is_not_blank(what: str) -> None:
    assert not is_blank(VISIBLE[what])
    if VISIBLE[what].isprintable() and not VISIBLE[what].isspace():
        assert not is_blank(f" {VISIBLE[what]} ")


@pytest.mark.parametrize("what", INVISIBLE)
def test_no_command_makes_an_item_with_an_invisible_title(what: str) -> None:
    title = INVISIBLE[what]
    given(ANN).when(create_item(1, Content(title))).refused(Invalid)
    given(ANN, ITEM).when(update_item(1, 1, title=title)).refused(Invalid)
