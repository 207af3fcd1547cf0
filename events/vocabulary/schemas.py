"""Events about the declaration of a resource. Subject: ``schemas/COLLECTION``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final

import msgspec

from events.record import Event

KIND_PATTERN = r"^[a-z][a-z0-9_]{0,62}$(?!\n)"
"""Names of kinds, collections and actions."""

_NAME: Final = re.compile(KIND_PATTERN)

KindName = Annotated[str, msgspec.Meta(pattern=KIND_PATTERN)]


class SchemaDeclared(Event, frozen=True, gc=False):
    """The declaration of a kind, from its next event on.

    ``version`` counts from 1. ``schema`` is the JSON Schema of the content, ``clear`` names the
    fields whose values stay readable, ``unique`` the lists of fields whose values no two resources
    share, and ``actions`` the verbs of the kind beyond those of every kind.
    """

    type: ClassVar[str] = "schema.declared"
    version: Annotated[int, msgspec.Meta(ge=1, le=2**31)]
    kind: KindName
    schema: dict[str, Any]
    clear: Sequence[str]
    unique: Sequence[Any]
    actions: Sequence[KindName]


def is_name(text: str) -> bool:
    """Whether a text is a possible name of a kind, collection, action or projection."""
    return _NAME.search(text) is not None
