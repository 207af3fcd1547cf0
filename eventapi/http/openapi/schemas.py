"""JSON Schemas of the types of endpoints, in a form that client generators accept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

_INT64_MIN = -(2**63)
_INT64_MAX = 2**63 - 1


class Schemas:
    """The schemas of some types; ``components`` has those of Structs."""

    def __init__(self, kinds: Iterable[Any], answers: Iterable[Any]) -> None:
        """``kinds`` are types of requests, ``answers`` types of responses."""
        requests, responses = {repr(one): one for one in kinds}, {repr(one): one for one in answers}
        of_requests, inputs = _components(requests.values())
        of_responses, components = _components(responses.values())
        # A nested Struct has limits in a request, and the same name without them in a response.
        renamed = {
            name: f"{name}Input"
            for name in inputs
            if components.get(name, inputs[name]) != inputs[name]
        }
        of_requests, inputs = _renamed(of_requests, renamed), _renamed(inputs, renamed)
        components = {renamed.get(name, name): one for name, one in inputs.items()} | components
        by_name = [*requests, *responses]
        schemas = [*of_requests, *of_responses]
        for kind in answers:
            _require_defaults(kind, components)
        self._by_name = {
            name: readable(schema) for name, schema in zip(by_name, schemas, strict=True)
        }
        self.components = {name: readable(schema) for name, schema in components.items()}

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of a type."""
        found: dict[str, Any] = self._by_name[repr(kind)]
        return found


def _components(kinds: Iterable[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    return schemas, components


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A part of schemas whose references have other names."""
    if not names:
        return value
    if isinstance(value, list | tuple):
        return [_renamed(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: _renamed(one, names) for name, one in value.items()}
    reference = found.get("$ref")
    if isinstance(reference, str):
        place, _, name = reference.rpartition("/")
        found["$ref"] = f"{place}/{names.get(name, name)}"
    return found


def _require_defaults(kind: Any, components: dict[str, Any]) -> None:
    """Mark members with a default as required if msgspec always writes them."""
    config = getattr(kind, "__struct_config__", None)
    if config is None or config.omit_defaults:
        return
    schema = components[kind.__name__]
    required = set(schema.get("required", ()))
    required |= {name for name, member in schema["properties"].items() if "default" in member}
    schema["required"] = [name for name in schema["properties"] if name in required]


def readable(schema: Any) -> Any:
    """A schema without features that stop generated clients from compiling.

    Integers have 64 bits, and no bounds outside that range. Defaults are left out, because
    generators make members with a default required, and cannot express ``null``. Enumerations have
    no empty value, and arrays always have ``items``.
    """
    if isinstance(schema, list):
        return [readable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {
        name: {key: readable(member) for key, member in value.items()}
        if name == "properties"
        else readable(value)
        for name, value in schema.items()
        if name != "default"
    }
    if "enum" in found:
        found["enum"] = [value for value in found["enum"] if value != ""]
    match found.get("type"):
        case "integer":
            found.setdefault("format", "int64")
            if found.get("minimum", 0) < _INT64_MIN:
                del found["minimum"]
            if found.get("maximum", 0) >= _INT64_MAX:
                del found["maximum"]
        case "number":
            found.setdefault("format", "double")
        case "array":
            found.setdefault("items", {})
    return found
