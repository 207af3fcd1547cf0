"""The toolkit for tests of an application: given/when/then for its resources.

`eventapi.testing.strategies` has strategies for Hypothesis, and `eventapi.testing.plugin` the pytest
fixture of a real server.
"""

from eventapi.testing.given import Given, Happened, When, given, registered
from eventapi.testing.resources import (
    act,
    acted,
    create,
    created,
    delete,
    deleted,
    restore,
    restored,
    share,
    shared,
    unshare,
    unshared,
    update,
    updated,
)

__all__ = [
    "Given",
    "Happened",
    "When",
    "act",
    "acted",
    "create",
    "created",
    "delete",
    "deleted",
    "given",
    "registered",
    "restore",
    "restored",
    "share",
    "shared",
    "unshare",
    "unshared",
    "update",
    "updated",
]
