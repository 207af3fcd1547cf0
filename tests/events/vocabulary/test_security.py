"""The subjects of events about security."""

from __future__ import annotations

import pytest

from events.record import Event
from events.vocabulary.security import OTHER_NAMES
from events.well_formed import _subject_fits

FAILED, OPENED = "security.login_failed", "audit.opened"


@pytest.mark.parametrize(
    ("kind", "subject", "fits"),
    [
        (FAILED, "users/1", True),
        (FAILED, f"security/{'01' * 16}", True),
        (FAILED, OTHER_NAMES, True),
        (FAILED, "users/0", False),
        (FAILED, "users/9999999999999999999", False),
        (FAILED, "security/", False),
        (FAILED, "security/a b", False),
        (FAILED, "items/1", False),
        (OPENED, "users/1", True),
        (OPENED, "users/ann", False),
        (OPENED, OTHER_NAMES, False),
        (OPENED, "items/1", False),
    ],
)
def test_a_subject_is_a_user_or_stands_for_unknown_names(
    kind: str, subject: str, fits: bool
) -> None:
    assert _subject_fits(Event(), kind, subject) is fits
