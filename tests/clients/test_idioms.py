"""Programs for the replaced service observe the same on this server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.idioms import IDIOMS
from tests.clients.services import Peer, Successor


@pytest.mark.parametrize("idiom", IDIOMS, ids=lambda idiom: idiom.__name__)
def test_an_old_program_observes_the_same_on_both_services(
    old: Peer, new: Successor, idiom: Callable[[str], Any]
) -> None:
    before = idiom(old.url)

    after = idiom(new.url)

    assert after == before
