"""JSON Schemas of the types of endpoints, in a form that client generators accept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Final

import msgspec

from eventapi.values.texts import JSON_NUMBER

_REFERENCE: Final = "#/components/schemas/{name}"
_INT64_MIN = -(2**63)
_INT64_MAX = 2**63 - 1


class Schemas:
    """The schemas of some types; ``components`` has those of Structs.

    Two Structs may have one name, because an application names some of them. Then the first one
    keeps it, and another one gets an `Input` or a number behind it.
    """

    def __init__(self, kinds: Iterable[Any], answers: Iterable[Any]) -> None:
        """``kinds`` are types of requests, ``answers`` types of responses."""
        self.components: dict[str, Any] = {}
        self._schemas: dict[Any, dict[str, Any]] = {}
        answers = list(answers)
        self._complete = {
            kind.__name__
            for kind in answers
            if isinstance(kind, type)
            and issubclass(kind, msgspec.Struct)
            and not kind.__struct_config__.omit_defaults
        }
        for kind in answers:
            self._add(kind, is_answer=True)
        for kind in kinds:
            self._add(kind, is_answer=False)

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of a type."""
        return self._schemas[_key(kind)]

    def _add(self, kind: Any, *, is_answer: bool) -> None:
        if _key(kind) in self._schemas:
            return
        (schema,), components = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
        if is_answer:
            for name in self._complete.intersection(components):
                _require_defaults(components[name])
        components = {name: readable(one) for name, one in components.items()}
        names = self._names(components, "" if is_answer else "Input")
        for name, one in components.items():
            self.components[names[name]] = _renamed(one, names)
        self._schemas[_key(kind)] = _renamed(readable(schema), names)

    def _names(self, components: Mapping[str, Any], suffix: str) -> Mapping[str, str]:
        """For each component the name that it has already, or a free one."""
        names = {name: name for name in components}
        # A component that refers to a renamed one differs as well, so it may get a new name, too.
        for _ in range(len(components) + 1):
            found: dict[str, str] = {}
            for name, schema in components.items():
                renamed = _renamed(schema, names)
                found[name] = next(
                    one
                    for one in _candidates(name, suffix)
                    if one not in found.values() and self.components.get(one, renamed) == renamed
                )
            names = found
        return names


def _candidates(name: str, suffix: str) -> Iterator[str]:
    short = name.rpartition(".")[2]
    yield short
    if suffix:
        yield f"{short}{suffix}"
    yield from (f"{short}{suffix}{number}" for number in count(2))


def _key(kind: Any) -> Any:
    """A hashable key of a type: not all annotated types are."""
    return kind if isinstance(kind, type) else repr(kind)


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    """A schema that refers to components by other names."""
    if isinstance(schema, list):
        return [_renamed(one, names) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _REFERENCE.format(name=names[value.rpartition("/")[2]])
        if key == "$ref" and isinstance(value, str)
        else _renamed(value, names)
        for key, value in schema.items()
    }


def _require_defaults(schema: dict[str, Any]) -> None:
    """Mark members with a default as required, because msgspec always writes them."""
    required = set(schema.get("required", ()))
    required |= {name for name, member in schema["properties"].items() if "default" in member}
    schema["required"] = [name for name in schema["properties"] if name in required]


def readable(schema: Any) -> Any:
    """A schema without features that stop generated clients from compiling.

    Integers have 64 bits, and no bounds outside that range. Defaults are left out, because
    generators make members with a default required, and cannot express ``null``. Enumerations have
    no empty value, and arrays always have ``items``. Decimal numbers have a pattern, because no
    standard defines their format.
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
        case "string" if found.get("format") == "decimal":
            found.setdefault("pattern", f"^{JSON_NUMBER.pattern}$")
    return found
