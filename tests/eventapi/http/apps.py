"""Applications that tests use one after another, because making one takes longer than most tests.

What depends on the settings and the registry only is kept: routes, handlers and documents. All else
is made when an application starts, and ends with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec
from litestar.routes import BaseRoute

from eventapi.app import Application, create_app
from eventapi.bootstrap.storage import Overrides
from eventapi.configuration.settings import Settings

KEPT: Final = 8
"""How many stopped applications are kept."""


class Reusable(msgspec.Struct, eq=False):
    """An application, and the parts that it starts with."""

    settings: Settings
    parts: Overrides
    app: Application


class Applications:
    """Stopped applications, the last ones to stop."""

    def __init__(self) -> None:
        self._stopped: deque[Reusable] = deque(maxlen=KEPT)

    def take(self, settings: Settings, parts: Overrides) -> Reusable:
        """An application that nobody uses, with these settings and parts."""
        for found in self._stopped:
            if found.settings == settings and found.parts.registry is parts.registry:
                self._stopped.remove(found)
                for name in Overrides.__struct_fields__:
                    msgspec.structs.force_setattr(found.parts, name, getattr(parts, name))
                return found
        own = msgspec.structs.replace(parts)
        return Reusable(settings, own, create_app(settings, own))

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


APPLICATIONS: Final = Applications()
"""Those of this process."""
