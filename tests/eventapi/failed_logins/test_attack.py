"""A stranger cannot fill the log with failed logins.

The attack in full is ``pytest -m long tests/eventapi/failed_logins/test_attack.py``; its figure is
in docs/security.md.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from eventapi.failed_logins.port import MAX_NAMES
from eventapi.values.times import later
from events.vocabulary.security import OTHER_NAMES
from tests.eventapi.failed_logins.clocked import START, Clocked
from tests.eventapi.failed_logins.target import open_target

Lines = list[dict[str, Any]]


def check(lines: Lines, attempts: int) -> None:
    """Each failed login is counted, in one line for each window, subject and address."""
    keys = Counter(
        (line["subject"], line["data"]["window"], line["data"]["address_hash"]) for line in lines
    )
    assert set(keys.values()) <= {1}
    assert sum(line["data"]["count"] for line in lines) == attempts
    names = Counter(
        (line["data"]["window"], line["data"]["address_hash"])
        for line in lines
        if line["subject"].startswith("security/") and line["subject"] != OTHER_NAMES
    )
    assert max(names.values(), default=0) <= MAX_NAMES


@pytest.fixture
def site() -> Iterator[Clocked]:
    clocked = Clocked(trusted_proxies=("127.0.0.1",))
    with clocked.api:
        yield clocked


def test_an_attack_adds_one_line_for_each_account_address_and_window(site: Clocked) -> None:
    for name in ("ann", "bob"):
        site.api.register(name)
    before, attempts = site.api.log.position, 0
    addresses = [f"192.0.2.{number}" for number in range(6)]
    names = ["ann", "ann", "bob", *(f"nobody{number}" for number in range(MAX_NAMES + 3))]
    for _ in range(2):
        for address, name in product(addresses, names):
            headers = {"x-forwarded-for": address}
            body = {"username": name, "password": "wrong"}
            answer = site.api.request("POST", "/auth/login", json=body, headers=headers)
            assert answer.status_code == 401
            attempts += 1
        site.advance(600)
    site.end_window()

    check(site.events(), attempts)
    assert len(site.events()) == 2 * 6 * (2 + MAX_NAMES + 1)
    assert site.api.log.position == before + len(site.events())


def test_an_address_of_ipv6_is_its_network(site: Clocked) -> None:
    site.api.register("ann")
    for number in range(4):
        headers = {"x-forwarded-for": f"2001:db8::{number}"}
        body = {"username": "ann", "password": "wrong"}
        site.api.request("POST", "/auth/login", json=body, headers=headers)
    site.end_window()
    assert [event["data"]["count"] for event in site.events()] == [4]


@pytest.mark.long
async def test_100_000_wrong_logins_from_1_000_addresses(tmp_path: Path) -> None:
    clock = [START]
    addresses = [f"10.0.{number // 250}.{number % 250}" for number in range(1_000)]
    async with open_target(tmp_path, clock) as target:
        harness = target.harness
        await harness.register("ann")
        for _ in range(50):
            for address in addresses:
                await target.guess(address, "ann")
            await target.counter.store()
        clock[0] = later(START, 600)
        for attempt in range(50):
            for address in addresses:
                await target.guess(address, f"name {attempt}")
            await target.counter.store()
        clock[0] = later(START, 1_260)
        await target.record()
        lines = [json.loads(line) for line in await harness.storage.lines()]

    failed = [line for line in lines if line["type"] == "security.login_failed"]
    check(failed, 100_000)
    of_ann = [line for line in failed if line["subject"] == "users/1"]
    assert len(of_ann) == 1_000
    assert len(failed) == 1_000 + 1_000 * (MAX_NAMES + 1)
