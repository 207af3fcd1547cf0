"""Compatibility of declarations: which code can read which events.

Code can read them if every content that the older declaration accepts is accepted by the newer one.
Both are compared by their JSON Schemas, so that any code can judge any log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from events.vocabulary.schemas import SchemaDeclared

_LOWER: Final = ("minLength", "minItems", "minProperties")
_UPPER: Final = ("maxLength", "maxItems", "maxProperties")
_SAME: Final = ("pattern", "format", "const", "uniqueItems", "contentEncoding")
_LIMITS: Final = {*_LOWER, *_UPPER, *_SAME, "multipleOf", "minimum", "maximum"} | {
    "exclusiveMinimum",
    "exclusiveMaximum",
}
_MAX_DEPTH: Final = 16
_NO_BOUND: Final = float("inf")

Schema = Mapping[str, Any]
Path = tuple[str, ...]
"""The names of a field and of those around it."""


def unreadable(
    old: SchemaDeclared,
    new: SchemaDeclared | None,
    renamed: Mapping[str, str],
    *,
    has_upcast: bool = False,
) -> list[str]:
    """The reasons why code that declares ``new`` cannot read events under ``old``.

    Each begins with the name of a field or an action, and ends with the cure. A kind that is built
    in, ``None``, was never declared. ``renamed`` has new names of fields by their old ones. An
    upcast converts values of any older shape, but cannot unseal or seal them.
    """
    if new is None:
        return [f"{old.kind}: it is built in, and the log declares another kind of this name"]
    clashes = list(_name_clashes(old.schema, renamed))
    if clashes:
        return clashes
    old = _with_new_names(old, renamed)
    reasons = [*_clear_changes(old, new), *_lost_actions(old, new)]
    if not has_upcast:
        reasons += _changed_fields(old.schema, new.schema)
        reasons += [
            f"{', '.join(_fields(key))}: it is unique now, and values in the log may not be; "
            "leave `unique` as it was, or add an upcast"
            for key in new.unique
            if not any(_implies(other, key) for other in old.unique)
        ]
    return reasons


def changed_defaults(
    declared: Sequence[SchemaDeclared], new: SchemaDeclared, renamed: Mapping[str, str]
) -> list[str]:
    """The fields whose default changes what older events say, as in `unreadable`.

    Events before the declaration that added a field lack it, and are read with its default. So that
    must stay the one of then. An upcast is no cure, because it cannot tell an event that lacks the
    field from a change of other fields.
    """
    olds = [_with_new_names(one, renamed).schema for one in declared]
    before = [_members(old, old) for old in olds]
    return [
        f"{'.'.join(path)}: the default was {msgspec.json.encode(was).decode()}, and older events "
        "without the field are read with it; give it this default again"
        for path, schema in _members(new.schema, new.schema).items()
        if "default" in schema
        and (was := _default_of_added(path, before, schema["default"])) != schema["default"]
    ]


def _default_of_added(path: Path, before: Sequence[Mapping[Path, Schema]], default: Any) -> Any:
    """The default with which a field was added to a kind, if it was added later."""
    is_missing = False
    for members in before:
        if path in members:
            return members[path].get("default", default) if is_missing else default
        is_missing = is_missing or not path[:-1] or path[:-1] in members
    return default


def _members(
    schema: Schema, root: Schema, path: Path = (), depth: int = 0
) -> Mapping[Path, Schema]:
    """The schemas of all fields by their paths, also of those in lists and objects."""
    found: dict[Path, Schema] = {}
    if depth > _MAX_DEPTH:
        return found
    schema = _resolved(schema, root)
    parts = (*schema.get("anyOf", ()), schema.get("items"), schema.get("additionalProperties"))
    for part in parts:
        if isinstance(part, Mapping):
            found |= _members(part, root, path, depth + 1)
    for name, part in schema.get("properties", {}).items():
        found[*path, name] = part
        found |= _members(part, root, (*path, name), depth + 1)
    return found


def _name_clashes(old: Schema, renamed: Mapping[str, str]) -> Iterator[str]:
    names = old.get("properties", {})
    for before, after in renamed.items():
        if before in names and after in names:
            yield f"{before}: the log has the field {after} as well; rename it to a new name"


def _with_new_names(old: SchemaDeclared, renamed: Mapping[str, str]) -> SchemaDeclared:
    """A declaration as if its fields had always had their new names."""
    schema = dict(old.schema)
    if not renamed:
        return old
    properties = schema.get("properties", {})
    schema["properties"] = {renamed.get(name, name): one for name, one in properties.items()}
    schema["required"] = [renamed.get(name, name) for name in schema.get("required", ())]
    unique = [
        {
            "fields": [renamed.get(name, name) for name in _fields(key)],
            "global": _is_global(key),
        }
        for key in old.unique
    ]
    clear = [renamed.get(name, name) for name in old.clear]
    return replace(old, schema=schema, clear=clear, unique=unique)


def _fields(key: Any) -> Sequence[str]:
    fields = key["fields"] if isinstance(key, Mapping) else key
    return [fields] if isinstance(fields, str) else fields


def _is_global(key: Any) -> bool:
    return isinstance(key, Mapping) and key.get("global") is True


def _implies(old: Any, new: Any) -> bool:
    """Whether values that obey one rule of uniqueness obey another one."""
    return {*_fields(old)} <= {*_fields(new)} and (_is_global(old) or not _is_global(new))


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
        elif name in new.get("required", ()) and name not in old.get("required", ()):
            yield f"{name}: the field has no default any more; give it one, or add an upcast"
    for name in after:
        if name not in before and name in new.get("required", ()):
            yield f"{name}: the field is new and has no default; give it one, or add an upcast"


def accepts(new: Schema, old: Schema, new_root: Schema, old_root: Schema, depth: int = 0) -> bool:
    """Whether a schema accepts all that an older one accepts; false if in doubt."""
    new, old = _resolved(new, new_root), _resolved(old, old_root)
    if depth > _MAX_DEPTH:
        return new == old
    deeper = depth + 1
    alternatives = _alternatives(old)
    if len(alternatives) > 1 or "anyOf" in old or "anyOf" in new:
        offered = new.get("anyOf", [new])
        return all(
            any(accepts(one, each, new_root, old_root, deeper) for one in offered)
            for each in alternatives
        )
    if "enum" in old:
        return all(_is_valid(value, new) for value in old["enum"])
    if "enum" in new:
        return False
    return (
        bool(_types(old))
        and _types(old) <= _types(new) | ({"integer"} if "number" in _types(new) else set())
        and _limits_accept(new, old)
        and _parts_accept(new, old, new_root, old_root, deeper)
    )


def _alternatives(schema: Schema) -> Sequence[Schema]:
    """The schemas of a union, or one for each value of an enum."""
    if "enum" in schema:
        return [{"enum": [value]} for value in schema["enum"]]
    alternatives: Sequence[Schema] = schema.get("anyOf", [schema])
    return alternatives


def _is_valid(value: Any, schema: Schema) -> bool:
    """Whether a schema accepts a value of an enum; false if in doubt."""
    if "enum" in schema:
        return any(type(one) is type(value) and one == value for one in schema["enum"])
    kind = _type_of(value)
    if kind == "integer":
        exact = {"type": kind, "minimum": value, "maximum": value}
        is_type = not {kind, "number"}.isdisjoint(_types(schema))
        return is_type and _limits_accept(schema, exact)
    # A text of an enum may be too long, or not match a pattern: only a free text accepts it.
    return (
        kind in _types(schema)
        and not (_LIMITS - {"maxLength"}) & {*schema}
        and (kind != "string" or len(value) <= _at_most(schema, "maxLength"))
    )


def _limits_accept(new: Schema, old: Schema) -> bool:
    """Whether the limits of a schema are at most as tight as those of an older one."""
    multiple, before = new.get("multipleOf"), old.get("multipleOf")
    return (
        _lower_bound(new) <= _lower_bound(old)
        and _upper_bound(new) <= _upper_bound(old)
        and all(_at_least(new, name) <= _at_least(old, name) for name in _LOWER)
        and all(_at_most(new, name) >= _at_most(old, name) for name in _UPPER)
        and all(name not in new or new[name] == old.get(name) for name in _SAME)
        and (multiple in {None, before} or (before is not None and before % multiple == 0))
    )


def _lower_bound(schema: Schema) -> tuple[float, int]:
    """The least value, and 1 if it is excluded itself: a tighter bound is greater."""
    bounds = [(_at_least(schema, "minimum"), 0)]
    if "exclusiveMinimum" in schema:
        bound = schema["exclusiveMinimum"]
        bounds.append((bound + 1, 0) if _is_whole(schema, bound) else (bound, 1))
    return max(bounds)


def _upper_bound(schema: Schema) -> tuple[float, int]:
    """The negative greatest value, and 1 if it is excluded, as `_lower_bound`."""
    bounds = [(-_at_most(schema, "maximum"), 0)]
    if "exclusiveMaximum" in schema:
        bound = schema["exclusiveMaximum"]
        bounds.append((1 - bound, 0) if _is_whole(schema, bound) else (-bound, 1))
    return max(bounds)


def _is_whole(schema: Schema, bound: float) -> bool:
    return _types(schema) == {"integer"} and bound == int(bound)


def _parts_accept(new: Schema, old: Schema, new_root: Schema, old_root: Schema, depth: int) -> bool:
    """Whether the members and elements of a schema accept those of an older one."""
    for name in ("items", "additionalProperties", "propertyNames"):
        ours, theirs = new.get(name, {}), old.get(name, {})
        if name == "propertyNames" and ours:
            ours, theirs = {"type": "string", **ours}, {"type": "string", **theirs}
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
    found: float = schema.get(name, -_NO_BOUND)
    return found


def _at_most(schema: Schema, name: str) -> float:
    found: float = schema.get(name, _NO_BOUND)
    return found
