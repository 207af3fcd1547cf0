"""Merge patches (RFC 7396) of fields whose values are objects in JSON.

A patch has only the members that it changes, at any depth, and ``null`` removes a member. So its
type is another one than that of the field, and the patched value is checked once it is merged.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, UnsetType

from eventapi.resources.declared import Declared
from events.errors import Invalid
from events.vocabulary.resources import Entity


def patch_type(hint: Any) -> Any:
    """The type of a patch of a field; its own type if the values are no objects."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner = patch_type(arguments[0])
        # Limits of an object are those of the merged one.
        return hint if inner is arguments[0] else inner
    if origin in {Union, UnionType}:
        inner = tuple(map(patch_type, arguments))
        is_same = all(one is other for one, other in zip(inner, arguments, strict=True))
        return hint if is_same else Union[inner]  # noqa: UP007 - of a tuple
    if origin is dict:
        return dict[arguments[0], patch_type(arguments[1]) | None]  # type: ignore[misc,valid-type]
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint if hint.__struct_config__.array_like else _patch_struct(hint)
    return hint


@lru_cache(1_024)  # One class for all fields, or a JSON Schema would have two of one name.
def _patch_struct(struct: type[msgspec.Struct]) -> type[msgspec.Struct]:
    config, field = struct.__struct_config__, msgspec.field
    return msgspec.defstruct(
        f"{struct.__name__}Patch",
        [
            (
                one.name,
                patch_type(one.type) | UnsetType | None,
                field(name=one.encode_name, default=UNSET),
            )
            for one in msgspec.structs.fields(struct)
        ],
        namespace={
            "__doc__": f"A merge patch (RFC 7396) of a value of the type {struct.__name__}."
        },
        module=struct.__module__,
        tag=config.tag,
        tag_field=config.tag_field,
        kw_only=True,
        frozen=True,
        forbid_unknown_fields=True,
    )


def merged_values(
    resource: Declared, entity: Entity, patch: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The values that a patch sets, with its objects merged into the current ones.

    Raises `Invalid` for a merged value that breaks a rule.
    """
    merged = {
        name: _merged(msgspec.to_builtins(getattr(entity, name)), msgspec.to_builtins(value))
        for name, value in patch.items()
        if isinstance(value, dict | msgspec.Struct)
    }
    if not merged:
        return patch
    faults = resource.rules.faults(merged)
    if faults:
        raise Invalid(*faults)
    strict = resource.strict
    return {**patch, **{name: msgspec.convert(one, strict[name]) for name, one in merged.items()}}


def _merged(target: Any, patch: Any) -> Any:
    """The algorithm of RFC 7396, section 2, on decoded JSON."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = _merged(found.get(name), value)
    return found
