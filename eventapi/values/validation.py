"""Check input against a type, and report every fault, at any depth, up to a limit.

msgspec reports only the first fault, so the parts of a refused value are checked one by one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

import msgspec

from eventapi.values.explanations import (
    CHECK,
    NOUNS,
    explain,
    extras_of,
    pointer_of,
    type_info,
    unknown_member,
)
from eventapi.values.texts import JSON_NUMBER, value_of_text
from events.errors import Fault, Invalid

S = TypeVar("S", bound=msgspec.Struct)

Check = Callable[[Any], str | None]
Convert = Callable[..., Any]
"""A function of a value and its ``type``, as `msgspec.convert` is."""

_PIECES: Final = 16
"""Into so many pieces a list with faults is divided to find them."""

MAX_FAULTS: Final = 1_000
"""Faults of one input that are reported.

Each takes up to a quarter of a millisecond to find, during which no other request runs, and a body
has room for hundreds of thousands.
"""

MAX_FAULT_CHARACTERS: Final = 262_144
"""Characters of all faults together: the name of a member is in the pointer of each one below it."""


def faults_of(
    value: Mapping[str, Any], kind: type[msgspec.Struct], *, is_text: bool = False
) -> list[Fault]:
    """The faults of the members of a decoded object; ``kind`` is a Struct.

    With ``is_text`` the members are texts of a query or a form: see `value_of_text`.
    """
    convert = value_of_text if is_text else msgspec.convert
    return first_faults(_faults(value, kind, convert, is_text))


def first_faults(faults: Iterable[Fault]) -> list[Fault]:
    """The first faults within the limits, and one that says that there are more."""
    found: list[Fault] = []
    size = 0
    for fault in faults:
        size += len(fault.pointer) + len(fault.detail)
        if len(found) >= MAX_FAULTS or (found and size > MAX_FAULT_CHARACTERS):
            found.append(Fault("", "there are more faults than these"))
            break
        found.append(fault)
    return found


def struct_of_texts(texts: Mapping[str, str], kind: type[S]) -> S:
    """A Struct of texts of a query or a form; raises `Invalid` with every fault."""
    faults = faults_of(texts, kind, is_text=True)
    if faults:
        raise Invalid(*faults)
    fields = (field for field in _fields(kind) if field.encode_name in texts)
    return kind(
        **{field.name: value_of_text(texts[field.encode_name], field.type) for field in fields}
    )


def faults_in_json(content: bytes, kind: type[msgspec.Struct]) -> list[Fault]:
    """As `faults_of`, for well-formed JSON."""
    try:
        members = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as error:
        return [explain(error, kind)]
    return first_faults(_faults(members, kind, _from_json, is_text=False))


def _from_json(value: Any, type: Any) -> Any:  # noqa: A002 - as in `msgspec.convert`
    """Decode JSON, or a list or an object whose parts are JSON."""
    content = value if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)
    return msgspec.json.decode(content, type=type)


def _faults(
    members: Mapping[str, Any], kind: type[msgspec.Struct], convert: Convert, is_text: bool
) -> Iterator[Fault]:
    for field in _fields(kind):
        name = field.encode_name
        if name in members:
            inner = _faults_in(members[name], field.type, convert, is_text)
            yield from _below(pointer_of(name), inner)
        elif field.required:
            yield Fault(pointer_of(name), "is required", "missing")
    if kind.__struct_config__.forbid_unknown_fields:
        known = {field.encode_name for field in _fields(kind)}
        yield from (unknown_member(name) for name in members if name not in known)


def failed_checks(value: msgspec.Struct) -> list[Fault]:
    """The faults that the `CHECK` functions of a Struct's types find."""
    found = []
    for name, encode_name, check in _checks(type(value)):
        detail = _checked(check, getattr(value, name))
        if detail is not None:
            found.append(Fault(pointer_of(encode_name), detail))
    return found


