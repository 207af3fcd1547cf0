"""The declaration of a kind in the log, with the JSON Schema of its content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from eventapi.values.rules import PLAIN_TEXT
from events.vocabulary.resources import Field, Unique
from events.vocabulary.schemas import SchemaDeclared

_LOOKS: Final = frozenset({"title", "description", "examples", "$comment"})
"""Members of a JSON Schema that decide nothing."""


def declaration_of(
    kind: str,
    fields: Sequence[Field],
    strict: Mapping[str, Any],
    unique: Sequence[Unique],
    actions: Iterable[str],
) -> SchemaDeclared:
    """The declaration of a kind, at version 1."""
    return SchemaDeclared(
        1,
        kind,
        schema_of(fields, strict),
        [field.name for field in fields if field.is_clear],
        [
            {"fields": list(rule.fields), "global": True} if rule.is_global else list(rule.fields)
            for rule in unique
        ],
        list(actions),
    )


def schema_of(fields: Sequence[Field], strict: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a content; ``strict`` has the types of the fields."""
    members: list[Any] = [
        (field.name, strict[field.name])
        if field.default is UNSET
        else (field.name, strict[field.name], msgspec.field(default_factory=_no_default))
        for field in fields
    ]
    # No class of an application has this name, or the definitions would have longer ones.
    values = msgspec.defstruct("_content", members, kw_only=True, forbid_unknown_fields=True)
    schema = msgspec.json.schema(values)
    definitions = schema.pop("$defs")
    content: dict[str, Any] = _without_looks(definitions.pop(values.__name__))
    for field in fields:
        if field.default is not UNSET:
            default = msgspec.json.decode(msgspec.json.encode(field.default))
            content["properties"][field.name]["default"] = default
    if definitions:
        content["$defs"] = _without_looks(definitions)
    return content


def _no_default() -> None:
    """Make a field optional; its default is added as JSON, because it may be mutable."""


def _without_looks(schema: Any) -> Any:
    """A JSON Schema without descriptions, so that a better text is no new declaration.

    Nor has it the pattern of texts that have none of their own: to declare one is a tighter limit,
    and to remove it a looser one.
    """
    if isinstance(schema, list):
        return [_without_looks(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {member: _without_looks(one) for member, one in value.items()}
        if name == "properties"
        else _without_looks(value)
        for name, value in schema.items()
        if name not in _LOOKS and (name, value) != ("pattern", PLAIN_TEXT.pattern)
    }
