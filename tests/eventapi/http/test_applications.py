"""A kept application serves only settings with which a new one would be the same."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from eventapi.bootstrap.storage import Overrides
from tests.eventapi.http.apps import APPLICATIONS
from tests.eventapi.http.client import quiet_settings

OTHERS: dict[str, Any] = {
    "console": "off",
    "cors_origins": ("https://example.org",),
    "log_level": "info",
    "max_body_bytes": 1 << 20,
    "public_url": "https://example.org",
    "resources": ("example.resources",),
    "trusted_proxies": ("10.0.0.1",),
    "v1_deprecation": "2030-01-01",
    "v1_sunset": "2031-01-01",
}
"""Each setting that routes and middleware depend on, with another value than the usual one."""


def test_the_settings_that_an_application_reads_are_recorded() -> None:
    kept = APPLICATIONS.take(quiet_settings(), Overrides())
    APPLICATIONS.give_back(kept)
    assert kept.depends_on == set(OTHERS)


@pytest.mark.parametrize("name", OTHERS)
def test_an_application_does_not_serve_another_value_of_a_recorded_setting(name: str) -> None:
    kept = APPLICATIONS.take(quiet_settings(), Overrides())
    APPLICATIONS.give_back(kept)
    assert kept.serves(quiet_settings(), kept.parts)
    assert not kept.serves(replace(quiet_settings(), **{name: OTHERS[name]}), kept.parts)
