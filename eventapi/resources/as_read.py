"""Values as a replay reads them from the log, and as responses show them."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from eventapi.values.explanations import explain
from eventapi.values.times import time_text
from events.errors import Invalid
from events.vocabulary.resources import Field

_TIME: Final = re.compile(rb'"[0-9]{4}-[0-9]{2}-[0-9]{2}T')
"""The beginning of a time in JSON."""


def in_utc(value: Any) -> Any:
    """A value with all times in it in UTC."""
    return _with_times(value, lambda moment: moment.astimezone(UTC))


def as_shown(value: Any) -> Any:
    """A value with all times in it as texts of responses.

    msgspec would leave out the microseconds if they are zero.
    """
    return _with_times(value, time_text)


def encode_shown(value: Any) -> bytes:
    """Anything that msgspec encodes, as JSON with times in UTC, with microseconds.

    A time without an offset, or one that is in no year of UTC, stays as it is.
    """
    content = msgspec.json.encode(value)
    if not _TIME.search(content):
        return content  # Looking at each value takes thirty times as long.
    plain = msgspec.to_builtins(
        value, builtin_types=(datetime,), str_keys=True, enc_hook=_decode_raw
    )
    return msgspec.json.encode(_with_times(plain, _in_utc_if_possible))


def _decode_raw(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    raise NotImplementedError


def _in_utc_if_possible(moment: datetime) -> Any:
    with suppress(OverflowError):
        return time_text(moment) if moment.tzinfo else moment
    return moment


def _with_times(value: Any, change: Callable[[datetime], Any]) -> Any:
    """A value in which each time is replaced by what a function makes of it."""
    if isinstance(value, datetime):
        return change(value)
    if isinstance(value, list):
        return [_with_times(one, change) for one in value]
    if isinstance(value, tuple):
        return tuple(_with_times(one, change) for one in value)
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
