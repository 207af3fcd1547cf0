"""Actions of a declared resource, and the parameters of methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

import msgspec

from eventapi.resources import fields as types
from eventapi.resources.declaration import (
    CLASS_VARIABLES,
    Resource,
    is_action,
    is_shared_default,
)
from events.vocabulary.resources import VERBS
from events.vocabulary.schemas import is_name

RESERVED_ACTIONS: Final = (
    VERBS | CLASS_VARIABLES | {"acted", "events", "history", "restore", "shares"}
)
"""Verbs of the log, names of other paths, and class variables."""


_WRAPPED: Final = ("__func__", "fget", "func")
"""Where static and class methods, properties and partial methods have their function."""

_NO_METHOD: Final = (
    "{name}: it must be a method that gets `{given}`; write `def {name}({given}, ...)`, without a "
    "decorator such as @staticmethod"
)


class Action(msgspec.Struct, frozen=True):
    """An action: ``body`` is the Struct of its parameters, ``call`` the method.

    ``needs_body``: a parameter has no default.
    """

    name: str
    summary: str
    description: str
    body: type[msgspec.Struct]
    call: Callable[..., Any]
    needs_body: bool = False


def actions_of(cls: type[Resource]) -> dict[str, Action]:
    """The actions of a class by name; raises `TypeFault`."""
    found = {}
    for name in dir(cls):
        method = inspect.getattr_static(cls, name)
        if is_action(method):
            found[name] = _action(cls, name, method)
        elif any(is_action(getattr(method, inner, None)) for inner in _WRAPPED):
            raise types.TypeFault(_NO_METHOD.format(name=name, given="self"))
    return found


def _action(cls: type[Resource], name: str, method: Callable[..., Any]) -> Action:
    if name in RESERVED_ACTIONS or not is_name(name):
        raise types.TypeFault(f"{name}: an action cannot have this name; use another one")
    check_method(name, method, "self")
    if inspect.iscoroutinefunction(method):
        raise types.TypeFault(f"{name}: an action cannot wait; remove `async`")
    text = inspect.getdoc(method) or ""
    title = f"{cls.__name__}{''.join(word.capitalize() for word in name.split('_'))}"
    body = parameters_of(method, name, title)
    summary = text.partition("\n")[0].rstrip(".") or f"{name.replace('_', ' ').capitalize()}"
    needs_body = any(field.required for field in msgspec.structs.fields(body))
    return Action(name, summary, text or f"{summary}.", body, method, needs_body)


def check_method(name: str, method: Any, given: str) -> None:
    """Raise `TypeFault` unless a member of a class is a method.

    ``given`` are the names of its positional arguments, as in its definition.
    """
    count = len(given.split(", "))
    is_method = callable(method) and not isinstance(method, staticmethod)
    first = list(inspect.signature(method).parameters.values())[:count] if is_method else []
    by_name = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
    if len(first) < count or not by_name.isdisjoint(one.kind for one in first):
        raise types.TypeFault(_NO_METHOD.format(name=name, given=given))


def parameters_of(
    method: Callable[..., Any], name: str, title: str, *, before: int = 1
) -> type[msgspec.Struct]:
    """A Struct of the keyword parameters of a method, behind ``before`` others.

    Raises `TypeFault` for another parameter, and for a type that a field cannot have.
    """
    members: list[Any] = []
    hints = types.hints_of(method)
    for parameter in list(inspect.signature(method).parameters.values())[before:]:
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.name not in hints:
            raise types.TypeFault(
                f"{name}: {parameter.name} must be a keyword parameter with a type, behind a `*`"
            )
        hint = types.strict_of(f"{name}: {parameter.name}", hints[parameter.name])
        default = parameter.default
        if default is parameter.empty:
            members.append((parameter.name, hint))
            continue
        if is_shared_default(default):
            raise types.TypeFault(
                f"{name}: {parameter.name}: all calls would share the default {default!r}; use None "
                "as the default"
            )
        members.append((parameter.name, hint, default))
    return msgspec.defstruct(
        title,
        members,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
        namespace={"__doc__": f"The parameters of {name}."},
    )
