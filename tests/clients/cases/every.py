"""Requests of every kind to every endpoint of the replaced service."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from tests.clients.cases.accounts import callers, logins, registrations
from tests.clients.cases.case import JSON, Case, by
from tests.clients.cases.items import creations, items, numbers, odd_bodies
from tests.clients.cases.paths import cross_origin, paths
from tests.clients.services import OLD_ORIGINS

CASES: Final = [
    *registrations(), *logins(), *creations(), *odd_bodies(), *items(), *numbers(), *callers(), *paths(), *cross_origin(),
]  # fmt: skip

_WRONG: Final = json.dumps({"username": "bob", "password": "wrong password"}).encode()

INSTALLED: Final = [
    *(replace(case, name=f"as installed: {case.name}") for case in cross_origin()[:1]),
    Case("as installed: list by a page", "GET", "/items", by("fay", Origin=OLD_ORIGINS[0])),
    Case("as installed: log in too often", "POST", "/auth/login", JSON, b"[]", times=100),
    Case("as installed: guess passwords", "POST", "/auth/login", JSON, _WRONG, times=6),
]
"""Cases for a server without settings."""
