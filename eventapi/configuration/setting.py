"""Descriptions of settings, for ``docs/settings.md`` and for error messages."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Meta, inspect

PREFIX: Final = "EVENTAPI_"

_OR_OFF: Final = " or off"
"""The end of ``values`` of a setting that also accepts the word ``off``."""

_WHOLE_NUMBER: Final = re.compile(r"-?[0-9]+")
_MAX_ECHOED_CHARACTERS: Final = 20
"""A message does not repeat a longer value: it may be a secret in the wrong place."""


def _is_long(text: str) -> bool:
    return len(text) > _MAX_ECHOED_CHARACTERS


def _repeats_long_part(reason: str, text: str) -> bool:
    """Whether a reason repeats a longer value or part of a list, as it is or escaped."""
    parts = [part.strip() for part in (text, *text.split(",")) if _is_long(part.strip())]
    return any(part in reason or repr(part)[1:-1] in reason for part in parts)


Check = Callable[[Any], str]


def _no_fault(_: Any) -> str:
    return ""


class Setting(msgspec.Struct, frozen=True):
    """The description of a setting: the cells of its row in ``docs/settings.md``.

    ``values`` completes a sentence that begins with "must be". ``unit`` may be empty.
    """

    name: str
    meaning: str
    unit: str
    values: str
    default: str
    example: str
    check: Check = _no_fault
    is_list: bool = False
    is_number: bool = False
    is_word: bool = False

    @property
    def variable(self) -> str:
        """The name of the environment variable."""
        return PREFIX + self.name

    def parse(self, text: str) -> str | list[str]:
        """Prepare the text of a variable for `msgspec.convert`."""
        if self.is_list:
            return [part.strip() for part in text.split(",") if part.strip()]
        if self.is_number and not _WHOLE_NUMBER.fullmatch(text):
            return ""  # An invalid value: msgspec would accept 1e3.
        return text.lower() if self.is_word or self.values.endswith(_OR_OFF) else text

    def refusal(self, text: str, reason: str = "") -> str:
        """The error message for a bad value: the reason, or else the accepted values.

        A reason that repeats a longer value is not used.
        """
        if reason and not _repeats_long_part(reason, text):
            return reason
        kind = f"a whole number{self.unit and f' of {self.unit}'}, " if self.is_number else ""
        is_short = (self.is_number or self.is_word) and not _is_long(text)
        return f"must be {kind}{self.values}{f', not {text!r}' if is_short else ''}"


def describe(
    meaning: str,
    *,
    example: str,
    values: str = "",
    unit: str = "",
    default: str = "",
    check: Check | None = None,
) -> Meta:
    """Build the annotation of a field, which `describe_fields` reads.

    ``values`` of a number or a choice of words are derived from the type. ``default`` describes the
    effect of a field that is ``None`` or empty. ``check`` returns the fault of a value, or an empty
    text.
    """
    details = {
        "example": example,
        "values": values,
        "unit": unit,
        "default": default,
        "check": check,
    }
    return Meta(description=meaning, extra=details)


def describe_fields(struct: type[msgspec.Struct]) -> dict[str, Setting]:
    """Describe the fields of a Struct, by name."""
    info = typing.cast("inspect.StructType", inspect.type_info(struct))
    hints = typing.get_type_hints(struct)
    return {field.encode_name: _setting(field, hints[field.name]) for field in info.fields}


def _setting(field: inspect.Field, hint: Any) -> Setting:
    kind, details, meaning = field.type, {}, ""
    if isinstance(kind, inspect.Metadata):
        details, meaning = kind.extra or {}, (kind.extra_json_schema or {}).get("description", "")
        kind = kind.type
    return Setting(
        field.encode_name,
        meaning,
        details.get("unit", ""),
        details.get("values") or _values(kind, hint),
        details.get("default") or str(field.default),
        details.get("example", ""),
        details.get("check") or _no_fault,
        is_list=isinstance(kind, inspect.VarTupleType),
        is_number=isinstance(kind, inspect.IntType),
        is_word=isinstance(kind, inspect.LiteralType),
    )


def _values(kind: inspect.Type, hint: Any) -> str:
    if isinstance(kind, inspect.LiteralType):
        *first, last = typing.get_args(hint)  # msgspec sorts them; this is the order of the code.
        return f"{', '.join(first)} or {last}"
    if isinstance(kind, inspect.IntType):
        return f"{kind.ge:,} or more" if kind.le is None else f"{kind.ge:,} to {kind.le:,}"
    return ""