def _faults_in(value: Any, hint: Any, convert: Convert, is_text: bool) -> Iterator[Fault]:
    """The faults of a value, with pointers into it."""
    try:
        converted = _converted(value, hint, convert)
    except msgspec.ValidationError as error:
        found = _faults_within(value, hint, convert, is_text)
        first = next(found, None)
        if first is None and has_decimal(hint) and _is_number(value, hint):
            first = Fault("", f"must be {NOUNS['decimal']}, not a number", "decimal_type")
        yield first or explain(error, hint, is_text=is_text)
        yield from found
        return
    for check in extras_of(type_info(hint), CHECK):
        detail = _checked(check, converted)
        if detail is not None:
            yield Fault("", detail)


def _converted(value: Any, hint: Any, convert: Convert) -> Any:
    """A value as one of a type; raises `msgspec.ValidationError`."""
    found = convert(value, type=hint)
    if has_decimal(hint) and not _decimals_are_texts(
        found, _decode(msgspec.json.encode(value).decode())
    ):
        raise msgspec.ValidationError("Invalid decimal string")
    return found


_decode: Final = json.JSONDecoder(parse_int=float).decode
"""A number of any length stays one, and no text."""


def _decimals_are_texts(value: Any, plain: Any) -> bool:
    """Whether the decimal numbers in a value are texts of the right form in JSON.

    ``plain`` is the decoded JSON. msgspec reads decimal numbers from JSON numbers, too.
    """
    if isinstance(value, Decimal):
        return isinstance(plain, str) and JSON_NUMBER.fullmatch(plain) is not None
    if isinstance(value, list | tuple):
        return all(map(_decimals_are_texts, value, plain))
    if isinstance(value, dict):
        return all(_decimals_are_texts(one, plain[name]) for name, one in value.items())
    if isinstance(value, msgspec.Struct):
        return all(
            _decimals_are_texts(getattr(value, name), plain[place])
            for name, place in _decimal_fields(type(value))
            if (place < len(plain) if isinstance(plain, list) else place in plain)
        )
    return True


@cache
def _decimal_fields(kind: type[msgspec.Struct]) -> Sequence[tuple[str, Any]]:
    """The names of the fields that have decimal numbers, and where they are in JSON."""
    config = kind.__struct_config__
    places = enumerate(
        _fields(kind), 0 if config.tag is None else 1
    )  # The tag is the first element.
    return [
        (field.name, at if config.array_like else field.encode_name)
        for at, field in places
        if has_decimal(field.type)
    ]


def _faults_within(value: Any, hint: Any, convert: Convert, is_text: bool) -> Iterator[Fault]:
    """The faults inside an object or list, if the type has one kind of them."""
    parts = _opened(value)
    kinds = [
        one
        for one in _alternatives(hint)
        if _has_parts(one[0]) and (get_origin(one[0]) in {list, tuple}) == isinstance(parts, list)
    ]
    if parts is None or len(kinds) != 1:
        return
    kind, limits = kinds[0]
    arguments, is_struct = get_args(kind), get_origin(kind) is None
    if limits and not (isinstance(parts, dict) and is_struct):
        yield from _faults_of_size(parts, limits)
    if isinstance(parts, list) and arguments and get_origin(kind) in {list, tuple}:
        for index, part in _faulty([*enumerate(parts)], kind, convert):
            yield from _below(f"/{index}", _faults_in(part, arguments[0], convert, is_text))
    elif isinstance(parts, dict) and get_origin(kind) is dict:
        for name, part in _faulty([*parts.items()], kind, convert):
            yield from _below(pointer_of(name), _faults_of_name(name, arguments[0]))
            yield from _below(pointer_of(name), _faults_in(part, arguments[1], convert, is_text))
    elif isinstance(parts, dict) and is_struct:
        yield from _faults(parts, kind, convert, is_text)


