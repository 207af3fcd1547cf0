"""Compatibility of declarations: which code can read the events of which declaration.

Code can read them if every content that the older declaration accepts is accepted by the newer one. Both are
compared by their JSON Schemas, so that any code can judge any log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from events.vocabulary.schemas import SchemaDeclared

_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_SAME: Final = ("pattern", "format", "multipleOf", "const", "uniqueItems", "contentEncoding")
_NO_BOUND: Final = float("inf")

Schema = Mapping[str, Any]


def unreadable(
    old: SchemaDeclared, new: SchemaDeclared | None, upcast: Callable[..., Any] | None
) -> list[str]:
    """The reasons why code that declares ``new`` cannot read events under ``old``.

    Each begins with the name of a field or an action. A kind that is built in, ``None``, was never
    declared. An ``upcast`` converts values of any older shape, but cannot unseal or seal them.
    """
    if new is None:
        return ["it is built in, and the log declares another kind of this name"]
    reasons = [*_clear_changes(old, new), *_lost_actions(old, new)]
    if upcast is None:
        reasons += _changed_fields(old.schema, new.schema)
        reasons += [
            f"{_named(key)}: it is unique now, and values in the log may not be"
            for key in new.unique
            if key not in old.unique
        ]
    return reasons


def _named(key: Any) -> str:
    fields = key["fields"] if isinstance(key, Mapping) else key
    return ", ".join([fields] if isinstance(fields, str) else fields)


def _clear_changes(old: SchemaDeclared, new: SchemaDeclared) -> Iterator[str]:
    known = new.schema.get("properties", {})
    for name in sorted({*old.clear} ^ {*new.clear}):
        if name in old.schema.get("properties", {}) and name in known:
            change = "is not Clear any more" if name in old.clear else "is Clear now"
            yield f"{name}: it {change}; add a field of another name instead"


def _lost_actions(old: SchemaDeclared, new: SchemaDeclared) -> Iterator[str]:
    for name in old.actions:
        if name not in new.actions:
            yield f"{name}: the action is missing; keep it, and let it raise Refused"


def _changed_fields(old: Schema, new: Schema) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in before:
        if name not in after:
            yield f'{name}: the field is missing; add renamed = {{"{name}": ...}} or an upcast'
        elif not accepts(after[name], before[name], new, old):
            yield f"{name}: the type is narrower than before; widen it, or add an upcast"
    for name in after:
        if name not in before and name in new.get("required", ()):
            yield f"{name}: the field is new and has no default; give it one, or add an upcast"


def accepts(new: Schema, old: Schema, new_root: Schema, old_root: Schema, depth: int = 0) -> bool:
    """Whether a schema accepts everything that an older one accepts; false if in doubt."""
    new, old = _resolved(new, new_root), _resolved(old, old_root)
    if depth > 16:
        return new == old
    deeper = depth + 1
    if "anyOf" in old or "anyOf" in new:
        wanted, offered = old.get("anyOf", [old]), new.get("anyOf", [new])
        return all(
            any(accepts(one, each, new_root, old_root, deeper) for one in offered)
            for each in wanted
        )
    if "enum" in new:
        return "enum" in old and {*map(repr, old["enum"])} <= {*map(repr, new["enum"])}
    if "enum" in old:
        return all(_type_of(value) in _types(new) for value in old["enum"])
    return (
        _types(old) <= _types(new) | ({"integer"} if "number" in _types(new) else set())
        and all(_at_least(new, name) <= _at_least(old, name) for name in _LOWER)
        and all(_at_most(new, name) >= _at_most(old, name) for name in _UPPER)
        and all(name not in new or new[name] == old.get(name) for name in _SAME)
        and _parts_accept(new, old, new_root, old_root, deeper)
    )


def _parts_accept(new: Schema, old: Schema, new_root: Schema, old_root: Schema, depth: int) -> bool:
    """Whether the members and elements of a schema accept those of an older one."""
    for name in ("items", "additionalProperties"):
        ours, theirs = new.get(name, {}), old.get(name, {})
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            if ours and not accepts(ours, theirs, new_root, old_root, depth):
                return False
        elif ours is False and theirs is not False:
            return False
    before, after = old.get("properties", {}), new.get("properties", {})
    required: Sequence[str] = new.get("required", ())
    prefix, old_prefix = new.get("prefixItems", []), old.get("prefixItems", [])
    return (
        all(
            name in after and accepts(after[name], before[name], new_root, old_root, depth)
            for name in before
        )
        and all(name in old.get("required", ()) for name in required)
        and len(prefix) == len(old_prefix)
        and all(
            accepts(one, other, new_root, old_root, depth)
            for one, other in zip(prefix, old_prefix, strict=True)
        )
    )


def _resolved(schema: Schema, root: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Schema = root["$defs"][reference.rpartition("/")[2]]
    return found


def _types(schema: Schema) -> set[str]:
    kind = schema.get("type", ())
    return {kind} if isinstance(kind, str) else set(kind)


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "null" if value is None else "string"


def _at_least(schema: Schema, name: str) -> float:
    return float(schema.get(name, -_NO_BOUND))


def _at_most(schema: Schema, name: str) -> float:
    return float(schema.get(name, _NO_BOUND))
