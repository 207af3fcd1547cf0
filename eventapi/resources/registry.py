"""The registry of one application: its resources, with the built-in one."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Final

from eventapi.resources.declaration import Resource
from eventapi.resources.declared import Declared, declare
from eventapi.resources.items import Item
from events.errors import ConfigurationError
from events.vocabulary.vocabulary import Vocabulary

_ITEM: Final = declare(Item, built_in=True)
"""The same in every registry, so that events about items are equal in all of them."""


class Registry:
    """The resources of an application, by collection, and the vocabulary of its log."""

    def __init__(self, classes: Iterable[type[Resource]] = ()) -> None:
        """Declare the classes beside `Item`; raises `ConfigurationError`."""
        self.item = _ITEM
        self.resources: Sequence[Declared] = (self.item, *(declare(one) for one in classes))
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
        self.vocabulary = Vocabulary(one.type for one in self.resources)


@lru_cache(16)
def load_registry(modules: Sequence[str]) -> Registry:
    """The registry of the classes in some modules; raises `ConfigurationError`.

    The working directory is searched as well. A class belongs to the module that defines it.
    """
    classes: list[type[Resource]] = []
    for name in modules:
        module = _imported(name)
        found = [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, Resource)
            and value is not Resource
            and value.__module__ == module.__name__
        ]
        if not found:
            raise ConfigurationError(f"the module {name!r} declares no subclass of Resource")
        classes += found
    return Registry(classes)


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
    except Exception as error:
        raise ConfigurationError(
            f"the module {name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
