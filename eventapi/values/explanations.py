"""Explain msgspec's errors in plain words, as faults with a pointer and a code.

A type can add to this in ``Meta(extra=...)``: `RULE` explains a pattern, and `CHECK` is a function
that finds a fault which the type cannot express. Codes are those of pydantic, because version 1
returns them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import takewhile
from typing import Any, Final

import msgspec
from msgspec import inspect

from events.errors import Fault

RULE: Final = "rule"
"""The meaning of a pattern, as the end of a sentence: ``must be one line``."""

CHECK: Final = "check"
"""A function that returns the fault of a value as a text, or ``None``."""

_EXPECTED: Final = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_LENGTH: Final = re.compile(r"Expected `(\w+)` of (?:length|at least length) ([<>=]*) ?(\d+)")
_BOUND: Final = re.compile(r"Expected `\w+` ([<>]=?) (\S+)")
_MULTIPLE: Final = re.compile(r"Expected `\w+` that's a multiple of (\S+)")
_MISSING: Final = re.compile(r"Object missing required field `([^`]*)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `([^`]*)`")
_INVALID: Final = re.compile(
    r"Invalid (?:RFC3339 encoded )?(date|datetime|uuid|decimal)\b", re.IGNORECASE
)
_ENDINGS: Final = {
    "out of range": ("value_error", "is a number that is too large"),
    "with a timezone component": ("timezone_aware", "must have an offset, such as Z"),
}
_ENDING: Final = re.compile(f"({'|'.join(_ENDINGS)})$")
_PATH: Final = re.compile(r" - at `(?:key in )?\$(.*)`$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[]+)|\[([^\]]+)\]")

NOUNS: Final = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
    "bytes": "base64",
    "date": "a date such as 2026-01-31",
    "datetime": "a time such as 2026-01-31T12:00:00Z",
    "uuid": "a UUID",
    "decimal": 'a decimal number as a string such as "1.50"',
}
_CODES: Final = {"object": "model_attributes_type", "array": "list_type"}
_UNITS: Final = {"str": "character", "array": "element", "object": "member", "bytes": "byte"}
_BOUNDS: Final = {
    ">=": ("greater_than_equal", "must be at least"),
    "<=": ("less_than_equal", "must be at most"),
    ">": ("greater_than", "must be greater than"),
    "<": ("less_than", "must be less than"),
}


def explain(error: msgspec.ValidationError, kind: Any, *, is_text: bool = False) -> Fault:
    """Convert msgspec's error about a value into a fault within that value."""
    message = str(error)
    path = _PATH.search(message)
    pointer, infos = "", [type_info(kind)]
    if path:
        message = message[: path.start()]
        steps = [member or index for member, index in _STEP.findall(path[1])]
        # msgspec does not name the member of a dict, so the pointer ends there.
        pointer = "".join(map(pointer_of, takewhile("...".__ne__, steps)))
        for step in steps:
            infos = [inner for info in infos for inner in _inner(info, step)]
    if missing := _MISSING.match(message):
        return Fault(pointer + pointer_of(missing[1]), "is required", "missing")
    if unknown := _UNKNOWN.match(message):
        found = unknown_member(unknown[1])
        return Fault(pointer + found.pointer, found.detail, found.kind)
    code, detail = _words(message, infos, is_text)
    return Fault(pointer, detail, code)


def _inner(info: inspect.Type, step: str) -> Iterator[inspect.Type]:
    """The types of a part of a value."""
    for one in _infos(info):
        if isinstance(one, inspect.ListType):
            yield one.item_type
        elif isinstance(one, inspect.DictType):
            yield one.value_type
        elif isinstance(one, inspect.StructType):
            yield from (field.type for field in one.fields if field.encode_name == step)
            if step == one.tag_field:
                yield inspect.LiteralType((one.tag,))


