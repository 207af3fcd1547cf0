"""An app over an archive, a file or closed segments answers the same questions alike.

Writes get a 503 while the log is an archive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from eventapi.commands.users import GrantRole
from eventapi.testing.items import Content, create_item, delete_item, update_item
from events.archive.directory import DirectoryObjects
from events.archive.reader import ArchivedLog
from events.log.file import closed
from events.log.file.closing import close_segments
from events.log.file.log import JsonlLog
from events.log.file.paths import closed_segments
from events.log.port import EventLog, Head
from events.vault.memory import MemoryVault
from tests.eventapi.http.client import OPERATOR, Api, Caller, assert_problem
from tests.events.archive.stored import archive
from tests.events.log_helpers import open_file_log

ITEMS = 40
CHANGES = 700
EXAMPLES = [40, pytest.param(1_000, marks=pytest.mark.long)]


class Past:
    """The lines of a log with many changes, the keys, and tokens of its users."""

    def __init__(self) -> None:
        chance = Random(5)
        with Api() as api:
            auditor, ann, ben = [api.caller(name) for name in ("auditor", "ann", "ben")]
            api.execute(GrantRole("auditor", "auditor", OPERATOR))
            owners = [2, 3]  # Users are counted in the order of their registration.
            api.execute(*(create_item(owners[n % 2], Content(f"item {n}")) for n in range(ITEMS)))
            changed = [chance.randint(1, ITEMS - 4) for _ in range(CHANGES)]
            updates = [
                update_item(owners[(n - 1) % 2], n, f"title {at}") for at, n in enumerate(changed)
            ]
            for start in range(0, CHANGES, 100):
                api.execute(*updates[start : start + 100])
            api.execute(*(delete_item(owners[(n - 1) % 2], n) for n in (3, 4)))
            assert ben.erase().status_code == 204
            self.lines = api.log_lines()
            self.keys = dict(api.run(api.vault.all()))
            self.tokens = [auditor.tokens, ann.tokens]

    @contextmanager
    def served_from(self, log: EventLog) -> Iterator[Sequence[Caller]]:
        """An app over another adapter with these lines; yields an auditor and a user."""
        vault = MemoryVault()
        asyncio.run(vault.put(self.keys))
        with Api(log=log, vault=vault) as api:
            names = ("auditor", "ann")
            yield [Caller(api, *one) for one in zip(names, self.tokens, strict=True)]

    def questions(self, count: int) -> Iterator[tuple[int, str]]:
        """Who asks, and the path of the question."""
        chance = Random(count)
        end = len(self.lines)
        for _ in range(count):
            number, at = chance.randint(1, ITEMS + 1), chance.randint(0, end)
            tile = chance.randint(0, end // 256)
            width = "" if tile < end // 256 else f".p/{end % 256}"
            yield (
                chance.randrange(2),
                chance.choice(
                    [
                        f"/items/{number}",
                        f"/items/{number}?as_of={at}",
                        f"/items/{number}/history",
                        f"/items?as_of={at}&limit={chance.randint(1, 50)}",
                        f"/auth/me/events?after={at}&limit=20",
                        f"/audit/events?after={at}&limit={chance.randint(1, 30)}",
                        f"/audit/state?as_of={at}",
                        f"/log/tile/0/{tile:03}{width}",
                        f"/log/tile/entries/{tile:03}{width}",
                        "/log/tile/1/000.p/2",
                    ]
                ),
            )

    def answers(self, log: EventLog, count: int) -> list[Any]:
        """The answers to the questions."""
        with self.served_from(log) as callers:
            found = []
            for caller, path in self.questions(count):
                answer = callers[caller].get(path)
                content = answer.json()["type"] if answer.is_error else answer.content
                found.append((path, answer.status_code, content, answer.headers.get("etag")))
            return found


@pytest.fixture(scope="module")
def past() -> Past:
    return Past()


async def _append(path: Path, lines: Sequence[bytes]) -> None:
    async with open_file_log(path) as log, log.exclusive(5) as appender:
        digest = bytes.fromhex(lines[-1][-66:-2].decode())
        await appender.append(lines, Head(len(lines), digest))


async def _close(path: Path) -> None:
    async with open_file_log(path) as log:
        assert await close_segments(log, 30_000, 5)


def file_log(past: Past, folder: Path) -> EventLog:
    asyncio.run(_append(folder / "events.jsonl", past.lines))
    return JsonlLog(folder / "events.jsonl")


def segmented_log(past: Past, folder: Path, monkeypatch: pytest.MonkeyPatch) -> EventLog:
    monkeypatch.setattr(closed, "LINES_PER_FRAME", 16)
    asyncio.run(_append(folder / "events.jsonl", past.lines))
    asyncio.run(_close(folder / "events.jsonl"))
    assert len(closed_segments(folder / "events.jsonl")) > 5
    return JsonlLog(folder / "events.jsonl")


def archived_log(past: Past, folder: Path) -> EventLog:
    async def make() -> EventLog:
        objects = DirectoryObjects(folder / "archive")
        for size in (300, len(past.lines)):
            await archive(past.lines[:size], objects)
        return await ArchivedLog.open(objects)

    return asyncio.run(make())


@pytest.mark.parametrize("count", EXAMPLES)
def test_every_adapter_gives_the_same_answers(
    past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    expected = past.answers(file_log(past, tmp_path / "one"), count)
    assert past.answers(archived_log(past, tmp_path), count) == expected
    assert past.answers(segmented_log(past, tmp_path / "two", monkeypatch), count) == expected
    kinds = {(path.split("?")[0].rstrip("0123456789"), status) for path, status, *_ in expected}
    assert len(kinds) > 12
    assert {status for _, status, *_ in expected} <= {200, 403, 404, 410}


def test_an_archive_shows_nothing_of_an_erased_user(past: Past, tmp_path: Path) -> None:
    with past.served_from(archived_log(past, tmp_path)) as (auditor, _):
        for path in ("/items/2/history", "/audit/events?limit=100", "/items/2?as_of=200"):
            answer = auditor.get(path)
            assert b"ben@example.org" not in answer.content
            assert b'"item 1"' not in answer.content


def test_a_write_to_an_archive_gets_503_and_reads_go_on(
    past: Past, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with past.served_from(archived_log(past, tmp_path)) as (_, ann):
        for method, path, body in (
            ("POST", "/items", {"title": "new"}),
            ("PATCH", "/items/1", {"title": "new"}),
            ("DELETE", "/auth/me", {"password": "correct horse battery staple"}),
        ):
            caplog.clear()
            answer = ann.request(method, path, json=body)
            assert_problem(answer, 503, "log-unavailable")
            assert "is an archive, which is read-only" in caplog.text
            assert ann.get("/items/1").status_code == 200
        assert ann.api.login("ann").status_code == 503
