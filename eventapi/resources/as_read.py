"""Values as a replay reads them from the log, and as responses show them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from eventapi.values.explanations import explain
from eventapi.values.times import time_text
from events.errors import Invalid
from events.vocabulary.resources import Field


def in_utc(value: Any) -> Any:
    """A value with all times in it in UTC."""
    return _with_times(value, lambda moment: moment.astimezone(UTC))


def as_shown(value: Any) -> Any:
    """A value with all times in it as texts of responses.

    msgspec would leave out the microseconds if they are zero, and keep another offset. A time
    without an offset stays as it is.
    """
    return _with_times(value, lambda moment: time_text(moment) if moment.tzinfo else moment)


def _with_times(value: Any, change: Callable[[datetime], Any]) -> Any:
    """A value in which each time is replaced by what a function makes of it."""
    if isinstance(value, datetime):
        return change(value)
    if isinstance(value, list | tuple):
        return [_with_times(one, change) for one in value]
    if isinstance(value, dict):
        return {name: _with_times(one, change) for name, one in value.items()}
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
        return replace(value, **{name: _with_times(getattr(value, name), change) for name in names})
    return value


def as_read(field: Field, value: bytes) -> Any:
    """A value as a replay reads it from the log; raises `Invalid`."""
    try:
        return msgspec.json.decode(value, type=field.type)
    except msgspec.ValidationError as error:
        fault = explain(error, field.type)
        raise Invalid(replace(fault, pointer=f"/{field.name}{fault.pointer}")) from None