def _words(  # noqa: PLR0911 - one a message
    message: str, infos: Sequence[inspect.Type], is_text: bool
) -> tuple[str, str]:
    """The code and the text of a fault; ``infos`` are the types of the value."""
    if expected := _EXPECTED.match(message):
        wanted = expected[1].split(" | ")
        nouns = " or ".join(NOUNS.get(name, name) for name in wanted if name != "null")
        code = _CODES.get(wanted[0], f"{wanted[0].replace('str', 'string')}_type")
        if is_text:
            return code.replace("_type", "_parsing"), f"must be {nouns}"
        return code, f"must be {nouns}, not {NOUNS.get(expected[2], expected[2])}"
    if length := _LENGTH.match(message):
        return _length(*length.groups())
    if bound := _BOUND.match(message):
        code, words = _BOUNDS[bound[1]]
        return code, f"{words} {bound[2]}"
    if multiple := _MULTIPLE.match(message):
        return "multiple_of", f"must be a multiple of {multiple[1]}"
    if ending := _ENDING.search(message):
        return _ENDINGS[ending[0]]
    if invalid := _INVALID.match(message):
        kind = invalid[1].lower()
        noun = "a decimal number such as 1.50" if is_text and kind == "decimal" else NOUNS[kind]
        return f"{kind}_parsing", f"must be {noun}"
    if message.startswith(("Invalid enum value", "Invalid value")):
        values = [str(value) for info in infos for one in _infos(info) for value in _values(one)]
        return "literal_error", f"must be {_choice(values) if values else 'another value'}"
    if "matching regex" in message:
        rules = [str(rule) for info in infos for rule in extras_of(info, RULE)]
        rules += [f"must have the form {pattern}" for info in infos for pattern in _patterns(info)]
        return "string_pattern_mismatch", rules[0] if rules else "must have another form"
    return "value_error", message[:1].lower() + message[1:]


def _length(kind: str, relation: str, size: str) -> tuple[str, str]:
    unit = _UNITS.get(kind, "character") + ("s" if size != "1" else "")
    prefix = "string" if kind == "str" else "too"
    if relation in {">=", ""}:  # A Struct that is a list has no sign.
        code = "string_too_short" if prefix == "string" else "too_short"
        words = "must not be empty" if size == "1" else f"must have at least {size} {unit}"
        return code, words
    code = "string_too_long" if prefix == "string" else "too_long"
    return code, f"must have at most {size} {unit}"


def _choice(values: Sequence[str]) -> str:
    """Join values for the end of a sentence."""
    *others, last = values
    return f"{', '.join(others)} or {last}" if others else last


def unknown_member(name: str, detail: str = "is not known here") -> Fault:
    """The fault of a member that the type does not have."""
    return Fault(pointer_of(name), detail, "extra_forbidden")


@cache
def type_info(kind: Any) -> inspect.Type:
    """The type as msgspec describes it; cached, because that is slow."""
    return inspect.type_info(kind)


def _infos(info: inspect.Type) -> Iterator[inspect.Type]:
    """A type, and the types in it: members of a union, and the one below extras."""
    yield info
    if isinstance(info, inspect.Metadata):
        yield from _infos(info.type)
    elif isinstance(info, inspect.UnionType):
        for one in info.types:
            yield from _infos(one)


def extras_of(info: inspect.Type, name: str) -> Iterator[Any]:
    """What ``Meta(extra=...)`` of a type has under a name."""
    for one in _infos(info):
        if isinstance(one, inspect.Metadata) and one.extra and name in one.extra:
            yield one.extra[name]


def _patterns(info: inspect.Type) -> Iterator[str]:
    """The patterns of a type's texts."""
    for one in _infos(info):
        if isinstance(one, inspect.StrType) and one.pattern is not None:
            yield one.pattern


def _values(info: inspect.Type) -> Sequence[Any]:
    if isinstance(info, inspect.LiteralType):
        return info.values
    if isinstance(info, inspect.EnumType):
        return [member.value for member in info.cls]
    return ()


def pointer_of(name: str) -> str:
    """A member as a step of a JSON pointer (RFC 6901)."""
    return "/" + name.replace("~", "~0").replace("/", "~1")
