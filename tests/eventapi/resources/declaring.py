"""Declare resources in tests, with fields and class variables as arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eventapi.resources import Clear, Resource
from eventapi.resources.declared import Declared, declare


def resource_class(name: str, fields: Mapping[str, Any], **members: Any) -> type[Resource]:
    """A subclass of `Resource`.

    A field is a type, or a tuple of a type and a default; ``members`` are the other members.
    """
    hints = {field: one[0] if isinstance(one, tuple) else one for field, one in fields.items()}
    defaults = {field: one[1] for field, one in fields.items() if isinstance(one, tuple)}
    namespace = {"__module__": __name__, "__annotations__": hints, **defaults, **members}
    make: Any = type(Resource)
    found: type[Resource] = make(name, (Resource,), namespace)
    return found


def as_clear(kind: Any) -> Any:
    """The type of a `Clear` field."""
    marked: Any = Clear
    return marked[kind]


def declared(name: str, fields: Mapping[str, Any], **members: Any) -> Declared:
    """A declared resource; raises `ConfigurationError`."""
    return declare(resource_class(name, fields, **members))
