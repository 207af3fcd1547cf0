"""Values that stand as texts in a query or a form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from math import isfinite
from typing import Any, Final

import msgspec

_WHOLE: Final = re.compile(r"0|-?[1-9][0-9]{0,19}", re.ASCII)
JSON_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
"""A number as JSON writes it (RFC 8259, section 6)."""

_OTHER_TYPE: Final = re.compile(r"Expected `[^`]+`, got `")


def value_of_text(text: str, type: Any) -> Any:  # noqa: A002 - as in `msgspec.convert`
    """Parse a text as a value of a type; raises `msgspec.ValidationError`.

    Numbers are written as in JSON, a whole one only in digits; truth values are ``true`` and
    ``false``. Everything else is as a string in JSON would be.
    """
    errors = []
    for reading in _readings(text):
        try:
            found = msgspec.convert(reading, type)
            check_decimal(found, text)
        except msgspec.ValidationError as error:
            errors.append(error)
        else:
            return found
    # An error about a value says more than one about its type.
    errors.sort(key=lambda error: _OTHER_TYPE.match(str(error)) is not None)
    raise errors[0]


def check_decimal(value: Any, text: str) -> None:
    """Check that the text of a decimal number is a number in JSON.

    Raises `msgspec.ValidationError`. msgspec calls Python's `Decimal`, which also reads ``1_000``, spaces, ``NaN`` and all digits of
    Unicode.
    """
    if isinstance(value, Decimal) and not JSON_NUMBER.fullmatch(text):
        raise msgspec.ValidationError("Invalid decimal string")


def _readings(text: str) -> Iterator[Any]:
    """What a text may mean; the first one that has the wanted type counts."""
    yield text
    if _WHOLE.fullmatch(text):
        yield int(text)
    elif JSON_NUMBER.fullmatch(text) and isfinite(number := float(text)):
        yield number
    elif text in {"true", "false"}:
        yield text == "true"
