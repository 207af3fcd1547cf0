"""Garbage collection while an app starts, and while it serves."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from eventapi.bootstrap.process import freeze_gc
from events.io.garbage import pause_gc
from tests.eventapi.http.apps import APPLICATIONS
from tests.eventapi.http.client import Api


@pytest.fixture(autouse=True)
def unfreeze() -> None:
    gc.unfreeze()
    freeze_gc.cache_clear()


@pytest.fixture
def paused() -> Iterator[None]:
    """Collection is paused, as by the server, and has Python's threshold."""
    threshold = gc.get_threshold()
    gc.set_threshold(700, *threshold[1:])
    with pause_gc():
        yield
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("paused")
def test_each_app_collects_once_it_serves_but_seldom() -> None:
    with Api():
        assert gc.isenabled()
    gc.disable()
    with Api():  # Also one that freezes nothing, because it is not the first.
        assert gc.isenabled()
        assert gc.get_threshold()[0] >= 10_000


def test_objects_of_the_start_are_frozen_for_the_collector() -> None:
    with Api():
        assert gc.get_freeze_count() > 10_000


def test_an_ended_app_is_collected_although_another_one_starts() -> None:
    with Api():
        frozen = gc.get_freeze_count()
    APPLICATIONS.forget()
    with Api() as second:
        app = weakref.ref(second.edge)
    del second
    APPLICATIONS.forget()
    with Api():
        assert gc.get_freeze_count() <= frozen
        gc.collect()
        assert app() is None
