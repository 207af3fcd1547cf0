"""Requests and commands of ``docs/auditing.md`` answer as the page shows."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventapi.commands.users import GrantRole
from eventapi.journal.batch import Runtime
from eventapi.testing import sample_log
from eventapi.testing.given import SOURCE, Happened, at, records_of, registered
from eventapi.testing.resources import created, shared, unshared, updated
from eventapi.testing.sample_log import Written
from events.vault.sqlite import SqliteVault
from events.vocabulary.security import LoginFailed, ValuesOpened
from events.vocabulary.sessions import Device, SessionStarted
from events.vocabulary.users import ProfileChanges, UserRoleGranted, UserUpdated
from tests.eventapi.cli.running import invoke
from tests.eventapi.http.client import OPERATOR, Api, Caller
from tests.kinds import INVOICE, REGISTRY, Invoice
from tests.test_documents import ROOT

PAGE = (ROOT / "docs" / "auditing.md").read_text()
REQUEST = re.compile(
    r"^    GET (?P<path>/\S+)\n    (?P<status>\d{3})(?: (?P<shown>\{.*\}))?$", re.MULTILINE
)
COMMAND = re.compile(
    r"^    \$ eventapi (?P<words>.+)\n(?P<shown>(?:    (?!\$|GET).+\n)*)", re.MULTILINE
)

assert INVOICE.declaration is not None
DECLARED = INVOICE.declaration
SESSION = "5e55105e55105e55105e55105e55105e"
PHONE = Device("192.0.2.1", "a phone")
NOW = "2025-03-05T09:00:00.000000Z"

STORY: tuple[tuple[str, str, Happened], ...] = (
    ("03T09:00", "users/1", registered(1, "ann")),
    ("03T09:05", "users/2", registered(2, "bob")),
    ("03T09:10", "operator/root", ("users/1", UserRoleGranted("operator"))),
    ("03T09:20", "operator/root", ("schemas/invoices", DECLARED)),
    ("03T09:30", "users/2", created(Invoice(number="A", year=2025), 1, owner=2)),
    ("03T09:40", "users/2", shared(Invoice, 1, user=1, can="read")),
    (
        "03T09:50",
        "users/2",
        (f"sessions/{SESSION}", SessionStarted(2, at(99_000), "0" * 64, personal=PHONE)),
    ),
    ("03T10:20", "users/2", updated(Invoice, 1, paid=True, note="paid in cash")),
    (
        "03T10:40",
        "users/2",
        ("users/2", UserUpdated(personal=ProfileChanges(full_name="Bob B."))),
    ),
    ("03T11:30", "users/2", unshared(Invoice, 1, user=1)),
    ("04T08:00", "users/2", updated(Invoice, 1, note="paid by card")),
    (
        "04T08:30",
        "operator/eventapi",
        ("users/2", LoginFailed("2025-03-04T08:10:00.000000Z", 3, "0" * 64, personal=PHONE)),
    ),
    ("04T09:00", "users/1", ("users/2", ValuesOpened(8))),
)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """The story of the page as a log."""
    records = [
        msgspec.structs.replace(
            record,
            time=f"2025-03-{when}:00.000000Z",
            actor=actor,
            session=SESSION if when == "03T10:20" else "",
        )
        for record, (when, actor, _) in zip(
            records_of(happened for _, _, happened in STORY), STORY, strict=True
        )
    ]
    monkeypatch.setattr(sample_log, "records_of", lambda _: records)
    return sample_log.write(happened for _, _, happened in STORY)


@pytest.fixture
def auditor(written: Written) -> Iterator[Caller]:
    vault = asyncio.run(written.vault())
    today = Runtime(lambda: NOW, lambda: SOURCE, os.urandom)
    with Api(log=written.log, vault=vault, registry=REGISTRY, environment=today) as api:
        auditor = api.caller()
        api.execute(GrantRole(auditor.name, "auditor", OPERATOR), environment=today)
        yield auditor


@pytest.fixture
def data(written: Written, tmp_path: Path) -> Path:
    """The same log in a directory."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "events.jsonl").write_bytes(b"".join(line + b"\n" for line in written.lines))

    async def keep() -> None:
        vault = SqliteVault(folder / "vault.sqlite")
        await vault.put(written.keys)
        await vault.close()

    asyncio.run(keep())
    return folder


def has(shown: Any, answered: Any) -> bool:
    """Whether an answer has what the page shows of it."""
    if isinstance(shown, dict):
        return isinstance(answered, dict) and all(
            name in answered and has(value, answered[name]) for name, value in shown.items()
        )
    if isinstance(shown, list):
        return len(shown) == len(answered) and all(map(has, shown, answered))
    return bool(shown == answered)


def test_every_block_of_the_page_is_a_request_or_a_command() -> None:
    assert len(REQUEST.findall(PAGE)) == len(re.findall(r"^    GET ", PAGE, re.MULTILINE)) == 17
    assert len(COMMAND.findall(PAGE)) == len(re.findall(r"^    \$ ", PAGE, re.MULTILINE)) == 10


@pytest.mark.parametrize("example", [*REQUEST.finditer(PAGE)], ids=lambda one: str(one["path"]))
def test_a_request_has_the_answer_of_the_page(auditor: Caller, example: re.Match[str]) -> None:
    answer = auditor.get(example["path"])
    assert str(answer.status_code) == example["status"], answer.text
    if example["shown"]:
        assert has(json.loads(example["shown"]), answer.json()), answer.text


@pytest.mark.parametrize("example", [*COMMAND.finditer(PAGE)], ids=lambda one: str(one["words"]))
def test_a_command_prints_what_the_page_shows(data: Path, example: re.Match[str]) -> None:
    log = data / "events.jsonl"
    backup = data.parent / "backup.jsonl"
    backup.write_bytes(log.read_bytes())
    words = example["words"].replace("BACKUP", str(backup)).replace("LOG", str(log))
    words = words.replace("OUT", str(data.parent / "evidence.zip"))
    if "ARCHIVE" in words:
        place = str(data.parent / "archive")
        assert invoke(data, "log", "archive", place).exit_code == 0
        key = invoke(data, "log", "checkpoint", "--key").stdout.strip()
        words = words.replace("ARCHIVE", place).replace("VKEY", key)
    result = invoke(data, *shlex.split(words), EVENTAPI_RESOURCES="tests.kinds")
    assert result.exit_code == 0, result.output
    printed = " ".join(result.stdout.split())
    for line in example["shown"].splitlines():
        assert " ".join(line.split()) in printed, result.stdout


def test_control_another_answer_is_detected() -> None:
    assert has({"items": [{"id": "6"}]}, {"items": [{"id": "6", "type": "x"}], "next": None})
    assert not has({"items": [{"id": "6"}]}, {"items": [{"id": "7"}]})
    assert not has({"items": []}, {"items": [{"id": "7"}]})
    assert not has({"next": None}, {})
