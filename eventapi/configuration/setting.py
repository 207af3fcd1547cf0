"""What a setting is, for people: the row of ``docs/settings.md`` and the text of a refusal."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Meta, inspect

PREFIX: Final = "EVENTAPI_"

_OR_OFF: Final = " or off"
"""How the values end of a setting that words are part of."""

_WHOLE_NUMBER: Final = re.compile(r"-?[0-9]+")
_MAX_ECHOED_CHARACTERS: Final = 20
"""A longer value is not repeated in a message: it may be a secret that was put in the wrong place."""


Check = Callable[[Any], str]


def _no_fault(_: Any) -> str:
    return ""


class Setting(msgspec.Struct, frozen=True):
    """One setting; a cell of its row in ``docs/settings.md`` each.

    ``values`` goes on from "must be"; ``unit`` is empty where there is none.
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
        """The text of a variable in the form that msgspec converts."""
        if self.is_list:
            return [part.strip() for part in text.split(",") if part.strip()]
        if self.is_number and not _WHOLE_NUMBER.fullmatch(text):
            return ""  # msgspec would accept 1e3.
        return text.lower() if self.is_word or self.values.endswith(_OR_OFF) else text

    def refusal(self, text: str) -> str:
        """Why a value is refused, and which ones are accepted."""
        kind = f"a whole number{self.unit and f' of {self.unit}'}, " if self.is_number else ""
        is_short = (self.is_number or self.is_word) and len(text) <= _MAX_ECHOED_CHARACTERS
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
    """The annotation of a field that `settings_of` reads.

    ``values`` of a number and of a choice of words come from the type. ``default`` describes what
    is used where the field is ``None`` or empty. ``check`` returns what is wrong with a value.
    """
    told = {"example": example, "values": values, "unit": unit, "default": default, "check": check}
    return Meta(description=meaning, extra=told)


def describe_fields(struct: type[msgspec.Struct]) -> dict[str, Setting]:
    """The settings that are the fields of a Struct, by name."""
    info = typing.cast("inspect.StructType", inspect.type_info(struct))
    hints = typing.get_type_hints(struct)
    return {field.encode_name: _setting(field, hints[field.name]) for field in info.fields}


def _setting(field: inspect.Field, hint: Any) -> Setting:
    kind, told, meaning = field.type, {}, ""
    if isinstance(kind, inspect.Metadata):
        told, meaning = kind.extra or {}, (kind.extra_json_schema or {}).get("description", "")
        kind = kind.type
    return Setting(
        field.encode_name,
        meaning,
        told.get("unit", ""),
        told.get("values") or _values(kind, hint),
        told.get("default") or str(field.default),
        told.get("example", ""),
        told.get("check") or _no_fault,
        is_list=isinstance(kind, inspect.VarTupleType),
        is_number=isinstance(kind, inspect.IntType),
        is_word=isinstance(kind, inspect.LiteralType),
    )


def _values(kind: inspect.Type, hint: Any) -> str:
    if isinstance(kind, inspect.LiteralType):
        *first, last = typing.get_args(hint)  # In the order of the code, as msgspec has them not.
        return f"{', '.join(first)} or {last}"
    if isinstance(kind, inspect.IntType):
        return f"{kind.ge:,} or more" if kind.le is None else f"{kind.ge:,} to {kind.le:,}"
    return ""
