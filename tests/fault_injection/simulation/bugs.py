"""What planted bugs are made of: context managers that replace a part of the real code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from unittest import mock

Bug = Callable[[], AbstractContextManager[object]]


def instead(place: object, name: str, value: object) -> Bug:
    """A bug that replaces an attribute."""
    return lambda: mock.patch.object(place, name, value)


def nothing(*_: object, **__: object) -> None:
    """Replaces a call that is left out."""
