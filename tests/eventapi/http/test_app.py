"""What the app does to the process that it runs in."""

from __future__ import annotations

import gc

from tests.eventapi.http.client import Api


def test_the_collector_passes_over_what_is_there_when_the_server_starts() -> None:
    gc.unfreeze()
    with Api():
        assert gc.get_freeze_count() > 10_000
    assert gc.get_freeze_count() == 0
