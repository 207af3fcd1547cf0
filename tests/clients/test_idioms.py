"""Programs written for the replaced service see the same here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.idioms import IDIOMS
from tests.clients.services import Peer, Successor


@pytest.mark.parametrize("idiom", IDIOMS, ids=lambda idiom: idiom.__name__)
def test_an_old_program_sees_the_same(
    old: Peer, new: Successor, idiom: Callable[[str], Any]
) -> None:
    # Given what a program saw of the replaced service,
    before = idiom(old.url)
    # when it runs with this server,
    after = idiom(new.url)
    # then it sees the same.
    assert after == before
