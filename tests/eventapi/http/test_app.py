"""An app excludes start-up objects from garbage collection until it ends."""

from __future__ import annotations

import gc
import weakref

import pytest

from eventapi.bootstrap.process import freeze_gc
from tests.eventapi.http.apps import APPLICATIONS
from tests.eventapi.http.client import Api


@pytest.fixture(autouse=True)
def unfreeze() -> None:
    gc.unfreeze()
    freeze_gc.cache_clear()


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
