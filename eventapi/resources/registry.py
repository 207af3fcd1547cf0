"""The registry of one application: its resources and its projections."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from eventapi.resources.access import NO_ROLES
from eventapi.resources.declaration import Resource
from eventapi.resources.declared import Declared, declare
from eventapi.resources.declared_projections import DeclaredProjection, declare_projection
from eventapi.resources.items import Item
from eventapi.resources.projection import Projection
from events.errors import ConfigurationError
from events.vocabulary.users import BUILT_IN_ROLES
from projections.read_models import ApplicationVocabulary

Declaration = type[Resource] | type[Projection]


class Registry:
    """The resources and projections of an application, and the vocabulary of its log."""

    def __init__(self, classes: Iterable[Declaration] = ()) -> None:
        """Declare the classes beside `Item`; raises `ConfigurationError`."""
        classes = list(classes)
        resources = [declare(one) for one in classes if issubclass(one, Resource)]
        self.item = declare(Item)
        self.resources: Sequence[Declared] = (self.item, *resources)
        self.by_collection: dict[str, Declared] = {}
        kinds: dict[str, Declared] = {}
        for one in self.resources:
            for other in (self.by_collection.get(one.collection), kinds.get(one.kind)):
                if other is not None:
                    raise ConfigurationError(
                        f"{one.cls.__name__}: {other.cls.__name__} has the name "
                        f"{one.collection!r} already; rename the class, and set `collection`"
                    )
            self.by_collection[one.collection] = kinds[one.kind] = one
        self.projections: dict[str, DeclaredProjection] = {}
        for cls in classes:
            if issubclass(cls, Projection):
                self._add_projection(declare_projection(cls))
        self.vocabulary = ApplicationVocabulary(
            (one.type for one in self.resources),
            (one.model for one in self.projections.values()),
        )

    def _add_projection(self, projection: DeclaredProjection) -> None:
        other = self.projections.setdefault(projection.name, projection)
        if other is not projection:
            raise ConfigurationError(
                f"{projection.cls.__name__}: {other.cls.__name__} has the name "
                f"{projection.name!r} already; set `name`"
            )

    @property
    def roles(self) -> frozenset[str]:
        """The built-in roles, and those that the access of a resource names."""
        named = {
            role
            for one in self.resources
            for role in (one.access.read, one.access.write)
            if role not in NO_ROLES
        }
        return frozenset(named.union(BUILT_IN_ROLES))


@lru_cache(16)
def load_registry(modules: Sequence[str]) -> Registry:
    """The registry of the classes in some modules; raises `ConfigurationError`.

    The working directory is searched as well. A class belongs to the module that defines it. If
    a package defines no class itself, the classes that it imports from its own modules count.
    """
    classes: list[Declaration] = []
    for name in dict.fromkeys(modules):
        module = _imported(name)
        found = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, Resource | Projection)
        ]
        own = [one for one in found if one.__module__ == module.__name__]
        found = own or [one for one in found if one.__module__.startswith(f"{module.__name__}.")]
        if not found:
            raise ConfigurationError(
                f"the module {name!r} declares no subclass of Resource or Projection"
            )
        classes += found
    return Registry(dict.fromkeys(classes))  # A second name of a class declares nothing.


def _imported(name: str) -> ModuleType:
    if "" not in sys.path and "." not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name and not name.startswith(f"{error.name}."):
            raise ConfigurationError(
                f"the module {name!r} imports {error.name!r}, which is not there"
            ) from None
        raise ConfigurationError(
            f"there is no module {name!r}; name a Python file without .py, in the working directory"
        ) from None
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"the module {name!r} cannot be imported: {type(error).__name__}: {error}{_place(name, error)}"
        ) from error


def _place(name: str, error: BaseException) -> str:
    """The line of a module at which its import failed, and the class around it."""
    stem = name.rpartition(".")[2]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if stem in {path.stem, path.parent.name}:
            inside = f", in {frame.name}" if frame.name.isidentifier() else ""
            return f" ({path.name}, line {frame.lineno}{inside})"
    return ""  # A syntax error names its line itself.
