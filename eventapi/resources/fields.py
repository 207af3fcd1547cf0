"""The types of fields: those that are allowed, with limits and without.

A field has two types. Input is decoded with the strict one: the declared type with the limits that
apply to every text and number. Events are decoded with the plain one, without any limit, because a
limit may be looser or tighter than it was when an event was written. Both are as deep as Structs
are nested. An action gets the declared Structs.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import types
import typing
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from math import inf, nextafter
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta, inspect

from eventapi.resources.declaration import ClearMarker, Resource
from eventapi.values.rules import PLAIN_TEXT, Rules

MAX_TEXT: Final = 5_000
"""Characters of a text without a limit of its own."""

INT64: Final = Meta(ge=-(2**63), le=2**63 - 1)
_ZONE: Final = Meta(tz=True)

_SCALARS: Final = (
    *(bool, int, float, str, decimal.Decimal, uuid.UUID),
    *(dt.date, dt.datetime, types.NoneType),
)
_SAME: Final = frozenset({bool, int, str, dt.date, uuid.UUID, types.NoneType})
_ALLOWED: Final = (
    "bool, int, float, str, Decimal, date, datetime, UUID, Enum, Literal, list, dict with str keys, "
    "a msgspec Struct, or one of them with None"
)

_NUMBERS: Final = (inspect.IntType, inspect.FloatType)
_SIZED: Final = (inspect.StrType, inspect.ListType, inspect.DictType)

DECLARED: Final = "__declared__"
"""The class member of a Struct with other limits that has the declared one."""

NO_CODE: Final = (
    "__post_init__: it is not possible, because a replay runs no code; limit the fields with Meta, "
    "and remove it"
)


class TypeFault(ValueError):
    """A type that a field cannot have; the text is the end of a sentence."""


def is_clear(hint: Any) -> bool:
    """Whether the type of a field is marked as `Clear`."""
    return ClearMarker in getattr(hint, "__metadata__", ())


def plain(hint: Any) -> Any:
    """A type without limits; raises `TypeFault` if a field cannot have it."""
    return _mapped(hint, _no_limits, frozenset())


def strict(hint: Any) -> Any:
    """A type with the limits of every text and number; raises `TypeFault`."""
    return _mapped(hint, _with_limits, frozenset())


def shown(hint: Any) -> Any:
    """A plain type as responses have it: its times are RFC 3339, which a schema says."""
    return _mapped(hint, _with_zone, frozenset())


def strict_of(name: str, hint: Any) -> Any:
    """As `strict`, also for types that msgspec refuses; faults begin with the name."""
    try:
        found = strict(hint)
        msgspec.json.Decoder(found)
        _check_limits(inspect.type_info(found))
    except TypeFault as fault:
        raise TypeFault(f"{name}: {fault}") from None
    except (TypeError, ValueError) as error:
        raise TypeFault(f"{name}: {error}; use another type or limit") from None
    return found


def check_default(name: str, hint: Any, default: Any) -> None:
    """Raise `TypeFault` if a default is no value of its strict type."""
    rules = Rules(msgspec.defstruct("One", [("value", hint)]))
    try:
        faults = [fault.detail for fault in rules.faults({"value": default})]
    except TypeError:
        faults = ["is no value of JSON"]
    for detail in faults:
        raise TypeFault(f"{name}: the default {detail}; change the default or the type")


def _check_limits(info: inspect.Type) -> None:
    """Raise `TypeFault` if no value can obey the limits of a type."""
    least, most = _range_of(info)
    if least is not None and most is not None and least > most:
        size = "" if isinstance(info, _NUMBERS) else "a length of "
        raise TypeFault(f"no value can have {size}at least {least} and at most {most}; change Meta")
    if isinstance(info, inspect.Metadata):
        _check_limits(info.type)
    elif isinstance(info, inspect.UnionType):
        _check_alternatives(info)
    elif isinstance(info, inspect.ListType):
        _check_limits(info.item_type)
    elif isinstance(info, inspect.DictType):
        _check_limits(info.key_type)
        _check_limits(info.value_type)
    elif isinstance(info, inspect.StructType):
        for field in info.fields:
            try:
                _check_limits(field.type)
            except TypeFault as fault:
                raise TypeFault(f"{field.name}: {fault}") from None


def _check_alternatives(info: inspect.UnionType) -> None:
    """Raise `TypeFault` if no value can obey the limits of any type of a union."""
    faults = []
    for one in info.types:
        try:
            _check_limits(one)
        except TypeFault as fault:
            faults.append(fault)
    if len(faults) == len(info.types):
        raise faults[0]


def _range_of(info: inspect.Type) -> tuple[float | None, float | None]:
    """The least and the greatest number, or size, that the limits of a type allow."""
    if isinstance(info, _NUMBERS):
        is_whole = isinstance(info, inspect.IntType)
        least, most = info.ge, info.le
        if info.gt is not None:
            least = info.gt + 1 if is_whole else nextafter(info.gt, inf)
        if info.lt is not None:
            most = info.lt - 1 if is_whole else nextafter(info.lt, -inf)
        return least, most
    if isinstance(info, _SIZED):
        return info.min_length, info.max_length
    return None, None


def _no_limits(scalar: Any, _: Sequence[Meta]) -> Any:
    return scalar


def _with_limits(scalar: Any, limits: Sequence[Meta]) -> Any:
    if scalar is str:
        if not any(limit.pattern for limit in limits):
            limits = [*limits, PLAIN_TEXT]
        if not any(limit.max_length for limit in limits):
            limits = [*limits, Meta(max_length=MAX_TEXT)]
    elif scalar is int:
        limits = [*limits, *_int_limits(limits)]
    elif scalar is dt.datetime:
        limits = [*limits, _ZONE]
    return Annotated[(scalar, *limits)] if limits else scalar


def _with_zone(scalar: Any, _: Sequence[Meta]) -> Any:
    return Annotated[dt.datetime, _ZONE] if scalar is dt.datetime else scalar


def _limited_by(hint: Any, limits: Sequence[Meta]) -> Any:
    """A member of a union with the limits around the union."""
    return Annotated[(hint, *limits)] if limits else hint


def _int_limits(limits: Sequence[Meta]) -> Iterator[Meta]:
    if not any(limit.ge is not None or limit.gt is not None for limit in limits):
        yield Meta(ge=INT64.ge)
    if not any(limit.le is not None or limit.lt is not None for limit in limits):
        yield Meta(le=INT64.le)


def _mapped(hint: Any, scalar: Any, seen: frozenset[type]) -> Any:
    """A type whose scalars are mapped by a function of the scalar and its limits."""
    limits: list[Meta] = []
    while get_origin(hint) is Annotated:
        hint, *metadata = get_args(hint)
        limits = [one for one in metadata if isinstance(one, Meta)] + limits
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        if any(is_clear(one) for one in arguments):
            raise TypeFault("Clear is around the whole type: Clear[... | None]")
        inner = [one if one is types.NoneType else _limited_by(one, limits) for one in arguments]
        mapped: Any = Union[tuple(_mapped(one, scalar, seen) for one in inner)]  # noqa: UP007
        _check_members(get_args(mapped))  # A union in it is a part of it now.
        return mapped
    if origin is Literal:
        _check_literal(arguments)
        return hint
    if hint in {list, dict} or origin in {list, dict}:
        return _container(origin or hint, arguments, scalar, limits, seen)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint
    if isinstance(hint, type) and issubclass(hint, Resource):
        raise TypeFault(f"{hint.__name__} is a resource; use its id, an int")
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _nested(hint, scalar, seen)
    if hint in _SCALARS:
        return scalar(hint, limits)
    name = getattr(hint, "__name__", None) or str(hint)
    raise TypeFault(f"the type {name} is not supported; use {_ALLOWED}")


def _check_members(members: Sequence[Any]) -> None:
    """Raise `TypeFault` for a text beside a list or a dict.

    msgspec 0.22 corrupts memory, and the process is aborted, if the text has a pattern.
    """
    kinds = {_unannotated(one) for one in members}
    kinds = {get_origin(one) or one for one in kinds}
    if str in kinds and kinds & {list, dict}:
        raise TypeFault("a str beside a list or a dict is not possible; use a field for each")


def _unannotated(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _check_literal(values: Sequence[Any]) -> None:
    """Raise `TypeFault` for a value that no JSON value is decoded to."""
    for value in values:
        if isinstance(value, bool):
            raise TypeFault(f"{value} in a Literal is not possible; use bool")
        if not isinstance(value, str | int | types.NoneType):
            raise TypeFault(f"{value!r} in a Literal is not possible; use texts or whole numbers")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise TypeFault(f"{value} in a Literal has more than 64 bits; use a smaller number")


def _container(
    kind: Any, arguments: Sequence[Any], scalar: Any, limits: Sequence[Meta], seen: frozenset[type]
) -> Any:
    if len(arguments) != (1 if kind is list else 2):
        raise TypeFault(f"say what is in the {kind.__name__}, such as {kind.__name__}[...]")
    if kind is dict and _mapped(arguments[0], _no_limits, seen) is not str:
        raise TypeFault("the keys of a dict must be str")
    inner = tuple(_mapped(one, scalar, seen) for one in arguments)
    mapped = kind[inner if kind is dict else inner[0]]
    return Annotated[(mapped, *limits)] if limits and scalar is _with_limits else mapped


def _nested(struct: type[msgspec.Struct], scalar: Any, seen: frozenset[type]) -> Any:
    """A Struct in a field: a subclass with the limits of input, or with none."""
    if struct in seen:
        raise TypeFault(f"{struct.__name__} contains itself; name the type of the inner one")
    if hasattr(struct, "__post_init__"):
        raise TypeFault(f"{struct.__name__}: {NO_CODE}")
    for one in msgspec.structs.fields(struct):
        _mapped(one.type, scalar, seen | {struct})
    return _with_fields(struct, scalar)


@lru_cache(1_024)  # One subclass for all fields, or a JSON Schema would have two of one name.
def _with_fields(struct: type[msgspec.Struct], scalar: Any) -> type[msgspec.Struct]:
    """A subclass of a Struct with mapped scalars; itself if nothing changes."""
    field: Any = msgspec.field
    fields = [
        (
            one.name,
            _mapped(one.type, scalar, frozenset({struct})),
            field(name=one.encode_name, default=one.default, default_factory=one.default_factory),
        )
        for one in msgspec.structs.fields(struct)
    ]
    is_input = scalar is _with_limits
    hints = [one.type for one in msgspec.structs.fields(struct)]
    if not is_input and [hint for _, hint, _ in fields] == hints:
        return struct
    options: dict[str, Any] = {"forbid_unknown_fields": True} if is_input else {}
    return msgspec.defstruct(
        struct.__name__,
        fields,
        bases=(struct,),
        namespace={"__doc__": struct.__doc__, DECLARED: struct},
        module=struct.__module__,
        kw_only=True,
        **options,
    )


def as_declared(value: Any) -> Any:
    """A copy of a value whose Structs are those that the application declares."""
    if isinstance(value, list):
        return [as_declared(one) for one in value]
    if isinstance(value, dict):
        return {name: as_declared(one) for name, one in value.items()}
    if isinstance(value, msgspec.Struct):
        struct: Any = getattr(value, DECLARED, type(value))
        return struct(
            **{name: as_declared(getattr(value, name)) for name in struct.__struct_fields__}
        )
    return value


def same_types(hint: Any) -> frozenset[type]:
    """The classes whose values a replay reads from the log as they are written.

    Values of others change: a float that was an int, a time of another zone, a text that is an enum.
    """
    parts = get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)
    return _SAME.intersection(parts)


def hashable(hint: Any) -> bool:
    """Whether values of a plain type can be compared as unique ones."""
    if get_origin(hint) in {Union, types.UnionType}:
        return all(hashable(one) for one in get_args(hint))
    if get_origin(hint) is Literal or hint in _SCALARS:
        return True
    return isinstance(hint, type) and issubclass(hint, enum.Enum)


def hints_of(kind: Callable[..., Any]) -> dict[str, Any]:
    """The types of a class or of parameters; raises `TypeFault` for a bad annotation."""
    wanted: Any = kind
    if not isinstance(kind, type):
        hints = {name: hint for name, hint in kind.__annotations__.items() if name != "return"}
        wanted = type("Parameters", (), {"__annotations__": hints, "__module__": kind.__module__})
    try:
        return typing.get_type_hints(wanted, include_extras=True)
    except NameError as error:
        raise TypeFault(f"{error}; import it, or define it above the class") from None
    except Exception as error:
        # With postponed annotations, a bad `Meta` is evaluated only here.
        name = _bad_annotation(wanted)
        raise TypeFault(f"{name}: {error}; use another type or limit") from None


def _bad_annotation(cls: type) -> str:
    """The name of the first annotation that cannot be evaluated."""
    for base in cls.__mro__:
        for name, hint in vars(base).get("__annotations__", {}).items():
            namespace = {"__annotations__": {name: hint}, "__module__": base.__module__}
            try:
                typing.get_type_hints(type("One", (), namespace), include_extras=True)
            except Exception:
                return str(name)
    return cls.__name__


def parts_of(hint: Any) -> set[Any]:
    """A plain type and everything in it."""
    return {hint}.union(*map(parts_of, get_args(hint))) if get_origin(hint) else {hint}
