"""What the app does to the process that it runs in."""

from __future__ import annotations

import gc
import weakref

import pytest

from tests.eventapi.http.client import Api


@pytest.fixture(autouse=True)
def nothing_is_spared() -> None:
    gc.unfreeze()


def test_the_collector_passes_over_what_is_there_when_the_server_starts() -> None:
    with Api():
        assert gc.get_freeze_count() > 10_000


def test_what_an_ended_app_leaves_is_collected_though_others_start_in_its_process() -> None:
    with Api():
        spared = gc.get_freeze_count()
    with Api() as second:
        app = weakref.ref(second.edge)
    del second
    with Api():
        assert gc.get_freeze_count() <= spared
        gc.collect()
        assert app() is None
