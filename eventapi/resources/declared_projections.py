"""A declared projection: the read model that a class declares, and its query."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import msgspec

from eventapi.resources import fields as types
from eventapi.resources.actions import check_method, parameters_of
from eventapi.resources.declaration import application_code
from eventapi.resources.declared import kind_of
from eventapi.resources.fingerprints import fingerprint_of_module
from eventapi.resources.projection import Caller, Projection
from eventapi.values.validation import struct_of_texts
from events.errors import ConfigurationError, Invalid
from events.vocabulary.schemas import is_name
from projections.read_models import ReadModel, ReadModels


class DeclaredProjection(msgspec.Struct, frozen=True, eq=False):
    """A projection as its class declares it.

    ``model`` is the read model of a State, ``parameters`` the Struct of the query's parameters, and
    ``result`` the annotation of what the query returns.
    """

    cls: type[Projection]
    model: ReadModel
    summary: str
    description: str
    parameters: type[msgspec.Struct]
    result: Any

    @property
    def name(self) -> str:
        """The name in the path."""
        return self.model.name

    def parse(self, texts: dict[str, str]) -> msgspec.Struct:
        """The parameters of a query string; raises `Invalid` with every fault."""
        try:
            return struct_of_texts(texts, self.parameters)
        except Invalid as error:
            faults = (msgspec.structs.replace(fault, where="query") for fault in error.faults)
            raise Invalid(*faults) from None

    def answer(self, read_models: ReadModels, caller: Caller, parameters: msgspec.Struct) -> Any:
        """What the query returns, from the read models of a State.

        Raises `ProjectionFailed`, `ApplicationFailed`, and a `Refusal` that the query raises.
        """
        values = {name: getattr(parameters, name) for name in parameters.__struct_fields__}
        fold = read_models[self.name]
        with application_code(f"the query of the projection {self.name!r}"):
            return fold.query(caller, **values)


def declare_projection(cls: type[Projection]) -> DeclaredProjection:
    """Check a class, and derive its read model; raises `ConfigurationError`."""
    try:
        return _declared(cls)
    except (types.TypeFault, TypeError) as fault:
        raise ConfigurationError(f"{cls.__name__}: {fault}") from None


def _declared(cls: type[Projection]) -> DeclaredProjection:
    name: Any = cls.name or kind_of(cls)
    if not isinstance(name, str) or not is_name(name):
        raise types.TypeFault(
            f"name = {name!r} is not possible; use lower-case letters, digits and _"
        )
    for method, given in (("apply", "self, event"), ("query", "self, caller")):
        if getattr(cls, method) is getattr(Projection, method):
            raise types.TypeFault(f"it has no method {method!r}; add one")
        check_method(method, inspect.getattr_static(cls, method), given)
        if inspect.iscoroutinefunction(getattr(cls, method)):
            raise types.TypeFault(f"{method}: it cannot be async; write `def {method}`")
    parameters = parameters_of(cls.query, "query", f"{cls.__name__}Query", before=2)
    for one in msgspec.structs.fields(parameters):
        if one.name == "as_of":
            raise types.TypeFault("query: as_of: every query has this already; use another name")
        if not types.hashable(types.plain(one.type)):
            raise types.TypeFault(
                f"query: {one.name}: a query string cannot have a list, dict or Struct; "
                "use another type"
            )
    text = inspect.cleandoc(cls.__doc__ or "") if cls.__doc__ != Projection.__doc__ else ""
    return DeclaredProjection(
        cls,
        _model(cls, name),
        text.partition("\n")[0].rstrip(".") or f"Query {name.replace('_', ' ')}",
        text,
        parameters,
        _result(cls),
    )


def _result(cls: type[Projection]) -> Any:
    """The annotation of what a query returns; any if it names an unknown class."""
    try:
        return typing.get_type_hints(cls.query, include_extras=True).get("return", Any)
    except NameError:
        return Any


def _model(cls: type[Projection], name: str) -> ReadModel:
    """The read model of a class; its folds start with a copy of the declared state."""
    declared = inspect.getattr_static(cls, "state")
    if declared is None:
        declared = types.hints_of(cls)["state"]
    try:
        start = declared() if isinstance(declared, msgspec.StructMeta) else declared
    except TypeError as fault:
        raise types.TypeFault(f"state: each field needs a default: {fault}") from None
    if not isinstance(start, msgspec.Struct):
        raise types.TypeFault("it needs a state; add `state = Totals()`, with a msgspec Struct")
    kind = type(start)
    try:
        encoded = msgspec.msgpack.encode(start)
        if msgspec.msgpack.decode(encoded, type=kind) != start:
            raise types.TypeFault("state: it is another one after a snapshot; use simple types")
    except (msgspec.MsgspecError, OverflowError) as fault:
        raise types.TypeFault(f"state: a snapshot cannot keep it: {fault}") from None

    def new() -> Projection:
        fold = cls()
        fold.state = msgspec.msgpack.decode(encoded, type=kind)
        return fold

    try:
        new()
    except TypeError as fault:
        raise types.TypeFault(f"__init__: it gets no argument; remove it: {fault}") from None
    return ReadModel(name, new, kind, fingerprint_of_module(cls))
