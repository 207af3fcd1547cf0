"""Applications that tests use one after another, because making one takes longer than most tests.

What depends on the registry, and on the settings that `create_app` reads, is kept: routes, handlers
and documents. All else is made when an application starts, and ends with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from litestar.routes import BaseRoute

from eventapi.app import Application, create_app
from eventapi.bootstrap.storage import Overrides
from eventapi.configuration.settings import Settings

KEPT: Final = 16
"""How many stopped applications are kept."""


class Observed(Settings, frozen=True):
    """Settings that record which of them are read, if `reads` has a set for them."""

    def __getattribute__(self, name: str) -> Any:
        recorded = reads.get(id(self))
        if recorded is not None:
            recorded.add(name)
        return super().__getattribute__(name)


reads: Final[dict[int, set[str]]] = {}
"""The settings read so far, by the id of an `Observed` that is observed now."""


class Reusable(msgspec.Struct, eq=False):
    """An application, the settings that its routes depend on, and the parts that it starts with."""

    settings: Settings
    depends_on: frozenset[str]
    parts: Overrides
    app: Application

    def serves(self, settings: Settings, parts: Overrides) -> bool:
        """Whether a new application would have the same routes and middleware."""
        return self.parts.registry is parts.registry and all(
            getattr(self.settings, name) == getattr(settings, name) for name in self.depends_on
        )


class Applications:
    """Stopped applications, the last ones to stop."""

    def __init__(self) -> None:
        self._stopped: deque[Reusable] = deque(maxlen=KEPT)

    def take(self, settings: Settings, parts: Overrides) -> Reusable:
        """An application that no test uses, with these settings and parts."""
        for found in self._stopped:
            if found.serves(settings, parts):
                self._stopped.remove(found)
                _assign(found.settings, settings, Settings.__struct_fields__)
                _assign(found.parts, parts, Overrides.__struct_fields__)
                return found
        return _create(settings, parts)

    def give_back(self, reusable: Reusable) -> None:
        """Keep an application that has stopped."""
        reusable.app.started = None
        self._stopped.append(reusable)

    def routes(self, settings: Settings) -> Sequence[BaseRoute]:
        """The routes of an application with these settings, which is kept for the next test."""
        reusable = self.take(settings, Overrides())
        self.give_back(reusable)
        return reusable.app.routes

    def forget(self) -> None:
        """Keep none."""
        self._stopped.clear()


def _create(settings: Settings, parts: Overrides) -> Reusable:
    own, own_parts = Observed(), msgspec.structs.replace(parts)
    _assign(own, settings, Settings.__struct_fields__)
    reads[id(own)] = set()
    try:
        app = create_app(own, own_parts)
    finally:
        read = reads.pop(id(own))
    return Reusable(own, frozenset(read), own_parts, app)


def _assign(target: msgspec.Struct, source: msgspec.Struct, names: Sequence[str]) -> None:
    for name in names:
        msgspec.structs.force_setattr(target, name, getattr(source, name))


APPLICATIONS: Final = Applications()
"""Those of this process."""