def _faulty(places: Sequence[Any], kind: Any, convert: Convert) -> Iterator[Any]:
    """The places of a list or an object, each with its part, whose parts have faults.

    ``kind`` is the type of the whole. Pieces without a fault are checked at once, because a check of
    each part takes twenty times as long.
    """
    if len(places) <= 1:
        yield from places
        return
    size = -(-len(places) // _PIECES)
    for start in range(0, len(places), size):
        piece = places[start : start + size]
        try:
            is_object = get_origin(kind) is dict
            _converted(dict(piece) if is_object else [part for _, part in piece], kind, convert)
        except msgspec.ValidationError:
            yield from _faulty(piece, kind, convert)


def _faults_of_size(parts: Any, limits: Sequence[msgspec.Meta]) -> Iterator[Fault]:
    """The fault of a list or an object that is too short or too long."""
    empty: Any = [None] * len(parts) if isinstance(parts, list) else dict.fromkeys(parts)
    kind: Any = list[Any] if isinstance(parts, list) else dict[str, Any]
    try:
        msgspec.convert(empty, Annotated[(kind, *limits)])
    except msgspec.ValidationError as error:
        yield explain(error, kind)


def _faults_of_name(name: str, hint: Any) -> Iterator[Fault]:
    try:
        msgspec.convert(name, type=hint)
    except msgspec.ValidationError as error:
        fault = explain(error, hint)
        yield Fault("", f"has a name that {fault.detail}", fault.kind)


def _below(pointer: str, faults: Iterable[Fault]) -> Iterator[Fault]:
    """Faults of a part of a value as those of the whole."""
    for fault in faults:
        yield Fault(pointer + fault.pointer, fault.detail, fault.kind)


def _opened(value: Any) -> Any:
    """The members of an object or the elements of a list; ``None`` for other values."""
    if not isinstance(value, msgspec.Raw):
        return value if isinstance(value, list | dict) else None
    kinds: Mapping[bytes, Any] = {b"{": dict[str, msgspec.Raw], b"[": list[msgspec.Raw]}
    kind = kinds.get(bytes(value)[:1])
    return None if kind is None else msgspec.json.decode(value, type=kind)


def _has_parts(kind: Any) -> bool:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return not kind.__struct_config__.array_like
    return get_origin(kind) in {list, tuple, dict}


def _alternatives(
    hint: Any, limits: Sequence[msgspec.Meta] = ()
) -> Iterator[tuple[Any, Sequence[msgspec.Meta]]]:
    """The types of a union, or the one type, each with its limits."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        metas = [one for one in hint.__metadata__ if isinstance(one, msgspec.Meta)]
        yield from _alternatives(arguments[0], (*limits, *metas))
    elif origin in {Union, UnionType}:
        for one in arguments:
            yield from _alternatives(one, limits)
    else:
        yield hint, limits


@cache
def has_decimal(hint: Any) -> bool:
    """Whether values of a type may have decimal numbers.

    msgspec reads them from JSON numbers, too, so they are checked one by one.
    """
    return _has_decimal(hint, frozenset())


def _has_decimal(hint: Any, seen: frozenset[Any]) -> bool:
    for kind, _ in _alternatives(hint):
        inner: Iterable[Any] = get_args(kind) if get_origin(kind) in {list, dict} else ()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in seen:
            inner = [field.type for field in _fields(kind)]
        if kind is Decimal or any(_has_decimal(one, seen | {kind}) for one in inner):
            return True
    return False


def _is_number(value: Any, hint: Any) -> bool:
    """Whether a value is a number in JSON, where a type has only decimal ones."""
    if any(kind in {int, float} for kind, _ in _alternatives(hint)):
        return False
    if isinstance(value, msgspec.Raw):
        return bytes(value)[:1] in b"-0123456789"
    return type(value) in {int, float}


def _checked(check: Check, value: Any) -> str | None:
    return None if value is None or value is msgspec.UNSET else check(value)


@cache
def _fields(kind: type[msgspec.Struct]) -> Sequence[msgspec.structs.FieldInfo]:
    """The members of a kind; cached, because msgspec computes them at every call."""
    return msgspec.structs.fields(kind)


@cache
def _checks(kind: type[msgspec.Struct]) -> Sequence[tuple[str, str, Check]]:
    return [
        (field.name, field.encode_name, check)
        for field in _fields(kind)
        for check in extras_of(type_info(field.type), CHECK)
    ]
