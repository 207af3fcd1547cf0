"""Faults of a request in version 1: the shape of FastAPI, without secrets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar.types import Scope

from eventapi.http.response import encode
from eventapi.http.urls import is_account
from events.errors import Fault

_SECRET = re.compile("pass|secret|token", re.IGNORECASE)
"""Members whose values a response must not repeat."""

_ACCOUNT_MEMBERS = frozenset({"username", "email", "full_name"})
"""The only members of an account's body that a response may repeat.

The name of any other member may be mistyped, and its value a secret.
"""


class FaultV1(msgspec.Struct, frozen=True):
    """One fault of a request, in the shape of FastAPI; ``input`` is null for secrets."""

    type: str
    loc: list[str | int]
    msg: str
    input: Any


def faults_v1(faults: Sequence[Fault], scope: Scope) -> list[FaultV1]:
    """The faults of a request, whose body is in the scope, in the shape of FastAPI."""
    # Decoded once: each fault of a long body would take as long as all of them.
    documents = {where: _document(where, scope) for where in {one.where for one in faults}}
    return [_fault_v1(fault, *documents[fault.where]) for fault in faults]


def _fault_v1(fault: Fault, document: Any, shown: Any) -> FaultV1:
    """A fault in a document, of which a response may repeat what is ``shown``."""
    steps = _steps(fault, document)
    found = _input(fault, steps, shown)
    return FaultV1(fault.kind, [fault.where, *steps], fault.detail, found)


def _document(where: str, scope: Any) -> tuple[Any, Any]:
    """The query or the body of a request, and what of it a response may repeat.

    Both are ``None`` if it cannot be decoded.
    """
    document = None
    try:
        if where == "query":
            document = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        elif where == "body":
            document = msgspec.json.decode(scope.get("received", b""))
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    if where != "body" or not is_account(scope["path"]):
        return document, document
    if not isinstance(document, dict):
        return document, None
    return document, {name: one for name, one in document.items() if name in _ACCOUNT_MEMBERS}


def _steps(fault: Fault, document: Any) -> Sequence[str | int]:
    """The steps of a fault's pointer: names of members, and indexes of elements."""
    steps: list[str | int] = []
    for text in fault.pointer.split("/")[1:]:
        step: str | int = _unescaped(text)
        if isinstance(document, list) and text.isdecimal():
            step = int(text)
        steps.append(step)
        try:
            document = document[step]
        except (LookupError, TypeError):
            document = None
    return steps


def _input(fault: Fault, steps: Sequence[str | int], document: Any) -> Any:
    """The value at fault in a document, or the object that lacks a member.

    ``None`` if it cannot be found or may be a secret.
    """
    if fault.kind == "missing":
        steps = steps[:-1]
    elif any(isinstance(step, str) and _SECRET.search(step) for step in steps):
        return None
    if document is None:
        return None
    try:
        for step in steps:
            document = document[step]
        return msgspec.Raw(encode(_without_secrets(document)))
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return None


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_secrets(one) for name, one in value.items() if not _SECRET.search(name)
        }
    return [_without_secrets(one) for one in value] if isinstance(value, list) else value


def _unescaped(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")
