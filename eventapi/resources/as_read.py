"""Values as a replay reads them from the log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from eventapi.values.validation import explain
from events.errors import Invalid
from events.vocabulary.resources import Field


def in_utc(value: Any) -> Any:
    """A value with all times in it in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, list):
        return [in_utc(one) for one in value]
    if isinstance(value, dict):
        return {name: in_utc(one) for name, one in value.items()}
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
        return msgspec.structs.replace(
            value, **{name: in_utc(getattr(value, name)) for name in names}
        )
    return value


def as_read(field: Field, value: msgspec.Raw) -> Any:
    """A value as a replay reads it from the log; raises `Invalid`."""
    try:
        return msgspec.json.decode(value, type=field.type)
    except msgspec.ValidationError as error:
        fault = explain(error, field.type)
        raise Invalid(replace(fault, pointer=f"/{field.name}{fault.pointer}")) from None
