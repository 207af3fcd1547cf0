"""Fingerprints of the code of declarations: a snapshot of other code is not used."""

from __future__ import annotations

import ast
import inspect
import re
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import msgspec

from eventapi.resources.projection import Projection


def fingerprint_of_module(cls: type) -> str:
    """The SHA-256 of the file that declares a class, and of the class's name.

    A change in another module that this one imports goes unnoticed.
    """
    return _fingerprint(cls, _source(cls))


def fingerprint_of_resource(cls: type) -> str:
    """As `fingerprint_of_module`, without the projections of the same module.

    So a changed projection makes only its own part of a snapshot stale.
    """
    module, source = inspect.getmodule(cls), _source(cls)
    if module is not None:
        source = _without(_names_of_projections(module), source)
    return _fingerprint(cls, source)


def _source(cls: type) -> bytes:
    try:
        place = inspect.getsourcefile(cls)
    except TypeError:  # Its module is not a file.
        place = None
    return Path(place).read_bytes() if place and Path(place).is_file() else b""


def _fingerprint(cls: type, source: bytes) -> str:
    return sha256(f"{cls.__module__}.{cls.__qualname__}".encode() + b"\0" + source).hexdigest()


def _names_of_projections(module: ModuleType) -> set[str]:
    """The names of the projections of a module, and of the types of their states."""
    names = set()
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Projection):
            state = inspect.getattr_static(value, "state")
            kind = state if isinstance(state, type) else type(state)
            names |= {
                one.__name__
                for one in (value, kind)
                if one.__module__ == module.__name__
                and issubclass(one, Projection | msgspec.Struct)
            }
    return names


def _without(names: set[str], source: bytes) -> bytes:
    """Source code without these classes; whole if other code uses one of them."""
    if not names:
        return source
    lines = source.splitlines(keepends=True)
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name in names:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            for number in range(first - 1, node.end_lineno or first):
                lines[number] = b""
    rest = b"".join(lines)
    used = rb"\b(?:%s)\b" % b"|".join(re.escape(name).encode() for name in sorted(names))
    return source if re.search(used, rest) else rest
